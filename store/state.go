package store

import (
	"context"
	"database/sql"
)

const putSQL = `INSERT INTO state (name, value, changed) VALUES ($1, $2, $3)
	ON CONFLICT (name) DO UPDATE SET value = excluded.value, changed = excluded.changed`

// Put keeps value under key, in the place of what was there.
func (s *Store) Put(ctx context.Context, key string, value []byte) error {
	_, err := s.exec(ctx, "put", putSQL, key, blob(value), s.now().UnixMilli())
	return err
}

// Get is what is kept under key; ErrNotFound where there is nothing.
func (s *Store) Get(ctx context.Context, key string) ([]byte, error) {
	return bounded(ctx, s, "get", func(ctx context.Context, d *db) ([]byte, error) { return get(ctx, d.read, key) })
}

// Delete forgets what is kept under key.
func (s *Store) Delete(ctx context.Context, key string) error {
	_, err := s.exec(ctx, "delete", "DELETE FROM state WHERE name = $1", key)
	return err
}

// CompareAndPut keeps value under key if what is there is old, and reports
// whether it was; a nil old wants nothing to be there. Of many that try at
// once, on any node, one succeeds.
func (s *Store) CompareAndPut(ctx context.Context, key string, old, value []byte) (bool, error) {
	query := `UPDATE state SET value = $2, changed = $3 WHERE name = $1 AND value = $4`
	args := []any{key, blob(value), s.now().UnixMilli(), old}
	if old == nil {
		query = `INSERT INTO state (name, value, changed) VALUES ($1, $2, $3) ON CONFLICT (name) DO NOTHING`
		args = args[:3]
	}
	n, err := s.exec(ctx, "compare_and_put", query, args...)
	return n == 1, err
}

// queryer is a pool or a transaction.
type queryer interface {
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

func get(ctx context.Context, q queryer, key string) ([]byte, error) {
	var value []byte
	err := q.QueryRowContext(ctx, "SELECT value FROM state WHERE name = $1", key).Scan(&value)
	return blob(value), missing(err)
}

// blob copies b, which is the caller's again when an operation took too long;
// nothing becomes an empty value, which a column may hold.
func blob(b []byte) []byte { return append([]byte{}, b...) }
