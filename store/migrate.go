package store

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
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
func (d *db) migrate(ctx context.Context, log *slog.Logger) (err error) {
	if d.dialect == postgres {
		conn, err := d.write.Conn(ctx)
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
	if err := d.migrateState(ctx, log); err != nil {
		return err
	}
	return d.migrateJobs(ctx, log)
}

func (d *db) migrateState(ctx context.Context, log *slog.Logger) error {
	dir, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return err
	}
	p, err := goose.NewProvider(goose.Dialect(d.dialect), d.write, dir,
		goose.WithTableName("frontdesk_migration"), goose.WithSlog(log), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return err
	}
	have, want, err := p.GetVersions(ctx)
	if err != nil {
		return err
	}
	if have > want {
		return newer("tables", have, want)
	}
	_, err = p.Up(ctx)
	return err
}

func newer(what string, have, want int64) error {
	return fmt.Errorf("%w (its %s have version %d, this program knows %d): run that one, or put an older backup in its place", ErrNewer, what, have, want)
}

func (d *db) migrateJobs(ctx context.Context, log *slog.Logger) error {
	m, err := rivermigrate.New(d.driver, &rivermigrate.Config{Logger: newRiverLog(log)})
	if err != nil {
		return err
	}
	all := m.AllVersions()
	existing, err := m.ExistingVersions(ctx)
	if err != nil { // also where a newer version migrated them
		var have int64
		known := int64(all[len(all)-1].Version)
		if e := d.write.QueryRowContext(ctx, "SELECT MAX(version) FROM river_migration").Scan(&have); e == nil && have > known {
			return newer("jobs", have, known)
		}
		return fmt.Errorf("jobs: %w", err)
	}
	if slices.EqualFunc(existing, all, func(a, b rivermigrate.Migration) bool { return a.Version == b.Version }) {
		return nil
	}
	if _, err := m.Migrate(ctx, rivermigrate.DirectionUp, nil); err != nil {
		return fmt.Errorf("jobs: %w", err)
	}
	return nil
}
