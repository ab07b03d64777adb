package pbx

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"frontdesk/call"
)

// Kinds of numbers, as call control names them without their W.
const (
	dnExtension = "extension"
	dnQueue     = "queue"
	dnRingGroup = "ringgroup"
	dnMenu      = "ivr"
	dnTrunk     = "externalline"
)

// controlDN is a number of the snapshot with those in calls there.
type controlDN struct {
	DN, Type     loose
	Participants []participantWire
}

func (d controlDN) kind() string { return dnKind(d.Type) }

func dnKind(l loose) string { return strings.TrimPrefix(strings.ToLower(l.text()), "w") }

// participantWire is one side of a call as 3CX gives it.
type participantWire struct {
	ID, Status, CallID loose
	partyWire
	PartyDN     loose `json:"party_dn"`
	PartyDNType loose `json:"party_dn_type"`
	behalfWire
}

type partyWire struct {
	PartyNumber loose `json:"party_caller_id"`
	PartyName   loose `json:"party_caller_name"`
	PartyDID    loose `json:"party_did"`
}

type behalfWire struct {
	ReferredBy loose `json:"referred_by_dn"`
	Behalf     loose `json:"on_behalf_of_dn"`
	BehalfType loose `json:"on_behalf_of_type"`
}

// Participant is an extension in a call.
type Participant struct {
	Call      int // the PBX's number of the call
	Extension call.Extension
	Status    string // Dialing, Ringing, Connected
	Party     call.Number
	PartyDN   call.Extension // the trunk, or the extension it speaks with
	Since     time.Time      // of Status, as far as it was seen
}

// board is the state of all calls that are seen. It is pure: times are given.
type board struct {
	country string
	grace   time.Duration
	kinds   map[call.Extension]string // of the numbers that are monitored
	seats   map[string]*seat          // by entity
	calls   map[int]*following
	joined  map[int]int // calls that turned out to be part of another
}

// seat is a participant.
type seat struct {
	dn     call.Extension
	call   int
	status string
	since  time.Time
	spell  *spell
}

// spell is a time that a number was in a call with one party.
type spell struct {
	ext       call.Extension
	kind      string
	party     call.Number
	partyDN   call.Extension
	outside   bool // the party is beyond a trunk
	dialled   bool // by the extension
	queue     call.Extension
	did       call.Number
	began     time.Time
	connected time.Time // zero: not
	until     time.Time // zero: not over
}

// following is a call and all that was seen of it.
type following struct {
	spells []*spell
	seats  int
	left   time.Time      // when the last one went
	trunk  call.Extension // by which it came or went, where that is monitored too
}

func newBoard(country string, grace time.Duration) *board {
	return &board{
		country: country, grace: grace, kinds: map[call.Extension]string{},
		seats: map[string]*seat{}, calls: map[int]*following{}, joined: map[int]int{},
	}
}

func (b *board) follows(n call.Extension) bool {
	_, known := b.kinds[n]
	return known
}

func (b *board) live() []Participant {
	var out []Participant
	for _, s := range b.seats {
		if b.kinds[s.dn] != dnExtension {
			continue
		}
		out = append(out, Participant{b.root(s.call), s.dn, s.status, s.spell.party, s.spell.partyDN, s.since})
	}
	slices.SortFunc(out, func(x, y Participant) int {
		return cmp.Or(cmp.Compare(x.Call, y.Call), cmp.Compare(x.Extension, y.Extension))
	})
	return out
}

// reset brings the board in line with a snapshot: who is not there has left.
func (b *board) reset(dns []controlDN, at time.Time) {
	clear(b.kinds)
	there := map[string]bool{}
	for _, d := range dns {
		dn := call.Extension(d.DN.text())
		b.kinds[dn] = d.kind()
		for _, p := range d.Participants {
			entity := fmt.Sprintf("/callcontrol/%s/participants/%s", dn, p.ID.text())
			there[entity] = true
			b.upsert(entity, p, at)
		}
	}
	for entity := range b.seats {
		if !there[entity] {
			b.remove(entity, at)
		}
	}
}

// upsert brings one participant up to date; it reports false for a number that
// the last snapshot did not have.
func (b *board) upsert(entity string, p participantWire, at time.Time) bool {
	dn, ok := entityDN(entity)
	if !ok {
		return true
	}
	kind, known := b.kinds[dn]
	if !known {
		return false
	}
	n := b.root(p.CallID.int())
	next := b.spell(dn, p, at)
	s := b.seats[entity]
	if s == nil {
		s = &seat{dn: dn}
		b.seats[entity] = s
		b.sit(s, n, kind, next)
	} else if b.moved(s, n, next) {
		b.rise(s, at)
		b.sit(s, n, kind, next)
	} else {
		s.spell.learn(next)
	}
	status := p.Status.text()
	if status != s.status {
		s.status, s.since = status, at
	}
	switch strings.ToLower(status) {
	case "connected":
		if s.spell.connected.IsZero() {
			s.spell.connected = at
		}
	case "dialing":
		s.spell.dialled = true
	}
	if by := call.Extension(p.ReferredBy.text()); by != "" && s.spell.outside {
		b.join(s, by)
	}
	return true
}

// spell reads what p says of its party.
func (b *board) spell(dn call.Extension, p participantWire, at time.Time) *spell {
	s := &spell{
		ext: dn, began: at, party: call.ParseNumber(p.PartyNumber.text(), b.country),
		partyDN: call.Extension(p.PartyDN.text()), outside: dnKind(p.PartyDNType) == dnTrunk,
		did: call.ParseNumber(p.PartyDID.text(), b.country),
	}
	if k := dnKind(p.BehalfType); k == dnQueue || k == dnRingGroup {
		s.queue = call.Extension(p.Behalf.text())
	}
	return s
}

// learn takes what became known of the same party.
func (s *spell) learn(next *spell) {
	s.party, s.partyDN, s.did = cmp.Or(next.party, s.party), cmp.Or(next.partyDN, s.partyDN), cmp.Or(next.did, s.did)
	s.queue, s.outside = cmp.Or(next.queue, s.queue), s.outside || next.outside
}

// moved reports whether a seat is in another call now, or with another party
// after it was connected: a transfer.
func (b *board) moved(s *seat, n int, next *spell) bool {
	if b.root(s.call) != n {
		return true
	}
	other := next.outside != s.spell.outside || next.party != s.spell.party && next.party != "" && s.spell.party != ""
	return other && !s.spell.connected.IsZero() && next.partyDN != ""
}

// sit puts a seat into a call.
func (b *board) sit(s *seat, n int, kind string, sp *spell) {
	f := b.calls[n]
	if f == nil {
		f = &following{}
		b.calls[n] = f
	}
	f.seats++
	switch sp.kind = kind; kind {
	case dnExtension, dnQueue, dnRingGroup, dnMenu:
		f.spells = append(f.spells, sp)
	case dnTrunk:
		f.trunk = s.dn
	}
	s.call, s.spell = n, sp
}

func (b *board) rise(s *seat, at time.Time) {
	s.spell.until = at
	if f := b.calls[b.root(s.call)]; f != nil {
		f.seats--
		f.left = at
	}
}

// remove takes a participant away; one that is not there is no matter.
func (b *board) remove(entity string, at time.Time) {
	if s := b.seats[entity]; s != nil {
		delete(b.seats, entity)
		b.rise(s, at)
	}
}

// root is the call that n is part of.
func (b *board) root(n int) int {
	if to, ok := b.joined[n]; ok {
		return to
	}
	return n
}

// join puts the call of a seat, to which an extension has transferred an
// outside party, into the call in which that extension had the party.
func (b *board) join(s *seat, by call.Extension) {
	n := b.root(s.call)
	for _, first := range slices.Sorted(maps.Keys(b.calls)) {
		if first == n || !b.calls[first].had(by, s.spell.party) {
			continue
		}
		from, to := b.calls[n], b.calls[first]
		to.spells, to.seats = append(to.spells, from.spells...), to.seats+from.seats
		if from.left.After(to.left) {
			to.left = from.left
		}
		delete(b.calls, n)
		for part, root := range b.joined {
			if root == n {
				b.joined[part] = first
			}
		}
		b.joined[n] = first
		return
	}
}

func (f *following) had(ext call.Extension, party call.Number) bool {
	return slices.ContainsFunc(f.spells, func(s *spell) bool { return s.ext == ext && s.outside && s.party == party })
}

// over takes out the calls that nobody is in any more, in order.
func (b *board) over(now time.Time) []Call {
	var out []Call
	for _, n := range slices.Sorted(maps.Keys(b.calls)) {
		f := b.calls[n]
		if f.seats > 0 || now.Sub(f.left) < b.grace {
			continue
		}
		delete(b.calls, n)
		maps.DeleteFunc(b.joined, func(_, root int) bool { return root == n })
		if c, ok := f.account(n); ok {
			out = append(out, c)
		}
	}
	return out
}

// account is what was seen of a call; ok is false where it was nowhere.
func (f *following) account(n int) (c Call, ok bool) {
	spells := slices.DeleteFunc(slices.Clone(f.spells), func(s *spell) bool {
		if f.trunk != "" && s.dialled && s.partyDN == "" { // who dials is not always told the party
			s.outside, s.partyDN = true, f.trunk
		}
		return !s.outside
	})
	c = Call{ID: strconv.Itoa(n), Account: AccountControl}
	if len(spells) == 0 {
		c.Direction, spells = Internal, f.spells
	}
	if len(spells) == 0 {
		return Call{}, false
	}
	slices.SortStableFunc(spells, func(x, y *spell) int { return x.began.Compare(y.began) })
	first := spells[0]
	c.Started, c.Ended = first.began, f.left
	c.ends(spells)
	for _, s := range spells {
		c.add(s)
	}
	c.Rang = slices.DeleteFunc(c.Rang, func(e call.Extension) bool {
		return slices.ContainsFunc(c.Talks, func(t call.Talk) bool { return t.Extension == e })
	})
	c.Result = call.ResultAnswered
	if len(c.Talks) == 0 {
		c.Result = call.ResultMissed
		if c.Direction == In {
			c.MissedIn = missedIn(spells[len(spells)-1])
		}
	}
	return c, true
}

// missedIn is where a call ended that nobody took, by its last stop.
func missedIn(last *spell) string {
	switch {
	case last.queue != "", last.kind == dnQueue, last.kind == dnRingGroup:
		return missedQueue
	case last.kind == dnMenu:
		return missedIVR
	}
	return missedExtension
}

// ends tells who called whom.
func (c *Call) ends(spells []*spell) {
	first := spells[0]
	switch {
	case c.Direction == Internal:
		c.Caller, c.Callee, c.First = call.Number(first.partyDN), call.Number(first.ext), first.ext
		if first.dialled {
			c.Caller, c.Callee, c.First = call.Number(first.ext), call.Number(first.partyDN), first.partyDN
		}
	case first.dialled:
		c.Direction, c.Caller, c.Callee, c.Trunk = Out, call.Number(first.ext), first.party, string(first.partyDN)
	default:
		c.Direction, c.Caller, c.Callee, c.Trunk = In, first.party, first.did, string(first.partyDN)
		c.First = cmp.Or(first.queue, first.ext)
	}
}

// add accounts for one spell. Of a call within the house the one who was called
// is who talked.
func (c *Call) add(s *spell) {
	switch {
	case s.kind != dnExtension, c.Direction == Internal && s.dialled:
	case !s.connected.IsZero():
		c.Talks = append(c.Talks, newTalk(s.ext, s.connected, cmp.Or(s.until, c.Ended)))
		if c.Answered.IsZero() {
			c.Answered = s.connected
		}
	case !s.dialled && !slices.Contains(c.Rang, s.ext):
		c.Rang = append(c.Rang, s.ext)
	}
}
