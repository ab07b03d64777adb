package store_test

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"frontdesk/call"
	"frontdesk/store"
	"frontdesk/store/storetest"

	"github.com/google/go-cmp/cmp"
)

func TestState(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, dsn string) {
		s, ctx := open(t, dsn, store.Options{}), t.Context()
		if _, err := s.Get(ctx, "token"); !errors.Is(err, store.ErrNotFound) {
			t.Fatalf("nothing kept: %v, want ErrNotFound", err)
		}
		for _, value := range [][]byte{[]byte("one"), {0, 0xff, '\n', '\''}, {}, nil, bytes.Repeat([]byte{7}, 100_000)} {
			must(t, s.Put(ctx, "token", value))
			got, err := s.Get(ctx, "token")
			if err != nil || !bytes.Equal(got, value) {
				t.Errorf("put %d bytes, got %d: %v", len(value), len(got), err)
			}
		}
		must(t, s.Delete(ctx, "token"))
		must(t, s.Delete(ctx, "token"))
		if _, err := s.Get(ctx, "token"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("deleted: %v, want ErrNotFound", err)
		}
	})
}

func TestCompareAndPut(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, dsn string) {
		s, ctx := open(t, dsn, store.Options{}), t.Context()
		for i, c := range []struct {
			old, value []byte
			want       bool
		}{
			{[]byte("a"), []byte("b"), false}, // nothing there
			{nil, []byte("a"), true},
			{nil, []byte("b"), false},
			{[]byte("x"), []byte("b"), false},
			{[]byte("a"), []byte("b"), true},
			{[]byte("b"), nil, true},
			{[]byte{}, []byte("c"), true},
		} {
			if got, err := s.CompareAndPut(ctx, "token", c.old, c.value); err != nil || got != c.want {
				t.Errorf("step %d: %v, %v; want %v", i, got, err, c.want)
			}
		}
	})
}

// TestOneOfMany is two nodes on PostgreSQL, one on SQLite, whose goroutines
// all want to be the one that refreshes a token.
func TestOneOfMany(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, dsn string) {
		nodes := []*store.Store{open(t, dsn, store.Options{})}
		if dsn[0] == 'p' {
			nodes = append(nodes, open(t, dsn, store.Options{Node: "other"}))
		}
		must(t, nodes[0].Put(t.Context(), "token", []byte("0")))
		const rounds, each = 5, 4
		for round := range rounds {
			old, next := []byte(strconv.Itoa(round)), []byte(strconv.Itoa(round+1))
			var won atomic.Int64
			var wg sync.WaitGroup
			for _, s := range nodes {
				for range each {
					wg.Go(func() {
						ok, err := s.CompareAndPut(t.Context(), "token", old, next)
						if err != nil {
							t.Error(err)
						}
						if ok {
							won.Add(1)
						}
					})
				}
			}
			wg.Wait()
			if won.Load() != 1 {
				t.Errorf("round %d: %d of %d won", round, won.Load(), each*len(nodes))
			}
		}
	})
}

func TestTransaction(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, dsn string) {
		s, ctx := open(t, dsn, store.Options{}), t.Context()
		work, got := collector(2)
		s.Handle("note", work)
		running(t, s)

		boom := errors.New("boom")
		err := s.InTx(ctx, func(tx *store.Tx) error {
			must(t, tx.Put(ctx, "done", []byte("mail")))
			must(t, tx.Enqueue(ctx, store.Job{Kind: "note", Args: "lost"}))
			if v, err := tx.Get(ctx, "done"); err != nil || string(v) != "mail" {
				t.Errorf("within: %q, %v", v, err)
			}
			return boom
		})
		if !errors.Is(err, boom) {
			t.Fatalf("failed transaction: %v", err)
		}
		if _, err := s.Get(ctx, "done"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("a failed transaction left its value: %v", err)
		}
		must(t, s.InTx(ctx, func(tx *store.Tx) error {
			return errors.Join(tx.Put(ctx, "done", []byte("mail")), tx.Enqueue(ctx, store.Job{Kind: "note", Args: "kept"}))
		}))
		if v := receive(t, got); v != "kept" {
			t.Errorf("did %q; the transaction that owed it failed", v)
		}
		if v, err := s.Get(ctx, "done"); err != nil || string(v) != "mail" {
			t.Errorf("committed: %q, %v", v, err)
		}
	})
}

func TestTransactionPanics(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, dsn string) {
		s, ctx := open(t, dsn, store.Options{}), t.Context()
		func() {
			defer func() { _ = recover() }()
			_ = s.InTx(ctx, func(tx *store.Tx) error {
				must(t, tx.Put(ctx, "done", nil))
				panic("a bug")
			})
		}()
		must(t, s.Put(ctx, "next", nil)) // the connection is free again
		if _, err := s.Get(ctx, "done"); !errors.Is(err, store.ErrNotFound) {
			t.Errorf("a panic left its value: %v", err)
		}
	})
}

func TestSticky(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, dsn string) {
		now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
		s, ctx := open(t, dsn, store.Options{Now: func() time.Time { return now }}), t.Context()
		ann, bob := call.Number("+79160000001"), call.Number("+79160000002")
		bound := func(employee int, since time.Time) call.Sticky {
			return call.Sticky{Employee: employee, Since: since, Until: since.Add(time.Hour)}
		}
		must(t, s.SaveSticky(ctx, ann, bound(1, now)))
		must(t, s.SaveSticky(ctx, bob, bound(2, now)))
		must(t, s.SaveSticky(ctx, bob, bound(3, now.Add(-time.Minute)))) // came late
		wantStickies(t, s, time.Time{}, map[call.Number]int{ann: 1, bob: 2})

		start := now
		now = now.Add(time.Minute)
		must(t, s.SaveSticky(ctx, ann, bound(4, now)))
		wantStickies(t, s, start.Add(45*time.Second), map[call.Number]int{ann: 4})
		wantStickies(t, s, start.Add(20*time.Second), map[call.Number]int{ann: 4, bob: 2}) // told again

		must(t, s.DeleteSticky(ctx, ann))
		wantStickies(t, s, start.Add(45*time.Second), map[call.Number]int{ann: 0})

		now = now.Add(30 * time.Minute)
		if !s.Sweep(ctx) {
			t.Fatal("sweep failed")
		}
		wantStickies(t, s, time.Time{}, map[call.Number]int{ann: 0, bob: 2})
		now = now.Add(2 * time.Hour)
		if !s.Sweep(ctx) {
			t.Fatal("sweep failed")
		}
		wantStickies(t, s, time.Time{}, map[call.Number]int{})
	})
}

// TestStickyFromTheFuture wants a clock that jumped ahead and came back to
// leave no binding that cannot be replaced.
func TestStickyFromTheFuture(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, dsn string) {
		now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
		s, ctx := open(t, dsn, store.Options{Now: func() time.Time { return now }}), t.Context()
		must(t, s.SaveSticky(ctx, "+7916", call.Sticky{Employee: 1, Since: now.AddDate(4, 0, 0), Until: now.AddDate(4, 0, 1)}))
		must(t, s.SaveSticky(ctx, "+7916", call.Sticky{Employee: 2, Since: now, Until: now.Add(time.Hour)}))
		wantStickies(t, s, time.Time{}, map[call.Number]int{"+7916": 2})
	})
}

func wantStickies(t *testing.T, s *store.Store, since time.Time, want map[call.Number]int) {
	t.Helper()
	got := map[call.Number]int{}
	must(t, s.Stickies(t.Context(), since, func(caller call.Number, b call.Sticky) { got[caller] = b.Employee }))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("changed since %v (-want +got):\n%s", since, diff)
	}
}

func TestStickyTimes(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, dsn string) {
		s := open(t, dsn, store.Options{})
		want := call.Sticky{Employee: 17, Since: time.UnixMilli(1772366400123), Until: time.UnixMilli(1772370000456)}
		must(t, s.SaveSticky(t.Context(), "+79161234567", want))
		must(t, s.Stickies(t.Context(), time.Time{}, func(_ call.Number, got call.Sticky) {
			if !got.Since.Equal(want.Since) || !got.Until.Equal(want.Until) || got.Employee != want.Employee {
				t.Errorf("kept %v, got %v", want, got)
			}
		}))
	})
}

func TestMirror(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, dsn string) {
		s, ctx := open(t, dsn, store.Options{}), t.Context()
		const n = 1234 // some batches
		cards := make([]call.Card, n)
		for i := range cards {
			cards[i] = card(call.KindContact, i+1, fmt.Sprintf("Иван «%d»", i))
		}
		cards = append(cards, card(call.KindLead, 1, "a lead with a contact's id"))
		cards[0].Entity.Until = time.Date(2026, 10, 25, 3, 0, 0, 0, time.UTC)
		cards[0].Entity.Fields = map[string]any{"UF_VIP": "Y", "UF_LIST": []any{"a", "b"}}
		must(t, s.SaveEntities(ctx, cards))
		cards[1].Entity.Name, cards[1].Phones = "Changed", nil
		must(t, s.SaveEntities(ctx, cards[1:2]))
		must(t, s.DeleteEntities(ctx, call.KindContact, []int{3, 4, 99999}))
		must(t, s.SaveEntities(ctx, nil))

		want := map[string]call.Card{}
		for _, c := range cards {
			if c.Entity.Kind != call.KindContact || c.Entity.ID != 3 && c.Entity.ID != 4 {
				want[fmt.Sprint(c.Entity.Kind, c.Entity.ID)] = c
			}
		}
		got := map[string]call.Card{}
		must(t, s.LoadEntities(ctx, time.Time{}, func(c call.Card, gone bool) error {
			if gone {
				t.Errorf("%s %d is told as gone at first", c.Kind, c.ID)
			}
			got[fmt.Sprint(c.Entity.Kind, c.Entity.ID)] = c
			return nil
		}))
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("cards (-want +got):\n%s", diff)
		}
		boom := errors.New("boom")
		if err := s.LoadEntities(ctx, time.Time{}, func(call.Card, bool) error { return boom }); !errors.Is(err, boom) {
			t.Errorf("a reader that fails: %v", err)
		}
	})
}

// TestMirrorOfOthers tells one node what another changed.
func TestMirrorOfOthers(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, dsn string) {
		now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
		s, ctx := open(t, dsn, store.Options{Now: func() time.Time { return now }}), t.Context()
		since := func(ago time.Duration) (told []string) {
			t.Helper()
			must(t, s.LoadEntities(ctx, now.Add(-ago), func(c call.Card, gone bool) error {
				told = append(told, fmt.Sprint(c.Kind, " ", c.ID, " ", gone))
				return nil
			}))
			if len(told) > 1 {
				slices.Sort(told[1:]) // what is gone comes first
			}
			return told
		}
		lead, other := card(call.KindLead, 1, "a"), card(call.KindContact, 1, "b")
		must(t, s.SaveEntities(ctx, []call.Card{lead, other}))
		now = now.Add(time.Hour)
		must(t, s.DeleteEntities(ctx, call.KindLead, []int{1}))
		if diff := cmp.Diff([]string{"lead 1 true"}, since(0)); diff != "" {
			t.Errorf("after a deletion (-want +got):\n%s", diff)
		}
		must(t, s.SaveEntities(ctx, []call.Card{lead}))
		if diff := cmp.Diff([]string{"lead 1 true", "lead 1 false"}, since(0)); diff != "" {
			t.Errorf("after it was made again (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff([]string{"lead 1 true", "contact 1 false", "lead 1 false"}, since(time.Hour)); diff != "" {
			t.Errorf("within the hour (-want +got):\n%s", diff)
		}
		now = now.Add(20 * time.Second)
		if diff := cmp.Diff([]string{"lead 1 true", "lead 1 false"}, since(0)); diff != "" {
			t.Errorf("20 s later, told again (-want +got):\n%s", diff)
		}
		now = now.Add(8 * 24 * time.Hour)
		s.Sweep(ctx)
		if n, err := s.Query(ctx, "SELECT count(*) FROM card_gone"); err != nil || n != 0 {
			t.Errorf("%d deletions are kept for more than a week, %v", n, err)
		}
	})
}

func card(kind call.Kind, id int, name string) call.Card {
	return call.Card{
		Entity: call.Entity{Kind: kind, ID: id, Name: name, Responsible: 61, Manager: 62, Direct: id%2 == 0},
		Phones: []string{fmt.Sprintf("8 (916) %07d", id)},
	}
}

// TestDeadlock has two transactions wait for each other's rows: PostgreSQL ends
// one of them, which is tried again and succeeds after the other.
func TestDeadlock(t *testing.T) {
	t.Parallel()
	s, ctx := open(t, storetest.Postgres(t), store.Options{}), t.Context()
	var first sync.WaitGroup // until both hold a row
	first.Add(2)
	cross := func(value string, keys ...string) func() error {
		var held sync.Once
		return func() error {
			return s.InTx(ctx, func(tx *store.Tx) error {
				for _, key := range keys {
					if err := tx.Put(ctx, key, []byte(value)); err != nil {
						return err
					}
					held.Do(func() { first.Done(); first.Wait() })
				}
				return nil
			})
		}
	}
	failed := make(chan error, 2)
	for _, f := range []func() error{cross("one", "a", "b"), cross("two", "b", "a")} {
		go func() { failed <- f() }()
	}
	if err := errors.Join(<-failed, <-failed); err != nil {
		t.Fatal(err)
	}
	a, err := s.Get(ctx, "a")
	must(t, err)
	b, err := s.Get(ctx, "b")
	must(t, err)
	if string(a) != string(b) {
		t.Errorf("a is of %q, b of %q; one transaction was to follow the other", a, b)
	}
}
