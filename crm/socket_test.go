package crm_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"frontdesk/call"
	"frontdesk/crm"
	"frontdesk/crm/crmtest"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// serve puts p on real sockets and joins a client to it.
func serve(t testing.TB, p *crmtest.Portal, secure bool, change ...func(*crm.Config)) (*crm.Client, *crmtest.Server) {
	t.Helper()
	s, err := crmtest.Start(p, crmtest.ServerConfig{TLS: secure, Secret: canary})
	if err != nil {
		t.Fatal(err)
	}
	cfg := crm.Config{Webhook: crm.Webhook(s.Webhook()), Country: "RU", Fields: fields}
	if secure {
		cfg.Transport = &http.Transport{TLSClientConfig: &tls.Config{RootCAs: s.CertPool()}}
	}
	for _, f := range change {
		f(&cfg)
	}
	c, err := crm.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return c, s
}

func knownPortal() *crmtest.Portal {
	p := newPortal(crmtest.Options{})
	p.AddContact(crmtest.Contact{Name: "Ann", Responsible: 61, Phones: []string{string(number)}})
	return p
}

// lookup asks within d, which a healthy portal needs nothing of.
func lookup(t testing.TB, c *crm.Client, d time.Duration) (call.Answer, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	defer cancel()
	a, err := c.Lookup(ctx, number)
	if err != nil && strings.Contains(err.Error()+a.Error, canary) {
		t.Errorf("the error shows the secret: %v", err)
	}
	return a, err
}

func wantAnn(t testing.TB, c *crm.Client) {
	t.Helper()
	a, err := lookup(t, c, 10*time.Second)
	if err != nil || len(a.Entities) != 1 || a.Entities[0].Name != "Ann" {
		t.Fatalf("look-up: %+v, %v", a, err)
	}
}

func TestRenamedPortal(t *testing.T) {
	t.Parallel()
	for _, secure := range []bool{false, true} {
		p := knownPortal()
		c, _ := serve(t, p, secure)
		wantAnn(t, c)
		p.SetFault(crmtest.Fault{Kind: crmtest.Moved})
		before := p.Total()
		if err := c.Call(t.Context(), crm.LaneLog, "user.current", nil, nil); err != nil {
			t.Fatal(err)
		}
		if err := c.Call(t.Context(), crm.LaneLog, "user.current", nil, nil); err != nil {
			t.Fatal(err)
		}
		requests := p.Requests()[before:]
		if len(requests) != 3 {
			t.Errorf("%d requests, want one that is redirected and two at the new address", len(requests))
		}
		for _, r := range requests {
			if r.HTTP != http.MethodPost || r.User != 1 {
				t.Errorf("%s as user %d: the POST was not repeated as it was", r.HTTP, r.User)
			}
		}
	}
}

// A redirect away from https, to the same place, or without end is not followed.
func TestBadRedirects(t *testing.T) {
	t.Parallel()
	p := knownPortal()
	c, s := serve(t, p, true)
	for _, to := range []string{"http://127.0.0.1:1", "ftp://127.0.0.1", "://", s.URL()} {
		p.SetFault(crmtest.Fault{Kind: crmtest.Moved, Location: to})
		a, err := lookup(t, c, 10*time.Second)
		if a.Missing != call.MissingError || err == nil {
			t.Errorf("redirected to %s: %+v, %v", to, a, err)
		}
	}
	p.Heal()
	if _, err := lookup(t, c, 10*time.Second); err != nil {
		t.Error(err)
	}
}

func TestRefusedAndStalledSockets(t *testing.T) {
	t.Parallel()
	for _, kind := range []crmtest.Kind{crmtest.Refuse, crmtest.TLSStall} {
		p := knownPortal()
		c, s := serve(t, p, true)
		turn(t, s, http.MethodPost, "?kind="+string(kind))
		a, err := lookup(t, c, 300*time.Millisecond)
		if want := map[crmtest.Kind]call.Missing{crmtest.Refuse: call.MissingError, crmtest.TLSStall: call.MissingDeadline}[kind]; a.Missing != want {
			t.Errorf("%s: %+v, %v", kind, a, err)
		}
		turn(t, s, http.MethodDelete, "")
		c.Close() // gives the late request up, so that the next one is new
		wantAnn(t, c)
	}
}

func TestUntrustedCertificate(t *testing.T) {
	t.Parallel()
	c, _ := serve(t, knownPortal(), true, func(c *crm.Config) { c.Transport = nil })
	if a, err := lookup(t, c, 10*time.Second); a.Missing != call.MissingError || !strings.Contains(err.Error(), "certificate") {
		t.Errorf("%+v, %v", a, err)
	}
}

// turn sets or heals a fault as an engineer does with curl.
func turn(t *testing.T, s *crmtest.Server, method, query string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, s.Knobs()+"/_sandbox/fault"+query, nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DisableKeepAlives: true}
	res, err := transport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	if body, err := io.ReadAll(res.Body); err != nil || res.StatusCode != 200 {
		t.Fatalf("%d %s %v", res.StatusCode, body, err)
	}
}

// The portal closes idle connections; the next look-up does not pay for that.
func TestClosedIdleConnection(t *testing.T) {
	t.Parallel()
	p := knownPortal()
	c, s := serve(t, p, false)
	for range 3 {
		wantAnn(t, c)
		turn(t, s, http.MethodPost, "?kind=refuse")
		turn(t, s, http.MethodDelete, "")
		wantAnn(t, c)
	}
}

func TestNew(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{
		"", "ftp://x/rest/1/" + canary + "/", "https:///rest/1/" + canary + "/", "https://x/", "https://x/1/" + canary,
		"https://x/rest/1/" + canary + "/?auth=1", "https://x/%zz/" + canary, "https://x y/rest/1/" + canary + "/",
	} {
		if _, err := crm.New(crm.Config{Webhook: crm.Webhook(bad)}); err == nil || strings.Contains(err.Error(), canary) {
			t.Errorf("New(%q): %v", bad, err)
		}
	}
	if _, err := crm.New(crm.Config{Webhook: "https://portal.example/rest/1/" + canary}); err != nil {
		t.Error(err)
	}
}

func TestMissingOf(t *testing.T) {
	t.Parallel()
	for err, want := range map[error]call.Missing{
		nil: "", crm.ErrDeadline: call.MissingDeadline, crm.ErrFailed: call.MissingError, crm.ErrSkipped: call.MissingSkipped,
		crm.ErrNotAsked: call.MissingNotAsked, context.DeadlineExceeded: call.MissingDeadline, io.EOF: call.MissingError,
		errors.Join(crm.ErrSkipped, crm.ErrFailed): call.MissingSkipped,
	} {
		if got := crm.MissingOf(err); got != want {
			t.Errorf("%v is %q, want %q", err, got, want)
		}
	}
}

// BenchmarkLookup asks a portal live, on loopback: one that answers at once, and
// one that takes as long as real ones do. Run with
// go test -run '^$' -bench 'Lookup|Million' ./crm; what it reports is in
// docs/performance.md.
func BenchmarkLookup(b *testing.B) {
	for _, latency := range []time.Duration{0, 200 * time.Millisecond} {
		b.Run("latency="+latency.String(), func(b *testing.B) {
			p := knownPortal()
			c, _ := serve(b, p, false, func(c *crm.Config) { c.Rate = crm.Rate{PerSecond: 1e9, Burst: 1e9} })
			wantAnn(b, c)
			p.SetFault(crmtest.Fault{Latency: latency})
			b.ReportAllocs()
			times := make([]time.Duration, 0, 1<<16)
			for b.Loop() {
				began := time.Now()
				if _, err := c.Lookup(b.Context(), number); err != nil {
					b.Fatal(err)
				}
				if len(times) < cap(times) {
					times = append(times, time.Since(began))
				}
			}
			slices.Sort(times)
			b.ReportMetric(float64(times[len(times)/2].Microseconds()), "p50-us")
			b.ReportMetric(float64(times[len(times)*99/100].Microseconds()), "p99-us")
		})
	}
}
