package call

import (
	"crypto/rand"
	"encoding/base32"
	"time"
)

// Direction is seen from the company: in from a trunk, out from the PBX.
type Direction string

// The directions.
const (
	In  Direction = "in"
	Out Direction = "out"
)

// Record is what is kept of a call: the source of logging, explain and replay.
// Its JSON form is part of the interface contract.
type Record struct {
	ID        string    `json:"id"`
	Direction Direction `json:"direction"`
	Parties
	Times
	Routed
	Ended

	Talks    []Talk   `json:"talks,omitempty"`
	Legs     []Leg    `json:"legs,omitempty"`
	Facts    Document `json:"facts,omitzero"`
	Trace    Document `json:"trace,omitzero"`
	Timeline []Event  `json:"timeline,omitempty"`
	Ledger   []Entry  `json:"ledger,omitempty"`
}

// Parties are who called whom.
type Parties struct {
	Trunk  string `json:"trunk"`
	Caller Number `json:"caller"`
	DID    Number `json:"did"`
	Prefix string `json:"prefix,omitempty"` // of an outgoing call
}

// Times are when the call began, was answered to the caller, and ended.
type Times struct {
	Started  time.Time `json:"started"`
	Answered time.Time `json:"answered,omitzero"`
	Ended    time.Time `json:"ended,omitzero"`
}

// Routed is where the call was sent and why.
type Routed struct {
	Rule     string    `json:"rule,omitempty"`
	Target   Extension `json:"target"`
	Outcome  Outcome   `json:"outcome"`
	Greeting bool      `json:"greeting"`
	Digits   string    `json:"digits,omitempty"`
}

// Ended is how the call left frontdesk.
type Ended struct {
	Transfer Transfer `json:"transfer"`
	Result   Result   `json:"result,omitempty"`
	MissedIn string   `json:"missed_in,omitempty"` // extension, queue, ivr or greeting
}

// Talk is one conversation of an employee with the caller.
type Talk struct {
	Extension Extension `json:"extension"`
	Employee  int       `json:"employee,omitempty"`
	From      time.Time `json:"from"`
	Until     time.Time `json:"until"`
	Seconds   int       `json:"seconds"`
	Recording string    `json:"recording,omitempty"`
}

// Leg is one SIP dialog of the call, or an attempt at one.
type Leg struct {
	Peer   string    `json:"peer"` // the trunk's name, or the SIP URI of the PBX's node
	CallID string    `json:"call_id"`
	Target string    `json:"target,omitempty"`
	Began  time.Time `json:"began"`
	Code   int       `json:"code,omitempty"` // its final SIP status
}

// Event is a moment of the call's timeline.
type Event struct {
	At    time.Time `json:"at"`
	Event string    `json:"event"`
}

// Entry is the state of one CRM step owed for the call.
type Entry struct {
	Step  string    `json:"step"`
	Leg   int       `json:"leg,omitempty"` // which conversation, from 0
	State string    `json:"state"`         // one of the states below
	Tries int       `json:"tries"`
	Error string    `json:"error,omitempty"`
	Next  time.Time `json:"next,omitzero"`
}

// The states of a step. A step that failed is not tried again by itself.
const (
	StepDone    = "done"
	StepWaiting = "waiting"
	StepFailed  = "failed"
)

// NewID makes the identity of a call: 16 letters and digits, safe in a SIP
// header, a URL and a file name.
func NewID() string {
	var b [10]byte
	_, _ = rand.Read(b[:]) // never fails since Go 1.24
	return idEncoding.EncodeToString(b[:])
}

var idEncoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)
