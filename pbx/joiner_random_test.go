package pbx_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"frontdesk/call"
	"frontdesk/pbx"
)

// TestInterleavings lets few numbers call often and at once, in all the ways a
// call may take, and tells the two sides' accounts in random order: every record
// must get its own account, and none may be told twice.
func TestInterleavings(t *testing.T) {
	t.Parallel()
	rounds := 1000
	if testing.Short() {
		rounds = 100
	}
	seed := seeded(t)
	for i := range rounds {
		synctest.Test(t, func(t *testing.T) {
			w := world{Rand: rand.New(rand.NewPCG(seed, uint64(i))), began: time.Now(), want: map[string]string{}}
			d := newDesk(t, nil)
			for n := range 3 + w.IntN(6) {
				w.call(d, fmt.Sprintf("own%d", n))
			}
			w.happen()
			if w.check(t, d); t.Failed() {
				t.Fatalf("seed %d, round %d", seed, i)
			}
		})
	}
}

// seeded is FRONTDESK_SEED, or a seed that every run has alike.
func seeded(t *testing.T) uint64 {
	t.Helper()
	seed, err := strconv.ParseUint(cmp.Or(os.Getenv("FRONTDESK_SEED"), "1"), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("FRONTDESK_SEED=%d", seed)
	return seed
}

// world is one random course of events.
type world struct {
	*rand.Rand
	began  time.Time
	begun  []begun // calls at the PBX
	events []happening
	want   map[string]string // what is to be told of each of our records
	alone  []string          // and of those that never passed us
}

type happening struct {
	at time.Time
	do func()
}

type begun struct {
	from   call.Number
	target call.Extension
	at     time.Time
}

func (w *world) on(at time.Time, do func()) { w.events = append(w.events, happening{at, do}) }

// somewhen is a time within d.
func (w *world) somewhen(d time.Duration) time.Duration { return time.Duration(w.Int64N(int64(d))) }

func (w *world) target() call.Extension { return call.Extension(fmt.Sprint(201 + w.IntN(4))) }

// begin finds a moment for a call, so that nothing but the moment tells it from
// another of the same number to the same target.
func (w *world) begin(from call.Number, target call.Extension, at time.Time) time.Time {
	for slices.ContainsFunc(w.begun, func(b begun) bool {
		return b.from == from && b.target == target && b.at.Sub(at).Abs() < 6*time.Second
	}) {
		at = at.Add(time.Second)
	}
	w.begun = append(w.begun, begun{from, target, at})
	return at
}

// call lets one call happen.
func (w *world) call(d *desk, id string) {
	from := []call.Number{orlova, "+74957654321"}[w.IntN(2)]
	how := w.IntN(4)
	if how == 3 { // nothing tells a call that passed from one that did not, but its number
		from = "+78125550000"
	}
	target := w.target()
	at := w.begin(from, target, w.began.Add(w.somewhen(40*time.Second)))
	start := at.Add(w.somewhen(1500 * time.Millisecond)) // when the PBX has it
	end := start.Add(10*time.Second + w.somewhen(10*time.Minute))
	answer := start.Add(2*time.Second + w.somewhen(5*time.Second))
	talks, result := []call.Talk{talked(target, answer, end)}, "answered "+string(target)
	switch w.IntN(3) {
	case 0: // transferred
		middle := answer.Add(end.Sub(answer) / 2)
		other := call.Extension("207")
		talks, result = []call.Talk{talked(target, answer, middle), talked(other, middle, end)}, result+" 207"
	case 1: // missed
		talks, result, answer = nil, "abandoned in extension", time.Time{}
	}
	x := account("x"+id, from, target, start, end, talks...)
	switch how {
	case 0:
		by := []call.Transfer{call.TransferRedirect, call.TransferRefer}[w.IntN(2)]
		w.on(at, func() { d.Own(redirected(id, by, from, target, at)) })
	case 1:
		w.pass(d, from, at, bridged(id, from, []stop{{target, at}}, answer, end))
	case 2: // first to somebody who does not answer
		absent := w.target()
		before := w.begin(from, absent, at.Add(-20*time.Second))
		w.tell(d, account("w"+id, from, absent, before.Add(w.somewhen(time.Second)), at))
		w.pass(d, from, before, bridged(id, from, []stop{{absent, before}, {target, at}}, answer, end))
	default:
		w.alone = append(w.alone, result)
		w.tell(d, x)
		return
	}
	w.want[id] = result
	w.tell(d, x)
}

// pass lets a call pass us from its beginning until its record is written.
func (w *world) pass(d *desk, from call.Number, at time.Time, r call.Record) {
	w.on(at, func() { d.under(from, 1) })
	w.on(r.Times.Ended.Add(w.somewhen(2*time.Second)), func() { d.Own(r); d.under(from, -1) })
}

// tell lets the PBX tell of a call: by line, often by the call log later, and
// either of them more than once. Call control has often seen it end, too.
func (w *world) tell(d *desk, c pbx.Call) {
	say := func(c pbx.Call, within time.Duration) {
		for range 1 + w.IntN(2) {
			w.on(c.Ended.Add(w.somewhen(within)), func() { d.PBX(c) })
		}
	}
	say(c, 15*time.Second)
	if w.IntN(2) == 0 {
		seen := c
		seen.ID, seen.Account = fmt.Sprint(w.IntN(3)), pbx.AccountControl
		if len(seen.Talks) == 0 {
			seen.Result = call.ResultMissed
		}
		w.on(c.Ended.Add(3*time.Second+w.somewhen(time.Second)), func() { d.PBX(seen) })
	}
	if w.IntN(2) == 0 {
		l := c
		l.ID, l.Account = "log-"+c.ID, pbx.AccountLog
		say(l, 3*time.Minute)
	}
}

func (w *world) happen() {
	slices.SortStableFunc(w.events, func(a, b happening) int { return cmp.Compare(a.at.UnixNano(), b.at.UnixNano()) })
	for _, e := range w.events {
		if until := time.Until(e.at); until > 0 {
			time.Sleep(until)
		}
		e.do()
	}
	after(10 * time.Minute)
}

func (w *world) check(t *testing.T, d *desk) {
	t.Helper()
	var others []string
	for _, id := range d.ids() {
		r, _ := d.last(id)
		switch want, ours := w.want[id]; {
		case !ours:
			others = append(others, told(r))
		case told(r) != want:
			t.Errorf("%s (%s to %s): %s, want %s", id, r.Caller, r.Target, told(r), want)
		}
	}
	for id := range w.want {
		if _, n := d.last(id); n == 0 {
			t.Errorf("%s is told never", id)
		}
	}
	slices.Sort(others)
	slices.Sort(w.alone)
	if !slices.Equal(others, w.alone) {
		t.Errorf("calls that never passed us: %q, want %q", others, w.alone)
	}
}
