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
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver"
)

// ErrNotFound is the error of Get where nothing is kept under the key; it is
// fs.ErrNotExist to errors.Is.
var ErrNotFound = fmt.Errorf("nothing is kept there: %w", fs.ErrNotExist)

// Options are the settings of a store. The zero value is good for one node.
type Options struct {
	Logger *slog.Logger     // nil: nothing is logged
	Now    func() time.Time // the clock of bindings and jobs; nil: the real one
	Node   string           // a name of this node for logs and jobs; empty: "node"

	// Queues gives the number of jobs that each queue works at a time. A queue
	// begins ten jobs a second for each of them. DefaultQueue is always there.
	Queues map[string]int

	timing timing
}

// DefaultQueue takes the jobs that name no queue.
const DefaultQueue = "default"

const defaultWorkers = 4

// opLimit is the longest that any operation on small state may take: whoever
// asks has the answer, or an error, by then.
const opLimit = 5 * time.Second

// Store is one database with its jobs. Its methods may be used from anywhere
// at any time between Open and Close.
type Store struct {
	db
	log     *slog.Logger
	now     func() time.Time
	node    string
	queues  map[string]int
	timing  timing
	faked   bool // now is not the real clock
	metrics *metrics
	inserts *river.Client[*sql.Tx] // owes jobs, works none
	health  health
	handlers
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
	dsn     string
	dialect dialect
	close   func() error
}

// Open opens the database that dsn names, "sqlite:FILE" or "postgres://...",
// and brings its tables up to date. A SQLite file that another process has
// open is refused, and so is a database of a newer version.
func Open(ctx context.Context, dsn string, o Options) (*Store, error) {
	s := &Store{
		log: o.Logger, now: o.Now, node: cmp.Or(o.Node, "node"), timing: o.timing.or(), faked: o.Now != nil,
		queues: map[string]int{DefaultQueue: defaultWorkers}, metrics: newMetrics(), handlers: handlers{byKind: map[string]Work{}},
	}
	maps.Copy(s.queues, o.Queues)
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	if s.now == nil {
		s.now = time.Now
	}
	var err error
	if s.db, err = openDB(ctx, dsn, s.log); err != nil {
		return nil, err
	}
	s.close = sync.OnceValue(s.close)
	if err := s.prepare(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func openDB(ctx context.Context, dsn string, log *slog.Logger) (db, error) {
	if file, ok := strings.CutPrefix(dsn, "sqlite:"); ok {
		return openSQLite(ctx, file, log)
	}
	if isPostgres(dsn) {
		return openPostgres(ctx, dsn)
	}
	return db{}, errors.New("store: want an address that begins with sqlite: or postgres://")
}

// prepare migrates and makes ready to owe jobs.
func (s *Store) prepare(ctx context.Context) error {
	if err := s.migrate(ctx); err != nil {
		return fmt.Errorf("store: migrate: %w", err)
	}
	if err := s.takeBack(ctx); err != nil {
		return fmt.Errorf("store: take back the jobs of a process that died: %w", err)
	}
	var err error
	if s.inserts, err = river.NewClient(s.driver, s.riverConfig()); err != nil {
		return fmt.Errorf("store: jobs: %w", err)
	}
	return nil
}

// Close closes the database, once. Run has returned before.
func (s *Store) Close() error { return s.db.close() }

// bounded runs one operation under the store's limit of time and measures it.
// The answer comes by the end of ctx even where a disk stalls inside f, which
// then ends alone; f must not touch what the caller may.
func bounded[T any](ctx context.Context, s *Store, op string, f func(context.Context) (T, error)) (T, error) {
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
		r.value, r.err = f(ctx)
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
	return bounded(ctx, s, op, func(ctx context.Context) (int64, error) {
		r, err := s.write.ExecContext(ctx, query, args...)
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
	rows, err := s.read.QueryContext(ctx, query, args...)
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
