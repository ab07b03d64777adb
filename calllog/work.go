package calllog

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"frontdesk/call"
	"frontdesk/crm"
	"frontdesk/store"
)

const (
	giveUpAfter = 15 * 24 * time.Hour // a step that is not done by then failed
	longestWait = time.Hour           // between tries
	againAfter  = 5 * time.Second     // for what came while a job ran
	maxError    = 300                 // bytes of an error that the ledger keeps
)

// job is one call whose steps are done.
type job struct {
	l    *Log
	id   string
	rows rows
	wait time.Duration // until the next try; 0: nothing waits
}

// work does what is owed for a call. It ends by asking to be called again while
// a step waits.
func (l *Log) work(ctx context.Context, args json.RawMessage) error {
	var id string
	if err := json.Unmarshal(args, &id); err != nil {
		return store.GiveUp(fmt.Errorf("a job that names no call: %w", err))
	}
	if l.cfg.CRM == nil {
		return store.Later(longestWait) // until there is a portal again
	}
	done, err := l.working.take(ctx, id)
	if err != nil {
		return err
	}
	defer done()
	j := &job{l: l, id: id}
	if err := j.load(ctx); err != nil {
		return err
	}
	if ready, err := j.sighted(ctx); err != nil || !ready {
		return err
	}
	if err := j.steps(ctx); err != nil {
		return err
	}
	if err := j.delivered(ctx); err != nil {
		return err
	}
	if j.wait == 0 {
		return l.again(ctx, id)
	}
	return store.Later(j.wait)
}

// again brings in what a better account, that came while the steps were done,
// wants.
func (l *Log) again(ctx context.Context, id string) error {
	ledger, _, err := l.replan(ctx, id, l.policy(), rows.misplaced)
	if err == nil && ledger.waiting() {
		return store.Later(againAfter)
	}
	return err
}

// replan brings the plan of a final record into its ledger anew, where that is
// wanted, and gives both; those of a call that goes on are empty.
func (l *Log) replan(ctx context.Context, id string, policy Policy, wanted func(rows, string, Plan) bool) (ledger rows, final call.Record, err error) {
	err = l.cfg.Store.InTx(ctx, func(tx *store.Tx) error {
		r, state, err := tx.Record(ctx, id)
		if err != nil || state != store.RecordSettled {
			return ignoreMissing(err)
		}
		kept, err := tx.Ledger(ctx, id)
		if err != nil {
			return err
		}
		if ledger, err = decodeRows(kept); err != nil {
			return err
		}
		final = r
		plan := Make(r, policy)
		if !wanted(ledger, id, plan) {
			return nil
		}
		return save(ctx, tx.SaveLedger, ledger.merge(id, plan, l.cfg.Recordings != nil, l.now())...)
	})
	return ledger, final, err
}

// sighted reports whether it is known whose the call is, and plans anew what was
// planned before the employees were known. Until then all waits.
func (j *job) sighted(ctx context.Context) (ready bool, err error) {
	if !j.rows.blind() {
		return true, nil
	}
	policy, unknown := j.l.people(ctx)
	if unknown == nil {
		var r call.Record
		j.rows, r, err = j.l.replan(ctx, j.id, policy, func(rows, string, Plan) bool { return true })
		if err == nil && r.ID != "" && len(policy.Employees) > 0 && j.l.cfg.Known != nil {
			j.l.cfg.Known(r)
		}
		return err == nil, err
	}
	for _, r := range j.rows {
		if err := j.do(ctx, r, func(context.Context, *row) error { return unknown }); err != nil {
			return false, err
		}
	}
	return false, store.Later(max(j.wait, againAfter))
}

func ignoreMissing(err error) error {
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}

func (j *job) load(ctx context.Context) error {
	kept, err := j.l.cfg.Store.Ledger(ctx, j.id)
	if err != nil {
		return err
	}
	j.rows, err = decodeRows(kept)
	return err
}

// steps does the steps one after the other. Its error is the database's: what
// the portal said is in the ledger.
func (j *job) steps(ctx context.Context) error {
	lead := j.rows.get(StepLead, 0)
	if err := j.do(ctx, lead, j.makeLead); err != nil {
		return err
	}
	if lead != nil && lead.waits() && lead.d.ID == 0 && lead.d.Asked <= leadFirst {
		return nil // the entries would belong to nobody
	}
	for leg := range j.rows.legs() {
		for _, s := range []struct {
			step string
			do   func(context.Context, *row) error
		}{{StepFinish, j.finish}, {StepAttach, j.attach}} {
			if err := j.do(ctx, j.rows.get(s.step, leg), s.do); err != nil {
				return err
			}
		}
		if err := j.pair(ctx, leg); err != nil {
			return err
		}
	}
	if err := j.do(ctx, lead, j.giveLead); err != nil {
		return err
	}
	return j.do(ctx, j.rows.get(StepTask, 0), j.task)
}

// pair ends the registration of an entry that is given up.
func (j *job) pair(ctx context.Context, leg int) error {
	fin, reg := j.rows.get(StepFinish, leg), j.rows.get(StepRegister, leg)
	if fin == nil || reg == nil || fin.State != call.StepFailed || !reg.waits() {
		return nil
	}
	reg.State, reg.Error, reg.Next = call.StepFailed, fin.Error, time.Time{}
	return j.save(ctx, reg)
}

// leadFirst is how often a lead is asked for before the entries go without it.
const leadFirst = 3

// do does one step that waits and notes what became of it.
func (j *job) do(ctx context.Context, r *row, step func(context.Context, *row) error) error {
	if r == nil || !r.waits() {
		return nil
	}
	tries := r.Tries
	r.Error = ""
	err := step(ctx, r)
	var ours *storeError
	if errors.As(err, &ours) {
		return err
	}
	if ctx.Err() != nil && err != nil {
		return context.Cause(ctx) // the process ends, or the job's time is over
	}
	if err != nil && !errors.Is(err, errUnfinished) {
		r.Tries = tries + 1 // also where it did not come to a request
	}
	j.judge(ctx, r, err)
	return j.save(ctx, r)
}

// judge sorts the end of a try.
func (j *job) judge(ctx context.Context, r *row, err error) {
	now := j.l.now()
	switch {
	case errors.Is(err, errUnfinished):
		return
	case err == nil:
		if r.waits() { // a step may have noted more than that it is done
			r.State = call.StepDone
		}
		r.Next = time.Time{}
	case hopeless(err), now.Sub(r.d.Since) > giveUpAfter:
		r.State, r.Error, r.Next = call.StepFailed, clip(err), time.Time{}
		j.l.log.ErrorContext(ctx, "a step of logging a call is given up", "call", j.id, "step", r.Step, "leg", r.Leg, "tries", r.Tries, "error", err)
	default:
		wait := max(crm.RetryAfter(err), j.backoff(r, now))
		if j.wait == 0 || wait < j.wait {
			j.wait = wait
		}
		r.Error, r.Next = clip(err), now.Add(wait)
		j.l.log.DebugContext(ctx, "a step of logging a call waits", "call", j.id, "step", r.Step, "leg", r.Leg, "tries", r.Tries, "error", err)
	}
	j.l.metrics.steps.WithLabelValues(r.Step, r.State).Inc()
}

// errUnfinished is no failure: another step is to go on first.
var errUnfinished = errors.New("not its turn")

// errNever is something that no time mends.
var errNever = errors.New("nothing to be done")

func hopeless(err error) bool {
	return errors.Is(err, errNever) || errors.Is(err, fs.ErrNotExist) || crm.Refused(err)
}

// recalled is for how long the portal answers a registration that is repeated in
// the same words with the id of the first.
const recalled = 30 * time.Minute

// backoff is how long a step waits. A call that may be registered is asked about
// often while the portal still recalls it: it says nowhere else that it is.
func (j *job) backoff(r *row, now time.Time) time.Duration {
	reg := j.rows.get(StepRegister, r.Leg)
	if r.Step != StepFinish || reg == nil {
		return backoff(r.Tries)
	}
	wait := backoff(max(r.Tries, reg.Tries))
	if reg.waits() && reg.d.Sent && now.Sub(reg.d.At) < recalled {
		wait = min(wait, recalled/10)
	}
	return wait
}

// backoff is how long to wait after tries: two seconds, doubling to an hour.
func backoff(tries int) time.Duration {
	const doublings = 11
	return min(time.Second<<min(max(tries, 1), doublings), longestWait)
}

// clip is an error as the ledger keeps it.
func clip(err error) string {
	text := err.Error()
	if len(text) > maxError {
		text = strings.ToValidUTF8(text[:maxError], "") + "..." // PostgreSQL takes no half letter
	}
	return text
}

// storeError is a failure of the database, upon which nobody knows what was
// written.
type storeError struct{ error }

func (e *storeError) Unwrap() error { return e.error }

func (j *job) save(ctx context.Context, r *row) error {
	if err := save(ctx, j.l.cfg.Store.SaveLedger, r); err != nil {
		return &storeError{err}
	}
	return nil
}

// attempt notes that something is about to be sent: whoever finds that note
// without an end looks first whether it was done. before is whether such a note
// was there.
func (j *job) attempt(ctx context.Context, r *row) (before bool, err error) {
	before = r.d.Sent
	if !before {
		r.d.At = j.l.now()
	}
	r.Tries, r.d.Asked = r.Tries+1, r.d.Asked+1
	r.d.Sent = true
	return before, j.save(ctx, r)
}

// answered takes the note back where it is known that nothing was done, nor
// before.
func answered(r *row, before bool, err error) {
	unknown := crm.Ambiguous(err) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled)
	r.d.Sent = before || err != nil && unknown
}

// owner is an employee's id, the head's where the head is meant.
func (j *job) owner(ctx context.Context, o Owner) (int, error) {
	who := o.Employee
	if o.Head {
		var err error
		if who, err = j.l.cfg.CRM.Head(ctx, o.Employee); err != nil {
			return 0, fmt.Errorf("the head of employee %d: %w", o.Employee, err)
		}
	}
	if who == 0 {
		who = o.Else
	}
	if who == 0 {
		return 0, fmt.Errorf("%w: nobody owns it; set crm.placeholder", errNever)
	}
	return who, nil
}
