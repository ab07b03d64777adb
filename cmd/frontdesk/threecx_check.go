package main

import (
	"cmp"
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"

	"github.com/spf13/cobra"

	"frontdesk/cmd/frontdesk/config"
	"frontdesk/pbx"
)

func newThreeCXCheck(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "check",
		Short: "Try all that is used of 3CX's own interfaces, and say what to click where it does not work",
		Long: "Try all that is used of 3CX's own interfaces, change nothing, and say what to click in 3CX where something does not work.\n" +
			"Without a licence or with fewer rights frontdesk does what the rest allows; the status is 1 if anything is missing.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := load(o, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			checks, err := probePBX(cmd.Context(), cfg)
			if err != nil {
				return err
			}
			if err := writePBXChecks(cmd.OutOrStdout(), checks, o.json); err != nil {
				return err
			}
			if slices.ContainsFunc(checks, func(c pbx.Check) bool { return c.State != pbx.StateOK }) {
				return &exitError{code: exitFindings}
			}
			return nil
		},
	}
}

// probePBX tries 3CX's interfaces. A server that runs gets a new token by
// itself where this takes its own.
func probePBX(ctx context.Context, cfg *config.Config) ([]pbx.Check, error) {
	xapi, err := newXAPI(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	if xapi == nil {
		return nil, errors.New("3CX's configuration API is not configured: set pbx.xapi")
	}
	defer xapi.Close()
	return xapi.Probe(ctx), nil
}

func writePBXChecks(w io.Writer, checks []pbx.Check, asJSON bool) error {
	if asJSON {
		return printJSON(w, map[string][]pbx.Check{"checks": checks})
	}
	t := newTable(w)
	for _, c := range checks {
		t.row(string(c.State), c.Name, cmp.Or(c.Detail, "-"))
		if c.Advice != "" {
			t.row("", "", c.Advice)
		}
	}
	return t.end()
}
