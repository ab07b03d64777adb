package web_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"go.uber.org/goleak"

	"frontdesk/call"
	"frontdesk/routing"
	"frontdesk/web"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// house is a server with services that a test can bend.
type house struct {
	*web.Server

	ring   *web.Ring
	log    *buffer
	gather *prometheus.Registry

	mu       sync.Mutex
	asked    []web.Query
	explain  func(context.Context, web.Query) (routing.Decision, error)
	problems string
	broken   error
	why      string
	shed
}

func (h *house) Explain(ctx context.Context, q web.Query) (routing.Decision, error) {
	h.mu.Lock()
	h.asked = append(h.asked, q)
	h.mu.Unlock()
	if h.explain != nil {
		return h.explain(ctx, q)
	}
	return routing.Decision{
		Target: "201", Outcome: call.OutcomeResponsible, Greeting: true, Rule: "support",
		Trace: []routing.Step{{Step: "rule", Result: "support", Why: "it matches"}},
	}, nil
}

func (h *house) Reload() (string, error) { return h.problems, h.broken }

func (h *house) Ready() (bool, string) { return h.why == "", h.why }

// buffer is a log that several goroutines write.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func setup(t *testing.T, bend ...func(*web.Config)) *house {
	t.Helper()
	h := &house{ring: web.NewRing(100), log: &buffer{}, gather: prometheus.NewRegistry()}
	cfg := web.Config{
		Version: "1.2.3", Logger: slog.New(slog.NewJSONHandler(h.log, nil)), Metrics: h.gather,
		Calls: h.ring, Explainer: h, Reloader: h, Health: h, Tools: web.Tools{Identifier: h, Portal: h, Mirror: h.mirror(), Phonebook: h, Recordings: h, Exchange: h},
	}
	for _, f := range bend {
		f(&cfg)
	}
	s, err := web.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	h.Server = s
	h.gather.MustRegister(s.Collectors()...)
	return h
}

func withToken(c *web.Config) { c.Token = "canary-token-5f2a" }

// request is one from this machine; edit changes that.
func request(method, target, body string, edit ...func(*http.Request)) *http.Request {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	r.RemoteAddr, r.Host = "127.0.0.1:40000", "127.0.0.1:8080"
	for _, f := range edit {
		f(r)
	}
	return r
}

func (h *house) do(r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.Handler().ServeHTTP(w, r)
	return w
}

// get asks and wants a status; it gives the body.
func (h *house) want(t *testing.T, code int, r *http.Request) string {
	t.Helper()
	w := h.do(r)
	if w.Code != code {
		t.Errorf("%s %s: status %d, want %d: %s", r.Method, r.URL, w.Code, code, w.Body)
	}
	if code >= 400 && r.URL.Path != "/readyz" {
		var e struct{ Error string }
		if err := json.Unmarshal(w.Body.Bytes(), &e); err != nil || e.Error == "" {
			t.Errorf("%s %s: the error is no JSON object with a text: %s", r.Method, r.URL, w.Body)
		}
	}
	return w.Body.String()
}

func TestHealth(t *testing.T) {
	t.Parallel()
	h := setup(t)
	h.want(t, 200, request("GET", "/healthz", ""))
	h.want(t, 200, request("GET", "/readyz", ""))
	h.why = "draining"
	h.want(t, 200, request("GET", "/healthz", ""))
	if got := h.want(t, 503, request("GET", "/readyz", "")); !strings.Contains(got, "draining") {
		t.Errorf("not ready says %q", got)
	}
	h.want(t, 200, request("HEAD", "/healthz", ""))
}

func TestMetrics(t *testing.T) {
	t.Parallel()
	h := setup(t)
	h.want(t, 200, request("GET", "/api/v1/calls?limit=1", ""))
	h.want(t, 404, request("GET", "/api/v1/calls/nobody", ""))
	got := h.want(t, 200, request("GET", "/metrics", ""))
	for _, line := range []string{
		`frontdesk_web_requests_total{code="200",path="/api/v1/calls"} 1`,
		`frontdesk_web_requests_total{code="404",path="/api/v1/calls/{id}"} 1`,
		`frontdesk_web_panics_total 0`,
	} {
		if !strings.Contains(got, line) {
			t.Errorf("metrics lack %s:\n%s", line, got)
		}
	}
	problems, err := testutil.GatherAndLint(h.gather)
	if err != nil || len(problems) > 0 {
		t.Errorf("lint: %v %v", problems, err)
	}
}

func TestReload(t *testing.T) {
	t.Parallel()
	h := setup(t)
	h.want(t, 200, request("POST", "/api/v1/reload", ""))
	h.problems = "frontdesk.yaml:3:5: unknown key"
	if got := h.want(t, 422, request("POST", "/api/v1/reload", "")); !strings.Contains(got, `"problems":"frontdesk.yaml:3:5: unknown key"`) {
		t.Errorf("a bad configuration says %s", got)
	}
	h.problems, h.broken = "", errors.New("open frontdesk.yaml: gone")
	if got := h.want(t, 500, request("POST", "/api/v1/reload", "")); strings.Contains(got, "gone") {
		t.Errorf("an inner error is shown: %s", got)
	}
	if !strings.Contains(h.log.String(), "open frontdesk.yaml: gone") {
		t.Errorf("the error is not in the log: %s", h.log)
	}
}

func TestPathsAndMethods(t *testing.T) {
	t.Parallel()
	h := setup(t)
	h.want(t, 404, request("GET", "/nothing", ""))
	h.want(t, 404, request("POST", "/api/v1/", "{}"))
	h.want(t, 404, request("GET", "/api/v1/calls/", ""))
	for target, allow := range map[string]string{
		"/api/v1/reload": "POST", "/api/v1/explain": "POST", "/": "GET, HEAD", "/api/v1/calls/x": "GET, HEAD", "/metrics": "GET, HEAD",
	} {
		w := h.do(request("DELETE", target, ""))
		if w.Code != 405 || w.Header().Get("Allow") != allow {
			t.Errorf("DELETE %s: %d, Allow %q, want 405 and %q", target, w.Code, w.Header().Get("Allow"), allow)
		}
	}
	h.want(t, 405, request("GET", "/api/v1/reload", ""))
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	h := setup(t)
	for _, target := range []string{"/", "/healthz", "/api/v1/calls", "/nothing"} {
		head := h.do(request("GET", target, "")).Header()
		if csp := head.Get("Content-Security-Policy"); !strings.HasPrefix(csp, "default-src 'none'") || strings.Contains(csp, "unsafe") {
			t.Errorf("%s: policy %q", target, csp)
		}
		if head.Get("X-Content-Type-Options") != "nosniff" || head.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: headers %v", target, head)
		}
	}
}

func TestPanicEndsOneRequest(t *testing.T) {
	t.Parallel()
	h := setup(t)
	h.explain = func(context.Context, web.Query) (routing.Decision, error) { panic("boom") }
	if got := h.want(t, 500, request("POST", "/api/v1/explain", `{"to":"1"}`)); strings.Contains(got, "boom") {
		t.Errorf("the panic is shown: %s", got)
	}
	if log := h.log.String(); !strings.Contains(log, `"panic":"boom"`) || !strings.Contains(log, "stack") {
		t.Errorf("the panic is not in the log: %s", log)
	}
	got := h.want(t, 200, request("GET", "/metrics", ""))
	for _, line := range []string{"frontdesk_web_panics_total 1", `frontdesk_web_requests_total{code="500",path="/api/v1/explain"} 1`} {
		if !strings.Contains(got, line) {
			t.Errorf("metrics lack %s", line)
		}
	}
	h.explain = nil
	h.want(t, 200, request("POST", "/api/v1/explain", `{"to":"1"}`))
}

func TestNewWantsItsServices(t *testing.T) {
	t.Parallel()
	if _, err := web.New(web.Config{}); err == nil {
		t.Error("a server without services was made")
	}
}

// serve runs h on a free port until the test ends, and gives its address and
// a function that ends it and waits.
func serve(t *testing.T, bend ...func(*web.Config)) (h *house, url string, stop func() error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h = setup(t, append(bend, func(c *web.Config) { c.Listener = l })...)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- h.Run(ctx) }()
	stop = sync.OnceValue(func() error { cancel(); return <-done })
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Error(err)
		}
	})
	return h, "http://" + l.Addr().String(), stop
}

func TestRunLetsRequestsFinish(t *testing.T) {
	t.Parallel()
	h, url, stop := serve(t)
	entered, release := make(chan struct{}), make(chan struct{})
	h.explain = func(context.Context, web.Query) (routing.Decision, error) {
		close(entered)
		<-release
		return routing.Decision{Target: "202", Outcome: call.OutcomeManager}, nil
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	type result struct {
		body string
		err  error
	}
	got := make(chan result, 1)
	go func() {
		res, err := client.Post(url+"/api/v1/explain", "application/json", strings.NewReader(`{"to":"1"}`))
		if err != nil {
			got <- result{err: err}
			return
		}
		b, err := io.ReadAll(res.Body)
		got <- result{string(b), errors.Join(err, res.Body.Close())}
	}()
	<-entered
	ended := make(chan error, 1)
	go func() { ended <- stop() }()
	for { // until the listener is closed, the request being in progress
		c, err := net.Dial("tcp", strings.TrimPrefix(url, "http://"))
		if err != nil {
			break
		}
		if err := c.Close(); err != nil {
			t.Fatal(err)
		}
	}
	close(release)
	if r := <-got; r.err != nil || !strings.Contains(r.body, `"target":"202"`) {
		t.Errorf("the request in progress got %q, %v", r.body, r.err)
	}
	if err := <-ended; err != nil {
		t.Errorf("Run: %v", err)
	}
}

func TestRunReportsADeadListener(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	h := setup(t, func(c *web.Config) { c.Listener = l })
	if err := h.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "serve http") {
		t.Errorf("Run on a closed listener: %v", err)
	}
}

func TestOverTheWire(t *testing.T) {
	t.Parallel()
	h, url, _ := serve(t)
	h.ring.Add(call.Record{ID: "abc", Times: call.Times{Started: time.Now()}})
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := client.Get(url + "/api/v1/calls/abc")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if res.StatusCode != 200 || res.Header.Get("Content-Type") != "application/json; charset=utf-8" {
		t.Errorf("status %d, %v", res.StatusCode, res.Header)
	}
}
