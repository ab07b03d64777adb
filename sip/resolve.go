package sip

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	gosip "github.com/emiago/sipgo/sip"
)

// target is where a request may be sent.
type target struct {
	network string // "udp", "tcp" or "tls"
	addr    netip.AddrPort
}

// What name lookups may cost and how long their answers serve.
const (
	lookupTimeout = time.Second
	lookupFresh   = time.Minute
	lookupFailed  = 5 * time.Second
	lookupStale   = time.Hour // used when the name server does not answer
	lookupNames   = 256
)

// dns is the part of net.Resolver that is used.
type dns interface {
	LookupSRV(ctx context.Context, service, proto, name string) (string, []*net.SRV, error)
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// resolver finds the targets of URIs and remembers what it found.
type resolver struct {
	dns   dns
	mu    sync.Mutex
	cache map[lookup]found
}

type lookup struct {
	host    string
	port    int
	network string // "" where the URI does not say
}

type found struct {
	targets []target
	err     error
	at      time.Time
}

func newResolver(d dns) *resolver { return &resolver{dns: d, cache: map[lookup]found{}} }

// resolve are the targets of uri in the order in which they are to be tried
// (RFC 3263): at once for an address, else from the name server within a
// second. Targets of networks without a listener are left out.
func (s *Stack) resolve(ctx context.Context, uri gosip.Uri) ([]target, error) {
	return s.wire.resolve(ctx, uri)
}

func (w *wire) resolve(ctx context.Context, uri gosip.Uri) ([]target, error) {
	if uri.Scheme != "sip" && uri.Scheme != "sips" {
		return nil, fmt.Errorf("resolving %q: not a sip URI", uri.String())
	}
	network, _ := uri.UriParams.Get("transport")
	network = strings.ToLower(network)
	if uri.Scheme == "sips" {
		network = "tls"
	}
	host := trimBrackets(uri.Host)
	if addr, err := netip.ParseAddr(host); err == nil {
		if network == "" {
			network = w.standardNetwork()
		}
		return w.served([]target{{network, netip.AddrPortFrom(addr.Unmap(), portOr(uri.Port, network))}}, uri)
	}
	found, err := w.names.find(ctx, lookup{strings.ToLower(host), uri.Port, network}, w.standardNetwork())
	if err != nil {
		return nil, fmt.Errorf("resolving %q: %w", uri.String(), err)
	}
	return w.served(found, uri)
}

// served leaves out targets of networks and families that no listener serves.
func (w *wire) served(all []target, uri gosip.Uri) ([]target, error) {
	var out []target
	for _, t := range all {
		if w.socketFor(t.network, t.addr.Addr()) != nil {
			out = append(out, t)
		}
	}
	if len(out) == 0 {
		return nil, fmt.Errorf("resolving %q: no listener can reach it", uri.String())
	}
	return out, nil
}

// standardNetwork is the network of URIs that name none.
func (w *wire) standardNetwork() string {
	for _, s := range w.sockets {
		if s.Network == "udp" {
			return "udp"
		}
	}
	return w.sockets[0].Network
}

func portOr(port int, network string) uint16 {
	switch {
	case port > 0 && port < 65536:
		return uint16(port)
	case network == "tls":
		return 5061
	}
	return 5060
}

// find asks the cache, then the name server. A name that could be resolved
// within the last hour still can while the name server is down.
func (r *resolver) find(ctx context.Context, q lookup, standard string) ([]target, error) {
	r.mu.Lock()
	old, known := r.cache[q]
	r.mu.Unlock()
	age := time.Since(old.at)
	if known && (old.err == nil && age < lookupFresh || old.err != nil && age < lookupFailed) {
		return old.targets, old.err
	}
	ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
	defer cancel()
	targets, err := r.ask(ctx, q, standard)
	if err != nil && known && old.err == nil && age < lookupStale {
		return old.targets, nil
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.cache) >= lookupNames {
		clear(r.cache)
	}
	r.cache[q] = found{targets, err, time.Now()}
	return targets, err
}

// ask follows RFC 3263 section 4: SRV where the URI gives no port, addresses
// where it does or no SRV exists.
func (r *resolver) ask(ctx context.Context, q lookup, standard string) ([]target, error) {
	if q.port == 0 {
		if targets := r.services(ctx, q, standard); len(targets) > 0 {
			return targets, nil
		}
	}
	network := q.network
	if network == "" {
		network = standard
	}
	return r.addresses(ctx, q.host, network, portOr(q.port, network))
}

func (r *resolver) services(ctx context.Context, q lookup, standard string) []target {
	networks := []string{q.network}
	if q.network == "" {
		networks = []string{standard}
		for _, n := range []string{"udp", "tcp"} {
			if n != standard {
				networks = append(networks, n)
			}
		}
	}
	var out []target
	for _, n := range networks {
		service, proto := "sip", n
		if n == "tls" {
			service, proto = "sips", "tcp"
		}
		_, records, err := r.dns.LookupSRV(ctx, service, proto, q.host)
		if err != nil {
			continue // no such record: the addresses of the name itself serve
		}
		for _, rec := range records {
			host := strings.TrimSuffix(rec.Target, ".")
			if addrs, err := r.addresses(ctx, host, n, rec.Port); err == nil {
				out = append(out, addrs...)
			}
		}
	}
	return out
}

func (r *resolver) addresses(ctx context.Context, host, network string, port uint16) ([]target, error) {
	addrs, err := r.dns.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, fmt.Errorf("looking up %q: %w", host, err)
	}
	out := make([]target, 0, len(addrs))
	for _, a := range addrs {
		out = append(out, target{network, netip.AddrPortFrom(a.Unmap(), port)})
	}
	return out, nil
}

// nameOf is the host name that last resolved to addr, for the verification of
// its certificate; empty where none did.
func (r *resolver) nameOf(addr netip.AddrPort) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	for q, f := range r.cache {
		for _, t := range f.targets {
			if t.addr == addr {
				return q.host
			}
		}
	}
	return ""
}

func trimBrackets(host string) string {
	return strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
}

// joinPort gives host, an address or name that may carry a port, a port.
func joinPort(host string, port uint16) string {
	if h, p, err := net.SplitHostPort(host); err == nil && p != "" {
		return net.JoinHostPort(h, p)
	}
	return net.JoinHostPort(trimBrackets(host), fmt.Sprint(port))
}
