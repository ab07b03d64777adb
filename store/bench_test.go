package store_test

import (
	"strconv"
	"testing"
	"time"

	"frontdesk/call"
	"frontdesk/store"
	"frontdesk/store/storetest"
)

func benchBoth(b *testing.B, f func(b *testing.B, s *store.Store)) {
	b.Run("sqlite", func(b *testing.B) { f(b, open(b, sqliteDSN(b), store.Options{})) })
	b.Run("postgres", func(b *testing.B) { f(b, open(b, storetest.Postgres(b), store.Options{})) }) // its fsync is off
}

func BenchmarkSaveSticky(b *testing.B) {
	benchBoth(b, func(b *testing.B, s *store.Store) {
		n := 0
		for b.Loop() {
			n++
			now := time.Now()
			must(b, s.SaveSticky(b.Context(), call.Number("+7916"+strconv.Itoa(n%10000)), call.Sticky{Employee: 1, Since: now, Until: now.Add(time.Hour)}))
		}
	})
}

// BenchmarkStickies is the poll of another node while nothing changes.
func BenchmarkStickies(b *testing.B) {
	benchBoth(b, func(b *testing.B, s *store.Store) {
		now := time.Now()
		for i := range 2000 {
			must(b, s.SaveSticky(b.Context(), call.Number("+7916"+strconv.Itoa(i)), call.Sticky{Employee: 1, Since: now, Until: now.Add(time.Hour)}))
		}
		for b.Loop() {
			must(b, s.Stickies(b.Context(), time.Now().Add(time.Hour), func(call.Number, call.Sticky) {}))
		}
	})
}

func BenchmarkGet(b *testing.B) {
	benchBoth(b, func(b *testing.B, s *store.Store) {
		must(b, s.Put(b.Context(), "cursor", []byte("12345")))
		for b.Loop() {
			if _, err := s.Get(b.Context(), "cursor"); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkEnqueue(b *testing.B) {
	benchBoth(b, func(b *testing.B, s *store.Store) {
		n := 0
		for b.Loop() {
			n++
			must(b, s.Enqueue(b.Context(), store.Job{Kind: "bench", Key: strconv.Itoa(n), Args: n}))
		}
	})
}

// BenchmarkSaveEntities is a page of an export.
func BenchmarkSaveEntities(b *testing.B) {
	benchBoth(b, func(b *testing.B, s *store.Store) {
		n := 0
		for b.Loop() {
			cards := make([]call.Card, 500)
			for i := range cards {
				n++
				cards[i] = card(call.KindContact, n, "Anna Ivanova")
			}
			must(b, s.SaveEntities(b.Context(), cards))
		}
	})
}
