package calllog

import (
	"context"
	"encoding/json"
	"time"

	"frontdesk/call"
	"frontdesk/store"
)

// Settle writes a final record, as Run does.
func (l *Log) Settle(ctx context.Context, r call.Record) error {
	return l.settle(ctx, ended{r, store.RecordSettled})
}

// Work is a call's job.
func (l *Log) Work(ctx context.Context, id string) error {
	args, err := json.Marshal(id)
	if err != nil {
		return err
	}
	return l.work(ctx, args)
}

// Reconcile is the look at what was forgotten.
func (l *Log) Reconcile(ctx context.Context, since time.Time) error { return l.reconcile(ctx, since) }

// Drained reports whether every record is written.
func (l *Log) Drained() bool { return l.ending.count() == 0 }

// Backoff is the wait after tries.
var Backoff = backoff
