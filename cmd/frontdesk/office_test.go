package main

import (
	"bytes"
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"frontdesk/cmd/frontdesk/config"
	"frontdesk/pbx/pbxtest"
	"frontdesk/sip"
	"frontdesk/sip/siptest"
)

// runSandbox runs a sandbox on free ports until the test ends.
func runSandbox(t *testing.T) (*sandbox, context.Context) {
	t.Helper()
	s, err := newSandbox(t.Context(), sandboxConfig{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s, ctx
}

// TestSandboxSnippet wants the snippet that the sandbox prints to be a
// configuration.
func TestSandboxSnippet(t *testing.T) {
	t.Parallel()
	s, _ := runSandbox(t)
	_, snippet, ok := strings.Cut(s.describe("127.0.0.1:9002"), "# for frontdesk.yaml\n")
	if !ok {
		t.Fatal(s.describe("-"))
	}
	path := filepath.Join(t.TempDir(), "frontdesk.yaml")
	if err := os.WriteFile(path, []byte(snippet+"rules: [{name: all, default: \"800\"}]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	cfg, problems := config.Load(path, func(string) (string, bool) { return "", false })
	if problems.HasErrors() {
		var b bytes.Buffer
		_ = problems.WriteText(&b) // into memory
		t.Fatal(b.String())
	}
	if cfg.PBX.XAPI.URL != s.office.url() || cfg.PBX.CDR.Connect != s.office.feed.Addr() {
		t.Errorf("xapi %+v, cdr %+v", cfg.PBX.XAPI, cfg.PBX.CDR)
	}
}

func TestSandboxAccountsForCalls(t *testing.T) {
	t.Parallel()
	s, ctx := runSandbox(t)
	c, err := s.trunk.Call(ctx, siptest.Options{To: s.pbx.Phone.URI("201"), From: sip.Address{User: callerOfOlga}})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.WaitTone(ctx, pbxtest.ToneOf("201")); err != nil {
		t.Fatal(err)
	}
	if err := c.Hangup(ctx); err != nil {
		t.Fatal(err)
	}
	out, err := s.pbx.Dial(ctx, "201", "9"+callerUnknown[1:])
	if err != nil {
		t.Fatal(err)
	}
	if err := out.WaitDone(ctx); err != nil {
		t.Fatal(err)
	}
	all, err := s.office.state.WaitAccounts(ctx, 2)
	if err != nil {
		t.Fatal(err)
	}
	in, away := all[0], all[1]
	if in.Direction != pbxtest.Inbound || in.Legs[0].Name != "Ольга Романова" || in.Trunk != sandboxTrunk || in.Caller.Number != callerOfOlga {
		t.Errorf("incoming %+v", in)
	}
	if away.Direction != pbxtest.Outbound || away.Legs[0].Number != callerUnknown[1:] || away.Legs[0].Answered.IsZero() || away.End != pbxtest.ByDestination {
		t.Errorf("outgoing %+v", away)
	}
	res, err := http.PostForm(s.office.url()+"/connect/token",
		url.Values{"client_id": {"frontdesk"}, "client_secret": {"secret"}, "grant_type": {"client_credentials"}})
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	var token struct {
		Access string `json:"access_token"`
	}
	if err := json.NewDecoder(res.Body).Decode(&token); err != nil || token.Access == "" {
		t.Errorf("token %+v, %v", token, err)
	}
}
