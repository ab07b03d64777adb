package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"frontdesk/b2bua"
	"frontdesk/call"
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
	f.StringVar(&facts, "facts", "", "file with the facts of a record, instead of asking the CRM; the other flags, where given, replace what it says")
	return cmd
}

// explain decides by facts, by asking the server, or else by itself.
func explain(cmd *cobra.Command, o *options, cfg *config.Config, q web.Query, factsFile string) (routing.Decision, error) {
	if factsFile != "" {
		f, err := readFacts(factsFile)
		if err != nil {
			return routing.Decision{}, err
		}
		return decideBy(f, cfg, q, cmd.Flags().Changed)
	}
	if strings.TrimSpace(q.To) == "" {
		return routing.Decision{}, errors.New("--to wants the called number")
	}
	var err error
	if q.Trunk, err = trunkOf(cfg, q.Trunk); err != nil {
		return routing.Decision{}, err
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
	_, d := b2bua.NewAgent(deps, x.equip(settings)).Explain(ctx, b2bua.Query(q))
	return d, nil
}

// trunkOf is the trunk that a question is about: where there is one it needs no
// name.
func trunkOf(cfg *config.Config, name string) (string, error) {
	switch {
	case name == "" && len(cfg.Trunks) == 1:
		return cfg.Trunks[0].Name, nil
	case name == "" || slices.ContainsFunc(cfg.Trunks, func(t config.Trunk) bool { return t.Name == name }):
		return name, nil
	}
	return "", fmt.Errorf("trunk: there is no trunk %q", name)
}

// decideBy decides by facts. What the question names itself, by a flag that is
// given, stands in the place of the fact: what if it had been another number?
func decideBy(f routing.Facts, cfg *config.Config, q web.Query, given func(flag string) bool) (routing.Decision, error) {
	if given("from") {
		f.Caller = call.ParseNumber(q.From, cfg.Country)
		f.Anonymous = f.Caller == ""
	}
	if given("to") {
		f.DID = call.ParseNumber(q.To, cfg.Country)
	}
	if given("at") {
		f.At = q.At.In(cfg.Zone)
	}
	if f.At.IsZero() {
		f.At = time.Now().In(cfg.Zone)
	}
	if f.DID == "" {
		return routing.Decision{}, errors.New("--to wants the called number: the facts do not tell it")
	}
	trunk, err := trunkOf(cfg, cmp.Or(q.Trunk, f.Trunk))
	if err != nil {
		return routing.Decision{}, err
	}
	f.Trunk = trunk
	return cfg.Plan.Decide(f), nil
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
