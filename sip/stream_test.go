package sip

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

func dial(t testing.TB, from string, to netip.AddrPort) net.Conn {
	t.Helper()
	d := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	c, err := d.Dial("tcp", to.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// closed reports whether the other side closes c within a while.
func closed(t testing.TB, c net.Conn, within time.Duration) bool {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(within)); err != nil {
		t.Fatal(err)
	}
	_, err := io.Copy(io.Discard, c)
	return err == nil || errors.Is(err, syscall.ECONNRESET)
}

// statusLines reads n answers, which have no bodies.
func statusLines(t testing.TB, c net.Conn, n int) []string {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		t.Fatal(err)
	}
	var out []string
	r := bufio.NewReader(c)
	for len(out) < n {
		line, err := r.ReadString('\n')
		if err != nil {
			t.Fatalf("after %d answers: %v", len(out), err)
		}
		if strings.HasPrefix(line, "SIP/2.0 ") {
			out = append(out, strings.TrimSpace(line))
		}
	}
	return out
}

// E5: a hundred messages in one segment, and one in segments of a byte, get
// what they would over UDP.
func TestStreamPipeliningAndCuts(t *testing.T) {
	t.Parallel()
	b := startWire(t, Ignore, anybody())
	c := dial(t, "127.0.0.1", b.tcp)
	say(t, c, []byte(strings.Repeat(streamed("REGISTER", "")+"\r\n\r\n", 100)))
	for _, line := range statusLines(t, c, 100) {
		if line != "SIP/2.0 405 Method Not Allowed" {
			t.Fatal(line)
		}
	}
	slow := dial(t, "127.0.0.1", b.tcp)
	for _, ch := range []byte(streamed("OPTIONS", "body")) {
		say(t, slow, []byte{ch})
	}
	m := next(t, b)
	if string(m.req.Body()) != "body" || !m.flow.reliable() || m.flow.network() != "tcp" || m.flow.local() != b.tcp {
		t.Errorf("delivered %s over %s", m.req.Method, m.flow.network())
	}
	if err := m.flow.send([]byte("SIP/2.0 200 OK\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	if got := statusLines(t, slow, 1)[0]; got != "SIP/2.0 200 OK" {
		t.Error(got)
	}
}

func TestStreamKeepAlive(t *testing.T) {
	t.Parallel()
	b := startWire(t, Ignore, anybody())
	c := dial(t, "127.0.0.1", b.tcp)
	say(t, c, []byte("\r\n\r\n"))
	if got := hear(t, c, 5*time.Second); got != "\r\n" {
		t.Errorf("pong is %q", got)
	}
}

// E1: what cannot be framed is answered where it can be, and closed.
func TestStreamBadFrames(t *testing.T) {
	t.Parallel()
	b := startWire(t, Ignore, anybody())
	for name, c := range map[string]struct{ text, answer string }{
		"2 GB":             {string(request("OPTIONS", "Content-Length: 2147483648")), "SIP/2.0 400"},
		"no length":        {string(request("OPTIONS")), ""},
		"70 kB of header":  {"OPTIONS sip:a@h SIP/2.0\r\nX: " + strings.Repeat("x", 70_000), ""},
		"junk":             {strings.Repeat("junk", 20_000), ""},
		"no SIP with body": {"POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi", ""},
	} {
		conn := dial(t, "127.0.0.1", b.tcp)
		say(t, conn, []byte(c.text))
		if c.answer != "" {
			if got := hear(t, conn, 5*time.Second); !strings.HasPrefix(got, c.answer) {
				t.Errorf("%s: answered %q", name, got)
			}
		}
		if name != "no SIP with body" && !closed(t, conn, 5*time.Second) {
			t.Errorf("%s: still open", name)
		}
	}
	say(t, dial(t, "127.0.0.1", b.tcp), []byte(streamed("INFO", "")))
	for m := next(t, b); m.req.Method != "INFO"; m = next(t, b) {
	}
}

func TestStreamCaps(t *testing.T) {
	t.Parallel()
	b := startWire(t, Ignore, anybody())
	var conns []net.Conn
	for range streamsPerIP {
		c := dial(t, "127.0.0.1", b.tcp)
		say(t, c, []byte("\r\n\r\n"))
		if hear(t, c, 5*time.Second) == "" {
			t.Fatal("a connection within the cap is not served")
		}
		conns = append(conns, c)
	}
	if !closed(t, dial(t, "127.0.0.1", b.tcp), 5*time.Second) {
		t.Error("one connection over the cap is open")
	}
	other := dial(t, "127.0.0.2", b.tcp)
	say(t, other, []byte("\r\n\r\n"))
	if hear(t, other, 5*time.Second) == "" {
		t.Error("another address is not served")
	}
	_ = conns[0].Close()
	for range 1000 { // its place is free once the reader has seen the end
		c := dial(t, "127.0.0.1", b.tcp)
		say(t, c, []byte("\r\n\r\n"))
		if hear(t, c, 5*time.Second) == "\r\n" {
			return
		}
	}
	t.Error("a closed connection keeps its place")
}

func TestStreamUnlistedSource(t *testing.T) {
	t.Parallel()
	b := startWire(t, Ignore, Peer{Name: "trunk", Sources: prefixes("127.0.0.1")})
	if !closed(t, dial(t, "127.0.0.2", b.tcp), 5*time.Second) {
		t.Error("a stranger's connection is open")
	}
	r := startWire(t, Refuse, Peer{Name: "trunk", Sources: prefixes("127.0.0.1")})
	c := dial(t, "127.0.0.2", r.tcp)
	say(t, c, []byte(streamed("INVITE", "")))
	if got := statusLines(t, c, 1)[0]; got != "SIP/2.0 403 Forbidden" {
		t.Error(got)
	}
}

// pipeListener hands out the far ends of pipes, so that synctest drives the
// deadlines.
type pipeListener struct {
	conns chan net.Conn
	done  chan struct{}
	fail  chan error
}

func newPipeListener() *pipeListener {
	return &pipeListener{make(chan net.Conn), make(chan struct{}), make(chan error)}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case err := <-l.fail:
		return nil, err
	case <-l.done:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	select {
	case <-l.done:
	default:
		close(l.done)
	}
	return nil
}

func (l *pipeListener) Addr() net.Addr {
	return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 5060}
}

type pipeConn struct{ net.Conn }

func (pipeConn) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 40000} }

// servePipes runs f with a wire on a pipe listener within a synctest bubble.
func servePipes(t *testing.T, f func(t *testing.T, w *wire, l *pipeListener)) {
	synctest.Test(t, func(t *testing.T) {
		l := newPipeListener()
		w, err := newWire(Config{Listeners: []Listener{{Network: "tcp", Listener: l}}}, func(*message) {})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.setPeers([]Peer{anybody()}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error)
		go func() { ended <- w.run(ctx) }()
		f(t, w, l)
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("run ended with %v", err)
		}
	})
}

// E1: half a message keeps its connection for 30 s, silence for five minutes.
func TestStreamSlowloris(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{"": streamIdle, "INVITE sip:a@h SIP/2.0\r\nX": streamMessage} {
		servePipes(t, func(t *testing.T, w *wire, l *pipeListener) {
			near, far := net.Pipe()
			start := time.Now()
			l.conns <- pipeConn{far}
			var wg sync.WaitGroup
			wg.Go(func() { // one byte every ten seconds, for ever
				for i := 0; i < len(text) || text != ""; i++ {
					ch := byte('x')
					if i < len(text) {
						ch = text[i]
					} else {
						time.Sleep(10 * time.Second) // the bubble's clock
					}
					if _, err := near.Write([]byte{ch}); err != nil {
						return
					}
				}
			})
			_, err := io.Copy(io.Discard, near)
			if took := time.Since(start).Round(time.Second); err != nil || took != want {
				t.Errorf("closed after %s (%v), want %s", took, err, want)
			}
			synctest.Wait()
			if n := w.streams.len(); n != 0 {
				t.Errorf("%d connections are kept", n)
			}
			_ = near.Close()
			wg.Wait()
		})
	}
}

// A peer that does not read costs its connection, never a sender's time.
func TestStreamPeerThatDoesNotRead(t *testing.T) {
	t.Parallel()
	servePipes(t, func(t *testing.T, w *wire, l *pipeListener) {
		near, far := net.Pipe()
		l.conns <- pipeConn{far}
		synctest.Wait()
		f, err := w.flowTo(t.Context(), "tcp", netip.MustParseAddrPort("127.0.0.1:40000"))
		if err != nil {
			t.Fatal(err)
		}
		start, sent := time.Now(), 0
		for ; sent < 1000; sent++ {
			if err = f.send(make([]byte, 1<<10)); err != nil {
				break
			}
		}
		if !errors.Is(err, errStreamFull) || sent > 2*streamQueue>>10+1 || time.Since(start) != 0 {
			t.Errorf("%d messages in %s, then %v", sent, time.Since(start), err)
		}
		if err := f.send([]byte("x")); !errors.Is(err, errStreamClosed) {
			t.Errorf("sending on a closed connection: %v", err)
		}
		_ = near.Close()
	})
}

func TestAcceptErrorsPass(t *testing.T) {
	t.Parallel()
	servePipes(t, func(t *testing.T, w *wire, l *pipeListener) {
		for range 5 {
			l.fail <- &net.OpError{Op: "accept", Err: syscall.EMFILE}
		}
		near, far := net.Pipe()
		l.conns <- pipeConn{far}
		if _, err := near.Write([]byte("\r\n\r\n")); err != nil {
			t.Fatal(err)
		}
		pong := make([]byte, 2)
		if _, err := io.ReadFull(near, pong); err != nil || string(pong) != "\r\n" {
			t.Errorf("after EMFILE: %q, %v", pong, err)
		}
		_ = near.Close()
		synctest.Wait()
	})
}

// A connection the other side has closed is dialled anew.
func TestStreamRedial(t *testing.T) {
	t.Parallel()
	b := startWire(t, Ignore, anybody())
	server, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = server.Close() }()
	to := addrPort(server.Addr())
	var last flow
	for i := range 3 {
		f, err := b.flowTo(t.Context(), "tcp", to)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := b.flowTo(t.Context(), "tcp", to); err != nil || again != f {
			t.Errorf("a second flow takes another connection: %v", err)
		}
		if f == last || f.local() != b.tcp || f.remote() != to {
			t.Errorf("round %d: flow %v from %v", i, f.remote(), f.local())
		}
		last = f
		c, err := server.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if err := f.send([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		if got := hear(t, c, 5*time.Second); got != "hello" {
			t.Errorf("heard %q", got)
		}
		_ = c.Close()
		<-f.(*stream).done
	}
	_ = server.Close()
	if _, err := b.flowTo(t.Context(), "tcp", to); err == nil {
		t.Error("a flow to nobody")
	}
}

func selfSigned(t testing.TB) *tls.Config {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	cert := x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotAfter: time.Now().Add(time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	der, err := x509.CreateCertificate(rand.Reader, &cert, &cert, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(leaf)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}, RootCAs: roots, MinVersion: tls.VersionTLS12}
}

func TestStreamTLS(t *testing.T) {
	t.Parallel()
	got := make(chan *message, 8)
	config := selfSigned(t)
	newSide := func() *wire {
		l, err := Listen(t.Context(), "tls://127.0.0.1:0", config)
		if err != nil {
			t.Fatal(err)
		}
		w, err := newWire(Config{Listeners: []Listener{l}}, func(m *message) { got <- m })
		if err != nil {
			t.Fatal(err)
		}
		if err := w.setPeers([]Peer{anybody()}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error)
		go func() { ended <- w.run(ctx) }()
		t.Cleanup(func() { cancel(); <-ended })
		return w
	}
	a, b := newSide(), newSide()
	f, err := a.flowTo(t.Context(), "tls", b.sockets[0].bound)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.send([]byte(streamed("OPTIONS", ""))); err != nil {
		t.Fatal(err)
	}
	m := <-got
	if m.flow.network() != "tls" || m.req.Method != "OPTIONS" {
		t.Errorf("delivered %s over %s", m.req.Method, m.flow.network())
	}
	if err := m.flow.send([]byte(strings.Replace(streamed("OPTIONS", ""), "OPTIONS sip:a@h SIP/2.0", "SIP/2.0 200 OK", 1))); err != nil {
		t.Fatal(err)
	}
	if m := <-got; m.res == nil || m.res.StatusCode != 200 || m.src != b.sockets[0].bound {
		t.Errorf("answer %+v", m)
	}
	plain := dial(t, "127.0.0.1", b.sockets[0].bound) // no handshake
	say(t, plain, []byte(fmt.Sprint(streamed("OPTIONS", ""))))
	if !closed(t, plain, 10*time.Second) {
		t.Error("a connection that speaks no TLS stays open")
	}
}
