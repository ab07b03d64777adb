package staff

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"frontdesk/call"
)

// Bindings keeps bindings beyond the process; store.Store does.
type Bindings interface {
	// SaveSticky keeps a binding, unless a younger one of the caller is there.
	SaveSticky(ctx context.Context, caller call.Number, b call.Sticky) error
	// Stickies tells f the bindings that changed since a time, all for the zero
	// time; one that was taken away has employee 0.
	Stickies(ctx context.Context, since time.Time, f func(caller call.Number, b call.Sticky)) error
}

// BookConfig is what a Book needs. Only Directory must be set.
type BookConfig struct {
	Window    time.Duration // of employees who set none of their own; 0: these never stick
	Directory Directory
	Store     Bindings // nil: bindings end with the process
	Shared    bool     // other nodes write to the store too
	Logger    *slog.Logger

	Max     int // bindings at once; 0: DefaultBindings
	Pending int // bindings not yet written at once; 0: DefaultPending
}

// Defaults of BookConfig.
const (
	DefaultBindings = 200_000
	DefaultPending  = 20_000
)

// The limits of what is believed.
const (
	longestWindow = 30 * 24 * time.Hour
	skew          = time.Minute // by which another node's clock may be ahead of ours
)

// clock is the time on the wall, which may be set, and the time since the
// process began, which may not.
type clock struct {
	wall   func() time.Time
	steady func() time.Duration
}

func newClock() clock {
	began := time.Now()
	return clock{wall: time.Now, steady: func() time.Duration { return time.Since(began) }}
}

// Book holds the sticky bindings. Its methods may be used from anywhere.
type Book struct {
	cfg     BookConfig
	clock   clock
	window  atomic.Int64 // time.Duration
	all     bindings
	unsaved pending
	metrics bookMetrics
}

// NewBook makes a book. Run loads and saves it.
func NewBook(cfg BookConfig) *Book {
	if cfg.Max <= 0 {
		cfg.Max = DefaultBindings
	}
	if cfg.Pending <= 0 {
		cfg.Pending = DefaultPending
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	b := &Book{cfg: cfg, clock: newClock(), unsaved: newPending(cfg.Pending)}
	b.all.max = cfg.Max
	b.SetWindow(cfg.Window)
	return b
}

// SetWindow changes the default window for the bindings to come.
func (b *Book) SetWindow(d time.Duration) { b.window.Store(int64(max(d, 0))) }

// Sticky is whom a caller is bound to at a time, nil where nobody. It answers
// from memory at once. The times of the answer are on at's clock.
func (b *Book) Sticky(caller call.Number, at time.Time) *call.Sticky {
	found := b.all.get(caller)
	if found == nil {
		return nil
	}
	// Both times come from the same clock: the difference is counted, not read
	// from the wall, for a call that has just arrived.
	now := b.clock.steady() + at.Sub(b.clock.wall())
	left := found.ends() - now
	if left <= 0 || now < found.born-skew {
		return nil
	}
	until := at.Add(left)
	return &call.Sticky{Employee: found.employee, Since: until.Add(-found.window), Until: until}
}

// Ended tells what a call that has ended means for stickiness. Every source of
// records feeds it: the same call may be told again when more is known. It does
// not block.
func (b *Book) Ended(r call.Record) {
	bond, ok := derive(&r, b.cfg.Directory)
	if !ok {
		return
	}
	window := b.windowOf(bond.employee)
	if window <= 0 {
		return
	}
	now := b.clock.wall()
	if bond.since.IsZero() || bond.since.After(now) {
		bond.since = now
	}
	age := now.Sub(bond.since)
	if age >= window {
		return
	}
	if !b.all.put(&binding{
		caller: bond.caller, employee: bond.employee, window: window,
		born: b.clock.steady() - age, since: bond.since, call: r.ID,
	}) {
		return
	}
	b.metrics.bound(bond.cause)
	b.cfg.Logger.Debug("caller bound", "call", r.ID, "caller", bond.caller, "employee", bond.employee, "by", bond.cause, "for", window)
	if b.cfg.Store != nil && !b.unsaved.add(bond.caller) {
		b.metrics.dropped.Add(1)
	}
}

// windowOf is for how long an employee sticks; 0 for never.
func (b *Book) windowOf(id int) time.Duration {
	e, known := b.cfg.Directory.Employee(id)
	switch {
	case known && e.Dismissed:
		return 0
	case known && e.StickyMinutes != nil:
		return min(time.Duration(min(*e.StickyMinutes, int(longestWindow/time.Minute)))*time.Minute, longestWindow)
	}
	return min(time.Duration(b.window.Load()), longestWindow)
}

// learn takes in what the database has. What lies in the future was written
// before the clock was set back, and nobody knows how long ago.
func (b *Book) learn(caller call.Number, s call.Sticky) {
	now, steady := b.clock.wall(), b.clock.steady()
	age, window := now.Sub(s.Since), s.Until.Sub(s.Since)
	switch {
	case age < -skew:
		b.metrics.refused.Add(1)
	case s.Employee == 0:
		b.all.forget(caller, steady-age)
	case window <= 0, window > longestWindow, age >= window, caller == "":
	default:
		b.all.put(&binding{
			caller: caller, employee: s.Employee, window: window, born: steady - max(age, 0), since: s.Since,
		})
	}
}
