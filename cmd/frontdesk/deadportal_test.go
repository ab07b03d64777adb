package main

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"frontdesk/call"
	"frontdesk/cmd/frontdesk/config"
	"frontdesk/crm"
	"frontdesk/crm/crmtest"
	"frontdesk/routing"
	"frontdesk/store"
)

// line joins a client to a portal in memory, and can be cut.
type line struct {
	http.Handler
	cut atomic.Bool
}

func (l *line) RoundTrip(r *http.Request) (*http.Response, error) {
	if l.cut.Load() {
		return nil, errors.New("connection refused")
	}
	w := httptest.NewRecorder()
	l.ServeHTTP(w, r)
	return w.Result(), nil
}

// reception decides as a call does, without one: live, then by the mirror.
type reception struct {
	cfg    *config.Config
	client *crm.Client
	mirror *crm.Mirror
}

func (r reception) decide(t *testing.T, caller call.Number) (routing.Decision, string) {
	t.Helper()
	f := routing.Facts{At: time.Now(), Trunk: "carrier", Caller: caller, DID: "+74951234567", Employees: r.client.Employees(),
		Numbers: call.Numbers{Extensions: r.cfg.PBX.Extensions, Queues: r.cfg.PBX.Queues}}
	if !r.cfg.Plan.Search(f) {
		t.Fatal("the plan does not ask the CRM")
	}
	ctx, cancel := context.WithTimeout(t.Context(), r.cfg.CRM.Deadline)
	defer cancel()
	f.CRM, _ = r.client.Lookup(ctx, caller) // the answer holds the error
	if f.CRM.Missing != "" {
		if a, ok := r.mirror.Lookup(caller, f.At); ok {
			a.Missing, a.Error = f.CRM.Missing, f.CRM.Error
			f.CRM = a
		}
	}
	if took := time.Since(f.At); took > r.cfg.CRM.Deadline {
		t.Errorf("the facts took %v, the deadline is %v", took, r.cfg.CRM.Deadline)
	}
	d := r.cfg.Plan.Decide(f)
	var trace strings.Builder
	if err := d.WriteText(&trace); err != nil {
		t.Fatal(err)
	}
	return d, trace.String()
}

// background runs f until the bubble's test ends.
func background(t *testing.T, f func(context.Context) error) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// TestPortalDeadForAnHour has known callers reach their managers after an hour
// of a dead portal, by a copy that says how old it is; one that is older than
// crm.mirror.max_age decides nothing, and the portal does again when it lives.
func TestPortalDeadForAnHour(t *testing.T) {
	t.Parallel()
	const known, managed, unknown = call.Number("+79161234567"), call.Number("+79161234568"), call.Number("+79161234569")
	file := filepath.Join(t.TempDir(), "frontdesk.db")
	synctest.Test(t, func(t *testing.T) {
		p := crmtest.New(crmtest.Options{})
		p.AddUser(crmtest.User{ID: 61, FirstName: "Olga", LastName: "Romanova", Extension: "201"})
		p.AddUser(crmtest.User{ID: 62, FirstName: "Petr", LastName: "Sidorov", Extension: "202"})
		p.AddContact(crmtest.Contact{Name: "Ivan", Responsible: 61, Phones: []string{string(known)}})
		p.AddContact(crmtest.Contact{
			Name: "Maria", Responsible: 61, Phones: []string{string(managed)}, Fields: map[string]any{"UF_CRM_FD_MANAGER": 62},
		})
		wire := &line{Handler: p}
		r := mirroredReception(t, file, wire)

		wants := func(caller call.Number, target call.Extension, o call.Outcome, says ...string) {
			t.Helper()
			d, trace := r.decide(t, caller)
			if d.Target != target || d.Outcome != o {
				t.Errorf("%s goes to %s by %s, want %s by %s", caller, d.Target, d.Outcome, target, o)
			}
			for _, part := range says {
				if !strings.Contains(trace, part) {
					t.Errorf("the trace does not say %q:\n%s", part, trace)
				}
			}
		}
		time.Sleep(10*time.Minute + 30*time.Second)
		wants(known, "201", call.OutcomeResponsible, "crm", "answered")

		wire.cut.Store(true)
		died := time.Now()
		for _, at := range []time.Duration{time.Second, time.Minute, 30 * time.Minute, time.Hour} {
			time.Sleep(time.Until(died.Add(at)))
			age := (30*time.Second + at).String() + " old" // since the last delta
			wants(known, "201", call.OutcomeResponsible, "answered by the mirror", age)
			wants(managed, "202", call.OutcomeManager, "answered by the mirror", age)
			wants(unknown, "800", call.OutcomeUnknown, "answered by the mirror", age)
		}
		time.Sleep(time.Until(died.Add(2 * time.Hour))) // beyond max_age
		wants(known, "800", call.OutcomeCRMError, "no answer")

		wire.cut.Store(false)
		time.Sleep(10 * time.Minute)
		wants(known, "201", call.OutcomeResponsible, "answered")
		if ok, why := r.mirror.Ready(time.Now()); !ok {
			t.Errorf("the mirror has not caught up: %s", why)
		}
	})
}

// mirroredReception is a reception whose mirror is fed by way of wire and kept
// in a file, as serve wires them.
func mirroredReception(t *testing.T, file string, wire http.RoundTripper) reception {
	t.Helper()
	cfg, problems := config.Parse("frontdesk.yaml", []byte(`{trunks: {carrier: {sources: [192.0.2.1]}},
		pbx: {sip: ["sip:192.0.2.2:5060"], extensions: [200-299], queues: [800]},
		crm: {mirror: {max_age: 2h, every: 5m}, bitrix24: {webhook: "http://portal.test/rest/1/secret/"}},
		rules: [{name: all, default: "800"}]}`), func(string) (string, bool) { return "", false })
	if problems.HasErrors() {
		t.Fatal(problems)
	}
	log := slog.New(slog.DiscardHandler)
	portal := portalConfig(cfg, log)
	portal.Transport = wire
	client, err := crm.New(portal)
	if err != nil {
		t.Fatal(err)
	}
	st, err := store.Open(t.Context(), "sqlite:"+file, store.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	})
	mirror, err := newMirror(cfg, client, st, log, nil)
	if err != nil {
		t.Fatal(err)
	}
	background(t, client.Run)
	background(t, mirror.Run)
	return reception{cfg, client, mirror}
}
