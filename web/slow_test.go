package web_test

import (
	"context"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"frontdesk/web"
)

// pipes is a listener in memory, so that synctest drives the deadlines.
type pipes struct {
	conns  chan net.Conn
	closed chan struct{}
	close  func()
}

func newPipes() *pipes {
	p := &pipes{conns: make(chan net.Conn), closed: make(chan struct{})}
	p.close = sync.OnceFunc(func() { close(p.closed) })
	return p
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error { p.close(); return nil }

func (p *pipes) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 8080} }

// TestSlowClientsAreLetGo sends the beginning of something and waits for the
// server's patience to end.
func TestSlowClientsAreLetGo(t *testing.T) {
	t.Parallel()
	const whole = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
	for _, c := range []struct {
		name, sent string
		after      time.Duration
	}{
		{"a header that never ends", "GET /healthz HTTP/1.1\r\nHost: x\r\nX", 5 * time.Second},
		{"nothing at all", "", 5 * time.Second},
		{"idle after a request", whole, 60 * time.Second},
		{"a body that never comes", "POST /api/v1/explain HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9\r\n\r\n{", 10 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l := newPipes()
				h := setup(t, func(cfg *web.Config) { cfg.Listener = l })
				ctx, cancel := context.WithCancel(t.Context())
				done := make(chan error, 1)
				go func() { done <- h.Run(ctx) }()
				near, far := net.Pipe()
				began := time.Now()
				l.conns <- local{far}
				go func() { _, _ = io.Copy(near, strings.NewReader(c.sent)) }() // ends with the connection
				if _, err := io.Copy(io.Discard, near); err != nil {
					t.Error(err)
				}
				if took := time.Since(began); took < c.after || took > c.after+time.Second {
					t.Errorf("let go after %v, want %v", took, c.after)
				}
				if err := near.Close(); err != nil {
					t.Error(err)
				}
				cancel()
				if err := <-done; err != nil {
					t.Error(err)
				}
			})
		})
	}
}

// local is a pipe that comes from this machine.
type local struct{ net.Conn }

func (local) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 40000} }
