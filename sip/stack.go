package sip

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"log/slog"
	"runtime"
	"sync/atomic"
	"time"

	gosip "github.com/emiago/sipgo/sip"
	"golang.org/x/sync/errgroup"
)

// Why a session ended, or could not be had.
var (
	ErrCanceled    = errors.New("the caller gave up (CANCEL)")
	ErrHangup      = errors.New("the other side hung up (BYE)")
	ErrNoACK       = errors.New("the answer was never acknowledged")
	ErrShutdown    = errors.New("frontdesk is shutting down")
	ErrReferSilent = errors.New("no final word on the transfer")
	ErrEnded       = errors.New("the session is over")       // by us, or by a final answer
	ErrExpired     = errors.New("the session timer ran out") // RFC 4028 section 10
	ErrTransaction = errors.New("no answer to the request")  // timeout or transport failure within a dialog
)

// Handler serves incoming calls.
type Handler interface {
	// ServeInvite is the one goroutine of the call that in begins. ctx ends
	// when the caller goes away or the stack shuts down, with the cause:
	// ErrCanceled, ErrHangup, ErrNoACK, ErrExpired, ErrShutdown. When it
	// returns without a final response the caller gets 500, and a dialog still
	// up gets BYE. A panic is recovered, logged and counted, and ends this call
	// only.
	ServeInvite(ctx context.Context, in *Incoming)
}

// Config is what a Stack is made of.
type Config struct {
	Listeners     []Listener
	Advertise     string  // host or host:port told to others, for listeners without their own
	UserAgent     string  // Server and User-Agent header; empty: none
	MaxCalls      int     // calls at once; more are refused with 503; 0: no limit
	UnknownSource Unknown // what unlisted sources get
	Logger        *slog.Logger
	Tap           func(Packet) // sees every message in and out; may be nil; must not block
}

// Stack speaks SIP on its listeners. It is safe for concurrent use.
type Stack struct {
	cfg     Config
	handler Handler
	log     *slog.Logger
	shards  []*shard
	wire    *wire // sockets, sources, names: transport.go

	seed maphash.Seed

	draining atomic.Bool
	calls    calls
	stats    stats
}

// calls are the ServeInvite goroutines.
type calls struct {
	active atomic.Int64
	idle   chan struct{} // one has been the last, while draining
}

// New makes a stack that serves incoming calls by h. It reads nothing before
// Run.
func New(cfg Config, h Handler) (*Stack, error) {
	if h == nil {
		return nil, errors.New("sip: no handler")
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Stack{cfg: cfg, handler: h, log: cfg.Logger, seed: maphash.MakeSeed()}
	s.calls.idle = make(chan struct{}, 1)
	w, err := newWire(cfg, nil)
	if err != nil {
		return nil, err
	}
	s.wire = w
	for range runtime.GOMAXPROCS(0) {
		s.shards = append(s.shards, newShard(s))
	}
	return s, nil
}

// stats count what the transaction half does; metrics read them.
type stats struct {
	panics        atomic.Uint64 // handlers and messages that panicked
	refused       atomic.Uint64 // calls over MaxCalls, or while draining
	retransmitted atomic.Uint64 // messages we sent again
}

// Run reads and serves until ctx ends. Then new calls are refused, the context
// of every call ends with ErrShutdown, handlers get a few seconds to return,
// and sessions still up are ended by BYE.
func (s *Stack) Run(ctx context.Context) error {
	base, end := context.WithCancelCause(context.WithoutCancel(ctx))
	defer end(ErrShutdown)
	inner, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	g, gctx := errgroup.WithContext(inner)
	for _, sh := range s.shards {
		g.Go(func() error { return sh.run(gctx) })
	}
	s.wire.deliver = func(m *message) { s.dispatch(base, m) }
	g.Go(func() error { return s.wire.run(gctx) })
	g.Go(func() error {
		select {
		case <-ctx.Done():
			s.Drain()
			end(ErrShutdown)
			s.settle()
		case <-gctx.Done():
		}
		stop()
		return nil
	})
	if err := g.Wait(); err != nil && ctx.Err() == nil {
		return fmt.Errorf("serving SIP: %w", err)
	}
	return nil
}

// settle waits for the handlers, within shutdownGrace, and ends what they left.
func (s *Stack) settle() {
	late := time.NewTimer(shutdownGrace)
	defer late.Stop()
wait:
	for s.Active() > 0 {
		select {
		case <-s.calls.idle:
		case <-late.C:
			s.log.Warn("handlers still running at shutdown", "calls", s.Active())
			break wait
		}
	}
	for _, sh := range s.shards {
		sh.shutdown()
	}
}

// shutdownGrace is how long handlers may take to return once Run's context
// has ended.
const shutdownGrace = 5 * time.Second

// Drain refuses new calls from now on: INVITE and OPTIONS get 503.
func (s *Stack) Drain() { s.draining.Store(true) }

// Draining reports whether new calls are refused.
func (s *Stack) Draining() bool { return s.draining.Load() }

// Active is the number of incoming calls being served.
func (s *Stack) Active() int { return int(s.calls.active.Load()) }

// admit counts one more call, unless it would be one too many.
func (s *Stack) admit() bool {
	if s.draining.Load() {
		return false
	}
	if n := s.calls.active.Add(1); s.cfg.MaxCalls > 0 && n > int64(s.cfg.MaxCalls) {
		s.calls.active.Add(-1)
		return false
	}
	return true
}

// dispatch hands m to the shard of its Call-ID, on the goroutine of the reader
// that took it: a hand-over to another would cost more than what is done here,
// and messages of one socket act in the order in which they came. base is the
// parent of the contexts of calls.
func (s *Stack) dispatch(base context.Context, m *message) {
	if m.req != nil && s.looped(m.req) {
		s.wire.answer(m, 482, "Loop Detected", nil)
		return
	}
	s.shardOf(callID(m)).receive(base, m)
}

// looped reports whether req would begin a call that we sent out ourselves: it
// carries the id of a call in progress.
func (s *Stack) looped(req *gosip.Request) bool {
	if req.Method != gosip.INVITE || tagOf(req.To()) != "" {
		return false
	}
	id := value(req.Headers(), callHeader)
	if id == "" {
		return false
	}
	for _, sh := range s.shards {
		if sh.serves(id) {
			return true
		}
	}
	return false
}

func (s *Stack) shardOf(callID string) *shard {
	return s.shards[maphash.String(s.seed, callID)%uint64(len(s.shards))]
}
