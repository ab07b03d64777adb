package staff_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"

	"frontdesk/call"
	"frontdesk/staff"
)

// TestMain is also the main function of the processes that tests kill.
func TestMain(m *testing.M) {
	if dsn := os.Getenv(childStore); dsn != "" {
		fmt.Fprintln(os.Stderr, child(dsn))
		os.Exit(1) // it is killed before it ends
	}
	goleak.VerifyTestMain(m)
}

const (
	client = call.Number("+79161234567")
	did    = call.Number("+74951234567")
)

func minutes(n int) *int { return &n }

// people are the employees of the tests: 205 sticks for half an hour of their
// own, 206 never.
func people() map[int]call.Employee {
	return map[int]call.Employee{
		1:  {ID: 1, FirstName: "Anna", Extension: "201"},
		5:  {ID: 5, FirstName: "Boris", Extension: "205", StickyMinutes: minutes(30)},
		6:  {ID: 6, FirstName: "Vera", Extension: "206", StickyMinutes: minutes(0)},
		7:  {ID: 7, FirstName: "Gleb", Extension: "207"},
		8:  {ID: 8, FirstName: "Queue", Extension: "800"},
		9:  {ID: 9, FirstName: "Gone", Extension: "209", Dismissed: true},
		10: {ID: 10, FirstName: "Dina", Extension: "210"},
		11: {ID: 11, FirstName: "Egor", Extension: "210"},
		12: {ID: 12, FirstName: "Mute"}, // without an extension
		13: {ID: 13, FirstName: "Mad", Extension: "213", StickyMinutes: minutes(1 << 40)},
	}
}

func directory() staff.Directory {
	return staff.NewDirectory(people, func() call.Numbers {
		return call.Numbers{Extensions: call.Ranges{"100-299"}, Queues: call.Ranges{"800-899"}}
	})
}

func newBook(change ...func(*staff.BookConfig)) *staff.Book {
	cfg := staff.BookConfig{Window: 15 * time.Minute, Directory: directory()}
	for _, f := range change {
		f(&cfg)
	}
	return staff.NewBook(cfg)
}

// in is an incoming call that just ended, talked with at extensions in turn.
func in(extensions ...call.Extension) call.Record {
	now := time.Now()
	r := call.Record{
		ID: call.NewID(), Direction: call.In, Parties: call.Parties{Trunk: "carrier", Caller: client, DID: did},
		Times: call.Times{Started: now.Add(-time.Minute), Ended: now},
	}
	for _, e := range extensions {
		r.Talks = append(r.Talks, call.Talk{Extension: e, From: now.Add(-time.Minute), Until: now})
	}
	return r
}

// out is an outgoing call that just ended, placed by an extension.
func out(from string, talks ...call.Talk) call.Record {
	now := time.Now()
	return call.Record{
		ID: call.NewID(), Direction: call.Out, Parties: call.Parties{Trunk: "carrier", Caller: call.Number(from), DID: client},
		Times: call.Times{Started: now.Add(-time.Minute), Ended: now}, Talks: talks,
	}
}

func employee(b *staff.Book) int {
	if s := b.Sticky(client, time.Now()); s != nil {
		return s.Employee
	}
	return 0
}

func TestWhatBinds(t *testing.T) {
	t.Parallel()
	missed := in()
	missed.Result, missed.MissedIn, missed.Target = call.ResultMissed, "extension", "201"
	handed := in()
	handed.Transfer, handed.Target = call.TransferRedirect, "201"
	nameless := in("201")
	nameless.Caller = ""
	internal := in("201")
	internal.Caller = "202"
	transferred := in("201", "205")
	transferred.Talks[1].From = transferred.Talks[1].Until // nobody answered there
	told := in("210")
	told.Talks[0].Employee = 11
	queued := in("201", "800")
	for name, c := range map[string]struct {
		record call.Record
		want   int
	}{
		"a talk":                                 {in("201"), 1},
		"the last of several talks":              {in("201", "207"), 7},
		"a transfer that was not answered":       {transferred, 5},
		"a talk, then a queue of unknown agents": {queued, 1},
		"a queue of unknown agents":              {in("800"), 0},
		"an extension that two share":            {in("210"), 0},
		"one of two, told by the source":         {told, 11},
		"a missed call":                          {missed, 0},
		"a call handed over and not followed":    {handed, 0},
		"an extension of nobody":                 {in("299"), 0},
		"an employee who never sticks":           {in("206"), 0},
		"a dismissed employee":                   {in("209"), 0},
		"an anonymous caller":                    {nameless, 0},
		"an internal caller":                     {internal, 0},
		"an attempt to call":                     {out("207"), 7},
		"an outgoing talk":                       {out("207", call.Talk{Extension: "+79161234567", Until: time.Now()}), 7},
		"an outgoing talk, told by the source":   {out("+74950000000", call.Talk{Employee: 5, Until: time.Now()}), 5},
		"an attempt under the company's number":  {out("+74950000000"), 0},
	} {
		b := newBook()
		b.Ended(c.record)
		if got := employee(b); got != c.want {
			t.Errorf("%s binds to %d, want %d", name, got, c.want)
		}
	}
}

func TestWindows(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		window    time.Duration
		extension call.Extension
		want      time.Duration
	}{
		"the default":               {15 * time.Minute, "201", 15 * time.Minute},
		"one's own":                 {15 * time.Minute, "205", 30 * time.Minute},
		"one's own, the default 0":  {0, "205", 30 * time.Minute},
		"off":                       {0, "201", 0},
		"never":                     {15 * time.Minute, "206", 0},
		"one's own beyond a month":  {15 * time.Minute, "213", 30 * 24 * time.Hour},
		"a default beyond a month":  {9999 * time.Hour, "201", 30 * 24 * time.Hour},
		"a default that is nonsens": {-time.Hour, "201", 0},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := newBook(func(cfg *staff.BookConfig) { cfg.Window = c.window })
			b.Ended(in(c.extension))
			if c.want == 0 {
				if s := b.Sticky(client, time.Now()); s != nil {
					t.Errorf("%s: bound until %v", name, s.Until)
				}
				return
			}
			began := time.Now()
			time.Sleep(c.want - 1)
			s := b.Sticky(client, time.Now())
			if s == nil || !s.Until.Equal(began.Add(c.want)) || !s.Since.Equal(began) {
				t.Errorf("%s: a moment before the end %+v", name, s)
			}
			time.Sleep(time.Nanosecond)
			if s := b.Sticky(client, time.Now()); s != nil {
				t.Errorf("%s: at the end still %+v", name, s)
			}
		})
	}
}

// Scenario 27: 205 has a window of their own, then nobody is bound; the window
// counts from the end of the talk, not from when it was told.
func TestLateRecord(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBook()
		r := in("201")
		time.Sleep(10 * time.Minute)
		b.Ended(r)
		time.Sleep(5*time.Minute - 1)
		if employee(b) != 1 {
			t.Error("not bound within the window")
		}
		time.Sleep(time.Nanosecond)
		if employee(b) != 0 {
			t.Error("bound beyond the window of the talk's end")
		}
		b.Ended(r)
		if employee(b) != 0 {
			t.Error("a record older than its window binds")
		}
	})
}

// What several sources tell of one call, in any order.
func TestSourcesOfOneCall(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBook()
		bridge := in("201") // which does not see that the PBX transferred
		b.Ended(bridge)
		cdr := in("201", "207")
		cdr.ID = bridge.ID
		for i := range cdr.Talks {
			cdr.Talks[i].Until = cdr.Talks[i].Until.Truncate(time.Second).Add(-time.Second) // in whole seconds
		}
		b.Ended(cdr)
		if got := employee(b); got != 7 {
			t.Errorf("bound to %d, want 7 whom the PBX's record tells", got)
		}
		other := in("205")
		for i := range other.Talks {
			other.Talks[i].Until = other.Talks[i].Until.Add(-time.Minute)
		}
		b.Ended(other)
		if got := employee(b); got != 7 {
			t.Errorf("an older call binds to %d", got)
		}
		b.Ended(out("201"))
		if got := employee(b); got != 1 {
			t.Errorf("a later attempt binds to %d, want 1", got)
		}
	})
}

// The clock on the wall is set back an hour: nothing lives longer for that, and
// the answer holds on the clock of the call that asks.
func TestClockSetBack(t *testing.T) {
	t.Parallel()
	wall, steady := time.Date(2026, 10, 25, 12, 0, 0, 0, time.UTC), time.Hour
	b := newBook()
	b.SetClock(func() time.Time { return wall }, func() time.Duration { return steady })
	pass := func(d time.Duration) { wall, steady = wall.Add(d), steady+d }
	talk := func(ext call.Extension) call.Record {
		r := in(ext)
		r.Times.Ended, r.Talks[0].Until = wall, wall
		return r
	}
	b.Ended(talk("201"))
	pass(5 * time.Minute)
	wall = wall.Add(-time.Hour)
	s := b.Sticky(client, wall)
	if s == nil || !s.Until.Equal(wall.Add(10*time.Minute)) {
		t.Fatalf("after the jump %+v, want ten minutes from %v", s, wall)
	}
	pass(10 * time.Minute)
	if s := b.Sticky(client, wall); s != nil {
		t.Errorf("lives beyond its window: %+v", s)
	}
	b.Ended(talk("201"))
	wall = wall.Add(-time.Hour)
	pass(time.Minute)
	b.Ended(talk("207"))
	if s := b.Sticky(client, wall); s == nil || s.Employee != 7 {
		t.Errorf("a talk after the jump does not bind: %+v", s)
	}
	wall = wall.Add(3 * time.Hour)
	if s := b.Sticky(client, wall); s == nil || !s.Until.Equal(wall.Add(15*time.Minute)) {
		t.Errorf("a clock set forward ends it: %+v", s)
	}
}

// What a question about another time gets (explain): the hypothetical answer.
func TestAskedAboutAnotherTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBook()
		b.Ended(in("201"))
		for d, want := range map[time.Duration]bool{
			0: true, 14 * time.Minute: true, 15 * time.Minute: false, -5 * time.Second: true, -time.Hour: false,
		} {
			if got := b.Sticky(client, time.Now().Add(d).Round(0)) != nil; got != want {
				t.Errorf("%v from now: %v", d, got)
			}
		}
	})
}

// shelf is a store of bindings in memory, which may be broken.
type shelf struct {
	mu     sync.Mutex
	kept   map[call.Number]call.Sticky
	broken bool
	writes int
}

func newShelf() *shelf { return &shelf{kept: map[call.Number]call.Sticky{}} }

func (s *shelf) SaveSticky(_ context.Context, caller call.Number, b call.Sticky) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken {
		return errors.New("the database is gone")
	}
	s.writes++
	if old, ok := s.kept[caller]; ok && old.Since.After(b.Since) && !old.Since.After(time.Now()) {
		return nil
	}
	s.kept[caller] = call.Sticky{
		Employee: b.Employee, Since: time.UnixMilli(b.Since.UnixMilli()), Until: time.UnixMilli(b.Until.UnixMilli()),
	}
	return nil
}

func (s *shelf) Stickies(_ context.Context, _ time.Time, f func(call.Number, call.Sticky)) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken {
		return errors.New("the database is gone")
	}
	for caller, b := range s.kept {
		f(caller, b)
	}
	return nil
}

func (s *shelf) set(broken bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken = broken
}

// runBook runs a book until stop, which waits for its end.
func runBook(b *staff.Book) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = b.Run(ctx)
	}()
	return func() { cancel(); <-done }
}

func on(s staff.Bindings, shared bool) func(*staff.BookConfig) {
	return func(cfg *staff.BookConfig) { cfg.Store, cfg.Shared = s, shared }
}

func TestRestart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newShelf()
		b := newBook(on(s, false))
		stop := runBook(b)
		b.Ended(in("205"))
		stop() // writes what waits
		time.Sleep(20 * time.Minute)

		b = newBook(on(s, false))
		defer runBook(b)()
		synctest.Wait()
		if employee(b) != 5 {
			t.Error("the binding did not survive")
		}
		time.Sleep(10*time.Minute - time.Millisecond)
		if employee(b) != 5 {
			t.Error("it ended early")
		}
		time.Sleep(time.Millisecond)
		if employee(b) != 0 {
			t.Error("a restart prolonged it")
		}
	})
}

func TestBindingsFromTheFutureAreRefused(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		s := newShelf()
		for i, age := range []time.Duration{-time.Hour, -30 * time.Second, time.Minute} {
			since := now.Add(-age)
			s.kept[call.Number(fmt.Sprintf("+7916000000%d", i))] = call.Sticky{Employee: 1, Since: since, Until: since.Add(15 * time.Minute)}
		}
		s.kept["+79160000003"] = call.Sticky{Employee: 1, Since: now, Until: now.Add(10000 * time.Hour)} // eternal
		s.kept["+79160000004"] = call.Sticky{Employee: 1, Since: now, Until: now.Add(-time.Hour)}
		b := newBook(on(s, false))
		if err := b.Load(t.Context()); err != nil {
			t.Fatal(err)
		}
		var got []bool
		for i := range 5 {
			got = append(got, b.Sticky(call.Number(fmt.Sprintf("+7916000000%d", i)), now) != nil)
		}
		if diff := cmp.Diff([]bool{false, true, true, false, false}, got); diff != "" {
			t.Error(diff)
		}
		if _, refused, _ := b.Counts(); refused != 1 {
			t.Errorf("%d refused, want 1", refused)
		}
		time.Sleep(15 * time.Minute)
		if b.Sticky("+79160000001", time.Now()) != nil {
			t.Error("one of a node whose clock is ahead lives longer than its window")
		}
	})
}

func TestNodesShare(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newShelf()
		a, b := newBook(on(s, true)), newBook(on(s, true))
		defer runBook(a)()
		defer runBook(b)()
		a.Ended(in("201"))
		time.Sleep(1100 * time.Millisecond)
		if employee(b) != 1 {
			t.Error("the other node does not know after a second")
		}
		b.Ended(in("207"))
		time.Sleep(1100 * time.Millisecond)
		if employee(a) != 7 || employee(b) != 7 {
			t.Errorf("bound to %d and %d", employee(a), employee(b))
		}
		s.mu.Lock()
		s.kept[client] = call.Sticky{Since: time.Now(), Until: time.Now()} // taken away
		s.mu.Unlock()
		time.Sleep(1100 * time.Millisecond)
		if employee(a) != 0 || employee(b) != 0 {
			t.Errorf("still bound to %d and %d", employee(a), employee(b))
		}
		if s.writes != 2 {
			t.Errorf("%d writes, want 2: what another node told is not written again", s.writes)
		}
	})
}

// The database is gone for an hour: calls are answered, what matters is written
// afterwards, what is too much is counted.
func TestDatabaseGone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newShelf()
		s.broken = true
		b := newBook(on(s, true), func(cfg *staff.BookConfig) { cfg.Pending, cfg.Window = 10, 3*time.Hour })
		defer runBook(b)()
		for i := range 15 {
			r := in("201")
			r.Caller = call.Number("+7916000" + strconv.Itoa(1000+i))
			b.Ended(r)
			b.Ended(r)
		}
		b.Ended(in("201"))
		if employee(b) != 1 {
			t.Error("not bound while the database is gone")
		}
		time.Sleep(time.Hour)
		if b.Unsaved() != 10 {
			t.Errorf("%d wait, want 10", b.Unsaved())
		}
		s.set(false)
		time.Sleep(time.Minute)
		dropped, _, _ := b.Counts()
		if b.Unsaved() != 0 || len(s.kept) != 10 || dropped != 6 {
			t.Errorf("%d wait, %d kept, %d dropped", b.Unsaved(), len(s.kept), dropped)
		}
	})
}

func TestBookIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		b := newBook(func(cfg *staff.BookConfig) { cfg.Max = 100 })
		for i := range 150 {
			r := in("201")
			r.Caller = call.Number("+7916000" + strconv.Itoa(1000+i))
			b.Ended(r)
			time.Sleep(time.Second)
		}
		if err := b.Check(); err != nil {
			t.Fatal(err)
		}
		if _, _, evicted := b.Counts(); evicted != 50 {
			t.Errorf("%d evicted, want 50", evicted)
		}
		if b.Sticky("+79160001149", time.Now()) == nil || b.Sticky("+79160001000", time.Now()) != nil {
			t.Error("not the oldest one went")
		}
		time.Sleep(15 * time.Minute)
		b.Sweep()
		if err := b.Check(); err != nil {
			t.Fatal(err)
		}
	})
}

// Whatever is told in whatever order, heap and map tell the same, and the
// youngest talk holds.
func TestBookHoldsTogether(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(1, 2))
	extensions := []call.Extension{"201", "205", "207"}
	synctest.Test(t, func(t *testing.T) {
		b := newBook(func(cfg *staff.BookConfig) { cfg.Max = 40 })
		for range 5000 {
			r := in(extensions[rnd.IntN(3)])
			r.Caller = call.Number("+7916000" + strconv.Itoa(1000+rnd.IntN(60)))
			r.Talks[0].Until = r.Talks[0].Until.Add(-time.Duration(rnd.IntN(1200)) * time.Second)
			r.ID = strconv.Itoa(rnd.IntN(50))
			b.Ended(r)
			time.Sleep(time.Duration(rnd.IntN(20)) * time.Second)
			if rnd.IntN(10) == 0 {
				b.Sweep()
			}
			if err := b.Check(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

// Many calls end while many ask.
func TestBookIsSafe(t *testing.T) {
	t.Parallel()
	b := newBook(func(cfg *staff.BookConfig) { cfg.Max = 20 })
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 500 {
				r := in("201")
				r.Caller = call.Number("+7916000" + strconv.Itoa(1000+(i*7+w)%50))
				b.Ended(r)
				b.Sticky(r.Caller, time.Now())
				b.Sweep()
			}
		})
	}
	wg.Wait()
	if err := b.Check(); err != nil {
		t.Error(err)
	}
}

func BenchmarkSticky(b *testing.B) {
	everybody := people()
	book := newBook(func(cfg *staff.BookConfig) {
		cfg.Directory = staff.NewDirectory(func() map[int]call.Employee { return everybody }, func() call.Numbers { return call.Numbers{} })
	})
	for i := range 100_000 {
		r := in("201")
		r.Caller = call.Number("+7916" + strconv.Itoa(1000000+i))
		book.Ended(r)
	}
	b.ReportAllocs()
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		now := time.Now()
		for pb.Next() {
			if book.Sticky("+79161050000", now) == nil {
				b.Fatal("not bound")
			}
		}
	})
}

func BenchmarkEnded(b *testing.B) {
	everybody := people()
	book := newBook(func(cfg *staff.BookConfig) {
		cfg.Directory = staff.NewDirectory(func() map[int]call.Employee { return everybody }, func() call.Numbers { return call.Numbers{} })
	})
	r := in("201")
	b.ReportAllocs()
	for b.Loop() {
		r.Talks[0].Until = time.Now()
		book.Ended(r)
	}
}
