package pbxtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"
)

// FeedConfig says which end of the CDR socket a PBX is.
type FeedConfig struct {
	Listen string        // passive: it listens here; "127.0.0.1:0" if both are empty
	Dial   string        // active: it connects to this address, and again when the connection is lost
	Retry  time.Duration // until it connects again; a second if 0
}

// FeedKnobs are what goes wrong with a CDR socket; the zero value is a line, CRLF
// at its end, for each call on a connection that stays.
type FeedKnobs struct {
	Chunk      int           `json:"chunk,omitempty"`       // a line is written in pieces of so many bytes
	Join       int           `json:"join,omitempty"`        // lines wait until so many can be written at once
	Repeat     int           `json:"repeat,omitempty"`      // every line is sent so many times more
	Late       time.Duration `json:"-"`                     // until a line is sent; in JSON "late": "3s"
	DropAfter  int           `json:"drop_after,omitempty"`  // a connection ends after so many lines
	DropInside bool          `json:"drop_inside,omitempty"` // in the middle of the last of them
	HalfOpen   bool          `json:"half_open,omitempty"`   // connections stay, and nothing comes any more
	PerCall    bool          `json:"per_call,omitempty"`    // active: a connection for each line
	LF         bool          `json:"lf,omitempty"`          // lines end without CR
}

// Feed tells of a PBX's calls by a CDR socket. What ends while nobody is
// connected is not told later. It is safe for concurrent use.
type Feed struct {
	state    *State
	cfg      FeedConfig
	listener net.Listener // nil: active
	first    int          // of the calls that it tells of

	mu      sync.Mutex
	knobs   FeedKnobs
	sinks   []*sink
	lost    int
	waiting [][]byte      // lines that Join holds back
	changed chan struct{} // closed and replaced when a connection begins or ends, or a line is told or lost
	told    int
}

// sink is one connection.
type sink struct {
	net.Conn
	lines int
	gone  chan struct{} // closed when the other side has ended it
}

// NewFeed makes a feed of s and, if it is passive, opens its port.
func NewFeed(ctx context.Context, s *State, cfg FeedConfig) (*Feed, error) {
	f := &Feed{state: s, cfg: cfg, changed: make(chan struct{})}
	f.first = len(s.Accounts())
	if f.cfg.Retry == 0 {
		f.cfg.Retry = time.Second
	}
	if cfg.Dial != "" {
		return f, nil
	}
	if cfg.Listen == "" {
		cfg.Listen = "127.0.0.1:0"
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", cfg.Listen)
	if err != nil {
		return nil, fmt.Errorf("listening for CDR readers: %w", err)
	}
	f.listener = l
	return f, nil
}

// Addr is where a passive feed listens, or to where an active one connects.
func (f *Feed) Addr() string {
	if f.listener == nil {
		return f.cfg.Dial
	}
	return f.listener.Addr().String()
}

// Set changes what goes wrong, from the next line on.
func (f *Feed) Set(k FeedKnobs) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.knobs = k
}

// Knobs are what goes wrong.
func (f *Feed) Knobs() FeedKnobs {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.knobs
}

// Lost is how many lines nobody was there to read.
func (f *Feed) Lost() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.lost
}

// WaitConnected waits until n connections are open.
func (f *Feed) WaitConnected(ctx context.Context, n int) error {
	return f.wait(ctx, func() bool { return len(f.sinks) == n })
}

// WaitDone waits until n calls were told, or lost.
func (f *Feed) WaitDone(ctx context.Context, n int) error {
	return f.wait(ctx, func() bool { return f.told+f.lost >= n })
}

func (f *Feed) wait(ctx context.Context, ready func() bool) error {
	for {
		f.mu.Lock()
		ok, changed := ready(), f.changed
		f.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// change runs do under the lock and wakes who waits.
func (f *Feed) change(do func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	do()
	close(f.changed)
	f.changed = make(chan struct{})
}

// Run tells of calls that have ended since the feed was made, until ctx ends.
func (f *Feed) Run(ctx context.Context) error {
	var readers sync.WaitGroup
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return f.tell(ctx, f.first) })
	if f.listener != nil {
		g.Go(func() error { return f.accept(ctx, &readers) })
		g.Go(func() error {
			<-ctx.Done()
			return f.listener.Close()
		})
	} else {
		g.Go(func() error { return f.connect(ctx, &readers) })
	}
	err := g.Wait()
	f.mu.Lock()
	for _, s := range f.sinks {
		_ = s.Close() // it may be closed already
	}
	f.mu.Unlock()
	readers.Wait()
	return err
}

// accept takes connections until the listener is closed.
func (f *Feed) accept(ctx context.Context, readers *sync.WaitGroup) error {
	for {
		conn, err := f.listener.Accept()
		if ctx.Err() != nil {
			if err == nil {
				return conn.Close()
			}
			return nil
		}
		if err != nil {
			return fmt.Errorf("CDR socket: %w", err)
		}
		f.add(conn, readers)
	}
}

// connect keeps one connection, unless there is to be one for each line.
func (f *Feed) connect(ctx context.Context, readers *sync.WaitGroup) error {
	for ctx.Err() == nil {
		var over <-chan struct{}
		if !f.Knobs().PerCall {
			if conn, err := f.dial(ctx); err == nil {
				over = f.add(conn, readers).gone
			}
		}
		if over == nil {
			elapsed(f.cfg.Retry, ctx.Done())
			continue
		}
		select {
		case <-over:
		case <-ctx.Done():
		}
	}
	return nil
}

func (f *Feed) dial(ctx context.Context) (net.Conn, error) {
	d := net.Dialer{Timeout: 4 * time.Second}
	return d.DialContext(ctx, "tcp", f.cfg.Dial)
}

// add begins a connection. Whatever comes in on it is read and dropped, to see
// its end.
func (f *Feed) add(conn net.Conn, readers *sync.WaitGroup) *sink {
	s := &sink{Conn: conn, gone: make(chan struct{})}
	f.change(func() { f.sinks = append(f.sinks, s) })
	readers.Go(func() {
		defer close(s.gone)
		_, _ = io.Copy(io.Discard, conn) // its end is all there is to learn
		f.remove(s)
	})
	return s
}

func (f *Feed) remove(s *sink) {
	_ = s.Close() // it may be closed already
	f.change(func() { f.sinks = slices.DeleteFunc(f.sinks, func(o *sink) bool { return o == s }) })
}

// tell sends the line of each call from the nth on.
func (f *Feed) tell(ctx context.Context, n int) error {
	for {
		accounts, more := f.state.since(n)
		for _, a := range accounts {
			n++
			if c := f.state.CDR(); !c.Disabled {
				f.line(ctx, c.Line(a))
			}
		}
		select {
		case <-more:
		case <-ctx.Done():
			return nil
		}
	}
}

// line sends one line to all who are connected.
func (f *Feed) line(ctx context.Context, text string) {
	k := f.Knobs()
	if !elapsed(k.Late, ctx.Done()) {
		return
	}
	end := "\r\n"
	if k.LF {
		end = "\n"
	}
	data := bytes.Repeat([]byte(text+end), 1+k.Repeat)
	f.waiting = append(f.waiting, data) // by this goroutine alone
	if len(f.waiting) < k.Join {
		return
	}
	lines := len(f.waiting)
	data = bytes.Join(f.waiting, nil)
	f.waiting = nil
	f.mu.Lock()
	sinks := slices.Clone(f.sinks)
	f.mu.Unlock()
	if k.PerCall && f.listener == nil && !k.HalfOpen {
		if conn, err := f.dial(ctx); err == nil {
			sinks = append(sinks, &sink{Conn: conn})
		}
	}
	sent := 0
	for _, s := range sinks {
		if !k.HalfOpen && f.write(ctx, s, data, lines, k) == nil {
			sent++
		}
		if s.gone == nil {
			_ = s.Close() // of this line alone
		}
	}
	f.change(func() {
		if sent == 0 {
			f.lost += lines
		} else {
			f.told += lines
		}
	})
}

var errDropped = errors.New("the connection was dropped inside a line")

// write sends data by one connection, in pieces where it is to.
func (f *Feed) write(ctx context.Context, s *sink, data []byte, lines int, k FeedKnobs) error {
	s.lines += lines
	last := k.DropAfter > 0 && s.lines >= k.DropAfter
	if last && k.DropInside {
		data = data[:len(data)/2]
	}
	size := len(data)
	if k.Chunk > 0 {
		size = k.Chunk
	}
	if err := s.SetWriteDeadline(time.Now().Add(5 * time.Second)); err != nil {
		return err
	}
	for piece := range slices.Chunk(data, size) {
		if _, err := s.Write(piece); err != nil {
			return err
		}
		if k.Chunk > 0 && !elapsed(time.Millisecond, ctx.Done()) { // else they would arrive as one
			return context.Cause(ctx)
		}
	}
	switch {
	case !last:
		return nil
	case k.DropInside:
		return errors.Join(errDropped, s.Close())
	}
	return s.Close()
}
