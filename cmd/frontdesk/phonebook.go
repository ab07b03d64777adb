package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"frontdesk/call"
	"frontdesk/cmd/frontdesk/config"
	"frontdesk/crm"
	"frontdesk/pbx"
	"frontdesk/phonebook"
	"frontdesk/store"
	"frontdesk/web"
)

// addressBook is the PBX's book as the phonebook sees it.
type addressBook struct{ client *pbx.Client }

// Contacts gives every contact to each.
func (b addressBook) Contacts(ctx context.Context, each func(phonebook.Contact) error) error {
	return b.client.Contacts(ctx, func(c pbx.Contact) error { return each(ofPBX(c)) })
}

// Find are the contacts with an id or a Tag.
func (b addressBook) Find(ctx context.Context, id int, tag string) ([]phonebook.Contact, error) {
	found, err := b.client.FindContacts(ctx, id, tag)
	if err != nil {
		return nil, err
	}
	out := make([]phonebook.Contact, len(found))
	for i, c := range found {
		out[i] = ofPBX(c)
	}
	return out, nil
}

// Create makes a contact.
func (b addressBook) Create(ctx context.Context, v phonebook.Values) (int, error) {
	id, err := b.client.CreateContact(ctx, pbx.Contact{
		Person: pbx.Person{
			FirstName: v[phonebook.FirstName], LastName: v[phonebook.LastName], CompanyName: v[phonebook.CompanyName], Title: v[phonebook.Title],
		},
		Phones: pbx.Phones{
			PhoneNumber: v[phonebook.PhoneNumber], Mobile2: v[phonebook.Mobile2], Home: v[phonebook.Home], Business: v[phonebook.Business],
			Business2: v[phonebook.Business2], BusinessFax: v[phonebook.BusinessFax], Other: v[phonebook.Other], Pager: v[phonebook.Pager],
		},
		Email: v[phonebook.Email], Tag: v[phonebook.Tag],
	})
	return id, bookError(err)
}

// Update changes some fields.
func (b addressBook) Update(ctx context.Context, id int, changes []phonebook.Change) error {
	fields := make(map[string]string, len(changes))
	for _, c := range changes {
		fields[c.Field.String()] = c.Value
	}
	return bookError(b.client.UpdateContact(ctx, id, fields))
}

// Delete deletes contacts.
func (b addressBook) Delete(ctx context.Context, ids []int) error {
	return b.client.DeleteContacts(ctx, ids)
}

func ofPBX(c pbx.Contact) phonebook.Contact {
	out := phonebook.Contact{ID: c.ID}
	for f, v := range map[phonebook.Field]string{
		phonebook.FirstName: c.FirstName, phonebook.LastName: c.LastName, phonebook.CompanyName: c.CompanyName, phonebook.Title: c.Title,
		phonebook.PhoneNumber: c.PhoneNumber, phonebook.Mobile2: c.Mobile2, phonebook.Home: c.Home, phonebook.Business: c.Business,
		phonebook.Business2: c.Business2, phonebook.BusinessFax: c.BusinessFax, phonebook.Other: c.Other, phonebook.Pager: c.Pager,
		phonebook.Email: c.Email, phonebook.Tag: c.Tag,
	} {
		out.Values[f] = v
	}
	return out
}

// bookError sorts what waiting does not mend from what it may.
func bookError(err error) error {
	refused, ok := errors.AsType[*pbx.Error](err)
	switch {
	case errors.Is(err, pbx.ErrNotFound):
		return fmt.Errorf("%w: %w", phonebook.ErrGone, err)
	case ok && (refused.Status == http.StatusBadRequest || refused.Status == http.StatusConflict || refused.Status == http.StatusUnprocessableEntity):
		return fmt.Errorf("%w: %w", phonebook.ErrRefused, err)
	}
	return err
}

// newXAPI is a client of 3CX's interface; nil where none is configured.
func newXAPI(cfg *config.Config, log *slog.Logger) (*pbx.Client, error) {
	x := cfg.PBX.XAPI
	if x == nil {
		return nil, nil
	}
	c, err := pbx.NewClient(pbx.Config{URL: x.URL, ID: x.ClientID, Secret: x.ClientSecret.Reveal(), Rate: x.Rate, Logger: log})
	if err != nil {
		return nil, fmt.Errorf("pbx.xapi: %w", err)
	}
	return c, nil
}

// newPhonebook keeps the book of xapi equal to portal's entities; nil where one
// of them is not configured. It syncs by itself only where that is switched on.
func newPhonebook(cfg *config.Config, portal *crm.Client, xapi *pbx.Client, st *store.Store, log *slog.Logger) (*phonebook.Sync, error) {
	if portal == nil || xapi == nil {
		return nil, nil
	}
	c := phonebook.Config{Source: portal, Book: addressBook{xapi}, Links: st, Notes: st, Node: nodeName(), Logger: log}
	if cfg.Phonebook.Sync {
		c.Every = cfg.Phonebook.Every
	}
	s, err := phonebook.New(c)
	if err != nil {
		return nil, fmt.Errorf("phonebook: %w", err)
	}
	return s, nil
}

const (
	refreshJob   = "phonebook" // the kind of jobs, and their queue: a PBX that hangs holds up no others
	refreshQueue = 2
)

// refreshes owe an update of the address book for each entity that a call was
// about. Ended does not wait: what is owed is written behind the call's back.
type refreshes struct {
	store *store.Store
	log   *slog.Logger

	mu      sync.Mutex
	records []call.Document // the facts of calls that have ended
	more    chan struct{}
}

// newRefreshes says to the jobs of st that book does them.
func newRefreshes(book *phonebook.Sync, st *store.Store, log *slog.Logger) *refreshes {
	st.Handle(refreshJob, func(ctx context.Context, args json.RawMessage) error {
		var e refresh
		if err := json.Unmarshal(args, &e); err != nil {
			return store.GiveUp(err)
		}
		return book.Update(ctx, e.Kind, e.ID)
	})
	return &refreshes{store: st, log: log, more: make(chan struct{}, 1)}
}

// refresh is the argument of a job: whose contacts.
type refresh struct {
	Kind call.Kind `json:"kind"`
	ID   int       `json:"id"`
}

const (
	// mostRecords are kept while the database does not answer; the next full
	// sync makes up for what is dropped.
	mostRecords = 10_000
	// someRecords are owed at a time.
	someRecords = 100
)

// Ended takes the record of a call that has ended.
func (r *refreshes) Ended(record call.Record) {
	if record.Facts.IsZero() {
		return
	}
	r.mu.Lock()
	if len(r.records) < mostRecords {
		r.records = append(r.records, record.Facts)
	}
	r.mu.Unlock()
	select {
	case r.more <- struct{}{}:
	default:
	}
}

// Run owes jobs until ctx ends, and what is left then.
func (r *refreshes) Run(ctx context.Context) error {
	const first, last, grace = time.Second, time.Minute, 3 * time.Second
	wait := first
	for {
		select {
		case <-ctx.Done():
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), grace)
			defer cancel()
			if err := r.owe(ctx); err != nil {
				r.log.WarnContext(ctx, "the address book will not hear of the last calls before the next full sync", "error", err)
			}
			return nil
		case <-r.more:
		}
		for err := r.owe(ctx); err != nil; err = r.owe(ctx) {
			select {
			case <-ctx.Done():
			case <-time.After(wait):
			}
			if wait = min(2*wait, last); ctx.Err() != nil {
				break
			}
		}
		wait = first
	}
}

// owe owes a job for each entity of the records.
func (r *refreshes) owe(ctx context.Context) error {
	for {
		r.mu.Lock()
		records := r.records[:min(len(r.records), someRecords)]
		r.mu.Unlock()
		if len(records) == 0 {
			return nil
		}
		if err := r.store.Enqueue(ctx, r.jobs(ctx, records)...); err != nil {
			return err
		}
		r.mu.Lock()
		r.records = r.records[len(records):]
		r.mu.Unlock()
	}
}

// jobs are one for each entity, however many of the calls were about it.
func (r *refreshes) jobs(ctx context.Context, records []call.Document) []store.Job {
	var jobs []store.Job
	owed := map[refresh]bool{}
	for _, facts := range records {
		var f struct{ CRM call.Answer }
		if err := facts.Decode(&f); err != nil {
			r.log.WarnContext(ctx, "the facts of a call cannot be read", "error", err)
		}
		for _, e := range f.CRM.Entities {
			about := refresh{e.Kind, e.ID}
			if !e.Unreadable && !owed[about] {
				owed[about] = true
				jobs = append(jobs, store.Job{Kind: refreshJob, Key: fmt.Sprintf("%s/%d", e.Kind, e.ID), Args: about, Queue: refreshJob})
			}
		}
	}
	return jobs
}

// contacts are the PBX's interface and the address book behind it, as serve
// runs them: nil where they are not configured or not switched on.
type contacts struct {
	xapi      *pbx.Client
	phonebook *phonebook.Sync
	refreshes *refreshes
}

func newContacts(cfg *config.Config, portal *crm.Client, st *store.Store, log *slog.Logger) (contacts, error) {
	var c contacts
	var err error
	if c.xapi, err = newXAPI(cfg, log); err != nil {
		return c, err
	}
	if c.phonebook, err = newPhonebook(cfg, portal, c.xapi, st, log); err != nil {
		return c, err
	}
	if c.phonebook != nil && cfg.Phonebook.Sync {
		c.refreshes = newRefreshes(c.phonebook, st, log)
	}
	return c, nil
}

func (c contacts) run(ctx context.Context, g *errgroup.Group) {
	if c.phonebook != nil {
		g.Go(func() error {
			defer c.xapi.Close()
			return c.phonebook.Run(ctx)
		})
	}
	if c.refreshes != nil {
		g.Go(func() error { return c.refreshes.Run(ctx) })
	}
}

func (c contacts) ended(r call.Record) {
	if c.refreshes != nil {
		c.refreshes.Ended(r)
	}
}

func (c contacts) collectors() []prometheus.Collector {
	var out []prometheus.Collector
	if c.xapi != nil {
		out = append(out, c.xapi.Collectors()...)
	}
	if c.phonebook != nil {
		out = append(out, c.phonebook.Collectors()...)
	}
	return out
}

// Sync has the running address book sync.
func (c contacts) Sync(ctx context.Context, o web.PhonebookOptions, progress func(web.Progress)) (web.PhonebookSync, error) {
	if c.phonebook == nil {
		return web.PhonebookSync{}, fmt.Errorf("%w: there is no address book to sync: pbx.xapi or the portal is not configured", web.ErrNotHere)
	}
	sum, err := c.phonebook.Request(ctx, phonebook.Options(o), func(p phonebook.Progress) { progress(bookProgress(p)) })
	if errors.Is(err, phonebook.ErrRunning) || errors.Is(err, phonebook.ErrElsewhere) {
		return web.PhonebookSync{}, fmt.Errorf("%w: %w", web.ErrNotHere, err)
	}
	if ctx.Err() != nil {
		return web.PhonebookSync{}, err
	}
	return synced(sum, err), nil
}

func bookProgress(p phonebook.Progress) web.Progress {
	return web.Progress{What: string(p.Stage), Done: p.Done, Total: p.Total}
}

// synced is a sync for people and programs.
func synced(s phonebook.Summary, err error) web.PhonebookSync {
	out := web.PhonebookSync{
		DryRun: s.DryRun, Withheld: s.Withheld, Examples: s.Examples, Began: s.Began, Seconds: s.Seconds,
		Contacts: web.PhonebookContacts{
			Wanted: s.Wanted, Ours: s.Ours, Foreign: s.Foreign,
			Unchanged: s.Matched.Unchanged, Adopted: s.Matched.Adopted, Theirs: s.Matched.Theirs,
		},
		Written: web.PhonebookWritten(s.Written),
	}
	if err != nil {
		out.Problem = err.Error()
	}
	return out
}
