package crm

import (
	"context"
	"errors"
	"sync"
	"time"
)

// threshold is how many failures in a row open the breaker.
const threshold = 5

// probeTimeout bounds a probe; with the pause between probes it is within the
// five seconds after which a healed portal must serve calls again.
const probeTimeout = 3 * time.Second

// breaker skips a portal that failed repeatedly. Callers open it; only the probe
// in the background closes it.
type breaker struct {
	mu       sync.Mutex
	failures int
	open     bool
	why      string
	era      int           // of openings and closings: failures of an older era say nothing
	opened   chan struct{} // holds a value after an opening
}

func newBreaker() *breaker { return &breaker{opened: make(chan struct{}, 1)} }

// allow reports whether the portal may be asked, and the era to report to.
func (b *breaker) allow() (era int, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.era, !b.open
}

func (b *breaker) state() (open bool, why string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.open, b.why
}

// succeeded reports an answer. It does not close an open breaker.
func (b *breaker) succeeded(era int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if era == b.era {
		b.failures = 0
	}
}

// failed reports a failure, and whether it opened the breaker.
func (b *breaker) failed(era int, err error) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if era != b.era || b.open {
		return false
	}
	b.failures++
	if b.failures < threshold {
		return false
	}
	b.open, b.why = true, err.Error()
	b.era++
	select {
	case b.opened <- struct{}{}:
	default:
	}
	return true
}

func (b *breaker) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.open, b.failures, b.why = false, 0, ""
	b.era++
}

// probe waits for the breaker to open and then asks the portal again and again
// until it answers.
func (c *Client) probe(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-c.breaker.opened:
		}
		for answered := false; !answered; answered = c.answers(ctx) {
			if sleep(ctx, c.cfg.Probe) != nil {
				return
			}
		}
		c.breaker.close()
		c.dropLate()
		c.log.InfoContext(ctx, "the portal answers again")
	}
}

// answers asks the portal by the way that look-ups take, and in their lane: a
// bucket that background work drew down must not keep callers from the portal.
func (c *Client) answers(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	_, err := c.whole(ctx, LaneLookup, []command{newCommand("mode", "crm.settings.mode.get", nil)})
	if err == nil || partial(err) {
		return true
	}
	c.http.CloseIdleConnections() // the next probe is to use a new one
	return false
}

// partial reports whether err speaks of one command of an answered batch.
func partial(err error) bool {
	var e *Error
	return errors.As(err, &e) && e.Command != ""
}

// down reports whether err speaks of the portal as a whole, not of one number
// or of our own limits.
func down(err error) bool {
	return err != nil && !partial(err) && !errors.Is(err, errBudget) && !errors.Is(err, errCrowded)
}
