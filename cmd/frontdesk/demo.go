package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"text/tabwriter"
	"text/template"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"frontdesk"
	"frontdesk/cmd/frontdesk/config"
	"frontdesk/sip/siptest"
)

// demoConfig is frontdesk's own side of the demo: defaults, free ports, and a
// second trunk that wants its calls bridged.
var demoConfig = template.Must(template.New("demo").Parse(`sip: {listen: [udp://127.0.0.1:0]}
http: {listen: 127.0.0.1:0}
trunks:
  carrier: {sources: [127.0.0.1], transfer: [redirect, refer, bridge]}
  bridged: {sources: [127.0.0.2], transfer: [bridge]}
pbx:
  sip: ["{{.Node}}"]
  xapi: {url: "{{.API}}", client_id: frontdesk, client_secret: secret}
  cdr: {connect: "{{.CDR}}"}
store: "sqlite:{{.Store}}"
crm: {mirror: {enabled: false}, bitrix24: {webhook: "{{.Webhook}}"}} # the fifth call shows what happens without a copy
greeting: {recorded: "{{.Audio}}", cache: "{{.Cache}}"}
rules:
  - name: support
    did: "+74951234567"
    default: "800"
  - name: everything-else
    default: "801"
`))

func newDemo() *cobra.Command {
	var once, verbose bool
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Sandbox and frontdesk together: seven calls placed and explained",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			log := slog.New(slog.DiscardHandler)
			if verbose {
				log = slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil))
			}
			return demo(cmd.Context(), cmd.OutOrStdout(), log, once)
		},
	}
	cmd.Flags().BoolVar(&once, "once", false, "end after the calls")
	cmd.Flags().BoolVar(&verbose, "verbose", false, "show frontdesk's log too")
	return cmd
}

// stage is the demo while it runs.
type stage struct {
	*sandbox
	sys     *system
	ladder  *siptest.Ladder
	bridged *siptest.Phone // the second trunk
	out     io.Writer
}

func demo(ctx context.Context, out io.Writer, log *slog.Logger, once bool) (err error) {
	dir, err := os.MkdirTemp("", "frontdesk-demo-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	st, err := newStage(ctx, dir, log, out)
	if err != nil {
		return err
	}
	g, running := errgroup.WithContext(ctx)
	running, stop := context.WithCancel(running)
	g.Go(func() error { return st.sandbox.Run(running) })
	g.Go(func() error { return st.bridged.Run(running) })
	g.Go(func() error { return st.sys.Run(running) })
	g.Go(func() error {
		defer stop()
		if err := st.play(running); err != nil {
			return err
		}
		if !once {
			fmt.Fprint(out, "\nStill running; Ctrl-C ends it.\n", st.describe("-"), "frontdesk sip:", st.sys.stack.Addr("udp"), "\n")
			<-running.Done()
		}
		return nil
	})
	return g.Wait()
}

func newStage(ctx context.Context, dir string, log *slog.Logger, out io.Writer) (*stage, error) {
	st := &stage{ladder: &siptest.Ladder{}, out: out}
	var err error
	if st.sandbox, err = newSandbox(ctx, sandboxConfig{}); err != nil {
		return nil, err
	}
	if st.bridged, err = siptest.NewPhone(ctx, siptest.Config{Listen: "udp://127.0.0.2:0", Agent: "sandbox trunk"}); err != nil {
		return nil, err
	}
	path, err := st.configure(dir)
	if err != nil {
		return nil, err
	}
	cfg, problems := config.Load(path, os.LookupEnv)
	if problems.HasErrors() {
		return nil, errors.Join(errors.New("the demo's configuration is bad"), problems.WriteText(out))
	}
	st.sys, err = newSystem(ctx, cfg, path, log, st.ladder.Tap)
	return st, err
}

// configure writes the configuration and the recordings into dir.
func (st *stage) configure(dir string) (path string, err error) {
	audio := filepath.Join(dir, "audio")
	sub, err := fs.Sub(frontdesk.Audio, "testdata/audio")
	if err == nil {
		err = os.CopyFS(audio, sub)
	}
	if err != nil {
		return "", err
	}
	path = filepath.Join(dir, "frontdesk.yaml")
	f, err := os.Create(path)
	if err != nil {
		return "", err
	}
	err = demoConfig.Execute(f, map[string]string{
		"Node": st.node(), "Webhook": st.server.Webhook(), "Audio": audio, "Cache": filepath.Join(dir, "cache"),
		"Store": filepath.Join(dir, "frontdesk.db"), "API": st.office.url(), "CDR": st.office.feed.Addr(),
	})
	return path, errors.Join(err, f.Close())
}

// play places the calls, shows each, and ends with a table.
func (st *stage) play(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	if err := st.greetable(ctx); err != nil {
		return err
	}
	var results []result
	for i, s := range scenes() {
		fmt.Fprintf(st.out, "\n== %d. %s\n\n", i+1, s.title)
		r := st.perform(ctx, s)
		if err := st.show(r); err != nil {
			return err
		}
		results = append(results, r)
	}
	return st.table(results)
}

// greetable waits until the employees are known, so that the first call finds
// its greeting ready, and until the PBX's records are read.
func (st *stage) greetable(ctx context.Context) error {
	if err := st.office.feed.WaitConnected(ctx, 1); err != nil {
		return fmt.Errorf("nobody reads the PBX's records: %w", err)
	}
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for len(st.sys.crm.Employees()) == 0 {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return fmt.Errorf("the employees never came: %w", context.Cause(ctx))
		}
	}
	return nil
}

func (st *stage) table(results []result) error {
	fmt.Fprintln(st.out)
	w := tabwriter.NewWriter(st.out, 2, 8, 2, ' ', 0)
	fmt.Fprintln(w, "#\tcall\twent to\tby\toutcome\tdecided after\tas expected")
	bad := 0
	for i, r := range results {
		verdict := "yes"
		if r.err != nil {
			verdict = "NO: " + r.err.Error()
			bad++
		}
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\t%s\n", i+1, r.title, r.rec.Target, r.rec.Transfer, r.rec.Outcome, r.decided(), verdict)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if bad > 0 {
		return &exitError{exitFindings, fmt.Errorf("%d of %d calls went wrong", bad, len(results))}
	}
	return nil
}
