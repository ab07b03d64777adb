package store

import (
	"context"
	"errors"
	"net"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
	driver "modernc.org/sqlite"
	lib "modernc.org/sqlite/lib"
)

// isFull reports whether an error says that a disk is full or cannot be
// written.
func isFull(err error) bool {
	var lite *driver.Error
	if errors.As(err, &lite) {
		switch lite.Code() & 0xff { // without the extension
		case lib.SQLITE_FULL, lib.SQLITE_IOERR, lib.SQLITE_READONLY, lib.SQLITE_CANTOPEN:
			return true
		}
	}
	var pg *pgconn.PgError
	return errors.As(err, &pg) && strings.HasPrefix(pg.Code, "53") // insufficient resources
}

// isGone reports whether an error says that a PostgreSQL server cannot be
// reached, or is ending, or that the database could not be opened so far.
func isGone(err error) bool {
	var connect *pgconn.ConnectError
	var network net.Error
	var pg *pgconn.PgError
	return errors.Is(err, errUnopened) || errors.As(err, &connect) || errors.As(err, &network) ||
		errors.As(err, &pg) && (strings.HasPrefix(pg.Code, "57P") || strings.HasPrefix(pg.Code, "08"))
}

// isVictim reports whether PostgreSQL ended a transaction so that another could
// go on: none of it is done, and it may be tried again at once (class 40:
// deadlocks, serialisation).
func isVictim(err error) bool {
	var pg *pgconn.PgError
	return errors.As(err, &pg) && strings.HasPrefix(pg.Code, "40")
}

// untilThrough runs f, again where it was the victim of another transaction,
// for as long as ctx allows. The jobs' own statements lock several rows in an
// order of their own, so that no order of ours would keep deadlocks away.
func untilThrough(ctx context.Context, f func() error) error {
	for {
		if err := f(); !isVictim(err) || ctx.Err() != nil {
			return err
		}
	}
}
