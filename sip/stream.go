package sip

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"
)

// Limits of TCP and TLS connections.
const (
	streamsPerIP     = 20
	streamsTotal     = 500
	streamIdle       = 5 * time.Minute  // between messages
	streamMessage    = 30 * time.Second // from a message's first byte to its last
	streamWrite      = 10 * time.Second
	streamHandshake  = 5 * time.Second
	streamDial       = 4 * time.Second
	streamQueue      = 256 << 10 // bytes waiting to be written
	streamReadBuffer = 4096
)

// Why a connection ends or is not had.
var (
	errStreamClosed = errors.New("connection closed")
	errStreamFull   = errors.New("connection takes no more messages")
	errStreamCap    = errors.New("too many connections")
	errUnlisted     = errors.New("unlisted source")
	errFraming      = errors.New("message cannot be framed")
)

// streams are the connections that are open.
type streams struct {
	mu     sync.Mutex
	byAddr map[streamKey]*stream
	perIP  map[netip.Addr]int
	closed bool
	wg     sync.WaitGroup
}

type streamKey struct {
	network string
	remote  netip.AddrPort
}

func (t *streams) init() {
	t.byAddr, t.perIP = map[streamKey]*stream{}, map[netip.Addr]int{}
}

func (t *streams) len() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.byAddr)
}

func (t *streams) get(k streamKey) *stream {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.byAddr[k]
}

// add takes c in; accepted connections are capped, those we open are not.
func (t *streams) add(c *stream, capped bool) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	ip := c.peerAddr.Addr()
	switch {
	case t.closed:
		return errStreamClosed
	case capped && (t.perIP[ip] >= streamsPerIP || len(t.byAddr) >= streamsTotal):
		return errStreamCap
	}
	t.perIP[ip]++
	t.byAddr[c.key()] = c
	t.wg.Add(2)
	return nil
}

func (t *streams) remove(c *stream) {
	t.mu.Lock()
	defer t.mu.Unlock()
	ip := c.peerAddr.Addr()
	if t.perIP[ip]--; t.perIP[ip] <= 0 {
		delete(t.perIP, ip)
	}
	if t.byAddr[c.key()] == c {
		delete(t.byAddr, c.key())
	}
}

func (t *streams) closeAll() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	for _, c := range t.byAddr {
		c.shut()
	}
}

func (t *streams) wait() { t.wg.Wait() }

// stream is one connection. Its reader frames messages, its writer sends what
// is queued, so that send never blocks.
type stream struct {
	w        *wire
	s        *socket
	conn     net.Conn
	peerAddr netip.AddrPort
	out      outbox
	done     chan struct{}
	once     sync.Once
}

// outbox is what waits to be written.
type outbox struct {
	mu      sync.Mutex
	pending net.Buffers
	size    int
	last    bool          // nothing comes after what is pending
	wake    chan struct{} // of the writer; holds one
}

// put reports whether there was room for b.
func (o *outbox) put(b []byte) bool {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.last || o.size+len(b) > streamQueue {
		return false
	}
	o.pending, o.size = append(o.pending, b), o.size+len(b)
	o.signal()
	return true
}

// finish lets the writer end the connection once all is written.
func (o *outbox) finish() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.last = true
	o.signal()
}

func (o *outbox) signal() {
	select {
	case o.wake <- struct{}{}:
	default:
	}
}

func (o *outbox) take() (net.Buffers, bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	all := o.pending
	o.pending, o.size = nil, 0
	return all, o.last
}

func (c *stream) network() string        { return c.s.Network }
func (c *stream) local() netip.AddrPort  { return c.s.bound }
func (c *stream) remote() netip.AddrPort { return c.peerAddr }
func (c *stream) reliable() bool         { return true }
func (c *stream) key() streamKey         { return streamKey{c.s.Network, c.peerAddr} }

func (c *stream) send(b []byte) error {
	select {
	case <-c.done:
		return fmt.Errorf("sending to %s: %w", c.peerAddr, errStreamClosed)
	default:
	}
	if c.w.tap != nil && !blank(b) {
		c.w.tap(Packet{At: time.Now(), Network: c.s.Network, Sent: true, Local: c.s.bound, Remote: c.peerAddr, Data: b})
	}
	if !c.out.put(b) {
		c.shut() // a peer that does not read
		return fmt.Errorf("sending to %s: %w", c.peerAddr, errStreamFull)
	}
	return nil
}

// shut ends the connection; reader and writer then end by themselves.
func (c *stream) shut() {
	c.once.Do(func() {
		close(c.done)
		_ = c.conn.Close()
	})
}

// acceptStreams takes connections of listed sources until s is closed. Errors
// such as running out of descriptors pass.
func (w *wire) acceptStreams(ctx context.Context, s *socket) {
	pause := backoff{}
	for {
		conn, err := s.Listener.Listener.Accept()
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			w.drop(dropConnection, netip.AddrPort{}, err)
			if !pause.wait(ctx) {
				return
			}
			continue
		}
		pause.reset()
		src := addrPort(conn.RemoteAddr())
		if w.unknown != Refuse && w.peers.Load().find(src, true) == nil {
			_ = conn.Close()
			w.drop(dropUnlisted, src, errUnlisted)
			continue
		}
		if err := w.open(ctx, s, conn, src, true); err != nil {
			_ = conn.Close()
			w.drop(dropConnection, src, err)
		}
	}
}

// open starts reader and writer of a connection; a TLS handshake is the
// reader's first act.
func (w *wire) open(ctx context.Context, s *socket, conn net.Conn, src netip.AddrPort, accepted bool) error {
	c := &stream{w: w, s: s, conn: conn, peerAddr: src, out: outbox{wake: make(chan struct{}, 1)}, done: make(chan struct{})}
	if s.TLS != nil && accepted {
		c.conn = tls.Server(conn, s.TLS)
	}
	if err := w.streams.add(c, accepted); err != nil {
		return err
	}
	go c.write()
	go c.read(ctx)
	return nil
}

// handshake completes TLS within its time limit.
func (c *stream) handshake(ctx context.Context) error {
	t, ok := c.conn.(*tls.Conn)
	if !ok {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, streamHandshake)
	defer cancel()
	if err := t.HandshakeContext(ctx); err != nil {
		return fmt.Errorf("TLS handshake: %w", err)
	}
	return nil
}

func (c *stream) write() {
	defer c.w.streams.wg.Done()
	defer c.shut()
	for {
		select {
		case <-c.out.wake:
		case <-c.done:
			return
		}
		all, last := c.out.take()
		if err := c.put(all); err != nil {
			c.w.drop(dropUnsent, c.peerAddr, err)
			return
		}
		if last {
			return
		}
	}
}

func (c *stream) put(all net.Buffers) error {
	if err := c.conn.SetWriteDeadline(time.Now().Add(streamWrite)); err != nil {
		return err
	}
	_, err := all.WriteTo(c.conn)
	return err
}

func (c *stream) read(ctx context.Context) {
	defer c.w.streams.wg.Done()
	defer c.w.streams.remove(c)
	err := c.handshake(ctx)
	if err == nil {
		err = c.frames()
	}
	c.out.finish()
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, net.ErrClosed) {
		c.w.drop(dropConnection, c.peerAddr, err)
	}
}

// frames reads messages until the connection ends or cannot be framed.
func (c *stream) frames() error {
	f := framer{}
	buf := make([]byte, 0, streamReadBuffer)
	var begun time.Time // of the message in progress
	for {
		limit := time.Now().Add(streamIdle)
		if !begun.IsZero() {
			limit = begun.Add(streamMessage)
		}
		if err := c.conn.SetReadDeadline(limit); err != nil {
			return err
		}
		if len(buf) == cap(buf) {
			buf = append(make([]byte, 0, 2*cap(buf)), buf...)
		}
		n, err := c.conn.Read(buf[len(buf):cap(buf)])
		buf = buf[:len(buf)+n]
		used, ferr := f.next(buf, c)
		if ferr != nil {
			return ferr
		}
		if used > 0 {
			buf = append(buf[:0], buf[used:]...)
			begun = time.Time{}
		}
		if begun.IsZero() && len(buf) > 0 {
			begun = time.Now()
		}
		if err != nil {
			return err
		}
	}
}

// message hands on one framed message. Whose it is is looked up each time: the
// peers may have been replaced since the connection was made.
func (c *stream) message(b []byte) {
	p := c.w.peers.Load().find(c.peerAddr, true)
	switch {
	case p != nil:
		c.w.take(b, c, c.peerAddr, p)
	case c.w.unknown == Refuse:
		c.w.strangerOnStream(b, c)
	default:
		c.w.drop(dropUnlisted, c.peerAddr, errUnlisted)
		c.shut()
	}
}

// pong answers a keep-alive (RFC 5626 section 4.4.1).
func (c *stream) pong() {
	c.w.count.keepalives.Add(1)
	if err := c.send([]byte("\r\n")); err != nil {
		c.w.drop(dropUnsent, c.peerAddr, err)
	}
}

// connect is a flow to to: the connection there is, or a new one.
func (w *wire) connect(ctx context.Context, s *socket, to netip.AddrPort) (flow, error) {
	if c := w.streams.get(streamKey{s.Network, to}); c != nil {
		select {
		case <-c.done: // stale: dial again
		default:
			return c, nil
		}
	}
	d := net.Dialer{Timeout: streamDial}
	conn, err := d.DialContext(ctx, "tcp", to.String())
	if err != nil {
		return nil, fmt.Errorf("connecting: %w", err)
	}
	if s.Network == "tls" {
		conn = tls.Client(conn, w.clientTLS(s, to))
	}
	if err := w.open(context.WithoutCancel(ctx), s, conn, to, false); err != nil {
		_ = conn.Close()
		return nil, fmt.Errorf("connecting to %s: %w", to, err)
	}
	c := w.streams.get(streamKey{s.Network, to})
	if c == nil {
		return nil, fmt.Errorf("connecting to %s: %w", to, errStreamClosed)
	}
	return c, nil
}

// clientTLS is the configuration of a connection we open: the listener's, with
// the name that to was resolved from to be found in the certificate.
func (w *wire) clientTLS(s *socket, to netip.AddrPort) *tls.Config {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if s.TLS != nil {
		config = s.TLS.Clone()
	}
	if config.ServerName = w.names.nameOf(to); config.ServerName == "" {
		config.ServerName = to.Addr().String()
	}
	return config
}
