package web_test

import (
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"frontdesk/call"
	"frontdesk/web"
)

func TestRingForgetsTheOldest(t *testing.T) {
	t.Parallel()
	g := web.NewRing(3)
	for _, i := range []int{2, 0, 3, 1, 4} { // not in the order of their start
		g.Add(record(i))
	}
	page, err := g.List(t.Context(), web.Filter{Limit: 10})
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range page.Calls {
		got = append(got, r.ID)
	}
	if fmt.Sprint(got) != "[call004 call003 call002]" {
		t.Errorf("kept %v", got)
	}
	if _, err := g.Get(t.Context(), "call001"); !errors.Is(err, web.ErrNotFound) {
		t.Errorf("a forgotten call: %v", err)
	}
	if r, err := g.Get(t.Context(), "call003"); err != nil || r.ID != "call003" {
		t.Errorf("a kept call: %v, %v", r.ID, err)
	}
}

func TestRingReplacesARecord(t *testing.T) {
	t.Parallel()
	g := web.NewRing(3)
	g.Add(record(1))
	g.Add(record(2))
	g.Add(record(1, outcome(call.OutcomeDigits)))
	g.Add(record(2, func(r *call.Record) { r.Started = noon.Add(-time.Hour) }))
	page, err := g.List(t.Context(), web.Filter{Limit: 10})
	if err != nil || len(page.Calls) != 2 || page.Calls[0].ID != "call001" || page.Calls[0].Outcome != call.OutcomeDigits {
		t.Errorf("%+v, %v", page.Calls, err)
	}
}

// TestRingWalksTimesOfTheClock adds what time.Now gives: its nanoseconds must
// survive the cursor.
func TestRingWalksTimesOfTheClock(t *testing.T) {
	t.Parallel()
	g := web.NewRing(10)
	for i := range 6 {
		g.Add(call.Record{ID: fmt.Sprint(i), Times: call.Times{Started: time.Now()}})
	}
	seen, cursor := 0, ""
	for {
		page, err := g.List(t.Context(), web.Filter{Limit: 2, Cursor: cursor})
		if err != nil {
			t.Fatal(err)
		}
		seen += len(page.Calls)
		if cursor = page.Next; cursor == "" {
			break
		}
	}
	if seen != 6 {
		t.Errorf("walked %d of 6", seen)
	}
}

func TestRingIsSafeForConcurrentUse(t *testing.T) {
	t.Parallel()
	g := web.NewRing(50)
	var wg sync.WaitGroup
	for w := range 4 {
		wg.Go(func() {
			for i := range 200 {
				g.Add(record(i*4 + w))
			}
		})
		wg.Go(func() {
			for range 200 {
				page, err := g.List(t.Context(), web.Filter{Limit: 20})
				if err != nil {
					t.Error(err)
				}
				for i := 1; i < len(page.Calls); i++ {
					if page.Calls[i].Started.After(page.Calls[i-1].Started) {
						t.Error("not newest first")
					}
				}
			}
		})
	}
	wg.Wait()
	page, err := g.List(t.Context(), web.Filter{Limit: 1000})
	if err != nil || len(page.Calls) != 50 {
		t.Errorf("%d records are kept, %v", len(page.Calls), err)
	}
}

func FuzzCursor(f *testing.F) {
	g := web.NewRing(4)
	for i := range 4 {
		g.Add(record(i))
	}
	page, err := g.List(f.Context(), web.Filter{Limit: 2})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(page.Next)
	f.Add("")
	f.Add("AAAA")
	f.Fuzz(func(t *testing.T, cursor string) {
		page, err := g.List(t.Context(), web.Filter{Limit: 10, Cursor: cursor})
		if err != nil && !errors.Is(err, web.ErrInvalid) || len(page.Calls) > 4 {
			t.Errorf("%q: %d calls, %v", cursor, len(page.Calls), err)
		}
	})
}

func BenchmarkRingAdd(b *testing.B) {
	g := web.NewRing(1000)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		g.Add(record(i))
	}
}

func BenchmarkRingList(b *testing.B) {
	g := web.NewRing(1000)
	for i := range 1000 {
		g.Add(record(i))
	}
	b.ReportAllocs()
	for b.Loop() {
		if _, err := g.List(b.Context(), web.Filter{Limit: 50, Outcome: call.OutcomeResponsible}); err != nil {
			b.Fatal(err)
		}
	}
}
