package media_test

import (
	"bytes"
	"context"
	"errors"
	"net/netip"
	"sync"
	"testing"
	"time"

	"frontdesk/media"
	"frontdesk/media/sdp"
)

func TestPlay(t *testing.T) {
	t.Parallel()
	e := run(t, media.Config{})
	s := open(t, e)
	p := newPeer(t, s.Local())
	start(t, s, alaw(p.addr()), media.Options{})

	// 450 Hz fits a frame exactly; the last of the 10 frames is half silence.
	clip := media.NewClip(media.Tone(450, 190*time.Millisecond))
	for range 2 {
		if err := s.Play(within(t), clip); err != nil {
			t.Fatal(err)
		}
	}
	sent := s.Stats().Sent
	skipped := metric(t, e, "frames_skipped_total")
	if sent+skipped != 20 || metric(t, e, "packets_sent_total") != sent {
		t.Errorf("%d packets sent, %d skipped, want 20", sent, skipped)
	}
	var heard []int16
	first := p.receive()
	for i := range sent {
		packet := first
		if i > 0 {
			packet = p.receive()
		}
		step := packet.Timestamp - first.Timestamp
		if packet.SequenceNumber != first.SequenceNumber+uint16(i) || packet.SSRC != first.SSRC || step%40 != 0 || step < 160*uint32(i) {
			t.Fatalf("packet %d: %+v after %+v", i, packet.Header, first.Header)
		}
		if i == 0 && !packet.Marker || packet.PayloadType != 8 || len(packet.Payload) != 160 {
			t.Fatalf("packet %d: %+v, %d bytes", i, packet.Header, len(packet.Payload))
		}
		heard = media.Decode(heard, sdp.PCMA, packet.Payload)
	}
	want := 0.95 - 1/float64(sent) // two half frames of silence weigh more among fewer
	if share := media.Dominant(heard, 450); share < want {
		t.Errorf("450 Hz has %.2f of the energy", share)
	}
	if level := media.Level(heard[len(heard)-79:]); skipped == 0 && level > -60 {
		t.Errorf("the end is filled with %.1f dB", level)
	}
}

func TestPlayStops(t *testing.T) {
	t.Parallel()
	s := open(t, run(t, media.Config{}))
	p := newPeer(t, s.Local())
	start(t, s, alaw(p.addr()), media.Options{})

	ctx, cancel := context.WithCancelCause(context.Background())
	reason := errors.New("a digit")
	done := make(chan error, 1)
	go func() { done <- s.Play(ctx, media.NewClip(media.Tone(440, time.Minute))) }()
	p.receive()
	cancel(reason)
	if err := <-done; !errors.Is(err, reason) {
		t.Fatalf("Play = %v, want the cause", err)
	}
	sent := s.Stats().Sent
	// Another clip's first packet comes next after those: nothing in between.
	if err := s.Play(within(t), media.NewClip(media.Quiet(20*time.Millisecond))); err != nil {
		t.Fatal(err)
	}
	if got := s.Stats().Sent; got != sent+1 {
		t.Errorf("%d packets after the stop, want 1", got-sent)
	}
	if err := s.Play(ctx, media.NewClip(nil)); !errors.Is(err, reason) {
		t.Errorf("Play with an ended context = %v", err)
	}
}

func TestPlayRefuses(t *testing.T) {
	t.Parallel()
	s := open(t, run(t, media.Config{}))
	p := newPeer(t, s.Local())
	clip := media.NewClip(media.Tone(440, time.Second))
	if err := s.Play(within(t), clip); !errors.Is(err, media.ErrNotStarted) {
		t.Errorf("before Start: %v", err)
	}
	m := alaw(p.addr())
	m.Codec = "G722/8000"
	start(t, s, m, media.Options{})
	if err := s.Play(within(t), clip); !errors.Is(err, media.ErrCodec) {
		t.Errorf("G722: %v", err)
	}
	start(t, s, alaw(p.addr()), media.Options{})
	done := make(chan error, 1)
	go func() { done <- s.Play(within(t), clip) }()
	p.receive()
	if err := s.Play(within(t), clip); !errors.Is(err, media.ErrBusy) {
		t.Errorf("a second clip at once: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; !errors.Is(err, media.ErrClosed) {
		t.Errorf("Play over Close: %v", err)
	}
	if err := s.Play(within(t), clip); !errors.Is(err, media.ErrClosed) {
		t.Errorf("after Close: %v", err)
	}
	if err := s.Start(alaw(p.addr()), media.Options{}); !errors.Is(err, media.ErrClosed) {
		t.Errorf("Start after Close: %v", err)
	}
}

func TestStartRefusesAddresses(t *testing.T) {
	t.Parallel()
	s := open(t, run(t, media.Config{}))
	for _, a := range []string{"224.0.0.1:4000", "0.0.0.0:4000", "[2001:db8::1]:4000", "192.0.2.1:0", s.Local().String()} {
		if err := s.Start(alaw(netip.MustParseAddrPort(a)), media.Options{}); !errors.Is(err, sdp.ErrAddress) {
			t.Errorf("%s: %v", a, err)
		}
	}
	m := alaw(netip.MustParseAddrPort("127.0.0.1:9"))
	m.Ptime = time.Second
	if err := s.Start(m, media.Options{}); err == nil {
		t.Error("packets of a second are taken")
	}
}

// TestDigits presses keys on one session and reads them from another, in each
// way they may go.
func TestDigits(t *testing.T) {
	t.Parallel()
	for _, events := range []uint8{101, 96, 0} {
		t.Run(map[uint8]string{101: "events", 96: "events as 96", 0: "tones"}[events], func(t *testing.T) {
			t.Parallel()
			e := run(t, media.Config{})
			a, b := open(t, e), open(t, e)
			ma, mb := alaw(b.Local()), alaw(a.Local())
			ma.TelephoneEvent, mb.TelephoneEvent = events, events
			start(t, a, ma, media.Options{})
			start(t, b, mb, media.Options{})
			keys, press := "1590*#AD", 60*time.Millisecond
			if events == 0 {
				keys, press = "15#D", 400*time.Millisecond // a busy machine leaves frames out
			}
			for i := range keys {
				if err := a.SendDigit(within(t), keys[i], press); err != nil {
					t.Fatal(err)
				}
				if got := digit(t, b); got != keys[i] {
					t.Fatalf("pressed %c, heard %c", keys[i], got)
				}
			}
			select {
			case d := <-b.Digits():
				t.Errorf("and also %c", d)
			default:
			}
			if err := a.SendDigit(within(t), 'x', time.Millisecond); err == nil {
				t.Error("x is taken for a key")
			}
		})
	}
}

func TestInjectCountsOnce(t *testing.T) {
	t.Parallel()
	s := open(t, run(t, media.Config{}))
	p := newPeer(t, s.Local())
	start(t, s, alaw(p.addr()), media.Options{})
	p.key(101, 5, 160, true)
	if d := digit(t, s); d != '5' {
		t.Fatal(d)
	}
	s.Inject('5') // the same press
	s.Inject('x')
	s.Inject('6')
	p.next.Timestamp += 1000
	p.key(101, 6, 160, true) // the same press, the other way round
	p.next.Timestamp += 1000
	p.key(101, 7, 160, true)
	if a, b := digit(t, s), digit(t, s); a != '6' || b != '7' {
		t.Errorf("got %c %c, want 6 7", a, b)
	}
}

// TestFilter counts what the kernel lets through of a talking caller.
func TestFilter(t *testing.T) {
	t.Parallel()
	s := open(t, run(t, media.Config{}))
	p := newPeer(t, s.Local())
	start(t, s, alaw(p.addr()), media.Options{})
	frame := make([]byte, 160)
	for range 640 {
		p.audio(8, frame)
	}
	p.raw(nil)
	p.raw([]byte{0x80})
	p.key(101, 1, 160, false)
	if d := digit(t, s); d != '1' {
		t.Fatal(d)
	}
	if got := s.Stats(); got.Received != 11 || got.Junk != 0 {
		t.Errorf("%+v: want 10 of 640 packets and the event", got)
	}
	// With a listener all of it is read.
	var mu sync.Mutex
	n := 0
	if err := s.Received(func(uint8, []byte) { mu.Lock(); n++; mu.Unlock() }); err != nil {
		t.Fatal(err)
	}
	for range 64 {
		p.audio(8, frame)
	}
	p.next.Timestamp += 160
	p.key(101, 2, 160, false)
	if d := digit(t, s); d != '2' {
		t.Fatal(d)
	}
	mu.Lock()
	defer mu.Unlock()
	if n < 64 {
		t.Errorf("%d of 64 packets heard", n)
	}
}

// TestStrangers: what comes from elsewhere is neither heard nor counted, also
// not with the right SSRC (reliability.md D1, D2).
func TestStrangers(t *testing.T) {
	t.Parallel()
	s := open(t, run(t, media.Config{}))
	p, stranger := newPeer(t, s.Local()), newPeer(t, s.Local())
	stranger.key(101, 9, 160, true) // before the description is known
	start(t, s, alaw(p.addr()), media.Options{})
	stranger.key(101, 9, 160, true)
	p.next.Timestamp += 500
	p.key(101, 1, 160, true)
	if d := digit(t, s); d != '1' {
		t.Errorf("heard %c", d)
	}
	if err := s.Play(within(t), media.NewClip(media.Quiet(20*time.Millisecond))); err != nil {
		t.Fatal(err)
	}
	p.receive()
	if got := s.Stats(); got.Received != 1 {
		t.Errorf("%+v", got)
	}
}

func TestLatch(t *testing.T) {
	t.Parallel()
	s := open(t, run(t, media.Config{}))
	said, real, late := newPeer(t, s.Local()), newPeer(t, s.Local()), newPeer(t, s.Local())
	start(t, s, alaw(said.addr()), media.Options{NAT: true})

	late.raw([]byte("\x00\x01\x00\x00 not RTP at all")) // STUN is no source
	late.audio(33, make([]byte, 160))                   // nor is a payload type never agreed on
	play := func() {
		t.Helper()
		if err := s.Play(within(t), media.NewClip(media.Quiet(20*time.Millisecond))); err != nil {
			t.Fatal(err)
		}
	}
	play()
	said.receive() // nothing learnt yet: to the description's address
	real.key(101, 1, 160, true)
	if d := digit(t, s); d != '1' {
		t.Fatal(d)
	}
	play()
	if p := real.receive(); p.PayloadType != 8 {
		t.Error(p)
	}
	late.key(101, 9, 160, true)
	said.key(101, 9, 160, true)
	real.next.Timestamp += 500
	real.key(101, 2, 160, true)
	if d := digit(t, s); d != '2' {
		t.Errorf("the peer once taken is not held: %c", d)
	}
	// The same description again keeps the peer, another one learns anew.
	start(t, s, alaw(said.addr()), media.Options{NAT: true})
	play()
	real.receive()
	start(t, s, alaw(late.addr()), media.Options{NAT: true})
	said.key(101, 3, 160, true)
	if d := digit(t, s); d != '3' {
		t.Error(d)
	}
	play()
	said.receive()
}

// TestJunk: rubbish from the right address does not disturb the greeting, and
// the keys behind it are heard (reliability.md D3, D4).
func TestJunk(t *testing.T) {
	t.Parallel()
	e := run(t, media.Config{})
	s := open(t, e)
	p := newPeer(t, s.Local())
	start(t, s, alaw(p.addr()), media.Options{})
	if err := s.Received(func(uint8, []byte) {}); err != nil { // so that all of it is read
		t.Fatal(err)
	}
	junk := [][]byte{
		{}, {0x80}, {0x80, 200, 0, 0}, {0x81, 0xc8, 0, 6, 0, 0, 0, 1, 0, 0, 0, 0},
		append([]byte{0x8f, 8}, make([]byte, 20)...),                           // 15 sources in 20 bytes
		append([]byte{0x90, 8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}, 255, 255),  // an extension beyond the end
		append([]byte{0xa0, 8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0}, 200),             // padding beyond the begin
		append([]byte{0xa0, 8, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0}, 0),               // padding of 0
		append([]byte{22, 0xfe, 0xff}, make([]byte, 60)...),                    // DTLS hello
		append([]byte{0, 1, 0, 8, 0x21, 0x12, 0xa4, 0x42}, make([]byte, 8)...), // STUN
		bytes.Repeat([]byte{0xff}, 1400), bytes.Repeat([]byte{0x80}, 4000),
	}
	done := make(chan error, 1)
	go func() { done <- s.Play(within(t), media.NewClip(media.Tone(440, 300*time.Millisecond))) }()
	for i := range 50 {
		for _, j := range junk {
			p.raw(j)
		}
		p.next.SSRC, p.next.Timestamp, p.next.SequenceNumber = uint32(i*7919), uint32(i)*0x7fffffff, uint16(i*30000)
		p.audio(8, make([]byte, 160))
		p.key(101, 99, 0, true) // no digit
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got := s.Stats(); got.Sent+metric(t, e, "frames_skipped_total") != 15 || got.Junk == 0 {
		t.Errorf("%+v: want 15 frames", got)
	}
	p.key(101, 3, 0, true)
	if d := digit(t, s); d != '3' {
		t.Error(d)
	}
}

func TestHeldLegSendsNothing(t *testing.T) {
	t.Parallel()
	s := open(t, run(t, media.Config{}))
	p := newPeer(t, s.Local())
	for _, m := range []sdp.Media{
		{Codec: sdp.PCMA, Payload: 8, Ptime: 20 * time.Millisecond},                                          // 0.0.0.0
		{Codec: sdp.PCMA, Payload: 8, Ptime: 20 * time.Millisecond, Addr: p.addr(), Direction: sdp.RecvOnly}, // sendonly
		{Codec: sdp.PCMA, Payload: 8, Ptime: 20 * time.Millisecond, Addr: p.addr(), Direction: sdp.Inactive}, // inactive
	} {
		start(t, s, m, media.Options{})
		if err := s.Play(within(t), media.NewClip(media.Tone(440, 40*time.Millisecond))); err != nil {
			t.Fatal(err)
		}
	}
	if got := s.Stats().Sent; got != 0 {
		t.Errorf("%d packets to a leg on hold", got)
	}
	start(t, s, alaw(p.addr()), media.Options{})
	if err := s.Play(within(t), media.NewClip(media.Tone(440, 20*time.Millisecond))); err != nil {
		t.Fatal(err)
	}
	if !p.receive().Marker {
		t.Error("no marker after the hold")
	}
}

func TestEngineEnds(t *testing.T) {
	t.Parallel()
	e, err := media.NewEngine(media.Config{Bind: loopback})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	s := open(t, e)
	p := newPeer(t, s.Local())
	start(t, s, alaw(p.addr()), media.Options{})
	played := make(chan error, 1)
	go func() { played <- s.Play(context.Background(), media.NewClip(media.Tone(440, time.Minute))) }()
	p.receive()
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if err := <-played; !errors.Is(err, media.ErrClosed) {
		t.Errorf("Play = %v", err)
	}
	if _, err := e.Open(); !errors.Is(err, media.ErrClosed) {
		t.Errorf("Open = %v", err)
	}
	if n := e.PortsInUse(); n != 1 {
		t.Errorf("%d ports in use, want the open one", n)
	}
}

func TestIPv6(t *testing.T) {
	t.Parallel()
	e, err := media.NewEngine(media.Config{Bind: netip.IPv6Loopback()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- e.Run(ctx) }()
	defer func() { cancel(); <-done }()
	a, err := e.Open()
	if err != nil {
		t.Skipf("no IPv6 here: %v", err)
	}
	defer a.Close()
	b := open(t, e)
	// The legs agree by their own descriptions.
	offer, err := sdp.ParseOffer(sdp.Offer(a.Describe(), []sdp.Codec{sdp.PCMU, sdp.PCMA}))
	if err != nil {
		t.Fatal(err)
	}
	body, mb, err := sdp.Answer(offer, b.Describe(), []sdp.Codec{sdp.PCMA})
	if err != nil {
		t.Fatal(err)
	}
	answer, err := sdp.ParseAnswer(body)
	if err != nil {
		t.Fatal(err)
	}
	ma, err := sdp.Accept(answer, sdp.PCMU, sdp.PCMA)
	if err != nil {
		t.Fatal(err)
	}
	start(t, a, ma, media.Options{})
	start(t, b, mb, media.Options{NAT: true})
	if err := a.SendDigit(within(t), '8', 40*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if d := digit(t, b); d != '8' {
		t.Error(d)
	}
	if x, y := a.Describe(), a.Describe(); x.ID != y.ID || y.Version != x.Version+1 || x.Addr != a.Local() {
		t.Errorf("%+v then %+v", x, y)
	}
}
