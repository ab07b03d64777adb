package media

import (
	"net/netip"
	"sync"
	"time"

	"frontdesk/media/sdp"
)

// receiver is the incoming side of a leg.
type receiver struct {
	keys  *digits
	out   *sender // of the same leg: its way out changes when a peer is latched
	count *counters

	mu     sync.Mutex
	sock   *socket // nil: closed
	media  sdp.Media
	latch  bool // the peer's address is still to be learnt
	events eventReceiver
	tones  *detector // in-band digits, nil if not wanted
	ears   ears
	route  *route // where audio goes, nil if nowhere
	stats  heard
}

// ears are those who listen in.
type ears struct {
	heard func(payload uint8, body []byte)
	track *track // of a recorder
}

// heard is what has come in.
type heard struct {
	received, junk uint64
	last           time.Time // when the last valid packet came, or the leg started
}

// configure makes the peer of a description the one that is listened to.
func (r *receiver) configure(m sdp.Media, nat bool) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sock == nil {
		return ErrClosed
	}
	moved := m.Addr.IsValid() && m.Addr != r.media.Addr
	if moved {
		if err := r.face(m.Addr, nat); err != nil {
			return err
		}
		r.latch = nat
	}
	if !m.Addr.IsValid() {
		m.Addr = r.media.Addr // on hold; the same peer comes back
	}
	r.media = m
	r.stats.last = time.Now()
	return r.admit()
}

// face turns the socket to a peer: strangers are dropped by the kernel from
// then on, unless the address is yet to be learnt from what comes.
func (r *receiver) face(addr netip.AddrPort, learn bool) error {
	if err := r.sock.filter(nothing()); err != nil {
		return err
	}
	r.out.mu.Lock()
	defer r.out.mu.Unlock()
	if learn {
		return r.sock.aim(addr)
	}
	return r.sock.connect(addr)
}

// admit sets the socket filter for what is wanted: everything, or only digits.
func (r *receiver) admit() error {
	switch {
	case r.media.Codec == "": // not started
		return nil
	case r.inBand():
		if r.tones == nil {
			r.tones = newDetector()
		}
		return r.sock.open()
	}
	r.tones = nil
	switch {
	case r.latch || r.ears.heard != nil || r.ears.track != nil || r.route != nil:
		return r.sock.open()
	}
	return r.sock.filter(digitsOnly(r.media.TelephoneEvent))
}

// inBand reports whether digits are to be found in the audio.
func (r *receiver) inBand() bool {
	return r.media.TelephoneEvent == 0 && r.route == nil && (r.media.Codec == sdp.PCMA || r.media.Codec == sdp.PCMU)
}

// read takes one datagram from the socket. The buffer is the reader's.
func (r *receiver) read(buffer []byte, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.sock == nil {
		return
	}
	n, from, err := r.sock.receive(buffer)
	if err != nil {
		return // nothing there after all, or the peer's port is closed: it may open again
	}
	r.take(buffer[:n], from, now)
}

// take works on one datagram.
func (r *receiver) take(b []byte, from netip.AddrPort, now time.Time) {
	p, ok := parsePacket(b)
	if !ok || r.latch && !r.plausible(p) {
		r.stats.junk++
		add(&r.count.junk)
		return
	}
	if r.latch && !r.learn(from) {
		return
	}
	r.stats.received++
	add(&r.count.received)
	r.stats.last = now
	switch {
	case p.payload == r.media.TelephoneEvent && p.payload != 0:
		r.event(p, now)
	case r.tones != nil && p.payload == r.media.Payload:
		r.tones.hear(r.media.Codec, p.body, func(digit byte) { r.keys.pressed(digit, byTone, now) })
	}
	if r.ears.heard != nil {
		r.ears.heard(p.payload, p.body)
	}
	if t := r.ears.track; t != nil {
		if codec := law(&r.media, p.payload); codec != "" {
			t.take(p, codec, now)
		}
	}
	if r.route != nil {
		r.route.forward(b, p, now)
	}
}

func (r *receiver) event(p packet, now time.Time) {
	digit, fresh := r.events.take(p, now)
	switch {
	case digit == 0:
	case fresh:
		r.keys.pressed(digit, byEvent, now)
	default:
		r.keys.held(digit, byEvent, now)
	}
}

// plausible reports whether a packet could be the peer's: of a payload type
// that was negotiated, and not empty.
func (r *receiver) plausible(p packet) bool {
	if len(p.body) == 0 {
		return false
	}
	for _, f := range r.media.Formats {
		if f.Payload == p.payload {
			return true
		}
	}
	return p.payload == r.media.Payload
}

// learn takes a source as the peer, once and for all. It reports whether the
// packet counts.
func (r *receiver) learn(from netip.AddrPort) bool {
	if !from.IsValid() {
		return false
	}
	r.latch = false
	if r.face(from, false) != nil || r.admit() != nil {
		r.latch = true // a source that cannot be sent to is not the peer
		add(&r.count.junk)
		return false
	}
	return true
}
