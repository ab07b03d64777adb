package main

import (
	"context"
	"fmt"
	"log/slog"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"frontdesk/b2bua"
	"frontdesk/call"
	"frontdesk/cmd/frontdesk/config"
	"frontdesk/pbx"
	"frontdesk/routing"
)

// exchange is what 3CX's own interfaces tell while serving: its numbers, the
// state of its users, its calls. Without pbx.xapi there are the numbers of the
// configuration alone. It has the one client of the process: 3CX lets one token
// live at a time.
type exchange struct {
	cfg       atomic.Pointer[config.Config] // in force: its numbers hold where 3CX gives none
	xapi      *pbx.Client                   // nil without pbx.xapi, as the others
	directory *pbx.Directory
	control   *pbx.CallControl
	log       *slog.Logger
}

// newExchange knows the numbers of the configuration.
func newExchange(cfg *config.Config, log *slog.Logger) *exchange {
	x := &exchange{log: log}
	x.cfg.Store(cfg)
	return x
}

// connect makes the parts that speak with 3CX, if xapi is not nil; state keeps
// the last list, and ended is told the calls that call control has seen end.
func (x *exchange) connect(xapi *pbx.Client, state pbx.StateStore, ended func(pbx.Call)) {
	if xapi == nil {
		return
	}
	cfg := x.cfg.Load()
	x.xapi = xapi
	x.directory = pbx.NewDirectory(pbx.DirectoryConfig{
		Lister: xapi, Store: state, Refresh: cfg.PBX.XAPI.Refresh, Changed: x.lint, Logger: x.log,
	})
	x.control = pbx.NewCallControl(pbx.CallControlConfig{Client: xapi, Country: cfg.Country, Ended: ended, Logger: x.log})
}

// numbers are 3CX's own, else those that the configuration lists.
func (x *exchange) numbers() call.Numbers {
	if x.directory != nil {
		if n := x.directory.Numbers(); len(n.Extensions) > 0 {
			return n
		}
	}
	cfg := x.cfg.Load()
	return call.Numbers{Extensions: cfg.PBX.Extensions, Queues: cfg.PBX.Queues}
}

// known are the numbers as far as they are certain: none where 3CX has them and
// has not given them yet.
func (x *exchange) known() call.Numbers {
	if n := x.numbers(); x.cfg.Load().PBX.XAPI == nil || x.directory != nil && len(x.directory.Numbers().Extensions) > 0 {
		return n
	}
	return call.Numbers{}
}

// follows reports whether call control will tell of the calls of a number.
func (x *exchange) follows(n call.Extension) bool { return x.control != nil && x.control.Follows(n) }

// equip gives calls what they ask of the PBX.
func (x *exchange) equip(s *b2bua.Settings) *b2bua.Settings {
	s.PBX.Numbers = x.numbers
	if x.directory != nil {
		s.PBX.Unavailable = x.directory.Unavailable
	}
	return s
}

// lint tells which rules do not fit the numbers: the file alone could not know.
func (x *exchange) lint(n call.Numbers) {
	_, problems := routing.Compile(config.Dialplan(x.cfg.Load(), n))
	for _, p := range problems {
		x.log.Warn("the dialplan does not fit the PBX's numbers", "at", p.Path, "problem", p.Message)
	}
}

// load takes the last list of numbers out of the store, before the first call.
func (x *exchange) load(ctx context.Context) {
	if x.directory == nil {
		return
	}
	const patience = 2 * time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := x.directory.Load(ctx); err != nil {
		x.log.WarnContext(ctx, "the numbers of the configuration hold until 3CX answers", "error", err)
	}
}

// run keeps the numbers fresh and follows the calls.
func (x *exchange) run(ctx context.Context, g *errgroup.Group) {
	if x.xapi == nil {
		return
	}
	running, done := errgroup.WithContext(ctx)
	running.Go(func() error { return x.directory.Run(done) })
	running.Go(func() error { return x.control.Run(done) })
	g.Go(func() error {
		defer x.xapi.Close()
		return running.Wait()
	})
}

func (x *exchange) collectors() []prometheus.Collector {
	if x.xapi == nil {
		return nil
	}
	return append(x.directory.Collectors(), x.control.Collectors()...)
}

// askExchange asks 3CX once, for a command. An error says that it did not
// answer and the configuration lists no numbers either: a decision without them
// would be another.
func askExchange(ctx context.Context, cfg *config.Config, log *slog.Logger) (*exchange, error) {
	x := newExchange(cfg, log)
	xapi, err := newXAPI(cfg, log)
	if err != nil || xapi == nil {
		return x, err
	}
	defer xapi.Close()
	x.connect(xapi, nil, nil)
	const patience = 10 * time.Second
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := x.directory.Refresh(ctx); err != nil && len(x.numbers().Extensions) == 0 {
		return nil, &exitError{exitFindings, fmt.Errorf("the numbers of 3CX cannot be read, see frontdesk 3cx check: %w", err)}
	}
	return x, nil
}
