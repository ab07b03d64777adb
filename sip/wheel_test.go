package sip

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// Timers fire in order, never early and at most a slot late, whatever is set,
// moved and stopped between.
func TestWheel(t *testing.T) {
	t.Parallel()
	dice := rand.New(rand.NewPCG(1, 2))
	epoch := time.Unix(1000, 0)
	now := epoch
	w := newWheel(now)
	fired := map[int]time.Time{}
	want := map[int]time.Time{}
	timers := make([]timer, 2000)
	for i := range timers {
		timers[i].fire = func() { fired[i] = now }
	}
	for range 4000 {
		i := dice.IntN(len(timers))
		switch dice.IntN(3) {
		case 0:
			w.stop(&timers[i])
			delete(want, i)
		default:
			d := time.Duration(dice.Int64N(int64(200 * time.Second)))
			w.start(&timers[i], now, d)
			delete(fired, i)
			want[i] = now.Add(d)
		}
		now = now.Add(time.Duration(dice.Int64N(int64(20 * time.Millisecond))))
		w.advance(now)
	}
	for w.count > 0 {
		now = now.Add(slot)
		w.advance(now)
	}
	for i, at := range want {
		if late := fired[i].Sub(at); fired[i].IsZero() || late < 0 || late > 2*slot {
			t.Fatalf("timer %d fired %v after its time", i, late)
		}
	}
}

// A timer may move itself and stop its neighbours while it fires.
func TestWheelIsChangedWhileItFires(t *testing.T) {
	t.Parallel()
	now := time.Unix(0, 0)
	w := newWheel(now)
	var a, b, c timer
	var order []string
	a.fire = func() {
		order = append(order, "a")
		w.stop(&b)
		if len(order) < 3 {
			w.again(&a, 500*time.Millisecond)
		}
	}
	b.fire = func() { order = append(order, "b") }
	c.fire = func() { order = append(order, "c") }
	w.start(&a, now, time.Second)
	w.start(&b, now, time.Second)
	w.start(&c, now, time.Second)
	for range 60 {
		now = now.Add(slot)
		w.advance(now)
	}
	if !slices.Equal(order, []string{"a", "c", "a"}) || w.count != 0 {
		t.Errorf("fired %v, %d left", order, w.count)
	}
}

// After hours without timers the wheel does not run through every slot of them.
func TestIdleWheel(t *testing.T) {
	t.Parallel()
	now := time.Unix(0, 0)
	w := newWheel(now)
	now = now.Add(1000 * time.Hour)
	var a timer
	fired := false
	a.fire = func() { fired = true }
	w.start(&a, now, time.Second)
	if behind := int64(now.Sub(w.epoch)/slot) - w.hand; behind != 0 {
		t.Errorf("the hand is %d slots behind", behind)
	}
	w.advance(now.Add(900 * time.Millisecond))
	if fired {
		t.Error("fired early")
	}
	w.advance(now.Add(1100 * time.Millisecond))
	if !fired {
		t.Error("not fired")
	}
}

func BenchmarkWheel(b *testing.B) {
	now := time.Now()
	w := newWheel(now)
	var t timer
	t.fire = func() {}
	b.ReportAllocs()
	for b.Loop() {
		w.start(&t, now, timeout)
		w.stop(&t)
	}
}
