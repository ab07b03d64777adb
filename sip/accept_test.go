package sip

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

func prefixes(ss ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range ss {
		if !strings.Contains(s, "/") {
			a := netip.MustParseAddr(s)
			out = append(out, netip.PrefixFrom(a, a.BitLen()))
			continue
		}
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

func TestPeerTable(t *testing.T) {
	t.Parallel()
	table, err := newPeerTable([]Peer{
		{Name: "net", Sources: prefixes("10.0.0.0/8", "2001:db8::/32")},
		{Name: "subnet", Sources: prefixes("10.1.0.0/16")},
		{Name: "trunk", Sources: prefixes("10.1.2.3", "::ffff:10.9.9.9")},
		{Name: "node1", PBX: true, Sources: prefixes("10.1.2.3"), Port: 5070},
		{Name: "node2", PBX: true, Sources: prefixes("10.1.0.0/16"), Port: 5080},
		{Name: "node3", PBX: true, Sources: prefixes("192.0.2.1"), Port: 5070},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		src    string
		stream bool
		want   string
	}{
		{"10.2.0.1:1", false, "net"}, {"10.1.0.1:1", false, "subnet"}, {"10.1.2.3:5060", false, "trunk"}, {"10.1.2.3:5070", false, "node1"},
		{"10.1.2.3:5080", false, "node2"}, {"10.9.9.9:1", false, "trunk"}, {"[::ffff:10.1.2.3]:5070", false, "node1"},
		{"[2001:db8::5]:1", false, "net"}, {"[fe80::1%eth0]:1", false, ""}, {"11.0.0.1:1", false, ""},
		{"192.0.2.1:5070", false, "node3"}, {"192.0.2.1:5071", false, ""}, {"192.0.2.1:40000", true, "node3"}, {"10.1.2.3:40000", true, "trunk"},
	} {
		got := ""
		if p := table.find(netip.MustParseAddrPort(c.src), c.stream); p != nil {
			got = p.Name
		}
		if got != c.want {
			t.Errorf("%s (stream %v) is %q, want %q", c.src, c.stream, got, c.want)
		}
	}
}

func TestPeerTableErrors(t *testing.T) {
	t.Parallel()
	for want, peers := range map[string][]Peer{
		`peer "a" has no source address`:                                          {{Name: "a"}},
		`peer "a" has an invalid source address`:                                  {{Name: "a", Sources: make([]netip.Prefix, 1)}},
		`peers "a" and "b" share the source 10.0.0.1/32: give one of them a port`: {{Name: "a", Sources: prefixes("10.0.0.1")}, {Name: "b", Sources: prefixes("10.0.0.1")}},
		`peers "a" and "b" share the source 10.0.0.1/32 port 5070`:                {{Name: "a", Sources: prefixes("10.0.0.1"), Port: 5070}, {Name: "b", Sources: prefixes("10.0.0.1"), Port: 5070}},
	} {
		if _, err := newPeerTable(peers); err == nil || err.Error() != want {
			t.Errorf("error %v, want %s", err, want)
		}
	}
}

func TestCredentialsHidePassword(t *testing.T) {
	t.Parallel()
	c := Credentials{User: "u", Password: "secret", Realm: "r"}
	var log strings.Builder
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "credentials", c, "peer", Peer{Credentials: &c})
	for _, s := range []string{fmt.Sprint(c), fmt.Sprintf("%v %+v %#v", c, c, c), fmt.Sprintf("%v %+v", &c, Peer{Credentials: &c}), log.String()} {
		if strings.Contains(s, "secret") {
			t.Errorf("password shown: %s", s)
		}
	}
}

// bench is a wire on a loopback socket whose delivered messages are collected.
type bench struct {
	*wire
	got  chan *message
	udp  netip.AddrPort
	tcp  netip.AddrPort
	logs *lines
}

// lines counts log lines.
type lines struct {
	mu sync.Mutex
	n  int
}

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.n++
	return len(b), nil
}

func (l *lines) count() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.n
}

// poison is a body that makes startWire's receiver panic.
const poison = "poison"

// startWire serves udp and tcp on loopback; every source in peers is listed.
func startWire(t testing.TB, unknown Unknown, peers ...Peer) *bench {
	t.Helper()
	b := &bench{got: make(chan *message, 1024), logs: &lines{}}
	cfg := Config{UnknownSource: unknown, Logger: slog.New(slog.NewTextHandler(b.logs, nil))}
	for _, uri := range []string{"udp://127.0.0.1:0", "tcp://127.0.0.1:0"} {
		l, err := Listen(t.Context(), uri, nil)
		if err != nil {
			t.Fatal(err)
		}
		cfg.Listeners = append(cfg.Listeners, l)
	}
	w, err := newWire(cfg, func(m *message) {
		if m.req != nil && m.req.Body() != nil && string(m.req.Body()) == poison {
			panic("poisoned")
		}
		b.got <- m
	})
	if err != nil {
		t.Fatal(err)
	}
	b.wire, b.udp, b.tcp = w, w.sockets[0].bound, w.sockets[1].bound
	if err := w.setPeers(peers); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancelCause(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- w.run(ctx) }()
	done := errors.New("test done")
	t.Cleanup(func() {
		cancel(done)
		if err := <-ended; !errors.Is(err, done) {
			t.Errorf("run ended with %v", err)
		}
	})
	return b
}

func anybody() Peer { return Peer{Name: "trunk", Sources: prefixes("127.0.0.0/8")} }

// phone is a UDP socket on addr that talks to the wire.
func phone(t testing.TB, addr string, to netip.AddrPort) *net.UDPConn {
	t.Helper()
	c, err := net.DialUDP("udp", net.UDPAddrFromAddrPort(netip.MustParseAddrPort(addr)), net.UDPAddrFromAddrPort(to))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func say(t testing.TB, c net.Conn, b []byte) {
	t.Helper()
	if _, err := c.Write(b); err != nil {
		t.Fatal(err)
	}
}

// hear is the next message on c within a while, empty without one.
func hear(t testing.TB, c net.Conn, within time.Duration) string {
	t.Helper()
	if err := c.SetReadDeadline(time.Now().Add(within)); err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 65536)
	n, err := c.Read(buf)
	if err != nil {
		return ""
	}
	return string(buf[:n])
}

func next(t testing.TB, b *bench) *message {
	t.Helper()
	select {
	case m := <-b.got:
		return m
	case <-time.After(10 * time.Second):
		t.Fatal("nothing was delivered")
		return nil
	}
}

// An unlisted source gets silence, and the listed one after it is served: the
// socket keeps its order, so nothing was sent before.
func TestUnlistedSourceGetsSilence(t *testing.T) {
	t.Parallel()
	b := startWire(t, Ignore, Peer{Name: "trunk", Sources: prefixes("127.0.0.1")})
	stranger, known := phone(t, "127.0.0.2:0", b.udp), phone(t, "127.0.0.1:0", b.udp)
	for range 100 {
		say(t, stranger, testInvite())
		say(t, stranger, request("REGISTER"))
		say(t, stranger, []byte("junk"))
	}
	say(t, known, request("OPTIONS"))
	if m := next(t, b); m.peer.Name != "trunk" || m.src.Addr().String() != "127.0.0.1" {
		t.Errorf("delivered from %v", m.src)
	}
	if got := b.count.dropped[dropUnlisted].Load(); got != 300 {
		t.Errorf("%d dropped, want 300", got)
	}
	if s := hear(t, stranger, 20*time.Millisecond); s != "" {
		t.Errorf("the stranger heard\n%s", s)
	}
	if n := b.logs.count(); n > 3 {
		t.Errorf("%d log lines for 300 datagrams", n)
	}
}

func TestUnlistedSourceIsRefusedOnce(t *testing.T) {
	t.Parallel()
	b := startWire(t, Refuse, Peer{Name: "trunk", Sources: prefixes("127.0.0.1")})
	stranger := phone(t, "127.0.0.2:0", b.udp)
	say(t, stranger, request("ACK"))
	say(t, stranger, []byte(strings.Replace(string(request("OPTIONS")), "OPTIONS sip:a@h SIP/2.0", "SIP/2.0 200 OK", 1)))
	say(t, stranger, []byte("junk"))
	say(t, stranger, []byte("\r\n\r\n"))
	say(t, stranger, testInvite())
	if s := hear(t, stranger, 5*time.Second); !strings.HasPrefix(s, "SIP/2.0 403 Forbidden\r\n") {
		t.Errorf("the stranger heard %q", s)
	} else if len(s) > len(testInvite()) {
		t.Errorf("the answer is larger (%d) than the request (%d)", len(s), len(testInvite()))
	}
	if s := hear(t, stranger, 20*time.Millisecond); s != "" {
		t.Errorf("a second answer:\n%s", s)
	}
	if len(b.got) > 0 {
		t.Error("something was delivered")
	}
}

func TestTrunkAndNodeOnOneAddress(t *testing.T) {
	t.Parallel()
	node := phone(t, "127.0.0.1:0", netip.MustParseAddrPort("127.0.0.1:9")) // takes a port
	port := addrPort(node.LocalAddr()).Port()
	_ = node.Close()
	b := startWire(t, Ignore, anybody(), Peer{Name: "node", PBX: true, Sources: prefixes("127.0.0.1"), Port: port})
	say(t, phone(t, fmt.Sprintf("127.0.0.1:%d", port), b.udp), request("OPTIONS"))
	if m := next(t, b); m.peer.Name != "node" || !m.peer.PBX {
		t.Errorf("the node is taken for %s", m.peer.Name)
	}
	say(t, phone(t, "127.0.0.1:0", b.udp), request("OPTIONS"))
	if m := next(t, b); m.peer.Name != "trunk" {
		t.Errorf("the trunk is taken for %s", m.peer.Name)
	}
}

func TestPeersAreReplaced(t *testing.T) {
	t.Parallel()
	b := startWire(t, Ignore, Peer{Name: "trunk", Sources: prefixes("127.0.0.2")})
	c := phone(t, "127.0.0.3:0", b.udp)
	say(t, c, request("OPTIONS"))
	if err := b.setPeers([]Peer{{Name: "a"}}); err == nil {
		t.Fatal("a peer without sources is taken")
	}
	say(t, phone(t, "127.0.0.2:0", b.udp), request("INFO")) // the old table still holds
	if m := next(t, b); m.req.Method != "INFO" {
		t.Fatalf("delivered %s", m.req.Method)
	}
	if err := b.setPeers([]Peer{{Name: "new", Sources: prefixes("127.0.0.3")}}); err != nil {
		t.Fatal(err)
	}
	say(t, c, request("OPTIONS"))
	if m := next(t, b); m.peer.Name != "new" {
		t.Errorf("delivered from %s", m.peer.Name)
	}
	open := dial(t, "127.0.0.3", b.tcp)
	say(t, open, []byte(streamed("OPTIONS", "")))
	next(t, b)
	if err := b.setPeers([]Peer{{Name: "other", Sources: prefixes("127.0.0.4")}}); err != nil {
		t.Fatal(err)
	}
	say(t, open, []byte(streamed("OPTIONS", "")))
	if !closed(t, open, 5*time.Second) || len(b.got) > 0 {
		t.Error("a connection outlives its peer")
	}
}

func TestSampler(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var s sampler
		n := 0
		for range 1000 {
			if s.allow(time.Now()) {
				n++
			}
			time.Sleep(10 * time.Millisecond) // the bubble's clock
		}
		if n < 9 || n > 11 {
			t.Errorf("%d events in 10 s", n)
		}
	})
}

// memConn is a socket without a kernel, for the cost of the path alone.
type memConn struct {
	net.PacketConn
	b    []byte
	src  net.Addr
	left int
}

func (c *memConn) ReadFrom(b []byte) (int, net.Addr, error) {
	if c.left == 0 {
		return 0, nil, net.ErrClosed
	}
	c.left--
	return copy(b, c.b), c.src, nil
}
func (c *memConn) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(testSource) }
func (c *memConn) Close() error        { return nil }

func BenchmarkAccept(b *testing.B) {
	peers := make([]Peer, 50)
	for i := range peers {
		peers[i] = Peer{Name: fmt.Sprint(i), Sources: prefixes(fmt.Sprintf("10.%d.0.0/16", i), fmt.Sprintf("10.99.0.%d", i))}
	}
	conn := &memConn{b: testInvite(), src: net.UDPAddrFromAddrPort(netip.MustParseAddrPort("203.0.113.9:5060")), left: -1}
	w, err := newWire(Config{Listeners: []Listener{{Network: "udp", PacketConn: conn}}}, func(*message) {})
	if err != nil {
		b.Fatal(err)
	}
	if err := w.setPeers(peers); err != nil {
		b.Fatal(err)
	}
	for name, src := range map[string]string{"unlisted": "203.0.113.9:5060", "listed": "10.7.3.3:5060"} {
		b.Run(name, func(b *testing.B) {
			from := netip.MustParseAddrPort(src)
			b.ReportAllocs()
			for b.Loop() {
				w.datagram(conn.b, w.sockets[0], from)
			}
		})
	}
}
