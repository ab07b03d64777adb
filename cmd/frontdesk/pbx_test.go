package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"frontdesk/call"
	"frontdesk/cmd/frontdesk/config"
	"frontdesk/pbx"
	"frontdesk/pbx/pbxtest"
)

// site is a PBX's interface and a configuration that uses it, without a portal.
type site struct {
	state  *pbxtest.State
	api    *pbxtest.API
	server *httptest.Server
	file   string
}

func newPBXSite(t *testing.T, licence pbxtest.Licence, who pbxtest.Client) *site {
	t.Helper()
	s := &site{state: pbxtest.NewState(pbxtest.StateConfig{Licence: licence}), file: filepath.Join(t.TempDir(), "frontdesk.yaml")}
	s.state.AddUser(pbxtest.User{Number: "301", FirstName: "Anna"})
	s.state.AddUser(pbxtest.User{Number: "302", FirstName: "Olga", Unregistered: true})
	s.state.AddQueue(pbxtest.Group{Number: "900", Name: "Sales", Members: []string{"301"}})
	who.ID, who.Secret = "frontdesk", "canary"
	s.api = pbxtest.NewAPI(s.state, who)
	s.server = httptest.NewServer(s.api)
	t.Cleanup(func() {
		s.api.Close()
		s.server.Close()
	})
	text := fmt.Sprintf(`
store: "sqlite:%s"
http: {listen: "127.0.0.1:0"}
trunks: {carrier: {sources: [192.0.2.1]}}
pbx: {extensions: ["100-299"], queues: ["800"], xapi: {url: %q, client_id: frontdesk, client_secret: canary, rate: 1000}}
rules:
  - {name: olga, did: ["+74951234567"], lookup: false, default: "302", on_unavailable: "900"}
  - {name: anna, lookup: false, default: "301", on_unavailable: "900"}
`, filepath.Join(filepath.Dir(s.file), "frontdesk.db"), s.server.URL)
	if err := os.WriteFile(s.file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *site) run(t *testing.T, want int, args ...string) (stdout, stderr string) {
	t.Helper()
	var out, errs bytes.Buffer
	if code := run(t.Context(), append(args, "--config", s.file), &out, &errs); code != want {
		t.Fatalf("exit status %d, want %d\n%s%s", code, want, &out, &errs)
	}
	if strings.Contains(out.String()+errs.String(), "canary") {
		t.Errorf("the secret is shown:\n%s%s", &out, &errs)
	}
	return out.String(), errs.String()
}

func TestThreeCXCheck(t *testing.T) {
	t.Parallel()
	s := newPBXSite(t, pbxtest.Licence{}, pbxtest.Client{})
	out, _ := s.run(t, 0, "3cx", "check")
	for _, want := range []string{"2 extensions; 1 queues", "Enterprise", "may be written", "extensions are monitored"} {
		if !strings.Contains(out, want) {
			t.Errorf("%q is not in\n%s", want, out)
		}
	}
	s = newPBXSite(t, pbxtest.Licence{NoFlow: true}, pbxtest.Client{Role: pbxtest.Admin})
	out, _ = s.run(t, exitFindings, "3cx", "check", "--json")
	var got struct{ Checks []pbx.Check }
	if err := json.Unmarshal([]byte(out), &got); err != nil {
		t.Fatal(err)
	}
	states := map[string]pbx.State{}
	for _, c := range got.Checks {
		states[c.Name] = c.State
	}
	for name, want := range map[string]pbx.State{
		"numbers": pbx.StateOK, "call log": pbx.StateFailed, "recordings": pbx.StateFailed, "call control": pbx.StateUnlicensed,
	} {
		if states[name] != want {
			t.Errorf("%s is %q, want %q", name, states[name], want)
		}
	}
	s.server.Close()
	out, _ = s.run(t, exitFindings, "3cx", "check")
	if !strings.Contains(out, "pbx.xapi.url") {
		t.Errorf("a PBX that is not there:\n%s", out)
	}
}

// TestThreeCXCheckAsksTheServer: where serve runs its token is used, which
// another one would end.
func TestThreeCXCheckAsksTheServer(t *testing.T) {
	t.Parallel()
	s := newPBXSite(t, pbxtest.Licence{NoFlow: true}, pbxtest.Client{})
	text, err := os.ReadFile(s.file)
	if err != nil {
		t.Fatal(err)
	}
	served := strings.Replace(string(text), `"127.0.0.1:0"`, fmt.Sprintf(`"127.0.0.1:%d", token: %s`, freePort(t), token), 1)
	if err := os.WriteFile(s.file, []byte("sip: {listen: [\"udp://127.0.0.1:0\"]}\n"+served), 0o600); err != nil {
		t.Fatal(err)
	}
	alone, _ := s.run(t, exitFindings, "3cx", "check")
	sys, end := (&desk{config: s.file}).serve(t)
	if _, err := sys.contacts.xapi.Peers(t.Context()); err != nil { // by the one token
		t.Fatal(err)
	}
	tokens := s.api.Tokens("frontdesk")
	out, stderr := s.run(t, exitFindings, "3cx", "check")
	if out != alone || stderr != "" {
		t.Errorf("by the server:\n%s%s\nalone:\n%s", out, stderr, alone)
	}
	if n := s.api.Tokens("frontdesk"); n != tokens || asked(t, sys, "/api/v1/3cx/check") != "1" {
		t.Errorf("%d tokens were given, %d before", n, tokens)
	}
	end()
	if out, _ := s.run(t, exitFindings, "3cx", "check"); out != alone || s.api.Tokens("frontdesk") != tokens+1 {
		t.Errorf("after the server's end:\n%s", out)
	}
}

// TestExplainAsks3CX: numbers and who is available are 3CX's, and without its
// answer those of the configuration.
func TestExplainAsks3CX(t *testing.T) {
	t.Parallel()
	s := newPBXSite(t, pbxtest.Licence{}, pbxtest.Client{})
	out, _ := s.run(t, 0, "explain", "--from", "+79161234567", "--to", "+74951234567")
	if !strings.Contains(out, "extension 302 takes no calls: not registered") || !strings.Contains(out, "=> 900 ") {
		t.Errorf("somebody who is not registered:\n%s", out)
	}
	out, _ = s.run(t, 0, "explain", "--from", "+79161234567", "--to", "+74950000000")
	if !strings.Contains(out, "=> 301 ") {
		t.Errorf("somebody who is:\n%s", out)
	}
	if err := s.state.Change("Users", "301", pbxtest.Row{"CurrentProfileName": "Out of office"}); err != nil {
		t.Fatal(err)
	}
	out, _ = s.run(t, 0, "explain", "--from", "+79161234567", "--to", "+74950000000")
	if !strings.Contains(out, "do not disturb") || !strings.Contains(out, "=> 900 ") {
		t.Errorf("somebody who does not want to be disturbed:\n%s", out)
	}
	s.server.Close()
	out, _ = s.run(t, 0, "explain", "--from", "+79161234567", "--to", "+74951234567")
	if !strings.Contains(out, "=> 302 ") {
		t.Errorf("nothing is known:\n%s", out)
	}
}

// memory is a store of values.
type memory map[string][]byte

func (m memory) Get(_ context.Context, key string) ([]byte, error) {
	if v, ok := m[key]; ok {
		return v, nil
	}
	return nil, fs.ErrNotExist
}

func (m memory) Put(_ context.Context, key string, value []byte) error {
	m[key] = value
	return nil
}

// TestExchange goes from the configuration's numbers to 3CX's, and keeps them
// over a restart during an outage.
func TestExchange(t *testing.T) {
	t.Parallel()
	s := newPBXSite(t, pbxtest.Licence{}, pbxtest.Client{})
	cfg, problems := config.Load(s.file, os.LookupEnv)
	if problems.HasErrors() {
		t.Fatal(problems)
	}
	kept := memory{}
	begin := func(log *slog.Logger) *exchange {
		x := newExchange(cfg, log)
		xapi, err := newXAPI(cfg, log)
		if err != nil {
			t.Fatal(err)
		}
		x.connect(xapi, kept, nil)
		return x
	}
	var said bytes.Buffer
	x := begin(slog.New(slog.NewTextHandler(&said, nil)))
	x.load(t.Context())
	if n := x.numbers(); !n.Has("105") || n.Has("301") || x.known().Has("105") {
		t.Errorf("before the first answer: %v, known %v", n, x.known())
	}
	s.state.Remove("302")
	ctx, cancel := context.WithCancel(t.Context())
	g, ctx := errgroup.WithContext(ctx)
	x.run(ctx, g)
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !x.numbers().Has("301") {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("3CX's numbers do not come")
		}
	}
	cancel()
	if err := g.Wait(); err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if n := x.numbers(); n.Has("105") || !n.IsQueue("900") {
		t.Errorf("numbers are %v", n)
	}
	if text := said.String(); !strings.Contains(text, "rules[0].default") || strings.Contains(text, "rules[1].default") {
		t.Errorf("which rules do not fit:\n%s", text)
	}
	s.server.Close()
	again := begin(slog.New(slog.DiscardHandler))
	again.load(t.Context())
	if n := again.numbers(); !n.Has("301") || n.Has(call.Extension("105")) {
		t.Errorf("after a restart: %v", n)
	}
	if len(x.collectors()) == 0 || newExchange(cfg, nil).collectors() != nil {
		t.Error("metrics")
	}
}
