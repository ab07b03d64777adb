package sip

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"net/url"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// Listener is one socket the stack serves. It owns it from New on.
type Listener struct {
	Network    string         // "udp", "tcp" or "tls"
	PacketConn net.PacketConn // of udp
	Listener   net.Listener   // of tcp and tls
	Advertise  string         // host[:port] told to others, where it is not the socket's address
	TLS        *tls.Config    // of connections opened from a tls listener's side
}

// Packet is a message as it was read from or written to the wire.
type Packet struct {
	At            time.Time
	Network       string // "udp", "tcp" or "tls"
	Sent          bool   // else received
	Local, Remote netip.AddrPort
	Data          []byte // only valid during the call of Tap
}

// Listen opens the socket that uri names: "udp://127.0.0.1:5060",
// "tcp://[::1]:5060", "tls://0.0.0.0:5061". config is needed for tls only.
func Listen(ctx context.Context, uri string, config *tls.Config) (Listener, error) {
	u, err := url.Parse(uri)
	if err != nil || u.Host == "" || u.Path != "" {
		return Listener{}, fmt.Errorf("listening on %q: want network://host:port", uri)
	}
	l := Listener{Network: u.Scheme}
	lc := net.ListenConfig{}
	switch u.Scheme {
	case "udp":
		lc.Control = growReceiveBuffer
		l.PacketConn, err = lc.ListenPacket(ctx, "udp", withPort(u, "5060"))
	case "tcp":
		l.Listener, err = lc.Listen(ctx, "tcp", withPort(u, "5060"))
	case "tls":
		if config == nil {
			return Listener{}, fmt.Errorf("listening on %q: no certificate given", uri)
		}
		l.TLS = config
		l.Listener, err = lc.Listen(ctx, "tcp", withPort(u, "5061"))
	default:
		return Listener{}, fmt.Errorf("listening on %q: the network is udp, tcp or tls", uri)
	}
	if err != nil {
		return Listener{}, fmt.Errorf("listening on %q: %w", uri, err)
	}
	return l, nil
}

func withPort(u *url.URL, standard string) string {
	port := u.Port()
	if port == "" {
		port = standard
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// receiveBuffer holds the burst that arrives while the reader does not run:
// some 3,000 INVITEs.
const receiveBuffer = 4 << 20

// growReceiveBuffer asks for receiveBuffer; the kernel may give less
// (net.core.rmem_max), which is no error.
func growReceiveBuffer(_, _ string, c syscall.RawConn) error {
	return c.Control(func(fd uintptr) {
		_ = syscall.SetsockoptInt(int(fd), syscall.SOL_SOCKET, syscall.SO_RCVBUF, receiveBuffer)
	})
}

// wire is the lower half of a Stack: sockets, source table, parser and
// verdict. What it delivers is fit for a transaction.
type wire struct {
	sockets []*socket
	peers   atomic.Pointer[peerTable]
	unknown Unknown
	deliver func(*message)
	tap     func(Packet) // may be nil
	log     *slog.Logger
	count   wireCounters
	names   *resolver
	streams streams
	noise   sampler // of log lines about what strangers send
	tags    tagger
}

// socket is a listener as the wire serves it.
type socket struct {
	Listener
	bound     netip.AddrPort
	advertise string // host:port, or empty where the bound address is told
}

// newWire checks the listeners. deliver is called on the reader's goroutine,
// in the order of arrival for each socket, and must not block.
func newWire(cfg Config, deliver func(*message)) (*wire, error) {
	w := &wire{unknown: cfg.UnknownSource, deliver: deliver, tap: cfg.Tap, log: cfg.Logger, names: newResolver(net.DefaultResolver), tags: newTagger()}
	if w.log == nil {
		w.log = slog.New(slog.DiscardHandler)
	}
	w.peers.Store(&peerTable{})
	w.streams.init()
	for _, l := range cfg.Listeners {
		s, err := newSocket(l, cfg.Advertise)
		if err != nil {
			return nil, err
		}
		w.sockets = append(w.sockets, s)
	}
	if len(w.sockets) == 0 {
		return nil, errors.New("sip: no listeners")
	}
	return w, nil
}

func newSocket(l Listener, advertise string) (*socket, error) {
	s := &socket{Listener: l}
	switch {
	case l.Network == "udp" && l.PacketConn != nil:
		s.bound = addrPort(l.PacketConn.LocalAddr())
	case (l.Network == "tcp" || l.Network == "tls") && l.Listener != nil:
		s.bound = addrPort(l.Listener.Addr())
	default:
		return nil, fmt.Errorf("sip: listener of network %q has no socket", l.Network)
	}
	told := l.Advertise
	if told == "" && sameFamily(advertise, s.bound.Addr()) {
		told = advertise
	}
	if told != "" {
		s.advertise = joinPort(told, s.bound.Port())
	}
	return s, nil
}

// sameFamily reports whether host may stand for a socket bound to addr: a name
// may, an address only where it is of the same family or the socket has both.
func sameFamily(host string, addr netip.Addr) bool {
	if host == "" {
		return false
	}
	told, err := netip.ParseAddr(trimBrackets(host))
	if err != nil || addr == netip.IPv6Unspecified() {
		return true
	}
	return told.Is4() == addr.Is4()
}

// run serves every socket until ctx ends, then closes them.
func (w *wire) run(ctx context.Context) error {
	var wg sync.WaitGroup
	stop := context.AfterFunc(ctx, w.close)
	defer stop()
	for _, s := range w.sockets {
		wg.Go(func() {
			if s.PacketConn != nil {
				w.readDatagrams(ctx, s)
			} else {
				w.acceptStreams(ctx, s)
			}
		})
	}
	wg.Wait()
	w.close()
	w.streams.wait()
	return context.Cause(ctx)
}

func (w *wire) close() {
	for _, s := range w.sockets {
		if s.PacketConn != nil {
			_ = s.PacketConn.Close()
		} else {
			_ = s.Listener.Listener.Close()
		}
	}
	w.streams.closeAll()
}

// take makes a message of b, which came from a peer, and delivers it, answers
// it statelessly or drops it. A panic ends this message and nothing else.
func (w *wire) take(b []byte, f flow, src netip.AddrPort, p *Peer) {
	defer w.contain(src)
	now := time.Now()
	if w.tap != nil {
		w.tap(Packet{At: now, Network: f.network(), Local: f.local(), Remote: src, Data: b})
	}
	m, err := parse(b)
	if err != nil {
		w.drop(dropUnparsable, src, err)
		return
	}
	m.flow, m.src, m.peer, m.at, m.size = f, src, p, now, len(b)
	if m.req != nil {
		stampVia(m.req, src)
		w.count.request(m.req.Method)
		m.flow = w.backTo(m)
	} else {
		w.count.response(m.res.StatusCode)
	}
	code, reason, extra := verdict(m)
	switch {
	case code == 0:
		w.deliver(m)
	case code < 0:
		w.drop(dropRefused, src, errors.New(reason))
	default:
		w.answer(m, code, reason, extra)
	}
}

// answer sends a final answer without a transaction (RFC 3261 section 8.2.7).
func (w *wire) answer(m *message, code int, reason string, extra []Header) {
	w.count.stateless.Add(1)
	res := reply(m.req, code, reason, w.tags.of(m.req), extra...)
	if err := m.flow.send(encode(res)); err != nil {
		w.drop(dropUnsent, m.src, err)
	}
}

// backTo is the flow of answers to m. RFC 3261 section 18.2.2 wants them at
// the port of the top Via; they go there only where the Via names the address
// the request came from and that port belongs to the same peer, else, and with
// rport (RFC 3581), to where the request came from.
func (w *wire) backTo(m *message) flow {
	f, ok := m.flow.(udpFlow)
	via := m.req.Via()
	if !ok || via == nil || via.Params.Has("rport") || via.Params.Has("received") {
		return m.flow
	}
	to := netip.AddrPortFrom(m.src.Addr(), 5060)
	if via.Port > 0 {
		to = netip.AddrPortFrom(m.src.Addr(), uint16(via.Port))
	}
	if to == m.src || w.peers.Load().find(to, false) != m.peer {
		return m.flow
	}
	f.to = to
	return f
}

func (w *wire) contain(src netip.AddrPort) {
	if v := recover(); v != nil {
		w.count.panics.Add(1)
		w.log.Error("message ended by a panic", "source", src, "panic", v, "stack", string(debug.Stack()))
	}
}

// drop counts what is not answered, and logs one such message a second.
func (w *wire) drop(why dropReason, src netip.AddrPort, err error) {
	w.count.dropped[why].Add(1)
	if w.noise.allow(time.Now()) {
		w.log.Info("message dropped", "reason", why.String(), "source", src, "error", err)
	}
}

// SetPeers replaces who may talk to us. Calls in progress go on.
func (s *Stack) SetPeers(peers []Peer) error { return s.wire.setPeers(peers) }

func (w *wire) setPeers(peers []Peer) error {
	own := append([]Peer(nil), peers...)
	table, err := newPeerTable(own)
	if err != nil {
		return fmt.Errorf("setting peers: %w", err)
	}
	w.peers.Store(&table)
	return nil
}

// Addr is the bound address of the first listener of network ("udp", "tcp" or
// "tls"), the zero value if there is none.
func (s *Stack) Addr(network string) netip.AddrPort {
	for _, l := range s.wire.sockets {
		if l.Network == network {
			return l.bound
		}
	}
	return netip.AddrPort{}
}

// peerOf is the peer to whom addr belongs, nil if there is none.
func (s *Stack) peerOf(addr netip.AddrPort) *Peer { return s.wire.peers.Load().find(addr, false) }

// flowTo is a flow to a peer at to: for udp from the first listener that can
// reach it, for tcp and tls on the connection there is, or a new one.
func (s *Stack) flowTo(ctx context.Context, network string, to netip.AddrPort) (flow, error) {
	return s.wire.flowTo(ctx, network, to)
}

func (w *wire) flowTo(ctx context.Context, network string, to netip.AddrPort) (flow, error) {
	to = netip.AddrPortFrom(to.Addr().Unmap(), to.Port())
	l := w.socketFor(network, to.Addr())
	if l == nil {
		return nil, fmt.Errorf("no %s listener can reach %s", network, to)
	}
	if network == "udp" {
		return udpFlow{w: w, s: l, to: to}, nil
	}
	return w.connect(ctx, l, to)
}

// socketFor is the listener of network that best fits to: its family, and a
// loopback address for a loopback address.
func (w *wire) socketFor(network string, to netip.Addr) *socket {
	var best *socket
	score := 0
	for _, s := range w.sockets {
		a := s.bound.Addr()
		fit := 1
		switch {
		case s.Network != network:
			continue
		case a == netip.IPv6Unspecified():
		case a.Is4() != to.Is4():
			continue
		case a.IsUnspecified():
			fit = 2
		case a.IsLoopback() == to.IsLoopback():
			fit = 3
		}
		if fit > score {
			best, score = s, fit
		}
	}
	return best
}

// sentBy is the host:port that others are told of our side of f, for Via and
// Contact.
func (s *Stack) sentBy(f flow) string { return s.wire.sentBy(f) }

func (w *wire) sentBy(f flow) string {
	local := f.local()
	for _, s := range w.sockets {
		if s.Network == f.network() && s.bound == local && s.advertise != "" {
			return s.advertise
		}
	}
	if !local.Addr().IsUnspecified() {
		return local.String()
	}
	return netip.AddrPortFrom(sourceFor(f.remote()), local.Port()).String()
}

// sourceFor is the address the kernel would send from to reach to; nothing is
// sent. It is the address itself where the kernel knows no way.
func sourceFor(to netip.AddrPort) netip.Addr {
	c, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(to))
	if err != nil {
		return to.Addr()
	}
	defer func() { _ = c.Close() }()
	return addrPort(c.LocalAddr()).Addr()
}

// addrPort reads the address of a socket, unmapped.
func addrPort(a net.Addr) netip.AddrPort {
	if v, ok := a.(interface{ AddrPort() netip.AddrPort }); ok {
		ap := v.AddrPort()
		return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
	}
	if a == nil {
		return netip.AddrPort{}
	}
	ap, err := netip.ParseAddrPort(a.String())
	if err != nil {
		return netip.AddrPort{}
	}
	return netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port())
}
