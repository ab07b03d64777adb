package store

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"frontdesk/call"
)

// RecordState says whether a call's record is final.
type RecordState string

// The states of a record. One that waits may be settled by what others know of
// the call, such as the PBX.
const (
	RecordWaiting RecordState = "waiting"
	RecordSettled RecordState = "settled"
)

// saveRecordSQL keeps a record unless a better one is there: once settled a call
// waits for nobody, and an answered one never becomes a missed one. While it
// waits it may: a queue that picks up has answered as far as we could see. One
// that has ended is never open again.
const saveRecordSQL = `INSERT INTO calls (id, node, started, ended, direction, trunk, caller, target, outcome, result, state, body)
	VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)
	ON CONFLICT (id) DO UPDATE SET node = excluded.node, started = excluded.started, ended = excluded.ended,
		direction = excluded.direction, trunk = excluded.trunk, caller = excluded.caller, target = excluded.target,
		outcome = excluded.outcome, result = excluded.result, state = excluded.state, body = excluded.body
	WHERE NOT (calls.state = 'settled' AND (excluded.state <> 'settled' OR calls.result = 'answered' AND excluded.result <> 'answered'))
		AND NOT (calls.result <> '' AND excluded.result = '')`

// SaveRecord keeps r, in the place of what was kept of the call, and reports
// whether it did: a better account that is there stays. The ledger is not part
// of it.
func (s *Store) SaveRecord(ctx context.Context, r call.Record, state RecordState) (kept bool, err error) {
	args, err := s.recordRow(r, state)
	if err != nil {
		return false, fmt.Errorf("store: save_record: %w", err)
	}
	n, err := s.exec(ctx, "save_record", saveRecordSQL, args...)
	return n == 1, err
}

// SaveRecord keeps r, as Store.SaveRecord does, if the transaction is
// committed.
func (t *Tx) SaveRecord(ctx context.Context, r call.Record, state RecordState) (kept bool, err error) {
	args, err := t.s.recordRow(r, state)
	if err != nil {
		return false, err
	}
	res, err := t.tx.ExecContext(ctx, saveRecordSQL, args...)
	if err != nil {
		return false, err
	}
	n, err := res.RowsAffected()
	return n == 1, err
}

func (s *Store) recordRow(r call.Record, state RecordState) ([]any, error) {
	r.Ledger = nil
	body, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("writing the record of call %s: %w", r.ID, err)
	}
	return []any{
		r.ID, s.node, micros(r.Started), micros(r.Times.Ended), string(r.Direction), r.Trunk, r.Caller.Digits(),
		string(r.Target), string(r.Outcome), string(r.Result), string(state), string(body),
	}, nil
}

// micros are the microseconds of a time, 0 for none: records are ordered by
// them.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// Record is the record of one call with its ledger, and whether it is settled.
// ErrNotFound where there is none.
func (s *Store) Record(ctx context.Context, id string) (r call.Record, state RecordState, err error) {
	type found struct {
		body  string
		state RecordState
		rows  []LedgerRow
	}
	f, err := bounded(ctx, s, "record", func(ctx context.Context, d *db) (found, error) {
		body, state, err := recordBody(ctx, d.read, id)
		if err != nil {
			return found{}, err
		}
		rows, err := ledger(ctx, d.read, id, "")
		return found{body, state, rows}, err
	})
	if err != nil {
		return call.Record{}, "", err
	}
	if err := json.Unmarshal([]byte(f.body), &r); err != nil {
		return call.Record{}, "", fmt.Errorf("store: record %s: %w", id, err)
	}
	for _, row := range f.rows {
		r.Ledger = append(r.Ledger, row.Entry)
	}
	return r, f.state, nil
}

// Record is the record of one call without its ledger, also what was saved in
// this transaction.
func (t *Tx) Record(ctx context.Context, id string) (r call.Record, state RecordState, err error) {
	body, state, err := recordBody(ctx, t.tx, id)
	if err != nil {
		return call.Record{}, "", err
	}
	return r, state, json.Unmarshal([]byte(body), &r)
}

func recordBody(ctx context.Context, q queryer, id string) (body string, state RecordState, err error) {
	err = q.QueryRowContext(ctx, "SELECT body, state FROM calls WHERE id = $1", id).Scan(&body, &state)
	return body, state, missing(err)
}

// Records are the records that sel wants, newest first, without their ledgers.
func (s *Store) Records(ctx context.Context, sel call.Selection) ([]call.Record, error) {
	ctx, cancel := context.WithTimeout(ctx, opLimit)
	defer cancel()
	query, args := recordsSQL(sel)
	var out []call.Record
	err := s.each(ctx, "records", func(scan func(...any) error) error {
		return decode(scan, func(r call.Record) error {
			out = append(out, r)
			return nil
		})
	}, query, args...)
	return out, err
}

func recordsSQL(sel call.Selection) (string, []any) {
	var where []string
	var args []any
	add := func(condition string, values ...any) {
		for _, v := range values {
			args = append(args, v)
			condition = strings.Replace(condition, "?", fmt.Sprintf("$%d", len(args)), 1)
		}
		where = append(where, condition)
	}
	if sel.Caller != "" {
		add("caller = ?", sel.Caller.Digits())
	}
	if sel.Outcome != "" {
		add("outcome = ?", string(sel.Outcome))
	}
	if !sel.Since.IsZero() {
		add("started >= ?", sel.Since.Add(time.Microsecond-1).UnixMicro()) // what is older by nanoseconds is left out
	}
	if !sel.Until.IsZero() {
		add("started < ?", sel.Until.Add(time.Microsecond-1).UnixMicro())
	}
	if !sel.After.IsZero() {
		add("(started, id) < (?, ?)", sel.After.Started.UnixMicro(), sel.After.ID)
	}
	query := "SELECT body FROM calls"
	if len(where) > 0 {
		query += " WHERE " + strings.Join(where, " AND ")
	}
	args = append(args, sel.Limit)
	return query + fmt.Sprintf(" ORDER BY started DESC, id DESC LIMIT $%d", len(args)), args
}

// Waiting tells f the records of this node that are not settled, oldest first,
// until f fails: those of calls that went on when a process ended.
func (s *Store) Waiting(ctx context.Context, f func(call.Record) error) error {
	return s.each(ctx, "waiting", func(scan func(...any) error) error {
		return decode(scan, f)
	}, "SELECT body FROM calls WHERE state = 'waiting' AND node = $1 ORDER BY started, id", s.node)
}

// sweepRows bounds what one statement deletes, for which others that write
// wait.
const sweepRows = 1000

// sweepRecords deletes what began before a time, with its ledger, a piece at a
// time.
func (s *Store) sweepRecords(ctx context.Context, before time.Time) error {
	for {
		var n int64
		err := s.InTx(ctx, func(tx *Tx) error {
			const old = "(SELECT id FROM calls WHERE started < $1 ORDER BY started LIMIT $2)"
			if _, err := tx.tx.ExecContext(ctx, "DELETE FROM ledger WHERE call IN "+old, before.UnixMicro(), sweepRows); err != nil {
				return err
			}
			res, err := tx.tx.ExecContext(ctx, "DELETE FROM calls WHERE id IN "+old, before.UnixMicro(), sweepRows)
			if err != nil {
				return err
			}
			n, err = res.RowsAffected()
			return err
		})
		if err != nil || n < sweepRows {
			return errors.Join(err, s.sweepOrphans(ctx, before))
		}
	}
}

// sweepOrphans deletes the steps of calls of which no record came.
func (s *Store) sweepOrphans(ctx context.Context, before time.Time) error {
	_, err := s.exec(ctx, "sweep", `DELETE FROM ledger WHERE changed < $1
		AND NOT EXISTS (SELECT 1 FROM calls WHERE calls.id = ledger.call)`, before.UnixMilli())
	return err
}
