package media

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/pion/rtp"

	"frontdesk/media/sdp"
)

// void takes everything.
type void struct{ bad bool }

func (v *void) send(b []byte) error {
	if _, ok := parsePacket(b); !ok {
		v.bad = true
	}
	return nil
}

// leg makes a receiver without a socket that relays to a sender without one.
// Nothing about it is left to chance, so that the fuzzer can repeat itself.
func leg(events uint8, now time.Time) (*receiver, *void) {
	count := &counters{}
	p := newPacer(count)
	p.epoch = now
	m := sdp.Media{Addr: loopbackPeer, Codec: sdp.PCMA, Payload: 8, TelephoneEvent: events, Ptime: 20 * time.Millisecond}
	out := &void{}
	other := newSender(p, out)
	other.head = position{ssrc: 1, seq: 65530, timestamp: 2, expected: -1}
	other.configure(sdp.Media{Addr: loopbackPeer, Codec: sdp.PCMU, TelephoneEvent: 96, Ptime: 20 * time.Millisecond})
	r := &receiver{keys: newDigits(count), out: newSender(p, &void{}), count: count, media: m}
	if events == 0 {
		r.tones = newDetector()
	}
	r.route = newRoute(m, sdp.Media{Codec: sdp.PCMU, TelephoneEvent: 96}, other)
	return r, out
}

// FuzzReceive feeds datagrams, each behind its length and the time since the
// one before, to everything that looks at what arrives.
func FuzzReceive(f *testing.F) {
	seed := func(packets ...rtp.Packet) []byte {
		var b []byte
		for _, p := range packets {
			raw, err := p.Marshal()
			if err != nil {
				f.Fatal(err)
			}
			b = append(append(b, 20, byte(len(raw))), raw...)
		}
		return b
	}
	event := func(seq uint16, payload ...byte) rtp.Packet {
		return rtp.Packet{Header: rtp.Header{Version: 2, PayloadType: 101, SequenceNumber: seq, Timestamp: 4000, SSRC: 1}, Payload: payload}
	}
	f.Add(seed(event(1, 5, 10, 0, 160), event(2, 5, 0x8a, 1, 64), event(3, 5, 0x8a, 1, 64)), uint8(101))
	f.Add(seed(event(1, 16, 10, 255, 255), event(9, 5), event(2)), uint8(0))
	f.Add(seed(rtp.Packet{Header: rtp.Header{Version: 2, PayloadType: 8, CSRC: []uint32{1, 2}, Marker: true}, Payload: make([]byte, 160)}), uint8(0))
	f.Add([]byte{0, 12, 0xb1, 101, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 1, 2, 3, 4}, uint8(101))
	f.Fuzz(func(t *testing.T, b []byte, events uint8) {
		now := time.Unix(1e9, 0)
		r, out := leg(events&0x7f, now)
		for len(b) >= 2 {
			n := min(int(b[1]), len(b)-2)
			now = now.Add(time.Duration(b[0]) * time.Millisecond)
			r.take(append([]byte(nil), b[2:2+n]...), netip.AddrPort{}, now)
			b = b[2+n:]
		}
		for _, d := range drain(r.keys) {
			if !strings.ContainsRune(eventDigits, d) {
				t.Errorf("digit %q", d)
			}
		}
		if out.bad {
			t.Error("what was relayed is no RTP")
		}
	})
}

// TestParsePacket agrees with pion on well-formed packets.
func TestParsePacket(t *testing.T) {
	t.Parallel()
	for _, h := range []rtp.Header{
		{Version: 2, PayloadType: 8, SequenceNumber: 1, Timestamp: 2, SSRC: 3},
		{Version: 2, PayloadType: 101, Marker: true, SequenceNumber: 65535, CSRC: []uint32{9, 8, 7}},
		{Version: 2, Extension: true, ExtensionProfile: 0x1000, Extensions: nil},
	} {
		for _, size := range []int{0, 1, 160} {
			want := rtp.Packet{Header: h, Payload: make([]byte, size)}
			if size == 160 {
				want.Header.Padding, want.PaddingSize = true, 5
			}
			raw, err := want.Marshal()
			if err != nil {
				t.Fatal(err)
			}
			got, ok := parsePacket(raw)
			if !ok || got.marker != h.Marker || got.payload != h.PayloadType || got.seq != h.SequenceNumber ||
				got.timestamp != h.Timestamp || got.ssrc != h.SSRC || len(got.body) != size || got.start < headerSize {
				t.Errorf("%+v: got %+v, %v", h, got, ok)
			}
		}
	}
	b := make([]byte, headerSize)
	putHeader(b, true, 101, 0xfffe, 0x12345678, 0x9abcdef0)
	if binary.BigEndian.Uint64(b) != 0x80e5fffe12345678 || binary.BigEndian.Uint32(b[8:]) != 0x9abcdef0 {
		t.Errorf("%x", b)
	}
}

func BenchmarkGoertzelFrame(b *testing.B) {
	d := newDetector()
	frame := DTMF('5', 20*time.Millisecond)
	b.ReportAllocs()
	for b.Loop() {
		d.feed(frame, func(byte) {})
	}
}

func BenchmarkEncodeClip(b *testing.B) {
	pcm := Tone(440, 5*time.Second)
	b.ReportAllocs()
	for b.Loop() {
		NewClip(pcm).encoded(sdp.PCMA)
	}
}

// BenchmarkRelayPacket is a packet's way through us without the kernel:
// parsing, translating, numbering.
func BenchmarkRelayPacket(b *testing.B) {
	now := time.Now()
	r, _ := leg(101, now)
	packet := make([]byte, headerSize+160)
	b.ReportAllocs()
	for i := uint16(0); b.Loop(); i++ {
		putHeader(packet, false, 8, i, uint32(i)*160, 7)
		r.take(packet, netip.AddrPort{}, now)
	}
}

// BenchmarkPacerStep is a frame without the kernel.
func BenchmarkPacerStep(b *testing.B) {
	s := newSender(newPacer(&counters{}), &void{})
	s.configure(sdp.Media{Addr: loopbackPeer, Codec: sdp.PCMA, Payload: 8, Ptime: 20 * time.Millisecond})
	clip := NewClip(Quiet(time.Hour))
	if _, err := s.start(clip); err != nil {
		b.Fatal(err)
	}
	var buffer [headerSize + maxFrame]byte
	b.ReportAllocs()
	var at int64
	for b.Loop() {
		s.step(&buffer, at, false)
		if at += 4; at%(4*100000) == 0 {
			s.play.at = 0
		}
	}
}
