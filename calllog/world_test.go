package calllog_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"frontdesk/call"
	"frontdesk/calllog"
	"frontdesk/crm"
	"frontdesk/crm/crmtest"
	"frontdesk/store"
)

// newPortal is a portal with the people of policy.
func newPortal(o crmtest.Options) *crmtest.Portal {
	p := crmtest.New(o)
	p.AddDepartment(crmtest.Department{ID: 3, Name: "Sales", Head: 70})
	for id, ext := range map[int]string{61: "201", 65: "205", 70: "270", 99: ""} {
		u := crmtest.User{ID: id, FirstName: fmt.Sprint("U", id), Extension: ext}
		if id == 61 {
			u.Departments = []int{3}
		}
		p.AddUser(u)
	}
	return p
}

// world is a portal, and a frontdesk that may be killed and started again.
type world struct {
	t      testing.TB
	dsn    string
	portal *crmtest.Portal
	line   *line
	policy func() calllog.Policy
	sounds calllog.Recordings
	hooks  map[int]crm.Webhook
	clock  func() time.Time // the store's; nil: the real one
	shared *store.Store     // of another world, where a second one cannot be opened

	unsaved string
	known   func(call.Record)

	store *store.Store
	log   *calllog.Log
	stop  func()
}

func newWorld(t testing.TB, dsn string, p *crmtest.Portal) *world {
	w := &world{t: t, dsn: dsn, portal: p, line: &line{portal: p}, policy: policy}
	t.Cleanup(func() { w.stop() })
	w.stop = func() {}
	return w
}

// line carries requests to the portal in memory, and loses some.
type line struct {
	portal *crmtest.Portal

	mu       sync.Mutex
	requests int
	lose     func(n int, method string) fate
}

// fate is what becomes of a request.
type fate int

const (
	arrives  fate = iota
	refused       // the portal is not reached
	lost          // the portal does it, and the answer is lost
	killed        // the portal does it, and the process dies
	unsent        // the process dies before
	overload      // the portal is full
)

var errLine = errors.New("the line is cut")

// RoundTrip hands a request to the portal.
func (l *line) RoundTrip(r *http.Request) (*http.Response, error) {
	method := strings.TrimSuffix(r.URL.Path[strings.LastIndexByte(r.URL.Path, '/')+1:], ".json")
	l.mu.Lock()
	l.requests++
	what := arrives
	if l.lose != nil {
		what = l.lose(l.requests, method)
	}
	l.mu.Unlock()
	if what == refused || what == unsent {
		return nil, errLine
	}
	if what == overload {
		return &http.Response{StatusCode: 503, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(`{"error":"QUERY_LIMIT_EXCEEDED"}`)), Request: r}, nil
	}
	rec := httptest.NewRecorder()
	l.portal.ServeHTTP(rec, r)
	if what == lost || what == killed {
		return &http.Response{StatusCode: 502, Header: http.Header{}, Body: io.NopCloser(strings.NewReader("<html>")), Request: r}, nil
	}
	res := rec.Result()
	res.Request = r
	return res, nil
}

func (l *line) set(lose func(n int, method string) fate) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lose = lose
}

// start opens the store and makes a log; run it with live, or do its jobs by
// hand.
func (w *world) start() {
	w.t.Helper()
	log := slog.New(slog.NewTextHandler(w.t.Output(), &slog.HandlerOptions{Level: slog.LevelWarn}))
	var err error
	if w.store = w.shared; w.store == nil {
		w.store, err = store.Open(w.t.Context(), w.dsn, store.Options{
			Logger: log, Queues: map[string]int{calllog.Queue: 4}, History: 100 * 365 * 24 * time.Hour, Now: w.clock,
		})
		must(w.t, err)
	}
	client, err := crm.New(crm.Config{
		Webhook: "http://portal.test/rest/1/secret/", Country: "RU", Transport: w.line, Rate: crm.Rate{PerSecond: 1e6, Burst: 1e6},
		Voices: crm.Voices{Employees: w.hooks},
	})
	must(w.t, err)
	began := time.Now()
	w.log = calllog.New(calllog.Config{
		Store: w.store, CRM: client, Policy: w.policy, Recordings: w.sounds, Unsaved: w.unsaved, Known: w.known, Logger: log,
		Now: func() time.Time { return monday.Add(time.Since(began)) }, // the day of the calls
	})
	w.stop = sync.OnceFunc(func() {
		client.Close()
		if w.shared == nil {
			must(w.t, w.store.Close())
		}
	})
}

// beside starts a second frontdesk on the same portal and database. On SQLite,
// where there is one process, it is a second log in it.
func (w *world) beside() *world {
	w.t.Helper()
	other := newWorld(w.t, w.dsn, w.portal)
	other.clock, other.policy = w.clock, w.policy
	if w.dsn[0] == 's' {
		other.shared = w.store
	}
	other.start()
	return other
}

// live starts the log and the store's jobs too.
func (w *world) live() {
	w.t.Helper()
	w.start()
	closeAll := w.stop
	ctx, cancel := context.WithCancel(w.t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { must(w.t, w.store.Run(ctx)) })
	wg.Go(func() { must(w.t, w.log.Run(ctx)) })
	w.stop = sync.OnceFunc(func() {
		cancel()
		wg.Wait()
		closeAll()
	})
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// eventually polls until ok.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	over := time.After(20 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-over:
			t.Fatalf("not in time: %s", what)
		}
	}
}

// done waits until nothing is owed for a call.
func (w *world) done(id string) call.Record {
	w.t.Helper()
	var out call.Record
	defer func() {
		if r, _, err := w.store.Record(w.t.Context(), id); w.t.Failed() {
			w.t.Logf("%s: %v %+v", id, err, r.Ledger)
		}
	}()
	eventually(w.t, "everything is done for "+id, func() bool {
		r, state, err := w.store.Record(w.t.Context(), id)
		if errors.Is(err, store.ErrNotFound) {
			return false
		}
		must(w.t, err)
		for _, e := range r.Ledger {
			if e.State == call.StepWaiting {
				return false
			}
		}
		out = r
		return state == store.RecordSettled
	})
	return out
}

// ledger is a call's steps in words.
func ledger(r call.Record) string {
	var out []string
	for _, e := range r.Ledger {
		out = append(out, fmt.Sprintf("%s/%d %s", e.Step, e.Leg, e.State))
	}
	return strings.Join(out, ", ")
}

// entries are the portal's finished calls in words, and how many live ones.
func (w *world) entries() (finished []string, live int) {
	for _, c := range w.portal.Calls() {
		if !c.Finished {
			live++
			continue
		}
		finished = append(finished, fmt.Sprintf("%s type %d of %s line %s: %s %ds by %d", c.ExternalID, c.Type, c.Number, c.Line, c.Status, c.Duration, c.FinishedBy))
	}
	return finished, live
}

func (w *world) leads() (out []string) {
	for _, l := range w.portal.Leads() {
		out = append(out, fmt.Sprintf("%s %v", strings.Join(l.Phones, ","), l.Owners))
	}
	return out
}
