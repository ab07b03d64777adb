package pbx

import (
	"strconv"
	"time"

	"frontdesk/call"
)

// Direction is how the PBX sees a call: unlike frontdesk it also has calls that
// stay in the house.
type Direction string

// The directions.
const (
	In       Direction = "in"
	Out      Direction = "out"
	Internal Direction = "internal"
)

// Account tells which of the PBX's sources an account of a call comes from.
type Account string

// The sources of accounts.
const (
	AccountCDR Account = "cdr" // lines of the CDR socket
	AccountLog Account = "log" // rows of the XAPI call log: leg by leg, with recordings
	// AccountControl: followed by call control, to the second and leg by leg, for
	// the extensions that are monitored. It does not know why a call was missed.
	AccountControl Account = "control"
)

// Call is one call as the PBX accounts for it, all its legs joined.
type Call struct {
	ID        string    `json:"id"` // its callid, or its MainCallHistoryId in the call log
	Account   Account   `json:"account"`
	Direction Direction `json:"direction"`
	Ends
	call.Times

	Talks    []call.Talk      `json:"talks,omitempty"` // extension by extension, in order; a recording is "pbx:ID"
	Rang     []call.Extension `json:"rang,omitempty"`  // rung without answer, among them a queue's agents
	Result   call.Result      `json:"result,omitempty"`
	MissedIn string           `json:"missed_in,omitempty"` // extension, queue, ivr or voicemail
	Open     bool             `json:"open,omitempty"`      // it went on, of which is yet to be told
}

// Ends are who called whom. An extension that calls out is the Caller, written
// as it is dialled.
type Ends struct {
	Caller  call.Number    `json:"caller,omitempty"`
	Callee  call.Number    `json:"callee,omitempty"`  // the DID of an incoming call, the called party of others
	Dialled string         `json:"dialled,omitempty"` // as it was dialled
	Prefix  string         `json:"prefix,omitempty"`  // what an employee dialled before the number
	Trunk   string         `json:"trunk,omitempty"`   // its name where that is known, else its number on the PBX
	First   call.Extension `json:"first,omitempty"`   // the first destination inside
}

// outside is the party of a call that is not in the house: what both records
// of one call have in common.
func (c *Call) outside() call.Number {
	if c.Direction == Out {
		return c.Callee
	}
	return c.Caller
}

// key is by what an account is known. Call control's numbers begin anew with the
// PBX.
func (c *Call) key() string {
	if c.Account == AccountControl {
		return "control/" + c.ID + "/" + strconv.FormatInt(c.Started.UnixMilli(), 10)
	}
	return c.ID
}

// talked reports whether a person answered: voicemail, queues and menus pick up too.
func (c *Call) talked() bool { return c.Result == call.ResultAnswered }

// Where a call may be missed.
const (
	missedExtension = "extension"
	missedQueue     = "queue"
	missedIVR       = "ivr"
	missedVoicemail = "voicemail"
)

// newTalk makes one conversation.
func newTalk(ext call.Extension, from, until time.Time) call.Talk {
	if until.Before(from) {
		until = from
	}
	return call.Talk{Extension: ext, From: from, Until: until, Seconds: wholeSeconds(until.Sub(from))}
}

func wholeSeconds(d time.Duration) int { return int(d.Round(time.Second) / time.Second) }
