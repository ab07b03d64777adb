package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"time"

	"frontdesk/call"
)

// LedgerRow is one step that is owed to the CRM for a call, and how far it is.
type LedgerRow struct {
	Call string // whose
	call.Entry
	Detail json.RawMessage // what the step has to remember; may be nil
}

const saveLedgerSQL = `INSERT INTO ledger (call, step, leg, state, tries, error, next, detail, begun, changed)
	VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $9)
	ON CONFLICT (call, step, leg) DO UPDATE SET state = excluded.state, tries = excluded.tries, error = excluded.error,
		next = excluded.next, detail = excluded.detail, changed = excluded.changed`

// SaveLedger keeps steps, each in the place of what was kept of it: all or
// none.
func (s *Store) SaveLedger(ctx context.Context, rows ...LedgerRow) error {
	return s.saveAll(ctx, "save_ledger", len(rows), saveLedgerSQL, func(i int) ([]any, error) { return s.ledgerArgs(rows[i]), nil })
}

// SaveLedger keeps steps, as Store.SaveLedger does, if the transaction is
// committed.
func (t *Tx) SaveLedger(ctx context.Context, rows ...LedgerRow) error {
	for _, r := range rows {
		if _, err := t.tx.ExecContext(ctx, saveLedgerSQL, t.s.ledgerArgs(r)...); err != nil {
			return err
		}
	}
	return nil
}

func (s *Store) ledgerArgs(r LedgerRow) []any {
	next := int64(0)
	if !r.Next.IsZero() {
		next = r.Next.UnixMilli()
	}
	return []any{r.Call, r.Step, r.Leg, r.State, r.Tries, r.Error, next, string(r.Detail), s.now().UnixMilli()}
}

// Ledger are the steps of a call, in the order of its conversations and then
// of the steps' names.
func (s *Store) Ledger(ctx context.Context, id string) ([]LedgerRow, error) {
	return bounded(ctx, s, "ledger", func(ctx context.Context, d *db) ([]LedgerRow, error) { return ledger(ctx, d.read, id, "") })
}

// Ledger are the steps of a call, also those saved in this transaction. Who else
// saves one of them waits until the transaction ends: on what was read something
// may be saved that stands.
func (t *Tx) Ledger(ctx context.Context, id string) ([]LedgerRow, error) {
	lock := "" // on SQLite all that write wait for each other
	if t.d.dialect == postgres {
		lock = " FOR UPDATE"
	}
	return ledger(ctx, t.tx, id, lock)
}

func ledger(ctx context.Context, q queryer, id, lock string) (out []LedgerRow, err error) {
	rows, err := q.QueryContext(ctx, "SELECT step, leg, state, tries, error, next, detail FROM ledger WHERE call = $1 ORDER BY leg, step"+lock, id)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		r := LedgerRow{Call: id}
		var next int64
		var detail string
		if err := rows.Scan(&r.Step, &r.Leg, &r.State, &r.Tries, &r.Error, &next, &detail); err != nil {
			return nil, err
		}
		if next != 0 {
			r.Next = time.UnixMilli(next)
		}
		if detail != "" {
			r.Detail = json.RawMessage(detail)
		}
		out = append(out, r)
	}
	return out, rows.Err()
}

// Backlog is how much of one step is owed or failed.
type Backlog struct {
	Step, State string
	Count       int
	Oldest      time.Time // when the oldest was first owed
}

// Backlog counts the steps that are not done.
func (s *Store) Backlog(ctx context.Context) ([]Backlog, error) {
	ctx, cancel := context.WithTimeout(ctx, opLimit)
	defer cancel()
	var out []Backlog
	err := s.each(ctx, "backlog", func(scan func(...any) error) error {
		var b Backlog
		var oldest int64
		if err := scan(&b.Step, &b.State, &b.Count, &oldest); err != nil {
			return err
		}
		b.Oldest = time.UnixMilli(oldest)
		out = append(out, b)
		return nil
	}, "SELECT step, state, count(*), min(begun) FROM ledger WHERE state <> 'done' GROUP BY step, state ORDER BY step, state")
	return out, err
}

// Owed are calls, at most limit, that have a step waiting on which nothing was
// done since a time, and whose record is settled.
func (s *Store) Owed(ctx context.Context, since time.Time, limit int) ([]string, error) {
	ctx, cancel := context.WithTimeout(ctx, opLimit)
	defer cancel()
	var out []string
	err := s.each(ctx, "owed", func(scan func(...any) error) error {
		var id string
		err := scan(&id)
		out = append(out, id)
		return err
	}, `SELECT ledger.call FROM ledger JOIN calls ON calls.id = ledger.call
		WHERE ledger.state = 'waiting' AND calls.state = 'settled'
		GROUP BY ledger.call HAVING max(ledger.changed) < $1 ORDER BY min(ledger.changed) LIMIT $2`, since.UnixMilli(), limit)
	return out, err
}

// missing gives ErrNotFound for a row that is not there.
func missing(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return ErrNotFound
	}
	return err
}
