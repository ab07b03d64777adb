package media

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"sync"
	"time"

	"frontdesk/media/sdp"
)

// Session is one call leg's media. Its methods may be called at any time from
// any goroutine, but Play from one at a time.
type Session struct {
	engine *Engine
	shard  *shard
	port   uint16
	local  netip.AddrPort
	in     *receiver
	out    *sender
	closed chan struct{}

	mu      sync.Mutex
	media   sdp.Media
	link    *link // of a relay in progress
	id      uint64
	version uint64
}

// Options are a leg's settings.
type Options struct {
	// NAT: the peer's media may come from elsewhere than its description
	// says. The first plausible source is taken, and held to.
	NAT bool
}

// Stats are a leg's packets so far.
type Stats struct {
	Sent, Received uint64    // Received: valid RTP that was read
	Failed, Junk   uint64    // not sent by the kernel; read, but not the call's RTP
	Last           time.Time // when the last valid packet came, or the leg was started
}

func newSession(e *Engine, shard *shard, sock *socket, port uint16) *Session {
	s := &Session{
		engine: e, shard: shard, port: port, closed: make(chan struct{}),
		local: netip.AddrPortFrom(e.cfg.Advertise, sock.local.Port()),
		id:    uint64(rand.Uint32()), version: uint64(rand.Uint32()),
		out: newSender(shard.pacer, sock),
	}
	s.in = &receiver{keys: newDigits(&shard.count), out: s.out, count: &shard.count, sock: sock}
	return s
}

// Local returns the address to advertise.
func (s *Session) Local() netip.AddrPort { return s.local }

// Describe returns our side for the next description of this leg; each call
// counts its version up.
func (s *Session) Describe() sdp.Local {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.version++
	return sdp.Local{Addr: s.local, ID: s.id, Version: s.version}
}

// Start sets what was negotiated and begins to listen: to the description's
// address alone, or to the first plausible source. It is called again after
// each further negotiation, also while playing or relaying; a new address, a
// new codec or a hold then take effect at once.
func (s *Session) Start(m sdp.Media, o Options) error {
	if m.Codec == "" || m.Ptime < sdp.MinPtime || m.Ptime > sdp.MaxPtime {
		return fmt.Errorf("starting media: %w: %q with packets of %v", ErrCodec, m.Codec, m.Ptime)
	}
	if m.Addr.IsValid() && (m.Addr == s.local || m.Addr.Port() == 0 || m.Addr.Addr().IsMulticast() ||
		m.Addr.Addr().IsUnspecified() || m.Addr.Addr().Is4() != s.engine.cfg.Bind.Is4()) {
		return fmt.Errorf("starting media: %w: %s", sdp.ErrAddress, m.Addr)
	}
	m.Ptime = m.Ptime.Truncate(sdp.MinPtime)
	s.mu.Lock()
	if err := s.in.configure(m, o.NAT); err != nil {
		s.mu.Unlock()
		return fmt.Errorf("starting media: %w", err)
	}
	s.out.configure(m)
	s.media = m
	l := s.link
	s.mu.Unlock()
	if l != nil {
		return l.connect()
	}
	return nil
}

// Media returns what was negotiated last; its Codec is empty before Start.
func (s *Session) Media() sdp.Media {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.media
}

// Play sends a clip and returns nil when its last frame has left. When ctx
// ends it stops at once and returns the cause. Clips played one after the
// other are one stream; while nothing is played nothing is sent.
func (s *Session) Play(ctx context.Context, c *Clip) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	done, err := s.out.start(c)
	if err != nil {
		return fmt.Errorf("playing: %w", err)
	}
	return s.await(ctx, done)
}

// SendDigit sends a key: as RFC 4733 event with three ends, or as tones where
// none was negotiated. A clip that is playing waits for it. It returns when
// the key has been sent.
func (s *Session) SendDigit(ctx context.Context, digit byte, d time.Duration) error {
	code, ok := codeOf(digit)
	if !ok {
		return fmt.Errorf("sending a digit: %q is none", digit)
	}
	s.mu.Lock()
	tones := s.media.Codec != "" && s.media.TelephoneEvent == 0
	s.mu.Unlock()
	if tones {
		return s.Play(ctx, NewClip(append(DTMF(digit, d), Quiet(d)...)))
	}
	done, err := s.out.press(code, d)
	if err != nil {
		return fmt.Errorf("sending a digit: %w", err)
	}
	return s.await(ctx, done)
}

func (s *Session) await(ctx context.Context, done chan error) error {
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		s.out.stop(done)
		return context.Cause(ctx)
	case <-s.engine.done:
		s.out.stop(done)
		return ErrClosed
	}
}

// Digits is where keys arrive: '0' to '9', '*', '#', 'A' to 'D'. It is never
// closed.
func (s *Session) Digits() <-chan byte { return s.in.keys.out }

// Inject takes a digit that came by SIP INFO; if it also comes as RTP within
// 300 ms it counts once. What is no digit is ignored.
func (s *Session) Inject(digit byte) {
	if _, ok := codeOf(digit); ok {
		s.in.keys.pressed(digit, bySignal, time.Now())
	}
}

// Received has fn called for every RTP packet from the peer, by the engine's
// reader: it must be quick, keep nothing of the payload, and call no method of
// the session. nil ends that.
// It is for telephones in tests.
func (s *Session) Received(fn func(payloadType uint8, payload []byte)) error {
	s.in.mu.Lock()
	defer s.in.mu.Unlock()
	if s.in.sock == nil {
		return ErrClosed
	}
	s.in.ears.heard = fn
	return s.in.admit()
}

// Stats returns the leg's packet counts.
func (s *Session) Stats() Stats {
	var st Stats
	s.in.mu.Lock()
	st.Received, st.Junk, st.Last = s.in.stats.received, s.in.stats.junk, s.in.stats.last
	s.in.mu.Unlock()
	s.out.mu.Lock()
	st.Sent, st.Failed = s.out.stats.sent, s.out.stats.failed
	s.out.mu.Unlock()
	return st
}

// Close ends the leg: nothing is sent any more when it returns, a Play or a
// relay in progress ends with ErrClosed, and the port goes to rest. Closing
// twice does no harm.
func (s *Session) Close() error {
	s.in.mu.Lock()
	sock := s.in.sock
	s.in.sock, s.in.route, s.in.ears = nil, nil, ears{}
	s.in.mu.Unlock()
	if sock == nil {
		return nil
	}
	s.out.close()
	err := s.shard.reader.remove(sock.fd)
	if errors.Is(err, ErrClosed) { // the engine has ended, and its set with it
		err = nil
	}
	err = errors.Join(err, sock.close())
	s.engine.ports.put(s.port)
	close(s.closed)
	if err != nil {
		return fmt.Errorf("closing media: %w", err)
	}
	return nil
}
