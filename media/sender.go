package media

import (
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	"frontdesk/media/sdp"
)

// Why a session cannot play.
var (
	ErrClosed     = errors.New("media session is closed")
	ErrNotStarted = errors.New("media session has no peer yet")
	ErrCodec      = errors.New("codec that cannot be played")
	ErrBusy       = errors.New("media session is playing already")
)

// conn takes the packets of one stream.
type conn interface{ send(b []byte) error }

// sender is the outgoing stream of a leg: one SSRC whose sequence numbers and
// timestamps go on whatever feeds it: clips, keys, or the other leg.
type sender struct {
	pacer *pacer
	count *counters

	mu     sync.Mutex
	out    conn // nil: closed
	format outFormat
	head   position
	play   playing
	key    keying
	stats  struct{ sent, failed uint64 }
	queued bool  // in the pacer's wheel
	due    int64 // tick of the next frame; the pacer's while queued
}

// outFormat is what was negotiated for sending.
type outFormat struct {
	codec   sdp.Codec
	payload uint8
	event   uint8 // 0: none
	started bool
	muted   bool   // the peer takes nothing: time passes, nothing is sent
	ticks   int64  // of a frame
	samples uint32 // of a frame
	perTick uint32 // samples
}

// position is where the stream is.
type position struct {
	ssrc      uint32
	seq       uint16
	timestamp uint32 // of the packet at tick expected
	expected  int64
	mark      bool   // the next packet begins a spurt
	own       uint16 // packets of ours; relayed ones are numbered anew behind them
}

// playing is a clip on its way out.
type playing struct {
	clip *Clip
	data []byte // encoded, with maxFrame bytes of silence at its end
	at   int    // bytes sent
	done chan error
}

// keying is a telephone-event on its way out.
type keying struct {
	code      uint8
	timestamp uint32
	total     uint32 // samples
	duration  uint32 // samples so far
	ends      int    // end packets still to send
	begun     bool
	done      chan error
}

// endPackets is how often the end of an event is sent (RFC 4733, 2.5.1.4).
const endPackets = 3

func newSender(p *pacer, out conn) *sender {
	return &sender{pacer: p, count: p.count, out: out, head: position{
		ssrc: rand.Uint32(), seq: uint16(rand.Uint32()), timestamp: rand.Uint32(), expected: -1, mark: true,
	}}
}

// configure sets what was negotiated; a clip that is playing goes on in the
// new codec.
func (s *sender) configure(m sdp.Media) {
	s.mu.Lock()
	defer s.mu.Unlock()
	rate := m.Codec.Rate()
	s.format = outFormat{
		codec: m.Codec, payload: m.Payload, event: m.TelephoneEvent, started: true,
		muted:   !m.Direction.Sends() || !m.Addr.IsValid(),
		ticks:   int64(m.Ptime / tick),
		samples: uint32(m.Ptime * time.Duration(rate) / time.Second),
		perTick: uint32(tick * time.Duration(rate) / time.Second),
	}
	if s.play.clip == nil {
		return
	}
	if data := s.play.clip.encoded(m.Codec); data != nil {
		s.play.data = data
	} else {
		s.finishPlay(ErrCodec)
	}
}

// start begins to play a clip; the channel tells its end.
func (s *sender) start(c *Clip) (chan error, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.out == nil:
		return nil, ErrClosed
	case !s.format.started:
		return nil, ErrNotStarted
	case s.play.clip != nil:
		return nil, ErrBusy
	}
	data := c.encoded(s.format.codec)
	if data == nil {
		return nil, ErrCodec
	}
	done := make(chan error, 1)
	s.play = playing{clip: c, data: data, done: done}
	if len(data) == maxFrame {
		s.finishPlay(nil)
		return done, nil
	}
	s.enqueue()
	return done, nil
}

// press begins to send a key as telephone-event; the channel tells its end.
func (s *sender) press(code uint8, d time.Duration) (chan error, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.out == nil:
		return nil, ErrClosed
	case !s.format.started || s.format.event == 0:
		return nil, ErrNotStarted
	case s.key.done != nil:
		return nil, ErrBusy
	}
	total := uint32(max(d, 0) * time.Duration(s.format.codec.Rate()) / time.Second)
	done := make(chan error, 1)
	s.key = keying{code: code, total: min(total, 0xffff), ends: endPackets, done: done}
	s.enqueue()
	return done, nil
}

// enqueue puts the stream into the pacer's wheel, if it is not there. Time
// that has passed since the last frame is passed over in the timestamp.
func (s *sender) enqueue() {
	if s.queued {
		return
	}
	s.queued = true
	s.due = s.pacer.join(s)
	s.advanceTo(s.due)
}

// advanceTo moves the timestamp to a tick after a pause.
func (s *sender) advanceTo(due int64) {
	if s.head.expected >= 0 && due > s.head.expected {
		s.head.timestamp += uint32(due-s.head.expected) * s.format.perTick
		s.head.mark = true
	}
	s.head.expected = due
}

// stop ends the clip that done belongs to: nothing of it is sent any more.
func (s *sender) stop(done chan error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.play.done == done {
		s.play = playing{}
	}
	if s.key.done == done {
		s.key = keying{}
	}
}

// close ends the stream for good.
func (s *sender) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.out = nil
	s.finishPlay(ErrClosed)
	s.finishKey(ErrClosed)
}

func (s *sender) finishPlay(err error) {
	if s.play.done != nil {
		s.play.done <- err
	}
	s.play = playing{}
}

func (s *sender) finishKey(err error) {
	if s.key.done != nil {
		s.key.done <- err
	}
	s.key = keying{}
}

// step sends the frame due at tick at. It reports whether another one follows;
// if not, the stream has left the wheel.
func (s *sender) step(buffer *[headerSize + maxFrame]byte, at int64, late bool) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.out != nil && s.key.done != nil:
		s.sendKey(buffer)
	case s.out != nil && s.play.clip != nil:
		s.sendFrame(buffer)
	default:
		s.queued = false
		return false
	}
	if late {
		add(&s.count.late)
	}
	s.head.timestamp += s.format.samples
	s.due = at + s.format.ticks
	s.head.expected = s.due
	return true
}

// sendFrame sends the next frame of the clip.
func (s *sender) sendFrame(buffer *[headerSize + maxFrame]byte) {
	size := int(s.format.samples)
	n := headerSize + copy(buffer[headerSize:], s.play.data[s.play.at:s.play.at+size])
	s.emit(buffer[:n], s.format.payload, s.head.mark, s.head.timestamp)
	s.advance(size)
}

// advance moves on in the clip and tells when it is over.
func (s *sender) advance(size int) {
	s.play.at += size
	if s.play.at >= len(s.play.data)-maxFrame {
		s.finishPlay(nil)
	}
}

// sendKey sends the next packet of a key: its duration grows, the timestamp is
// that of its begin.
func (s *sender) sendKey(buffer *[headerSize + maxFrame]byte) {
	k := &s.key
	mark := !k.begun
	if mark {
		k.begun, k.timestamp = true, s.head.timestamp
	}
	k.duration = min(k.duration+s.format.samples, k.total)
	flags := byte(10) // volume: -10 dBm0
	if k.duration == k.total {
		flags |= 0x80
		k.ends--
	}
	b := buffer[:headerSize+4]
	b[headerSize], b[headerSize+1], b[headerSize+2], b[headerSize+3] = k.code, flags, byte(k.duration>>8), byte(k.duration)
	s.emit(b, s.format.event, mark, k.timestamp)
	if k.ends == 0 {
		s.finishKey(nil)
	}
}

// emit writes the header and sends a packet of our own.
func (s *sender) emit(b []byte, payload uint8, mark bool, timestamp uint32) {
	if s.format.muted {
		return
	}
	putHeader(b, mark, payload, s.head.seq, timestamp, s.head.ssrc)
	s.head.seq++
	s.head.own++
	s.head.mark = false
	s.deliver(b)
}

func (s *sender) deliver(b []byte) {
	if err := s.out.send(b); err != nil {
		s.stats.failed++
		add(&s.count.failed)
		return
	}
	s.stats.sent++
	add(&s.count.sent)
}

// skip leaves out the frames due before tick now. What has not begun yet
// begins now instead.
func (s *sender) skip(now int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.due >= now {
		return
	}
	if s.play.at == 0 && !s.key.begun {
		s.due = now
		s.advanceTo(now)
		return
	}
	frames := (now - s.due + s.format.ticks - 1) / s.format.ticks
	s.due += frames * s.format.ticks
	s.head.timestamp += uint32(frames) * s.format.samples
	s.head.expected = s.due
	size := int64(s.format.samples)
	if s.key.done == nil && s.play.clip != nil {
		left := (int64(len(s.play.data)-maxFrame-s.play.at) + size - 1) / size
		frames = min(frames, left)
		s.count.skipped.Add(uint64(frames))
		s.advance(int(frames * size))
	}
}
