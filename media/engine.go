package media

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"
)

// Config is what an engine needs to know. Durations of 0 take the defaults.
type Config struct {
	Bind      netip.Addr // address the sockets are bound to
	Advertise netip.Addr // address written into descriptions; unset: Bind
	Ports     PortRange
	Rest      time.Duration // before a port is used again; 5 s
	Silence   Silence
	Logger    *slog.Logger
}

// Silence is for how long a relayed leg may send nothing before its call is
// taken for dead.
type Silence struct {
	Talking time.Duration // 30 s
	Held    time.Duration // while either leg is on hold; 1 h
}

// Engine owns the ports, the pacers and the readers of all sessions.
type Engine struct {
	cfg    Config
	ports  *ports
	shards []*shard
	next   atomic.Uint32 // shard of the next session
	done   chan struct{} // closed when Run has ended
}

// shard is the part of the engine that one CPU works.
type shard struct {
	pacer  *pacer
	reader *reader
	count  counters
}

// NewEngine makes an engine; sessions may be opened at once, but nothing is
// sent or read before Run.
func NewEngine(cfg Config) (*Engine, error) {
	cfg.Rest = cmp.Or(cfg.Rest, 5*time.Second)
	cfg.Silence.Talking = cmp.Or(cfg.Silence.Talking, 30*time.Second)
	cfg.Silence.Held = cmp.Or(cfg.Silence.Held, time.Hour)
	if !cfg.Advertise.IsValid() {
		cfg.Advertise = cfg.Bind
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if !cfg.Bind.IsValid() {
		return nil, errors.New("media: no address to bind")
	}
	free, err := newPorts(cfg.Ports, cfg.Rest)
	if err != nil {
		return nil, fmt.Errorf("media: %w", err)
	}
	e := &Engine{cfg: cfg, ports: free, done: make(chan struct{})}
	for range runtime.GOMAXPROCS(0) {
		s := &shard{}
		if s.reader, err = newReader(); err != nil {
			for _, made := range e.shards {
				made.reader.close()
			}
			return nil, fmt.Errorf("media: %w", err)
		}
		s.pacer = newPacer(&s.count)
		e.shards = append(e.shards, s)
	}
	return e, nil
}

// Run sends and reads for all sessions until ctx ends. It may be called once.
// Sessions still open afterwards are silent, and are to be closed by their
// owners.
func (e *Engine) Run(ctx context.Context) error {
	defer close(e.done)
	g, ctx := errgroup.WithContext(ctx)
	for _, s := range e.shards {
		g.Go(func() error { return s.reader.run(ctx) })
		g.Go(func() error { s.pacer.run(ctx); return nil })
	}
	return g.Wait()
}

// PortsInUse returns how many legs hold a port.
func (e *Engine) PortsInUse() int { return e.ports.inUse() }

// Open binds a port for a new leg. Nothing is received before Start. It fails
// with ErrNoPorts when the range is used up.
func (e *Engine) Open() (*Session, error) {
	var sock *socket
	port, err := e.ports.take(func(port uint16) (err error) {
		sock, err = openSocket(netip.AddrPortFrom(e.cfg.Bind, port))
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("opening a media session: %w", err)
	}
	shard := e.shards[int(e.next.Add(1))%len(e.shards)]
	s := newSession(e, shard, sock, port)
	if err := shard.reader.add(s.in, sock.fd); err != nil {
		e.ports.put(port)
		return nil, errors.Join(fmt.Errorf("opening a media session: %w", err), sock.close())
	}
	return s, nil
}
