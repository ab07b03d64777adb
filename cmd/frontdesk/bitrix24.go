package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"frontdesk/cmd/frontdesk/config"
	"frontdesk/crm"
	"frontdesk/routing"
	"frontdesk/store"
	"frontdesk/web"
)

func newBitrix24(o *options) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "bitrix24",
		Short: "Prepare and examine the portal",
		Long: "Prepare and examine the portal. Where frontdesk serves by the same configuration it is asked to do that, by its\n" +
			"API: it holds the tokens, and the portal's limit on requests. Else the command speaks with the portal itself.",
	}
	cmd.AddCommand(newBitrix24Setup(o), newBitrix24Check(o), newBitrix24Lint(o))
	return cmd
}

// withPortal gives do whoever takes care of the portal: the server that runs by
// the configuration, else this process. tokens says that the application's
// tokens are worth opening the store for. What goes wrong with the portal is a
// finding, not a fault of the configuration.
func withPortal(cmd *cobra.Command, o *options, tokens bool, do func(ctx context.Context, p web.Portal) error) error {
	cfg, err := load(o, cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	if b := cfg.CRM.Bitrix24; b.Webhook.Reveal() == "" && b.App == nil {
		return errors.New(noPortal)
	}
	s, err := seek(cmd, o, cfg)
	if err != nil {
		return err
	}
	if s != nil {
		return finding(do(cmd.Context(), s))
	}
	tools := portalTools{config: func() *config.Config { return cfg }, numbers: newExchange(cfg, slog.New(slog.DiscardHandler)).known}
	if tokens || cfg.CRM.Bitrix24.Webhook.Reveal() != "" {
		client, end, err := openPortal(cmd.Context(), cfg, slog.New(slog.DiscardHandler))
		if err != nil {
			return err
		}
		tools.client = client
		defer end()
	}
	return finding(do(cmd.Context(), tools))
}

// finding is an error as what a command has found, whoever it comes from.
func finding(err error) error {
	var exit *exitError
	if err == nil || errors.As(err, &exit) {
		return err
	}
	return &exitError{code: exitFindings, err: err}
}

// openPortal makes a client for one command: of the webhook, or, where there is
// none, of the application, whose tokens are in the store; nil without any. end
// is to be called.
func openPortal(ctx context.Context, cfg *config.Config, log *slog.Logger) (client *crm.Client, end func(), err error) {
	if cfg.CRM.Bitrix24.Webhook.Reveal() != "" || cfg.CRM.Bitrix24.App == nil {
		client, err = newDirectory(cfg, log)
		if err != nil || client == nil {
			return nil, func() {}, err
		}
		return client, client.Close, nil
	}
	st, err := store.Open(ctx, cfg.Store.Reveal(), store.Options{Logger: log})
	if err != nil {
		return nil, nil, &exitError{exitFindings, fmt.Errorf("the tokens of the application are in the store: %w", err)}
	}
	closeStore := func() {
		if err := st.Close(); err != nil {
			log.Warn("the store was not closed", "error", err)
		}
	}
	client, err = newPortal(cfg, st, log)
	if err != nil {
		closeStore()
		return nil, nil, err
	}
	return client, func() {
		client.Close()
		closeStore()
	}, nil
}

func newBitrix24Setup(o *options) *cobra.Command {
	var options web.SetupOptions
	cmd := &cobra.Command{
		Use:   "setup",
		Short: "Create the user fields and show them on the cards; what is there stays",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withPortal(cmd, o, true, func(ctx context.Context, p web.Portal) error {
				steps, err := p.Setup(ctx, options)
				if err != nil {
					return err
				}
				if err := writeSetup(cmd.OutOrStdout(), steps, o.json); err != nil {
					return err
				}
				bad := func(s web.SetupStep) bool {
					return s.State == string(crm.SetupConflict) || s.State == string(crm.SetupFailed)
				}
				if slices.ContainsFunc(steps, bad) && !options.DryRun {
					return &exitError{code: exitFindings}
				}
				return nil
			})
		},
	}
	cmd.Flags().BoolVar(&options.DryRun, "dry-run", false, "print the same and change nothing")
	cmd.Flags().StringVar(&options.Section, "section", crm.DefaultSection, "title of the section on the cards")
	return cmd
}

func writeSetup(w io.Writer, steps []web.SetupStep, asJSON bool) error {
	if asJSON {
		return printJSON(w, struct {
			Steps []web.SetupStep `json:"steps"`
		}{steps})
	}
	t := newTable(w)
	for _, s := range steps {
		t.row(s.State, s.Object, cmp.Or(s.Field, "card"), s.Text)
		if s.Advice != "" {
			t.row("", "", "", s.Advice)
		}
	}
	return t.end()
}

func newBitrix24Check(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "check",
		Short: "Try every credential, permission and method that will be used, and say what to do about failures",
		Long: "Try every credential, permission and method that will be used, and say what to do about failures. Nothing is\n" +
			"written into the portal. The tokens of an OAuth application are with frontdesk serve, which must run for it.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withPortal(cmd, o, false, func(ctx context.Context, p web.Portal) error {
				checks, err := p.Check(ctx)
				if err != nil {
					return err
				}
				if err := writeChecks(cmd.OutOrStdout(), checks, o.json); err != nil {
					return err
				}
				if slices.ContainsFunc(checks, func(c web.Check) bool { return !c.OK }) {
					return &exitError{code: exitFindings}
				}
				return nil
			})
		},
	}
}

func writeChecks(w io.Writer, checks []web.Check, asJSON bool) error {
	if asJSON {
		return printJSON(w, struct {
			Checks []web.Check `json:"checks"`
		}{checks})
	}
	t := newTable(w)
	for _, c := range checks {
		state := "good"
		if !c.OK {
			state = "BAD"
		}
		t.row(state, c.Credential, c.Method, c.For)
		if !c.OK {
			t.row("", "", "", c.Problem)
			t.row("", "", "", c.Advice)
		}
	}
	return t.end()
}

func newBitrix24Lint(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "lint",
		Short: "Report what would misroute, before it does",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withPortal(cmd, o, true, func(ctx context.Context, p web.Portal) error {
				bars := bars{w: cmd.ErrOrStderr()}
				findings, err := p.Lint(ctx, bars.show)
				bars.end()
				if err != nil {
					return err
				}
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

// said is an error's text as people should read it: without the class that the
// API tells errors apart by.
func said(err error) string {
	text := err.Error()
	for _, class := range []error{web.ErrNotHere, web.ErrPortal} {
		text = strings.TrimPrefix(text, class.Error()+": ")
	}
	return printable(text)
}
