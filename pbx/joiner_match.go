package pbx

import (
	"slices"
	"strings"
	"time"

	"frontdesk/call"
)

// affair is one call as far as it is known: our record of it, the PBX's
// accounts, or both.
type affair struct {
	ID      string       `json:"-"`
	Own     *call.Record `json:"own,omitempty"` // nil for a call that never passed frontdesk
	Calls   []accounts   `json:"calls,omitempty"`
	Settled bool         `json:"settled,omitempty"`

	key   string
	slots []slot
	due   time.Time
	told  *call.Record // the record as it was settled last
	gone  []string     // the affairs that became part of it since it was kept
}

// slot is a place for one call of the PBX in a record of ours: one second leg
// of a bridged call, the call that was handed over, or the one that the PBX
// placed.
type slot struct {
	direction Direction // as the PBX sees it
	target    call.Extension
	from, to  time.Time // when the PBX must have got the call
	end       time.Time // when it ended; zero where that is not known
	taken     bool
}

// handed reports whether only the PBX knows what became of the call: it was
// handed over, or our process was killed during it.
func handed(r *call.Record) bool {
	return r.Result == "" || r.Transfer == call.TransferRedirect || r.Transfer == call.TransferRefer
}

// slotsOf lists the places of a record of ours. A client may have been handed
// on, and so have several legs that were answered, one for each talk.
func slotsOf(r *call.Record) []slot {
	end := r.Times.Ended
	if handed(r) {
		from := end
		if r.Transfer == call.TransferRefer && !r.Times.Answered.IsZero() {
			from = r.Times.Answered // the REFER is followed to its end before the record closes
		}
		return []slot{{direction: Direction(r.Direction), target: r.Target, from: from, to: end}}
	}
	var out []slot
	talks := r.Talks
	if r.Direction == call.Out {
		if len(talks) > 1 {
			end = talks[0].Until
		}
		out = append(out, slot{direction: Out, target: call.Extension(r.Caller), from: r.Times.Started, to: r.Times.Started, end: end})
		talks = talks[min(1, len(talks)):]
	}
	for _, l := range r.Legs[min(1, len(r.Legs)):] {
		if !strings.HasPrefix(l.Peer, "sip:") && !strings.HasPrefix(l.Peer, "sips:") {
			continue // to a trunk
		}
		s := slot{direction: In, target: userOf(l.Target), from: l.Began, to: l.Began}
		if l.Code/100 == 2 && len(talks) > 0 {
			s.end, talks = talks[0].Until, talks[1:]
		}
		out = append(out, s)
	}
	return out
}

// userOf is the number in a SIP URI.
func userOf(uri string) call.Extension {
	_, rest, found := strings.Cut(uri, ":")
	if !found {
		rest = uri
	}
	user, _, _ := strings.Cut(rest, "@")
	return call.Extension(user)
}

// number is what both accounts of one call have in common.
func (a *affair) number() string { return a.outside().Digits() }

func (a *affair) outside() call.Number {
	switch {
	case a.Own == nil:
		v := a.Calls[0].view()
		return v.outside()
	case a.Own.Direction == call.Out:
		return a.Own.DID
	default:
		return a.Own.Caller
	}
}

// ended is when the call was over, as far as is known.
func (a *affair) ended() time.Time {
	if a.Own != nil {
		return a.Own.Times.Ended
	}
	return a.Calls[0].view().Ended
}

// open reports whether the PBX has said that more is to come.
func (a *affair) open() bool {
	return slices.ContainsFunc(a.Calls, func(c accounts) bool { return c.view().Open })
}

// hearsay reports whether only call control has told of a call.
func (a *affair) hearsay() bool { return a.Own == nil && a.Calls[0].hearsay() }

// unclear reports whether a call was passed on and the line, which does not tell
// for how long who talked, is all there is.
func (a *affair) unclear() bool {
	return slices.ContainsFunc(a.Calls, func(c accounts) bool {
		return c.CDR != nil && c.Log == nil && passedOn(c.CDR) && (c.Control == nil || !sameChain(c.CDR.Talks, c.Control.Talks))
	})
}

// full reports whether all that the PBX can tell of our record is here.
func (a *affair) full() bool {
	return a.Own != nil && !a.open() && !slices.ContainsFunc(a.slots, func(s slot) bool { return !s.taken })
}

const (
	within      = 10 * time.Second // between the hand-over and the PBX's time of it: clocks differ
	beyondDoubt = 2 * time.Second  // nearer than this there is none
	seen        = 3 * time.Second  // between what call control saw and the PBX's own time of it
	elsewhere   = 100_000          // what another destination costs, in milliseconds of distance
	unplaced    = 1_000_000        // what it costs to leave a call without a place
	never       = 1_000_000_000
)

// place is a free slot of an affair.
type place struct {
	affair *affair
	slot   int
}

// distance is how badly a call fits a place, in milliseconds; never where it
// cannot. sure is false where a better place may yet come.
func distance(s *slot, c *Call) (cost int, sure bool) {
	gap := gapTo(c.Started, s.from, s.to)
	if s.taken || s.direction != c.Direction || gap > within {
		return never, false
	}
	cost, sure = int(gap.Milliseconds()), gap <= beyondDoubt
	if !s.end.IsZero() {
		apart := s.end.Sub(c.Ended).Abs()
		if apart > within {
			return never, false
		}
		cost += int(apart.Milliseconds()) / 4
	}
	if !sameTarget(s.target, c) {
		return cost + elsewhere, false
	}
	return cost, sure
}

func gapTo(t, from, to time.Time) time.Duration {
	switch {
	case t.Before(from):
		return from.Sub(t)
	case t.After(to):
		return t.Sub(to)
	}
	return 0
}

// sameTarget reports whether a call went where we sent it. A DID of the PBX may
// carry a private prefix before the extension. Calls from inside are told by
// who called, where the PBX gave its extension.
func sameTarget(target call.Extension, c *Call) bool {
	if c.Direction == Out {
		return len(target) > 6 || strings.HasPrefix(string(target), "+") || call.Number(target) == c.Caller
	}
	return c.First == "" || target == "" || strings.HasSuffix(string(target), string(c.First)) || string(target) == c.Dialled
}

// match places the waiting calls of a number in the records of that number,
// where there is no doubt. While another call of the number is under way, whose
// record may fit better, only the end of a call takes doubt away.
func (j *Joiner) match(key string) {
	j.assign(key, nil, func(waiting *affair, s *slot, sure bool) bool {
		return sure && (!s.end.IsZero() || !j.cfg.Busy(waiting.outside()))
	})
}

// force places a call that has waited long enough where it fits best, unless a
// better place may yet come; false where it stays unplaced.
func (j *Joiner) force(a *affair) bool {
	busy := j.cfg.Busy(a.outside())
	j.assign(a.key, a, func(waiting *affair, _ *slot, sure bool) bool { return waiting == a && (sure || !busy) })
	return j.affairs[a.ID] != a
}

// assign finds the best places for all waiting calls of a number at once, and
// uses those that accept agrees to. What only call control saw takes nobody's
// place, but for the one that must have one now.
func (j *Joiner) assign(key string, now *affair, accept func(waiting *affair, s *slot, sure bool) bool) {
	var waiting []*affair
	var places []place
	for _, a := range j.numbers[key] {
		if a.Own == nil && !a.Settled && (!a.hearsay() || a == now) {
			waiting = append(waiting, a)
		}
	}
	for _, a := range j.numbers[key] {
		for i := range a.slots {
			if slices.ContainsFunc(waiting, func(w *affair) bool { return fits(&a.slots[i], w) }) {
				places = append(places, place{a, i})
			}
		}
	}
	if len(waiting) == 0 || len(places) == 0 {
		return
	}
	costs, sure := weigh(waiting, places)
	for row, column := range cheapest(costs) {
		if column >= len(places) || costs[row][column] >= unplaced {
			continue
		}
		if p := places[column]; accept(waiting[row], &p.affair.slots[p.slot], sure[row][column]) {
			j.join(p.affair, p.slot, waiting[row])
		}
	}
}

func fits(s *slot, waiting *affair) bool {
	c := waiting.Calls[0].view()
	cost, _ := distance(s, &c)
	return cost < never
}

// weigh makes the table of costs; its last columns leave a call unplaced.
func weigh(waiting []*affair, places []place) (costs [][]int, sure [][]bool) {
	costs, sure = make([][]int, len(waiting)), make([][]bool, len(waiting))
	for row, w := range waiting {
		c := w.Calls[0].view()
		costs[row], sure[row] = make([]int, len(places)+len(waiting)), make([]bool, len(places))
		for column, p := range places {
			costs[row][column], sure[row][column] = distance(&p.affair.slots[p.slot], &c)
		}
		for column := range waiting {
			costs[row][len(places)+column] = unplaced
		}
	}
	return costs, sure
}

// join makes one affair of two.
func (j *Joiner) join(own *affair, slot int, pbx *affair) {
	j.forget(pbx)
	own.gone = append(own.gone, pbx.ID)
	own.slots[slot].taken = true
	own.Calls = append(own.Calls, pbx.Calls...)
	own.Calls[len(own.Calls)-1].Slot = slot
	slices.SortStableFunc(own.Calls, func(a, b accounts) int { return a.started().Compare(b.started()) })
	for _, id := range pbx.Calls[0].ids() {
		j.calls[id] = own
	}
	j.joined.Add(1)
	j.dirty[own.ID] = true
	j.complete(own)
}

// twin finds the call that another of the PBX's sources has told of already,
// but for one. It costs never where there is none, and elsewhere or more where
// the sources do not agree on where the call went: its own twin may yet come.
func (j *Joiner) twin(c *Call, but *affair) (best *affair, at, least int) {
	least = never
	for _, a := range j.numbers[c.outside().Digits()] {
		for i := range a.Calls {
			if a == but {
				continue
			}
			if d := a.Calls[i].apart(c); d < least && a.Calls[i].direction() == c.Direction {
				best, at, least = a, i, d
			}
		}
	}
	return best, at, least
}

// rejoin takes a call that found no place for the one of which another source
// has told otherwise; false where there is none.
func (j *Joiner) rejoin(a *affair) bool {
	var told []*Call
	a.Calls[0].each(func(c *Call) { told = append(told, c) })
	var twin *affair
	at := 0
	for i, c := range told {
		t, k, _ := j.twin(c, a)
		if t == nil || i > 0 && (t != twin || k != at) {
			return false
		}
		twin, at = t, k
	}
	j.forget(a)
	twin.gone = append(twin.gone, a.ID)
	for _, c := range told {
		twin.Calls[at].put(c)
		j.calls[c.key()] = twin
	}
	j.improved(twin)
	return true
}

// cheapest gives every row a column of its own so that the sum of the costs is
// least (the Hungarian method). There are at least as many columns as rows.
func cheapest(costs [][]int) []int {
	rows, columns := len(costs), len(costs[0])
	u, v := make([]int, rows+1), make([]int, columns+1)
	owner, way := make([]int, columns+1), make([]int, columns+1) // 0 is no row, and the column where a row begins
	for row := 1; row <= rows; row++ {
		owner[0] = row
		column := 0
		least, used := make([]int, columns+1), make([]bool, columns+1)
		for i := range least {
			least[i] = 1 << 60
		}
		for owner[column] != 0 {
			used[column] = true
			r, delta, next := owner[column], 1<<60, 0
			for c := 1; c <= columns; c++ {
				if used[c] {
					continue
				}
				if d := costs[r-1][c-1] - u[r] - v[c]; d < least[c] {
					least[c], way[c] = d, column
				}
				if least[c] < delta {
					delta, next = least[c], c
				}
			}
			for c := 0; c <= columns; c++ {
				if used[c] {
					u[owner[c]] += delta
					v[c] -= delta
				} else {
					least[c] -= delta
				}
			}
			column = next
		}
		for column != 0 {
			owner[column] = owner[way[column]]
			column = way[column]
		}
	}
	out := make([]int, rows)
	for c := 1; c <= columns; c++ {
		if owner[c] != 0 {
			out[owner[c]-1] = c - 1
		}
	}
	return out
}
