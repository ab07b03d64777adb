package store

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// riverLog is River's log as operators want it. What River tells of its routine,
// some lines every five seconds, is for debugging; what goes wrong there is
// tried again many times a second in an outage, and told once a minute.
type riverLog struct {
	slog.Handler
	told *told
}

// told is when each message was logged last.
type told struct {
	mu sync.Mutex
	at map[string]time.Time
}

const toldAgain = time.Minute

// newRiverLog makes a logger for River of ours.
func newRiverLog(log *slog.Logger) *slog.Logger {
	return slog.New(riverLog{log.With("part", "jobs").Handler(), &told{at: map[string]time.Time{}}})
}

func routine(l slog.Level) bool { return l < slog.LevelWarn }

func (h riverLog) Enabled(ctx context.Context, l slog.Level) bool {
	if routine(l) {
		l = slog.LevelDebug
	}
	return h.Handler.Enabled(ctx, l)
}

func (h riverLog) Handle(ctx context.Context, r slog.Record) error {
	switch {
	case routine(r.Level):
		r.Level = slog.LevelDebug
	case !h.told.first(r.Message, r.Time):
		return nil
	}
	return h.Handler.Handle(ctx, r)
}

// first reports whether a message was not logged within the last minute.
func (t *told) first(message string, now time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if last, ok := t.at[message]; ok && now.Sub(last).Abs() < toldAgain {
		return false
	}
	t.at[message] = now
	return true
}

func (h riverLog) WithAttrs(a []slog.Attr) slog.Handler {
	return riverLog{h.Handler.WithAttrs(a), h.told}
}

func (h riverLog) WithGroup(name string) slog.Handler {
	return riverLog{h.Handler.WithGroup(name), h.told}
}
