package store

import (
	"context"
	"fmt"
	"strings"
)

const savePendingSQL = `INSERT INTO pending (node, id, body) VALUES ($1, $2, $3)
	ON CONFLICT (node, id) DO UPDATE SET body = excluded.body`

// SavePending keeps what this node knows of a call that the PBX has yet to
// account for, in the place of what was kept under id.
func (s *Store) SavePending(ctx context.Context, id string, doc []byte) error {
	_, err := s.exec(ctx, "save_pending", savePendingSQL, s.node, id, blob(doc))
	return err
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

// DeletePending forgets what this node keeps under ids.
func (s *Store) DeletePending(ctx context.Context, ids ...string) error {
	for len(ids) > 0 {
		n := min(len(ids), deleteAtOnce)
		args, marks := []any{s.node}, make([]string, n)
		for i, id := range ids[:n] {
			args, marks[i] = append(args, id), fmt.Sprintf("$%d", i+2)
		}
		query := "DELETE FROM pending WHERE node = $1 AND id IN (" + strings.Join(marks, ", ") + ")"
		if _, err := s.exec(ctx, "delete_pending", query, args...); err != nil {
			return err
		}
		ids = ids[n:]
	}
	return nil
}
