// Package media is the sound of a call: it plays greetings, hears digits and
// relays audio between two legs, by RTP (RFC 3550) over UDP.
//
// The model: an Engine owns a range of ports and one shard per CPU. A Session
// is one call leg: one UDP socket, connected to the address of the peer's
// session description, so that the kernel drops strangers. Each session has a
// sender and a receiver, and belongs to one shard, whose two goroutines work
// for all its sessions: the pacer sends what is played, in slots of 5 ms on an
// absolute schedule; the reader takes what arrives (epoll), finds digits and
// hands audio on. A leg that is only listened to for digits gets a socket
// filter, so that its talking costs nothing.
//
// Locks: a session's receiver may take a sender's lock (its own, or the other
// leg's while relaying); a sender's lock may be held while the pacer's is
// taken; never the other way.
package media
