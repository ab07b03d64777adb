package staff

import (
	"fmt"
	"time"
)

// SetClock puts the book on other clocks.
func (b *Book) SetClock(wall func() time.Time, steady func() time.Duration) {
	b.clock = clock{wall: wall, steady: steady}
}

// Check looks whether the heap and the map tell the same.
func (b *Book) Check() error {
	b.all.mu.Lock()
	defer b.all.mu.Unlock()
	n := 0
	for range b.all.live.Range {
		n++
	}
	if n != len(b.all.due) {
		return fmt.Errorf("%d in the map, %d in the heap", n, len(b.all.due))
	}
	for i, x := range b.all.due {
		switch {
		case x.index != i:
			return fmt.Errorf("%d believes it is at %d", i, x.index)
		case b.all.get(x.caller) != x:
			return fmt.Errorf("%s is another in the map", x.caller)
		case i > 0 && x.ends() < b.all.due[(i-1)/2].ends():
			return fmt.Errorf("%d ends before its parent", i)
		}
	}
	return nil
}

// Sweep takes away what has ended.
func (b *Book) Sweep() { b.all.sweep(b.clock.steady()) }

// Unsaved is how many bindings wait to be written.
func (b *Book) Unsaved() int { return b.unsaved.count() }

// Counts are writes that were dropped, and bindings refused and evicted.
func (b *Book) Counts() (dropped, refused, evicted int64) {
	return b.metrics.dropped.Load(), b.metrics.refused.Load(), b.all.evicted.Load()
}

// DialTo makes the mailer reach its server at another address.
func (m *Mailer) DialTo(addr string) { m.addr = addr }
