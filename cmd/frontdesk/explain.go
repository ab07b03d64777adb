package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/spf13/cobra"

	"frontdesk/b2bua"
	"frontdesk/cmd/frontdesk/config"
	"frontdesk/routing"
)

func newExplain(o *options) *cobra.Command {
	var q b2bua.Query
	var at, facts string
	cmd := &cobra.Command{
		Use:   "explain --from NUMBER --to DID",
		Short: "Decide a call without making it, and show every step",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := load(o, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			if at != "" {
				if q.At, err = time.Parse(time.RFC3339, at); err != nil {
					return fmt.Errorf("--at wants a time such as 2026-03-01T12:00:00+03:00, not %q", at)
				}
			}
			d, err := explain(cmd.Context(), cfg, q, facts)
			if err != nil {
				return err
			}
			if o.json {
				err = printJSON(cmd.OutOrStdout(), d)
			} else {
				err = d.WriteText(cmd.OutOrStdout())
			}
			if err == nil && d.Outcome == "no_rule" {
				return &exitError{code: exitFindings}
			}
			return err
		},
	}
	f := cmd.Flags()
	f.StringVar(&q.From, "from", "", "calling number; empty: anonymous")
	f.StringVar(&q.To, "to", "", "called number")
	f.StringVar(&q.Trunk, "trunk", "", "trunk the call comes in by (needed where there are several)")
	f.StringVar(&at, "at", "", "moment of the call, RFC 3339 (default now)")
	f.StringVar(&facts, "facts", "", "file with the facts of a record, instead of asking the CRM")
	return cmd
}

func explain(ctx context.Context, cfg *config.Config, q b2bua.Query, factsFile string) (routing.Decision, error) {
	if factsFile != "" {
		f, err := readFacts(factsFile)
		if err != nil {
			return routing.Decision{}, err
		}
		return cfg.Plan.Decide(f), nil
	}
	if q.Trunk == "" && len(cfg.Trunks) == 1 {
		q.Trunk = cfg.Trunks[0].Name
	}
	quiet := slog.New(slog.DiscardHandler)
	directory, err := newDirectory(cfg, quiet)
	if err != nil {
		return routing.Decision{}, err
	}
	settings, err := newSettings(cfg, newNumbers(cfg), b2bua.NewNodes(cfg.PBX.SIP, quiet))
	if err != nil {
		return routing.Decision{}, err
	}
	deps := b2bua.Deps{Logger: quiet}
	if directory != nil {
		defer directory.Close()
		deps.Directory, deps.Staff = directory, directory
	}
	_, d := b2bua.NewAgent(deps, settings).Explain(ctx, q)
	return d, nil
}

func readFacts(path string) (routing.Facts, error) {
	var f routing.Facts
	b, err := os.ReadFile(path)
	if err != nil {
		return f, err
	}
	if err := json.Unmarshal(b, &f); err != nil {
		return f, fmt.Errorf("%s: no facts of a record: %w", path, err)
	}
	return f, nil
}
