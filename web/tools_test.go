package web_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"frontdesk/routing"
	"frontdesk/web"
)

// shed holds a house's tools.
type shed struct {
	tooling error
	setups  []web.SetupOptions
	syncs   []web.PhonebookOptions
	work    func(ctx context.Context, progress func(web.Progress)) error // of lint and export
}

func (s *shed) do(ctx context.Context, progress func(web.Progress)) error {
	if s.work != nil {
		return s.work(ctx, progress)
	}
	return s.tooling
}

func (s *shed) Identity() web.Identity {
	return web.Identity{Product: "frontdesk", Version: "1.2.3", Config: "/etc/frontdesk.yaml", Sum: "5f2a"}
}

func (s *shed) Check(context.Context) ([]web.Check, error) {
	return []web.Check{{Credential: "webhook", Method: "batch", For: "x", Problem: "p", Advice: "a"}}, s.tooling
}

func (s *shed) Probe(context.Context) ([]web.ExchangeCheck, error) {
	return []web.ExchangeCheck{{Name: "numbers", State: "failed", Detail: "d", Advice: "a"}}, s.tooling
}

func (s *shed) Setup(_ context.Context, o web.SetupOptions) ([]web.SetupStep, error) {
	s.setups = append(s.setups, o)
	return []web.SetupStep{{Object: "contact", Field: "UF_CRM_X", Type: "employee", State: "create", Text: "t", Advice: "a"}}, s.tooling
}

func (s *shed) Lint(ctx context.Context, progress func(web.Progress)) ([]routing.Finding, error) {
	return []routing.Finding{{Kind: routing.FindingAmbiguous, Entity: "contact:1", Employee: 17, Number: "+7", Text: "t", Entities: []string{"contact:1"}, Employees: []int{17}}},
		s.do(ctx, progress)
}

func (s *shed) Sync(ctx context.Context, o web.PhonebookOptions, progress func(web.Progress)) (web.PhonebookSync, error) {
	s.syncs = append(s.syncs, o)
	return web.PhonebookSync{Problem: "p", Examples: []string{"create B24:C:1"}, Began: noon, Seconds: 0.5}, s.do(ctx, progress)
}

func (s *shed) Expire(ctx context.Context, progress func(web.Progress)) (web.Expiry, error) {
	file := web.ExpiredFile{File: 1, Call: "c", At: noon, Error: "e"}
	return web.Expiry{Before: noon, Deleted: []web.ExpiredFile{file}, Failed: []web.ExpiredFile{file}, Files: []string{"f"}}, s.do(ctx, progress)
}

func (s *shed) mirror() mirror { return mirror{s} }

type mirror struct{ *shed }

func (m mirror) Status(context.Context) (web.MirrorStatus, error) {
	return web.MirrorStatus{
		MirrorSize: web.MirrorSize{Contacts: 1, Companies: 2, Leads: 3, Numbers: 4}, Why: "w", Heard: noon, Age: 5e9,
		Export: &web.Progress{What: "contact", Done: 1, Total: 2, Note: "n"},
	}, m.tooling
}

func (m mirror) Export(ctx context.Context, progress func(web.Progress)) (web.MirrorStatus, error) {
	if err := m.do(ctx, progress); err != nil {
		return web.MirrorStatus{}, err
	}
	return m.Status(ctx)
}

// toolPaths are the tools by what their answers are called in the description.
var toolPaths = map[string]string{
	"POST /api/v1/bitrix24/check": "Checks", "POST /api/v1/bitrix24/setup?dry_run=true": "Steps", "POST /api/v1/bitrix24/lint": "Findings", "POST /api/v1/recordings/expire": "Expiry",
	"POST /api/v1/mirror/export": "Mirror", "GET /api/v1/mirror": "Mirror", "GET /api/v1/instance": "Identity",
	"POST /api/v1/phonebook/sync": "PhonebookSync", "POST /api/v1/3cx/check": "ExchangeChecks",
}

func TestToolsAnswerAsDescribed(t *testing.T) {
	t.Parallel()
	h := setup(t)
	schema := compiled(t, description(t, h))
	for path, name := range toolPaths {
		method, target, _ := strings.Cut(path, " ")
		v, err := jsonschema.UnmarshalJSON(strings.NewReader(h.want(t, 200, request(method, target, ""))))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema(name).Validate(v); err != nil {
			t.Errorf("%s is no %s: %v", path, name, err)
		}
		h.want(t, 403, request(method, target, "", from("192.0.2.7:1")))
		h.want(t, 405, request("DELETE", target, ""))
		if method == "POST" {
			h.want(t, 403, request(method, target, "", header("Sec-Fetch-Site", "cross-site")))
			h.want(t, 403, request(method, target, "", header("Origin", "https://evil.example")))
		}
		h2 := setup(t, withToken)
		h2.want(t, 401, request(method, target, ""))
		h2.want(t, 401, request(method, target, "", header("Authorization", "Bearer guessed")))
	}
}

func TestToolsTellWhatIsWrong(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err  error
		code int
		text string
	}{
		{fmt.Errorf("%w: no portal is configured", web.ErrNotHere), 409, `{"error":"no portal is configured"}`},
		{fmt.Errorf("%w: batch: 503", web.ErrPortal), 502, `{"error":"batch: 503"}`},
		{errors.New("canary in a file name"), 500, "see the log"},
	} {
		h := setup(t)
		h.tooling = c.err
		for path := range toolPaths {
			method, target, _ := strings.Cut(path, " ")
			if strings.HasSuffix(target, "/instance") {
				continue
			}
			for _, accept := range []string{"", "application/x-ndjson"} {
				got := h.want(t, c.code, request(method, target, "", header("Accept", accept)))
				if !strings.Contains(got, c.text) || strings.Contains(got, "canary") {
					t.Errorf("%s: %s", path, got)
				}
			}
		}
	}
}

func TestSetupTakesItsParameters(t *testing.T) {
	t.Parallel()
	h := setup(t)
	const path = "/api/v1/bitrix24/setup"
	h.want(t, 200, request("POST", path, ""))
	h.want(t, 200, request("POST", path+"?dry_run=true&section=%D0%97%D0%B2%D0%BE%D0%BD%D0%BA%D0%B8", ""))
	want := []web.SetupOptions{{}, {DryRun: true, Section: "Звонки"}}
	for _, bad := range []string{"?dry_run=perhaps", "?dryrun=true", "?dry_run=1&dry_run=0", "?section=" + strings.Repeat("x", 300), "?%zz"} {
		h.want(t, 400, request("POST", path+bad, ""))
	}
	if !slices.Equal(h.setups, want) {
		t.Errorf("set up with %+v, want %+v", h.setups, want)
	}
}

func TestSyncTakesItsParameters(t *testing.T) {
	t.Parallel()
	h := setup(t)
	const path = "/api/v1/phonebook/sync"
	h.want(t, 200, request("POST", path, ""))
	h.want(t, 200, request("POST", path+"?dry_run=true&force=1", ""))
	for _, bad := range []string{"?dry_run=perhaps", "?section=x", "?force=1&force=0", "?%zz"} {
		h.want(t, 400, request("POST", path+bad, ""))
	}
	if want := []web.PhonebookOptions{{}, {DryRun: true, Force: true}}; !slices.Equal(h.syncs, want) {
		t.Errorf("synced with %+v, want %+v", h.syncs, want)
	}
}

// Progress comes in lines to who accepts them, and not more often than anybody
// can see; other clients get the answer alone.
func TestToolsTellProgress(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		h := setup(t)
		schema := compiled(t, description(t, h))
		failing := errors.New("later")
		h.work = func(_ context.Context, progress func(web.Progress)) error {
			for i := range 1000 {
				progress(web.Progress{What: "contact", Done: i, Total: 1000})
				time.Sleep(time.Millisecond)
			}
			progress(web.Progress{What: "contact", Done: 1000, Total: 1000, Note: "trying again"})
			return failing
		}
		const want = `{"error":"lint the portal failed; see the log","status":500}`
		got := h.want(t, 200, request("POST", "/api/v1/bitrix24/lint", "", header("Accept", "text/html, application/x-ndjson;q=0.9")))
		all := strings.Split(strings.TrimSpace(got), "\n")
		if len(all) != 12 || all[11] != want || all[0] != `{"progress":{"what":"contact","done":0,"total":1000}}` || !strings.Contains(all[10], "trying again") {
			t.Errorf("%d lines:\n%s", len(all), got)
		}
		failing = nil
		got = h.want(t, 200, request("POST", "/api/v1/mirror/export", "", header("Accept", "application/x-ndjson")))
		if !strings.HasSuffix(got, `"export":{"what":"contact","done":1,"total":2,"note":"n"}}}`+"\n") {
			t.Errorf("no result:\n%s", got)
		}
		for line := range strings.Lines(got) {
			v, err := jsonschema.UnmarshalJSON(strings.NewReader(line))
			if err != nil {
				t.Fatal(err)
			}
			if err := schema("Line").Validate(v); err != nil {
				t.Error(err)
			}
		}
		if got := h.want(t, 200, request("POST", "/api/v1/mirror/export", "")); strings.Count(got, "\n") != 1 || !strings.HasPrefix(got, `{"contacts":1`) {
			t.Errorf("without lines: %s", got)
		}
	})
}

// dialled runs a house on a listener in memory, and gives a client of it.
func dialled(t *testing.T, h *house, l *pipes) (client *http.Client, end func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }()
	transport := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		near, far := net.Pipe()
		l.conns <- local{far}
		return near, nil
	}}
	return &http.Client{Transport: transport}, func() error {
		cancel()
		err := <-done
		transport.CloseIdleConnections()
		return err
	}
}

// A long answer outlives the server's patience with requests; whoever leaves
// ends it, and so does the server's end.
func TestToolsTakeTheirTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := newPipes()
		h := setup(t, func(cfg *web.Config) { cfg.Listener = l })
		why := make(chan error, 1)
		long := 20 * time.Minute
		h.work = func(ctx context.Context, progress func(web.Progress)) error {
			tick, over := time.NewTicker(time.Second), time.After(long)
			defer tick.Stop()
			for i := 0; ; i++ {
				select {
				case <-tick.C:
					progress(web.Progress{What: "contact", Done: i})
				case <-over:
					return nil
				case <-ctx.Done():
					why <- context.Cause(ctx)
					return ctx.Err()
				}
			}
		}
		client, end := dialled(t, h, l)
		post := func(ctx context.Context, path, accept string) (*http.Response, error) {
			req, err := http.NewRequestWithContext(ctx, "POST", "http://127.0.0.1"+path, nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Accept", accept)
			return client.Do(req)
		}
		read := func(res *http.Response, err error) string {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
			b, err := io.ReadAll(res.Body)
			if err := errors.Join(err, res.Body.Close()); err != nil {
				t.Fatal(err)
			}
			return string(b)
		}
		for _, accept := range []string{"application/json", "application/x-ndjson"} {
			got := read(post(t.Context(), "/api/v1/bitrix24/lint", accept))
			if !strings.Contains(got, `"findings":[{`) {
				t.Errorf("%s: after %v: %q", accept, long, got)
			}
		}
		leaving, leave := context.WithCancel(t.Context())
		res, err := post(leaving, "/api/v1/bitrix24/lint", "application/x-ndjson")
		if err != nil {
			t.Fatal(err)
		}
		if got := read(post(t.Context(), "/api/v1/bitrix24/check", "")); !strings.Contains(got, "is under way") {
			t.Errorf("beside another: %s", got)
		}
		leave()
		if err := <-why; !errors.Is(err, context.Canceled) {
			t.Errorf("the client left: %v", err)
		}
		_ = res.Body.Close()
		synctest.Wait()
		res, err = post(t.Context(), "/api/v1/bitrix24/lint", "application/x-ndjson")
		if err != nil {
			t.Fatal(err)
		}
		ended := make(chan error, 1)
		go func() { ended <- end() }()
		got := read(res, nil)
		var last struct {
			Error  string
			Status int
		}
		lines := strings.Split(strings.TrimSpace(got), "\n")
		if err := json.Unmarshal([]byte(lines[len(lines)-1]), &last); err != nil || last.Status != 503 || last.Error != "the server is ending" {
			t.Errorf("at the server's end: %+v, %v", last, err)
		}
		<-why
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
