package phonebook

import (
	"context"
	"errors"
	"sync/atomic"
	"time"
)

const (
	startAfter  = 10 * time.Second // calls come first
	retryFirst  = time.Minute      // after a failure, doubling
	retryLast   = time.Hour
	askAgain    = 5 * time.Minute // while another node syncs
	showEvery   = 300 * time.Millisecond
	unreachable = time.Minute // until the store is asked again
)

// run is a full sync that Run does, by the clock or because it was asked for.
type run struct {
	options  Options
	progress atomic.Pointer[Progress]
	done     chan struct{} // closed at the end; sum and err are set before
	sum      Summary
	err      error
}

func newRun(o Options) *run { return &run{options: o, done: make(chan struct{})} }

// Run syncs in full regularly, and when Request asks for it, until ctx ends. A
// PBX or CRM in trouble delays it.
func (s *Sync) Run(ctx context.Context) error {
	failures := 0
	wait := startAfter
	for {
		t := time.NewTimer(wait)
		var r *run
		select {
		case <-ctx.Done():
			t.Stop()
			return nil
		case r = <-s.asked:
			t.Stop()
		case <-t.C:
			due := s.due(ctx)
			if due > 0 {
				wait = due
				continue
			}
			r = newRun(Options{})
		}
		s.do(ctx, r)
		switch {
		case r.options.DryRun:
			wait = startAfter
		case errors.Is(r.err, ErrElsewhere):
			wait = askAgain
		case r.err != nil:
			wait = min(retryFirst<<min(failures, 10), retryLast)
			failures++
		default:
			failures, wait = 0, startAfter
		}
	}
}

// do does a full sync.
func (s *Sync) do(ctx context.Context, r *run) {
	s.current.Store(r)
	r.sum, r.err = s.Full(ctx, r.options, func(p Progress) { r.progress.Store(&p) })
	s.current.Store(nil)
	close(r.done)
	w := r.sum.Written
	switch {
	case ctx.Err() != nil:
	case errors.Is(r.err, ErrElsewhere):
		s.log.InfoContext(ctx, "the address book is not synced here", "why", r.err)
	case r.err != nil:
		s.log.ErrorContext(ctx, "the address book is not in step with the CRM", "error", r.err, "created", w.Created, "updated", w.Updated, "deleted", w.Deleted)
	default:
		s.log.InfoContext(ctx, "address book synced", "dry_run", r.sum.DryRun, "contacts", r.sum.Wanted, "created", w.Created, "updated", w.Updated,
			"deleted", w.Deleted, "refused", w.Refused, "theirs", r.sum.Matched.Theirs, "seconds", r.sum.Seconds)
	}
}

// due is how long it is until the next full sync, by when any node completed
// the last one.
func (s *Sync) due(ctx context.Context) time.Duration {
	const never = 365 * 24 * time.Hour
	if s.cfg.Every <= 0 {
		return never
	}
	n, _, err := s.note(ctx)
	if err != nil {
		s.log.WarnContext(ctx, "when the address book was synced last cannot be read", "error", err)
		return unreachable
	}
	if n.Complete.After(time.Now()) {
		return 0 // the clock was set back
	}
	return time.Until(n.Complete.Add(s.cfg.Every))
}

// Request has Run do a full sync, or joins the one under way if it has the same
// options, and waits for its end. The sync goes on when ctx ends. show is called
// by the goroutine that called Request.
func (s *Sync) Request(ctx context.Context, o Options, show func(Progress)) (Summary, error) {
	r := s.current.Load()
	switch {
	case r == nil:
		r = newRun(o)
		select {
		case s.asked <- r:
		case <-ctx.Done():
			return Summary{}, context.Cause(ctx)
		}
	case r.options != o:
		return Summary{}, ErrRunning
	}
	tick := time.NewTicker(showEvery)
	defer tick.Stop()
	for {
		select {
		case <-r.done:
			return r.sum, r.err
		case <-ctx.Done():
			return Summary{}, context.Cause(ctx)
		case <-tick.C:
			if p := r.progress.Load(); p != nil {
				show(*p)
			}
		}
	}
}
