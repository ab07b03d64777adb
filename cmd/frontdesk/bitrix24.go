package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"github.com/spf13/cobra"

	"frontdesk/cmd/frontdesk/config"
	"frontdesk/crm"
)

func newBitrix24(o *options) *cobra.Command {
	cmd := &cobra.Command{Use: "bitrix24", Short: "Prepare and examine the portal"}
	cmd.AddCommand(newBitrix24Setup(o), newBitrix24Check(o), newBitrix24Lint(o))
	return cmd
}

// withPortal gives the portal's client to do. What goes wrong with the portal
// is a finding, not a fault of the configuration.
func withPortal(cmd *cobra.Command, o *options, do func(ctx context.Context, cfg *config.Config, portal *crm.Client) error) error {
	cfg, err := load(o, cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	if serving(cmd.Context(), cfg.HTTP.Listen) {
		modest(&cfg.CRM.Bitrix24.Rate)
	}
	portal, err := newDirectory(cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		return fmt.Errorf("crm.bitrix24: %w", err)
	}
	if portal == nil {
		return errors.New("no portal is configured: set crm.bitrix24.webhook")
	}
	defer portal.Close()
	err = do(cmd.Context(), cfg, portal)
	var exit *exitError
	if err != nil && !errors.As(err, &exit) {
		return &exitError{code: exitFindings, err: err}
	}
	return err
}

// serving reports whether a frontdesk answers at an address of http.listen.
func serving(ctx context.Context, listen string) bool {
	host, port, err := net.SplitHostPort(listen)
	if err != nil {
		return false
	}
	if ip, err := netip.ParseAddr(host); host == "" || err == nil && ip.IsUnspecified() {
		host = "localhost"
	}
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+net.JoinHostPort(host, port)+"/healthz", nil)
	if err != nil {
		return false
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return false
	}
	return res.Body.Close() == nil && res.StatusCode == http.StatusOK
}

// modest leaves most of the portal's limit to a frontdesk that serves: the
// limit is counted for both together.
func modest(r *config.Rate) {
	r.PerSecond, r.Burst = max(r.PerSecond/2, 1), max(r.Burst/5, 1)
}

func newBitrix24Setup(o *options) *cobra.Command {
	var options crm.SetupOptions
	cmd := &cobra.Command{
		Use:   "setup",
		Short: "Create the user fields and show them on the cards; what is there stays",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withPortal(cmd, o, func(ctx context.Context, cfg *config.Config, portal *crm.Client) error {
				options.Russian = strings.HasPrefix(cfg.Greeting.Language, "ru")
				steps, err := portal.Setup(ctx, options)
				if err != nil {
					return fmt.Errorf("%w; %s", err, crm.Advice(err, ""))
				}
				if err := writeSetup(cmd.OutOrStdout(), steps, o.json); err != nil {
					return err
				}
				bad := slices.ContainsFunc(steps, func(s crm.SetupStep) bool { return s.State == crm.SetupConflict || s.State == crm.SetupFailed })
				if bad && !options.DryRun {
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

func writeSetup(w io.Writer, steps []crm.SetupStep, asJSON bool) error {
	if asJSON {
		return printJSON(w, struct {
			Steps []crm.SetupStep `json:"steps"`
		}{steps})
	}
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	for _, s := range steps {
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", s.State, s.Object, cmp.Or(s.Field, "card"), printable(s.Text))
		if s.Advice != "" {
			fmt.Fprintf(t, "\t\t\t%s\n", s.Advice)
		}
	}
	return t.Flush()
}

func newBitrix24Check(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "check",
		Short: "Try every credential, permission and method that will be used, and say what to do about failures",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return withPortal(cmd, o, func(ctx context.Context, cfg *config.Config, portal *crm.Client) error {
				checks := portal.Check(ctx, needs(cfg))
				if err := writeChecks(cmd.OutOrStdout(), checks, o.json); err != nil {
					return err
				}
				if slices.ContainsFunc(checks, func(c crm.Check) bool { return !c.OK }) {
					return &exitError{code: exitFindings}
				}
				return nil
			})
		},
	}
}

// needs are what the configuration wants of the portal.
func needs(cfg *config.Config) crm.Needs {
	log := cfg.CallLog.Enabled
	return crm.Needs{
		CallLog: log, Recordings: cfg.Recordings.Mode == "upload", Tasks: log && cfg.CallLog.Tasks,
		Heads: log && cfg.CallLog.MissedOwner == "head",
	}
}

func writeChecks(w io.Writer, checks []crm.Check, asJSON bool) error {
	if asJSON {
		return printJSON(w, struct {
			Checks []crm.Check `json:"checks"`
		}{checks})
	}
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	for _, c := range checks {
		state := "good"
		if !c.OK {
			state = "BAD"
		}
		fmt.Fprintf(t, "%s\t%s\t%s\t%s\n", state, c.Credential, c.Method, c.For)
		if !c.OK {
			fmt.Fprintf(t, "\t\t\t%s\n\t\t\t%s\n", printable(c.Problem), c.Advice)
		}
	}
	return t.Flush()
}

// printable drops what could move a terminal's cursor.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsPrint(r) {
			return r
		}
		return -1
	}, s)
}
