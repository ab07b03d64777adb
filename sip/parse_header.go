package sip

import (
	"errors"
	"strconv"
	"strings"

	gosip "github.com/emiago/sipgo/sip"
)

// kind is a header that the parser reads; all others are kept as they came.
type kind uint

const (
	kindOther kind = iota
	kindVia
	kindRoute
	kindRecordRoute
	kindContact
	kindSingle // from here on a header may stand only once
	kindFrom
	kindTo
	kindCallID
	kindCSeq
	kindMaxForwards
	kindContentLength
	kindContentType
	kindSingleOther
)

// known tells the kind and full name of a header by its name in lower case,
// long or compact (RFC 3261 section 20 and the registry of compact forms).
func known(name []byte) (kind, string) {
	switch string(name) {
	case "v", "via":
		return kindVia, "Via"
	case "f", "from":
		return kindFrom, "From"
	case "t", "to":
		return kindTo, "To"
	case "i", "call-id":
		return kindCallID, "Call-ID"
	case "cseq":
		return kindCSeq, "CSeq"
	case "m", "contact":
		return kindContact, "Contact"
	case "max-forwards":
		return kindMaxForwards, "Max-Forwards"
	case "l", "content-length":
		return kindContentLength, "Content-Length"
	case "c", "content-type":
		return kindContentType, "Content-Type"
	case "route":
		return kindRoute, "Route"
	case "record-route":
		return kindRecordRoute, "Record-Route"
	}
	return rarer(string(name))
}

func rarer(name string) (kind, string) {
	switch name {
	case "k", "supported":
		return kindOther, "Supported"
	case "r", "refer-to":
		return kindSingleOther, "Refer-To"
	case "b", "referred-by":
		return kindSingleOther, "Referred-By"
	case "o", "event":
		return kindSingleOther, "Event"
	case "x", "session-expires":
		return kindSingleOther, "Session-Expires"
	case "s", "subject":
		return kindOther, "Subject"
	case "e", "content-encoding":
		return kindOther, "Content-Encoding"
	case "u", "allow-events":
		return kindOther, "Allow-Events"
	case "a":
		return kindOther, "Accept-Contact"
	case "j":
		return kindOther, "Reject-Contact"
	case "d":
		return kindOther, "Request-Disposition"
	case "y":
		return kindOther, "Identity"
	}
	return kindOther, ""
}

// header reads one header field. What cannot be read leaves a defect; what is
// needed to answer is kept even then.
func (p *parser) header(name, value string) {
	var buf [32]byte
	short := buf[:0]
	if len(name) <= len(buf) {
		short = buf[:len(name)]
		for i := range short {
			short[i] = name[i]
			if c := name[i]; c >= 'A' && c <= 'Z' {
				short[i] |= 0x20
			}
		}
	}
	k, full := known(short)
	if full == "" {
		full = name
	}
	if k > kindSingle && p.repeated(k, full) {
		return
	}
	switch k {
	case kindVia:
		p.via(value)
	case kindContact, kindRoute, kindRecordRoute:
		p.addresses(k, full, value)
	case kindFrom, kindTo:
		p.party(k, full, value)
	default:
		p.scalar(k, full, value)
	}
}

// repeated notes a single-valued header and reports whether it stood before.
// The first is kept, so that an answer has one of each.
func (p *parser) repeated(k kind, full string) bool {
	bit := uint(1) << k
	if k == kindSingleOther {
		for _, h := range p.rawHeaders() {
			if h.Name() == full {
				p.fault(defect("Repeated " + full))
				return true
			}
		}
		return false
	}
	if p.seen&bit != 0 {
		p.fault(defect("Repeated " + full))
		return true
	}
	p.seen |= bit
	return false
}

func (p *parser) rawHeaders() []gosip.Header {
	if p.req != nil {
		return p.req.Headers()
	}
	return p.res.Headers()
}

// scalar reads headers of one plain value.
func (p *parser) scalar(k kind, full, value string) {
	switch k {
	case kindCallID:
		if value == "" || strings.ContainsAny(value, " \t") {
			p.fault("Bad Call-ID")
		}
		h := gosip.CallIDHeader(value)
		p.msg.AppendHeader(&h)
	case kindCSeq:
		p.cseq(value)
	case kindMaxForwards:
		n, ok := decimal(value)
		if !ok || n > 255 { // RFC 3261 section 20.22
			p.fault("Bad Max-Forwards")
		}
		h := gosip.MaxForwardsHeader(min(n, 255))
		p.msg.AppendHeader(&h)
	case kindContentLength:
		n, ok := decimal(value)
		if !ok {
			p.fault("Bad Content-Length")
			return
		}
		p.length = n
		h := gosip.ContentLengthHeader(n)
		p.msg.AppendHeader(&h)
	case kindContentType:
		if !strings.Contains(value, "/") {
			p.fault("Bad Content-Type")
		}
		h := gosip.ContentTypeHeader(value)
		p.msg.AppendHeader(&h)
	default:
		p.msg.AppendHeader(gosip.NewHeader(full, value))
	}
}

// decimal reads a number of up to nine digits.
func decimal(s string) (int, bool) {
	if len(s) == 0 || s[0] < '0' || s[0] > '9' {
		return 0, false
	}
	n, err := strconv.ParseUint(s, 10, 63)
	return int(min(n, 999_999_999)), err == nil && n <= 999_999_999
}

func (p *parser) cseq(value string) {
	number, method := value, ""
	if i := strings.IndexAny(value, " \t"); i >= 0 {
		number, method = value[:i], strings.Trim(value[i:], " \t")
	}
	n, err := strconv.ParseUint(number, 10, 32)
	if err != nil || n > 1<<31-1 || !isToken(method) { // RFC 3261 section 8.1.1.5
		p.fault("Bad CSeq")
		p.msg.AppendHeader(gosip.NewHeader("CSeq", value))
		return
	}
	p.msg.AppendHeader(&gosip.CSeqHeader{SeqNo: uint32(n), MethodName: gosip.RequestMethod(method)})
}

// via reads the hops of one Via line. A hop whose host can be read is kept even
// where the rest is broken: the answer needs it.
func (p *parser) via(value string) {
	for v := range listItems(value) {
		if p.vias++; p.full() {
			return
		}
		h, err := parseVia(v)
		if err != nil {
			p.fault("Bad Via")
		}
		if h.Host != "" {
			p.msg.AppendHeader(h)
		}
	}
}

// parseVia reads one hop, with blanks wherever the grammar allows them.
func parseVia(s string) (*gosip.ViaHeader, error) {
	h := &gosip.ViaHeader{}
	name, rest, _ := strings.Cut(s, "/")
	version, rest, _ := strings.Cut(rest, "/")
	rest = strings.TrimLeft(rest, " \t")
	i := strings.IndexAny(rest, " \t")
	if i < 0 {
		return h, errBadVia
	}
	h.ProtocolName, h.ProtocolVersion, h.Transport = trim(name), trim(version), rest[:i]
	if !isToken(h.ProtocolName) || !isToken(h.ProtocolVersion) || !isToken(h.Transport) {
		return h, errBadVia
	}
	sentBy, params, has := strings.Cut(rest[i:], ";")
	sentBy = strings.ReplaceAll(trim(sentBy), " ", "") // "host : port"
	host, port, err := parseHostPort(strings.ReplaceAll(sentBy, "\t", ""))
	if err != nil {
		return h, errBadVia
	}
	h.Host, h.Port = host, port // IPv6 in brackets: the serialiser adds none to mapped addresses
	if has {
		h.Params, err = parseParams(params)
	}
	return h, err
}

func trim(s string) string { return strings.Trim(s, " \t") }

// addresses reads the values of Contact, Route and Record-Route.
func (p *parser) addresses(k kind, full, value string) {
	for v := range listItems(value) {
		if p.lines++; p.full() {
			return
		}
		if v == "*" && k == kindContact {
			p.msg.AppendHeader(&gosip.ContactHeader{Address: gosip.Uri{Wildcard: true, Host: "*"}})
			continue
		}
		a, err := parseNameAddr(v)
		if err != nil {
			p.fault(defect("Bad " + full))
			p.msg.AppendHeader(gosip.NewHeader("X-Malformed-"+full, v))
			continue
		}
		switch k {
		case kindContact:
			h := &gosip.ContactHeader{DisplayName: a.display, Address: a.uri, Params: a.params}
			p.msg.AppendHeader(h)
			if p.contact == nil {
				p.contact = h
			}
		case kindRoute:
			p.msg.AppendHeader(&gosip.RouteHeader{Address: a.uri})
		default:
			p.msg.AppendHeader(&gosip.RecordRouteHeader{Address: a.uri})
		}
	}
}

// party reads From and To.
func (p *parser) party(k kind, full, value string) {
	a, err := parseNameAddr(value)
	if err != nil {
		p.fault(defect("Bad " + full))
	}
	switch {
	case a.uri.Scheme == "":
		p.msg.AppendHeader(gosip.NewHeader(full, value))
	case k == kindFrom:
		p.msg.AppendHeader(&gosip.FromHeader{DisplayName: a.display, Address: a.uri, Params: a.params})
	default:
		p.msg.AppendHeader(&gosip.ToHeader{DisplayName: a.display, Address: a.uri, Params: a.params})
	}
}

// What is wrong with a header value.
var (
	errBadVia   = errors.New("bad hop of Via")
	errBadAddr  = errors.New("bad address")
	errBadParam = errors.New("bad parameter")
)

// nameAddr is a name-addr or addr-spec with its header parameters (RFC 3261
// section 20.10). display is what stands between the quotes, still escaped.
type nameAddr struct {
	display string
	uri     gosip.Uri
	params  gosip.HeaderParams
}

// parseNameAddr reads an address. With an error it still returns what could be
// made out, for the answer.
func parseNameAddr(s string) (nameAddr, error) {
	var a nameAddr
	s = trim(s)
	rest, err := s, error(nil)
	if strings.HasPrefix(s, `"`) {
		end := closingQuote(s)
		if end < 0 {
			name, tail, _ := strings.Cut(s[1:], "<")
			a.display, rest, err = escaped(trim(name)), "<"+tail, errBadAddr
		} else {
			a.display, rest = s[1:end], trim(s[end+1:])
		}
		if !strings.HasPrefix(rest, "<") {
			return a, errBadAddr
		}
	} else if i := strings.IndexByte(s, '<'); i >= 0 {
		name := trim(s[:i])
		if strings.ContainsAny(name, `,;"`) {
			err = errBadAddr
		}
		a.display, rest = escaped(name), s[i:]
	}
	if !strings.HasPrefix(rest, "<") {
		return bareAddr(a, rest, err)
	}
	inside, after, ok := strings.Cut(rest[1:], ">")
	if !ok {
		return a, errBadAddr
	}
	if t := trim(inside); t != inside {
		inside, err = t, errBadAddr
	}
	return a.finish(inside, trim(after), err)
}

// bareAddr reads an addr-spec: parameters behind it belong to the header, and
// what would need <> is an error.
func bareAddr(a nameAddr, s string, err error) (nameAddr, error) {
	uri, params, has := strings.Cut(s, ";")
	uri = trim(uri)
	if strings.ContainsAny(uri, ",?") {
		err = errBadAddr
	}
	if has {
		params = ";" + params
	}
	return a.finish(uri, params, err)
}

func (a nameAddr) finish(uri, params string, err error) (nameAddr, error) {
	u, uriErr := parseURI(uri)
	if uriErr != nil {
		return a, uriErr
	}
	a.uri = u
	if params == "" {
		return a, err
	}
	if params[0] != ';' {
		return a, errBadAddr
	}
	var paramErr error
	if a.params, paramErr = parseParams(params[1:]); paramErr != nil {
		err = paramErr
	}
	return a, err
}

// escaped makes the inside of a quoted string of plain text.
func escaped(s string) string {
	if strings.ContainsAny(s, `\"`) {
		s = strings.ReplaceAll(strings.ReplaceAll(s, `\`, `\\`), `"`, `\"`)
	}
	return s
}

// closingQuote is the index of the quote that ends the quoted string s begins
// with, -1 without one.
func closingQuote(s string) int {
	for i := 1; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case '"':
			return i
		}
	}
	return -1
}

// parseParams reads ";name=value" parameters, without the first semicolon.
// Names are kept in lower case. A quoted value with blanks loses its quotes,
// since the serialiser gives such a value quotes of its own. One semicolon too
// many at the end is forgiven. With an error it returns those before it.
func parseParams(s string) (gosip.HeaderParams, error) {
	out := make(gosip.HeaderParams, 0, 3)
	for more := true; more; {
		var item string
		item, s, more = cutOutside(s, ';')
		name, value, valued := strings.Cut(item, "=")
		name, value = trim(name), trim(value)
		if name == "" && value == "" && !valued && !more && len(out) > 0 {
			break
		}
		if !isToken(name) || valued && !paramValue(value) {
			return out, errBadParam
		}
		if value != "" && value[0] == '"' && strings.ContainsAny(value, " \t") {
			value = value[1 : len(value)-1]
		}
		out = append(out, gosip.HeaderKV{K: lower(name), V: value})
	}
	return out, nil
}

// paramValue reports whether s is a token, a host, or one quoted string. More
// characters than the grammar's are let through where they can do no harm.
func paramValue(s string) bool {
	if s == "" {
		return false
	}
	if s[0] == '"' {
		return closingQuote(s) == len(s)-1
	}
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case '"', ',', '<', '>', ';', 0x7f:
			return false
		default:
			if c <= ' ' {
				return false
			}
		}
	}
	return true
}

// listItems yields the values of a comma-separated header, trimmed.
func listItems(s string) func(yield func(string) bool) {
	return func(yield func(string) bool) {
		for more := true; more; {
			var item string
			item, s, more = cutOutside(s, ',')
			if !yield(trim(item)) {
				return
			}
		}
	}
}

// cutOutside is strings.Cut at the first sep that stands neither in quotes nor
// in angle brackets.
func cutOutside(s string, sep byte) (before, after string, found bool) {
	if strings.IndexByte(s, '"') < 0 && strings.IndexByte(s, '<') < 0 {
		return cutByte(s, sep)
	}
	quoted, bracketed := false, false
	for i := 0; i < len(s); i++ {
		switch c := s[i]; {
		case c == '\\' && quoted:
			i++
		case c == '"' && !bracketed:
			quoted = !quoted
		case quoted:
		case c == '<':
			bracketed = true
		case c == '>':
			bracketed = false
		case c == sep && !bracketed:
			return s[:i], s[i+1:], true
		}
	}
	return s, "", false
}
