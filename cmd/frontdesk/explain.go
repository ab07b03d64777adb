package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"frontdesk/b2bua"
	"frontdesk/cmd/frontdesk/config"
	"frontdesk/routing"
	"frontdesk/web"
)

func newExplain(o *options) *cobra.Command {
	var q web.Query
	var at, facts string
	cmd := &cobra.Command{
		Use:   "explain --from NUMBER --to DID",
		Short: "Decide a call without making it, and show every step",
		Long: "Decide a call without making it, and show every step. Where frontdesk serves by the same configuration it is\n" +
			"asked, and decides as it would a call now. Else this is by the file: without sticky bindings and the mirror.",
		Args: cobra.NoArgs,
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
			d, err := explain(cmd, o, cfg, q, facts)
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

// explain decides by facts, by asking the server, or else by itself.
func explain(cmd *cobra.Command, o *options, cfg *config.Config, q web.Query, factsFile string) (routing.Decision, error) {
	if factsFile != "" {
		f, err := readFacts(factsFile)
		if err != nil {
			return routing.Decision{}, err
		}
		return cfg.Plan.Decide(f), nil
	}
	if strings.TrimSpace(q.To) == "" {
		return routing.Decision{}, errors.New("--to wants the called number")
	}
	s, err := seek(cmd, o, cfg)
	if err != nil {
		return routing.Decision{}, err
	}
	if s != nil {
		d, err := s.Explain(cmd.Context(), q)
		return d, finding(err)
	}
	return explainAlone(cmd.Context(), cfg, q)
}

// explainAlone decides by the configuration and the portal, without anything
// that a server holds.
func explainAlone(ctx context.Context, cfg *config.Config, q web.Query) (routing.Decision, error) {
	quiet := slog.New(slog.DiscardHandler)
	portal, end, err := openPortal(ctx, cfg, quiet)
	if err != nil {
		return routing.Decision{}, err
	}
	defer end()
	settings, err := newSettings(cfg, b2bua.NewNodes(cfg.PBX.SIP, quiet))
	if err != nil {
		return routing.Decision{}, err
	}
	x, err := askExchange(ctx, cfg, quiet)
	if err != nil {
		return routing.Decision{}, err
	}
	deps := b2bua.Deps{Logger: quiet}
	if portal != nil {
		deps.Directory, deps.Staff = portal, portal
	}
	return decide(ctx, b2bua.NewAgent(deps, x.equip(settings)), cfg, q), nil
}

// decide has an agent decide a call that is not made. Where there is one trunk
// it comes by that.
func decide(ctx context.Context, agent *b2bua.Agent, cfg *config.Config, q web.Query) routing.Decision {
	if q.Trunk == "" && len(cfg.Trunks) == 1 {
		q.Trunk = cfg.Trunks[0].Name
	}
	_, d := agent.Explain(ctx, b2bua.Query(q))
	return d
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
