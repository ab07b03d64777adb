package media_test

import (
	"context"
	"net"
	"net/netip"
	"testing"
	"time"

	"github.com/pion/rtp"
	"github.com/prometheus/client_golang/prometheus"

	"frontdesk/media"
	"frontdesk/media/sdp"
)

// patience bounds every wait of a test; none is reached when all is well.
const patience = 10 * time.Second

var loopback = netip.MustParseAddr("127.0.0.1")

// run starts an engine and ends it with the test.
func run(t testing.TB, cfg media.Config) *media.Engine {
	t.Helper()
	cfg.Bind = loopback
	e, err := media.NewEngine(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return e
}

// open makes a session that is closed with the test.
func open(t testing.TB, e *media.Engine) *media.Session {
	t.Helper()
	s, err := e.Open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return s
}

// alaw is PCMA with events, towards addr.
func alaw(addr netip.AddrPort) sdp.Media {
	return sdp.Media{
		Addr: addr, Codec: sdp.PCMA, Payload: 8, TelephoneEvent: 101, Ptime: 20 * time.Millisecond,
		Formats: []sdp.Format{{Payload: 8, Codec: sdp.PCMA}, {Payload: 101, Codec: "TELEPHONE-EVENT/8000"}},
	}
}

func start(t testing.TB, s *media.Session, m sdp.Media, o media.Options) {
	t.Helper()
	if err := s.Start(m, o); err != nil {
		t.Fatal(err)
	}
}

// peer is a plain UDP socket that speaks RTP to a session.
type peer struct {
	t    testing.TB
	conn *net.UDPConn
	to   netip.AddrPort
	next rtp.Header
}

func newPeer(t testing.TB, to netip.AddrPort) *peer {
	t.Helper()
	conn, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(netip.AddrPortFrom(loopback, 0)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	return &peer{t: t, conn: conn, to: to, next: rtp.Header{Version: 2, SSRC: 0x1111, SequenceNumber: 65000, Timestamp: 0xfffff000}}
}

func (p *peer) addr() netip.AddrPort { return p.conn.LocalAddr().(*net.UDPAddr).AddrPort() }

func (p *peer) raw(b []byte) {
	p.t.Helper()
	if _, err := p.conn.WriteToUDPAddrPort(b, p.to); err != nil {
		p.t.Fatal(err)
	}
}

// send sends a packet with the next sequence number.
func (p *peer) send(payloadType uint8, payload []byte) {
	p.t.Helper()
	p.next.PayloadType = payloadType
	b, err := (&rtp.Packet{Header: p.next, Payload: payload}).Marshal()
	if err != nil {
		p.t.Fatal(err)
	}
	p.next.SequenceNumber++
	p.raw(b)
}

// audio sends a frame and moves the timestamp.
func (p *peer) audio(payloadType uint8, payload []byte) {
	p.t.Helper()
	p.send(payloadType, payload)
	p.next.Timestamp += uint32(len(payload))
}

// key sends one event packet of a press.
func (p *peer) key(payloadType, code uint8, duration uint16, end bool) {
	p.t.Helper()
	flags := byte(10)
	if end {
		flags |= 0x80
	}
	p.send(payloadType, []byte{code, flags, byte(duration >> 8), byte(duration)})
}

// receive returns the next packet.
func (p *peer) receive() *rtp.Packet {
	p.t.Helper()
	packet, ok := p.within(patience)
	if !ok {
		p.t.Fatal("no packet came")
	}
	return packet
}

// try returns the next packet if one comes within a moment.
func (p *peer) try() (*rtp.Packet, bool) {
	p.t.Helper()
	return p.within(100 * time.Millisecond)
}

func (p *peer) within(d time.Duration) (*rtp.Packet, bool) {
	p.t.Helper()
	buffer := make([]byte, 2048)
	if err := p.conn.SetReadDeadline(time.Now().Add(d)); err != nil {
		p.t.Fatal(err)
	}
	n, err := p.conn.Read(buffer)
	if err != nil {
		return nil, false
	}
	packet := &rtp.Packet{}
	if err := packet.Unmarshal(buffer[:n]); err != nil {
		p.t.Fatal(err)
	}
	return packet, true
}

// digit waits for a key.
func digit(t testing.TB, s *media.Session) byte {
	t.Helper()
	select {
	case d := <-s.Digits():
		return d
	case <-time.After(patience):
		t.Fatal("no digit came")
		return 0
	}
}

// metric reads a counter of the engine, summed over its labels. How many
// frames a pacer leaves out depends on how busy the machine is.
func metric(t testing.TB, e *media.Engine, name string) (sum uint64) {
	t.Helper()
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(e.Collectors()...)
	families, err := reg.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "frontdesk_media_"+name {
			for _, m := range f.GetMetric() {
				sum += uint64(m.GetCounter().GetValue())
			}
			return sum
		}
	}
	t.Fatalf("no metric %s", name)
	return 0
}

// within bounds a context by patience.
func within(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	t.Cleanup(cancel)
	return ctx
}
