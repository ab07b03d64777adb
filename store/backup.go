package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"strings"
)

// ErrPgDump says how a PostgreSQL database is backed up.
var ErrPgDump = errors.New("PostgreSQL is backed up by its own tools: pg_dump --format=custom --file=FILE DATABASE")

// Backup writes a copy of the database to path, which must not exist: whole,
// consistent, and readable by its owner alone. The store goes on meanwhile.
func (s *Store) Backup(ctx context.Context, path string) error { return Backup(ctx, s.dsn, path) }

// Backup copies the database that dsn names, as Store.Backup does, also while
// another process has it open: it only reads, in one transaction, and writers
// of a SQLite file in WAL mode do not wait for readers.
func Backup(ctx context.Context, dsn, path string) error {
	if isPostgres(dsn) {
		return fmt.Errorf("store: backup: %w", ErrPgDump)
	}
	file, ok := strings.CutPrefix(dsn, "sqlite:")
	if !ok || file == "" {
		return errors.New("store: backup: the address names no SQLite file")
	}
	if err := backup(ctx, file, path); err != nil {
		return fmt.Errorf("store: back %s up to %s: %w", file, path, err)
	}
	return nil
}

// backup writes beside path first, so that path is whole whenever it is there.
func backup(ctx context.Context, file, path string) (err error) {
	if _, err := os.Stat(file); err != nil {
		return err
	}
	if _, err := os.Lstat(path); err == nil {
		return fs.ErrExist
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	part, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(part.Name()))
		}
	}()
	if err := errors.Join(vacuumInto(ctx, file, part.Name()), part.Sync(), part.Close()); err != nil {
		return err
	}
	if err := os.Rename(part.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// vacuumInto copies file into an empty one.
func vacuumInto(ctx context.Context, file, into string) (err error) {
	db, err := sql.Open("sqlite", sqliteURI(file, url.Values{"mode": {"ro"}, "_pragma": {"busy_timeout(5000)"}}))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	_, err = db.ExecContext(ctx, "VACUUM INTO $1", into)
	return err
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
