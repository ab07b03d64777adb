package pbx

import (
	"errors"
	"time"
)

// CDR is one line of 3CX's call data records, read. Words are in lower case,
// numbers without their "Ext.".
type CDR struct {
	HistoryID string // the PBX's number of the call; lines of one call share it
	CallID    string
	CDRTimes

	Reason  string // why it ended: either vocabulary, as terminatedbysrc or src_participant_terminated
	Changed string // how its ends were changed: replacedsrc, failedbxferofdst, qfwdtodna, ...
	Dialled string // the digits as dialled; the DID of an incoming call
	Parties
	Chain   []Hop    // all endpoints in order
	Agents  []string // agents of a queue that were rung and did not answer
	Partial bool     // the line had fewer columns than it should, or a time that is none
}

// CDRTimes are a line's times, UTC, and how long was talked. What is empty in
// the line is zero.
type CDRTimes struct {
	Start    time.Time
	Answered time.Time // also by a queue or a menu
	End      time.Time
	Duration time.Duration
}

// Parties are the three ends that a line names: the last is where the call
// ended up, where that differs from the first destination.
type Parties struct{ From, To, Final Party }

// Party is one end of a call.
type Party struct {
	Number string // as the line has it, without "Ext."
	Ext    bool   // "Ext." stood before it: a number of the PBX
	DN     string // the PBX's number of it: an extension, a queue, or a trunk (10000 and above)
	Type   string // either vocabulary, in lower case
	Name   string
}

// Hop is one endpoint of a call's chain.
type Hop struct {
	Number string
	Ext    bool // a number of the PBX
}

// errNoFields is a layout that names nothing.
var errNoFields = errors.New("cdr: no fields are set")
