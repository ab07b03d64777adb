package sip

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	gosip "github.com/emiago/sipgo/sip"
	"github.com/prometheus/client_golang/prometheus"
)

func TestListen(t *testing.T) {
	t.Parallel()
	for _, uri := range []string{"udp://127.0.0.1:0", "tcp://127.0.0.1:0", "udp://[::1]:0"} {
		l, err := Listen(t.Context(), uri, nil)
		if err != nil {
			t.Fatal(err)
		}
		s, err := newSocket(l, "")
		if err != nil || s.bound.Port() == 0 {
			t.Errorf("%s is bound to %v: %v", uri, s.bound, err)
		}
		if l.PacketConn != nil {
			_ = l.PacketConn.Close()
		} else {
			_ = l.Listener.Close()
		}
	}
	for _, bad := range []string{"", "udp", "sctp://127.0.0.1:0", "tls://127.0.0.1:0", "udp://127.0.0.1:0/x", "udp://256.0.0.1:0", "udp://127.0.0.1:99999"} {
		if _, err := Listen(t.Context(), bad, nil); err == nil {
			t.Errorf("%q is listened on", bad)
		}
	}
}

func TestNewWireErrors(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]Config{
		"none":       {},
		"no socket":  {Listeners: []Listener{{Network: "udp"}}},
		"no network": {Listeners: []Listener{{PacketConn: &memConn{}}}},
	} {
		if _, err := newWire(cfg, nil); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

// wireOf is a wire on sockets in name only.
func wireOf(t testing.TB, advertise string, bound ...string) *wire {
	t.Helper()
	cfg := Config{Advertise: advertise}
	for _, b := range bound {
		network, addr, _ := strings.Cut(b, "://")
		l := Listener{Network: network}
		if network == "udp" {
			l.PacketConn = namedConn{addr: net.UDPAddrFromAddrPort(netip.MustParseAddrPort(addr))}
		} else {
			l.Listener = namedListener{addr: net.TCPAddrFromAddrPort(netip.MustParseAddrPort(addr))}
		}
		cfg.Listeners = append(cfg.Listeners, l)
	}
	w, err := newWire(cfg, func(*message) {})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

type namedConn struct {
	net.PacketConn
	addr net.Addr
}

func (c namedConn) LocalAddr() net.Addr { return c.addr }

type namedListener struct {
	net.Listener
	addr net.Addr
}

func (l namedListener) Addr() net.Addr { return l.addr }

func TestFlowToChoosesListener(t *testing.T) {
	t.Parallel()
	w := wireOf(t, "", "udp://127.0.0.1:5060", "udp://10.0.0.1:5060", "udp://[2001:db8::1]:5060")
	for to, want := range map[string]string{
		"127.0.0.1:5070": "127.0.0.1:5060", "10.0.0.9:5060": "10.0.0.1:5060", "192.0.2.9:5060": "10.0.0.1:5060",
		"[2001:db8::9]:5060": "[2001:db8::1]:5060", "[::ffff:10.0.0.9]:5060": "10.0.0.1:5060",
	} {
		f, err := w.flowTo(t.Context(), "udp", netip.MustParseAddrPort(to))
		if err != nil || f.local().String() != want {
			t.Errorf("%s is reached from %v, want %s (%v)", to, f.local(), want, err)
		}
	}
	if _, err := w.flowTo(t.Context(), "tcp", netip.MustParseAddrPort("10.0.0.9:5060")); err == nil {
		t.Error("a tcp flow without a tcp listener")
	}
	if _, err := wireOf(t, "", "udp://127.0.0.1:5060").flowTo(t.Context(), "udp", netip.MustParseAddrPort("[2001:db8::9]:5060")); err == nil {
		t.Error("an IPv6 flow without an IPv6 listener")
	}
}

func TestSentBy(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ advertise, bound, to, want string }{
		{"", "udp://10.0.0.1:5060", "10.0.0.9:5060", "10.0.0.1:5060"},
		{"203.0.113.5", "udp://10.0.0.1:5061", "10.0.0.9:5060", "203.0.113.5:5061"},
		{"203.0.113.5:7000", "udp://10.0.0.1:5061", "10.0.0.9:5060", "203.0.113.5:7000"},
		{"desk.example", "udp://0.0.0.0:5060", "10.0.0.9:5060", "desk.example:5060"},
		{"203.0.113.5", "udp://[2001:db8::1]:5060", "[2001:db8::9]:5060", "[2001:db8::1]:5060"},
		{"2001:db8::7", "udp://[2001:db8::1]:5060", "[2001:db8::9]:5060", "[2001:db8::7]:5060"},
		{"", "udp://0.0.0.0:5060", "127.0.0.1:5070", "127.0.0.1:5060"},
	} {
		w := wireOf(t, c.advertise, c.bound)
		f, err := w.flowTo(t.Context(), "udp", netip.MustParseAddrPort(c.to))
		if err != nil {
			t.Fatal(err)
		}
		if got := w.sentBy(f); got != c.want {
			t.Errorf("%s advertised as %q says %s, want %s", c.bound, c.advertise, got, c.want)
		}
	}
}

// Answers leave from the socket that received (reference/sip.md section 0.6).
func TestAnswersLeaveFromTheirSocket(t *testing.T) {
	t.Parallel()
	var cfg Config
	for range 3 {
		l, err := Listen(t.Context(), "udp://127.0.0.1:0", nil)
		if err != nil {
			t.Fatal(err)
		}
		cfg.Listeners = append(cfg.Listeners, l)
	}
	w, err := newWire(cfg, func(*message) {})
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
	c, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	buf := make([]byte, 2048)
	for range 5 {
		for _, s := range w.sockets {
			if _, err := c.WriteToUDPAddrPort(request("REGISTER"), s.bound); err != nil {
				t.Fatal(err)
			}
			if err := c.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
				t.Fatal(err)
			}
			_, from, err := c.ReadFromUDPAddrPort(buf)
			if err != nil || from != s.bound {
				t.Errorf("asked %v, answered from %v (%v)", s.bound, from, err)
			}
		}
	}
}

func TestIPv6(t *testing.T) {
	t.Parallel()
	l, err := Listen(t.Context(), "udp://[::1]:0", nil)
	if err != nil {
		t.Fatal(err)
	}
	w, err := newWire(Config{Listeners: []Listener{l}}, func(*message) {})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.setPeers([]Peer{{Name: "six", Sources: prefixes("::1")}}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- w.run(ctx) }()
	t.Cleanup(func() { cancel(); <-ended })
	c := phone(t, "[::1]:0", w.sockets[0].bound)
	say(t, c, []byte(strings.Replace(string(request("REGISTER")), "UDP h;", "UDP [2001:db8::1];", 1)))
	if got := hear(t, c, 5*time.Second); !strings.HasPrefix(got, "SIP/2.0 405") || !strings.Contains(got, "Via: SIP/2.0/UDP [2001:db8::1];branch=z9hG4bK1;received=::1\r\n") {
		t.Errorf("heard %q", got)
	}
}

// Answers go to the port of the Via only where the Via is honest and the port
// is the peer's; in all other cases to where the request came from.
func TestBackTo(t *testing.T) {
	t.Parallel()
	w := wireOf(t, "", "udp://10.0.0.1:5060")
	if err := w.setPeers([]Peer{
		{Name: "trunk", Sources: prefixes("192.0.2.77")},
		{Name: "node", Sources: prefixes("192.0.2.77"), Port: 5090},
	}); err != nil {
		t.Fatal(err)
	}
	for via, want := range map[string]string{
		"192.0.2.77:5070":                  "192.0.2.77:5070", // RFC 3261 section 18.2.2
		"192.0.2.77":                       "192.0.2.77:5060",
		"192.0.2.77:5070;rport":            "192.0.2.77:5062", // RFC 3581
		"192.0.2.77:5090":                  "192.0.2.77:5062", // another peer's
		"203.0.113.9:5070":                 "192.0.2.77:5062", // behind NAT, or a lie
		"host.example":                     "192.0.2.77:5062",
		"203.0.113.9;received=203.0.113.9": "192.0.2.77:5062",
		"192.0.2.77;maddr=203.0.113.9":     "192.0.2.77:5060",
	} {
		m := parsed(t, with("Via: SIP/2.0/UDP "+via))
		m.src = testSource
		m.flow = udpFlow{w: w, s: w.sockets[0], to: testSource}
		m.peer = w.peers.Load().find(testSource, false)
		stampVia(m.req, m.src)
		if got := w.backTo(m).remote().String(); got != want {
			t.Errorf("%s: answered to %s, want %s", via, got, want)
		}
	}
}

func TestPanicEndsOneMessage(t *testing.T) {
	t.Parallel()
	b := startWire(t, Ignore, anybody())
	udp, tcp := phone(t, "127.0.0.1:0", b.udp), dial(t, "127.0.0.1", b.tcp)
	for _, c := range []net.Conn{udp, tcp} {
		say(t, c, []byte(streamed("INFO", poison)))
		say(t, c, []byte(streamed("OPTIONS", "")))
		if m := next(t, b); m.req.Method != gosip.OPTIONS {
			t.Errorf("delivered %s", m.req.Method)
		}
	}
	if n := b.count.panics.Load(); n != 2 {
		t.Errorf("%d panics counted, want 2", n)
	}
}

func TestTapSeesBothWays(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var seen []string
	l, err := Listen(t.Context(), "udp://127.0.0.1:0", nil)
	if err != nil {
		t.Fatal(err)
	}
	got := make(chan struct{}, 8)
	w, err := newWire(Config{Listeners: []Listener{l}, Tap: func(p Packet) {
		mu.Lock()
		defer mu.Unlock()
		line, _, _ := strings.Cut(string(p.Data), "\r\n")
		seen = append(seen, map[bool]string{true: "> ", false: "< "}[p.Sent]+p.Network+" "+line)
		got <- struct{}{}
	}}, func(*message) {})
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
	say(t, phone(t, "127.0.0.1:0", w.sockets[0].bound), request("REGISTER"))
	<-got
	<-got
	mu.Lock()
	defer mu.Unlock()
	if want := "< udp REGISTER sip:a@h SIP/2.0|> udp SIP/2.0 405 Method Not Allowed"; strings.Join(seen, "|") != want {
		t.Errorf("seen %q", seen)
	}
}

func TestCollectors(t *testing.T) {
	t.Parallel()
	b := startWire(t, Ignore, anybody())
	say(t, phone(t, "127.0.0.1:0", b.udp), request("OPTIONS"))
	next(t, b)
	r := prometheus.NewPedanticRegistry()
	for _, c := range b.collectors() {
		if err := r.Register(c); err != nil {
			t.Fatal(err)
		}
	}
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "frontdesk_sip_datagrams_total" && f.GetMetric()[0].GetCounter().GetValue() == 1 {
			return
		}
	}
	t.Errorf("no datagram counted in %d families", len(families))
}

// fakeDNS answers from maps; a missing name is an error.
type fakeDNS struct {
	mu    sync.Mutex
	srv   map[string][]*net.SRV
	addrs map[string][]netip.Addr
	asked int
	down  bool
}

var errNoName = errors.New("no such name")

func (d *fakeDNS) LookupSRV(_ context.Context, service, proto, name string) (string, []*net.SRV, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if r := d.srv["_"+service+"._"+proto+"."+name]; r != nil && !d.down {
		return "", r, nil
	}
	return "", nil, errNoName
}

func (d *fakeDNS) LookupNetIP(ctx context.Context, _, host string) ([]netip.Addr, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked++
	if host == "silent.example" {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if a := d.addrs[host]; a != nil && !d.down {
		return a, nil
	}
	return nil, errNoName
}

func TestResolve(t *testing.T) {
	t.Parallel()
	w := wireOf(t, "", "udp://10.0.0.1:5060", "tcp://10.0.0.1:5060")
	w.names = newResolver(&fakeDNS{
		srv: map[string][]*net.SRV{"_sip._udp.pbx.example": {{Target: "n1.example.", Port: 5070}, {Target: "gone.example.", Port: 1}, {Target: "n2.example.", Port: 5080}}},
		addrs: map[string][]netip.Addr{
			"n1.example": {netip.MustParseAddr("10.0.0.11")}, "n2.example": {netip.MustParseAddr("::ffff:10.0.0.12"), netip.MustParseAddr("2001:db8::12")},
			"plain.example": {netip.MustParseAddr("10.0.0.13")}, "six.example": {netip.MustParseAddr("2001:db8::1")},
		},
	})
	for uri, want := range map[string]string{
		"sip:201@10.0.0.9":                     "udp 10.0.0.9:5060",
		"sip:201@10.0.0.9:5070;transport=TCP":  "tcp 10.0.0.9:5070",
		"sip:201@[::ffff:10.0.0.9]:5070":       "udp 10.0.0.9:5070",
		"sip:201@PBX.example":                  "udp 10.0.0.11:5070 udp 10.0.0.12:5080",
		"sip:plain.example":                    "udp 10.0.0.13:5060",
		"sip:plain.example:5099;transport=tcp": "tcp 10.0.0.13:5099",
		"sip:[2001:db8::1]":                    "error", // no listener
		"sip:six.example":                      "error",
		"sips:10.0.0.9":                        "error", // no TLS listener
		"sip:10.0.0.9;transport=sctp":          "error",
		"tel:+7495":                            "error",
		"sip:unknown.example":                  "error",
	} {
		u, err := parseURI(uri)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		targets, err := w.resolve(t.Context(), u)
		for _, a := range targets {
			got += " " + a.network + " " + a.addr.String()
		}
		if err != nil {
			got = " error"
		}
		if got != " "+want {
			t.Errorf("%s resolves to%s, want %s (%v)", uri, got, want, err)
		}
	}
}

func TestResolveCacheAndTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := &fakeDNS{addrs: map[string][]netip.Addr{"a.example": {netip.MustParseAddr("10.0.0.9")}}}
		w := wireOf(t, "", "udp://10.0.0.1:5060")
		w.names = newResolver(d)
		ask := func(host string) error {
			_, err := w.resolve(t.Context(), gosip.Uri{Scheme: "sip", Host: host, Port: 5060})
			return err
		}
		for range 10 {
			if err := ask("a.example"); err != nil {
				t.Fatal(err)
			}
		}
		if d.asked != 1 {
			t.Errorf("asked %d times, want 1", d.asked)
		}
		d.down = true
		<-time.After(2 * lookupFresh)
		if err := ask("a.example"); err != nil {
			t.Errorf("the name server is down: %v", err)
		}
		<-time.After(lookupStale)
		if err := ask("a.example"); !errors.Is(err, errNoName) {
			t.Errorf("an hour later: %v", err)
		}
		start := time.Now()
		if err := ask("silent.example"); !errors.Is(err, context.DeadlineExceeded) || time.Since(start) != lookupTimeout {
			t.Errorf("a silent name server costs %s: %v", time.Since(start), err)
		}
		start = time.Now()
		if err := ask("silent.example"); err == nil || time.Since(start) != 0 {
			t.Errorf("the second time it costs %s: %v", time.Since(start), err)
		}
	})
}
