package staff

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"frontdesk/call"
	"frontdesk/store"
)

// Deputies finds the entities whose temporary manager's limit is at or before
// a time, one without a manager too. crm.Deputies asks the portal; a mirror may
// do it from memory. What it says is only a reason to look closer.
type Deputies interface {
	Ended(ctx context.Context, now time.Time) ([]call.Entity, error)
}

// Desk reads and writes the portal; crm.Deputies does.
type Desk interface {
	// Entity is an entity as the portal has it now; found is false where it was
	// deleted.
	Entity(ctx context.Context, k call.Kind, id int) (e call.Entity, found bool, err error)
	// Clear empties the temporary manager and the limit of e, unless somebody
	// has changed them, and gives the entity as it is then.
	Clear(ctx context.Context, e call.Entity) (call.Entity, error)
	// Employee is an employee with the address of their mailbox, both empty
	// where there is none.
	Employee(ctx context.Context, id int) (e call.Employee, address string, err error)
}

// Post sends mails; a Mailer does.
type Post interface {
	Send(ctx context.Context, m Message) error
}

// Jobs does what is owed; store.Store does.
type Jobs interface {
	Handle(kind string, work store.Work)
	Enqueue(ctx context.Context, jobs ...store.Job) error
}

// Notes keeps what was done; store.Store does.
type Notes interface {
	Get(ctx context.Context, key string) ([]byte, error)
	Put(ctx context.Context, key string, value []byte) error
	Delete(ctx context.Context, key string) error
}

// ExpirerConfig is what an Expirer needs. Post may be nil: nobody is mailed.
type ExpirerConfig struct {
	Every    time.Duration // between searches; 0: DefaultEvery
	Deputies Deputies
	Desk     Desk
	Post     Post
	Jobs     Jobs
	Notes    Notes
	Language string         // of the mails: ru-RU, ru: Russian; else English
	Zone     *time.Location // of the times in the mails; nil: UTC
	Logger   *slog.Logger
}

// DefaultEvery is the pause between two searches.
const DefaultEvery = 30 * time.Second

// Expirer ends the time of temporary managers.
type Expirer struct {
	cfg     ExpirerConfig
	log     *slog.Logger
	letters letters
	metrics *expirerMetrics
}

// jobKind names the jobs in the store.
const jobKind = "deputy"

// NewExpirer makes an expirer and says to the jobs that it does them: call it
// before they are run.
func NewExpirer(cfg ExpirerConfig) (*Expirer, error) {
	cfg.Every = cmp.Or(cfg.Every, DefaultEvery)
	cfg.Zone = cmp.Or(cfg.Zone, time.UTC)
	x := &Expirer{cfg: cfg, log: cfg.Logger, metrics: newExpirerMetrics()}
	if x.log == nil {
		x.log = slog.New(slog.DiscardHandler)
	}
	var err error
	if x.letters, err = newLetters(cfg.Language, cfg.Zone); err != nil {
		return nil, fmt.Errorf("the mails' texts: %w", err)
	}
	cfg.Jobs.Handle(jobKind, x.work)
	return x, nil
}

// Run looks for temporary managers whose time has passed until ctx ends. A
// portal or a database that is gone delays it, and is told once.
func (x *Expirer) Run(ctx context.Context) error {
	var trouble trouble
	for {
		err := x.Look(ctx)
		if ctx.Err() != nil {
			return nil
		}
		switch {
		case !trouble.changed(err):
		case err != nil:
			x.log.WarnContext(ctx, "temporary managers whose time has passed cannot be looked for", "error", err)
		default:
			x.log.InfoContext(ctx, "temporary managers whose time has passed are looked for again")
		}
		if !pause(ctx, x.cfg.Every) {
			return nil
		}
	}
}

// task is a job's argument: whose limit.
type task struct {
	Kind  call.Kind `json:"kind"`
	ID    int       `json:"id"`
	Until time.Time `json:"until"`
}

// key is the same on every node that finds the same limit.
func (t task) key() string { return fmt.Sprintf("%s/%d/%d", t.Kind, t.ID, t.Until.Unix()) }

// searchLimit bounds one search.
const searchLimit = 2 * time.Minute

// Look searches once, and owes a job for everything found that is not owed
// yet. Run does so regularly.
func (x *Expirer) Look(ctx context.Context) (err error) {
	defer func() {
		result := "ok"
		if err != nil {
			result = "failed"
		}
		x.metrics.searches.WithLabelValues(result).Inc()
	}()
	ctx, cancel := context.WithTimeout(ctx, searchLimit)
	defer cancel()
	now := time.Now()
	found, err := x.cfg.Deputies.Ended(ctx, now)
	if err != nil {
		return err
	}
	var jobs []store.Job
	for _, e := range found {
		if e.Until.IsZero() || e.Until.After(now) {
			continue
		}
		t := task{Kind: e.Kind, ID: e.ID, Until: e.Until}
		jobs = append(jobs, store.Job{Kind: jobKind, Key: t.key(), Args: t})
	}
	if len(jobs) == 0 {
		return nil
	}
	if err := x.cfg.Jobs.Enqueue(ctx, jobs...); err != nil {
		return errors.Join(errors.New("owing what is to be done"), err)
	}
	return nil
}
