package phonebook

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"sync/atomic"
	"time"

	"frontdesk/call"
)

// Source is the CRM.
type Source interface {
	// Addresses gives every entity to each; an error means that not all came.
	Addresses(ctx context.Context, each func(call.Address) error) error
	// AddressesOf reads some entities of a kind; those that are gone are left out.
	AddressesOf(ctx context.Context, kind call.Kind, ids ...int) ([]call.Address, error)
}

// Book is the address book of the PBX.
type Book interface {
	Reader
	Writer
}

// Reader reads the book.
type Reader interface {
	// Contacts gives every contact to each, also those that are not ours.
	Contacts(ctx context.Context, each func(Contact) error) error
	// Find are the contacts with an id, if it is not 0, or with a Tag.
	Find(ctx context.Context, id int, tag string) ([]Contact, error)
}

// Writer writes the book. An error that is not ErrGone or ErrRefused means that
// it may work later; whether it was done is then not known.
type Writer interface {
	// Create makes a contact and is its id; ErrRefused where the PBX does not
	// take it.
	Create(ctx context.Context, v Values) (int, error)
	// Update changes some fields; ErrGone, ErrRefused.
	Update(ctx context.Context, id int, changes []Change) error
	// Delete deletes contacts; those that are gone are no error.
	Delete(ctx context.Context, ids []int) error
}

// The errors of a Writer that waiting does not mend.
var (
	ErrGone    = errors.New("the contact is gone")
	ErrRefused = errors.New("the PBX does not take the contact")
)

// Links keep which contact shows what.
type Links interface {
	SavePhonebook(ctx context.Context, listings []call.Listing) error
	// LoadPhonebook gives the parts of an entity; all where kind is empty.
	LoadPhonebook(ctx context.Context, kind call.Kind, id int, each func(call.Listing) error) error
	DeletePhonebook(ctx context.Context, listings []call.Listing) error
}

// The ends of a sync that did not do what it was to do.
var (
	// ErrRunning: another one of this process is under way.
	ErrRunning = errors.New("a sync of the address book is under way")
	// ErrElsewhere: another node does it.
	ErrElsewhere = errors.New("another node is syncing the address book")
	// ErrMassDeletion: so much is missing from the CRM's answer that it is not
	// believed. All but the deletions was done.
	ErrMassDeletion = errors.New("the CRM no longer shows a large part of the address book, which is not believed")
	// ErrManyRefused: the PBX takes no contact any more.
	ErrManyRefused = errors.New("the PBX refuses one contact after another")
)

// Config is what a Sync needs; all but Every, Node and Logger must be set.
type Config struct {
	Source Source
	Book   Book
	Links  Links
	Notes  Notes
	Node   string        // a name of this node, for others to see that it is at work
	Every  time.Duration // between full syncs of Run; 0: only those that are asked for
	Logger *slog.Logger  // nil: discarded
}

// Options are how a full sync is done.
type Options struct {
	DryRun bool // compare and write nothing
	Force  bool // delete however much it is
}

// Progress tells how far a full sync is.
type Progress struct {
	Stage Stage
	Done  int
	Total int // 0: not known
}

// Stage is what a full sync does.
type Stage string

// The stages.
const (
	StagePBX   Stage = "contacts of the PBX" // are read
	StageCRM   Stage = "addresses of the CRM"
	StageWrite Stage = "contacts to write"
)

// Summary is what a full sync found and did.
type Summary struct {
	DryRun   bool      `json:"dry_run"`
	Wanted   int       `json:"wanted"`  // contacts that the CRM calls for
	Ours     int       `json:"ours"`    // contacts of ours that there were
	Foreign  int       `json:"foreign"` // contacts of people's, not touched
	Matched  Matched   `json:"matched"`
	Written  Written   `json:"written"` // of a dry run: to be written
	Withheld int       `json:"withheld_deletions"`
	Examples []string  `json:"examples,omitempty"` // of a dry run's writes
	Began    time.Time `json:"began"`
	Seconds  float64   `json:"seconds"`
}

// Matched are the contacts of ours that were there already.
type Matched struct {
	Unchanged int `json:"unchanged"`
	Adopted   int `json:"adopted"` // known by their Tag alone
	Theirs    int `json:"theirs"`  // taken over by people
}

// Written counts contacts by what was done.
type Written struct {
	Created int `json:"created"`
	Updated int `json:"updated"`
	Deleted int `json:"deleted"`
	Refused int `json:"refused"` // by the PBX, see the log
}

// Sync keeps the book. It is safe for concurrent use.
type Sync struct {
	cfg     Config
	log     *slog.Logger
	metrics *metrics
	running chan struct{} // held by a full sync
	turns   [turns]chan struct{}
	seed    maphash.Seed
	asked   chan *run
	current atomic.Pointer[run]
}

const (
	turns   = 64 // entities at a time
	workers = 2  // requests at a time
	chunk   = 500
	bulk    = 50 // deletions in a request
)

// New makes a Sync.
func New(cfg Config) (*Sync, error) {
	if cfg.Source == nil || cfg.Book == nil || cfg.Links == nil || cfg.Notes == nil {
		return nil, errors.New("the address book needs the CRM, the PBX and the store")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Sync{
		cfg: cfg, log: cfg.Logger, metrics: newMetrics(), running: make(chan struct{}, 1), seed: maphash.MakeSeed(),
		asked: make(chan *run),
	}
	for i := range s.turns {
		s.turns[i] = make(chan struct{}, 1)
	}
	return s, nil
}

// turn waits until nobody else writes contacts of an entity.
func (s *Sync) turn(ctx context.Context, k Key) (done func(), err error) {
	turn := s.turns[maphash.Comparable(s.seed, Key{Kind: k.Kind, ID: k.ID})%turns]
	select {
	case turn <- struct{}{}:
		return func() { <-turn }, nil
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Full brings the whole book in step. The summary is right also with an error.
// show, which may be nil, is called from one goroutine at a time.
func (s *Sync) Full(ctx context.Context, o Options, show func(Progress)) (sum Summary, err error) {
	select {
	case s.running <- struct{}{}:
		defer func() { <-s.running }()
	default:
		return sum, ErrRunning
	}
	began := time.Now()
	f := &full{sync: s, options: o, began: began.Truncate(time.Millisecond), show: show}
	if !o.DryRun {
		if f.lease, err = s.claim(ctx); err != nil {
			return sum, err
		}
		defer func() { err = errors.Join(err, f.lease.end(ctx, err == nil)) }()
	}
	err = f.run(ctx)
	sum = f.summary()
	sum.Began, sum.Seconds = began, time.Since(began).Seconds()
	if !o.DryRun {
		s.metrics.synced(sum, err)
	}
	return sum, err
}

// full is one full sync.
type full struct {
	sync    *Sync
	options Options
	began   time.Time
	show    func(Progress)
	lease   *lease
	plan    Plan
	done    counts
}

func (f *full) run(ctx context.Context) error {
	have, known, err := f.read(ctx)
	if err != nil {
		return err
	}
	if f.plan, err = f.compare(ctx, have, known); err != nil {
		return fmt.Errorf("reading the CRM: %w", err)
	}
	if f.plan.Suspect() && !f.options.Force {
		f.done.withheld = len(f.plan.Deletes)
		f.plan.Deletes = nil
	}
	if !f.options.DryRun {
		if err := f.apply(ctx); err != nil {
			return err
		}
	}
	if f.done.withheld > 0 {
		return fmt.Errorf("%w: %d of %d contacts would be deleted; see whether the webhook may still read everything, then sync with --force",
			ErrMassDeletion, f.done.withheld, f.plan.Ours)
	}
	return nil
}

// read is what the PBX has and what is known of it. Of what is not ours the id
// is enough.
func (f *full) read(ctx context.Context) (have []Contact, known []call.Listing, err error) {
	err = f.sync.cfg.Book.Contacts(ctx, func(c Contact) error {
		if _, ours := ParseTag(c.Values[Tag]); !ours {
			c = Contact{ID: c.ID}
		}
		have = append(have, c)
		return f.progress(ctx, Progress{StagePBX, len(have), 0})
	})
	if err != nil {
		return nil, nil, fmt.Errorf("reading the contacts of the PBX: %w", err)
	}
	err = f.sync.cfg.Links.LoadPhonebook(ctx, "", 0, func(l call.Listing) error {
		known = append(known, l)
		return nil
	})
	return have, known, err
}

// compare has the CRM stream past what is there: only what differs is kept.
func (f *full) compare(ctx context.Context, have []Contact, known []call.Listing) (Plan, error) {
	var err error
	enough := errors.New("enough")
	n, total := 0, len(known)
	plan := Diff(func(yield func(Entry) bool) {
		err = f.sync.cfg.Source.Addresses(ctx, func(a call.Address) error {
			entries, loss := Entries(a)
			f.sync.lost(ctx, a, loss)
			for _, e := range entries {
				if !yield(e) {
					return enough
				}
			}
			n++
			return f.progress(ctx, Progress{StageCRM, n, max(total, n)})
		})
	}, have, known)
	return plan, err
}

// lost tells what does not fit.
func (s *Sync) lost(ctx context.Context, a call.Address, l Loss) {
	if len(l.Cut) > 0 {
		s.log.WarnContext(ctx, "texts are too long for the address book and are cut", "kind", a.Kind, "id", a.ID, "fields", fmt.Sprint(l.Cut))
	}
	if l.Numbers > 0 {
		s.log.WarnContext(ctx, "an entity has more numbers than the address book takes", "kind", a.Kind, "id", a.ID, "left_out", l.Numbers)
	}
}

// progress shows how far it is, and holds the lease.
func (f *full) progress(ctx context.Context, p Progress) error {
	if f.show != nil {
		f.show(p)
	}
	if f.lease == nil {
		return nil
	}
	return f.lease.hold(ctx)
}

func (f *full) summary() Summary {
	p := f.plan
	sum := Summary{
		DryRun: f.options.DryRun, Wanted: p.Wanted, Ours: p.Ours, Foreign: p.Foreign,
		Matched: Matched{p.Unchanged, p.Adopted, p.Theirs}, Withheld: f.done.withheld, Written: f.done.sum,
	}
	if f.options.DryRun {
		sum.Written = Written{Created: len(p.Creates), Updated: len(p.Updates), Deleted: len(p.Deletes)}
		sum.Examples = p.examples()
	}
	return sum
}
