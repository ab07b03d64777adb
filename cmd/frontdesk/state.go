package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"frontdesk/b2bua"
	"frontdesk/call"
	"frontdesk/calllog"
	"frontdesk/cmd/frontdesk/config"
	"frontdesk/crm"
	"frontdesk/notify"
	"frontdesk/pbx"
	"frontdesk/staff"
	"frontdesk/store"
	"frontdesk/web"
)

// recordsKept is how many of the last calls the API shows.
const recordsKept = 1000

// callWorkers is how many calls are logged in the CRM at a time: more than the
// portal's limit lets through only wait for it.
const callWorkers = 4

// state is what outlives a call, and who feeds it: the last records, the
// database, the sticky bindings, the mirror of the portal, and the care of
// temporary managers. The mirror and the expirer are nil where there is no
// portal to speak with, and the share where no other node may use it.
type state struct {
	ring    *web.Ring
	store   *store.Store
	book    *staff.Book
	mirror  *crm.Mirror
	expirer *staff.Expirer
	share   *crm.Share

	contacts   contacts
	accounting *accounting // nil where the PBX says nothing of calls
	calls      *callLog
	sounds
	began    time.Time
	notifier *notify.Notifier
}

// sounds are the recordings, and how they go.
type sounds struct {
	tapes  *tapes // nil where recordings are off
	expiry expiry
}

// openStore opens the database. One that cannot be opened now keeps nobody from
// calling: it is taken in use when it can be.
func openStore(ctx context.Context, cfg *config.Config, log *slog.Logger) (*store.Store, error) {
	st, err := store.Open(ctx, cfg.Store.Reveal(), store.Options{
		Logger: log, Node: nodeName(), Patient: true, History: cfg.CallLog.History, Queues: map[string]int{refreshJob: refreshQueue, calllog.Queue: callWorkers, notify.Queue: hookWorkers},
	})
	if err != nil {
		return nil, fmt.Errorf("store: %w", err)
	}
	return st, nil
}

// nodeName is the name of this node, for others that share its database.
func nodeName() string {
	name, err := os.Hostname()
	if err != nil {
		return "node"
	}
	return name
}

// newState makes what is kept, over an open store. numbers are those of the PBX
// as the last reload gave them.
func newState(ctx context.Context, cfg *config.Config, st *store.Store, client *crm.Client, numbers func() call.Numbers, log *slog.Logger) (*state, error) {
	s := &state{ring: web.NewRing(recordsKept), store: st, began: time.Now()}
	employees := func() map[int]call.Employee { return nil }
	if client != nil {
		employees = client.Employees
	}
	people := staff.NewDirectory(employees, numbers)
	s.book = staff.NewBook(staff.BookConfig{
		Window: cfg.Sticky.Time, Directory: people, Store: st,
		Shared: manyNodes(cfg), Logger: log,
	})
	var err error
	if s.contacts, err = newContacts(cfg, client, st, log); err != nil {
		return nil, err
	}
	s.tapes = newTapes(cfg, st, s.contacts.xapi, log)
	if s.notifier, err = newNotifier(cfg, st, log); err != nil {
		return nil, err
	}
	s.calls = newCallLog(cfg, numbers, calllog.Config{
		Store: st, CRM: client, Recordings: s.tapes.recordings(), Unsaved: cfg.Recordings.Dir, Also: s.notifier.Ended, Known: s.book.Ended, Logger: log,
	})
	s.expiry = expiry{calls: s.calls, tapes: s.tapes, cfg: s.calls.cfg.Load, log: log}
	s.accounting, err = newAccounting(ctx, accountsOf{
		cfg: cfg, xapi: s.contacts.xapi, store: st, staff: people, numbers: numbers, settled: s.settled, seen: s.show, log: log,
	})
	if err != nil || client == nil {
		return s, err
	}
	if manyNodes(cfg) {
		s.share = crm.NewShare(client, st)
	}
	if cfg.CRM.Mirror.Enabled {
		if s.mirror, err = newMirror(cfg, client, st, log, nil); err != nil {
			return nil, fmt.Errorf("crm.mirror: %w", err)
		}
	}
	s.expirer, err = newExpirer(cfg, st, client, log)
	return s, err
}

// manyNodes reports whether other nodes may use the same store.
func manyNodes(cfg *config.Config) bool { return strings.HasPrefix(cfg.Store.Reveal(), "postgres") }

// load reads the bindings before the first call comes. Where the database does
// not give them in time the calls begin without, and run reads them later.
func (s *state) load(ctx context.Context, log *slog.Logger) {
	const patience = 3 * time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := s.book.Load(ctx); err != nil {
		log.WarnContext(ctx, "the first calls are decided without the sticky bindings", "error", err)
	}
}

func newExpirer(cfg *config.Config, st *store.Store, client *crm.Client, log *slog.Logger) (*staff.Expirer, error) {
	deputies := crm.NewDeputies(client)
	c := staff.ExpirerConfig{
		Every: cfg.Staff.Every, Deputies: deputies, Desk: deputies, Jobs: st, Notes: st,
		Language: cfg.Greeting.Language, Zone: cfg.Zone, Logger: log,
	}
	if cfg.Mail.SMTP.Reveal() != "" {
		mailer, err := staff.NewMailer(staff.MailConfig{URL: cfg.Mail.SMTP.Reveal(), From: cfg.Mail.From})
		if err != nil {
			return nil, fmt.Errorf("mail: %w", err)
		}
		c.Post = mailer
	}
	return staff.NewExpirer(c)
}

// deps gives the calls what they read of the state.
func (s *state) deps(d *b2bua.Deps, cfg *config.Config) {
	d.Sticky, d.Log, d.Observer = s.book, ended{s}, s.observer(cfg)
	if s.mirror == nil {
		return
	}
	d.Mirror = s.mirror
	if cfg.CRM.Prefer == "mirror" {
		d.Directory = crm.MirrorFirst{Mirror: s.mirror}
	}
}

// hooks are what the portal calls us by: its outbound webhooks, and the
// installation of an OAuth application.
func (s *state) hooks(cfg *config.Config, client *crm.Client) map[string]http.Handler {
	out := map[string]http.Handler{}
	if s.mirror != nil {
		out["/hooks/bitrix24/events"] = s.mirror.Events(cfg.CRM.Bitrix24.EventToken.Reveal())
	}
	if client != nil && client.Installer() != nil {
		out["/hooks/bitrix24/install"] = client.Installer()
	}
	return out
}

// run keeps the state going until ctx ends.
func (s *state) run(ctx context.Context, g *errgroup.Group) {
	g.Go(func() error { return s.store.Run(ctx) })
	g.Go(func() error { return s.book.Run(ctx) })
	if s.mirror != nil {
		g.Go(func() error { return s.mirror.Run(ctx) })
	}
	if s.expirer != nil {
		g.Go(func() error { return s.expirer.Run(ctx) })
	}
	if s.share != nil {
		g.Go(func() error { return s.share.Run(ctx) })
	}
	s.calls.run(ctx, g)
	g.Go(func() error { return s.lost(ctx) })
	g.Go(func() error { return s.notifier.Run(ctx) })
	s.tapes.run(ctx, g)
	g.Go(func() error { return s.expiry.run(ctx) })
	s.contacts.run(ctx, g)
	s.accounting.run(ctx, g)
}

func (s *state) collectors() []prometheus.Collector {
	out := append(s.store.Collectors(), s.book.Collectors()...)
	if s.mirror != nil {
		out = append(out, s.mirror.Collectors()...)
	}
	if s.expirer != nil {
		out = append(out, s.expirer.Collectors()...)
	}
	if s.share != nil {
		out = append(out, s.share.Collectors()...)
	}
	return slices.Concat(out, s.calls.Collectors(), s.notifier.Collectors(), s.tapes.collectors(), s.contacts.collectors(), s.accounting.collectors())
}

// ended hands every record on: to the list of the last calls, to the book, the
// one place that stickiness learns from, and to whatever waits until the PBX
// has said what became of the call.
type ended struct{ state *state }

// Add takes the record of a call that has ended here. It does not block.
// Whoever sees the record in the list sees its effect on stickiness too.
func (e ended) Add(r call.Record) {
	e.state.show(r)
	switch a := e.state.accounting; {
	case a == nil:
		e.state.settled(r, pbx.Note{})
	case a.own(r):
		e.state.calls.Keep(r)
	}
}

// show is what happens at once.
func (s *state) show(r call.Record) {
	s.book.Ended(r)
	s.ring.Add(r)
}

// settled takes the record of a call once it is final. It may come again when
// more is known, with the same id.
func (s *state) settled(r call.Record, note pbx.Note) {
	r = s.tapes.named(r)
	s.show(r)
	s.calls.EndedWith(r, func(ctx context.Context, tx *store.Tx) error { return note.Save(ctx, tx) })
	s.contacts.ended(r)
}
