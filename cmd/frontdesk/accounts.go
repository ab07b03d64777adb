package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"frontdesk/call"
	"frontdesk/cmd/frontdesk/config"
	"frontdesk/pbx"
	"frontdesk/sip"
	"frontdesk/staff"
	"frontdesk/store"
)

// accounting brings what the PBX says of calls to our records of them. It is
// nil where the PBX says nothing.
type accounting struct {
	xapi       *pbx.Client // nil without the configuration API
	lines      cdrSource   // nil without call detail records
	reconciler *pbx.Reconciler
	joiner     *pbx.Joiner
	reader     pbx.Reader
	log        *slog.Logger

	watchers
	order  atomic.Pointer[[]string]
	nodes  atomic.Pointer[[]netip.Prefix]
	trunks atomic.Pointer[map[string]string]
	learnt chan struct{} // closed when trunks has been asked for
}

// watchers see calls go on. They are set before accounting runs.
type watchers struct {
	passing func(call.Number) bool    // a call of a number passes frontdesk
	follows func(call.Extension) bool // call control will tell of a number's calls
}

// cdrSource gives call detail records.
type cdrSource interface {
	Run(ctx context.Context, f func(pbx.CDR)) error
	Collectors() []prometheus.Collector
}

// accountsOf are the parts that accounting is made of.
type accountsOf struct {
	cfg     *config.Config
	xapi    *pbx.Client
	store   *store.Store
	staff   staff.Directory
	numbers func() call.Numbers
	settled func(call.Record, pbx.Note)
	seen    func(call.Record) // before it is final
	log     *slog.Logger
}

// newAccounting makes the accounting; nil where neither records nor the call
// log are configured.
func newAccounting(ctx context.Context, p accountsOf) (*accounting, error) {
	if p.cfg.PBX.CDR == nil && p.xapi == nil {
		return nil, nil
	}
	a := &accounting{xapi: p.xapi, log: p.log, learnt: make(chan struct{})}
	a.watchers = watchers{func(call.Number) bool { return false }, func(call.Extension) bool { return false }}
	a.reader = pbx.Reader{Country: p.cfg.Country, Numbers: p.numbers, Trunk: a.trunk}
	a.joiner = pbx.NewJoiner(pbx.JoinerConfig{
		Settled: p.settled, Pending: p.store, Staff: p.staff, Zone: p.cfg.Zone, Logger: p.log,
		Finer: p.xapi != nil, Seen: p.seen,
		Busy:  func(n call.Number) bool { return a.passing(n) },
		Ahead: func(t time.Time) bool { return a.reconciler != nil && a.reconciler.Ahead(t) },
	})
	if p.xapi != nil {
		a.reconciler = pbx.NewReconciler(pbx.ReconcilerConfig{
			Log: p.xapi, State: p.store, Reader: a.reader, Give: a.joiner.PBX, Ready: a.learnt, Logger: p.log,
		})
	}
	return a, a.open(ctx, p.cfg.PBX.CDR)
}

// open binds the socket of call detail records.
func (a *accounting) open(ctx context.Context, c *config.CDR) error {
	if c == nil {
		return nil
	}
	a.order.Store(&c.Fields)
	take := pbx.CDRConfig{
		Fields: func() []string { return *a.order.Load() }, Logger: a.log,
		Allowed: func(from netip.Addr) bool {
			holds := func(p netip.Prefix) bool { return p.Contains(from) }
			nodes := a.nodes.Load()
			return slices.ContainsFunc(c.Sources, holds) || nodes != nil && slices.ContainsFunc(*nodes, holds)
		},
	}
	if c.Connect != "" {
		a.lines = pbx.NewCDRDialer(c.Connect, take)
		return nil
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", c.Listen)
	if err != nil {
		return fmt.Errorf("pbx.cdr.listen: %w", err)
	}
	a.lines = pbx.NewCDRServer(l, take)
	return nil
}

// peers takes over the addresses of the PBX's nodes, which may connect.
func (a *accounting) peers(all []sip.Peer) {
	if a == nil {
		return
	}
	var nodes []netip.Prefix
	for _, p := range all {
		if p.PBX {
			nodes = append(nodes, p.Sources...)
		}
	}
	a.nodes.Store(&nodes)
}

// watch takes over who knows the calls in progress.
func (a *accounting) watch(w watchers) {
	if a != nil {
		a.watchers = w
	}
}

// seen takes what call control saw of a call that is over.
func (a *accounting) seen(c pbx.Call) {
	c.Trunk = cmp.Or(a.trunk(c.Trunk), c.Trunk)
	a.joiner.PBX(c)
}

// own takes the record of a call that has ended here, and settles it: at once
// where it is false, else when the PBX has said more of it.
func (a *accounting) own(r call.Record) (waits bool) {
	if !a.told(r) {
		a.joiner.Alone(r)
		return false
	}
	a.joiner.Own(r)
	return true
}

// told reports whether the PBX is to say more of a call.
func (a *accounting) told(r call.Record) bool {
	return a.lines != nil || a.reconciler.Reading() || a.follows(r.Target)
}

// left takes the record of a call that ended before this process began, and was
// not settled then.
func (a *accounting) left(r call.Record) { a.joiner.Left(r, !a.told(r)) }

// trunk is the name of a trunk by its number on the PBX.
func (a *accounting) trunk(dn string) string {
	if names := a.trunks.Load(); names != nil {
		return (*names)[dn]
	}
	return ""
}

func (a *accounting) run(ctx context.Context, g *errgroup.Group) {
	if a == nil {
		return
	}
	g.Go(func() error { return unless(ctx, a.joiner.Run(ctx)) })
	if a.reconciler != nil {
		g.Go(func() error { return unless(ctx, a.reconciler.Run(ctx)) })
		g.Go(func() error { return unless(ctx, a.learn(ctx)) })
	}
	if a.lines != nil {
		assembler := pbx.NewAssembler(a.reader)
		g.Go(func() error {
			return unless(ctx, a.lines.Run(ctx, func(c pbx.CDR) {
				if joined, news := assembler.Add(c); news {
					a.joiner.PBX(joined)
				}
			}))
		})
	}
}

// unless is err, unless ctx is what ended the work.
func unless(ctx context.Context, err error) error {
	if ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return nil
	}
	return err
}

// learnEvery is how often the PBX is asked for what it calls its trunks, and for
// the order of fields where the configuration leaves that open.
const learnEvery = 5 * time.Minute

// learn keeps what the PBX says of its records. The calls of an outage are read
// after the first try.
func (a *accounting) learn(ctx context.Context) error {
	tick := time.NewTicker(learnEvery)
	defer tick.Stop()
	fixed := a.order.Load() == nil || len(*a.order.Load()) > 0
	var silent bool
	var first sync.Once
	for {
		err := a.learnTrunks(ctx)
		if !fixed {
			err = errors.Join(err, a.learnFields(ctx))
		}
		if err != nil && !silent && ctx.Err() == nil {
			a.log.Warn("the PBX does not tell all of its records, trying on", "error", err)
		}
		silent = err != nil
		first.Do(func() { close(a.learnt) })
		select {
		case <-tick.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (a *accounting) learnFields(ctx context.Context) error {
	fields, err := a.xapi.CDRFields(ctx)
	if err != nil || len(fields) == 0 {
		return fmt.Errorf("the order of the fields is not known, pbx.cdr.fields may name it: %w", cmp.Or(err, errNothing))
	}
	a.order.Store(&fields)
	return nil
}

var errNothing = errors.New("3CX names none")

func (a *accounting) learnTrunks(ctx context.Context) error {
	trunks, err := a.xapi.Trunks(ctx)
	if err != nil {
		return fmt.Errorf("records show the numbers of trunks: %w", err)
	}
	names := map[string]string{}
	for _, t := range trunks {
		names[string(t.Number)] = t.Name
	}
	a.trunks.Store(&names)
	return nil
}

func (a *accounting) collectors() []prometheus.Collector {
	if a == nil {
		return nil
	}
	out := a.joiner.Collectors()
	if a.lines != nil {
		out = append(out, a.lines.Collectors()...)
	}
	if a.reconciler != nil {
		out = append(out, a.reconciler.Collectors()...)
	}
	return out
}
