package config

import (
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"time"

	"frontdesk/call"
	"frontdesk/pbx"
)

// endpoint is a host with a port and how it is reached.
type endpoint struct {
	network string // udp, tcp, tls
	host    string
	port    uint16
}

func parseHostPort(text string) (endpoint, error) {
	host, port, err := net.SplitHostPort(text)
	if err != nil {
		return endpoint{}, fmt.Errorf("%q is no address with a port", shorten(text))
	}
	n, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return endpoint{}, fmt.Errorf("%q is no port: 0 to 65535", shorten(port))
	}
	return endpoint{host: host, port: uint16(n)}, nil
}

// parseListener reads udp://HOST:PORT, where HOST is an IP address.
func parseListener(text string) (endpoint, error) {
	network, rest, ok := strings.Cut(text, "://")
	if !ok || !slices.Contains([]string{"udp", "tcp", "tls"}, network) {
		return endpoint{}, fmt.Errorf("%q does not begin with udp://, tcp:// or tls://", shorten(text))
	}
	e, err := parseHostPort(rest)
	if err != nil {
		return endpoint{}, err
	}
	if _, err := netip.ParseAddr(e.host); err != nil {
		return endpoint{}, fmt.Errorf("%q is no IP address", shorten(e.host))
	}
	e.network = network
	return e, nil
}

// parseSIPURI reads sip:HOST, sip:HOST:PORT;transport=tcp, sips:HOST. A user
// cannot stand in it: the number called is put there.
func parseSIPURI(text string) (endpoint, error) {
	scheme, rest, ok := strings.Cut(text, ":")
	if !ok || scheme != "sip" && scheme != "sips" {
		return endpoint{}, fmt.Errorf("%q begins with neither sip: nor sips: as a SIP URI must", shorten(text))
	}
	if strings.Contains(rest, "@") {
		return endpoint{}, fmt.Errorf("%q has a user; the number called is put there", shorten(text))
	}
	e := endpoint{network: "udp", port: 5060}
	host, params, _ := strings.Cut(rest, ";")
	if scheme == "sips" {
		e.network, e.port = "tls", 5061
	}
	if err := e.params(params); err != nil {
		return endpoint{}, err
	}
	e.host = strings.Trim(host, "[]")
	if h, port, err := net.SplitHostPort(host); err == nil {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return endpoint{}, fmt.Errorf("%q is no port: 1 to 65535", shorten(port))
		}
		e.host, e.port = h, uint16(n)
	}
	if !hostname(e.host) {
		return endpoint{}, fmt.Errorf("%q is no host", shorten(host))
	}
	return e, nil
}

func (e *endpoint) params(text string) error {
	if text == "" {
		return nil
	}
	for p := range strings.SplitSeq(text, ";") {
		key, value, _ := strings.Cut(p, "=")
		if key != "transport" {
			return fmt.Errorf("parameter %q cannot stand here, only transport", shorten(p))
		}
		if !slices.Contains([]string{"udp", "tcp", "tls"}, value) {
			return fmt.Errorf("%q is no transport: udp, tcp, tls", shorten(value))
		}
		if e.network = value; value == "tls" {
			e.port = 5061
		}
	}
	return nil
}

func hostname(s string) bool {
	if _, err := netip.ParseAddr(s); err == nil {
		return true
	}
	ok := s != "" && len(s) <= 253
	for label := range strings.SplitSeq(s, ".") {
		bad := func(r rune) bool {
			return r != '-' && r != '_' && (r < '0' || r > '9') && (r < 'a' || r > 'z') && (r < 'A' || r > 'Z')
		}
		ok = ok && label != "" && len(label) <= 63 && strings.IndexFunc(label, bad) < 0
	}
	return ok && strings.ContainsFunc(s, func(r rune) bool { return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' })
}

func (c *checker) sip() {
	if len(c.SIP.Listen) == 0 {
		c.failAt("sip.listen", "sip.listen names no address: no call could come in", "write udp://127.0.0.1:5060")
	}
	first, everywhere, tlsListener := "", false, false
	for i, text := range c.SIP.Listen {
		path := fmt.Sprintf("sip.listen[%d]", i)
		l, err := parseListener(text)
		if err != nil {
			c.failAt(path, fmt.Sprintf("%s: %v", path, err), listenerHint(text))
			continue
		}
		if netip.MustParseAddr(l.host).IsUnspecified() {
			everywhere = true
		} else if first == "" {
			first = l.host
		}
		if l.network == "tls" && c.SIP.TLS == nil && !tlsListener {
			c.failAt(path, path+": a tls:// listener needs a certificate", "add tls: {cert: FILE, key: FILE} to sip")
		}
		tlsListener = tlsListener || l.network == "tls"
		if l.port != 0 && slices.Contains(c.SIP.Listen[:i], text) {
			c.failAt(path, fmt.Sprintf("%s: %s stands in the list a second time", path, text), "")
		}
	}
	c.advertise(first, everywhere)
	c.certificate(tlsListener)
}

func listenerHint(text string) string {
	if _, rest, ok := strings.Cut(text, ":"); ok {
		if fixed := "udp://" + strings.TrimLeft(rest, "/"); fixed != text {
			if _, err := parseListener(fixed); err == nil {
				return "did you mean " + fixed + "?"
			}
		}
	}
	if _, err := parseListener("udp://" + text); err == nil {
		return "did you mean udp://" + text + "?"
	}
	return "write udp://ADDRESS:PORT; 0.0.0.0 and [::] are every address"
}

// advertise settles which address is written into messages.
func (c *checker) advertise(first string, everywhere bool) {
	if c.SIP.Advertise == "" {
		if c.SIP.Advertise = first; first == "" && everywhere {
			c.failAt("sip.advertise", "sip.listen is every address of the machine, so sip.advertise must say which one to write into messages", "")
		}
		return
	}
	a, err := netip.ParseAddr(c.SIP.Advertise)
	switch {
	case err != nil:
		c.failAt("sip.advertise", fmt.Sprintf("sip.advertise: %q is no IP address", shorten(c.SIP.Advertise)), "write the address without a port")
	case a.IsUnspecified() || a.IsMulticast():
		c.failAt("sip.advertise", fmt.Sprintf("sip.advertise: nobody can answer to %s", a), "")
	case a.IsLoopback() && first != "" && !loopback(first):
		c.warnAt("sip.advertise", fmt.Sprintf("sip.advertise is %s, which others take for themselves, and sip.listen is not on loopback", a), "leave it out for the listener's own address")
	}
}

func (c *checker) certificate(used bool) {
	t := c.SIP.TLS
	if t == nil {
		return
	}
	for path, file := range map[string]string{"sip.tls.cert": t.Cert, "sip.tls.key": t.Key} {
		if file == "" {
			c.failAt(path, path+" names no file", "")
		}
	}
	if t.Cert == "" || t.Key == "" {
		return
	}
	if _, err := tls.LoadX509KeyPair(t.Cert, t.Key); err != nil {
		c.failAt("sip.tls.cert", fmt.Sprintf("sip.tls: the certificate cannot be used: %v", reason(err)), "cert and key are PEM files that belong together")
	}
	if !used {
		c.warnAt("sip.tls", "sip.tls has a certificate, and no listener is tls://", "")
	}
}

func (c *checker) pbx() {
	if len(c.PBX.SIP) == 0 {
		c.failAt("pbx.sip", "pbx.sip names no node: no call could be handed over", "write sip:ADDRESS:PORT of 3CX")
	}
	c.distinct("pbx.sip", c.PBX.SIP)
	for i, text := range c.PBX.SIP {
		path := fmt.Sprintf("pbx.sip[%d]", i)
		node, err := parseSIPURI(text)
		if err != nil {
			c.failAt(path, fmt.Sprintf("%s: %v", path, err), "write sip:ADDRESS:PORT, as sip:10.0.0.5:5060")
			continue
		}
		c.ownListener(path, node)
		c.sharedAddress(path, node)
	}
	c.within("pbx.ring", c.PBX.Ring, time.Second, 10*time.Minute)
	c.within("pbx.failover", c.PBX.Failover, 100*time.Millisecond, 32*time.Second)
	c.numbers("pbx.extensions", c.PBX.Extensions)
	c.numbers("pbx.queues", c.PBX.Queues)
	if c.PBX.ReferOutside == "dial" && !slices.ContainsFunc(c.Trunks, func(t Trunk) bool { return t.SIP != "" }) {
		c.failAt("pbx.refer_outside", "pbx.refer_outside is dial, and no trunk takes calls", "give a trunk sip:")
	}
	if c.PBX.XAPI == nil && len(c.PBX.Extensions) == 0 && len(c.PBX.Queues) == 0 {
		c.warnAt("pbx", "pbx has neither extensions nor queues: nobody can be reached", "")
	}
	c.api()
}

// ownListener refuses a node that is frontdesk itself: calls would go in circles.
func (c *checker) ownListener(path string, node endpoint) {
	for _, text := range c.SIP.Listen {
		l, err := parseListener(text)
		if err != nil || l.port != node.port || l.network != node.network {
			continue
		}
		if l.host == node.host || netip.MustParseAddr(l.host).IsUnspecified() && loopback(node.host) {
			c.failAt(path, fmt.Sprintf("%s is frontdesk's own listener %s: calls would go in circles", path, text), "")
		}
	}
}

// sharedAddress warns of a node on a trunk's address that its port cannot tell:
// over TCP and TLS requests come from any port.
func (c *checker) sharedAddress(path string, node endpoint) {
	a, err := netip.ParseAddr(node.host)
	if err != nil || node.network == "udp" {
		return
	}
	for _, t := range c.Trunks {
		for _, p := range t.Sources {
			if p.Contains(a.Unmap()) {
				c.warnAt(path, fmt.Sprintf("%s shares its address with trunk %q, and over %s its port cannot tell them apart", path, t.Name, node.network),
					"use UDP for this node, or another address")
				return
			}
		}
	}
}

func (c *checker) numbers(path string, r call.Ranges) {
	for i := range r {
		if bad, err := r[i : i+1].Check(); bad >= 0 {
			at := fmt.Sprintf("%s[%d]", path, i)
			c.failAt(at, fmt.Sprintf("%s: %v", at, err), "")
		}
	}
}

func (c *checker) api() {
	if x := c.PBX.XAPI; x != nil {
		c.webAddress("pbx.xapi.url", x.URL)
		if rest, ok := strings.CutPrefix(x.URL, "http://"); ok {
			host, _, _ := strings.Cut(rest, "/")
			if h, _, err := net.SplitHostPort(host); err == nil {
				host = h
			}
			if !loopback(strings.Trim(host, "[]")) {
				c.failAt("pbx.xapi.url", "pbx.xapi.url is http://, which would show the secret on the way", "write https://")
			}
		}
		c.within("pbx.xapi.refresh", x.Refresh, time.Second, day)
	}
	if d := c.PBX.CDR; d != nil {
		c.cdr(d)
	}
}

func (c *checker) cdr(d *CDR) {
	if (d.Listen == "") == (d.Connect == "") {
		c.failAt("pbx.cdr.listen", "pbx.cdr needs one of listen and connect", "")
	}
	for key, text := range map[string]string{"listen": d.Listen, "connect": d.Connect} {
		if _, err := parseHostPort(text); text != "" && err != nil {
			c.failAt("pbx.cdr."+key, fmt.Sprintf("pbx.cdr.%s: %v", key, err), "write ADDRESS:PORT")
		}
	}
	if len(d.Sources) > 0 && d.Listen == "" {
		c.warnAt("pbx.cdr.sources", "pbx.cdr.sources has no effect without pbx.cdr.listen", "")
	}
	c.cdrFields(d.Fields)
}

// cdrFields checks the order of a line's fields, by which a wrong name moves
// nothing but loses its value.
func (c *checker) cdrFields(fields []string) {
	if len(fields) == 0 {
		if c.PBX.XAPI == nil {
			c.failAt("pbx.cdr.fields", "pbx.cdr needs fields", "name them in the order set in 3CX")
		}
		return
	}
	for i, f := range fields {
		if pbx.CDRField(f) {
			continue
		}
		hint := "3CX has " + strings.Join(pbx.CDRFields(), ", ")
		if guess := nearest(f, pbx.CDRFields()); guess != "" {
			hint = fmt.Sprintf("did you mean %q?", guess)
		}
		at := fmt.Sprintf("pbx.cdr.fields[%d]", i)
		c.failAt(at, fmt.Sprintf("%s: 3CX has no field %q", at, f), hint)
	}
	for _, need := range []string{"callid", "time-start", "from-no"} {
		if !slices.ContainsFunc(fields, func(f string) bool { return strings.EqualFold(f, need) }) {
			c.failAt("pbx.cdr.fields", "pbx.cdr.fields lacks "+need+", without which no call is told from another", "write it in 3CX and here")
		}
	}
	c.distinct("pbx.cdr.fields", fields)
}

func (c *checker) trunks() {
	if len(c.Trunks) == 0 {
		c.warnAt("trunks", "trunks names nobody: no call could come in", "")
	}
	if _, ok := c.root.get("trunks"); !ok {
		c.add(position{1, 1}, "trunks", "trunks is left out: only 127.0.0.1 may call, as trunk \"carrier\"", "name the carrier's addresses below trunks", true)
	}
	for i := range c.Trunks {
		t := &c.Trunks[i]
		if t.DID == "" {
			t.DID = c.SIP.DID
		}
		path := "trunks." + t.Name
		c.trunkSources(t, path)
		c.transfers(t, path)
		if t.SIP != "" {
			c.trunkURI(path+".sip", t.SIP)
		}
		if r := t.Register; r != nil {
			if _, err := parseSIPURI(r.Registrar); err != nil {
				c.failAt(path+".register.registrar", fmt.Sprintf("%s.register.registrar: %v", path, err), "write sip:HOST")
			}
		}
	}
	c.overlaps()
}

// trunkURI checks where a trunk's calls go: to a carrier, not to the PBX.
func (c *checker) trunkURI(path, text string) {
	e, err := parseSIPURI(text)
	if err != nil {
		c.failAt(path, fmt.Sprintf("%s: %v", path, err), "write sip:HOST:PORT")
		return
	}
	c.ownListener(path, e)
	for i, node := range c.PBX.SIP {
		if n, err := parseSIPURI(node); err == nil && n == e {
			c.failAt(path, fmt.Sprintf("%s and pbx.sip[%d] are the same address and port", path, i), "")
		}
	}
}

func (c *checker) trunkSources(t *Trunk, path string) {
	e := c.root.find(path + ".sources")
	known := t.Register != nil || t.Auth != nil
	switch {
	case e.exact && len(t.Sources) == 0 && !known:
		c.failAt(path+".sources", path+".sources names no address: nothing would be taken for this trunk", "")
	case !e.exact && known:
		t.Sources = nil // known by its registration or digest
	case !e.exact && c.root.find(path).exact:
		c.warnAt(path+".sources", fmt.Sprintf("%s has no sources: only 127.0.0.1 is taken for it", path), "name the carrier's addresses")
	}
	for i, p := range t.Sources {
		if p.IsValid() && p.Bits() == 0 {
			c.warnAt(fmt.Sprintf("%s.sources[%d]", path, i), fmt.Sprintf("%s lets everybody call as trunk %q", p, t.Name), "name the carrier's addresses")
		}
	}
}

func (c *checker) transfers(t *Trunk, path string) {
	path += ".transfer"
	if len(t.Transfer) == 0 {
		c.failAt(path, path+" names no way to hand a call over", "leave the key out for redirect, refer, bridge")
	}
	var words []string
	for _, way := range t.Transfer {
		words = append(words, string(way))
	}
	c.distinct(path, words)
}

// overlaps reports a source that two trunks name, and one that lies within
// another's block.
func (c *checker) overlaps() {
	type claim struct {
		trunk, path string
		prefix      netip.Prefix
	}
	var seen []claim
	for _, t := range c.Trunks {
		for i, p := range t.Sources {
			path := fmt.Sprintf("trunks.%s.sources[%d]", t.Name, i)
			for _, s := range seen {
				switch {
				case !p.IsValid() || !s.prefix.IsValid() || !p.Overlaps(s.prefix):
				case p == s.prefix && t.Name == s.trunk:
					c.failAt(path, fmt.Sprintf("%s: %s stands in the list a second time", path, plainPrefix(p)), "")
				case p == s.prefix:
					c.failAt(path, fmt.Sprintf("%s: %s is a source of trunk %q already", path, plainPrefix(p), s.trunk), "a source belongs to one trunk")
				case t.Name != s.trunk:
					narrow, name := p, t.Name
					if s.prefix.Bits() > p.Bits() {
						narrow, name = s.prefix, s.trunk
					}
					c.warnAt(path, fmt.Sprintf("%s: %s overlaps %s of trunk %q", path, plainPrefix(p), plainPrefix(s.prefix), s.trunk),
						fmt.Sprintf("calls from %s are trunk %q's", plainPrefix(narrow), name))
				}
			}
			seen = append(seen, claim{t.Name, path, p})
		}
	}
}

// plainPrefix writes a block of one address as the address.
func plainPrefix(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}
