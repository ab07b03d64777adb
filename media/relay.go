package media

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/zaf/g711"

	"frontdesk/media/sdp"
)

// ErrSilent means that a leg of a relay has sent nothing for too long.
var ErrSilent = errors.New("no media")

// link joins two legs while they are relayed.
type link struct {
	mu   sync.Mutex // one connect at a time
	a, b *Session
}

// Relay passes audio and digits both ways until ctx ends, and returns its
// cause; or ErrSilent when a leg has sent nothing for Config.Silence, or
// ErrClosed. Each leg goes on with the stream it began: one SSRC, sequence
// numbers and timestamps without a step, its own payload types. PCMA and PCMU
// are turned into each other. Start may be called meanwhile for either leg. A
// leg relayed with itself hears its own echo.
func (e *Engine) Relay(ctx context.Context, a, b *Session) error {
	l := &link{a: a, b: b}
	if err := l.join(); err != nil {
		return fmt.Errorf("relaying: %w", err)
	}
	err := l.watch(ctx, e)
	l.part()
	return err
}

// legs are the sessions of the link, each once.
func (l *link) legs() []*Session {
	if l.a == l.b {
		return []*Session{l.a}
	}
	return []*Session{l.a, l.b}
}

// join makes the link that of both sessions, and connects them.
func (l *link) join() error {
	for _, s := range l.legs() {
		s.mu.Lock()
		taken := s.link != nil
		if !taken {
			s.link = l
		}
		s.mu.Unlock()
		if taken {
			l.part()
			return ErrBusy
		}
		s.in.mu.Lock()
		s.in.stats.last = time.Now()
		s.in.mu.Unlock()
	}
	if err := l.connect(); err != nil {
		l.part()
		return err
	}
	return nil
}

// connect sets the routes from what the legs have negotiated. It is called
// again whenever that changes; before both have, nothing is passed.
func (l *link) connect() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	a, b := l.a.negotiated(l), l.b.negotiated(l)
	if l.a == l.b {
		return l.a.setRoute(newRoute(a, a, l.a.out))
	}
	return errors.Join(l.a.setRoute(newRoute(a, b, l.b.out)), l.b.setRoute(newRoute(b, a, l.a.out)))
}

// negotiated returns a leg's media, if it is in this link.
func (s *Session) negotiated(l *link) sdp.Media {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.link != l {
		return sdp.Media{}
	}
	return s.media
}

// setRoute gives incoming audio a way; a closed leg needs none.
func (s *Session) setRoute(r *route) error {
	s.in.mu.Lock()
	defer s.in.mu.Unlock()
	if s.in.sock == nil {
		return nil
	}
	s.in.route = r
	return s.in.admit()
}

// part ends the link.
func (l *link) part() {
	for _, s := range l.legs() {
		s.mu.Lock()
		mine := s.link == l
		if mine {
			s.link = nil
		}
		s.mu.Unlock()
		if mine {
			l.mu.Lock()
			err := s.setRoute(nil)
			l.mu.Unlock()
			if err != nil {
				s.engine.cfg.Logger.Warn("ending a relay", "error", err)
			}
		}
	}
}

// watch waits for the end, and looks now and then whether both legs live.
func (l *link) watch(ctx context.Context, e *Engine) error {
	ticker := time.NewTicker(min(time.Second, e.cfg.Silence.Talking/4+1))
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-l.a.closed:
			return ErrClosed
		case <-l.b.closed:
			return ErrClosed
		case <-e.done:
			return ErrClosed
		case now := <-ticker.C:
			if err := l.silent(now, e.cfg.Silence); err != nil {
				return err
			}
		}
	}
}

// silent reports a leg that has sent nothing for too long. On hold either leg
// may be silent, so the longer time counts for both.
func (l *link) silent(now time.Time, limits Silence) error {
	limit := limits.Talking
	for _, s := range l.legs() {
		s.mu.Lock()
		if s.media.Codec == "" || s.media.Held() {
			limit = limits.Held
		}
		s.mu.Unlock()
	}
	for _, s := range l.legs() {
		s.in.mu.Lock()
		quiet := now.Sub(s.in.stats.last)
		s.in.mu.Unlock()
		if quiet > limit {
			return fmt.Errorf("%w from %s for %s", ErrSilent, s.local, quiet.Round(time.Second))
		}
	}
	return nil
}

// unknown is the payload type of what the other leg cannot take.
const unknown = 0xff

// Jumps within one source beyond which it counts as a new one.
const (
	maxSeqJump  = 3000
	maxTimeJump = 10 // seconds
)

// route is the way from a receiver to the other leg's sender. It is the
// receiver's, under its lock.
type route struct {
	to       *sender
	payloads [128]uint8 // of the other leg, by ours
	recode   *[256]byte // from the law of payload type law, nil if none
	law      uint8
	rate     int32
	bound    binding
}

// binding ties the incoming numbers to the outgoing ones.
type binding struct {
	done      bool
	ssrc      uint32
	lastSeq   uint16
	lastTime  uint32
	seq       uint16 // to be added
	timestamp uint32 // to be added
	own       uint16 // of the sender, when this was made
}

// newRoute maps the payload types of from to those of to; nil if either is
// not negotiated yet.
func newRoute(from, to sdp.Media, out *sender) *route {
	if from.Codec == "" || to.Codec == "" {
		return nil
	}
	r := &route{to: out, rate: int32(from.Codec.Rate())}
	for i := range r.payloads {
		r.payloads[i] = unknown
	}
	formats := from.Formats
	if len(formats) == 0 {
		formats = []sdp.Format{{Payload: from.Payload, Codec: from.Codec}}
	}
	for _, f := range formats {
		if f.Payload < 128 {
			r.payloads[f.Payload] = r.translate(f, to)
		}
	}
	if from.TelephoneEvent != 0 && to.TelephoneEvent != 0 {
		r.payloads[from.TelephoneEvent&0x7f] = to.TelephoneEvent
	}
	return r
}

// translate finds what a format is called on the other leg.
func (r *route) translate(f sdp.Format, to sdp.Media) uint8 {
	if f.Codec == "" {
		return unknown
	}
	if f.Codec == to.Codec {
		return to.Payload
	}
	for _, o := range to.Formats {
		if o.Codec == f.Codec {
			return o.Payload
		}
	}
	table := recoding(f.Codec, to.Codec)
	if table == nil {
		return unknown
	}
	r.recode, r.law = table, f.Payload
	return to.Payload
}

// recoding returns the table from one law of G.711 to the other.
func recoding(from, to sdp.Codec) *[256]byte {
	var turn func(uint8) uint8
	switch {
	case from == sdp.PCMA && to == sdp.PCMU:
		turn = g711.Alaw2UlawFrame
	case from == sdp.PCMU && to == sdp.PCMA:
		turn = g711.Ulaw2AlawFrame
	default:
		return nil
	}
	var table [256]byte
	for i := range table {
		table[i] = turn(uint8(i))
	}
	return &table
}

// forward sends a packet on. Its datagram is changed in place: our header is
// shorter than any that may have come.
func (r *route) forward(b []byte, p packet, now time.Time) {
	payload := r.payloads[p.payload]
	if payload == unknown {
		add(&r.to.count.unrouted)
		return
	}
	if r.recode != nil && p.payload == r.law {
		for i, v := range p.body {
			p.body[i] = r.recode[v]
		}
	}
	if r.bound.strange(p, r.rate) {
		r.bound = binding{}
	}
	r.to.relay(b[p.start-headerSize:p.start+len(p.body)], p, payload, &r.bound, now)
}

// strange reports whether a packet does not belong to the stream that the
// numbers are tied to.
func (t *binding) strange(p packet, rate int32) bool {
	seq, time := int16(p.seq-t.lastSeq), int32(p.timestamp-t.lastTime)
	limit := maxTimeJump * rate
	return t.ssrc != p.ssrc || seq > maxSeqJump || seq < -maxSeqJump || time > limit || time < -limit
}

// relay sends another leg's packet as one of this stream. While a clip plays
// or a key is sent, the other leg is not heard.
func (s *sender) relay(b []byte, p packet, payload uint8, t *binding, now time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.out == nil || s.format.muted || s.play.clip != nil || s.key.done != nil {
		t.done = false
		add(&s.count.unrouted)
		return
	}
	at := s.pacer.tickAt(now)
	if !t.done || t.own != s.head.own {
		s.advanceTo(max(at, s.head.expected))
		*t = binding{done: true, ssrc: p.ssrc, seq: s.head.seq - p.seq, timestamp: s.head.timestamp - p.timestamp, own: s.head.own}
		p.marker = true
	}
	t.lastSeq, t.lastTime = p.seq, p.timestamp
	seq, timestamp := p.seq+t.seq, p.timestamp+t.timestamp
	putHeader(b, p.marker, payload, seq, timestamp, s.head.ssrc)
	if int16(seq-s.head.seq) >= 0 {
		s.head.seq = seq + 1
	}
	if int32(timestamp-s.head.timestamp) >= 0 {
		s.head.timestamp = timestamp + s.format.samples
	}
	s.head.expected = at + s.format.ticks
	s.head.mark = false
	s.deliver(b)
}
