package store

import (
	"context"
	"time"
)

// SetTiming shortens how long a job may take and when it is taken for dead.
func (o *Options) SetTiming(job, rescue time.Duration) { o.timing = timing{job, rescue} }

// Exec runs a statement on the connection that writes.
func (s *Store) Exec(ctx context.Context, query string, args ...any) error {
	d, err := s.db()
	if err == nil {
		_, err = d.write.ExecContext(ctx, query, args...)
	}
	return err
}

// Query reads one value.
func (s *Store) Query(ctx context.Context, query string, args ...any) (n int, err error) {
	d, err := s.db()
	if err == nil {
		err = d.write.QueryRowContext(ctx, query, args...).Scan(&n)
	}
	return n, err
}

// Sweep and Look are what Run does now and then.
func (s *Store) Sweep(ctx context.Context) bool { return s.sweep(ctx) }

// Look is the look at health and counts.
func (s *Store) Look(ctx context.Context) { s.look(ctx) }

// Backoff is the wait after failures in a row; Attempts is how many there are.
var Backoff = backoff

// Attempts is how often a job is tried.
const Attempts = maxAttempts

// NewRiverLog is newRiverLog.
var NewRiverLog = newRiverLog
