package crm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync/atomic"
	"time"
)

// next reads the next pages of w by ask: fewer at a time where they are too
// much for the portal.
func (w *walk) next(ctx context.Context, c *Client, ask func([]command) (FlexObject, error)) ([]rawRow, error) {
	for {
		commands := w.commands()
		results, err := ask(commands)
		if err == nil {
			return w.rows(c, commands, results)
		}
		if !tooMuch(err) || ctx.Err() != nil || w.pages == 1 {
			return nil, err
		}
		w.pages /= 2
	}
}

// tooMuch reports whether fewer pages may do better.
func tooMuch(err error) bool {
	return errors.Is(err, errTooLarge) || errors.Is(err, context.DeadlineExceeded)
}

// politely sends commands that read, when callers leave room, and tells the
// portal's time of it. It rests where the portal says that the methods have
// run for longer than operating: callers use them too.
func (c *Client) politely(ctx context.Context, r *resting, operating time.Duration, commands []command) (FlexObject, time.Time, error) {
	if open, why := c.breaker.state(); open {
		return nil, time.Time{}, fmt.Errorf("%w: %s", ErrSkipped, why)
	}
	if err := sleep(ctx, time.Until(r.restsUntil())); err != nil {
		return nil, time.Time{}, err
	}
	asking, cancel := context.WithTimeout(ctx, batchPatience)
	defer cancel()
	answer, err := c.send(asking, LaneSync, batch(commands))
	if err != nil {
		return nil, time.Time{}, err
	}
	results, err := c.results(commands, answer.Result)
	r.heed(answer, err, operating)
	return results, portalTime(answer), err
}

// resting is until when the portal is left alone.
type resting struct{ until atomic.Int64 } // Unix nanoseconds

func (r *resting) restsUntil() time.Time { return time.Unix(0, r.until.Load()) }

// rest has whoever reads leave the portal alone until t, within reason.
func (r *resting) rest(t time.Time) {
	if latest := time.Now().Add(longestRest); t.After(latest) {
		t = latest
	}
	r.until.Store(t.UnixNano())
}

// heed notes how much of the methods' execution time is used.
func (r *resting) heed(answer envelope, err error, operating time.Duration) {
	var refused *Error
	if errors.As(err, &refused) && refused.Code == CodeOperationTime {
		until := refused.ResetAt
		if !until.After(time.Now()) {
			until = time.Now().Add(shortPause)
		}
		r.rest(until)
		return
	}
	var b struct {
		Times FlexObject `json:"result_time"`
	}
	if json.Unmarshal(answer.Result, &b) != nil {
		return // results has said so
	}
	for _, raw := range b.Times {
		var t struct {
			Operating float64 `json:"operating"`
		}
		if json.Unmarshal(raw, &t) == nil && t.Operating > operating.Seconds() {
			until := resetAt(raw)
			if until.IsZero() {
				until = time.Now().Add(time.Minute) // the oldest of ten minutes is dropped
			}
			r.rest(until)
		}
	}
}
