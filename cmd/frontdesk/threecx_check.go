package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"slices"

	"github.com/spf13/cobra"

	"frontdesk/cmd/frontdesk/config"
	"frontdesk/pbx"
	"frontdesk/web"
)

func newThreeCXCheck(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "check",
		Short: "Try all that is used of 3CX's own interfaces, and say what to click where it does not work",
		Long: "Try all that is used of 3CX's own interfaces, change nothing, and say what to click in 3CX where something does not work.\n" +
			"Without a licence or with fewer rights frontdesk does what the rest allows; the status is 1 if anything is missing.\n" +
			"Where frontdesk serves by the same configuration it is asked to do that: 3CX lets one token live at a time.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := load(o, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			checks, err := probePBX(cmd, o, cfg)
			if err != nil {
				return err
			}
			if err := writePBXChecks(cmd.OutOrStdout(), checks, o.json); err != nil {
				return err
			}
			if slices.ContainsFunc(checks, func(c web.ExchangeCheck) bool { return c.State != string(pbx.StateOK) }) {
				return &exitError{code: exitFindings}
			}
			return nil
		},
	}
}

const noXAPI = "3CX's configuration API is not configured: set pbx.xapi"

// probePBX has 3CX's interfaces tried: by the server that runs by the
// configuration, which has the one token, else by this process.
func probePBX(cmd *cobra.Command, o *options, cfg *config.Config) ([]web.ExchangeCheck, error) {
	if cfg.PBX.XAPI == nil {
		return nil, errors.New(noXAPI)
	}
	s, err := seek(cmd, o, cfg)
	if err != nil {
		return nil, err
	}
	if s != nil {
		checks, err := s.Probe(cmd.Context())
		return checks, finding(err)
	}
	xapi, err := newXAPI(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	defer xapi.Close()
	return exchangeTools{xapi}.Probe(cmd.Context())
}

// exchangeTools looks at the PBX: within serve for whoever asks its API, else
// for one command.
type exchangeTools struct{ xapi *pbx.Client } // nil: none

// Probe tries all that is used of 3CX's interfaces.
func (t exchangeTools) Probe(ctx context.Context) ([]web.ExchangeCheck, error) {
	if t.xapi == nil {
		return nil, fmt.Errorf("%w: %s", web.ErrNotHere, noXAPI)
	}
	var out []web.ExchangeCheck
	for _, c := range t.xapi.Probe(ctx) {
		out = append(out, web.ExchangeCheck{Name: c.Name, State: string(c.State), Detail: c.Detail, Advice: c.Advice})
	}
	return out, nil
}

// Probe has the server try 3CX's interfaces.
func (s *server) Probe(ctx context.Context) ([]web.ExchangeCheck, error) {
	var out struct{ Checks []web.ExchangeCheck }
	err := s.ask(ctx, http.MethodPost, "/api/v1/3cx/check", nil, nil, &out)
	return out.Checks, err
}

func writePBXChecks(w io.Writer, checks []web.ExchangeCheck, asJSON bool) error {
	if asJSON {
		return printJSON(w, map[string][]web.ExchangeCheck{"checks": checks})
	}
	t := newTable(w)
	for _, c := range checks {
		t.row(c.State, c.Name, cmp.Or(c.Detail, "-"))
		if c.Advice != "" {
			t.row("", "", c.Advice)
		}
	}
	return t.end()
}
