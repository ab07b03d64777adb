package siptest

import (
	"context"
	"sync"
)

// notice guards state that goroutines wait on.
type notice struct {
	mu      sync.Mutex
	changed chan struct{} // closed and replaced with every change; nil: nobody waits
}

// change runs f under the lock and wakes who waits.
func (n *notice) change(f func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f()
	if n.changed != nil {
		close(n.changed)
		n.changed = nil
	}
}

// look runs f under the lock.
func (n *notice) look(f func()) {
	n.mu.Lock()
	defer n.mu.Unlock()
	f()
}

// wait blocks until ready, which is asked under the lock after each change,
// says so, or ctx ends.
func (n *notice) wait(ctx context.Context, ready func() bool) error {
	for {
		n.mu.Lock()
		if ready() {
			n.mu.Unlock()
			return nil
		}
		if n.changed == nil {
			n.changed = make(chan struct{})
		}
		changed := n.changed
		n.mu.Unlock()
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// tasks are goroutines that are waited for, also while new ones begin.
type tasks struct {
	notice
	running int
}

// Go runs f on a goroutine of its own.
func (t *tasks) Go(f func()) {
	leave := t.enter()
	go func() {
		defer leave()
		f()
	}()
}

// enter counts the caller's goroutine in, until leave.
func (t *tasks) enter() (leave func()) {
	t.change(func() { t.running++ })
	return func() { t.change(func() { t.running-- }) }
}

// finish waits until none is running.
func (t *tasks) finish() {
	_ = t.wait(context.Background(), func() bool { return t.running == 0 }) // it has no end but this
}
