package sip

import (
	"context"
	"net/netip"
	"strings"

	gosip "github.com/emiago/sipgo/sip"
)

// dialog is what a leg knows of its dialog (RFC 3261 section 12).
type dialog struct {
	local, remote       string // From and To as we send them, with tags
	localTag, remoteTag string
	localSeq, remoteSeq uint32
	target              string   // the other side's Contact
	routes              []string // Route headers, in order
	contact             string   // ours
	flow                flow     // how the other side was first reached
	credentials         *Credentials
	allows              string // the other side's Allow header, in lower case
}

// draft is the beginning of a request within the dialog (section 12.2.1.1).
func (l *Leg) draft(method gosip.RequestMethod) *draft {
	l.localSeq++
	d := &draft{method: method, draftDialog: draftDialog{
		from: l.local, to: l.remote, callID: l.callID, cseq: l.localSeq, call: l.id, maxForwards: 70,
	}}
	d.uri, d.routes = route(l.target, l.routes)
	switch method {
	case gosip.BYE, gosip.PRACK, gosip.INFO, gosip.MESSAGE:
	default:
		d.contact = l.contact
	}
	switch method {
	case gosip.INVITE, gosip.UPDATE:
		d.headers = capabilities()
	}
	return d
}

// ack is the ACK of a 2xx: a request of its own within the dialog, with the
// sequence number of its INVITE (section 13.2.2.4).
func (l *Leg) ack(cseq uint32, contentType string, body []byte) *draft {
	d := &draft{method: gosip.ACK, draftDialog: draftDialog{
		from: l.local, to: l.remote, callID: l.callID, cseq: cseq, call: l.id, maxForwards: 70,
	}}
	d.uri, d.routes = route(l.target, l.routes)
	d.contentType, d.body = contentType, body
	return d
}

// route is the request URI and the Route headers that lead to target. The
// first route of a strict router takes the place of the request URI.
func route(target string, routes []string) (string, []string) {
	if len(routes) == 0 || loose(routes[0]) {
		return target, routes
	}
	rest := append([]string(nil), routes[1:]...)
	return bareURI(routes[0]), append(rest, "<"+target+">")
}

// loose reports whether a route is of a loose router.
func loose(route string) bool {
	for p := range strings.SplitSeq(bareURI(route), ";") {
		p, _, _ = strings.Cut(p, "?")
		if name, _, _ := strings.Cut(p, "="); strings.EqualFold(strings.TrimSpace(name), "lr") {
			return true
		}
	}
	return false
}

// bareURI is the URI of a name-addr, without its brackets.
func bareURI(s string) string {
	if _, rest, ok := strings.Cut(s, "<"); ok {
		s, _, _ = strings.Cut(rest, ">")
	}
	return strings.TrimSpace(s)
}

// way is where a request of the dialog is sent. A connection is stayed with.
// Datagrams go to the address that the first route or the request URI gives,
// where it is one of a peer's; a name, which would be looked up by a stranger's
// choice, or an address of nobody's, as behind NAT, gives way to the address
// that the other side was first met at.
func (l *Leg) way(d *draft) flow {
	if l.flow.reliable() {
		return l.flow
	}
	addr, ok := literal(d.hop())
	if !ok || addr == l.flow.remote() || l.sh.stack.peerOf(addr) == nil {
		return l.flow
	}
	f, err := l.sh.stack.flowTo(context.Background(), "udp", addr) // datagrams need no connection: it does not wait
	if err != nil {
		return l.flow
	}
	return f
}

// literal is the address that uri names without a lookup.
func literal(uri string) (netip.AddrPort, bool) {
	var u gosip.Uri
	if err := gosip.ParseUri(uri, &u); err != nil {
		return netip.AddrPort{}, false
	}
	addr, err := netip.ParseAddr(strings.Trim(u.Host, "[]"))
	if err != nil {
		return netip.AddrPort{}, false
	}
	port := 5060
	if u.Port > 0 {
		port = u.Port
	}
	return netip.AddrPortFrom(addr.Unmap(), uint16(port)), true
}

// retarget takes the other side's new Contact (section 12.2.2).
func (l *Leg) retarget(hs []gosip.Header) {
	if uri := contactURI(hs); uri != "" {
		l.target = uri
	}
	if a := value(hs, "Allow"); a != "" {
		l.allows = strings.ToLower(strings.Join(values(hs, "Allow"), ","))
	}
}

// contactURI is the URI of the first Contact.
func contactURI(hs []gosip.Header) string {
	for _, h := range hs {
		if c, ok := h.(*gosip.ContactHeader); ok && !c.Address.Wildcard {
			return c.Address.String()
		}
	}
	return ""
}

// capabilities tell what we can do.
func capabilities() []Header {
	return []Header{{"Allow", allow}, {"Supported", supported}}
}

// routeSet are the Record-Route headers in the order in which they came.
func routeSet(hs []gosip.Header) []string {
	var out []string
	for _, h := range hs {
		if r, ok := h.(*gosip.RecordRouteHeader); ok {
			out = append(out, r.Value())
		}
	}
	return out
}
