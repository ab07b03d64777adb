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
	b.Run("sqlite", func(b *testing.B) { f(b, open(b, storetest.SQLite(b), store.Options{})) })
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

func BenchmarkSaveRecord(b *testing.B) {
	benchBoth(b, func(b *testing.B, s *store.Store) {
		n := 0
		for b.Loop() {
			n++
			r := numbered(n % 10000)
			r.ID = strconv.Itoa(n)
			save(b, s, r, store.RecordSettled)
		}
	})
}

// BenchmarkRecords asks a million calls for the last 50 of one caller, and for
// the last 50 of all.
func BenchmarkRecords(b *testing.B) {
	if testing.Short() {
		b.Skip("it takes minutes to write a million calls")
	}
	const calls, callers = 1_000_000, 20_000
	fill := map[string]string{
		"sqlite":   "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < $1) ",
		"postgres": "WITH n(i) AS (SELECT generate_series(1, $1::bigint)) ",
	}
	for name, dsn := range map[string]func(testing.TB) string{"sqlite": storetest.SQLite, "postgres": storetest.Postgres} {
		b.Run(name, func(b *testing.B) {
			s := open(b, dsn(b), store.Options{})
			body := asJSON(b, numbered(2))
			must(b, s.Exec(b.Context(), "INSERT INTO calls (id, node, started, ended, direction, trunk, caller, target, outcome, result, state, body) "+
				fill[name]+"SELECT 'id' || i, 'node', 1700000000000000 + i * 1000000, 0, 'in', 'carrier', CAST(79160000000 + i % $2 AS TEXT), '201', 'unknown', 'missed', 'settled', $3 FROM n",
				calls, callers, body))
			if name == "postgres" {
				must(b, s.Exec(b.Context(), "ANALYZE calls"))
			}
			for what, sel := range map[string]call.Selection{
				"caller": {Limit: 50, Caller: "+79160000777"}, "all": {Limit: 50}, "outcome": {Limit: 50, Outcome: call.OutcomeUnknown},
				"deep": {Limit: 50, After: call.Position{Started: time.UnixMicro(1700000000000000 + 500_000_000_000), ID: "x"}},
			} {
				b.Run(what, func(b *testing.B) {
					for b.Loop() {
						got, err := s.Records(b.Context(), sel)
						if err != nil || len(got) != 50 {
							b.Fatal(len(got), err)
						}
					}
				})
			}
		})
	}
}
