package store

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/pressly/goose/v3"
	"github.com/riverqueue/river/rivermigrate"
)

//go:embed migrations/*.sql
var migrations embed.FS

// dialect is the kind of a database.
type dialect string

const (
	sqlite   dialect = dialect(goose.DialectSQLite3)
	postgres dialect = dialect(goose.DialectPostgres)
)

// migrationLock is the advisory lock under which nodes that start together
// migrate one after another on PostgreSQL. On SQLite there is one process.
const migrationLock = 0x66646573 // "fdes"

// migrate brings the tables of frontdesk and of River up to date.
func (s *Store) migrate(ctx context.Context) (err error) {
	if s.dialect == postgres {
		conn, err := s.write.Conn(ctx)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, conn.Close()) }()
		if _, err := conn.ExecContext(ctx, "SELECT pg_advisory_lock($1)", migrationLock); err != nil {
			return err
		}
		defer func() {
			_, e := conn.ExecContext(context.WithoutCancel(ctx), "SELECT pg_advisory_unlock($1)", migrationLock)
			err = errors.Join(err, e)
		}()
	}
	if err := s.migrateState(ctx); err != nil {
		return err
	}
	return s.migrateJobs(ctx)
}

func (s *Store) migrateState(ctx context.Context) error {
	dir, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(goose.Dialect(s.dialect), s.write, dir,
		goose.WithTableName("frontdesk_migration"), goose.WithSlog(s.log), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return err
	}
	have, want, err := p.GetVersions(ctx)
	if err != nil {
		return err
	}
	if have > want {
		return fmt.Errorf("the database was written by a newer frontdesk (its tables have version %d, this program knows %d): run that one, or put an older backup in its place", have, want)
	}
	_, err = p.Up(ctx)
	return err
}

func (s *Store) migrateJobs(ctx context.Context) error {
	m, err := rivermigrate.New(s.driver, &rivermigrate.Config{Logger: s.log})
	if err != nil {
		return err
	}
	existing, err := m.ExistingVersions(ctx)
	if err != nil {
		return fmt.Errorf("jobs: %w", err) // also where a newer version migrated them
	}
	if all := m.AllVersions(); slices.EqualFunc(existing, all, func(a, b rivermigrate.Migration) bool { return a.Version == b.Version }) {
		return nil
	}
	if _, err := m.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return fmt.Errorf("jobs: %w", err)
	}
	return nil
}
