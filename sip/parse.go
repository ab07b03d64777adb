package sip

import (
	"bytes"
	"errors"
	"strconv"
	"strings"

	gosip "github.com/emiago/sipgo/sip"
)

// Limits of one message. A peer's message beyond them is dropped.
const (
	maxMessage = 65535
	maxHeaders = 256 // lines and values of lists
	maxVias    = 70  // hops: no Max-Forwards in use is higher
	maxFolds   = 256 // continuation lines in all
)

// Why bytes are no message at all. What is a message with faults is kept, with
// its defects, so that it can be answered 400.
var (
	errTooLarge    = errors.New("larger than a message may be")
	errNotSIP      = errors.New("no SIP start line")
	errStatus      = errors.New("bad status line")
	errManyHeaders = errors.New("too many header lines")
)

// defect is a fault the parser found, in words fit for a reason phrase.
type defect string

// parser holds one message while it is read.
type parser struct {
	message
	msg     gosip.Message
	head    string // what is left of the header section
	seen    uint   // single-valued headers met, by kind
	lines   int
	folds   int
	vias    int
	length  int // Content-Length, -1 without one
	contact *gosip.ContactHeader
	dirty   bool // some line holds a control character
}

// parse reads one datagram, or one message as the framing of a stream cut it.
// Nothing of b is kept. An error means that there is nothing to be answered.
func parse(b []byte) (*message, error) {
	if len(b) > maxMessage {
		return nil, errTooLarge
	}
	for len(b) >= 2 && b[0] == '\r' && b[1] == '\n' { // RFC 3261 section 7.5
		b = b[2:]
	}
	p := &parser{length: -1}
	head, body, ended := bytes.Cut(b, []byte("\r\n\r\n"))
	if !ended && !bytes.Contains(b, []byte("\r\n")) {
		return nil, errNotSIP
	}
	p.head = string(head)
	p.dirty = hasControls(p.head)
	if !ended {
		p.fault("Header Section Not Ended")
	}
	line, _ := p.line()
	if err := p.startLine(line); err != nil {
		return nil, err
	}
	if err := p.headers(); err != nil {
		return nil, err
	}
	p.body(body)
	return &p.message, nil
}

// fault notes a defect; a few tell enough.
func (p *parser) fault(what defect) {
	if len(p.defects) < 4 {
		p.defects = append(p.defects, what)
	}
}

// full reports whether the message is beyond its limits.
func (p *parser) full() bool {
	return p.lines > maxHeaders || p.vias > maxVias || p.folds > maxFolds
}

// line takes the next line, unfolded. Only CRLF ends a line; a CR or LF alone,
// or a NUL outside a quoted pair, is a defect and becomes a blank, so that it
// can never split a header of ours.
func (p *parser) line() (string, bool) {
	if p.head == "" {
		return "", false
	}
	line := p.cut()
	if p.head != "" && (p.head[0] == ' ' || p.head[0] == '\t') {
		var b strings.Builder
		b.WriteString(strings.TrimRight(line, " \t"))
		for p.head != "" && (p.head[0] == ' ' || p.head[0] == '\t') {
			p.folds++
			b.WriteByte(' ')
			b.WriteString(strings.Trim(p.cut(), " \t"))
		}
		line = b.String()
	}
	return p.sanitised(line), true
}

func (p *parser) cut() string {
	line, rest, _ := strings.Cut(p.head, "\r\n")
	p.head = rest
	return line
}

// hasControls reports whether head holds a NUL, or a CR or LF that ends no line.
func hasControls(head string) bool {
	ends := strings.Count(head, "\r\n")
	return strings.Count(head, "\n") != ends || strings.Count(head, "\r") != ends || strings.IndexByte(head, 0) >= 0
}

func (p *parser) sanitised(line string) string {
	if !p.dirty {
		return line
	}
	b := []byte(line)
	bad := false
	for i, c := range b {
		if c == '\r' || c == '\n' || c == 0 && (i == 0 || b[i-1] != '\\') {
			b[i], bad = ' ', true
		}
	}
	if bad {
		p.fault("Control Character in Header")
	}
	return string(b)
}

// startLine reads the request or status line (RFC 3261 section 7.1, 7.2).
func (p *parser) startLine(line string) error {
	if len(line) >= 4 && strings.EqualFold(line[:4], "SIP/") {
		return p.statusLine(line)
	}
	method, rest, _ := strings.Cut(line, " ")
	uri, version, _ := strings.Cut(rest, " ")
	if strings.ContainsAny(version, " \t") || uri == "" || strings.IndexByte(line, '\t') >= 0 {
		words := strings.Fields(line)
		if len(words) < 3 {
			return errNotSIP
		}
		method, uri, version = words[0], strings.Join(words[1:len(words)-1], " "), words[len(words)-1]
		p.fault("Bad Request Line")
	}
	if !isToken(method) || len(version) < 4 || !strings.EqualFold(version[:4], "SIP/") {
		return errNotSIP
	}
	recipient, err := parseURI(uri)
	if err != nil {
		recipient = gosip.Uri{}
		p.fault("Bad Request-URI")
	}
	p.req = gosip.NewRequest(gosip.RequestMethod(method), recipient)
	p.req.SipVersion = strings.ToUpper(version)
	p.msg = p.req
	return nil
}

func (p *parser) statusLine(line string) error {
	version, rest, _ := strings.Cut(line, " ")
	digits, reason, _ := strings.Cut(rest, " ")
	code, err := strconv.Atoi(digits)
	if err != nil || len(digits) != 3 || code < 100 || code > 699 {
		return errStatus
	}
	p.res = gosip.NewResponse(code, reason)
	p.res.SipVersion = strings.ToUpper(version)
	p.msg = p.res
	return nil
}

func (p *parser) headers() error {
	for {
		line, more := p.line()
		if !more {
			break
		}
		p.lines++
		if p.full() {
			return errManyHeaders
		}
		name, value, ok := strings.Cut(line, ":")
		name = strings.TrimRight(name, " \t")
		if !ok || !isToken(name) {
			p.fault("Bad Header Line")
			continue
		}
		p.header(name, strings.Trim(value, " \t"))
	}
	if p.full() {
		return errManyHeaders
	}
	if p.contact != nil { // Contact() is to be the first, not the last
		p.replace(p.contact)
	}
	return nil
}

func (p *parser) replace(h gosip.Header) {
	if p.req != nil {
		p.req.ReplaceHeader(h)
		return
	}
	p.res.ReplaceHeader(h)
}

// body cuts the body out by Content-Length; what follows it is ignored (RFC
// 3261 section 18.3).
func (p *parser) body(rest []byte) {
	switch {
	case p.length > len(rest):
		p.fault("Content-Length Beyond Message")
	case p.length >= 0:
		rest = rest[:p.length]
	}
	if len(rest) > 0 {
		p.msg.SetBody(bytes.Clone(rest))
	}
}

// isToken reports whether s is a token of RFC 3261 section 25.1.
func isToken(s string) bool {
	for i := 0; i < len(s); i++ {
		if !tokenChar(s[i]) {
			return false
		}
	}
	return s != ""
}

func tokenChar(c byte) bool {
	switch c {
	case '-', '.', '!', '%', '*', '_', '+', '`', '\'', '~':
		return true
	}
	return isAlnum(c)
}
