package tts

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// life counts the renderings in progress, and ends them all.
type life struct {
	stop    chan struct{} // closed by end
	running sync.WaitGroup

	mu    sync.Mutex // held while running may grow, which end must not cross
	ended bool
}

func newLife() *life { return &life{stop: make(chan struct{})} }

// begin starts a piece of work that outlives ctx, but neither the timeout nor
// end. The work is over when done is called. It fails once end was called.
func (l *life) begin(ctx context.Context, timeout time.Duration) (work context.Context, done func(), err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return nil, nil, fmt.Errorf("%w: the store is closed", ErrNotReady)
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	l.running.Go(func() {
		defer cancel()
		select {
		case <-l.stop:
		case <-ctx.Done():
		}
	})
	l.running.Add(1)
	return ctx, func() { cancel(); l.running.Done() }, nil
}

// end stops all work and returns when it is over. It may be called again.
func (l *life) end() {
	l.mu.Lock()
	if !l.ended {
		l.ended = true
		close(l.stop)
	}
	l.mu.Unlock()
	l.running.Wait()
}

// over reports whether end was called.
func (l *life) over() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.ended
}
