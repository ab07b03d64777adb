package crm

import (
	"context"
	"errors"
	"fmt"
	"time"

	"frontdesk/call"
)

const (
	// joinWithin is how old a look-up may be for a further caller with the same
	// number to share it.
	joinWithin = 200 * time.Millisecond
	// grace is how long a request goes on after its caller has left.
	grace = 3 * time.Second
	// patience is the time of a look-up whose caller sets none.
	patience = 10 * time.Second
)

// flight is one look-up under way. Everybody who asks for its number waits for
// done; answer and err are set before that.
type flight struct {
	done   chan struct{}
	began  time.Time
	era    int
	answer call.Answer
	err    error

	judged bool // reported to the breaker; guarded by flights.mu
}

// Lookup asks the portal who carries n, live, until ctx ends. The answer always
// says for the trace where it comes from or why it is missing; with an error it
// holds no entities. The error wraps ErrDeadline, ErrFailed, ErrSkipped or
// ErrNotAsked, see MissingOf, and the *Error of the portal if there was one.
//
// Callers with the same number within a moment share one request. The request
// outlives ctx by a few seconds: its answer then sets the mirror right. What the
// answer holds is shared and not to be changed.
func (c *Client) Lookup(ctx context.Context, n call.Number) (call.Answer, error) {
	if n == "" {
		return c.missing(ErrNotAsked)
	}
	f, err := c.board(ctx, n)
	if err != nil {
		return c.missing(err)
	}
	select {
	case <-f.done:
	case <-ctx.Done():
		err := fmt.Errorf("%w: %w", ErrDeadline, ctx.Err())
		if errors.Is(ctx.Err(), context.DeadlineExceeded) {
			c.judge(f, err)
		}
		return c.missing(err)
	}
	if f.err != nil {
		return c.missing(f.err)
	}
	c.metrics.lookup("")
	return f.answer, nil
}

// missing is the answer of a look-up that failed with err.
func (c *Client) missing(err error) (call.Answer, error) {
	m := MissingOf(err)
	c.metrics.lookup(m)
	return call.Answer{Source: call.SourceNone, Missing: m, Error: err.Error()}, err
}

// board joins a look-up for n that has just begun, or begins one.
func (c *Client) board(ctx context.Context, n call.Number) (*flight, error) {
	era, ok := c.breaker.allow()
	if !ok {
		_, why := c.breaker.state()
		return nil, fmt.Errorf("%w: %s", ErrSkipped, why)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	f := c.under[n]
	if f != nil && now.Sub(f.began) < joinWithin {
		return f, nil
	}
	if len(c.cancels) >= c.bucket.most() {
		if f != nil {
			return f, nil
		}
		return nil, fmt.Errorf("%w: %w", ErrFailed, errCrowded)
	}
	return c.start(ctx, n, era, now), nil
}

// start begins a look-up. c.mu is held.
func (c *Client) start(ctx context.Context, n call.Number, era int, now time.Time) *flight {
	until, ok := ctx.Deadline()
	if !ok {
		until = now.Add(patience)
	}
	f := &flight{done: make(chan struct{}), began: now, era: era}
	outer, cancel := context.WithDeadline(context.WithoutCancel(ctx), until.Add(grace))
	c.under[n], c.cancels[f] = f, cancel
	c.wait.Go(func() { c.fly(outer, f, n, until) })
	return f
}

// fly is the goroutine of a look-up.
func (c *Client) fly(ctx context.Context, f *flight, n call.Number, until time.Time) {
	f.answer, f.err = c.persist(ctx, n, until)
	c.judge(f, f.err)
	c.mu.Lock()
	if c.under[n] == f {
		delete(c.under, n)
	}
	c.cancels[f]()
	delete(c.cancels, f)
	c.mu.Unlock()
	close(f.done)
}

// judge reports a look-up to the breaker, once: late is failed, whatever comes
// afterwards.
func (c *Client) judge(f *flight, err error) {
	c.mu.Lock()
	first := !f.judged
	f.judged = true
	c.mu.Unlock()
	switch {
	case !first:
	case err == nil || partial(err):
		c.breaker.succeeded(f.era)
	case down(err):
		c.http.CloseIdleConnections() // whatever broke this one may have broken them
		if c.breaker.failed(f.era, err) {
			c.log.Error("the portal fails and is skipped until it answers", "error", err)
		}
	}
}

// dropLate ends the look-ups whose callers have gone: they were asked of a
// portal that was down.
func (c *Client) dropLate() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for f, cancel := range c.cancels {
		if f.judged {
			cancel()
		}
	}
}

// persist looks up, again where the portal says that its bucket was full and
// the caller still waits.
func (c *Client) persist(ctx context.Context, n call.Number, until time.Time) (call.Answer, error) {
	for try := 0; ; try++ {
		waiting, cancel := context.WithDeadline(ctx, until)
		err := c.bucket.wait(waiting, LaneLookup)
		cancel()
		if err != nil {
			return call.Answer{}, fmt.Errorf("%w: %w", classOf(err), err)
		}
		entities, capped, err := c.find(ctx, n)
		if err == nil {
			return call.Answer{Source: call.SourceLive, Entities: entities, Capped: capped}, nil
		}
		pause := time.Duration(float64(time.Second) / c.cfg.Rate.PerSecond)
		if try == 2 || !hasCode(err, CodeQueryLimit) || time.Until(until) < 2*pause {
			return call.Answer{}, fmt.Errorf("%w: %w", classOf(err), err)
		}
		if err := sleep(ctx, pause); err != nil {
			return call.Answer{}, fmt.Errorf("%w: %w", ErrDeadline, err)
		}
	}
}

func classOf(err error) error {
	if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
		return ErrDeadline
	}
	return ErrFailed
}
