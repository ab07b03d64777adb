package media_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"testing"
	"time"

	"frontdesk/media"
	"frontdesk/media/sdp"
)

// bridge is two legs relayed, and who talks through them.
type bridge struct {
	engine         *media.Engine
	a, b           *media.Session
	caller, callee *peer
	types          [2]uint8 // of their audio
	done           chan error
	stop           context.CancelCauseFunc
}

// relay starts a bridge. The callee speaks with events as 96.
func relay(t *testing.T, cfg media.Config, callerMedia, calleeMedia sdp.Media) *bridge {
	t.Helper()
	e := run(t, cfg)
	br := &bridge{engine: e, a: open(t, e), b: open(t, e), done: make(chan error, 1)}
	br.types = [2]uint8{callerMedia.Payload, calleeMedia.Payload}
	br.caller, br.callee = newPeer(t, br.a.Local()), newPeer(t, br.b.Local())
	callerMedia.Addr, calleeMedia.Addr = br.caller.addr(), br.callee.addr()
	start(t, br.a, callerMedia, media.Options{})
	start(t, br.b, calleeMedia, media.Options{})
	ctx, stop := context.WithCancelCause(within(t))
	br.stop = stop
	go func() { br.done <- e.Relay(ctx, br.a, br.b) }()
	br.settle(t)
	return br
}

// settle waits until the relay passes packets both ways.
func (br *bridge) settle(t *testing.T) {
	t.Helper()
	for i, way := range [][2]*peer{{br.caller, br.callee}, {br.callee, br.caller}} {
		through := false
		for until := time.Now().Add(patience); !through && time.Now().Before(until); {
			way[0].audio(br.types[i], make([]byte, 160))
			through = way[1].ready()
		}
		if !through {
			t.Fatal("nothing gets through")
		}
		for way[1].ready() {
		}
	}
}

// ready takes a packet if one comes within a moment.
func (p *peer) ready() bool {
	p.t.Helper()
	_, ok := p.within(20 * time.Millisecond)
	return ok
}

func (br *bridge) end(t *testing.T) {
	t.Helper()
	reason := errors.New("hung up")
	br.stop(reason)
	if err := <-br.done; !errors.Is(err, reason) {
		t.Errorf("Relay = %v, want the cause", err)
	}
}

// callee96 is what the PBX leg negotiated in most tests.
func callee96() sdp.Media {
	m := alaw(netip.AddrPort{})
	m.TelephoneEvent = 96
	m.Formats = []sdp.Format{{Payload: 8, Codec: sdp.PCMA}, {Payload: 96, Codec: "TELEPHONE-EVENT/8000"}}
	return m
}

func TestRelay(t *testing.T) {
	t.Parallel()
	br := relay(t, media.Config{}, alaw(netip.AddrPort{}), callee96())
	br.caller.audio(8, []byte{1, 2, 3, 4})
	br.caller.key(101, 5, 320, true)
	got := br.callee.receive()
	if string(got.Payload) != "\x01\x02\x03\x04" || got.PayloadType != 8 {
		t.Errorf("heard %v", got)
	}
	event := br.callee.receive()
	if event.PayloadType != 96 || event.Payload[0] != 5 || event.SequenceNumber != got.SequenceNumber+1 || event.Timestamp != got.Timestamp+4 || event.SSRC != got.SSRC {
		t.Errorf("the key came as %v after %v", event, got)
	}
	if d := digit(t, br.a); d != '5' {
		t.Errorf("the leg itself heard %c", d)
	}
	// The other way, with a gap and two packets the wrong way round.
	seq, ts := br.callee.next.SequenceNumber, br.callee.next.Timestamp
	var back [3]uint16
	var times [3]uint32
	for i, off := range []uint16{0, 3, 2} {
		br.callee.next.SequenceNumber, br.callee.next.Timestamp = seq+off, ts+160*uint32(off)
		br.callee.audio(8, []byte{9})
		p := br.caller.receive()
		back[i], times[i] = p.SequenceNumber-off, p.Timestamp-160*uint32(off)
	}
	if back[0] != back[1] || back[0] != back[2] || times[0] != times[1] || times[0] != times[2] {
		t.Errorf("losses and order are not kept: %v %v", back, times)
	}
	if st := br.a.Stats(); st.Sent < 3 || st.Received < 2 {
		t.Errorf("%+v", st)
	}
	br.callee.key(77, 1, 160, true) // a payload type never agreed on stays here
	br.callee.audio(8, []byte{7})
	if p := br.caller.receive(); p.PayloadType != 8 {
		t.Error(p)
	}
	br.end(t)
}

// TestRelayContinuesTheGreeting: the caller hears one stream, first from us,
// then from the callee, whatever the callee's numbers are and when they jump.
func TestRelayContinuesTheGreeting(t *testing.T) {
	t.Parallel()
	e := run(t, media.Config{})
	a, b := open(t, e), open(t, e)
	caller, callee := newPeer(t, a.Local()), newPeer(t, b.Local())
	start(t, a, alaw(caller.addr()), media.Options{})
	if err := a.Play(within(t), media.NewClip(media.Tone(440, 60*time.Millisecond))); err != nil {
		t.Fatal(err)
	}
	callee.audio(8, []byte{1}) // before its description is known: dropped
	ctx, stop := context.WithCancel(within(t))
	done := make(chan error, 1)
	go func() { done <- e.Relay(ctx, a, b) }()
	start(t, b, callee96(), media.Options{}) // on hold without an address: nothing yet
	m := callee96()
	m.Addr = callee.addr()
	start(t, b, m, media.Options{})
	br := bridge{a: a, b: b, caller: caller, callee: callee}
	greeting := caller.receive()
	last := greeting.Header
	for range a.Stats().Sent - 1 { // a busy machine leaves frames out
		last = caller.receive().Header
	}
	var marks int
	for i := range 300 {
		if i%100 == 50 {
			callee.next.SSRC += 77
			callee.next.SequenceNumber += 20000
			callee.next.Timestamp += 0x40000000
		}
		callee.audio(8, make([]byte, 160))
		p, ok := caller.try()
		if !ok {
			if i == 0 { // the relay was not joined yet
				continue
			}
			t.Fatal("nothing came")
		}
		if p.SSRC != greeting.SSRC || p.SequenceNumber != last.SequenceNumber+1 || int32(p.Timestamp-last.Timestamp) < 0 || p.Timestamp-last.Timestamp > 80000 {
			t.Fatalf("packet %d: %+v after %+v", i, p.Header, last)
		}
		if p.Marker {
			marks++
		}
		last = p.Header
	}
	if marks != 4 {
		t.Errorf("%d markers, want one per source", marks)
	}
	// An announcement in the middle takes the stream over and gives it back.
	before := a.Stats().Sent
	if err := br.a.Play(within(t), media.NewClip(media.Tone(440, 40*time.Millisecond))); err != nil {
		t.Fatal(err)
	}
	for range a.Stats().Sent - before {
		if p := caller.receive(); p.SequenceNumber != last.SequenceNumber+1 {
			t.Fatalf("the announcement: %+v", p.Header)
		} else {
			last = p.Header
		}
	}
	callee.audio(8, make([]byte, 160))
	if p := caller.receive(); p.SequenceNumber != last.SequenceNumber+1 || int32(p.Timestamp-last.Timestamp) <= 0 {
		t.Errorf("after it: %+v", p.Header)
	}
	stop()
	<-done
}

func TestRelayTurnsLawsIntoEachOther(t *testing.T) {
	t.Parallel()
	br := relay(t, media.Config{}, alaw(netip.AddrPort{}), mulaw(netip.AddrPort{}))
	tone := media.NewClip(media.Tone(450, 400*time.Millisecond))
	e := run(t, media.Config{})
	phone := open(t, e)
	start(t, phone, alaw(br.a.Local()), media.Options{})
	m := alaw(phone.Local())
	start(t, br.a, m, media.Options{}) // the caller moves there
	if err := phone.Play(within(t), tone); err != nil {
		t.Fatal(err)
	}
	var heard []int16
	for range phone.Stats().Sent {
		p := br.callee.receive()
		if p.PayloadType != 0 {
			t.Fatal(p)
		}
		heard = media.Decode(heard, sdp.PCMU, p.Payload)
	}
	if share := media.Dominant(heard, 450); share < 0.95 {
		t.Errorf("450 Hz has %.2f", share)
	}
	br.end(t)
}

// TestRelayFollowsReinvites: a new address and a hold take effect at once, and
// afterwards there is audio both ways (scenario 23).
func TestRelayFollowsReinvites(t *testing.T) {
	t.Parallel()
	br := relay(t, media.Config{}, alaw(netip.AddrPort{}), callee96())
	for range 2 {
		hold := alaw(br.caller.addr())
		hold.Direction = sdp.RecvOnly // the caller: sendonly
		start(t, br.a, hold, media.Options{})
		before := br.a.Stats().Sent
		br.callee.audio(8, []byte{1})
		br.caller.audio(8, []byte{2}) // music on hold
		br.callee.receive()
		if got := br.a.Stats().Sent; got != before {
			t.Errorf("%d packets to a leg on hold", got-before)
		}
		start(t, br.a, alaw(br.caller.addr()), media.Options{})
		br.settle(t)
	}
	old := br.caller
	br.caller = newPeer(t, br.a.Local())
	start(t, br.a, alaw(br.caller.addr()), media.Options{})
	old.audio(8, []byte{3})
	br.settle(t)
	if old.ready() {
		t.Error("the old address still hears")
	}
	br.end(t)
}

func TestRelaySilence(t *testing.T) {
	t.Parallel()
	cfg := media.Config{Silence: media.Silence{Talking: 100 * time.Millisecond, Held: time.Hour}}
	e := run(t, cfg)
	legs := func() (a, b *media.Session, pa *peer) {
		a, b = open(t, e), open(t, e)
		pa, pb := newPeer(t, a.Local()), newPeer(t, b.Local())
		start(t, a, alaw(pa.addr()), media.Options{})
		start(t, b, alaw(pb.addr()), media.Options{})
		return a, b, pa
	}
	a, b, _ := legs()
	if err := e.Relay(within(t), a, b); !errors.Is(err, media.ErrSilent) {
		t.Errorf("Relay = %v", err)
	}
	if err := e.Relay(within(t), a, b); !errors.Is(err, media.ErrSilent) {
		t.Errorf("again: %v", err)
	}
	// On hold the longer time counts; a shorter deadline of ours ends it.
	a, b, pa := legs()
	m := alaw(pa.addr())
	m.Direction = sdp.RecvOnly
	start(t, a, m, media.Options{})
	ctx, cancel := context.WithTimeout(context.Background(), 300*time.Millisecond)
	defer cancel()
	if err := e.Relay(ctx, a, b); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("on hold: %v", err)
	}
}

func TestRelayEndsWithALeg(t *testing.T) {
	t.Parallel()
	br := relay(t, media.Config{}, alaw(netip.AddrPort{}), callee96())
	e := run(t, media.Config{})
	if err := e.Relay(within(t), br.a, open(t, e)); !errors.Is(err, media.ErrBusy) {
		t.Errorf("a leg in two relays: %v", err)
	}
	if err := br.b.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-br.done; !errors.Is(err, media.ErrClosed) {
		t.Errorf("Relay = %v", err)
	}
	br.caller.audio(8, []byte{1}) // nowhere to go
	br.caller.next.Timestamp += 160
	br.caller.key(101, 4, 160, true)
	if d := digit(t, br.a); d != '4' {
		t.Error(d)
	}
}

func TestEcho(t *testing.T) {
	t.Parallel()
	e := run(t, media.Config{})
	s := open(t, e)
	p := newPeer(t, s.Local())
	start(t, s, alaw(p.addr()), media.Options{})
	ctx, stop := context.WithCancel(within(t))
	done := make(chan error, 1)
	go func() { done <- e.Relay(ctx, s, s) }()
	br := bridge{caller: p, callee: p, types: [2]uint8{8, 8}}
	br.settle(t)
	p.audio(8, []byte{1, 2, 3})
	if got := p.receive(); string(got.Payload) != "\x01\x02\x03" || got.SSRC == p.next.SSRC {
		t.Error(got)
	}
	stop()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
}

func TestKeysDuringRelay(t *testing.T) {
	t.Parallel()
	br := relay(t, media.Config{}, alaw(netip.AddrPort{}), callee96())
	br.caller.audio(8, []byte{1})
	last := br.callee.receive()
	if err := br.b.SendDigit(within(t), '7', 40*time.Millisecond); err != nil { // an INFO of the caller, passed on
		t.Fatal(err)
	}
	br.caller.audio(8, []byte{2})
	for i := range 5 {
		p := br.callee.receive()
		if p.SequenceNumber != last.SequenceNumber+1 || int32(p.Timestamp-last.Timestamp) < 0 || p.PayloadType != []uint8{96, 96, 96, 96, 8}[i] {
			t.Fatalf("packet %d: %+v after %+v", i, p.Header, last.Header)
		}
		last = p
	}
	br.end(t)
}

func TestPortsComeBack(t *testing.T) {
	t.Parallel()
	e := run(t, media.Config{Ports: media.PortRange{First: 38001, Last: 38021}, Rest: time.Nanosecond})
	for round := range 20 {
		var legs []*media.Session
		seen := map[uint16]bool{}
		for {
			s, err := e.Open()
			if errors.Is(err, media.ErrNoPorts) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			port := s.Local().Port()
			if port%2 != 0 || port < 38002 || port > 38020 || seen[port] {
				t.Fatalf("port %d", port)
			}
			seen[port] = true
			legs = append(legs, s)
		}
		if n := e.PortsInUse(); n != len(legs) || n == 0 || n > 10 {
			t.Fatalf("round %d: %d ports in use, %d legs", round, n, len(legs))
		}
		for _, s := range legs {
			if err := errors.Join(s.Close(), s.Close()); err != nil {
				t.Fatal(err)
			}
		}
		if n := e.PortsInUse(); n != 0 {
			t.Fatalf("%d ports leaked", n)
		}
	}
}

func TestNewEngineRefuses(t *testing.T) {
	t.Parallel()
	for i, cfg := range []media.Config{{}, {Bind: loopback, Ports: media.PortRange{First: 20001, Last: 20001}}, {Bind: loopback, Ports: media.PortRange{First: 300, Last: 200}}} {
		if _, err := media.NewEngine(cfg); err == nil {
			t.Errorf("%d: taken", i)
		}
	}
}

func ExampleTone() {
	pcm := media.Tone(440, time.Second)
	fmt.Printf("%.0f dBFS, 440 Hz: %.2f, 1000 Hz: %.2f\n", media.Level(pcm), media.Dominant(pcm, 440), media.Dominant(pcm, 1000))
	// Output: -12 dBFS, 440 Hz: 1.00, 1000 Hz: 0.00
}
