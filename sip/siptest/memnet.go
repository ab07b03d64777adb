package siptest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"
)

// Faults are what a Net does to datagrams. The zero value delivers each once,
// at once and in order. Loss, Duplicate and Reorder are probabilities.
type Faults struct {
	Loss      float64
	Duplicate float64
	Reorder   float64       // held back until some later ones have passed
	Delay     time.Duration // of every datagram
	Jitter    time.Duration // more delay, up to this
	Seed      uint64        // the same seed does the same again

	// Drop loses the datagrams for which it returns true. It may be nil.
	Drop func(from, to netip.AddrPort, data []byte) bool
}

// held is how long a reordered datagram is held back.
const held = 5 * time.Millisecond

// memQueue is how many datagrams a socket's receive buffer takes.
const memQueue = 16384

// Net is a network of datagrams in memory. Made inside a testing/synctest
// bubble it runs on the bubble's clock.
type Net struct {
	mu     sync.Mutex
	faults Faults
	dice   *rand.Rand
	conns  map[netip.AddrPort]*Conn
	port   uint16 // the last one given to a socket that asked for any
}

// NewNet makes a network with faults.
func NewNet(f Faults) *Net {
	return &Net{faults: f, dice: rand.New(rand.NewPCG(f.Seed, 1)), conns: map[netip.AddrPort]*Conn{}, port: 40000}
}

// SetFaults replaces the faults; the dice go on.
func (n *Net) SetFaults(f Faults) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.faults = f
}

// Listen makes a socket at addr, "host:port"; port 0 is any free one.
func (n *Net) Listen(addr string) (*Conn, error) {
	at, err := netip.ParseAddrPort(addr)
	if err != nil {
		return nil, fmt.Errorf("listening in memory: %w", err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if at.Port() == 0 {
		for n.port++; n.conns[netip.AddrPortFrom(at.Addr(), n.port)] != nil; n.port++ {
		}
		at = netip.AddrPortFrom(at.Addr(), n.port)
	}
	if n.conns[at] != nil {
		return nil, fmt.Errorf("listening in memory: %s is taken", at)
	}
	c := &Conn{net: n, addr: at, queue: make(chan datagram, memQueue), closed: make(chan struct{}), deadline: make(chan time.Time, 1)}
	n.conns[at] = c
	return c, nil
}

type datagram struct {
	from netip.AddrPort
	data []byte
}

// send decides the fate of one datagram.
func (n *Net) send(from, to netip.AddrPort, data []byte) {
	n.mu.Lock()
	f := n.faults
	copies := 1
	if f.Drop != nil && f.Drop(from, to, data) || n.roll(f.Loss) {
		copies = 0
	} else if n.roll(f.Duplicate) {
		copies = 2
	}
	delays := make([]time.Duration, copies)
	for i := range delays {
		delays[i] = f.Delay
		if f.Jitter > 0 {
			delays[i] += time.Duration(n.dice.Int64N(int64(f.Jitter)))
		}
		if n.roll(f.Reorder) {
			delays[i] += held
		}
	}
	n.mu.Unlock()
	d := datagram{from, append([]byte(nil), data...)}
	for _, delay := range delays {
		if delay == 0 {
			n.deliver(to, d)
		} else {
			time.AfterFunc(delay, func() { n.deliver(to, d) })
		}
	}
}

// roll spares the dice where there is nothing to decide.
func (n *Net) roll(p float64) bool { return p > 0 && n.dice.Float64() < p }

// deliver loses what nobody listens for, and what a full buffer cannot take.
func (n *Net) deliver(to netip.AddrPort, d datagram) {
	n.mu.Lock()
	c := n.conns[to]
	n.mu.Unlock()
	if c == nil {
		return
	}
	select {
	case c.queue <- d:
	default:
	}
}

// Conn is a socket of a Net. It is a net.PacketConn.
type Conn struct {
	net    *Net
	addr   netip.AddrPort
	queue  chan datagram
	closed chan struct{}
	once   sync.Once

	mu       sync.Mutex
	until    time.Time
	deadline chan time.Time // wakes a read when the deadline changes
}

var _ net.PacketConn = (*Conn)(nil)

// AddrPort is where the socket is bound.
func (c *Conn) AddrPort() netip.AddrPort { return c.addr }

// LocalAddr is a *net.UDPAddr.
func (c *Conn) LocalAddr() net.Addr { return net.UDPAddrFromAddrPort(c.addr) }

// ReadFrom waits for a datagram, the deadline or Close. What does not fit into
// b is cut off.
func (c *Conn) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		expired, stop := c.timer()
		select {
		case d := <-c.queue:
			stop()
			return copy(b, d.data), net.UDPAddrFromAddrPort(d.from), nil
		case <-c.closed:
			stop()
			return 0, nil, net.ErrClosed
		case <-expired:
			return 0, nil, os.ErrDeadlineExceeded
		case <-c.deadline:
			stop()
		}
	}
}

// timer fires at the read deadline; without one it never does.
func (c *Conn) timer() (expired <-chan time.Time, stop func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.until.IsZero() {
		return nil, func() {}
	}
	t := time.NewTimer(time.Until(c.until))
	return t.C, func() { t.Stop() }
}

// WriteTo sends b to a *net.UDPAddr. It never blocks.
func (c *Conn) WriteTo(b []byte, to net.Addr) (int, error) {
	u, ok := to.(*net.UDPAddr)
	if !ok {
		return 0, fmt.Errorf("sending in memory: %v is no UDP address", to)
	}
	select {
	case <-c.closed:
		return 0, net.ErrClosed
	default:
	}
	ap := u.AddrPort()
	c.net.send(c.addr, netip.AddrPortFrom(ap.Addr().Unmap(), ap.Port()), b)
	return len(b), nil
}

// Close ends reads, and frees the address.
func (c *Conn) Close() error {
	c.once.Do(func() {
		close(c.closed)
		c.net.mu.Lock()
		defer c.net.mu.Unlock()
		delete(c.net.conns, c.addr)
	})
	return nil
}

// SetDeadline is SetReadDeadline: writes never wait.
func (c *Conn) SetDeadline(t time.Time) error { return c.SetReadDeadline(t) }

// SetReadDeadline bounds reads that wait now and later; the zero time is no
// bound.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.mu.Lock()
	c.until = t
	c.mu.Unlock()
	select {
	case c.deadline <- t:
	default:
	}
	return nil
}

// SetWriteDeadline has no effect: writes never wait.
func (c *Conn) SetWriteDeadline(time.Time) error { return nil }
