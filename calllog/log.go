package calllog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"frontdesk/call"
	"frontdesk/crm"
	"frontdesk/store"
)

// Recordings gives the recordings of talks.
type Recordings interface {
	// Open gives the recording of a talk of a call.
	// ErrNotReady: it is still being made; fs.ErrNotExist: there is none.
	Open(ctx context.Context, id string, t call.Talk) (Sound, error)
	// Delivered says that the portal has all recordings of a call. It may be
	// said again.
	Delivered(ctx context.Context, id string, talks []call.Talk) error
}

// Sound is a recording: a file for the portal, or, where Link is set, an
// address to be written into the call's entry.
type Sound struct {
	crm.Recording
	Link string
}

// ErrNotReady says that a recording is in the making.
var ErrNotReady = errors.New("the recording is not ready")

// Also joins the transaction that keeps a final record: what it writes, and
// owes, is there if the record is.
type Also func(ctx context.Context, tx *store.Tx, r call.Record) error

// Config is what a Log needs. CRM may be nil: records are kept, and nothing is
// logged. Recordings may be nil: none are attached. Unsaved is a folder for
// records that the database does not take before the end.
type Config struct {
	Store      *store.Store
	CRM        *crm.Client
	Recordings Recordings
	Unsaved    string            // empty: such records are lost
	Policy     func() Policy     // as it is now; it must not block
	Also       Also              // nil: nothing else is written with a final record
	Known      func(call.Record) // told, once the employees are known, of a call that ended before; nil: nobody
	Logger     *slog.Logger
	Now        func() time.Time // nil: the real clock
}

// Log keeps the record of every call and has it in the CRM. Make it with New.
// What a call tells it never waits: where a queue is full, what rings is dropped
// and left to the end of the call; a record is lost only where the database has
// taken none of the last ten thousand.
type Log struct {
	cfg     Config
	log     *slog.Logger
	now     func() time.Time
	metrics *metrics
	working turns // by call: its job waits for what is told of it while it rings
	ending
	ringing
}

// jobKind names the jobs in the store; a job's key and argument is the call's
// id.
const jobKind = "calllog"

// Queue is the store's queue of the jobs: a backlog of calls keeps nothing else
// waiting. The store is opened with it.
const Queue = "calllog"

// debt is the job that does what is owed for a call.
func debt(id string) store.Job { return store.Job{Kind: jobKind, Key: id, Args: id, Queue: Queue} }

// debtNow is the same, to be done at once though it waits.
func debtNow(id string) store.Job {
	out := debt(id)
	out.Now = true
	return out
}

// New makes a log and says to the store's jobs that it does them: call it
// before they are run.
func New(cfg Config) *Log {
	l := &Log{cfg: cfg, log: cfg.Logger, now: cfg.Now, metrics: newMetrics()}
	if l.log == nil {
		l.log = slog.New(slog.DiscardHandler)
	}
	if l.now == nil {
		l.now = time.Now
	}
	l.ending.wake = make(chan struct{}, 1)
	l.ringing = newRinging()
	cfg.Store.Handle(jobKind, l.work)
	return l
}

const (
	mostEnded  = 10_000 // records that wait for the database, some 100 MB
	retryFirst = time.Second
	retryMost  = 30 * time.Second
	flushLimit = 3 * time.Second // of what is not written at the end
)

// ending are records that are not written yet, in their order.
type ending struct {
	mu      sync.Mutex
	pending []ended
	wake    chan struct{}
	dropped atomic.Int64
}

type ended struct {
	record call.Record
	state  store.RecordState
	with   Beside
}

// Beside is what is written in one transaction with a record; it may be nil.
type Beside func(ctx context.Context, tx *store.Tx) error

// Keep keeps the record of a call that has ended on our side, while others may
// know more of it: Ended follows. After a restart the store knows it as
// waiting. It does not block.
func (l *Log) Keep(r call.Record) { l.add(ended{record: r, state: store.RecordWaiting}) }

// Ended keeps the final record of a call, and owes the CRM what it is owed. It
// may come again, with a better account. It does not block.
func (l *Log) Ended(r call.Record) { l.EndedWith(r, nil) }

// EndedWith is Ended with something that is written too, also where the record
// is no news.
func (l *Log) EndedWith(r call.Record, with Beside) { l.add(ended{r, store.RecordSettled, with}) }

func (l *Log) add(e ended) {
	l.ending.mu.Lock()
	full := len(l.pending) >= mostEnded
	if !full {
		l.pending = append(l.pending, e)
	}
	l.ending.mu.Unlock()
	if full {
		l.dropped.Add(1)
		l.log.Error("the record of a call is lost: the database has not taken any for too long", "call", e.record.ID)
		return
	}
	select {
	case l.ending.wake <- struct{}{}:
	default:
	}
}

// first is the record that is to be written next.
func (n *ending) first() (ended, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if len(n.pending) == 0 {
		return ended{}, false
	}
	return n.pending[0], true
}

// written takes the first one out.
func (n *ending) written() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.pending[0] = ended{} // the array lives on
	n.pending = n.pending[1:]
}

func (n *ending) count() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return len(n.pending)
}

// Run writes records, tells the CRM of calls that ring, and finds what was
// forgotten, until ctx ends; then it writes what is left, and Close the rest.
func (l *Log) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	wg.Go(func() { l.write(ctx) })
	wg.Go(func() { l.recall(ctx) })
	wg.Go(func() { l.look(ctx) })
	if l.cfg.CRM != nil {
		for _, q := range l.queues {
			wg.Go(func() { l.ring(ctx, q) })
		}
	}
	wg.Wait()
	return nil
}

// write writes records as they come.
func (l *Log) write(ctx context.Context) {
	retry := retryFirst
	failing := false
	for {
		err := l.flush(ctx)
		if ctx.Err() != nil {
			break
		}
		if err != nil {
			if !failing {
				l.log.WarnContext(ctx, "records of calls cannot be written, they wait in memory", "error", err)
			}
			failing = true
			if !pause(ctx, retry) {
				break
			}
			retry = min(2*retry, retryMost)
			continue
		}
		if failing {
			l.log.InfoContext(ctx, "records of calls are written again")
		}
		retry, failing = retryFirst, false
		select {
		case <-l.ending.wake:
		case <-ctx.Done():
		}
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushLimit)
	defer cancel()
	_ = l.flush(last) // Close tells what is left
}

// flush writes what waits, up to the first failure.
func (l *Log) flush(ctx context.Context) error {
	for {
		e, ok := l.ending.first()
		if !ok {
			return nil
		}
		if err := l.settle(ctx, e); err != nil {
			return err
		}
		l.ending.written()
	}
}

// settle writes a record and, once it is final, what is owed for it and the
// job that does it: all or nothing.
func (l *Log) settle(ctx context.Context, e ended) error {
	policy := l.policy()
	return l.cfg.Store.InTx(ctx, func(tx *store.Tx) error {
		if e.with != nil {
			if err := e.with(ctx, tx); err != nil {
				return err
			}
		}
		kept, err := tx.SaveRecord(ctx, e.record, e.state)
		if err != nil || !kept || e.state != store.RecordSettled {
			return err
		}
		if l.cfg.Also != nil {
			if err := l.cfg.Also(ctx, tx, e.record); err != nil {
				return err
			}
		}
		return l.owe(ctx, tx, e.record, policy)
	})
}

// owe brings the plan of a final record into its ledger.
func (l *Log) owe(ctx context.Context, tx *store.Tx, r call.Record, policy Policy) error {
	kept, err := tx.Ledger(ctx, r.ID)
	if err != nil {
		return err
	}
	ledger, err := decodeRows(kept)
	if err != nil {
		return err
	}
	changed := ledger.merge(r.ID, Make(r, policy), l.cfg.Recordings != nil, l.now())
	if err := save(ctx, tx.SaveLedger, changed...); err != nil {
		return err
	}
	if !ledger.waiting() {
		return nil
	}
	return tx.Enqueue(ctx, debtNow(r.ID))
}

// save writes rows by a method of the store or of a transaction.
func save(ctx context.Context, with func(context.Context, ...store.LedgerRow) error, changed ...*row) error {
	out := make([]store.LedgerRow, 0, len(changed))
	for _, r := range changed {
		encoded, err := r.encode()
		if err != nil {
			return err
		}
		out = append(out, encoded)
	}
	if len(out) == 0 {
		return nil
	}
	return with(ctx, out...)
}

// policy is what holds now; without a portal nothing is owed.
func (l *Log) policy() Policy {
	if l.cfg.CRM == nil || l.cfg.Policy == nil {
		return Policy{}
	}
	return l.cfg.Policy()
}

// people is the policy once the employees are known, by whom it says whose a
// call is and who is no new customer. A portal that will not tell them must do
// without.
func (l *Log) people(ctx context.Context) (Policy, error) {
	if p := l.policy(); len(p.Employees) > 0 || l.cfg.CRM == nil {
		return p, nil
	}
	err := l.cfg.CRM.LoadEmployees(ctx)
	if err != nil && !crm.Refused(err) && !crm.Denied(err) {
		return Policy{}, fmt.Errorf("the employees are not known yet: %w", err)
	}
	return l.policy(), nil
}

// Retry has steps of a call that failed, or that wait, tried at once; an empty
// step stands for all of them. It gives how many there are; store.ErrNotFound
// where there is no such call.
func (l *Log) Retry(ctx context.Context, id, step string) (n int, err error) {
	err = l.cfg.Store.InTx(ctx, func(tx *store.Tx) error {
		if _, _, err := tx.Record(ctx, id); err != nil {
			return err
		}
		kept, err := tx.Ledger(ctx, id)
		if err != nil {
			return err
		}
		ledger, err := decodeRows(kept)
		if err != nil {
			return err
		}
		var again []*row
		for _, r := range ledger {
			if r.done() || step != "" && r.Step != step || r.Step == StepShow {
				continue
			}
			r.State, r.Next, r.d.Since = call.StepWaiting, time.Time{}, l.now()
			again = append(again, r)
		}
		if n = len(again); n == 0 {
			return nil
		}
		if err := save(ctx, tx.SaveLedger, again...); err != nil {
			return err
		}
		return tx.Enqueue(ctx, debtNow(id))
	})
	return n, err
}

const (
	lookEvery  = 30 * time.Second
	lostAfter  = 24 * time.Hour // a call that nobody has ended by then, nobody will
	owedAfter  = 2 * time.Hour  // a job sleeps for an hour at most
	owedAtOnce = 500
)

// look counts what is owed, owes jobs again that are gone, and settles calls
// whose end was lost.
func (l *Log) look(ctx context.Context) {
	for {
		if err := l.settleLost(ctx, l.now().Add(-lostAfter)); err != nil && ctx.Err() == nil {
			l.log.DebugContext(ctx, "calls whose end was lost cannot be looked for", "error", err)
		}
		if err := l.reconcile(ctx, l.now().Add(-owedAfter)); err != nil && ctx.Err() == nil {
			l.log.DebugContext(ctx, "what is owed to the CRM cannot be looked at", "error", err)
		}
		if !pause(ctx, lookEvery) {
			return
		}
	}
}

// settleLost ends the calls that began before a time and that no process has
// ended: the one that had them was killed.
func (l *Log) settleLost(ctx context.Context, before time.Time) error {
	return l.cfg.Store.Waiting(ctx, func(r call.Record) error {
		if r.Started.Before(before) {
			l.Ended(r)
		}
		return nil
	})
}

// reconcile owes a job for every call that has a step waiting with which
// nothing happened since a time. Where its job is there still, nothing changes.
func (l *Log) reconcile(ctx context.Context, since time.Time) error {
	backlog, err := l.cfg.Store.Backlog(ctx)
	if err != nil {
		return err
	}
	l.metrics.backlog.Store(&backlog)
	ids, err := l.cfg.Store.Owed(ctx, since, owedAtOnce)
	if err != nil {
		return err
	}
	jobs := make([]store.Job, 0, len(ids))
	for _, id := range ids {
		jobs = append(jobs, debt(id))
	}
	return l.cfg.Store.Enqueue(ctx, jobs...)
}

// pause waits and reports whether to go on.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
