package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"
)

// Tx is a transaction: what is written in it is written together or not at
// all.
type Tx struct {
	s  *Store
	d  *db
	tx *sql.Tx
}

// InTx runs f in a transaction and commits it, unless f fails. f uses the
// transaction's methods only: on SQLite a write of the store's would wait for
// the transaction it is in. A transaction is held open for the store's limit
// of time at most, so f does not wait for anything else. f is run again where
// PostgreSQL ended the transaction for another's sake.
func (s *Store) InTx(ctx context.Context, f func(tx *Tx) error) (err error) {
	start := time.Now()
	defer func() {
		s.metrics.observe("transaction", time.Since(start), err)
		if err != nil {
			err = fmt.Errorf("store: transaction: %w", err)
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, opLimit)
	defer cancel()
	d, err := s.db()
	if err != nil {
		return err
	}
	return untilThrough(ctx, func() error { return s.inTx(ctx, d, f) })
}

func (s *Store) inTx(ctx context.Context, d *db, f func(tx *Tx) error) (err error) {
	tx, err := d.write.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	done := false
	defer func() {
		if !done { // f failed or panicked
			if e := tx.Rollback(); e != nil && !errors.Is(e, sql.ErrTxDone) {
				err = errors.Join(err, e)
			}
		}
	}()
	if err := f(&Tx{s, d, tx}); err != nil {
		return err
	}
	done = true
	return tx.Commit()
}

// Put keeps value under key, as Store.Put does.
func (t *Tx) Put(ctx context.Context, key string, value []byte) error {
	_, err := t.tx.ExecContext(ctx, putSQL, key, blob(value), t.s.now().UnixMilli())
	return err
}

// Get is what is kept under key, also what was put in this transaction.
func (t *Tx) Get(ctx context.Context, key string) ([]byte, error) { return get(ctx, t.tx, key) }
