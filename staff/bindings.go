package staff

import (
	"container/heap"
	"sync"
	"sync/atomic"
	"time"

	"frontdesk/call"
)

// binding binds one caller. Times are counted from the start of the process, by
// a clock that nobody sets. Readers hold no lock: all but index stays as it is.
type binding struct {
	caller   call.Number
	employee int
	window   time.Duration
	born     time.Duration // may be before the process began
	since    time.Time     // born on the wall clock of whoever told it
	call     string        // the record that bound, empty for one from the database
	index    int           // in the heap; only under the lock of bindings
}

func (b *binding) ends() time.Duration { return b.born + b.window }

// same reports whether two bindings say the same, as far as the database keeps
// it.
func (b *binding) same(o *binding) bool {
	return b.employee == o.employee && b.since.UnixMilli() == o.since.UnixMilli()
}

// bindings are the live bindings, a bounded number of them. Reading takes no
// lock; writers take one for a moment.
type bindings struct {
	live    sync.Map // call.Number to *binding
	evicted atomic.Int64

	mu  sync.Mutex
	max int
	due schedule
}

func (bs *bindings) get(caller call.Number) *binding {
	v, ok := bs.live.Load(caller)
	if !ok {
		return nil
	}
	return v.(*binding)
}

// put takes a binding in unless the caller has a younger one, and reports
// whether it did. What a later source tells of the same call replaces what an
// earlier one told. Where there is no room, the binding that ends first goes.
func (bs *bindings) put(b *binding) bool {
	bs.mu.Lock()
	defer bs.mu.Unlock()
	old := bs.get(b.caller)
	if old == nil {
		if len(bs.due) >= bs.max {
			gone := heap.Pop(&bs.due).(*binding)
			bs.live.Delete(gone.caller)
			bs.evicted.Add(1)
		}
		heap.Push(&bs.due, b)
		bs.live.Store(b.caller, b)
		return true
	}
	correction := b.call != "" && b.call == old.call
	switch {
	case b.same(old), b.born < old.born && !correction:
		return false
	case b.born < old.born: // the database keeps the younger one
		b.born, b.since = old.born, old.since
		if b.same(old) {
			return false
		}
	}
	b.index = old.index
	bs.due[b.index] = b
	heap.Fix(&bs.due, b.index)
	bs.live.Store(b.caller, b)
	return true
}

// forget takes a caller's binding away if it is older than a time.
func (bs *bindings) forget(caller call.Number, before time.Duration) {
	bs.mu.Lock()
	defer bs.mu.Unlock()
	if b := bs.get(caller); b != nil && b.born <= before {
		heap.Remove(&bs.due, b.index)
		bs.live.Delete(caller)
	}
}

// sweep takes away what has ended.
func (bs *bindings) sweep(now time.Duration) {
	bs.mu.Lock()
	defer bs.mu.Unlock()
	for len(bs.due) > 0 && bs.due[0].ends() <= now {
		gone := heap.Pop(&bs.due).(*binding)
		bs.live.Delete(gone.caller)
	}
}

func (bs *bindings) count() int {
	bs.mu.Lock()
	defer bs.mu.Unlock()
	return len(bs.due)
}

// schedule is a heap of bindings, the one that ends first at the top.
type schedule []*binding

func (s schedule) Len() int           { return len(s) }
func (s schedule) Less(i, j int) bool { return s[i].ends() < s[j].ends() }

func (s schedule) Swap(i, j int) {
	s[i], s[j] = s[j], s[i]
	s[i].index, s[j].index = i, j
}

// Push is heap.Interface's.
func (s *schedule) Push(x any) {
	b := x.(*binding)
	b.index = len(*s)
	*s = append(*s, b)
}

// Pop is heap.Interface's.
func (s *schedule) Pop() any {
	old := *s
	b := old[len(old)-1]
	old[len(old)-1] = nil
	*s = old[:len(old)-1]
	return b
}
