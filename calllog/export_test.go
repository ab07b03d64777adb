package calllog

import (
	"context"
	"encoding/json"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"frontdesk/call"
	"frontdesk/store"
)

// Settle writes a final record, as Run does.
func (l *Log) Settle(ctx context.Context, r call.Record) error {
	return l.settle(ctx, ended{record: r, state: store.RecordSettled})
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

// SettleLost is the look at calls whose end was lost.
func (l *Log) SettleLost(ctx context.Context, before time.Time) error {
	return l.settleLost(ctx, before)
}

// Drained reports whether every record is written.
func (l *Log) Drained() bool { return l.ending.count() == 0 }

// Backoff is the wait after tries.
var Backoff = backoff

// Clip is an error as the ledger keeps it.
var Clip = clip

// During tells the portal of a call that rings, as Run does.
func (l *Log) During(ctx context.Context, r call.Record) {
	cards, err := lru.New[string, card](ringKept)
	if err == nil {
		l.during(ctx, moment{at: time.Now(), record: r, id: r.ID}, cards)
	}
}
