package b2bua

import (
	"slices"
	"sync"
	"time"

	"frontdesk/call"
	"frontdesk/routing"
	"frontdesk/sip"
)

// record writes down a call while it happens. The two directions of a bridged
// call write at once, hence the lock.
type record struct {
	mu       sync.Mutex
	r        call.Record
	facts    routing.Facts
	decision routing.Decision
	zone     *time.Location
}

func (r *record) begin(in *sip.Incoming, f *routing.Facts, fromPBX bool) {
	r.zone = f.At.Location()
	r.r = call.Record{
		ID: in.ID(), Direction: call.In,
		Parties: call.Parties{Trunk: f.Trunk, Caller: f.Caller, DID: f.DID},
		Times:   call.Times{Started: f.At},
		Ended:   call.Ended{Transfer: call.TransferNone},
		Legs:    []call.Leg{{Peer: in.Peer().Name, CallID: in.CallID(), Began: f.At}},
	}
	if fromPBX {
		r.r.Direction = call.Out
	}
	r.note("invite")
}

// mostEvents bounds the timeline: a peer may re-negotiate as often as it likes.
const mostEvents = 500

// note adds a moment to the timeline; in a full one it takes the place of the
// last, so that the end of the call is always there.
func (r *record) note(event string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.add(event)
}

func (r *record) add(event string) {
	r.r.Timeline = append(r.r.Timeline[:min(len(r.r.Timeline), mostEvents-1)], call.Event{At: r.now(), Event: event})
}

func (r *record) now() time.Time { return time.Now().In(r.zone) }

func (r *record) decided(f routing.Facts, d routing.Decision) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.facts, r.decision = f, d
	r.r.Routed = call.Routed{
		Rule: d.Rule, Target: d.Target, Outcome: d.Outcome,
		Greeting: r.r.Greeting, Digits: f.Digits,
	}
	r.add("decided " + string(d.Outcome))
}

// greeted says that the caller was played a greeting.
func (r *record) greeted() {
	r.note("greeting")
	r.mu.Lock()
	defer r.mu.Unlock()
	r.r.Greeting = true
}

// refused says that frontdesk answered the caller with a final error.
func (r *record) refused(code int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.r.Result = call.ResultRefused
	r.r.Legs[0].Code = code
}

// answered says that the caller's leg was answered, which need not mean that
// anybody talks yet.
func (r *record) answered() {
	r.note("answered")
	r.mu.Lock()
	defer r.mu.Unlock()
	r.r.Answered = r.now()
	r.r.Legs[0].Code = 200
}

// handed says how the call was handed over.
func (r *record) handed(t call.Transfer, target call.Extension) {
	r.note(string(t) + " " + string(target))
	r.mu.Lock()
	defer r.mu.Unlock()
	r.r.Transfer = t
	r.r.Target = target
	if t == call.TransferRedirect {
		r.r.Legs[0].Code = 302
	}
}

// leg begins a second leg and gives its place for ended.
func (r *record) leg(peer, callID, target string) int {
	r.note("calling " + target)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.r.Legs = append(r.r.Legs, call.Leg{Peer: peer, CallID: callID, Target: target, Began: r.now()})
	return len(r.r.Legs) - 1
}

func (r *record) legCode(i, code int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.r.Legs[i].Code = code
}

// talked adds a conversation that is over.
func (r *record) talked(t call.Talk) {
	t.From, t.Until = t.From.In(r.zone), t.Until.In(r.zone)
	t.Seconds = int(t.Until.Sub(t.From).Round(time.Second) / time.Second)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.r.Result = call.ResultAnswered
	r.r.Talks = append(r.r.Talks, t)
}

// soFar is the record of a call that goes on, with a target.
func (r *record) soFar(target call.Extension) call.Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	out := r.r
	out.Target = target
	out.Legs, out.Timeline = slices.Clone(out.Legs), slices.Clone(out.Timeline)
	out.Facts, out.Trace = call.NewDocument(r.facts), call.NewDocument(r.decision.Trace)
	return out
}

// end closes the record; cause is why the call's context ended, if it did.
func (r *record) end(cause error) call.Record {
	r.note("end")
	r.mu.Lock()
	defer r.mu.Unlock()
	out := &r.r
	out.Times.Ended = r.now()
	if out.Result == "" {
		out.Result = r.outcome(cause)
	}
	if out.Result == call.ResultMissed || out.Result == call.ResultAbandoned {
		out.MissedIn = r.missedIn()
	}
	out.Facts, out.Trace = call.NewDocument(r.facts), call.NewDocument(r.decision.Trace)
	return *out
}

// outcome tells a result from what happened: after a redirect or an accepted
// REFER nobody here knows how it went on.
func (r *record) outcome(cause error) call.Result {
	switch {
	case r.r.Transfer == call.TransferRedirect, r.r.Transfer == call.TransferRefer:
		return ""
	case hungUp(cause):
		return call.ResultAbandoned
	default:
		return call.ResultMissed
	}
}

func (r *record) missedIn() string {
	switch {
	case len(r.r.Legs) < 2:
		return "greeting"
	case r.facts.Numbers.IsQueue(r.r.Target):
		return "queue"
	default:
		return "extension"
	}
}
