package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"runtime"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/api/option"

	"frontdesk/call"
	"frontdesk/cmd/frontdesk/config"
	"frontdesk/media"
	"frontdesk/tts"
)

// newPrompts makes the store of greetings. An engine that cannot be had is
// done without: recorded and cached prompts still play.
func newPrompts(ctx context.Context, cfg *config.Config, log *slog.Logger) (*tts.Store[*media.Clip], error) {
	g := cfg.Greeting
	c := tts.Config{Language: g.Language, Voice: g.Voice, Dir: g.Cache, Logger: log, Engines: engines(ctx, g, log)}
	if g.Recorded != "" {
		recorded, err := tts.OpenPrompts(g.Recorded)
		if err != nil {
			return nil, fmt.Errorf("greeting.recorded: %w", err)
		}
		c.Prompts = recorded
	}
	if g.Before != "" {
		before, err := tts.LoadWAV(g.Before)
		if err != nil {
			return nil, fmt.Errorf("greeting.before: %w", err)
		}
		c.Before = before
	}
	return tts.NewStore(c, media.NewClip)
}

// engines are the configured engine and, behind it, espeak-ng.
func engines(ctx context.Context, g config.Greeting, log *slog.Logger) []tts.Engine {
	var out []tts.Engine
	if g.Engine == "google" {
		e, err := tts.NewGoogle(ctx, googleConfig(g.Google))
		if err != nil {
			log.Error("google text to speech cannot be used", "error", err)
		} else {
			out = append(out, e)
		}
	}
	if g.Engine != "none" {
		e, err := tts.NewEspeak("")
		if err != nil {
			log.Warn("espeak-ng cannot be used", "error", err)
		} else {
			out = append(out, e)
		}
	}
	return out
}

func googleConfig(g config.Google) tts.GoogleConfig {
	c := tts.GoogleConfig{ServiceAccount: g.Credentials}
	if g.Endpoint != "" {
		c.Options = append(c.Options, option.WithEndpoint(g.Endpoint))
	}
	return c
}

// greetings are the texts of all employees that a call can go to.
func greetings(cfg *config.Config, employees map[int]call.Employee) ([]string, error) {
	var texts []string
	for _, e := range employees {
		if e.Extension == "" || e.Dismissed {
			continue
		}
		text, err := cfg.Greeting.Say(e)
		if err != nil {
			return nil, err
		}
		texts = append(texts, text)
	}
	return texts, nil
}

// How often changed names are looked for, in memory: soon at first, until
// there are employees at all.
const (
	prerenderEvery = 5 * time.Second
	prerenderFirst = 50 * time.Millisecond
)

// prerender renders every employee's greeting ahead, and the announcement of
// recordings, at the start and when they change, so that no call has to wait for
// them. It calls first once it has
// done so for the first time.
func (s *system) prerender(ctx context.Context, first func()) error {
	known := map[string]bool{}
	tick := time.NewTicker(prerenderFirst)
	defer tick.Stop()
	for {
		cfg := s.live.Load().cfg
		var employees map[int]call.Employee
		if s.crm != nil {
			employees = s.crm.Employees()
		}
		texts, err := greetings(cfg, employees)
		if err != nil {
			s.log.Error("greetings cannot be rendered ahead", "error", err)
		}
		if text := cfg.Recordings.Announce; cfg.Recordings.Mode != "off" && text != "" && (len(texts) > 0 || s.crm == nil) {
			texts = append(texts, text)
		}
		var fresh []string
		for _, t := range texts {
			if !known[t] {
				known[t] = true
				fresh = append(fresh, t)
			}
		}
		if len(fresh) > 0 {
			if err := s.prompts.Prerender(ctx, fresh, func(int, int) {}); err == nil {
				s.log.Info("greetings rendered ahead", "texts", len(fresh))
			} else if ctx.Err() == nil {
				s.log.Warn("not all greetings could be rendered ahead: calls may have none, it is tried again", "texts", len(fresh), "error", err, "again_in", prerenderEvery)
				for _, t := range fresh {
					delete(known, t)
				}
			}
			first()
			tick.Reset(prerenderEvery)
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
	}
}

func newTTS(o *options) *cobra.Command {
	cmd := &cobra.Command{Use: "tts", Short: "Spoken greetings"}
	cmd.AddCommand(&cobra.Command{
		Use:   "render",
		Short: "Render every employee's greeting ahead",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := load(o, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			return renderAll(cmd.Context(), cfg, cmd.OutOrStdout(), newLogger(cfg.Log, cmd.ErrOrStderr()))
		},
	})
	return cmd
}

func renderAll(ctx context.Context, cfg *config.Config, w io.Writer, log *slog.Logger) error {
	directory, end, err := openPortal(ctx, cfg, log)
	if err != nil {
		return err
	}
	if directory == nil {
		return fmt.Errorf("%s; there are no employees to greet for", noPortal)
	}
	defer end()
	if err := directory.LoadEmployees(ctx); err != nil {
		return err
	}
	texts, err := greetings(cfg, directory.Employees())
	if err != nil {
		return err
	}
	prompts, err := newPrompts(ctx, cfg, log)
	if err != nil {
		return err
	}
	defer func() { _ = prompts.Close() }()
	err = prompts.Prerender(ctx, texts, func(done, total int) { fmt.Fprintf(w, "\r%d of %d greetings", done, total) })
	fmt.Fprintln(w)
	return err
}

func goroutines() float64 { return float64(runtime.NumGoroutine()) }
