package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"golang.org/x/sync/errgroup"

	"frontdesk/b2bua"
	"frontdesk/cmd/frontdesk/config"
	"frontdesk/crm"
	"frontdesk/media"
	"frontdesk/routing"
	"frontdesk/sip"
	"frontdesk/store"
	"frontdesk/tts"
	"frontdesk/web"
)

// system is everything that serve runs, wired from one configuration. Nothing
// in it knows the others but through what is passed in here.
type system struct {
	log *slog.Logger

	signalling
	media   *media.Engine
	crm     *crm.Client // nil without a portal
	pbx     *exchange
	prompts *tts.Store[*media.Clip]
	agent   *b2bua.Agent
	web     *web.Server
	*state

	reloading
	ready atomic.Bool
}

// reloading is what a reload reads and changes.
type reloading struct {
	path  string // of the configuration
	live  atomic.Pointer[live]
	moved chan *b2bua.Nodes // nodes to probe after a reload
}

// signalling is the stack and the accounts it keeps registered, by trunk.
type signalling struct {
	stack    *sip.Stack
	accounts map[string]*sip.Registration
}

// live is what a reload replaces.
type live struct {
	cfg   *config.Config
	nodes *b2bua.Nodes
}

// newSystem binds the sockets and builds the parts; Run makes them work. path
// is the file that a reload reads.
func newSystem(ctx context.Context, cfg *config.Config, path string, log *slog.Logger, tap func(sip.Packet)) (*system, error) {
	s := &system{log: log, reloading: reloading{path: path, moved: make(chan *b2bua.Nodes, 1)}}
	nodes := b2bua.NewNodes(cfg.PBX.SIP, log)
	s.live.Store(&live{cfg: cfg, nodes: nodes})

	listeners, err := listen(ctx, cfg)
	if err != nil {
		return nil, err
	}
	st, err := openStore(ctx, cfg, log)
	if err == nil {
		if err = s.build(ctx, cfg, st, nodes, listeners, tap); err == nil {
			return s, nil
		}
		err = errors.Join(err, st.Close())
	}
	for _, l := range listeners {
		err = errors.Join(err, l.Close())
	}
	return nil, err
}

func (s *system) build(ctx context.Context, cfg *config.Config, st *store.Store, nodes *b2bua.Nodes, listeners []sip.Listener, tap func(sip.Packet)) error {
	var err error
	if s.media, err = newMedia(cfg, listeners, s.log); err != nil {
		return err
	}
	if err := s.remember(ctx, cfg, st); err != nil {
		return err
	}
	s.state.load(ctx, s.log)
	s.pbx.load(ctx)
	if s.prompts, err = newPrompts(ctx, cfg, s.log); err != nil {
		return err
	}
	settings, err := newSettings(cfg, nodes)
	if err != nil {
		return err
	}
	deps := b2bua.Deps{Prompts: s.prompts, Media: s.media, Logger: s.log}
	if s.crm != nil {
		deps.Directory, deps.Staff = s.crm, s.crm
	}
	s.state.deps(&deps, cfg)
	if s.tapes != nil {
		deps.Recorder = recorder{s.tapes, s.media}
	}
	s.agent = b2bua.NewAgent(deps, s.pbx.equip(settings))
	s.accounting.watch(watchers{passing: s.agent.Passing, follows: s.pbx.follows})
	if err := s.signal(ctx, cfg, listeners, tap); err != nil {
		return err
	}
	s.web, err = s.newWeb(ctx, cfg)
	return err
}

// remember makes the portal's client and what is kept over the calls.
func (s *system) remember(ctx context.Context, cfg *config.Config, st *store.Store) error {
	var err error
	if s.crm, err = newPortal(cfg, st, s.log); err != nil {
		return err
	}
	s.pbx = newExchange(cfg, s.log)
	s.state, err = newState(ctx, cfg, st, s.crm, s.pbx.numbers, s.log)
	if err == nil {
		s.pbx.connect(s.contacts.xapi, st, s.accounting.seen)
	}
	return err
}

// signal makes the stack that the calls come in by.
func (s *system) signal(ctx context.Context, cfg *config.Config, listeners []sip.Listener, tap func(sip.Packet)) error {
	var err error
	s.stack, err = sip.New(sip.Config{
		Listeners: listeners, Advertise: cfg.SIP.Advertise, UserAgent: "frontdesk", MaxCalls: cfg.SIP.MaxCalls,
		UnknownSource: unknown(cfg.SIP.UnknownSource), Logger: s.log, Tap: tap,
	}, s.agent)
	if err != nil {
		return err
	}
	s.agent.Attach(s.stack)
	peers, err := newPeers(ctx, cfg)
	if err != nil {
		return err
	}
	if err := s.stack.SetPeers(peers); err != nil {
		return err
	}
	s.accounting.peers(peers)
	s.accounts = s.registrations(cfg)
	return nil
}

// listen binds every listener, or none.
func listen(ctx context.Context, cfg *config.Config) ([]sip.Listener, error) {
	var certificate *tls.Config
	if t := cfg.SIP.TLS; t != nil {
		pair, err := tls.LoadX509KeyPair(t.Cert, t.Key)
		if err != nil {
			return nil, fmt.Errorf("sip.tls: %w", err)
		}
		certificate = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}
	}
	var out []sip.Listener
	for _, uri := range cfg.SIP.Listen {
		l, err := sip.Listen(ctx, uri, certificate)
		if err != nil {
			err = fmt.Errorf("sip.listen %s: %w", uri, err)
			for _, open := range out {
				err = errors.Join(err, open.Close())
			}
			return nil, err
		}
		out = append(out, l)
	}
	return out, nil
}

// newMedia puts the audio on the address of the first listener.
func newMedia(cfg *config.Config, listeners []sip.Listener, log *slog.Logger) (*media.Engine, error) {
	bind := listeners[0].Addr().Addr()
	advertise := bind
	if cfg.SIP.Advertise != "" {
		a, err := netip.ParseAddr(cfg.SIP.Advertise)
		if err != nil {
			return nil, fmt.Errorf("sip.advertise: %w", err)
		}
		advertise = a
	}
	return media.NewEngine(media.Config{
		Bind: bind, Advertise: advertise,
		Ports:   media.PortRange{First: cfg.Media.Ports.First, Last: cfg.Media.Ports.Last},
		Silence: media.Silence{Talking: cfg.Media.Silence, Held: cfg.Media.HoldSilence},
		Logger:  log,
	})
}

func (s *system) newWeb(ctx context.Context, cfg *config.Config) (*web.Server, error) {
	registry := prometheus.NewRegistry()
	runtime := []prometheus.Collector{collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{})}
	if err := register(registry, runtime, s.metrics()); err != nil {
		return nil, err
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", cfg.HTTP.Listen)
	if err != nil {
		return nil, fmt.Errorf("http.listen: %w", err)
	}
	server, err := web.New(web.Config{
		Listener: l, Token: cfg.HTTP.Token.Reveal(), Version: version(), Logger: s.log, Metrics: registry,
		Calls: web.NewHistory(s.ring, archive{s.store}, s.log), Retrier: s.calls, Explainer: s, Reloader: s, Health: s, Tools: s.tools(), Foreign: web.Foreign{Hooks: s.state.hooks(cfg, s.crm), Linked: s.tapes.handler()},
	})
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	return server, register(registry, server.Collectors())
}

// metrics are those of all parts but the web server.
func (s *system) metrics() []prometheus.Collector {
	out := slices.Concat(registered(s.accounts), s.agent.Collectors(), s.stack.Collectors(), s.media.Collectors(), s.prompts.Collectors(),
		s.state.collectors(), s.pbx.collectors(), s.collectors())
	if s.crm != nil {
		out = append(out, s.crm.Collectors()...)
	}
	return out
}

func register(r *prometheus.Registry, sets ...[]prometheus.Collector) error {
	for _, c := range slices.Concat(sets...) {
		if err := r.Register(c); err != nil {
			return fmt.Errorf("metrics: %w", err)
		}
	}
	return nil
}

func unknown(word string) sip.Unknown {
	if word == "refuse" {
		return sip.Refuse
	}
	return sip.Ignore
}

// Run serves until ctx ends.
func (s *system) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.media.Run(ctx) })
	g.Go(func() error { return s.stack.Run(ctx) })
	g.Go(func() error { return s.web.Run(ctx) })
	g.Go(func() error { return s.probe(ctx) })
	for _, r := range s.accounts {
		g.Go(func() error { return r.Run(ctx) })
	}
	s.state.run(ctx, g)
	s.pbx.run(ctx, g)
	g.Go(func() error { return s.prerender(ctx, s.warm) })
	if s.crm == nil {
		s.ready.Store(true)
	} else {
		g.Go(func() error { return s.crm.Run(ctx) })
		late := time.AfterFunc(warmUp, s.warm)
		defer late.Stop()
	}
	return errors.Join(g.Wait(), s.prompts.Close(), s.calls.Close(), s.state.store.Close())
}

// warmUp is how long /readyz waits for the first greetings. Calls are taken
// from the start: one that comes earlier may miss its greeting, no more.
const warmUp = 5 * time.Second

// warm says that the greetings are rendered, or cannot be waited for.
func (s *system) warm() { s.ready.Store(true) }

// Drain refuses new calls; those in progress go on.
func (s *system) Drain() { s.stack.Drain() }

// probe watches the PBX's nodes, and after a reload the new ones.
func (s *system) probe(ctx context.Context) error {
	nodes := s.live.Load().nodes
	for ctx.Err() == nil {
		probing, stop := context.WithCancel(ctx)
		done := make(chan struct{})
		go func() {
			defer close(done)
			nodes.Run(probing, s.stack)
		}()
		select {
		case nodes = <-s.moved:
		case <-ctx.Done():
		}
		stop()
		<-done
	}
	return nil
}

// Reload reads the configuration again and puts it to use. One with errors
// changes nothing, and problems is what check would say of it; what is merely
// doubtful goes to the log.
func (s *system) Reload() (problems string, err error) {
	cfg, found := config.Load(s.path, os.LookupEnv)
	var text strings.Builder
	if err := found.WriteText(&text); err != nil {
		return "", err
	}
	if found.HasErrors() {
		s.log.Error("configuration not reloaded, the old one stays", "problems", text.String())
		return text.String(), nil
	}
	if len(found) > 0 {
		s.log.Warn("the new configuration is doubtful", "problems", text.String())
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := s.adopt(ctx, cfg); err != nil {
		s.log.Error("configuration not reloaded, the old one stays", "error", err)
		return "", err
	}
	return "", nil
}

func (s *system) adopt(ctx context.Context, cfg *config.Config) error {
	old := s.live.Load()
	peers, err := newPeers(ctx, cfg)
	if err != nil {
		return err
	}
	nodes := old.nodes
	if !sameNodes(cfg.PBX.SIP, old.cfg.PBX.SIP) {
		nodes = b2bua.NewNodes(cfg.PBX.SIP, s.log)
	}
	settings, err := newSettings(cfg, nodes)
	if err != nil {
		return err
	}
	if err := s.stack.SetPeers(peers); err != nil {
		return err
	}
	s.accounting.peers(peers)
	s.pbx.cfg.Store(cfg)
	s.agent.Reload(s.pbx.equip(settings))
	s.book.SetWindow(cfg.Sticky.Time)
	s.calls.cfg.Store(cfg)
	s.web.SetToken(cfg.HTTP.Token.Reveal())
	s.live.Store(&live{cfg: cfg, nodes: nodes})
	if nodes != old.nodes {
		s.moved <- nodes
	}
	s.log.Info("configuration reloaded", "rules", len(cfg.Rules), "needs_restart", old.cfg.Restart(cfg))
	return nil
}

func sameNodes(a, b []string) bool { return strings.Join(a, " ") == strings.Join(b, " ") }

// Ready tells whether calls are taken. A CRM or PBX in trouble is no reason to
// turn callers away: they reach the defaults.
func (s *system) Ready() (ok bool, why string) {
	switch {
	case s.stack.Draining():
		return false, "draining"
	case !s.ready.Load():
		return false, "starting"
	}
	return true, ""
}

// collectors are the metrics of no single part.
func (s *system) collectors() []prometheus.Collector {
	gauge := func(name, help string, f func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, f)
	}
	return []prometheus.Collector{
		gauge("frontdesk_rtp_ports_in_use", "UDP ports that call legs hold.",
			func() float64 { return float64(s.media.PortsInUse()) }),
		gauge("frontdesk_goroutines", "Goroutines of the process.", goroutines),
		gauge("frontdesk_pbx_nodes_up", "PBX nodes that answer.",
			func() float64 { return float64(s.live.Load().nodes.Up()) }),
	}
}

// Explain answers the API's question as a live call would be decided.
func (s *system) Explain(ctx context.Context, q web.Query) (routing.Decision, error) {
	trunk, err := trunkOf(s.live.Load().cfg, q.Trunk)
	if err != nil {
		return routing.Decision{}, fmt.Errorf("%w: %w", web.ErrInvalid, err)
	}
	q.Trunk = trunk
	_, d := s.agent.Explain(ctx, b2bua.Query(q))
	return d, nil
}
