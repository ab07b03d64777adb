package crm

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"frontdesk/call"

	"github.com/google/go-cmp/cmp"
)

// simple is what the index has to be equal to.
type simple map[ref]call.Card

func (s simple) find(n call.Number) []call.Entity {
	var refs []ref
	for r, c := range s {
		if slices.Contains(c.Phones, string(n)) {
			refs = append(refs, r)
		}
	}
	slices.Sort(refs)
	var out []call.Entity
	for _, r := range refs {
		out = append(out, s[r].Entity)
	}
	return out
}

func keysOf(t testing.TB, c call.Card) []key {
	t.Helper()
	var out []key
	for _, p := range c.Phones {
		k, ok := pack(call.Number(p))
		if !ok {
			t.Fatalf("%q cannot be packed", p)
		}
		if !slices.Contains(out, k) {
			out = append(out, k)
		}
	}
	return out
}

func randomCard(r *rand.Rand) call.Card {
	c := call.Card{Entity: call.Entity{
		Kind: kindOrder[r.IntN(3)], ID: 1 + r.IntN(40), Name: fmt.Sprint("Name ", r.IntN(5)), Responsible: r.IntN(3),
		Manager: r.IntN(1 << 30), Direct: r.IntN(2) == 0, NoSticky: r.IntN(2) == 0, Closed: r.IntN(2) == 0,
	}}
	if r.IntN(2) == 0 {
		c.Temporary, c.Until = r.IntN(100), time.Unix(int64(r.IntN(1<<31)), 0).UTC()
	}
	if r.IntN(3) == 0 {
		c.Fields = map[string]any{"UF_CRM_VIP": "gold", "UF_CRM_N": float64(r.IntN(9))}
	}
	for range r.IntN(4) {
		c.Phones = append(c.Phones, fmt.Sprintf("+7916000%04d", r.IntN(30)))
	}
	return c
}

// Whatever is put and removed, the index says what a plain map says.
func TestIndexAgainstPlainMap(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	x, want := newIndex(), simple{}
	steps := 6000
	if testing.Short() {
		steps = 1000
	}
	for step := range steps {
		c := randomCard(r)
		at := refOf(c.Kind, c.ID)
		if r.IntN(3) == 0 {
			x.remove(at)
			delete(want, at)
		} else {
			p, err := newPacked(c, keysOf(t, c))
			if err != nil {
				t.Fatal(err)
			}
			x.put(at, p)
			want[at] = c
			if known, same := x.has(at, p); !known || !same {
				t.Fatal("what was put is not there")
			}
		}
		if step%100 == 0 {
			compare(t, x, want)
		}
	}
	compare(t, x, want)
	for at := range want {
		x.remove(at)
	}
	compare(t, x, simple{})
	if n := x.carried.Load(); n != 0 {
		t.Errorf("an empty index counts %d numbers", n)
	}
}

func compare(t *testing.T, x *index, want simple) {
	t.Helper()
	numbers := 0
	for i := range 30 {
		n := call.Number(fmt.Sprintf("+7916000%04d", i))
		k, _ := pack(n)
		expected := want.find(n)
		if len(expected) > 0 {
			numbers++
		}
		if diff := cmp.Diff(expected, x.find(k, time.UTC), cmp.Transformer("", func(e []call.Entity) []call.Entity {
			return append([]call.Entity{}, e...)
		})); diff != "" {
			t.Fatal(n, diff)
		}
	}
	if got := int(x.carried.Load()); got != numbers {
		t.Fatalf("%d numbers counted, there are %d", got, numbers)
	}
	for _, kind := range kindOrder {
		ids := []int{}
		for r := range want {
			if r.kind() == kind {
				ids = append(ids, r.id())
			}
		}
		slices.Sort(ids)
		if got := x.ids(kind); !slices.Equal(got, ids) || x.count(kind) != len(ids) {
			t.Fatalf("%s: %v, want %v", kind, got, ids)
		}
	}
}

// Readers and a writer at once: an answer is one that was true at some moment.
func TestIndexIsReadWhileWritten(t *testing.T) {
	t.Parallel()
	x := newIndex()
	k, _ := pack("+79160000000")
	other, _ := pack("+79160000001")
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				for _, e := range x.find(k, time.UTC) {
					if e.Name != "here" {
						t.Errorf("found %q, which never carried the number", e.Name)
						return
					}
				}
			}
		})
	}
	for i := range 3000 {
		r := refOf(call.KindContact, 1+i%7)
		c := call.Card{Entity: call.Entity{Name: "here"}}
		at := []key{k}
		if i%2 == 0 {
			c.Name, at = "elsewhere", []key{other}
		}
		p, err := newPacked(c, at)
		if err != nil {
			t.Fatal(err)
		}
		x.put(r, p)
	}
	close(stop)
	wg.Wait()
}

func TestPack(t *testing.T) {
	t.Parallel()
	seen := map[key]string{}
	for _, n := range []string{"+79161234567", "79161234567", "0", "00", "112", "*72", "#72", "72", "+123456789012345"} {
		k, ok := pack(call.Number(n))
		if !ok || seen[k] != "" {
			t.Errorf("%q: %v, the key of %q", n, ok, seen[k])
		}
		seen[k] = n
	}
	for _, n := range []string{"", "+1234567890123456", "a", "+7 916"} {
		if _, ok := pack(call.Number(n)); ok {
			t.Errorf("%q is packed", n)
		}
	}
}

// nothing is a store that keeps nothing.
type nothing struct {
	cards func(each func(call.Card) error) error
}

func (nothing) SaveEntities(context.Context, []call.Card) error        { return nil }
func (nothing) DeleteEntities(context.Context, call.Kind, []int) error { return nil }
func (n nothing) LoadEntities(_ context.Context, _ time.Time, each func(call.Card, bool) error) error {
	return n.cards(func(c call.Card) error { return each(c, false) })
}
func (nothing) Get(context.Context, string) ([]byte, error)                         { return nil, nil }
func (nothing) Put(context.Context, string, []byte) error                           { return nil }
func (nothing) CompareAndPut(context.Context, string, []byte, []byte) (bool, error) { return true, nil }

// BenchmarkMillion loads a mirror of a million numbers and asks it. Run with
// go test -run '^$' -bench Million ./crm; what it reports is in
// docs/performance.md.
func BenchmarkMillion(b *testing.B) {
	const million = 1_000_000
	c, err := New(Config{Webhook: "http://portal.test/rest/1/secret/", Country: "RU"})
	if err != nil {
		b.Fatal(err)
	}
	store := nothing{cards: func(each func(call.Card) error) error {
		for i := range million {
			if err := each(call.Card{
				Entity: call.Entity{Kind: kindOrder[i%3], ID: i + 1, Name: "Александра Константинопольская", Responsible: i % 300},
				Phones: []string{fmt.Sprintf("8 (9%02d) %03d-%02d-%02d", i/1e7%100, i/10000%1000, i/100%100, i%100)},
			}); err != nil {
				return err
			}
		}
		return nil
	}}
	m, err := NewMirror(c, MirrorConfig{Cards: store, State: store})
	if err != nil {
		b.Fatal(err)
	}
	before := heap()
	began := time.Now()
	if err := m.Load(b.Context()); err != nil {
		b.Fatal(err)
	}
	took := time.Since(began)
	bytes := heap() - before
	m.known.Store(&cursor{Complete: true, Heard: time.Now()})
	if n := m.Size().Numbers; n != million {
		b.Fatalf("%d numbers", n)
	}
	r := rand.New(rand.NewPCG(1, 2))
	times := make([]time.Duration, 0, 1<<20)
	for b.Loop() {
		i := r.IntN(million)
		n := call.Number(fmt.Sprintf("+79%09d", i%1e9))
		began := time.Now()
		a, ok := m.Lookup(n, began)
		if len(times) < cap(times) {
			times = append(times, time.Since(began))
		}
		if !ok || len(a.Entities) != 1 {
			b.Fatalf("%s: %+v", n, a)
		}
	}
	slices.Sort(times)
	b.ReportMetric(took.Seconds(), "s/load")
	b.ReportMetric(float64(bytes)/million, "B/number")
	b.ReportMetric(float64(times[len(times)/2].Nanoseconds()), "p50-ns")
	b.ReportMetric(float64(times[len(times)*99/100].Nanoseconds()), "p99-ns")
	runtime.KeepAlive(m)
}

func heap() uint64 {
	runtime.GC()
	runtime.GC()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	return s.HeapAlloc
}
