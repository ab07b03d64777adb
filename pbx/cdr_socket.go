package pbx

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"
	"sync"
	"time"
)

// CDRConfig is how lines are taken.
type CDRConfig struct {
	Fields  func() []string       // the order of the fields; may be empty until it is known: lines are then refused
	Allowed func(netip.Addr) bool // who may connect to a CDRServer besides this machine; nil: nobody
	Logger  *slog.Logger
}

const (
	maxCDRConns = 16               // a PBX has one, a restarted one for a while two
	unfinished  = 10 * time.Second // a line without its end is complete after this silence
	cdrDial     = 5 * time.Second
	firstRetry  = time.Second
	lastRetry   = time.Minute
)

// keepAlive finds peers that are gone without a word within two minutes: a PBX
// may be silent all night, so silence itself proves nothing.
func keepAlive() net.KeepAliveConfig {
	return net.KeepAliveConfig{Enable: true, Idle: time.Minute, Interval: 15 * time.Second, Count: 4}
}

// intake reads connections and gives their lines on, one at a time.
type intake struct {
	cfg CDRConfig
	cdrMetrics

	mu sync.Mutex // f is called by one connection at a time
	f  func(CDR)
}

// CDRServer takes the lines that 3CX sends as a TCP client (active socket).
type CDRServer struct {
	intake
	listener net.Listener
}

// NewCDRServer serves l, which Run closes.
func NewCDRServer(l net.Listener, cfg CDRConfig) *CDRServer {
	return &CDRServer{intake: intake{cfg: cfg}, listener: l}
}

// Run gives every line to f until ctx ends. f is never called twice at once.
func (s *CDRServer) Run(ctx context.Context, f func(CDR)) error {
	s.f = f
	stop := context.AfterFunc(ctx, func() { _ = s.listener.Close() })
	defer stop()
	var conns sync.WaitGroup
	defer conns.Wait()
	places := make(chan struct{}, maxCDRConns)
	for {
		conn, err := s.listener.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				_ = conn.Close()
			}
			return ctx.Err()
		case errors.Is(err, net.ErrClosed):
			return fmt.Errorf("cdr: %w", err)
		case err != nil:
			s.cfg.Logger.Warn("cdr: cannot accept", "error", err)
			if !wait(ctx, firstRetry) {
				return ctx.Err()
			}
			continue
		case !s.admits(conn):
			s.refused.Add(1)
			s.cfg.Logger.Warn("cdr: connection refused: its address is not a node of the PBX", "from", conn.RemoteAddr())
			_ = conn.Close()
			continue
		}
		select {
		case places <- struct{}{}:
			conns.Go(func() {
				defer func() { <-places }()
				s.serve(ctx, conn)
			})
		default:
			s.refused.Add(1)
			s.cfg.Logger.Warn("cdr: connection refused: too many", "from", conn.RemoteAddr())
			_ = conn.Close()
		}
	}
}

func (s *CDRServer) admits(conn net.Conn) bool {
	a, err := netip.ParseAddrPort(conn.RemoteAddr().String())
	if err != nil {
		return false
	}
	from := a.Addr().Unmap()
	return from.IsLoopback() || s.cfg.Allowed != nil && s.cfg.Allowed(from)
}

// CDRDialer fetches lines from 3CX, which listens (passive socket).
type CDRDialer struct {
	intake
	address string
}

// NewCDRDialer connects to address, HOST:PORT.
func NewCDRDialer(address string, cfg CDRConfig) *CDRDialer {
	return &CDRDialer{intake: intake{cfg: cfg}, address: address}
}

// Run connects, again whenever the connection ends, and gives every line to f
// until ctx ends.
func (d *CDRDialer) Run(ctx context.Context, f func(CDR)) error {
	d.f = f
	dialer := net.Dialer{Timeout: cdrDial, KeepAliveConfig: keepAlive()}
	pause, failing := firstRetry, false
	for ctx.Err() == nil {
		conn, err := dialer.DialContext(ctx, "tcp", d.address)
		if err == nil {
			pause, failing = firstRetry, false
			d.serve(ctx, conn)
		} else if !failing && ctx.Err() == nil {
			failing = true
			d.cfg.Logger.Warn("cdr: cannot connect to the PBX, trying on", "address", d.address, "error", err)
		}
		if !wait(ctx, pause/2+rand.N(pause)) {
			break
		}
		pause = min(pause*2, lastRetry)
	}
	return ctx.Err()
}

// wait pauses; it reports false when ctx ended first.
func wait(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// serve reads one connection to its end.
func (k *intake) serve(ctx context.Context, conn net.Conn) {
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	defer stop()
	defer func() { _ = conn.Close() }()
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetKeepAliveConfig(keepAlive()) // a socket that refuses is read all the same
	}
	k.connected.Add(1)
	defer k.connected.Add(-1)
	log := k.cfg.Logger.With("peer", conn.RemoteAddr().String())
	log.Info("cdr: connected")
	reading := reading{intake: k, log: log}
	err := reading.all(conn)
	if ctx.Err() == nil {
		log.Info("cdr: disconnected", "cause", err)
	}
}

// reading is the state of one connection.
type reading struct {
	*intake
	log      *slog.Logger
	fields   []string
	layout   layout
	broken   error // why there is no layout
	complain bool  // the last line was bad: one word in the log is enough
}

// all reads lines until the peer closes. A line that is not ended within
// a while is taken as it is: not all builds end the last one.
func (r *reading) all(conn net.Conn) error {
	in := bufio.NewReaderSize(conn, maxLine)
	for {
		if _, err := in.Peek(1); err != nil {
			return err
		}
		line, err := r.next(conn, in)
		if text := strings.TrimSpace(line); text != "" {
			r.take(text)
		}
		if err != nil {
			return err
		}
	}
}

func (r *reading) next(conn net.Conn, in *bufio.Reader) (string, error) {
	if err := conn.SetReadDeadline(time.Now().Add(unfinished)); err != nil {
		return "", err
	}
	b, err := in.ReadSlice('\n')
	line := string(b)
	switch {
	case errors.Is(err, bufio.ErrBufferFull):
		line = ""
		r.bad.Add(1)
		r.log.Warn("cdr: a line over 64 KB is passed over")
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = in.ReadSlice('\n')
		}
	case errors.Is(err, os.ErrDeadlineExceeded):
		err = nil
	case errors.Is(err, io.EOF) && line != "":
		err = nil
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		err = nil // in the middle of what is passed over
	}
	return line, errors.Join(err, conn.SetReadDeadline(time.Time{}))
}

// take reads one line and gives it on.
func (r *reading) take(text string) {
	if err := r.order(); err != nil {
		r.failed(err)
		return
	}
	c, err := r.layout.parse(text)
	if err != nil {
		r.failed(err)
		return
	}
	r.complain = false
	r.lines.Add(1)
	if c.Partial {
		r.partial.Add(1)
	}
	r.last.Store(time.Now().UnixMilli())
	r.mu.Lock()
	defer r.mu.Unlock()
	r.f(c)
}

func (r *reading) failed(err error) {
	r.bad.Add(1)
	if !r.complain {
		r.log.Warn("cdr: line not understood", "error", err)
	}
	r.complain = true
}

// order compiles the layout again when the fields have changed.
func (r *reading) order() error {
	fields := r.cfg.Fields()
	if r.fields == nil || !slices.Equal(fields, r.fields) {
		r.fields = append([]string{}, fields...)
		r.layout, r.broken = newLayout(fields)
	}
	return r.broken
}
