package main

import (
	"context"
	"errors"
	"os"
	"os/signal"
	"runtime/debug"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
)

func newServe(o *options) *cobra.Command {
	var drain time.Duration
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Take calls until SIGTERM; SIGHUP reads the configuration again",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := load(o, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			log := newLogger(cfg.Log, cmd.ErrOrStderr())
			tuneGC()
			s, err := newSystem(cmd.Context(), cfg, o.config, log, nil)
			if err != nil {
				return &exitError{exitConfig, err}
			}
			return serve(cmd.Context(), s, drain)
		},
	}
	cmd.Flags().DurationVar(&drain, "drain", 2*time.Minute, "how long calls may go on after SIGTERM")
	return cmd
}

// tuneGC lets the heap grow to four times what is in use before it is swept:
// a call leaves some 20 kB of garbage, next to nothing that lives, and the
// collector would take a tenth of the CPU for memory nobody needs. GOGC in the
// environment has the last word.
func tuneGC() {
	const percent = 300
	if _, set := os.LookupEnv("GOGC"); !set {
		debug.SetGCPercent(percent)
	}
}

// serve runs s until ctx ends, then lets the calls end by themselves for the
// drain time. A second signal ends the program at once: the first one restored
// the default.
func serve(ctx context.Context, s *system, drain time.Duration) error {
	s.announce()
	running, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	done := make(chan error, 1)
	go func() { done <- s.Run(running) }()

	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	for {
		select {
		case err := <-done:
			return err
		case <-hup:
			_, _ = s.Reload() // it logs what it did not like
		case <-ctx.Done():
			signal.Reset(os.Interrupt, syscall.SIGTERM)
			s.Drain()
			s.log.Info("draining", "calls", s.stack.Active(), "for", drain)
			s.drained(done, drain)
			stop()
			if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
				return err
			}
			return nil
		}
	}
}

// announce says what serves, and where.
func (s *system) announce() {
	cfg := s.live.Load().cfg
	trunks := make([]string, 0, len(cfg.Trunks))
	for _, t := range cfg.Trunks {
		trunks = append(trunks, t.Name)
	}
	kind, _, _ := strings.Cut(cfg.Store.Reveal(), ":")
	s.log.Info("frontdesk takes calls", "version", version(), "sip", cfg.SIP.Listen, "http", cfg.HTTP.Listen,
		"trunks", trunks, "rules", len(cfg.Rules), "pbx", cfg.PBX.SIP, "store", kind)
}

// drained waits for the last call to end, or for the drain time.
func (s *system) drained(done chan error, drain time.Duration) {
	over := time.After(drain)
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for s.stack.Active() > 0 {
		select {
		case <-tick.C:
		case <-over:
			s.log.Warn("calls cut off at the end of the drain time", "calls", s.stack.Active())
			return
		case err := <-done:
			done <- err
			return
		}
	}
}
