package pbxtest

import (
	"cmp"
	"context"
	"crypto/rand"
	"fmt"
	"time"
)

// Account is a call as the PBX accounts for it once it has ended. CDR lines, the
// call log's segments and recordings all derive from it.
type Account struct {
	Direction      Direction
	Caller         Party  // outside of the PBX, or an extension
	Dialled        string // as it was dialled; out: with the prefix
	Trunk          string // its number; "": a call inside
	Legs           []Leg  // where the call was, in order, those who rang in vain too
	Started, Ended time.Time
	End            End
	Identity
}

// Identity is how interfaces name a call; zero fields are filled in.
type Identity struct {
	History int    // historyid: "Call 9001"
	CallID  string // callid of CDR lines, "00000D1A2B3C4D5E_71"
	Number  int    // CallId of the call log, callid of call control
	Main    string // MainCallHistoryId, a GUID
}

// Party is one end of a call.
type Party struct{ Number, Name string }

// Leg is a stop of a call: somebody who rang, and perhaps answered.
type Leg struct {
	Party
	Kind      Kind
	How       How
	Rang      time.Time
	Answered  time.Time // zero: not
	Ended     time.Time
	Recording int // its recording's id, filled in; 0: none
}

// Direction is seen from the PBX.
type Direction string

// The directions, as the call log names them.
const (
	Inbound  Direction = "Inbound"
	Outbound Direction = "Outbound"
	Internal Direction = "Internal"
)

// Kind is what a stop is.
type Kind string

// The kinds of stops.
const (
	Extension Kind = "Extension"
	Queue     Kind = "Queue"
	RingGroup Kind = "RingGroup"
	IVR       Kind = "Ivr"
	Voicemail Kind = "VMail"
	Line      Kind = "Line"    // the world outside
	LineSet   Kind = "LineSet" // an outgoing call for which no line was found, or none took it
)

// modern is a kind in the words of the new CDR engine.
func (k Kind) modern() string {
	switch k {
	case Extension:
		return "extension"
	case Queue:
		return "queue"
	case RingGroup:
		return "ring_group_ring_all"
	case IVR:
		return "ivr"
	case Voicemail:
		return "voicemail"
	case Line:
		return "external_line"
	}
	return "outbound_rule"
}

// code is a kind as the call log numbers it: 0, 4 and 12 are known from live
// systems, the others are made up.
func (k Kind) code() int {
	switch k {
	case Extension:
		return 0
	case Line:
		return 1
	case RingGroup:
		return 2
	case Queue:
		return 4
	case Voicemail:
		return 5
	case IVR:
		return 6
	}
	return 12
}

// How is why a call came to a stop.
type How string

// The ways to a stop.
const (
	Dialled   How = "dialled"   // the first one
	Polled    How = "polled"    // an agent of the queue or group before
	Forwarded How = "forwarded" // the stop before did not answer, or was busy
	Chosen    How = "chosen"    // by a key in a menu
	Blind     How = "blind"     // transferred unseen
	Attended  How = "attended"  // transferred after a talk
	Failed    How = "failed"    // transferred unseen to somebody who did not take it
)

// End is how a call ended.
type End string

// The ends.
const (
	BySource      End = "source"      // the caller hung up
	ByDestination End = "destination" // whoever was called did
	NoRoute       End = "no route"    // no line took an outgoing call
	Busy          End = "busy"
	Declined      End = "declined"
	NotFound      End = "not found"
	TimedOut      End = "timeout"   // nobody answered
	Cancelled     End = "cancelled" // the caller gave up before an answer
	Redirected    End = "redirected"
)

// reason is an end in either vocabulary.
func (e End) reason(legacy bool, d Direction) string {
	old, modern := "Failed", "rejected"
	switch e {
	case BySource:
		old, modern = "TerminatedBySrc", "src_participant_terminated"
	case ByDestination:
		old, modern = "TerminatedByDst", "dst_participant_terminated"
	case NoRoute:
		modern = "no_route"
	case Busy:
		old, modern = "TargetBusy", "busy"
	case Declined:
		modern = "declined"
	case NotFound:
		old, modern = "TargetNotFound", "not_found"
	case TimedOut:
		old, modern = "NoAnswerTimeout", "timeout"
	case Cancelled:
		old, modern = "Failed_Cancelled", "cancelled"
		if d == Inbound {
			old = "TerminatedBySrc"
		}
	case Redirected:
		old, modern = "Redirected", "redirected"
	}
	if legacy {
		return old
	}
	return modern
}

// guid makes an identity of the call log.
func guid() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails since Go 1.24
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// ledger is what the PBX has accounted for.
type ledger struct {
	accounts []Account
	segments []Row // oldest first
	sounds   []sound
	number   int // of the last call
	segment  int
}

// identify gives a call the names that it lacks. mu is held.
func (s *State) identify(id *Identity) {
	if id.Number == 0 {
		s.calls.number++
		id.Number = 70 + s.calls.number
	}
	id.History = cmp.Or(id.History, 9000+id.Number-70)
	id.CallID = cmp.Or(id.CallID, fmt.Sprintf("%016X_%d", 0x0D1A2B3C0000+s.now().UnixMilli()%0xFFFFFF, id.Number))
	id.Main = cmp.Or(id.Main, guid())
}

// Account accounts for a call that has ended: its segments are in the call log
// from now on, its recordings appear, and feeds tell of it. The account comes
// back with its names and recordings filled in.
func (s *State) Account(a Account) Account {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.account(a)
}

func (s *State) account(a Account) Account {
	s.identify(&a.Identity)
	for i := range a.Legs {
		l := &a.Legs[i]
		if l.Name == "" {
			_, l.Name = s.kind(l.Number)
		}
		if l.Recording == 0 {
			l.Recording = s.recording(&a, l)
		}
	}
	s.calls.segments = append(s.calls.segments, s.segments(&a)...)
	s.calls.accounts = append(s.calls.accounts, a)
	close(s.seen)
	s.seen = make(chan struct{})
	return a
}

// Accounts are all calls that have ended, in that order.
func (s *State) Accounts() []Account {
	accounts, _ := s.since(0)
	return accounts
}

// since are the accounts from the nth on, and a channel that closes with the
// next.
func (s *State) since(n int) ([]Account, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Account(nil), s.calls.accounts[min(n, len(s.calls.accounts)):]...), s.seen
}

// WaitAccounts waits until n calls are accounted for and returns all there are.
func (s *State) WaitAccounts(ctx context.Context, n int) ([]Account, error) {
	for {
		all, more := s.since(0)
		if len(all) >= n {
			return all, nil
		}
		select {
		case <-more:
		case <-ctx.Done():
			return all, fmt.Errorf("waiting for the account of call %d: %w", n, context.Cause(ctx))
		}
	}
}
