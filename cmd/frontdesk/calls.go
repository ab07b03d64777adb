package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"frontdesk/call"
	"frontdesk/web"
)

func newCalls(o *options) *cobra.Command {
	cmd := &cobra.Command{Use: "calls", Short: "Look at the calls that the server took"}
	cmd.AddCommand(newCallsList(o), newCallsShow(o), newCallsRetry(o))
	return cmd
}

func newCallsList(o *options) *cobra.Command {
	var asked struct {
		limit                               int
		since, until, outcome, caller, next string
	}
	cmd := &cobra.Command{
		Use: "list", Short: "List calls, newest first", Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			q := url.Values{"limit": {strconv.Itoa(asked.limit)}}
			for name, v := range map[string]string{
				"since": ago(asked.since, time.Now()), "until": ago(asked.until, time.Now()),
				"outcome": asked.outcome, "caller": asked.caller, "cursor": asked.next,
			} {
				if v != "" {
					q.Set(name, v)
				}
			}
			var page web.Page
			if err := o.askServer(cmd, http.MethodGet, "/api/v1/calls?"+q.Encode(), &page); err != nil {
				return err
			}
			if o.json {
				return printJSON(cmd.OutOrStdout(), page)
			}
			return writeCalls(cmd.OutOrStdout(), page)
		},
	}
	f := cmd.Flags()
	f.IntVar(&asked.limit, "limit", 50, "how many at most")
	f.StringVar(&asked.since, "since", "", "started since: a time such as 2026-03-01T12:00:00+03:00, or how long ago, such as 2h")
	f.StringVar(&asked.until, "until", "", "started before: the same")
	f.StringVar(&asked.outcome, "outcome", "", "with this outcome only")
	f.StringVar(&asked.caller, "caller", "", "from this number only")
	f.StringVar(&asked.next, "cursor", "", "go on after a page that ended with this")
	return cmd
}

// ago reads "2h" as the time two hours before now; anything else is left to the
// server.
func ago(s string, now time.Time) string {
	if d, err := time.ParseDuration(s); err == nil {
		return now.Add(-d).Format(time.RFC3339)
	}
	return s
}

func newCallsShow(o *options) *cobra.Command {
	return &cobra.Command{
		Use: "show ID", Short: "Show one call, and what was done about it in the CRM", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			var r call.Record
			if err := o.askServer(cmd, http.MethodGet, "/api/v1/calls/"+url.PathEscape(args[0]), &r); err != nil {
				return err
			}
			if o.json {
				return printJSON(cmd.OutOrStdout(), r)
			}
			return writeCall(cmd.OutOrStdout(), r)
		},
	}
}

func newCallsRetry(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "retry ID [STEP]",
		Short: "Try again at once what is not done about a call in the CRM",
		Long:  "Try again at once what is not done about a call in the CRM: the steps that wait for their next try, and those that\nwere given up. STEP is one of register, finish, attach, lead and task; left out, all of them.",
		Args:  cobra.RangeArgs(1, 2),
		RunE: func(cmd *cobra.Command, args []string) error {
			path := "/api/v1/calls/" + url.PathEscape(args[0]) + "/retry"
			if len(args) > 1 {
				path += "?" + url.Values{"step": {args[1]}}.Encode()
			}
			var out struct {
				Retried int `json:"retried"`
			}
			if err := o.askServer(cmd, http.MethodPost, path, &out); err != nil {
				return err
			}
			if o.json {
				return printJSON(cmd.OutOrStdout(), out)
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "%d steps are tried again\n", out.Retried)
			return err
		},
	}
}

// askServer asks the frontdesk that serves the configuration.
func (o *options) askServer(cmd *cobra.Command, method, path string, out any) error {
	cfg, err := load(o, cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	s, err := holder(cmd, o, cfg)
	if err != nil {
		return err
	}
	if s == nil {
		return &exitError{exitFindings, errors.New("no frontdesk serves this configuration: the calls are asked of the one that does; start serve")}
	}
	if err := s.ask(cmd.Context(), method, path, nil, nil, out); err != nil {
		return &exitError{exitFindings, err}
	}
	return nil
}

func writeCalls(w io.Writer, page web.Page) error {
	t := newTable(w)
	t.row("ID", "STARTED", "", "CALLER", "CALLED", "TARGET", "OUTCOME", "RESULT", "TALKED")
	for _, r := range page.Calls {
		talked := 0
		for _, x := range r.Talks {
			talked += x.Seconds
		}
		t.row(r.ID, r.Started.Format(time.DateTime), string(r.Direction), string(r.Caller), string(r.DID), string(r.Target),
			string(r.Outcome), string(r.Result), (time.Duration(talked) * time.Second).String())
	}
	if err := t.end(); err != nil {
		return err
	}
	if page.Next == "" {
		return nil
	}
	_, err := fmt.Fprintf(w, "more: --cursor %s\n", page.Next)
	return err
}

func writeCall(w io.Writer, r call.Record) error {
	t := newTable(w)
	for _, x := range [][2]string{
		{"call", r.ID}, {"direction", string(r.Direction)}, {"trunk", r.Trunk}, {"caller", string(r.Caller)}, {"called", string(r.DID)},
		{"started", r.Started.Format(time.RFC3339)}, {"rule", r.Rule}, {"target", string(r.Target)}, {"outcome", string(r.Outcome)},
		{"transfer", string(r.Transfer)}, {"result", string(r.Result)}, {"missed in", r.MissedIn},
	} {
		if x[1] != "" {
			t.row(x[0], x[1])
		}
	}
	for _, x := range r.Talks {
		t.row("talk", fmt.Sprintf("%s from %s, %d s %s", x.Extension, x.From.Format(time.TimeOnly), x.Seconds, x.Recording))
	}
	for _, e := range r.Timeline {
		t.row(e.At.Format("15:04:05.000"), e.Event)
	}
	if err := t.end(); err != nil {
		return err
	}
	if len(r.Ledger) == 0 {
		return nil
	}
	t = newTable(w)
	t.row("STEP", "LEG", "STATE", "TRIES", "NEXT", "")
	for _, e := range r.Ledger {
		next := ""
		if !e.Next.IsZero() {
			next = e.Next.Format(time.DateTime)
		}
		t.row(e.Step, strconv.Itoa(e.Leg), e.State, strconv.Itoa(e.Tries), next, e.Error)
	}
	return t.end()
}
