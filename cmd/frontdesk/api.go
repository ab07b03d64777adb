package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"mime"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"
	"time"

	"frontdesk/call"
	"frontdesk/cmd/frontdesk/config"
	"frontdesk/routing"
	"frontdesk/web"
)

// standing is how the frontdesk that answers at a configuration's address
// stands to it.
type standing int

const (
	absent   standing = iota // none answers
	stranger                 // it runs by another file, or does not tell
	outdated                 // it runs by this file as it was earlier
	ours                     // it runs by this file as it is
)

// probeTime bounds the search for a server.
const probeTime = time.Second

// server is a frontdesk that serves, as the command line sees it: it does what
// commands ask by its API. It is a web.Portal, a web.Mirror and a
// web.Explainer.
type server struct {
	base, token string
	http        *http.Client
	standing    standing
	config      string // the file that it runs by
}

// identity is by what the server of a configuration is known.
func identity(cfg *config.Config, path string) web.Identity {
	whole, err := filepath.Abs(path)
	if err == nil {
		path = whole
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	return web.Identity{Product: "frontdesk", Version: version(), Config: path, Sum: cfg.Sum}
}

// findServer looks for the frontdesk that serves a configuration: at
// http.listen, then at http.public_url. An error says that one is there and
// does not let the command in.
func findServer(ctx context.Context, cfg *config.Config, path string) (*server, error) {
	s := &server{token: cfg.HTTP.Token.Reveal(), http: &http.Client{
		Transport: &http.Transport{DisableKeepAlives: true},
		// The token is for nobody else.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
	for _, base := range addresses(cfg.HTTP) {
		s.base = base
		if !s.alive(ctx) {
			continue
		}
		return s, s.recognise(ctx, identity(cfg, path))
	}
	return s, nil
}

// addresses are the URLs under which a server may be asked from here.
func addresses(h config.HTTP) []string {
	var out []string
	host, port, err := net.SplitHostPort(h.Listen)
	if ip, e := netip.ParseAddr(host); host == "" || e == nil && ip.IsUnspecified() {
		host = "localhost"
	}
	if err == nil && port != "0" {
		out = append(out, "http://"+net.JoinHostPort(host, port))
	}
	if u, err := url.Parse(h.PublicURL); err == nil && u.Host != "" {
		out = append(out, strings.TrimSuffix(h.PublicURL, "/"))
	}
	return out
}

// alive reports whether anything like a frontdesk answers. It is not told the
// token.
func (s *server) alive(ctx context.Context) bool {
	ctx, cancel := context.WithTimeout(ctx, probeTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, s.base+"/healthz", nil)
	if err != nil {
		return false
	}
	res, err := s.http.Do(req)
	if err != nil {
		return false
	}
	b, err := io.ReadAll(io.LimitReader(res.Body, 16))
	return errors.Join(err, res.Body.Close()) == nil && res.StatusCode == http.StatusOK && strings.TrimSpace(string(b)) == "ok"
}

// recognise asks who answers.
func (s *server) recognise(ctx context.Context, me web.Identity) error {
	ctx, cancel := context.WithTimeout(ctx, 5*probeTime)
	defer cancel()
	var is web.Identity
	err := s.get(ctx, "/api/v1/instance", &is)
	var refused *refusal
	switch {
	case errors.As(err, &refused) && refused.status == http.StatusUnauthorized:
		return fmt.Errorf("the frontdesk at %s refuses the token: let http.token be the one that it was started with (are its environment variables set here?), or, if that is not the server of this configuration, give it an http.listen of its own", s.base)
	case errors.As(err, &refused) && refused.status == http.StatusForbidden:
		return fmt.Errorf("the frontdesk at %s refuses this command: %w", s.base, err)
	}
	s.standing, s.config = stranger, is.Config
	switch {
	case err != nil || is.Product != me.Product:
		s.config = ""
	case is.Sum == me.Sum:
		s.standing = ours
	case is.Config == me.Config:
		s.standing = outdated
	}
	return nil
}

// remark tells people why a command does not ask the server that answers; empty
// where there is nothing to tell.
func (s *server) remark() string {
	switch s.standing {
	case outdated:
		return fmt.Sprintf("the frontdesk at %s has not read %s as it is now: this is by the file, without what the server holds", s.base, s.config)
	case stranger:
		return fmt.Sprintf("the frontdesk at %s runs by %s: this is without what it holds", s.base, cmp.Or(s.config, "another configuration"))
	}
	return ""
}

// refusal is an error that the server answered.
type refusal struct {
	status int
	text   string
}

func (r *refusal) Error() string { return r.text }

func (s *server) get(ctx context.Context, path string, out any) error {
	return s.ask(ctx, http.MethodGet, path, nil, nil, out)
}

// ask sends a request and reads the answer into out, or lines of progress and
// then the answer.
func (s *server) ask(ctx context.Context, method, path string, body []byte, progress func(web.Progress), out any) error {
	req, err := http.NewRequestWithContext(ctx, method, s.base+path, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("asking the frontdesk at %s: %w", s.base, err)
	}
	if s.token != "" {
		req.Header.Set("Authorization", "Bearer "+s.token)
	}
	if progress != nil {
		req.Header.Set("Accept", "application/x-ndjson, application/json")
	}
	res, err := s.http.Do(req)
	if err != nil {
		return fmt.Errorf("asking the frontdesk at %s: %w", s.base, err)
	}
	defer func() { _ = res.Body.Close() }() // nothing is lost by a failed close of a read body
	err = s.read(res, progress, out)
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, 1<<10)) // lets the server end the answer
	if err != nil {
		var refused *refusal
		if errors.As(err, &refused) {
			return err
		}
		return fmt.Errorf("the answer of the frontdesk at %s: %w", s.base, err)
	}
	return nil
}

func (s *server) read(res *http.Response, progress func(web.Progress), out any) error {
	d := json.NewDecoder(res.Body)
	if res.StatusCode != http.StatusOK {
		var p struct{ Error string }
		if err := d.Decode(&p); err != nil || p.Error == "" {
			p.Error = fmt.Sprintf("the frontdesk at %s answered %s", s.base, res.Status)
		}
		return &refusal{res.StatusCode, p.Error}
	}
	if typ, _, err := mime.ParseMediaType(res.Header.Get("Content-Type")); progress == nil || err != nil || typ != "application/x-ndjson" {
		return brokenOff(d.Decode(out))
	}
	for {
		var line struct {
			Progress *web.Progress   `json:"progress"`
			Result   json.RawMessage `json:"result"`
			Error    string          `json:"error"`
			Status   int             `json:"status"`
		}
		switch err := d.Decode(&line); {
		case err != nil:
			return brokenOff(err)
		case line.Progress != nil:
			progress(*line.Progress)
		case line.Error != "":
			return &refusal{line.Status, line.Error}
		default:
			return json.Unmarshal(line.Result, out)
		}
	}
}

// brokenOff words the end of an answer before its time.
func brokenOff(err error) error {
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return errors.New("it broke off: has the server ended?")
	}
	return err
}

// Check has the server try every credential.
func (s *server) Check(ctx context.Context) ([]web.Check, error) {
	var out struct{ Checks []web.Check }
	err := s.ask(ctx, http.MethodPost, "/api/v1/bitrix24/check", nil, nil, &out)
	return out.Checks, err
}

// Setup has the server prepare the portal.
func (s *server) Setup(ctx context.Context, o web.SetupOptions) ([]web.SetupStep, error) {
	q := url.Values{}
	if o.DryRun {
		q.Set("dry_run", "true")
	}
	if o.Section != "" {
		q.Set("section", o.Section)
	}
	var out struct{ Steps []web.SetupStep }
	err := s.ask(ctx, http.MethodPost, "/api/v1/bitrix24/setup?"+q.Encode(), nil, nil, &out)
	return out.Steps, err
}

// Lint has the server read the portal.
func (s *server) Lint(ctx context.Context, progress func(web.Progress)) ([]routing.Finding, error) {
	var out struct{ Findings []routing.Finding }
	err := s.ask(ctx, http.MethodPost, "/api/v1/bitrix24/lint", nil, progress, &out)
	return out.Findings, err
}

// Status asks for the server's mirror.
func (s *server) Status(ctx context.Context) (web.MirrorStatus, error) {
	var out web.MirrorStatus
	err := s.get(ctx, "/api/v1/mirror", &out)
	return out, err
}

// Export has the server's mirror export.
func (s *server) Export(ctx context.Context, progress func(web.Progress)) (web.MirrorStatus, error) {
	var out web.MirrorStatus
	err := s.ask(ctx, http.MethodPost, "/api/v1/mirror/export", nil, progress, &out)
	return out, err
}

// Explain has the server decide.
func (s *server) Explain(ctx context.Context, q web.Query) (routing.Decision, error) {
	body := map[string]string{"from": q.From, "to": q.To, "trunk": q.Trunk}
	if !q.At.IsZero() {
		body["at"] = q.At.Format(time.RFC3339Nano)
	}
	b, err := json.Marshal(body)
	if err != nil {
		return routing.Decision{}, err
	}
	var out struct {
		routing.Decision
		Default call.Extension `json:"default"`
		Reject  int            `json:"reject"`
	}
	err = s.ask(ctx, http.MethodPost, "/api/v1/explain", b, nil, &out)
	out.Decision.Default, out.Decision.Reject = out.Default, out.Reject
	return out.Decision, err
}
