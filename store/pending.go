package store

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
)

const savePendingSQL = `INSERT INTO pending (node, id, body) VALUES ($1, $2, $3)
	ON CONFLICT (node, id) DO UPDATE SET body = excluded.body`

// SavePending keeps what this node knows of calls that the PBX has yet to
// account for, by id, in the place of what was kept, and forgets gone: all or
// nothing. Ids that are not kept are no error.
func (s *Store) SavePending(ctx context.Context, docs map[string][]byte, gone ...string) error {
	if len(docs)+len(gone) == 0 {
		return nil
	}
	return s.InTx(ctx, func(tx *Tx) error { return tx.SavePending(ctx, docs, gone...) })
}

// SavePending is Store.SavePending in a transaction.
func (t *Tx) SavePending(ctx context.Context, docs map[string][]byte, gone ...string) error {
	if err := t.deletePending(ctx, gone); err != nil {
		return err
	}
	for _, id := range slices.Sorted(maps.Keys(docs)) {
		if _, err := t.tx.ExecContext(ctx, savePendingSQL, t.s.node, id, blob(docs[id])); err != nil {
			return err
		}
	}
	return nil
}

// LoadPending tells f all that this node keeps so.
func (s *Store) LoadPending(ctx context.Context, f func(id string, doc []byte)) error {
	return s.each(ctx, "load_pending", func(scan func(...any) error) error {
		var id string
		var doc []byte
		if err := scan(&id, &doc); err != nil {
			return err
		}
		f(id, doc)
		return nil
	}, "SELECT id, body FROM pending WHERE node = $1", s.node)
}

// deleteAtOnce is how many rows one statement deletes: databases bound its
// arguments.
const deleteAtOnce = 100

func (t *Tx) deletePending(ctx context.Context, ids []string) error {
	for len(ids) > 0 {
		n := min(len(ids), deleteAtOnce)
		args, marks := []any{t.s.node}, make([]string, n)
		for i, id := range ids[:n] {
			args, marks[i] = append(args, id), fmt.Sprintf("$%d", i+2)
		}
		query := "DELETE FROM pending WHERE node = $1 AND id IN (" + strings.Join(marks, ", ") + ")"
		if _, err := t.tx.ExecContext(ctx, query, args...); err != nil {
			return err
		}
		ids = ids[n:]
	}
	return nil
}
