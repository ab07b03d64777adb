package staff

import (
	"context"
	"errors"
	"sync"
	"time"

	"frontdesk/call"
)

// pending are the callers whose binding is not written yet. A caller who is
// bound again before that is written once.
type pending struct {
	mu      sync.Mutex
	callers map[call.Number]struct{}
	max     int
	wake    chan struct{}
}

func newPending(max int) pending {
	return pending{callers: map[call.Number]struct{}{}, max: max, wake: make(chan struct{}, 1)}
}

// add reports whether there was room.
func (p *pending) add(caller call.Number) bool {
	p.mu.Lock()
	_, twice := p.callers[caller]
	room := twice || len(p.callers) < p.max
	if room {
		p.callers[caller] = struct{}{}
	}
	p.mu.Unlock()
	select {
	case p.wake <- struct{}{}:
	default:
	}
	return room
}

// next takes one caller out.
func (p *pending) next() (call.Number, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for caller := range p.callers {
		delete(p.callers, caller)
		return caller, true
	}
	return "", false
}

func (p *pending) count() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.callers)
}

const (
	pollEvery  = time.Second // other nodes' bindings
	sweepEvery = time.Minute
	retryFirst = time.Second
	retryMost  = 30 * time.Second
	flushLimit = 3 * time.Second // of what is not written at the end
)

// Run loads the bindings and keeps the store and the memory in step until ctx
// ends; then it writes what is left. A store that is gone costs no caller
// anything: bindings wait for it in memory.
func (b *Book) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	wg.Go(func() { b.sweep(ctx) })
	if b.cfg.Store != nil {
		wg.Go(func() { b.follow(ctx) })
		wg.Go(func() { b.save(ctx) })
	}
	wg.Wait()
	return nil
}

func (b *Book) sweep(ctx context.Context) {
	for pause(ctx, sweepEvery) {
		b.all.sweep(b.clock.steady())
	}
}

// Load reads all bindings that the store has. Run does so too, until it
// succeeds.
func (b *Book) Load(ctx context.Context) error {
	return b.cfg.Store.Stickies(ctx, time.Time{}, b.learn)
}

// follow loads, and then reads what other nodes write.
func (b *Book) follow(ctx context.Context) {
	var trouble trouble
	var since time.Time
	for {
		asked := b.clock.wall()
		err := b.cfg.Store.Stickies(ctx, since, b.learn)
		if ctx.Err() != nil {
			return
		}
		if trouble.changed(err) {
			b.report(ctx, "reading sticky bindings", err, "the store does not tell the sticky bindings, those in memory stay")
		}
		if err == nil {
			since = asked
			if !b.cfg.Shared {
				return
			}
		}
		if !pause(ctx, pollEvery) {
			return
		}
	}
}

// save writes bindings as they come, one after the other.
func (b *Book) save(ctx context.Context) {
	var trouble trouble
	retry := retryFirst
	for {
		err := b.flush(ctx)
		if ctx.Err() != nil {
			break
		}
		if trouble.changed(err) {
			b.report(ctx, "writing sticky bindings", err, "sticky bindings cannot be written, they wait in memory")
		}
		if err != nil {
			if !pause(ctx, retry) {
				break
			}
			retry = min(2*retry, retryMost)
			continue
		}
		retry = retryFirst
		select {
		case <-b.unsaved.wake:
		case <-ctx.Done():
		}
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushLimit)
	defer cancel()
	if err := b.flush(last); err != nil {
		b.cfg.Logger.WarnContext(ctx, "sticky bindings were not written before the end", "left", b.unsaved.count(), "error", err)
	}
}

// flush writes everything that waits, up to the first failure.
func (b *Book) flush(ctx context.Context) error {
	for {
		caller, ok := b.unsaved.next()
		if !ok {
			return nil
		}
		found := b.all.get(caller)
		if found == nil || found.ends() <= b.clock.steady() {
			continue
		}
		s := call.Sticky{Employee: found.employee, Since: found.since, Until: found.since.Add(found.window)}
		if err := b.cfg.Store.SaveSticky(ctx, caller, s); err != nil {
			b.metrics.failed.Add(1)
			if !b.unsaved.add(caller) {
				b.metrics.dropped.Add(1)
			}
			return err
		}
	}
}

func (b *Book) report(ctx context.Context, what string, err error, bad string) {
	if err != nil {
		b.cfg.Logger.WarnContext(ctx, bad, "error", err)
		return
	}
	b.cfg.Logger.InfoContext(ctx, what+" works again")
}

// trouble remembers whether something failed, so that only changes are told.
type trouble struct{ failing bool }

// changed reports whether err is the first failure, or the end of failures. The
// end of a context is neither.
func (t *trouble) changed(err error) bool {
	if errors.Is(err, context.Canceled) || t.failing == (err != nil) {
		return false
	}
	t.failing = err != nil
	return true
}

// pause waits and reports whether to go on.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
