package crm_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"frontdesk/call"
	"frontdesk/crm"
	"frontdesk/crm/crmtest"
)

const (
	canary   = "c4n4rysecret"
	number   = call.Number("+79161234567")
	deadline = 2500 * time.Millisecond
)

var fields = crm.Fields{
	Manager: "UF_CRM_FD_MANAGER", Temporary: "UF_CRM_FD_TEMP_MANAGER", Until: "UF_CRM_FD_TEMP_UNTIL",
	Direct: "UF_CRM_FD_DIRECT", NoSticky: "UF_CRM_FD_NO_STICKY", Sticky: "UF_USR_FD_STICKY",
}

// newPortal is a portal with two employees, 201 and 202.
func newPortal(o crmtest.Options) *crmtest.Portal {
	o.Secret = canary
	p := crmtest.New(o)
	p.AddUser(crmtest.User{ID: 61, FirstName: "Olga", LastName: "R", Extension: "201"})
	p.AddUser(crmtest.User{ID: 62, FirstName: "Ivan", LastName: "P", Extension: "202"})
	return p
}

// pipes is a listener in memory, so that everything may run in a synctest
// bubble.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	once   sync.Once
	dead   func(ctx context.Context) error // dialling fails or hangs by it, if set

	mu   sync.Mutex
	open []*wire
}

// wire is the client's end of a connection; once dead, what is written to it
// goes nowhere.
type wire struct {
	net.Conn
	dead atomic.Bool
}

func (w *wire) Write(b []byte) (int, error) {
	if w.dead.Load() {
		return len(b), nil
	}
	return w.Conn.Write(b)
}

// swallow makes all connections there are dead.
func (p *pipes) swallow() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range p.open {
		w.dead.Store(true)
	}
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), closed: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { p.once.Do(func() { close(p.closed) }); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "memory"} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	if p.dead != nil {
		if err := p.dead(ctx); err != nil {
			return nil, err
		}
	}
	here, there := net.Pipe()
	select {
	case p.conns <- there:
		w := &wire{Conn: here}
		p.mu.Lock()
		p.open = append(p.open, w)
		p.mu.Unlock()
		return w, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-p.closed:
		return nil, errors.New("connection refused")
	}
}

// world is a client and its portal, joined in memory.
type world struct {
	*crm.Client
	portal *crmtest.Portal
	net    *pipes
	log    *locked
}

// newWorld joins a client to p; to be called within a synctest bubble, all of
// whose goroutines must have ended at the end of the test.
func newWorld(t testing.TB, p *crmtest.Portal, change ...func(*crm.Config)) *world {
	t.Helper()
	w := &world{portal: p, net: newPipes(), log: &locked{}}
	server := &http.Server{Handler: p}
	go func() { _ = server.Serve(w.net) }()
	cfg := crm.Config{
		Webhook: "http://portal.test/rest/1/" + canary + "/", Country: "RU", Fields: fields,
		Transport: &http.Transport{DialContext: w.net.dial},
		Logger:    slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	for _, f := range change {
		f(&cfg)
	}
	c, err := crm.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	w.Client = c
	t.Cleanup(func() {
		c.Close()
		p.Close()
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		if strings.Contains(w.log.String(), canary) {
			t.Errorf("the log shows the secret:\n%s", w.log)
		}
	})
	return w
}

// locked is a buffer that several may write.
type locked struct {
	mu sync.Mutex
	w  bytes.Buffer
}

func (l *locked) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.String()
}

func (l *locked) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(b)
}

// run runs the client in the background until the test's end.
func (w *world) run(t testing.TB) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- w.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// ask looks n up as a call does, under the deadline.
func (w *world) ask(t testing.TB, n call.Number) (call.Answer, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), deadline)
	defer cancel()
	began := time.Now()
	a, err := w.Lookup(ctx, n)
	if took := time.Since(began); took > deadline {
		t.Errorf("the look-up took %v", took)
	}
	if err != nil && strings.Contains(err.Error()+a.Error, canary) {
		t.Errorf("the error shows the secret: %v", err)
	}
	return a, err
}

// found looks number up and wants an answer.
func (w *world) found(t testing.TB) []call.Entity {
	t.Helper()
	a, err := w.ask(t, number)
	if err != nil {
		t.Fatalf("look-up: %v", err)
	}
	if a.Source != call.SourceLive || a.Missing != "" {
		t.Errorf("answer from %q, missing %q", a.Source, a.Missing)
	}
	return a.Entities
}

// batches are the recorded batches that search.
func lookups(p *crmtest.Portal) int {
	n := 0
	for _, r := range p.Requests() {
		if len(r.Commands) > 0 && strings.Contains(r.Commands[0], "findbycomm") {
			n++
		}
	}
	return n
}
