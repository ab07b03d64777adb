package pbx

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"log/slog"
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// CallLogger reads 3CX's call log. Client is one.
type CallLogger interface {
	CallLog(ctx context.Context, from, to time.Time) ([]Segment, error)
}

// ReconcilerConfig is what a Reconciler works with.
type ReconcilerConfig struct {
	Log    CallLogger
	State  StateStore
	Reader Reader
	Give   func(Call)      // takes every call, also those it has had before
	Ready  <-chan struct{} // closed when Reader knows the names it needs; nil: it does
	Every  time.Duration
	Logger *slog.Logger
}

// Reconciler closes the gaps that an outage leaves in the call detail records,
// which 3CX does not send again: it reads the call log of the last quarter of an
// hour again and again, and at the start all since it last could.
type Reconciler struct {
	cfg    ReconcilerConfig
	passes atomic.Int64
	failed atomic.Int64
	open   atomic.Bool // it could be read, and is not refused since
	upTo   atomic.Pointer[time.Time]

	rows map[string][]Segment // of the calls of the last hours, by call
}

const (
	logEvery      = 2 * time.Minute
	logRetry      = 5 * time.Second  // after a failure, doubling to the usual
	reconcileBack = 15 * time.Minute // calls are written at their end: a long one appears late
	reconcileMost = 7 * 24 * time.Hour
	rowsKept      = 6 * time.Hour // of a call whose next row may come
	seenKey       = "pbx.calllog.seen"
)

// NewReconciler makes a Reconciler; Run makes it work.
func NewReconciler(cfg ReconcilerConfig) *Reconciler {
	if cfg.Every <= 0 {
		cfg.Every = logEvery
	}
	if cfg.Ready == nil {
		ready := make(chan struct{})
		close(ready)
		cfg.Ready = ready
	}
	return &Reconciler{cfg: cfg, rows: map[string][]Segment{}}
}

// Run reads the log until ctx ends.
func (r *Reconciler) Run(ctx context.Context) error {
	began := time.Now()
	from, ok, err := r.recall(ctx)
	switch {
	case err != nil:
		return err
	case ok:
		r.upTo.Store(&from)
		r.open.Store(true)
	default:
		from = began
	}
	select {
	case <-r.cfg.Ready:
	case <-ctx.Done():
		return ctx.Err()
	}
	failing, again := false, logRetry
	for {
		now := time.Now()
		err := r.pass(ctx, from, now)
		switch {
		case err == nil:
			from, again = now, logRetry
			r.upTo.Store(&now)
			r.open.Store(true)
			if failing {
				r.cfg.Logger.Info("call log of the PBX: read again")
			}
		case ctx.Err() == nil && !failing:
			r.cfg.Logger.Warn("call log of the PBX: cannot be read, trying on", "error", err)
		}
		if failing = err != nil; failing {
			if errors.Is(err, ErrForbidden) || errors.Is(err, ErrNotFound) {
				r.open.Store(false)
			}
			r.failed.Add(1)
		}
		pause := r.cfg.Every
		if failing {
			pause, again = min(again, pause), min(2*again, pause)
		}
		if !wait(ctx, pause) {
			return ctx.Err()
		}
	}
}

// Reading reports whether the log tells of calls, sooner or later: it was read,
// before a restart too, and is not refused since. Without a licence, or the role
// for it, never.
func (r *Reconciler) Reading() bool { return r.open.Load() }

// Ahead reports whether the log is yet to be read up to a time.
func (r *Reconciler) Ahead(t time.Time) bool {
	upTo := r.upTo.Load()
	return upTo != nil && t.After(upTo.Add(-reconcileBack)) && time.Since(t) < reconcileMost
}

// pass reads what began from a quarter of an hour before from, by the hour, and
// remembers how far it came.
func (r *Reconciler) pass(ctx context.Context, from, now time.Time) error {
	from = later(from.Add(-reconcileBack), now.Add(-reconcileMost))
	for from.Before(now) {
		to := from.Add(window)
		if to.After(now) {
			to = now
		}
		rows, err := r.cfg.Log.CallLog(ctx, from, to)
		if err != nil {
			return err
		}
		for _, c := range r.cfg.Reader.Calls(r.whole(rows, now)) {
			r.cfg.Give(c)
		}
		from = to
	}
	r.passes.Add(1)
	return r.remember(ctx, now)
}

// whole adds to rows those of the same calls that were read before: a call that
// goes on has its first rows in an earlier part of the log.
func (r *Reconciler) whole(rows []Segment, now time.Time) []Segment {
	touched := map[string]bool{}
	for _, s := range rows {
		touched[s.ID.Main] = true
		have := r.rows[s.ID.Main]
		if i := slices.IndexFunc(have, func(o Segment) bool { return o.ID == s.ID }); i >= 0 {
			have[i] = s
		} else {
			r.rows[s.ID.Main] = append(have, s)
		}
	}
	var out []Segment
	for id, have := range r.rows {
		if touched[id] {
			out = append(out, have...)
		} else if last := have[len(have)-1]; last.Started.Before(now.Add(-rowsKept)) {
			delete(r.rows, id)
		}
	}
	return out
}

func (r *Reconciler) remember(ctx context.Context, at time.Time) error {
	b, err := json.Marshal(at.UTC())
	if err != nil {
		return err
	}
	return r.cfg.State.Put(ctx, seenKey, b)
}

// recall is up to when the log was read before the start; ok is false where that
// was never noted. A store that does not work is asked again: without its answer
// the calls of an outage would not be read.
func (r *Reconciler) recall(ctx context.Context) (at time.Time, ok bool, err error) {
	for said := false; ; said = true {
		b, err := r.cfg.State.Get(ctx, seenKey)
		if err == nil {
			if err = json.Unmarshal(b, &at); err == nil {
				return at, true, nil
			}
			r.cfg.Logger.Warn("call log of the PBX: read from now on, the note of how far it was read is damaged", "error", err)
			return at, false, nil
		}
		switch {
		case errors.Is(err, fs.ErrNotExist):
			r.cfg.Logger.Info("call log of the PBX: read for the first time")
			return at, false, nil
		case !said && ctx.Err() == nil:
			r.cfg.Logger.Warn("call log of the PBX: how far it was read is not known yet, trying on", "error", err)
		}
		if !wait(ctx, logRetry) {
			return at, false, ctx.Err()
		}
	}
}

// Collectors are the reconciler's metrics.
func (r *Reconciler) Collectors() []prometheus.Collector {
	count := func(name, help string, n *atomic.Int64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, func() float64 { return float64(n.Load()) })
	}
	return []prometheus.Collector{
		count("frontdesk_pbx_reconcile_passes_total", "Readings of the PBX's call log to the end.", &r.passes),
		count("frontdesk_pbx_reconcile_failures_total", "Readings of the PBX's call log that failed.", &r.failed),
	}
}
