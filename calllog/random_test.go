package calllog_test

import (
	"cmp"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"frontdesk/call"
	"frontdesk/crm/crmtest"
	"frontdesk/store/storetest"
)

// TestRandomFaults logs calls of all kinds, 250 on each database, while any
// request may fail before or after the portal did it, and the process may be
// killed at any: the store is closed under it and opened again. Each call is in
// the portal exactly once.
func TestRandomFaults(t *testing.T) {
	const each = 10
	worlds := 25
	if testing.Short() {
		worlds = 4
	}
	seed := seeded(t)
	storetest.OnBoth(t, func(t *testing.T, dsn string) {
		if dsn[0] == 's' {
			for i := range worlds {
				file := strings.TrimSuffix(dsn, ".db") + fmt.Sprint(i) + ".db"
				stormyWorld(t, file, rand.New(rand.NewPCG(seed, uint64(i))), i, each)
			}
			return
		}
		for i := range worlds {
			stormyWorld(t, dsn, rand.New(rand.NewPCG(seed, uint64(1000+i))), i, each)
		}
	})
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

// stormyWorld logs some calls on one portal.
func stormyWorld(t *testing.T, dsn string, rng *rand.Rand, number, calls int) {
	t.Helper()
	w := newWorld(t, dsn, newPortal(crmtest.Options{}))
	var gone atomic.Int64 // minutes that went by until a killed process was started again
	began := time.Now()
	w.clock = func() time.Time { return began.Add(time.Duration(gone.Load()) * time.Minute) }
	var mu sync.Mutex
	var dead atomic.Bool
	storm := func(int, string) fate {
		mu.Lock()
		defer mu.Unlock()
		switch f := fate(rng.IntN(12)); f {
		case refused, lost, overload:
			return f
		case killed, unsent:
			if rng.IntN(2) == 0 {
				dead.Store(true)
				must(t, w.store.Close()) // what this request came to is not written
				return f
			}
		}
		return arrives
	}
	w.start()
	reborn := func() {
		if dead.Swap(false) {
			gone.Add(2)
			w.start()
		}
	}
	var records []call.Record
	for i := range calls {
		mu.Lock()
		r := anyCall(rng, fmt.Sprintf("w%dc%d", number, i))
		mu.Unlock()
		records = append(records, r)
		if rng.IntN(2) == 0 && r.Direction == call.In {
			w.line.set(storm)
			w.log.During(t.Context(), incomingOf(r)) // its errors are left to the end of the call
			w.line.set(nil)
			reborn()
		}
		must(t, w.log.Settle(t.Context(), r))
	}
	w.line.set(storm)
	for round := 0; ; round++ {
		open := 0
		for _, r := range records {
			if w.settledIn(t, r.ID) {
				continue
			}
			open++
			_ = w.log.Work(t.Context(), r.ID) // what fails is tried again
			reborn()
		}
		if open == 0 {
			break
		}
		if round == 40 {
			w.line.set(nil)
		}
		if round == 80 {
			t.Fatalf("%d calls are not done", open)
		}
	}
	w.line.set(nil)
	w.judge(t, records)
	w.stop()
}

// settledIn reports whether nothing is owed for a call.
func (w *world) settledIn(t *testing.T, id string) bool {
	r, _, err := w.store.Record(t.Context(), id)
	if err != nil {
		t.Error(err) // it may be asked beside the test's goroutine
	}
	return !slices.ContainsFunc(r.Ledger, func(e call.Entry) bool { return e.State == call.StepWaiting })
}

// incomingOf is a call while it rings.
func incomingOf(r call.Record) call.Record {
	r.Talks, r.Result, r.MissedIn, r.Times.Ended = nil, "", "", time.Time{}
	return r
}

// anyCall is some call of one of three callers.
func anyCall(rng *rand.Rand, id string) call.Record {
	caller := call.Number(fmt.Sprintf("+791600000%02d", rng.IntN(30)))
	from := func(r *call.Record) { r.Caller = caller }
	switch rng.IntN(5) {
	case 0:
		return incoming(id, from, answered(talk("201", 10, 52), talk("205", 62, 202)))
	case 1:
		return incoming(id, from, missed("queue"), func(r *call.Record) { r.Target = "801" })
	case 2:
		return incoming(id, outgoing, answered(talk("201", 10, 95)), func(r *call.Record) { r.DID = caller })
	case 3:
		return incoming(id, from, missed("extension"))
	}
	return incoming(id, from, answered(talk("205", 10, 20)))
}

// judge compares what the portal has with the calls there were.
func (w *world) judge(t *testing.T, records []call.Record) {
	t.Helper()
	finished := map[string]int{}
	lead := map[string]int{}
	for _, c := range w.portal.Calls() {
		if c.Finished {
			finished[fmt.Sprintf("%s %s %d by %d", c.ExternalID, c.Status, c.Duration, c.FinishedBy)]++
		}
	}
	for _, l := range w.portal.Leads() {
		for _, p := range l.Phones {
			lead[p]++
		}
	}
	want := 0
	for _, r := range records {
		for i, x := range r.Talks {
			want++
			who := map[call.Extension]int{"201": 61, "205": 65}[x.Extension]
			w.once(t, finished, r.ID, fmt.Sprintf("%s-%d 200 %d by %d", r.ID, i, x.Seconds, who))
		}
		if len(r.Talks) == 0 {
			want++
			w.once(t, finished, r.ID, r.ID+"-0 304 0 by 99")
		}
		if n := lead[string(r.Caller)]; r.Direction == call.In && n != 1 {
			t.Errorf("%d leads of %s", n, r.Caller)
		}
	}
	if len(finished) != want {
		t.Errorf("%d entries, want %d: %v", len(finished), want, finished)
	}
}

func (w *world) once(t *testing.T, finished map[string]int, id, entry string) {
	t.Helper()
	if finished[entry] == 1 {
		return
	}
	r, _, err := w.store.Record(t.Context(), id)
	t.Errorf("%q is there %d times: %+v %v", entry, finished[entry], r.Ledger, errors.Join(err))
}
