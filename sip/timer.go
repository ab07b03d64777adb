package sip

import "time"

// The timers of RFC 3261 section 17.1.1.1 and table 4.
const (
	t1      = 500 * time.Millisecond
	t2      = 4 * time.Second
	t4      = 5 * time.Second
	timeout = 64 * t1 // timers B, F, H, J, L, M, and D on unreliable transports

	timerC        = 185 * time.Second // a caller's patience with a callee that only rings (16.6)
	repeatRinging = time.Minute       // a provisional at least this often (13.3.1.1)
)

// slot is how exact the wheel is: a timer fires at its time or up to one slot
// later, never before.
const slot = 50 * time.Millisecond

// slots is a power of two that spans more than timer B.
const slots = 1024

// timer is one entry of a wheel, part of whatever it wakes. The zero value is
// a timer that is not set.
type timer struct {
	next, prev *timer
	due        int64 // in slots since the wheel's epoch
	fire       func()
}

// wheel is a hashed timer wheel: setting and stopping a timer touches its
// neighbours only, so that thousands of transactions cost no runtime timers.
type wheel struct {
	epoch time.Time
	hand  int64 // the last slot that has been fired
	count int
	ring  [slots]timer // list heads
}

func newWheel(now time.Time) *wheel {
	w := &wheel{epoch: now}
	for i := range w.ring {
		head := &w.ring[i]
		head.next, head.prev = head, head
	}
	return w
}

// start sets t to fire d after now; a timer that was set is moved.
func (w *wheel) start(t *timer, now time.Time, d time.Duration) {
	w.stop(t)
	if w.count == 0 { // the hand stood still
		w.hand = max(w.hand, int64(now.Sub(w.epoch)/slot))
	}
	t.due = max(int64((now.Sub(w.epoch)+d+slot-1)/slot), w.hand+1)
	w.insert(t)
}

// again sets t to fire d after it was last due, so that a series does not
// drift by the wheel's slots.
func (w *wheel) again(t *timer, d time.Duration) {
	w.stop(t)
	t.due = max(t.due+int64((d+slot-1)/slot), w.hand+1)
	w.insert(t)
}

func (w *wheel) insert(t *timer) {
	head := &w.ring[t.due&(slots-1)]
	t.prev, t.next = head.prev, head
	head.prev.next, head.prev = t, t
	w.count++
}

func (w *wheel) stop(t *timer) {
	if t.next == nil {
		return
	}
	t.prev.next, t.next.prev = t.next, t.prev
	t.next, t.prev = nil, nil
	w.count--
}

// advance fires all that is due by now, slot by slot.
func (w *wheel) advance(now time.Time) {
	target := int64(now.Sub(w.epoch) / slot)
	for w.hand < target {
		w.hand++
		w.fireSlot(&w.ring[w.hand&(slots-1)])
	}
}

// fireSlot takes the due timers off first: what fires may set and stop others
// of the same slot.
func (w *wheel) fireSlot(head *timer) {
	var ready timer
	ready.next, ready.prev = &ready, &ready
	for t := head.next; t != head; {
		next := t.next
		if t.due <= w.hand {
			t.prev.next, t.next.prev = t.next, t.prev
			t.prev, t.next = ready.prev, &ready
			ready.prev.next, ready.prev = t, t
		}
		t = next
	}
	for ready.next != &ready {
		t := ready.next
		w.stop(t)
		t.fire()
	}
}
