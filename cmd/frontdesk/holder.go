package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"frontdesk/cmd/frontdesk/config"
	"frontdesk/crm"
	"frontdesk/store"
	"frontdesk/web"
)

// holder looks for the server that holds the store of a configuration: it runs
// by its file, be it as it was earlier. nil: there is none.
func holder(cmd *cobra.Command, o *options, cfg *config.Config) (*server, error) {
	s, err := findServer(cmd.Context(), cfg, o.config)
	switch {
	case err != nil:
		return nil, &exitError{exitFindings, err}
	case s.standing == ours || s.standing == outdated:
		return s, nil
	}
	return nil, nil
}

// seek looks for the server that works by a configuration as it is. nil: the
// command works by itself, and leaves most of the portal's limit to a server
// that runs by another, of which people are told.
func seek(cmd *cobra.Command, o *options, cfg *config.Config) (*server, error) {
	s, err := findServer(cmd.Context(), cfg, o.config)
	switch {
	case err != nil:
		return nil, &exitError{exitFindings, err}
	case s.standing == ours:
		return s, nil
	case s.standing != absent:
		modest(&cfg.CRM.Bitrix24.Rate)
		fmt.Fprintln(cmd.ErrOrStderr(), "frontdesk:", printable(s.remark()))
	}
	return nil, nil
}

// modest leaves most of the portal's limit to a frontdesk that serves: the
// limit is counted for both together.
func modest(r *config.Rate) {
	r.PerSecond, r.Burst = max(r.PerSecond/2, 1), max(r.Burst/5, 1)
}

// own is what a command works with that holds the store itself.
type own struct {
	cfg      *config.Config
	store    *store.Store
	portal   *crm.Client // nil: none is configured
	log      *slog.Logger
	progress func(web.Progress)
}

// byHolder has a thing done by whoever holds the store: the server, if there is
// one, which is asked, else this process, alone. asked is nil for what no server
// does. A bar shows how far it is.
func byHolder[T any](cmd *cobra.Command, o *options, cfg *config.Config,
	asked func(s *server, ctx context.Context, progress func(web.Progress)) (T, error), alone func(ctx context.Context, w own) (T, error)) (out T, err error) {
	ctx, bars := cmd.Context(), &bars{w: cmd.ErrOrStderr()}
	defer bars.end()
	if asked != nil {
		s, err := holder(cmd, o, cfg)
		if err != nil {
			return out, err
		}
		if s != nil {
			return asked(s, ctx, bars.show)
		}
	}
	w := own{cfg: cfg, log: newLogger(cfg.Log, cmd.ErrOrStderr()), progress: bars.show}
	if w.store, err = store.Open(ctx, cfg.Store.Reveal(), store.Options{Logger: w.log, Node: nodeName()}); err != nil {
		return out, &exitError{exitFindings, err}
	}
	defer func() { err = errors.Join(err, w.store.Close()) }()
	if w.portal, err = newPortal(cfg, w.store, w.log); err != nil {
		return out, err
	}
	if w.portal != nil {
		defer w.portal.Close()
	}
	return alone(ctx, w)
}
