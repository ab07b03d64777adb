package store_test

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"frontdesk/call"
	"frontdesk/store"
	"frontdesk/store/storetest"

	"github.com/prometheus/client_golang/prometheus"
)

func TestJobsAreDone(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, dsn string) {
		s, ctx := open(t, dsn, store.Options{Queues: map[string]int{"crm": 2}}), t.Context()
		work, got := collector(10)
		s.Handle("note", work)
		must(t, s.Enqueue(ctx))
		must(t, s.Enqueue(ctx, store.Job{Kind: "note", Args: "before"}))
		running(t, s)
		must(t, s.Enqueue(ctx, store.Job{Kind: "note", Args: "default"}, store.Job{Kind: "note", Args: "other queue", Queue: "crm"}))
		done := map[string]bool{}
		for range 3 {
			done[receive(t, got)] = true
		}
		if len(done) != 3 {
			t.Errorf("done: %v", done)
		}
		for what, j := range map[string]store.Job{
			`no queue "mail"`:    {Kind: "note", Queue: "mail"},
			"no kind":            {Kind: "x"},
			"needs a key":        {Kind: "note", Once: true},
			"unsupported type":   {Kind: "note", Args: func() {}},
			"there are crm, def": {Kind: "note", Queue: "mail"},
		} {
			mustHold(t, s.Enqueue(ctx, store.Job{Kind: "note", Args: "never"}, j), what)
		}
		must(t, s.Enqueue(ctx, store.Job{Kind: "note", Args: "last"}))
		if v := receive(t, got); v != "last" {
			t.Errorf("a refused batch left %q", v)
		}
	})
}

func TestUniqueWhileNotDone(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, dsn string) {
		s, ctx := open(t, dsn, store.Options{}), t.Context()
		began, end := make(chan string, 10), make(chan struct{})
		s.Handle("sync", func(ctx context.Context, args json.RawMessage) error {
			began <- string(args)
			select {
			case <-end:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		twice := store.Job{Kind: "sync", Key: "contact:12", Args: 1}
		must(t, s.Enqueue(ctx, twice, twice))
		running(t, s)
		receive(t, began)
		must(t, s.Enqueue(ctx, twice)) // is being done
		must(t, s.Enqueue(ctx, store.Job{Kind: "sync", Key: "contact:13", Args: 2}))
		if v := receive(t, began); v != "2" {
			t.Errorf("began %s; contact 12 is being synchronised", v)
		}
		close(end)
		eventually(t, "both done", func() bool { return count(t, s, "completed") == 2 })
		must(t, s.Enqueue(ctx, twice))
		receive(t, began)
	})
}

func TestOnce(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, dsn string) {
		s, ctx := open(t, dsn, store.Options{}), t.Context()
		work, got := collector(10)
		s.Handle("deputy", work)
		running(t, s)
		mail := store.Job{Kind: "deputy", Key: "contact:12/2026-03-01", Args: "mail", Once: true}
		must(t, s.Enqueue(ctx, mail, mail))
		receive(t, got)
		eventually(t, "done", func() bool { return count(t, s, "completed") == 1 })
		must(t, s.Exec(ctx, "DELETE FROM river_job")) // River's cleaner, a day later
		must(t, s.InTx(ctx, func(tx *store.Tx) error { return tx.Enqueue(ctx, mail) }))
		must(t, s.Enqueue(ctx, mail, store.Job{Kind: "deputy", Args: "other"}))
		if v := receive(t, got); v != "other" {
			t.Errorf("owed again: %q", v)
		}
	})
}

func TestFailures(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, dsn string) {
		s, ctx := open(t, dsn, store.Options{}), t.Context()
		var tries sync.Map
		try := func(kind string) int64 {
			n, _ := tries.LoadOrStore(kind, new(atomic.Int64))
			return n.(*atomic.Int64).Add(1)
		}
		handle := func(kind string, first func() error) {
			s.Handle(kind, func(context.Context, json.RawMessage) error {
				if try(kind) == 1 {
					return first()
				}
				return nil
			})
		}
		handle("fails", func() error { return errors.New("portal is down") })
		handle("panics", func() error { panic("a bug") })
		handle("yields", func() error { return store.Later(time.Second) })
		handle("gives-up", func() error { return store.GiveUp(errors.New("the entity was deleted")) })
		kinds := []string{"fails", "panics", "yields", "gives-up"}
		for _, kind := range kinds {
			must(t, s.Enqueue(ctx, store.Job{Kind: kind}))
		}
		running(t, s)
		eventually(t, "three done, one given up", func() bool { return count(t, s, "completed") == 3 && count(t, s, "cancelled") == 1 })
		for kind, want := range map[string]int64{"fails": 2, "panics": 2, "yields": 2, "gives-up": 1} {
			if n := try(kind) - 1; n != want {
				t.Errorf("%s was tried %d times, want %d", kind, n, want)
			}
		}
		s.Look(ctx)
		for name, want := range map[string]float64{
			`frontdesk_store_jobs{state="completed"}`: 3, `frontdesk_store_jobs{state="cancelled"}`: 1, `frontdesk_store_jobs{state="discarded"}`: 0,
			`frontdesk_store_jobs_worked_total{kind="fails",result="failed"}`: 1, `frontdesk_store_jobs_worked_total{kind="fails",result="done"}`: 1,
			`frontdesk_store_jobs_worked_total{kind="panics",result="panicked"}`: 1, `frontdesk_store_jobs_worked_total{kind="yields",result="later"}`: 1,
			`frontdesk_store_jobs_worked_total{kind="gives-up",result="given_up"}`: 1, `frontdesk_store_up`: 1,
		} {
			if got := metric(t, s, name); got != want {
				t.Errorf("%s is %v, want %v", name, got, want)
			}
		}
	})
}

func TestBackoff(t *testing.T) {
	t.Parallel()
	var sum time.Duration
	for failures, want := range map[int]time.Duration{
		0: time.Second, 1: time.Second, 2: 2 * time.Second, 3: 4 * time.Second, 12: 2048 * time.Second, 13: time.Hour, 500: time.Hour,
	} {
		if got := store.Backoff(failures); got != want {
			t.Errorf("after %d failures %v, want %v", failures, got, want)
		}
	}
	for n := 1; n < store.Attempts; n++ {
		sum += store.Backoff(n)
	}
	const week = 7 * 24 * time.Hour
	if sum < week-2*time.Hour || sum > week+2*time.Hour {
		t.Errorf("a job is tried for %v, want a week", sum)
	}
}

// TestJobsOfLater moves the clock of a store over the time of a job.
func TestJobsOfLater(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, dsn string) {
		start := time.Now().UTC()
		var ahead atomic.Int64
		s, ctx := open(t, dsn, store.Options{Now: func() time.Time { return time.Now().Add(time.Duration(ahead.Load())) }}), t.Context()
		work, got := collector(10)
		s.Handle("note", work)
		running(t, s)
		must(t, s.Enqueue(ctx, store.Job{Kind: "note", Args: "tomorrow", At: start.Add(24 * time.Hour)}, store.Job{Kind: "note", Args: "now"}))
		if v := receive(t, got); v != "now" {
			t.Fatalf("first came %q", v)
		}
		ahead.Store(int64(25 * time.Hour))
		if v := receive(t, got); v != "tomorrow" {
			t.Errorf("then came %q", v)
		}
	})
}

// TestSooner does a job at once that is owed for later.
func TestSooner(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, dsn string) {
		s, ctx := open(t, dsn, store.Options{}), t.Context()
		got := make(chan string, 10)
		first := true
		s.Handle("note", func(_ context.Context, args json.RawMessage) error {
			got <- string(args)
			if first {
				first = false
				return store.Later(time.Hour)
			}
			return nil
		})
		running(t, s)
		mustHold(t, s.Enqueue(ctx, store.Job{Kind: "note", Now: true}), "needs a key")
		must(t, s.Enqueue(ctx, store.Job{Kind: "note", Key: "a", Args: 1}))
		receive(t, got)
		eventually(t, "it waits", func() bool { return count(t, s, "scheduled") == 1 })
		must(t, s.Enqueue(ctx, store.Job{Kind: "note", Key: "a", Args: 2}))
		if n := count(t, s, "scheduled"); n != 1 {
			t.Errorf("%d jobs wait, want 1", n)
		}
		must(t, s.Enqueue(ctx, store.Job{Kind: "note", Key: "a", Args: 2, Now: true}))
		if v := receive(t, got); v != "1" {
			t.Errorf("did %q", v)
		}
		eventually(t, "it is done", func() bool { return count(t, s, "completed") == 1 })
		must(t, s.Enqueue(ctx, store.Job{Kind: "note", Key: "a", Args: 3, Now: true}))
		if v := receive(t, got); v != "3" {
			t.Errorf("did %q", v)
		}
	})
}

// TestOnceMore does a job again that was owed while it was being done.
func TestOnceMore(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, dsn string) {
		s, ctx := open(t, dsn, store.Options{}), t.Context()
		began, goOn := make(chan struct{}, 10), make(chan struct{})
		var at atomic.Int64
		s.Handle("note", func(context.Context, json.RawMessage) error {
			if at.Add(1) > 1 {
				t.Error("two at once")
			}
			defer at.Add(-1)
			began <- struct{}{}
			<-goOn
			return nil
		})
		running(t, s)
		must(t, s.Enqueue(ctx, store.Job{Kind: "note", Key: "a", Now: true}))
		receive(t, began)
		must(t, s.Enqueue(ctx, store.Job{Kind: "note", Key: "a"}, store.Job{Kind: "note", Key: "a", Now: true}))
		must(t, s.Enqueue(ctx, store.Job{Kind: "note", Key: "a", Now: true}))
		goOn <- struct{}{}
		receive(t, began)
		goOn <- struct{}{}
		eventually(t, "both are done", func() bool { return count(t, s, "completed") == 2 })
	})
}

// TestForeignKinds wants jobs to wait that this program does not know, as
// after a downgrade or beside a newer node.
func TestForeignKinds(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, dsn string) {
		s, ctx := open(t, dsn, store.Options{}), t.Context()
		work, got := collector(10)
		s.Handle("known", work)
		stop := running(t, s)
		must(t, s.Enqueue(ctx, store.Job{Kind: "unknown", Args: "later"}, store.Job{Kind: "known", Args: "now"}))
		receive(t, got)
		stop()
		if n := count(t, s, "available"); n != 1 {
			t.Fatalf("%d jobs wait, want 1", n)
		}
		if dsn[0] == 's' {
			must(t, s.Close())
		}
		newer := open(t, dsn, store.Options{Node: "newer"})
		newer.Handle("unknown", work)
		running(t, newer)
		if v := receive(t, got); v != "later" {
			t.Errorf("did %q", v)
		}
	})
}

func TestMisuse(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, dsn string) {
		s := open(t, dsn, store.Options{})
		work, _ := collector(1)
		s.Handle("note", work)
		s.Handle("note", work)
		s.Handle("No Kind", work)
		mustHold(t, s.Run(t.Context()), `two handlers of "note"`, `"No Kind" is no kind of job`)
	})
}

// TestTwoNodes share what is on PostgreSQL.
func TestTwoNodes(t *testing.T) {
	t.Parallel()
	dsn := storetest.Postgres(t)
	const jobs = 20
	var met sync.WaitGroup
	met.Add(3) // both nodes, and what they owe
	done := make(chan [2]string, 2*jobs)
	nodes := map[string]*store.Store{}
	for _, name := range []string{"a", "b"} {
		s := open(t, dsn, store.Options{Node: name})
		once := sync.OnceFunc(met.Done)
		s.Handle("share", func(_ context.Context, args json.RawMessage) error {
			once()
			met.Wait() // until both nodes are at work; a job that is done may be owed again
			done <- [2]string{name, string(args)}
			return nil
		})
		running(t, s)
		nodes[name] = s
	}
	var owed []store.Job
	for i := range jobs {
		owed = append(owed, store.Job{Kind: "share", Key: strconv.Itoa(i), Args: i})
	}
	must(t, nodes["a"].Enqueue(t.Context(), owed...))
	must(t, nodes["b"].Enqueue(t.Context(), owed...)) // the same names
	met.Done()
	by, what := map[string]int{}, map[string]int{}
	for range jobs {
		d := receive(t, done)
		by[d[0]]++
		what[d[1]]++
	}
	if len(by) != 2 || len(what) != jobs || len(done) != 0 {
		t.Errorf("done by %v: %v, and %d more", by, what, len(done))
	}

	must(t, nodes["a"].SaveSticky(t.Context(), "+79161234567", call.Sticky{Employee: 7, Since: time.Now(), Until: time.Now().Add(time.Hour)}))
	wantStickies(t, nodes["b"], time.Now().Add(-time.Second), map[call.Number]int{"+79161234567": 7})
	must(t, nodes["b"].DeleteSticky(t.Context(), "+79161234567"))
	wantStickies(t, nodes["a"], time.Now().Add(-time.Second), map[call.Number]int{"+79161234567": 0})
}

// count is the number of jobs in a state.
func count(t testing.TB, s *store.Store, state string) int {
	t.Helper()
	n, err := s.Query(t.Context(), "SELECT count(*) FROM river_job WHERE CAST(state AS TEXT) = $1", state)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// metric is the value of one line of the store's metrics.
func metric(t testing.TB, s *store.Store, name string) float64 {
	t.Helper()
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(s.Collectors()...)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			line := f.GetName()
			for i, l := range m.GetLabel() {
				line += map[bool]string{true: "{", false: ","}[i == 0] + l.GetName() + "=" + strconv.Quote(l.GetValue())
			}
			if len(m.GetLabel()) > 0 {
				line += "}"
			}
			if line == name {
				return m.GetGauge().GetValue() + m.GetCounter().GetValue()
			}
		}
	}
	return 0
}
