package staff

import (
	"slices"
	"time"

	"frontdesk/call"
)

// cause is what bound a caller, for metrics.
type cause string

const (
	byTalk    cause = "talk"    // a talk, or being transferred to
	byAttempt cause = "attempt" // an employee's call that was not answered
)

// bond is what a record says about stickiness.
type bond struct {
	caller   call.Number
	employee int
	since    time.Time // zero: the record does not tell
	cause    cause
}

// shortest is the length of the longest internal or service number: callers
// with such numbers are no clients.
const shortest = 6

// derive reads a record. The client is the caller of an incoming call and the
// called number of an outgoing one. The last talk decides that can be put to an
// employee, even one of no length: whoever was transferred to and did not
// answer is still whom the client waits for. An employee who called is bound
// although nobody answered; an incoming call that nobody talked in binds
// nobody.
func derive(r *call.Record, d Directory) (bond, bool) {
	b := bond{caller: r.Caller, cause: byTalk}
	if r.Direction == call.Out {
		b.caller = r.DID
	}
	if len(b.caller) <= shortest {
		return bond{}, false
	}
	for _, t := range slices.Backward(r.Talks) {
		if b.employee = talker(t, d); b.employee != 0 {
			b.since = first(t.Until, r.Times.Ended, t.From)
			return b, true
		}
	}
	if r.Direction != call.Out {
		return bond{}, false
	}
	// The PBX gives the extension that called as the calling number.
	e, ok := d.At(call.Extension(r.Caller))
	if !ok {
		return bond{}, false
	}
	b.employee, b.since = e.ID, first(r.Times.Ended, r.Times.Started)
	if len(r.Talks) == 0 {
		b.cause = byAttempt
	}
	return b, true
}

// talker is who talked; 0 where that is not known.
func talker(t call.Talk, d Directory) int {
	if t.Employee != 0 {
		return t.Employee
	}
	e, _ := d.At(t.Extension)
	return e.ID
}

// first is the first time that is known.
func first(times ...time.Time) time.Time {
	for _, t := range times {
		if !t.IsZero() {
			return t
		}
	}
	return time.Time{}
}
