package sip

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"time"

	gosip "github.com/emiago/sipgo/sip"
)

// maxDatagram is one byte more than any UDP payload, so that a read that fills
// it was cut.
const maxDatagram = 65536

// udpFlow is a socket and the address to send to.
type udpFlow struct {
	w  *wire
	s  *socket
	to netip.AddrPort
}

func (f udpFlow) network() string        { return "udp" }
func (f udpFlow) local() netip.AddrPort  { return f.s.bound }
func (f udpFlow) remote() netip.AddrPort { return f.to }
func (f udpFlow) reliable() bool         { return false }

func (f udpFlow) send(b []byte) error {
	if f.w.tap != nil {
		f.w.tap(Packet{At: time.Now(), Network: "udp", Sent: true, Local: f.s.bound, Remote: f.to, Data: b})
	}
	var err error
	if c, ok := f.s.PacketConn.(*net.UDPConn); ok {
		_, err = c.WriteToUDPAddrPort(b, f.to)
	} else {
		_, err = f.s.PacketConn.WriteTo(b, net.UDPAddrFromAddrPort(f.to))
	}
	if err != nil {
		return fmt.Errorf("sending to %s: %w", f.to, err)
	}
	return nil
}

// readDatagrams reads s until it is closed. One buffer serves for ever: the
// parser copies what it keeps.
func (w *wire) readDatagrams(ctx context.Context, s *socket) {
	buf := make([]byte, maxDatagram)
	pause := backoff{}
	for {
		n, src, err := readFrom(s.PacketConn, buf)
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			if !pause.wait(ctx) {
				return
			}
			w.drop(dropReadError, src, err)
			continue
		}
		pause.reset()
		w.datagram(buf[:n], s, src)
	}
}

func readFrom(c net.PacketConn, buf []byte) (int, netip.AddrPort, error) {
	if u, ok := c.(*net.UDPConn); ok {
		n, src, err := u.ReadFromUDPAddrPort(buf)
		return n, netip.AddrPortFrom(src.Addr().Unmap(), src.Port()), err
	}
	n, src, err := c.ReadFrom(buf)
	return n, addrPort(src), err
}

// datagram accepts b by its source before a byte of it is looked at.
func (w *wire) datagram(b []byte, s *socket, src netip.AddrPort) {
	w.count.datagrams.Add(1)
	p := w.peers.Load().find(src, false)
	if p == nil {
		w.stranger(b, s, src)
		return
	}
	if len(b) == maxDatagram {
		w.drop(dropTruncated, src, errTooLarge)
		return
	}
	if blank(b) { // keep-alives of NAT: CRLF, NUL
		w.count.keepalives.Add(1)
		return
	}
	w.take(b, udpFlow{w: w, s: s, to: src}, src, p)
}

// stranger gives an unlisted source what the settings say: silence, or one 403
// for each request, never larger than it by more than a few headers.
func (w *wire) stranger(b []byte, s *socket, src netip.AddrPort) {
	w.count.dropped[dropUnlisted].Add(1)
	if w.noise.allow(time.Now()) {
		w.log.Info("unlisted source", "source", src, "bytes", len(b))
	}
	if w.unknown != Refuse || blank(b) || len(b) == maxDatagram {
		return
	}
	w.refuse(b, udpFlow{w: w, s: s, to: src}, src)
}

// strangerOnStream refuses what an unlisted source sends over a connection.
func (w *wire) strangerOnStream(b []byte, c *stream) {
	w.count.dropped[dropUnlisted].Add(1)
	w.refuse(b, c, c.peerAddr)
}

// refuse answers a request 403, without a transaction, over the flow it came
// on and nowhere else.
func (w *wire) refuse(b []byte, f flow, src netip.AddrPort) {
	defer w.contain(src)
	m, err := parse(b)
	if err != nil || m.req == nil || m.req.Method == gosip.ACK || m.req.Via() == nil {
		return
	}
	m.flow, m.src = f, src
	stampVia(m.req, src)
	w.answer(m, 403, "Forbidden", nil)
}

// blank reports whether b holds nothing but line ends, blanks and NULs.
func blank(b []byte) bool {
	for _, c := range b {
		if c != '\r' && c != '\n' && c != ' ' && c != '\t' && c != 0 {
			return false
		}
	}
	return true
}

// backoff is the pause after a failed read or accept: it doubles to a second.
type backoff struct{ next time.Duration }

func (p *backoff) reset() { p.next = 0 }

// wait reports whether ctx still lives after the pause.
func (p *backoff) wait(ctx context.Context) bool {
	p.next = min(max(2*p.next, 5*time.Millisecond), time.Second)
	t := time.NewTimer(p.next)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
