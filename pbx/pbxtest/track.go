package pbxtest

import (
	"slices"
	"strings"
	"time"
)

// Track follows a call that is going on: call control and ActiveCalls show it,
// and its end makes an Account. The PBX of phones keeps one for each call; a
// test without SIP may lead one by hand.
type Track struct {
	state *State
	a     Account
	at    []int // participant of each of a.Legs; 0: none
	from  int   // the caller's participant
	live  Row   // its line of ActiveCalls
	over  bool
}

// live is what is going on.
type live struct {
	calls        []*Track
	participants map[int]Row
	next         int // id of a participant, and of a leg
	leg          int
	events
}

func newLive() live { return live{participants: map[int]Row{}, next: 8100, events: newEvents()} }

// Begin begins to follow a call. trunk is empty where it stays inside, name the
// caller's if it is known.
func (s *State) Begin(d Direction, caller Party, dialled, trunk string) *Track {
	s.mu.Lock()
	defer s.mu.Unlock()
	if caller.Name == "" && d != Inbound {
		_, caller.Name = s.kind(caller.Number)
	}
	t := &Track{state: s, a: Account{Direction: d, Caller: caller, Dialled: dialled, Trunk: trunk, Started: s.now()}}
	s.identify(&t.a.Identity)
	t.from = s.enter(t, t.source(), "Dialing", Party{})
	t.live = Row{"Id": t.a.Number, "Caller": strings.TrimSpace(t.source() + " " + caller.Name), "Callee": dialled, "Status": "Routing",
		"EstablishedAt": nil, "LastChangeStatus": stamp(t.a.Started)}
	s.live.calls = append(s.live.calls, t)
	return t
}

// source is the number inside the PBX from which the call comes.
func (t *Track) source() string {
	if t.a.Direction == Inbound {
		return t.a.Trunk
	}
	return t.a.Caller.Number
}

// Names are how interfaces name the call.
func (t *Track) Names() Identity { return t.a.Identity }

// Ring says that a stop rings.
func (t *Track) Ring(number string, kind Kind, how How) {
	s := t.state
	s.mu.Lock()
	defer s.mu.Unlock()
	l := Leg{Party: Party{Number: number}, Kind: kind, How: how, Rang: s.now()}
	_, l.Name = s.kind(number)
	t.a.Legs = append(t.a.Legs, l)
	at := 0
	switch kind {
	case LineSet:
	case Line:
		at = s.enter(t, t.a.Trunk, "Ringing", t.a.Caller)
	default:
		at = s.enter(t, number, "Ringing", t.a.Caller)
	}
	t.at = append(t.at, at)
	t.status("Routing", number, l.Name)
}

// Answer says that a stop that rings has answered. Queues and menus answer by
// themselves.
func (t *Track) Answer(number string) {
	s := t.state
	s.mu.Lock()
	defer s.mu.Unlock()
	i := t.last(number)
	if i < 0 || !t.a.Legs[i].Answered.IsZero() {
		return
	}
	t.a.Legs[i].Answered = s.now()
	s.become(t.at[i], "Connected")
	s.become(t.from, "Connected")
	t.status("Talking", number, t.a.Legs[i].Name)
}

// Leave says that the call is at a stop no more: it rang in vain, or has passed
// the call on.
func (t *Track) Leave(number string) {
	t.state.mu.Lock()
	defer t.state.mu.Unlock()
	if i := t.last(number); i >= 0 {
		t.leave(i)
	}
}

// Fail says that a stop to which the call was transferred unseen did not take
// it.
func (t *Track) Fail(number string) {
	t.state.mu.Lock()
	defer t.state.mu.Unlock()
	if i := t.last(number); i >= 0 {
		t.a.Legs[i].How = Failed
		t.leave(i)
	}
}

// Back says that the call is at a stop again that it had left.
func (t *Track) Back(number string) {
	t.Ring(number, Extension, Forwarded)
	t.Answer(number)
}

func (t *Track) leave(i int) {
	if t.a.Legs[i].Ended.IsZero() {
		t.a.Legs[i].Ended = t.state.now()
		t.state.exit(t.at[i])
	}
}

// End ends the call and accounts for it. Only the first call does something.
func (t *Track) End(e End) Account {
	s := t.state
	s.mu.Lock()
	defer s.mu.Unlock()
	if t.over {
		return t.a
	}
	t.over = true
	for i := range t.at {
		t.leave(i)
	}
	s.exit(t.from)
	s.live.calls = slices.DeleteFunc(s.live.calls, func(o *Track) bool { return o == t })
	t.a.Ended, t.a.End = s.now(), e
	t.a = s.account(t.a)
	return t.a
}

// last is the newest stop with a number that the call has not left, -1 if none.
func (t *Track) last(number string) int {
	for i := len(t.at) - 1; i >= 0; i-- {
		if t.a.Legs[i].Number == number && t.a.Legs[i].Ended.IsZero() {
			return i
		}
	}
	return -1
}

func (t *Track) status(what, number, name string) {
	now := stamp(t.state.now())
	t.live["Status"], t.live["Callee"], t.live["LastChangeStatus"] = what, strings.TrimSpace(number+" "+name), now
	if what == "Talking" && t.live["EstablishedAt"] == nil {
		t.live["EstablishedAt"] = now
	}
}

// enter adds a participant and tells of it. mu is held.
func (s *State) enter(t *Track, dn, status string, party Party) int {
	s.live.next++
	s.live.leg++
	kind, _ := s.kind(dn)
	p := Row{
		"id": s.live.next, "status": status, "dn": dn, "party_caller_name": party.Name, "party_dn": "", "party_caller_id": party.Number,
		"party_did": "", "device_id": "", "party_dn_type": "None", "direct_control": false, "originated_by_dn": "", "originated_by_type": "None",
		"referred_by_dn": "", "referred_by_type": "None", "on_behalf_of_dn": "", "on_behalf_of_type": "None",
		"callid": t.a.Number, "legid": s.live.leg, "type": wire(kind),
	}
	if party.Number != "" {
		p["party_dn"] = t.source()
		partyKind, _ := s.kind(t.source())
		p["party_dn_type"] = wire(partyKind)
		s.sentBy(t, p)
	}
	if kind == "Extension" {
		p["device_id"] = "sip:" + dn + "@127.0.0.1:5483;rinstance=ab12"
	}
	s.live.participants[s.live.next] = p
	s.changed(upserted, p)
	return s.live.next
}

// sentBy tells who brought the call to a participant: the queue that polls, or
// whoever transferred it. mu is held.
func (s *State) sentBy(t *Track, p Row) {
	n := len(t.a.Legs)
	if n < 2 {
		return
	}
	how, by := t.a.Legs[n-1].How, t.a.Legs[n-2]
	if how == Polled {
		i := slices.IndexFunc(t.a.Legs, func(l Leg) bool { return l.Kind == Queue || l.Kind == RingGroup })
		if i < 0 {
			return
		}
		by = t.a.Legs[i]
	}
	kind, _ := s.kind(by.Number)
	switch how {
	case Polled:
		p["on_behalf_of_dn"], p["on_behalf_of_type"] = by.Number, wire(kind)
	case Blind, Attended:
		p["referred_by_dn"], p["referred_by_type"] = by.Number, wire(kind)
	}
}

// become changes a participant's status. mu is held.
func (s *State) become(id int, status string) {
	p := s.live.participants[id]
	if p == nil || p["status"] == status {
		return
	}
	next := Row{}
	for k, v := range p {
		next[k] = v
	}
	next["status"] = status
	s.live.participants[id] = next
	s.changed(upserted, next)
}

// exit takes a participant away. mu is held.
func (s *State) exit(id int) {
	if p := s.live.participants[id]; p != nil {
		delete(s.live.participants, id)
		s.changed(removed, p)
	}
}

// wire is a type of number as call control writes it.
func wire(kind string) string {
	switch kind {
	case "Extension", "Queue", "RingGroup", "RoutePoint", "ExternalLine":
		return "W" + strings.ToLower(kind)
	case "IVR":
		return "Wivr"
	}
	return "None"
}

// Live is the number of calls that are going on.
func (s *State) Live() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.live.calls)
}

func activeCalls(a *API, q *request) (any, *failure) {
	t := a.state.tables["ActiveCalls"]
	options, fail := parseQuery(q.query, t)
	if fail != nil {
		return nil, fail
	}
	a.state.mu.Lock()
	defer a.state.mu.Unlock()
	rows := []Row{}
	for _, c := range a.state.live.calls {
		r := t.show(c.live, nil, nil)
		r["ServerNow"] = stamp(a.state.now())
		rows = append(rows, r)
	}
	return options.page(t, rows), nil
}

// elapsed is used by feeds and sockets that wait a while: it is false when done
// closes first.
func elapsed(d time.Duration, done <-chan struct{}) bool {
	if d <= 0 {
		return true
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-done:
		return false
	}
}
