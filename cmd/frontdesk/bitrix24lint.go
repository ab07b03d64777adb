package main

import (
	"context"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"frontdesk/call"
	"frontdesk/cmd/frontdesk/config"
	"frontdesk/crm"
	"frontdesk/routing"
)

func newBitrix24Lint(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "lint",
		Short: "Report what would misroute, before it does",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withPortal(cmd, o, func(ctx context.Context, cfg *config.Config, portal *crm.Client) error {
				s, err := snapshot(ctx, cfg, portal, cmd.ErrOrStderr())
				if err != nil {
					return err
				}
				findings := cfg.Plan.Audit(s)
				if err := writeFindings(cmd.OutOrStdout(), findings, o.json); err != nil {
					return err
				}
				if len(findings) > 0 {
					return &exitError{code: exitFindings}
				}
				return nil
			})
		},
	}
}

func writeFindings(w io.Writer, findings []routing.Finding, asJSON bool) error {
	if !asJSON {
		return routing.WriteFindings(w, findings)
	}
	return printJSON(w, struct {
		Findings []routing.Finding `json:"findings"`
	}{findings})
}

// snapshot reads the whole portal, with a progress bar on a terminal.
func snapshot(ctx context.Context, cfg *config.Config, portal *crm.Client, terminal io.Writer) (routing.Snapshot, error) {
	s := routing.Snapshot{At: time.Now(), Numbers: newNumbers(cfg)()}
	if cfg.PBX.XAPI != nil {
		s.Numbers = call.Numbers{} // the file does not know them
	}
	if err := portal.LoadEmployees(ctx); err != nil {
		return s, err
	}
	s.Employees = portal.Employees()
	progress, done := progressBar(terminal, "reading the portal")
	defer done()
	err := portal.ReadCards(ctx, progress, func(cards []call.Card) error {
		for _, c := range cards {
			s.Cards = append(s.Cards, auditCard(c, cfg.Country))
		}
		return nil
	})
	return s, err
}

func auditCard(c call.Card, country string) routing.AuditCard {
	out := routing.AuditCard{Entity: c.Entity}
	for _, stored := range c.Phones {
		n, why := crm.ReadStored(stored, country)
		out.Phones = append(out.Phones, routing.AuditPhone{Stored: stored, Number: n, Lost: lost(why)})
	}
	return out
}

// lost words why a number is not found by who calls from it.
func lost(why crm.Unsearchable) string {
	switch why {
	case "":
		return ""
	case crm.UnsearchableText:
		return "it holds letters, or no digits"
	case crm.UnsearchableShort:
		return "it is no full number"
	}
	return "the portal's search takes it for another number"
}

// progressBar draws on w if that is a terminal. done leaves the line.
func progressBar(w io.Writer, what string) (progress func(done, total int), done func()) {
	if !isTerminal(w) {
		return func(int, int) {}, func() {}
	}
	bar := progressbar.NewOptions(-1, progressbar.OptionSetWriter(w), progressbar.OptionSetDescription(what),
		progressbar.OptionShowCount(), progressbar.OptionClearOnFinish(), progressbar.OptionThrottle(100*time.Millisecond))
	progress = func(done, total int) {
		bar.ChangeMax(max(total, 1))
		_ = bar.Set(done) // a terminal that has gone shows nothing
	}
	return progress, func() { _ = bar.Finish() }
}

func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}
