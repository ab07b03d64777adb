package pbx

import (
	"reflect"
	"slices"
	"time"

	"frontdesk/call"
)

// accounts are what the PBX's sources say about one call.
type accounts struct {
	CDR     *Call `json:"cdr,omitempty"`
	Log     *Call `json:"log,omitempty"`
	Control *Call `json:"control,omitempty"`
	Slot    int   `json:"slot,omitempty"` // which place it has in our record
}

func newAccounts(c *Call) accounts {
	var a accounts
	a.put(c)
	return a
}

func (a *accounts) of(source Account) **Call {
	switch source {
	case AccountLog:
		return &a.Log
	case AccountControl:
		return &a.Control
	}
	return &a.CDR
}

// hearsay reports whether there is no more than call control saw: it does not
// see all, nor why nobody answered.
func (a *accounts) hearsay() bool { return a.CDR == nil && a.Log == nil }

// put takes an account in the place of an earlier one of its source; what was
// answered never becomes a miss.
func (a *accounts) put(c *Call) bool {
	old := a.of(c.Account)
	if *old != nil && (*old).talked() && !c.talked() {
		return false
	}
	*old = c
	return true
}

func (a *accounts) each(f func(*Call)) {
	for _, c := range []*Call{a.CDR, a.Log, a.Control} {
		if c != nil {
			f(c)
		}
	}
}

func (a *accounts) ids() []string {
	var out []string
	a.each(func(c *Call) { out = append(out, c.key()) })
	return out
}

func (a *accounts) has(id string) bool { return slices.Contains(a.ids(), id) }

func (a *accounts) direction() Direction {
	v := a.view()
	return v.Direction
}

func (a *accounts) started() time.Time {
	v := a.view()
	return v.Started
}

// apart is how far an account of another source is from being one of this call,
// in milliseconds; never for another call. The line and the log have the PBX's
// clock, call control ours, but it sees both ends of a call.
func (a *accounts) apart(c *Call) int {
	if *a.of(c.Account) != nil {
		return never
	}
	v := a.view()
	start, end := v.Started.Sub(c.Started).Abs(), v.Ended.Sub(c.Ended).Abs()
	cost := int((start + min(end, within)).Milliseconds())
	other := v.First != c.First && v.First != "" && c.First != ""
	switch {
	case a.hearsay() || c.Account == AccountControl:
		if max(start, end) > seen {
			return never
		}
	case start > beyondDoubt, other && end > beyondDoubt:
		return never
	case other:
		return cost + elsewhere
	}
	return cost // the end does not tell: one source may know less of the call as yet
}

// view is what the accounts say together. The call log knows legs apart and
// recordings, the line knows agents, prefix and trunk. Where the log is silent
// call control knows how long each of several talked.
func (a accounts) view() Call {
	switch {
	case a.hearsay():
		return *a.Control
	case a.CDR == nil:
		return *a.Log
	}
	v := *a.CDR
	if a.Log == nil {
		if a.Control != nil && passedOn(&v) && sameChain(v.Talks, a.Control.Talks) {
			v.Talks = a.Control.Talks
		}
		return v
	}
	if a.Log.talked() {
		v.Result, v.MissedIn = call.ResultAnswered, ""
		v.Answered = earlier(v.Answered, a.Log.Answered)
		if len(a.Log.Talks) > 0 {
			v.Talks = a.Log.Talks
		}
	}
	if a.Log.Ended.After(v.Ended) {
		v.Ended, v.Open = a.Log.Ended, false
	}
	v.Rang = unheard(append(slices.Clone(v.Rang), a.Log.Rang...), v.Talks)
	if v.First == "" {
		v.First = a.Log.First
	}
	return v
}

// passedOn reports whether others had a call before who talked last: employees,
// or a queue or a menu, which the line counts as a part of the talk.
func passedOn(c *Call) bool {
	return len(c.Talks) > 1 || len(c.Talks) == 1 && c.Direction == In && c.First != "" && c.First != c.Talks[0].Extension
}

// sameChain reports whether the same talked, in the same order.
func sameChain(a, b []call.Talk) bool {
	return slices.EqualFunc(a, b, func(x, y call.Talk) bool { return x.Extension == y.Extension })
}

// unheard are those who rang and never talked, each once.
func unheard(rang []call.Extension, talks []call.Talk) []call.Extension {
	return slices.DeleteFunc(distinct(rang), func(e call.Extension) bool { return spoke(talks, e) })
}

// joinViews makes one call of the calls that the PBX got one after another for
// one of ours.
func joinViews(all []accounts) Call {
	out := all[0].view()
	for i := range all[1:] {
		v := all[i+1].view()
		if v.talked() && !out.talked() {
			out.First = v.First
		}
		out.Result, out.MissedIn = better(&out, v.Result, v.MissedIn)
		if v.talked() {
			out.Answered = earlier(out.Answered, v.Answered)
		}
		out.Talks = inTurn(append(slices.Clone(out.Talks), v.Talks...))
		out.Rang = append(slices.Clone(out.Rang), v.Rang...)
		out.Ended = later(out.Ended, v.Ended)
	}
	out.Rang = unheard(out.Rang, out.Talks)
	return out
}

// record is the record of an affair as it is known now.
func (j *Joiner) record(a *affair) call.Record {
	var r call.Record
	switch {
	case a.Own == nil:
		r = alone(a.ID, joinViews(a.Calls))
	case len(a.Calls) == 0:
		r = *a.Own
		r.Talks, r.Timeline = slices.Clone(r.Talks), slices.Clone(r.Timeline)
	default:
		r = merge(*a.Own, joinViews(a.Calls))
	}
	j.finish(&r)
	return r
}

// finish names the employees and puts all times into the company's zone.
func (j *Joiner) finish(r *call.Record) {
	for _, t := range []*time.Time{&r.Times.Started, &r.Times.Answered, &r.Times.Ended} {
		if !t.IsZero() {
			*t = t.In(j.cfg.Zone)
		}
	}
	for i := range r.Talks {
		t := &r.Talks[i]
		t.From, t.Until = t.From.In(j.cfg.Zone), t.Until.In(j.cfg.Zone)
		if t.Employee == 0 && j.cfg.Staff != nil {
			if e, ok := j.cfg.Staff.At(t.Extension); ok {
				t.Employee = e.ID
			}
		}
	}
	for i := range r.Timeline {
		r.Timeline[i].At = r.Timeline[i].At.In(j.cfg.Zone)
	}
}

// alone is the record of a call that never passed frontdesk.
func alone(id string, v Call) call.Record {
	r := call.Record{
		ID: id, Direction: call.Direction(v.Direction), Times: v.Times,
		Parties: call.Parties{Trunk: v.Trunk, Caller: v.Caller, DID: v.Callee, Prefix: v.Prefix},
		Routed:  call.Routed{Target: v.First},
		Ended:   call.Ended{Transfer: call.TransferNone, Result: v.Result, MissedIn: v.MissedIn},
		Talks:   slices.Clone(v.Talks),
	}
	tell(&r, &v)
	return r
}

// merge completes our own record. Our own SIP facts stand for when a bridged
// call was answered and ended; what happened inside is the PBX's to tell: who
// talked, and whether it was a person at all.
func merge(r call.Record, v Call) call.Record {
	r.Talks, r.Timeline = slices.Clone(r.Talks), slices.Clone(r.Timeline)
	if r.Direction == call.Out {
		r.Prefix = v.Prefix
		if v.Caller != "" && len(v.Caller) <= 6 {
			r.Caller = v.Caller
		}
	}
	if handed(&r) {
		mergeHanded(&r, &v)
	} else {
		mergeBridged(&r, &v)
	}
	tell(&r, &v)
	return r
}

func mergeHanded(r *call.Record, v *Call) {
	r.Result, r.MissedIn = v.Result, v.MissedIn
	r.Talks = slices.Clone(v.Talks)
	if r.Times.Answered.IsZero() {
		r.Times.Answered = v.Answered
	}
	r.Times.Ended = later(r.Times.Ended, v.Ended)
}

func mergeBridged(r *call.Record, v *Call) {
	talked := len(r.Talks) > 0
	switch {
	case v.talked() && talked:
		if len(v.Talks) > 0 {
			r.Talks = fitted(r.Talks, v)
		}
		r.Result, r.MissedIn = call.ResultAnswered, ""
	case talked && v.MissedIn != "" && v.MissedIn != missedExtension:
		// A queue, a menu or a mailbox picked up, no person did.
		r.Talks, r.Result, r.MissedIn = nil, v.Result, v.MissedIn
	case !talked && !v.talked() && v.MissedIn != "" && r.Direction != call.Out:
		r.MissedIn = v.MissedIn
	}
}

// fitted are the PBX's talks within the time that our own signalling knows the
// caller was connected, each within the one of ours that it is part of. What the
// PBX says nothing of stays as it is.
func fitted(own []call.Talk, v *Call) []call.Talk {
	parts := make([][]call.Talk, len(own))
	for _, t := range v.Talks {
		i := during(own, t)
		parts[i] = append(parts[i], t)
	}
	var out []call.Talk
	for i, o := range own {
		if len(parts[i]) == 0 {
			out = append(out, o)
			continue
		}
		first := parts[i][0].Extension
		direct := i == 0 && (v.Direction == Out || v.First == first) || i > 0 && o.Extension == first
		for _, t := range inOwn(o, parts[i], direct) {
			if o.Recording != "" { // of all that was said on one leg, each talk is a part of it
				t.Recording = o.Recording
			}
			for _, mine := range own {
				if mine.Extension == t.Extension {
					t.Employee = mine.Employee
				}
			}
			out = append(out, t)
		}
	}
	return out
}

// inOwn are the PBX's talks within one of ours. Where the first to talk was
// called directly the beginning is ours too, and the end is always.
func inOwn(own call.Talk, parts []call.Talk, direct bool) []call.Talk {
	out := slices.Clone(parts)
	for i := range out {
		begin, end := out[i].From, out[i].Until
		if i == 0 && direct || begin.Before(own.From) {
			begin = own.From
		}
		if i == len(out)-1 || end.After(own.Until) {
			end = own.Until
		}
		fit := cutAt(out[i], end)
		fit.From = earlier(begin, end)
		fit.Seconds = wholeSeconds(fit.Until.Sub(fit.From))
		out[i] = fit
	}
	return out
}

// during is which of our talks had begun in the middle of another's.
func during(own []call.Talk, t call.Talk) (found int) {
	middle := t.From.Add(t.Until.Sub(t.From) / 2)
	for i, o := range own {
		if !o.From.After(middle) {
			found = i
		}
	}
	return found
}

// tell adds to the timeline what went on inside.
func tell(r *call.Record, v *Call) {
	for _, ext := range v.Rang {
		r.Timeline = append(r.Timeline, call.Event{At: v.Started, Event: "pbx rang " + string(ext)})
	}
	for _, t := range r.Talks {
		r.Timeline = append(r.Timeline, call.Event{At: t.From, Event: "pbx talk " + string(t.Extension)})
	}
	slices.SortStableFunc(r.Timeline, func(a, b call.Event) int { return a.At.Compare(b.At) })
}

// alike reports whether two records of one call say the same. Facts and trace
// never change.
func alike(a, b *call.Record) bool {
	x, y := *a, *b
	x.Facts, x.Trace, y.Facts, y.Trace = call.Document{}, call.Document{}, call.Document{}, call.Document{}
	return reflect.DeepEqual(x, y)
}
