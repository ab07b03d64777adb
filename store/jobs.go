package store

import (
	"cmp"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
)

// Job is something owed.
type Job struct {
	Kind  string    // which handler does it: two or more letters, digits, - . :
	Key   string    // with the kind: whose it is; while a job of that name is not done, another is not owed; empty: no name
	Args  any       // marshalled as JSON for the handler
	At    time.Time // not before; zero: at once
	Queue string    // empty: DefaultQueue
	Once  bool      // of that name never another, also when it is done, for a year; wants a Key

	// Now has a job that is owed already, but for later, done at once, and one
	// that is being done, once more afterwards. It wants a Key.
	Now bool
}

// Work does one job. An error means again later: after a second, then twice as
// long each time up to an hour, for a week; GiveUp and Later say otherwise. It
// ends when ctx does, 30 seconds after its begin. It is done again where the
// process dies before the end of it is written.
type Work func(ctx context.Context, args json.RawMessage) error

// GiveUp is err as the end of a job: it is not tried again, and kept to be
// looked at.
func GiveUp(err error) error { return river.JobCancel(err) }

// Later is the end of a job that is to go on after a time. It is no failure.
func Later(after time.Duration) error { return river.JobSnooze(after) }

const (
	firstRetry  = time.Second
	longestWait = time.Hour
	// maxAttempts fill a week: 1 s doubling to an hour takes 12 attempts and
	// 68 minutes, the rest are hourly.
	maxAttempts = 12 + 7*24 - 1

	failedKept = 30 * 24 * time.Hour // jobs given up, to be looked at
	onceKept   = 365 * 24 * time.Hour
)

// timing is how long a job may take, and when it is taken for dead.
type timing struct{ job, rescue time.Duration }

func (t timing) or() timing {
	if t == (timing{}) {
		return timing{job: 30 * time.Second, rescue: time.Minute}
	}
	return t
}

// owed is a job as River keeps it.
type owed struct {
	kind string
	Key  string          `json:"key" river:"unique"`
	Args json.RawMessage `json:"args"`

	After int64 `json:"after,omitempty"` // the job that must not be running any more
}

// Kind is how River finds the worker.
func (o owed) Kind() string { return o.kind }

// kindPattern is stricter than River's, so that a kind can be a label.
var kindPattern = regexp.MustCompile(`^[a-z0-9][a-z0-9.:_-]{1,62}$`)

// Handle says who does the jobs of a kind. It is called before Run, once for
// each kind; Run tells what was wrong with a call. Jobs of a kind that nobody
// on this node handles wait for a node that does.
func (s *Store) Handle(kind string, work Work) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case !kindPattern.MatchString(kind):
		s.misuse = errors.Join(s.misuse, fmt.Errorf("store: handle: %q is no kind of job", kind))
	case s.byKind[kind] != nil:
		s.misuse = errors.Join(s.misuse, fmt.Errorf("store: handle: two handlers of %q", kind))
	default:
		s.byKind[kind] = work
	}
}

// Enqueue owes jobs: all of them, or none and an error. A job whose name is
// owed already is left out, which is no error.
func (s *Store) Enqueue(ctx context.Context, jobs ...Job) error {
	debts, err := s.debts(jobs)
	if err != nil || len(debts) == 0 {
		return err
	}
	_, err = bounded(ctx, s, "enqueue", func(ctx context.Context, d *db) (struct{}, error) {
		tx, err := d.write.BeginTx(ctx, nil)
		if err != nil {
			return struct{}{}, err
		}
		if err := s.owe(ctx, d, tx, debts); err != nil {
			return struct{}{}, errors.Join(err, tx.Rollback())
		}
		return struct{}{}, tx.Commit()
	})
	return err
}

// Enqueue owes jobs, as Store.Enqueue does, if the transaction is committed.
func (t *Tx) Enqueue(ctx context.Context, jobs ...Job) error {
	debts, err := t.s.debts(jobs)
	if err != nil || len(debts) == 0 {
		return err
	}
	return t.s.owe(ctx, t.d, t.tx, debts)
}

// debt is a job ready to be written.
type debt struct {
	river.InsertManyParams
	once string // its name, of which there is to be one only
	now  bool
}

func (s *Store) debts(jobs []Job) ([]debt, error) {
	out := make([]debt, 0, len(jobs))
	named := map[[2]string]bool{} // PostgreSQL refuses to insert a name twice in one statement
	for _, j := range jobs {
		if name := [2]string{j.Kind, j.Key}; j.Key != "" {
			if named[name] {
				continue
			}
			named[name] = true
		}
		d, err := s.debt(j)
		if err != nil {
			return nil, fmt.Errorf("store: enqueue %s: %w", j.Kind, err)
		}
		out = append(out, d)
	}
	return out, nil
}

func (s *Store) debt(j Job) (debt, error) {
	args, err := json.Marshal(j.Args)
	if err != nil {
		return debt{}, err
	}
	queue := cmp.Or(j.Queue, DefaultQueue)
	switch {
	case !kindPattern.MatchString(j.Kind):
		return debt{}, errors.New("that is no kind of job")
	case s.queues[queue] == 0:
		return debt{}, fmt.Errorf("no queue %q; there are %s", queue, strings.Join(slices.Sorted(maps.Keys(s.queues)), ", "))
	case j.Once && j.Key == "":
		return debt{}, errors.New("a job that is owed once needs a key")
	case j.Now && j.Key == "":
		return debt{}, errors.New("a job that may be owed already needs a key")
	}
	opts := &river.InsertOpts{Queue: queue, ScheduledAt: j.At, MaxAttempts: maxAttempts}
	if j.Key != "" {
		opts.UniqueOpts = river.UniqueOpts{ByArgs: true, ByState: []rivertype.JobState{
			rivertype.JobStateAvailable, rivertype.JobStatePending, rivertype.JobStateRetryable,
			rivertype.JobStateRunning, rivertype.JobStateScheduled,
		}}
	}
	d := debt{InsertManyParams: river.InsertManyParams{Args: owed{kind: j.Kind, Key: j.Key, Args: args}, InsertOpts: opts}, now: j.Now}
	if j.Once {
		d.once = j.Key
	}
	return d, nil
}

// owe writes jobs in tx.
func (s *Store) owe(ctx context.Context, d *db, tx *sql.Tx, debts []debt) error {
	params, sooner := make([]river.InsertManyParams, 0, len(debts)), make([]bool, 0, len(debts))
	for _, job := range debts {
		if job.once != "" {
			first, err := s.first(ctx, tx, job.Args.Kind(), job.once)
			if err != nil {
				return err
			}
			if !first {
				continue
			}
		}
		params = append(params, job.InsertManyParams)
		sooner = append(sooner, job.now)
	}
	if len(params) == 0 {
		return nil
	}
	results, err := d.inserts.InsertManyTx(ctx, tx, params)
	for i, r := range results {
		if sooner[i] && r.UniqueSkippedAsDuplicate {
			if err := hasten(ctx, d, tx, r.Job, params[i]); err != nil {
				return err
			}
		}
	}
	return err
}

// hasten has a job done at once that waits, or once more where it is running:
// what it is owed for now may have come too late for it.
func hasten(ctx context.Context, d *db, tx *sql.Tx, there *rivertype.JobRow, again river.InsertManyParams) error {
	if there.State != rivertype.JobStateRunning {
		_, err := d.inserts.JobRetryTx(ctx, tx, there.ID)
		return err
	}
	job := again.Args.(owed) // debt made it
	job.Key += "+"
	job.After = there.ID
	_, err := d.inserts.InsertTx(ctx, tx, job, again.InsertOpts)
	return err
}

// running reports whether a job is being done.
func (s *Store) running(ctx context.Context, id int64) (bool, error) {
	return bounded(ctx, s, "job_running", func(ctx context.Context, d *db) (bool, error) {
		var n int
		err := d.read.QueryRowContext(ctx, "SELECT count(*) FROM river_job WHERE id = $1 AND CAST(state AS TEXT) = 'running'", id).Scan(&n)
		return n > 0, err
	})
}

// first reports whether a job of a name is owed for the first time.
func (s *Store) first(ctx context.Context, tx *sql.Tx, kind, name string) (bool, error) {
	r, err := tx.ExecContext(ctx, "INSERT INTO job_once (kind, name, owed) VALUES ($1, $2, $3) ON CONFLICT (kind, name) DO NOTHING",
		kind, name, s.now().UnixMilli())
	if err != nil {
		return false, err
	}
	n, err := r.RowsAffected()
	return n == 1, err
}

// backoff is how long to wait after failures in a row.
func backoff(failures int) time.Duration {
	const doublings = 12 // 4096 s are more than an hour
	return min(firstRetry<<min(max(failures-1, 0), doublings), longestWait)
}

// retries tells River when to try again: by backoff, a tenth more or less, so
// that what failed together does not come back together.
type retries struct{ now func() time.Time }

// NextRetry is River's question after a failure.
func (r retries) NextRetry(job *rivertype.JobRow) time.Time {
	wait := backoff(len(job.Errors) + 1) // the present failure is not among them yet
	return r.now().Add(time.Duration(float64(wait) * (0.9 + 0.2*rand.Float64())))
}

// worker does the jobs of one kind.
type worker struct {
	river.WorkerDefaults[owed]
	kind  string
	work  Work
	store *Store
}

// Work is River's call.
func (w worker) Work(ctx context.Context, job *river.Job[owed]) error {
	start := time.Now()
	result := "panicked"
	defer func() { w.store.metrics.worked(w.kind, result, time.Since(start)) }()
	err := w.turn(ctx, job)
	result = ending(err)
	return err
}

// turn does a job whose turn it is.
func (w worker) turn(ctx context.Context, job *river.Job[owed]) error {
	if job.Args.After != 0 {
		if running, err := w.store.running(ctx, job.Args.After); err != nil || running {
			return errors.Join(err, Later(firstRetry))
		}
	}
	return w.work(ctx, job.Args.Args)
}

// ending sorts the end of a job into a closed list.
func ending(err error) string {
	var cancel *rivertype.JobCancelError
	var snooze *rivertype.JobSnoozeError
	switch {
	case err == nil:
		return "done"
	case errors.As(err, &cancel):
		return "given_up"
	case errors.As(err, &snooze):
		return "later"
	}
	return "failed"
}
