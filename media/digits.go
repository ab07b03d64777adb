package media

import (
	"sync"
	"sync/atomic"
	"time"
)

// sameKey is how far apart two ways of one key press may arrive.
const sameKey = 300 * time.Millisecond

// way is how a digit came.
type way uint8

const (
	byEvent  way = iota // RFC 4733
	byTone              // in-band
	bySignal            // SIP INFO
)

// press is a digit that was passed on.
type press struct {
	digit byte
	by    way
	twice bool      // it has also come another way
	at    time.Time // when it, or the last packet of it, came
}

// digits collects key presses from all ways they may come and passes each on
// once: a carrier that sends both RFC 4733 and INFO presses no key twice.
type digits struct {
	mu    sync.Mutex
	out   chan byte
	seen  [8]press
	next  int
	count *counters
}

func newDigits(count *counters) *digits {
	return &digits{out: make(chan byte, 32), count: count}
}

// pressed takes a new press.
func (d *digits) pressed(digit byte, by way, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range d.seen { // the oldest first
		p := &d.seen[(d.next+i)%len(d.seen)]
		if p.digit == digit && p.by != by && !p.twice && now.Sub(p.at) <= sameKey {
			p.twice = true
			return
		}
	}
	d.seen[d.next] = press{digit: digit, by: by, at: now}
	d.next = (d.next + 1) % len(d.seen)
	select {
	case d.out <- digit:
	default:
		add(&d.count.lost)
	}
}

// held notes that a key is still down: an INFO sent at its release is the
// same press.
func (d *digits) held(digit byte, by way, now time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for i := range d.seen { // the newest first
		p := &d.seen[(d.next+len(d.seen)-1-i)%len(d.seen)]
		if p.digit == digit && p.by == by {
			if !p.twice {
				p.at = now
			}
			return
		}
	}
}

func add(c *atomic.Uint64) { c.Add(1) }
