package store_test

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"frontdesk/store"
	"frontdesk/store/storetest"
)

// TestClaim has a name belong to one at a time, to an heir before others, and
// to anybody once its time is over.
func TestClaim(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, dsn string) {
		var later atomic.Int64
		s := open(t, dsn, store.Options{Now: func() time.Time { return time.Unix(1_800_000_000+later.Load(), 0) }})
		claim := func(want bool, holder, heir string) {
			t.Helper()
			got, err := s.Claim(t.Context(), "n", holder, heir, time.Minute)
			if err != nil || got != want {
				t.Errorf("%s claims as %s: %v, %v, want %v", holder, heir, got, err, want)
			}
		}
		claim(true, "a#1", "a")
		claim(true, "a#1", "a") // told again
		claim(false, "a#2", "a")
		claim(false, "b#1", "b")
		must(t, s.Release(t.Context(), "n", "b#1", "")) // it has nothing to give
		claim(false, "b#1", "b")
		must(t, s.Release(t.Context(), "n", "a#1", "a"))
		claim(false, "b#1", "b")
		claim(true, "a#2", "a")
		must(t, s.Release(t.Context(), "n", "a#2", ""))
		claim(true, "b#1", "b")
		later.Store(59)
		claim(false, "a#3", "a")
		later.Store(60)
		claim(true, "a#3", "a")
	})
}

// TestClaimAtOnce has many on two nodes want one name: one has it, by the clock
// of the database where there are several nodes.
func TestClaimAtOnce(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, dsn string) {
		nodes := []*store.Store{open(t, dsn, store.Options{Node: "one"})}
		if dsn[0] == 'p' {
			nodes = append(nodes, open(t, dsn, store.Options{Node: "two"}))
		}
		var wg sync.WaitGroup
		var got atomic.Int64
		for i := range 6 {
			wg.Go(func() {
				ok, err := nodes[i%len(nodes)].Claim(t.Context(), "n", fmt.Sprint(i), "", time.Hour)
				if err != nil {
					t.Error(err)
				}
				if ok {
					got.Add(1)
				}
			})
		}
		wg.Wait()
		if got.Load() != 1 {
			t.Errorf("%d have it", got.Load())
		}
		ok, err := nodes[0].Claim(t.Context(), "over", "a", "", -time.Second)
		must(t, err)
		again, err := nodes[len(nodes)-1].Claim(t.Context(), "over", "b", "", time.Second)
		if must(t, err); !ok || !again {
			t.Errorf("claimed %v, and after its time %v", ok, again)
		}
	})
}
