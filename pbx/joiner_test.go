package pbx_test

import (
	"context"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"frontdesk/call"
	"frontdesk/pbx"
)

const orlova = call.Number("+79161234567")

// staffOf are the employees of the tests: extension 205 is employee 1205.
type staffOf struct{}

func (staffOf) At(ext call.Extension) (call.Employee, bool) {
	n := 0
	for _, r := range ext {
		n = n*10 + int(r-'0')
	}
	return call.Employee{ID: 1000 + n, Extension: ext}, n < 800
}

// cupboard keeps documents in memory, as the store does on disk.
type cupboard struct {
	mu     sync.Mutex
	docs   map[string][]byte
	broken error
}

func newCupboard() *cupboard { return &cupboard{docs: map[string][]byte{}} }

func (s *cupboard) SavePending(_ context.Context, docs map[string][]byte, gone ...string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken != nil {
		return s.broken
	}
	for _, id := range gone {
		delete(s.docs, id)
	}
	for id, doc := range docs {
		s.docs[id] = slices.Clone(doc)
	}
	return nil
}

func (s *cupboard) LoadPending(_ context.Context, f func(id string, doc []byte)) error {
	s.mu.Lock()
	docs, err := maps.Clone(s.docs), s.broken
	s.mu.Unlock()
	if err != nil {
		return err
	}
	for id, doc := range docs {
		f(id, doc)
	}
	return nil
}

func (s *cupboard) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.broken = err
}

func (s *cupboard) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.docs)
}

// desk is a joiner at work in a bubble, and what it has settled.
type desk struct {
	*pbx.Joiner
	stop func()

	mu      sync.Mutex
	records map[string][]call.Record
	busy    map[call.Number]int
}

// settled takes records as the call log does: what is kept of each is written
// with it.
func (d *desk) settled(pending pbx.Pending) func(call.Record, pbx.Note) {
	var unsaved []pbx.Note
	return func(r call.Record, n pbx.Note) {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.records[r.ID] = append(d.records[r.ID], r)
		for unsaved = append(unsaved, n); len(unsaved) > 0 && pending != nil && unsaved[0].Save(context.Background(), pending) == nil; {
			unsaved = unsaved[1:]
		}
	}
}

func newDesk(t *testing.T, pending pbx.Pending) *desk {
	t.Helper()
	d := &desk{records: map[string][]call.Record{}, busy: map[call.Number]int{}}
	d.Joiner = pbx.NewJoiner(pbx.JoinerConfig{
		Pending: pending, Staff: staffOf{}, Logger: slog.New(slog.DiscardHandler),
		Settled: d.settled(pending),
		Busy: func(n call.Number) bool {
			d.mu.Lock()
			defer d.mu.Unlock()
			return d.busy[n] > 0
		},
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = d.Run(ctx) // it ends with ctx
	}()
	d.stop = sync.OnceFunc(func() { cancel(); <-done })
	t.Cleanup(d.stop)
	return d
}

func (d *desk) under(n call.Number, by int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.busy[n] += by
}

// last is the last word about a call, and how often it was told.
func (d *desk) last(id string) (r call.Record, times int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	all := d.records[id]
	if len(all) == 0 {
		return call.Record{}, 0
	}
	return all[len(all)-1], len(all)
}

func (d *desk) ids() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	return slices.Sorted(maps.Keys(d.records))
}

// after lets virtual time pass.
func after(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// redirected is our record of a call that was handed over.
func redirected(id string, by call.Transfer, from call.Number, target call.Extension, at time.Time) call.Record {
	return call.Record{
		ID: id, Direction: call.In, Parties: call.Parties{Trunk: "carrier", Caller: from, DID: "+74950000000"},
		Times: call.Times{Started: at.Add(-2 * time.Second), Ended: at}, Routed: call.Routed{Target: target, Outcome: call.OutcomeResponsible},
		Ended: call.Ended{Transfer: by}, Legs: []call.Leg{{Peer: "carrier", Began: at.Add(-2 * time.Second)}},
		Timeline: []call.Event{{At: at.Add(-2 * time.Second), Event: "invite"}, {At: at, Event: "end"}},
	}
}

// stop is one second leg of a bridged call.
type stop struct {
	target call.Extension
	began  time.Time
}

// bridged is our record of a call whose media passed here.
func bridged(id string, from call.Number, legs []stop, answered, ended time.Time) call.Record {
	last := legs[len(legs)-1]
	r := redirected(id, call.TransferBridge, from, last.target, ended)
	r.Times.Started = legs[0].began.Add(-2 * time.Second)
	for _, l := range legs {
		r.Legs = append(r.Legs, call.Leg{Peer: "sip:127.0.0.1:5060", Target: "sip:" + string(l.target) + "@127.0.0.1:5060", Began: l.began})
	}
	r.Result, r.MissedIn = call.ResultAbandoned, "extension"
	if !answered.IsZero() {
		r.Times.Answered, r.Result, r.MissedIn = answered, call.ResultAnswered, ""
		r.Legs[len(r.Legs)-1].Code = 200
		r.Talks = []call.Talk{{Extension: last.target, From: answered, Until: ended, Seconds: int(ended.Sub(answered).Round(time.Second).Seconds())}}
	}
	return r
}

// account is what the PBX says, in whole seconds.
func account(id string, from call.Number, first call.Extension, start, end time.Time, talks ...call.Talk) pbx.Call {
	c := pbx.Call{
		ID: id, Account: pbx.AccountCDR, Direction: pbx.In,
		Ends:   pbx.Ends{Caller: from, First: first, Dialled: string(first), Trunk: "10000"},
		Times:  call.Times{Started: start.Truncate(time.Second), Ended: end.Truncate(time.Second)},
		Result: call.ResultAbandoned, MissedIn: "extension", Rang: []call.Extension{first},
	}
	if len(talks) > 0 {
		c.Talks, c.Result, c.MissedIn, c.Rang = talks, call.ResultAnswered, "", nil
		c.Answered = talks[0].From
	}
	return c
}

func talked(ext call.Extension, from, until time.Time) call.Talk {
	from, until = from.Truncate(time.Second), until.Truncate(time.Second)
	return call.Talk{Extension: ext, From: from, Until: until, Seconds: int(until.Sub(from).Seconds())}
}

// told is what the tests compare of a record.
func told(r call.Record) string {
	s := string(r.Result)
	if r.MissedIn != "" {
		s += " in " + r.MissedIn
	}
	for _, t := range r.Talks {
		s += " " + string(t.Extension)
		if t.Employee != 1000+atoi(t.Extension) {
			s += "?"
		}
	}
	return s
}

func atoi(ext call.Extension) int {
	e, _ := staffOf{}.At(ext)
	return e.ID - 1000
}

func TestHandedOver(t *testing.T) {
	t.Parallel()
	for _, by := range []call.Transfer{call.TransferRedirect, call.TransferRefer} {
		synctest.Test(t, func(t *testing.T) {
			d := newDesk(t, nil)
			at := time.Now()
			d.Own(redirected("a", by, orlova, "201", at))
			after(5 * time.Minute)
			if _, n := d.last("a"); n != 0 {
				t.Fatal("settled before the PBX said what became of it")
			}
			d.PBX(account("x", orlova, "201", at.Add(time.Second), at.Add(4*time.Minute),
				talked("201", at.Add(9*time.Second), at.Add(61*time.Second)), talked("205", at.Add(62*time.Second), at.Add(4*time.Minute))))
			synctest.Wait()
			r, n := d.last("a")
			if n != 1 || told(r) != "answered 201 205" || !r.Times.Ended.Equal(at.Add(4*time.Minute)) || r.Target != "201" || r.Outcome != call.OutcomeResponsible {
				t.Errorf("%s: told %d times, %s, %+v", by, n, told(r), r)
			}
			if r.Talks[0].Seconds != 52 {
				t.Errorf("201 talked %d s", r.Talks[0].Seconds)
			}
		})
	}
}

func TestHandedOverAndNobodyTells(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, nil)
		at := time.Now()
		d.Own(redirected("a", call.TransferRedirect, orlova, "201", at))
		after(6*time.Hour - time.Second)
		if _, n := d.last("a"); n != 0 {
			t.Fatal("settled too early")
		}
		after(2 * time.Second)
		if r, n := d.last("a"); n != 1 || r.Result != "" {
			t.Fatalf("told %d times, %s", n, told(r))
		}
		d.PBX(account("x", orlova, "201", at, at.Add(7*time.Hour), talked("201", at.Add(9*time.Second), at.Add(6*time.Hour))))
		synctest.Wait()
		if r, n := d.last("a"); n != 2 || told(r) != "answered 201" {
			t.Fatalf("a late account: told %d times, %s", n, told(r))
		}
	})
}

func TestBridged(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, nil)
		at := time.Now()
		ended := at.Add(265*time.Second + 300*time.Millisecond)
		answered := at.Add(9*time.Second + 400*time.Millisecond)
		d.PBX(account("x", orlova, "201", at, ended, talked("201", answered, at.Add(61*time.Second)), talked("205", at.Add(61*time.Second), ended)))
		after(time.Second)
		d.Own(bridged("a", orlova, []stop{{"201", at}}, answered, ended))
		synctest.Wait()
		r, n := d.last("a")
		if n != 1 || told(r) != "answered 201 205" {
			t.Fatalf("told %d times, %s", n, told(r))
		}
		if !r.Talks[0].From.Equal(answered) || !r.Talks[1].Until.Equal(ended) || !r.Talks[0].Until.Equal(r.Talks[1].From) {
			t.Errorf("our own times do not stand at the ends: %+v", r.Talks)
		}
		if len(d.ids()) != 1 {
			t.Errorf("records %v", d.ids())
		}
	})
}

func TestBridgedAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, nil)
		at := time.Now()
		d.Own(bridged("a", orlova, []stop{{"201", at.Add(-time.Minute)}}, at.Add(-50*time.Second), at))
		after(19 * time.Second)
		if _, n := d.last("a"); n != 0 {
			t.Fatal("settled too early")
		}
		after(2 * time.Second)
		if r, n := d.last("a"); n != 1 || told(r) != "answered 201" {
			t.Fatalf("told %d times, %s", n, told(r))
		}
		d.PBX(account("x", orlova, "201", at.Add(-time.Minute), at)) // a late miss
		synctest.Wait()
		if r, _ := d.last("a"); told(r) != "answered 201" {
			t.Errorf("a late miss overtook an answer: %s", told(r))
		}
	})
}

// TestPicksUpByItself: the PBX answers for a queue, a menu and a mailbox, so our
// own leg says that somebody talked.
func TestPicksUpByItself(t *testing.T) {
	t.Parallel()
	for _, in := range []string{"queue", "ivr", "voicemail"} {
		synctest.Test(t, func(t *testing.T) {
			d := newDesk(t, nil)
			at := time.Now()
			d.Own(bridged("a", orlova, []stop{{"800", at.Add(-time.Minute)}}, at.Add(-time.Minute), at))
			c := account("x", orlova, "800", at.Add(-time.Minute), at)
			c.MissedIn, c.Rang = in, []call.Extension{"101", "102"}
			d.PBX(c)
			synctest.Wait()
			r, n := d.last("a")
			if n != 1 || told(r) != "abandoned in "+in {
				t.Errorf("told %d times, %s", n, told(r))
			}
			if r.Times.Answered.IsZero() {
				t.Error("the caller's leg was answered all the same")
			}
			d.PBX(account("x", orlova, "800", at.Add(-time.Minute), at, talked("102", at.Add(-30*time.Second), at)))
			synctest.Wait()
			if r, _ := d.last("a"); told(r) != "answered 102" {
				t.Errorf("a better account: %s", told(r))
			}
		})
	}
}

// TestPicksUpByItselfAndTheLogTellsLate: a queue that picked up is no answer
// before the call log could be read.
func TestPicksUpByItselfAndTheLogTellsLate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, nil)
		at := time.Now()
		d.Own(bridged("a", orlova, []stop{{"800", at.Add(-time.Minute)}}, at.Add(-time.Minute), at))
		d.Own(bridged("b", "+74957654321", []stop{{"801", at.Add(-time.Minute)}}, at.Add(-time.Minute), at))
		after(2 * time.Minute)
		c := account("x", orlova, "800", at.Add(-time.Minute), at)
		c.Account, c.MissedIn = pbx.AccountLog, "queue"
		d.PBX(c)
		after(2 * time.Minute)
		if r, n := d.last("a"); n != 1 || told(r) != "abandoned in queue" {
			t.Errorf("told %d times, %s", n, told(r))
		}
		if r, n := d.last("b"); n != 1 || len(r.Talks) != 1 {
			t.Errorf("nobody tells of it: told %d times, %s", n, told(r))
		}
	})
}

// TestTwoAtOnce has one number call twice at once; the second to begin is told
// of first.
func TestTwoAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, nil)
		at := time.Now()
		d.Own(redirected("a", call.TransferRedirect, orlova, "201", at))
		d.under(orlova, 1) // the second goes on, bridged
		second := at.Add(3 * time.Second)
		after(time.Minute)
		d.PBX(account("y", orlova, "205", second, at.Add(time.Minute), talked("205", second.Add(4*time.Second), at.Add(time.Minute))))
		after(time.Second)
		if _, n := d.last("a"); n != 0 {
			t.Fatal("the first call took the account of the second")
		}
		d.Own(bridged("b", orlova, []stop{{"205", second}}, second.Add(4*time.Second), at.Add(time.Minute)))
		d.under(orlova, -1)
		synctest.Wait()
		d.PBX(account("x", orlova, "201", at, at.Add(70*time.Second)))
		synctest.Wait()
		a, _ := d.last("a")
		b, _ := d.last("b")
		if told(a) != "abandoned in extension" || told(b) != "answered 205" || len(d.ids()) != 2 {
			t.Errorf("a: %s; b: %s; %v", told(a), told(b), d.ids())
		}
	})
}

func TestNeverPassedUs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, nil)
		at := time.Now()
		d.PBX(pbx.Call{ID: "in", Account: pbx.AccountCDR, Direction: pbx.Internal, Times: call.Times{Started: at, Ended: at}})
		out := account("x", "", "", at, at.Add(time.Minute), talked("101", at.Add(5*time.Second), at.Add(time.Minute)))
		out.Direction, out.Ends = pbx.Out, pbx.Ends{Caller: "101", Callee: orlova, Prefix: "9", Trunk: "carrier"}
		d.PBX(out)
		d.PBX(account("y", orlova, "800", at, at.Add(time.Minute)))
		after(21 * time.Second)
		if len(d.ids()) != 2 {
			t.Fatalf("records %v", d.ids())
		}
		for _, id := range d.ids() {
			switch r, n := d.last(id); {
			case n != 1 || len(id) != 16 || r.ID != id || r.Transfer != call.TransferNone:
				t.Errorf("told %d times: %+v", n, r)
			case r.Direction == call.Out && (r.Prefix != "9" || r.Trunk != "carrier" || r.Caller != "101" || r.DID != orlova || told(r) != "answered 101"):
				t.Errorf("outgoing: %+v", r)
			case r.Direction == call.In && (r.Caller != orlova || r.Target != "800" || told(r) != "abandoned in extension"):
				t.Errorf("incoming: %+v", r)
			}
		}
	})
}

// TestBothSources has the call log tell again, later, what a line has told.
func TestBothSources(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, nil)
		at := time.Now()
		d.PBX(account("x", orlova, "201", at, at.Add(time.Minute), talked("201", at.Add(5*time.Second), at.Add(5*time.Second)), talked("205", at.Add(5*time.Second), at.Add(time.Minute))))
		after(2 * time.Minute)
		logged := account("0000-guid", orlova, "201", at, at.Add(time.Minute), talked("201", at.Add(5*time.Second), at.Add(20*time.Second)), talked("205", at.Add(21*time.Second), at.Add(time.Minute)))
		logged.Account, logged.Talks[1].Recording = pbx.AccountLog, "pbx:17"
		d.PBX(logged)
		d.PBX(logged)
		synctest.Wait()
		ids := d.ids()
		if len(ids) != 1 {
			t.Fatalf("records %v", ids)
		}
		r, n := d.last(ids[0])
		if n != 2 || r.Talks[0].Seconds != 15 || r.Talks[1].Recording != "pbx:17" {
			t.Errorf("told %d times: %+v", n, r.Talks)
		}
	})
}

// TestRestart ends the process while a call waits for the PBX, and while the
// PBX's account of another waits for ours.
func TestRestart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		kept := newCupboard()
		d := newDesk(t, kept)
		at := time.Now()
		r := redirected("a", call.TransferRedirect, orlova, "201", at)
		r.Facts = call.NewDocument(map[string]string{"a": "b"})
		d.Own(r)
		d.PBX(account("y", "+74957654321", "800", at, at.Add(5*time.Second)))
		synctest.Wait()
		d.stop()
		if len(d.ids()) != 0 {
			t.Fatalf("settled at the end: %v", d.ids())
		}
		after(time.Hour)

		d = newDesk(t, kept)
		d.PBX(account("x", orlova, "201", at, at.Add(time.Hour), talked("201", at.Add(5*time.Second), at.Add(time.Hour))))
		after(2 * time.Minute)
		if r, n := d.last("a"); n != 1 || told(r) != "answered 201" || r.Facts.IsZero() {
			t.Errorf("told %d times, %s", n, told(r))
		}
		if len(d.ids()) != 2 {
			t.Errorf("records %v", d.ids())
		}
		d.stop()

		d = newDesk(t, kept)
		again := account("guid", "+74957654321", "800", at, at.Add(5*time.Second))
		again.Account = pbx.AccountLog
		d.PBX(again)
		d.PBX(account("x", orlova, "201", at, at.Add(time.Hour), talked("201", at.Add(5*time.Second), at.Add(time.Hour))))
		after(2 * time.Minute)
		if len(d.ids()) != 0 {
			t.Errorf("what was settled before the restart is told again: %v", d.ids())
		}
		after(7 * time.Hour)
		if kept.count() != 0 {
			t.Errorf("%d calls are kept for ever", kept.count())
		}
	})
}

func TestStoreFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		kept := newCupboard()
		kept.fail(context.DeadlineExceeded)
		d := newDesk(t, kept)
		at := time.Now()
		d.Own(redirected("a", call.TransferRedirect, orlova, "201", at))
		after(time.Minute)
		kept.fail(nil)
		after(20 * time.Second)
		if kept.count() != 1 {
			t.Errorf("%d calls are kept once the store works", kept.count())
		}
		kept.fail(context.DeadlineExceeded)
		d.Own(redirected("b", call.TransferRedirect, orlova, "205", time.Now()))
		synctest.Wait()
		d.stop()
		if ids := d.ids(); !slices.Equal(ids, []string{"b"}) {
			t.Errorf("settled at the end: %v, want what nothing keeps", ids)
		}
	})
}
