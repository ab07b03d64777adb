package media

import (
	"errors"
	"fmt"
	"net/netip"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// expedited is DSCP EF (RFC 3246) as a TOS byte.
const expedited = 46 << 2

// socket is a UDP socket of its own, non-blocking and outside Go's poller:
// sending costs one system call and nothing else, and thousands of idle legs
// cost no goroutine. It is not safe for concurrent use with connect and
// close; the session's locks see to that.
type socket struct {
	fd    int
	local netip.AddrPort
	to    unix.Sockaddr // where to send while not connected
}

// openSocket binds a socket that receives nothing until it is let.
func openSocket(addr netip.AddrPort) (*socket, error) {
	family := unix.AF_INET
	if addr.Addr().Is6() {
		family = unix.AF_INET6
	}
	fd, err := unix.Socket(family, unix.SOCK_DGRAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("opening a UDP socket: %w", err)
	}
	k := &socket{fd: fd}
	if err := k.bind(addr, family); err != nil {
		return nil, errors.Join(fmt.Errorf("binding %s: %w", addr, err), k.close())
	}
	return k, nil
}

func (k *socket) bind(addr netip.AddrPort, family int) error {
	if err := k.filter(nothing()); err != nil {
		return err
	}
	// The mark is a wish to the network: a system that refuses it still works.
	if family == unix.AF_INET {
		_ = unix.SetsockoptInt(k.fd, unix.IPPROTO_IP, unix.IP_TOS, expedited)
	} else {
		_ = unix.SetsockoptInt(k.fd, unix.IPPROTO_IPV6, unix.IPV6_TCLASS, expedited)
	}
	if err := unix.Bind(k.fd, sockaddr(addr)); err != nil {
		return err
	}
	sa, err := unix.Getsockname(k.fd)
	k.local = addrPort(sa)
	return err
}

// connect makes addr the only peer.
func (k *socket) connect(addr netip.AddrPort) error {
	if err := k.disconnect(); err != nil {
		return err
	}
	if err := unix.Connect(k.fd, sockaddr(addr)); err != nil {
		return fmt.Errorf("connecting to %s: %w", addr, err)
	}
	k.to = nil
	return nil
}

// aim sends to addr and receives from anybody.
func (k *socket) aim(addr netip.AddrPort) error {
	if err := k.disconnect(); err != nil {
		return err
	}
	k.to = sockaddr(addr)
	return nil
}

// disconnect forgets the peer, so that the next connect chooses its route and
// source address anew. The port stays, since it was bound.
func (k *socket) disconnect() error {
	raw := unix.RawSockaddr{Family: unix.AF_UNSPEC}
	if err := disconnect(k.fd, &raw); err != nil {
		return fmt.Errorf("disconnecting: %w", err)
	}
	return nil
}

// send writes one datagram. A peer that was unreachable before is tried once
// more: the kernel reports that with the next, innocent packet.
func (k *socket) send(b []byte) error {
	if k.to != nil {
		return unix.Sendto(k.fd, b, unix.MSG_DONTWAIT, k.to)
	}
	err := write(k.fd, b)
	if err == unix.ECONNREFUSED {
		err = write(k.fd, b)
	}
	return err
}

// receive reads one datagram; its source is only told while not connected.
// It fails with EAGAIN when there is none.
func (k *socket) receive(b []byte) (int, netip.AddrPort, error) {
	if k.to == nil {
		n, err := read(k.fd, b)
		return n, netip.AddrPort{}, err
	}
	n, from, err := unix.Recvfrom(k.fd, b, unix.MSG_DONTWAIT)
	if err != nil {
		return 0, netip.AddrPort{}, err
	}
	return n, addrPort(from), nil
}

// filter lets only those datagrams in that the program passes.
func (k *socket) filter(program []bpf.Instruction) error {
	raw, err := bpf.Assemble(program)
	if err != nil {
		return fmt.Errorf("assembling a socket filter: %w", err)
	}
	code := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		code[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	prog := unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}
	if err := unix.SetsockoptSockFprog(k.fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &prog); err != nil {
		return fmt.Errorf("attaching a socket filter: %w", err)
	}
	return nil
}

// open lets everything in.
func (k *socket) open() error {
	if err := unix.SetsockoptInt(k.fd, unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0); err != nil && err != unix.ENOENT {
		return fmt.Errorf("detaching the socket filter: %w", err)
	}
	return nil
}

func (k *socket) close() error { return unix.Close(k.fd) }

// busy reports whether a port is held by another program.
func busy(err error) bool { return errors.Is(err, unix.EADDRINUSE) || errors.Is(err, unix.EACCES) }

func sockaddr(a netip.AddrPort) unix.Sockaddr {
	if a.Addr().Is4() {
		return &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}
	}
	return &unix.SockaddrInet6{Port: int(a.Port()), Addr: a.Addr().As16()}
}

func addrPort(sa unix.Sockaddr) netip.AddrPort {
	switch sa := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(sa.Addr), uint16(sa.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(sa.Addr), uint16(sa.Port))
	}
	return netip.AddrPort{}
}
