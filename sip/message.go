package sip

import (
	"net/netip"
	"time"

	gosip "github.com/emiago/sipgo/sip"
)

// message is one SIP message that has been accepted, parsed and validated,
// with the way back to whoever sent it. Exactly one of req and res is set.
type message struct {
	req *gosip.Request
	res *gosip.Response

	flow flow           // where an answer goes
	src  netip.AddrPort // who sent it
	peer *Peer          // whom that address belongs to
	at   time.Time      // when it was read from the socket
	size int            // in bytes, as it came

	defects []defect // what the parser found wrong with it, for verdict
}

// flow is the way back to whoever sent a message: the listener's socket and
// the remote address, or the connection (RFC 3261 section 18.2.2).
type flow interface {
	network() string       // "udp", "tcp" or "tls"
	local() netip.AddrPort // what the listener is bound to; Stack.sentBy is what others are told
	remote() netip.AddrPort
	reliable() bool      // nothing need be sent twice
	send(b []byte) error // does not wait; b must not be changed afterwards
}
