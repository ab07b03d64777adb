package store

import (
	"cmp"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver"
)

// ErrNotFound is the error of Get where nothing is kept under the key; it is
// fs.ErrNotExist to errors.Is.
var ErrNotFound = fmt.Errorf("nothing is kept there: %w", fs.ErrNotExist)

// What opening a database may fail of for good: waiting changes none of it.
var (
	ErrInUse   = errors.New("in use by another frontdesk")
	ErrNewer   = errors.New("the database was written by a newer frontdesk")
	ErrAddress = errors.New("no address of a database")
)

// errUnopened is the error of everything that is asked of a store whose
// database Run has not opened yet.
var errUnopened = errors.New("the database is not open yet")

// Options are the settings of a store. The zero value is good for one node.
type Options struct {
	Logger *slog.Logger     // nil: nothing is logged
	Now    func() time.Time // the clock of bindings and jobs; nil: the real one
	Node   string           // a name of this node for logs and jobs; empty: "node"

	// Patient has Open give a store whose database cannot be opened now: what is
	// asked of it fails until Run, which tries again and again, has opened it.
	Patient bool

	// Queues gives the number of jobs that each queue works at a time. A queue
	// begins ten jobs a second for each of them. DefaultQueue is always there.
	Queues map[string]int

	History time.Duration // for how long records are kept; 0: DefaultHistory

	timing timing
}

// DefaultHistory is for how long the record of a call is kept.
const DefaultHistory = 90 * 24 * time.Hour

// DefaultQueue takes the jobs that name no queue.
const DefaultQueue = "default"

const defaultWorkers = 4

// opLimit is the longest that any operation on small state may take: whoever
// asks has the answer, or an error, by then.
const opLimit = 5 * time.Second

// openPatience is how long those who are patient wait for a database at their
// start.
const openPatience = 5 * time.Second

// Store is one database with its jobs. Its methods may be used from anywhere
// at any time between Open and Close.
type Store struct {
	dsn    string
	opened atomic.Pointer[db] // nil while the database is waited for
	log    *slog.Logger
	now    func() time.Time
	node   string
	queues map[string]int
	settings
	metrics *metrics
	health  health
	handlers
}

// settings are what Options said that only the keeping of house needs.
type settings struct {
	timing  timing
	history time.Duration
	faked   bool // now is not the real clock
}

// handlers are who does the jobs, by kind.
type handlers struct {
	mu     sync.Mutex
	byKind map[string]Work
	misuse error // of Handle, told by Run
}

// db is an open database of either kind.
type db struct {
	write   *sql.DB // SQLite: a single connection
	read    *sql.DB
	driver  riverdriver.Driver[*sql.Tx]
	inserts *river.Client[*sql.Tx] // owes jobs, works none
	dialect dialect
	close   func() error
}

// Open opens the database that dsn names, "sqlite:FILE" or "postgres://...",
// and brings its tables up to date. A SQLite file that another process has
// open is refused, ErrInUse, and so is a database of a newer version, ErrNewer,
// also by those who are patient.
func Open(ctx context.Context, dsn string, o Options) (*Store, error) {
	s := newStore(dsn, o)
	if !o.Patient {
		if err := s.open(ctx); err != nil {
			return nil, err
		}
		return s, nil
	}
	limited, cancel := context.WithTimeout(ctx, openPatience)
	defer cancel()
	err := s.open(limited)
	switch {
	case errors.Is(err, ErrInUse), errors.Is(err, ErrNewer), errors.Is(err, ErrAddress):
		return nil, err
	case err != nil:
		s.health.set(err)
		s.log.ErrorContext(ctx, "the database cannot be opened, calls go on without it until it can", "error", err)
	}
	return s, nil
}

func newStore(dsn string, o Options) *Store {
	s := &Store{
		dsn: dsn, log: o.Logger, now: o.Now, node: cmp.Or(o.Node, "node"), settings: settings{o.timing.or(), cmp.Or(o.History, DefaultHistory), o.Now != nil},
		queues: map[string]int{DefaultQueue: defaultWorkers}, metrics: newMetrics(), handlers: handlers{byKind: map[string]Work{}},
	}
	maps.Copy(s.queues, o.Queues)
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.now == nil {
		s.now = time.Now
	}
	return s
}

// open opens the database and takes it in use.
func (s *Store) open(ctx context.Context) error {
	d, err := openDB(ctx, s.dsn, s.log)
	if err != nil {
		return err
	}
	d.close = sync.OnceValue(d.close)
	if err := s.prepare(ctx, &d); err != nil {
		return errors.Join(err, d.close())
	}
	s.opened.Store(&d)
	return nil
}

// db is the database; an error while it is waited for.
func (s *Store) db() (*db, error) {
	if d := s.opened.Load(); d != nil {
		return d, nil
	}
	return nil, errUnopened
}

func openDB(ctx context.Context, dsn string, log *slog.Logger) (db, error) {
	if file, ok := strings.CutPrefix(dsn, "sqlite:"); ok {
		return openSQLite(ctx, file, log)
	}
	if isPostgres(dsn) {
		return openPostgres(ctx, dsn)
	}
	return db{}, fmt.Errorf("store: %w: want one that begins with sqlite: or postgres://", ErrAddress)
}

// prepare migrates and makes ready to owe jobs.
func (s *Store) prepare(ctx context.Context, d *db) error {
	if err := d.migrate(ctx, s.log); err != nil {
		return fmt.Errorf("store: migrate: %w", err)
	}
	if err := d.takeBack(ctx); err != nil {
		return fmt.Errorf("store: take back the jobs of a process that died: %w", err)
	}
	var err error
	if d.inserts, err = river.NewClient(d.driver, s.riverConfig()); err != nil {
		return fmt.Errorf("store: jobs: %w", err)
	}
	return nil
}

// Close closes the database, once. Run has returned before.
func (s *Store) Close() error {
	if d := s.opened.Load(); d != nil {
		return d.close()
	}
	return nil
}

// bounded runs one operation under the store's limit of time and measures it.
// The answer comes by the end of ctx even where a disk stalls inside f, which
// then ends alone; f must not touch what the caller may.
func bounded[T any](ctx context.Context, s *Store, op string, f func(context.Context, *db) (T, error)) (T, error) {
	ctx, cancel := context.WithTimeout(ctx, opLimit)
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	start := time.Now()
	go func() {
		defer cancel()
		var r result
		d, err := s.db()
		if err == nil {
			err = untilThrough(ctx, func() (err error) { r.value, err = f(ctx, d); return err })
		}
		r.err = err
		done <- r
	}()
	var r result
	select {
	case r = <-done:
	case <-ctx.Done():
		select {
		case r = <-done: // cancel follows the result
		default:
			r.err = context.Cause(ctx)
		}
	}
	s.metrics.observe(op, time.Since(start), r.err)
	if r.err != nil {
		r.err = fmt.Errorf("store: %s: %w", op, r.err)
	}
	return r.value, r.err
}

// exec runs one statement that writes, as bounded does.
func (s *Store) exec(ctx context.Context, op, query string, args ...any) (int64, error) {
	return bounded(ctx, s, op, func(ctx context.Context, d *db) (int64, error) {
		r, err := d.write.ExecContext(ctx, query, args...)
		if err != nil {
			return 0, err
		}
		return r.RowsAffected()
	})
}

// each reads rows one by one, without a limit of time but ctx's.
func (s *Store) each(ctx context.Context, op string, row func(scan func(...any) error) error, query string, args ...any) (err error) {
	start := time.Now()
	defer func() {
		s.metrics.observe(op, time.Since(start), err)
		if err != nil {
			err = fmt.Errorf("store: %s: %w", op, err)
		}
	}()
	d, err := s.db()
	if err != nil {
		return err
	}
	rows, err := d.read.QueryContext(ctx, query, args...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		if err := row(rows.Scan); err != nil {
			return err
		}
	}
	return rows.Err()
}
