package media

import (
	"context"
	"net/netip"
	"testing"
	"time"

	"frontdesk/media/sdp"
)

// sockets opens pairs of legs that are connected to each other.
func sockets(b *testing.B, n int) (near, far []*socket) {
	b.Helper()
	ports, err := newPorts(PortRange{}, 0)
	if err != nil {
		b.Fatal(err)
	}
	one := func() (k *socket) {
		if _, err := ports.take(func(port uint16) (err error) {
			k, err = openSocket(netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), port))
			return err
		}); err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() {
			if err := k.close(); err != nil {
				b.Error(err)
			}
		})
		return k
	}
	for range n {
		x, y := one(), one()
		if err := x.connect(y.local); err != nil {
			b.Fatal(err)
		}
		if err := y.connect(x.local); err != nil {
			b.Fatal(err)
		}
		near, far = append(near, x), append(far, y)
	}
	return near, far
}

// BenchmarkPacerPacket is a frame through the wheel and the kernel, with 500
// streams; nobody reads (the far sockets drop all).
func BenchmarkPacerPacket(b *testing.B) {
	const streams = 500
	p := newPacer(&counters{})
	near, _ := sockets(b, streams)
	clip := NewClip(Quiet(10 * time.Hour))
	for _, k := range near {
		s := newSender(p, k)
		s.configure(sdp.Media{Addr: loopbackPeer, Codec: sdp.PCMA, Payload: 8, Ptime: 20 * time.Millisecond})
		if _, err := s.start(clip); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportAllocs()
	b.ResetTimer()
	sent := 0
	for sent < b.N {
		before := p.count.sent.Load()
		p.work(p.next)
		sent += int(p.count.sent.Load() - before)
	}
}

// BenchmarkFilter compares a talking caller's packet that the kernel drops
// with one that is read. The sending is in both.
func BenchmarkFilter(b *testing.B) {
	near, far := sockets(b, 1)
	packet := make([]byte, headerSize+160)
	buffer := make([]byte, maxDatagram)
	run := func(name string, set func() error) {
		b.Run(name, func(b *testing.B) {
			if err := set(); err != nil {
				b.Fatal(err)
			}
			read := 0
			b.ReportAllocs()
			for i := uint16(0); b.Loop(); i++ {
				putHeader(packet, false, 8, i, uint32(i)*160, 7)
				if err := near[0].send(packet); err != nil {
					b.Fatal(err)
				}
				if _, _, err := far[0].receive(buffer); err == nil {
					read++
				}
			}
			b.ReportMetric(float64(read)/float64(b.N), "read/packet")
		})
	}
	run("off", far[0].open)
	run("on", func() error { return far[0].filter(digitsOnly(101)) })
}

// BenchmarkRelaySocket is a packet through both sockets of a relay, reader and
// all: from the far end of one leg to the far end of the other.
func BenchmarkRelaySocket(b *testing.B) {
	e, err := NewEngine(Config{Bind: netip.AddrFrom4([4]byte{127, 0, 0, 1})})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 2)
	go func() { done <- e.Run(ctx) }()
	var legs, phones [2]*Session
	heard := make(chan struct{}, 1)
	m := sdp.Media{Codec: sdp.PCMA, Payload: 8, TelephoneEvent: 101, Ptime: 20 * time.Millisecond}
	for i := range legs {
		if legs[i], err = e.Open(); err != nil {
			b.Fatal(err)
		}
		if phones[i], err = e.Open(); err != nil {
			b.Fatal(err)
		}
		for from, to := range map[*Session]*Session{legs[i]: phones[i], phones[i]: legs[i]} {
			m.Addr = to.Local()
			if err := from.Start(m, Options{}); err != nil {
				b.Fatal(err)
			}
		}
	}
	if err := phones[1].Received(func(uint8, []byte) { heard <- struct{}{} }); err != nil {
		b.Fatal(err)
	}
	l := &link{a: legs[0], b: legs[1]}
	if err := l.join(); err != nil {
		b.Fatal(err)
	}
	packet := make([]byte, headerSize+160)
	b.ReportAllocs()
	for i := uint16(0); b.Loop(); i++ {
		putHeader(packet, false, 8, i, uint32(i)*160, 7)
		if err := phones[0].out.out.send(packet); err != nil {
			b.Fatal(err)
		}
		<-heard
	}
	l.part()
	for i := range legs {
		for _, s := range []*Session{legs[i], phones[i]} {
			if err := s.Close(); err != nil {
				b.Error(err)
			}
		}
	}
	cancel()
	if err := <-done; err != nil {
		b.Error(err)
	}
}
