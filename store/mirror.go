package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"

	"frontdesk/call"
)

// SaveEntities keeps cards, each in the place of what was kept of its entity:
// all or none. Hundreds at a time are a good measure.
func (s *Store) SaveEntities(ctx context.Context, cards []call.Card) error {
	return s.saveAll(ctx, "save_entities", len(cards), `INSERT INTO card (kind, id, card, changed) VALUES ($1, $2, $3, $4)
		ON CONFLICT (kind, id) DO UPDATE SET card = excluded.card, changed = excluded.changed`,
		func(i int) ([]any, error) {
			c := cards[i]
			text, err := json.Marshal(c)
			return []any{string(c.Entity.Kind), c.Entity.ID, string(text), s.now().UnixMilli()}, err
		})
}

// DeleteEntities forgets entities of one kind: all or none.
func (s *Store) DeleteEntities(ctx context.Context, kind call.Kind, ids []int) error {
	return s.saveAll(ctx, "delete_entities", len(ids), "DELETE FROM card WHERE kind = $1 AND id = $2",
		func(i int) ([]any, error) { return []any{string(kind), ids[i]}, nil })
}

// LoadEntities tells f every card, in no order, until f fails.
func (s *Store) LoadEntities(ctx context.Context, f func(call.Card) error) error {
	return s.each(ctx, "load_entities", func(scan func(...any) error) error {
		return decode(scan, f)
	}, "SELECT card FROM card")
}

// SaveEmployees keeps employees, each in the place of what was kept of them.
func (s *Store) SaveEmployees(ctx context.Context, employees []call.Employee) error {
	return s.saveAll(ctx, "save_employees", len(employees), `INSERT INTO employee (id, employee, changed) VALUES ($1, $2, $3)
		ON CONFLICT (id) DO UPDATE SET employee = excluded.employee, changed = excluded.changed`,
		func(i int) ([]any, error) {
			text, err := json.Marshal(employees[i])
			return []any{employees[i].ID, string(text), s.now().UnixMilli()}, err
		})
}

// LoadEmployees tells f every employee, in no order, until f fails.
func (s *Store) LoadEmployees(ctx context.Context, f func(call.Employee) error) error {
	return s.each(ctx, "load_employees", func(scan func(...any) error) error {
		return decode(scan, f)
	}, "SELECT employee FROM employee")
}

func decode[T any](scan func(...any) error, f func(T) error) error {
	var text []byte
	if err := scan(&text); err != nil {
		return err
	}
	var v T
	if err := json.Unmarshal(text, &v); err != nil {
		return err
	}
	return f(v)
}

// saveAll runs one statement n times in one transaction, for which others that
// write wait: 20 us a row on SQLite, 70 on PostgreSQL.
func (s *Store) saveAll(ctx context.Context, op string, n int, query string, args func(i int) ([]any, error)) error {
	rows := make([][]any, n)
	for i := range rows {
		var err error
		if rows[i], err = args(i); err != nil {
			return fmt.Errorf("store: %s: %w", op, err)
		}
	}
	_, err := bounded(ctx, s, op, func(ctx context.Context, d *db) (struct{}, error) {
		return struct{}{}, saveRows(ctx, d.write, query, rows)
	})
	return err
}

func saveRows(ctx context.Context, db *sql.DB, query string, rows [][]any) (err error) {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, tx.Rollback())
		}
	}()
	stmt, err := tx.PrepareContext(ctx, query)
	if err != nil {
		return err
	}
	for _, args := range rows {
		if _, err := stmt.ExecContext(ctx, args...); err != nil {
			return errors.Join(err, stmt.Close())
		}
	}
	if err := stmt.Close(); err != nil {
		return err
	}
	return tx.Commit()
}
