package sip

import (
	"net/netip"
)

// Addr is the address the listener is bound to.
func (l Listener) Addr() netip.AddrPort {
	if l.PacketConn != nil {
		return addrPort(l.PacketConn.LocalAddr())
	}
	return addrPort(l.Listener.Addr())
}

// Close closes the socket of a listener that no stack serves; a stack closes
// its own.
func (l Listener) Close() error {
	if l.PacketConn != nil {
		return l.PacketConn.Close()
	}
	return l.Listener.Close()
}
