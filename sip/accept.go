package sip

import (
	"cmp"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"sync/atomic"
	"time"
)

// Peer is somebody who may talk to us: a trunk, or a node of the PBX.
type Peer struct {
	Name    string
	PBX     bool           // a node of the PBX, not a trunk
	Sources []netip.Prefix // addresses its messages come from
	Port    uint16         // the port they come from; 0 is any

	TrustIdentity bool         // its P-Asserted-Identity and Remote-Party-ID are believed (RFC 3325)
	Credentials   *Credentials // answers to its digest challenges; nil: never answered
}

// Credentials answer the digest challenges of one peer.
type Credentials struct{ User, Password, Realm string }

// String hides the password.
func (c Credentials) String() string { return c.User + "@" + c.Realm }

// GoString hides the password.
func (c Credentials) GoString() string { return "sip.Credentials{" + c.String() + "}" }

// LogValue hides the password.
func (c Credentials) LogValue() slog.Value { return slog.StringValue(c.String()) }

// Unknown says what a source that belongs to no peer gets.
type Unknown int

// What an unknown source may get.
const (
	Ignore Unknown = iota // silence, before one byte is parsed
	Refuse                // one 403 for each request, without a transaction
)

// peerTable finds the peer of a source address. It never changes; a new
// one takes its place.
type peerTable []peerGroup

// peerGroup holds the prefixes of one length and port, so that a lookup costs
// one map access for each kind of prefix and not one for each prefix.
type peerGroup struct {
	port  uint16
	bits  int
	peers map[netip.Prefix]*Peer
}

// newPeerTable orders groups as they win: a port before any port, then the
// longest prefix.
func newPeerTable(peers []Peer) (peerTable, error) {
	var table peerTable
	for i := range peers {
		p := &peers[i]
		if len(p.Sources) == 0 {
			return nil, fmt.Errorf("peer %q has no source address", p.Name)
		}
		for _, prefix := range p.Sources {
			if !prefix.IsValid() {
				return nil, fmt.Errorf("peer %q has an invalid source address", p.Name)
			}
			if err := table.add(p, unmapPrefix(prefix).Masked()); err != nil {
				return nil, err
			}
		}
	}
	slices.SortStableFunc(table, func(a, b peerGroup) int {
		if a.port != 0 != (b.port != 0) {
			return cmp.Compare(b.port, a.port)
		}
		return cmp.Compare(b.bits, a.bits)
	})
	return table, nil
}

func (t *peerTable) add(p *Peer, prefix netip.Prefix) error {
	i := slices.IndexFunc(*t, func(g peerGroup) bool { return g.port == p.Port && g.bits == prefix.Bits() })
	if i < 0 {
		i = len(*t)
		*t = append(*t, peerGroup{port: p.Port, bits: prefix.Bits(), peers: map[netip.Prefix]*Peer{}})
	}
	group := (*t)[i].peers
	if other, taken := group[prefix]; taken && other != p {
		if p.Port == 0 {
			return fmt.Errorf("peers %q and %q share the source %s: give one of them a port", other.Name, p.Name, prefix)
		}
		return fmt.Errorf("peers %q and %q share the source %s port %d", other.Name, p.Name, prefix, p.Port)
	}
	group[prefix] = p
	return nil
}

func unmapPrefix(p netip.Prefix) netip.Prefix {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		return netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	return p
}

// find is the peer whose source src is, nil if there is none. A connection
// comes from a port chosen by chance: where no peer claims its address at any
// port, one that names a port is taken.
func (t peerTable) find(src netip.AddrPort, stream bool) *Peer {
	addr := src.Addr().Unmap().WithZone("")
	for _, g := range t {
		if g.port == 0 || g.port == src.Port() {
			if p := g.find(addr); p != nil {
				return p
			}
		}
	}
	if !stream {
		return nil
	}
	for _, g := range t {
		if p := g.find(addr); p != nil {
			return p
		}
	}
	return nil
}

func (g peerGroup) find(addr netip.Addr) *Peer {
	prefix, err := addr.Prefix(g.bits)
	if err != nil { // longer than this family's addresses
		return nil
	}
	return g.peers[prefix]
}

// sampler lets one event a second through.
type sampler struct{ last atomic.Int64 }

func (s *sampler) allow(now time.Time) bool {
	sec, last := now.Unix(), s.last.Load()
	return sec != last && s.last.CompareAndSwap(last, sec)
}
