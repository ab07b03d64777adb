package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"github.com/riverqueue/river/riverdriver/riversqlite"
	_ "modernc.org/sqlite" // the driver "sqlite"
)

const (
	readers      = 4                // connections of the read pool
	checkLimit   = 3 * time.Second  // of the check after a crash
	maxWAL       = "67108864"       // bytes that the log keeps after a checkpoint
	filesMode    = 0o600            // the file holds tokens
	idleLifetime = 10 * time.Minute // of a connection that nobody uses
)

// openSQLite opens one connection that writes and a pool that reads. Writers
// of one process thus never wait for a lock of the file, and a transaction
// that began never finds the database changed.
func openSQLite(ctx context.Context, file string, log *slog.Logger) (db, error) {
	if file == "" {
		return db{}, fmt.Errorf("store: %w: sqlite: names no file", ErrAddress)
	}
	lock, crashed, err := lockFile(file)
	if err != nil {
		return db{}, fmt.Errorf("store: %w", err)
	}
	out := db{dialect: sqlite}
	out.close = func() error { return errors.Join(closePools(out.write, out.read), lock.Close()) }
	if err := out.openFile(ctx, file, crashed, log); err != nil {
		lock.crashed = crashed // whoever opens it next has to check it too
		return db{}, errors.Join(fmt.Errorf("store: open %s: %w", file, err), out.close())
	}
	return out, nil
}

func (d *db) openFile(ctx context.Context, file string, crashed bool, log *slog.Logger) error {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_RDWR, filesMode) // SQLite's own mode would let everybody read
	if err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if d.write, err = sql.Open("sqlite", sqliteURI(file, url.Values{
		"_txlock": {"immediate"},
		"_pragma": {"busy_timeout(5000)", "journal_mode(WAL)", "synchronous(FULL)", "foreign_keys(1)", "journal_size_limit(" + maxWAL + ")"},
	})); err != nil {
		return err
	}
	d.write.SetMaxOpenConns(1)
	if err := d.write.PingContext(ctx); err != nil {
		return err
	}
	if crashed {
		if err := check(ctx, d.write, log); err != nil {
			return err
		}
	}
	if d.read, err = sql.Open("sqlite", sqliteURI(file, url.Values{
		"_pragma": {"busy_timeout(5000)", "query_only(1)"},
	})); err != nil {
		return err
	}
	d.read.SetMaxOpenConns(readers)
	d.read.SetMaxIdleConns(readers)
	d.read.SetConnMaxIdleTime(idleLifetime)
	d.driver = riversqlite.New(d.write)
	return nil
}

// check looks for damage after a process died without closing the file, for a
// few seconds at most: calls wait for it.
func check(ctx context.Context, d *sql.DB, log *slog.Logger) error {
	limited, cancel := context.WithTimeout(ctx, checkLimit)
	defer cancel()
	var said string
	err := d.QueryRowContext(limited, "PRAGMA quick_check(1)").Scan(&said)
	switch {
	case limited.Err() != nil && ctx.Err() == nil:
		log.Warn("the database was not closed and is too large to be checked whole at start")
		return nil
	case err != nil:
		return err
	case said != "ok":
		return fmt.Errorf("the file is damaged (%s); put a backup in its place", said)
	}
	return nil
}

// sqliteURI names file to the driver; a name may hold any character.
func sqliteURI(file string, query url.Values) string {
	path := (&url.URL{Path: filepath.ToSlash(file)}).EscapedPath()
	return "file:" + path + "?" + query.Encode()
}

// takeBack makes jobs available that a dead process was at, and ends its
// leadership. Only one process has the file, so whoever was at them is dead;
// on PostgreSQL that is known only after rescueAfter.
func (d *db) takeBack(ctx context.Context) error {
	if d.dialect != sqlite {
		return nil
	}
	tx, err := d.write.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	for _, query := range []string{
		"UPDATE river_job SET state = 'available' WHERE state = 'running' AND attempt < max_attempts",
		"DELETE FROM river_leader",
	} {
		if _, err := tx.ExecContext(ctx, query); err != nil {
			return errors.Join(err, tx.Rollback())
		}
	}
	return tx.Commit()
}

func closePools(pools ...*sql.DB) error {
	var errs []error
	for _, p := range pools {
		if p != nil {
			errs = append(errs, p.Close())
		}
	}
	return errors.Join(errs...)
}
