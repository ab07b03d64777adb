package sdp

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// ParseOffer reads an offer. Line ends may be CRLF or LF, the last one may be
// missing; unknown lines and attributes are skipped. It fails with ErrSyntax,
// ErrLimit or ErrAddress, and with ErrNoAudio where no m= line is there.
func ParseOffer(body []byte) (*Session, error) {
	s, err := parse(body)
	if err != nil {
		return nil, fmt.Errorf("reading the offer: %w", err)
	}
	return s, nil
}

// ParseAnswer reads an answer; it fails as ParseOffer does.
func ParseAnswer(body []byte) (*Session, error) {
	s, err := parse(body)
	if err != nil {
		return nil, fmt.Errorf("reading the answer: %w", err)
	}
	return s, nil
}

func parse(body []byte) (*Session, error) {
	lines, err := split(body)
	if err != nil {
		return nil, err
	}
	p := parser{session: &Session{}}
	for _, l := range lines {
		if err := p.line(l[0], l[2:]); err != nil {
			return nil, err
		}
	}
	if len(p.session.Streams) == 0 {
		return nil, ErrNoAudio
	}
	return p.finish()
}

// split cuts a body into lines of the form x=value within the limits.
func split(body []byte) ([]string, error) {
	if len(body) > MaxBody {
		return nil, fmt.Errorf("%w: %d bytes", ErrLimit, len(body))
	}
	if strings.Count(string(body), "\n") > MaxLines {
		return nil, fmt.Errorf("%w: over %d lines", ErrLimit, MaxLines)
	}
	var lines []string
	for l := range strings.Lines(string(body)) {
		l = strings.TrimRight(l, "\r\n")
		if l == "" {
			continue
		}
		if len(l) < 2 || l[1] != '=' || strings.ContainsFunc(l, control) {
			return nil, fmt.Errorf("%w: line %d", ErrSyntax, len(lines)+1)
		}
		lines = append(lines, l)
	}
	if len(lines) == 0 || lines[0] != "v=0" {
		return nil, fmt.Errorf("%w: it does not begin with v=0", ErrSyntax)
	}
	return lines, nil
}

func control(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }

// parser holds what is known while the lines go by.
type parser struct {
	session   *Session
	addr      netip.Addr // the session's c=
	direction Direction
	rtcpPort  []uint16 // a=rtcp without an address, by stream
}

// stream is the one being read, nil before the first m=.
func (p *parser) stream() *Stream {
	if n := len(p.session.Streams); n > 0 {
		return &p.session.Streams[n-1]
	}
	return nil
}

func (p *parser) line(kind byte, value string) error {
	switch kind {
	case 'o':
		p.session.Origin = value
	case 'c':
		addr, err := parseConnection(value)
		if err != nil {
			return err
		}
		if s := p.stream(); s != nil {
			s.Addr = addr
		} else {
			p.addr = addr
		}
	case 'm':
		s, err := parseStream(value)
		if err != nil {
			return err
		}
		if len(p.session.Streams) == MaxStreams {
			return fmt.Errorf("%w: over %d streams", ErrLimit, MaxStreams)
		}
		s.Direction = p.direction
		p.session.Streams = append(p.session.Streams, s)
		p.rtcpPort = append(p.rtcpPort, 0)
	case 'a':
		name, arg, _ := strings.Cut(value, ":")
		return p.attribute(name, arg)
	}
	return nil
}

func (p *parser) attribute(name, arg string) error {
	s := p.stream()
	if d, ok := parseDirection(name); ok {
		if s != nil {
			s.Direction = d
		} else {
			p.direction = d
		}
		return nil
	}
	if s == nil {
		return nil
	}
	switch name {
	case "ptime":
		s.Ptime = milliseconds(arg)
	case "maxptime":
		s.MaxPtime = milliseconds(arg)
	case "rtpmap", "fmtp":
		s.describe(name, arg)
	case "rtcp":
		port, rest, _ := strings.Cut(arg, " ")
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return nil
		}
		p.rtcpPort[len(p.rtcpPort)-1] = uint16(n)
		if rest != "" {
			addr, err := parseConnection(rest)
			if err != nil {
				return err
			}
			s.RTCP = netip.AddrPortFrom(addr, uint16(n))
		}
	}
	return nil
}

// describe takes a rtpmap or fmtp attribute: "101 telephone-event/8000".
func (s *Stream) describe(name, arg string) {
	payload, text, _ := strings.Cut(arg, " ")
	pt, err := strconv.ParseUint(payload, 10, 7)
	if err != nil {
		return
	}
	text = strings.TrimSpace(text)
	for i := range s.Formats {
		f := &s.Formats[i]
		switch {
		case f.Payload != uint8(pt):
		case name == "fmtp":
			f.Fmtp = text
		default:
			if c := parseRtpmap(text); c != "" {
				f.Codec = c
			}
		}
	}
}

// parseRtpmap reads "name/rate" or "name/rate/channels".
func parseRtpmap(text string) Codec {
	name, rest, ok := strings.Cut(strings.ToUpper(text), "/")
	rate, channels, stereo := strings.Cut(rest, "/")
	if n, err := strconv.ParseUint(rate, 10, 20); !ok || err != nil || n == 0 || name == "" || strings.ContainsRune(name, ' ') {
		return ""
	}
	if !stereo || channels == "1" {
		if rate == "8000" && (name == string(PCMA) || name == string(PCMU)) {
			return Codec(name)
		}
		return Codec(name + "/" + rate)
	}
	if _, err := strconv.ParseUint(channels, 10, 8); err != nil {
		return ""
	}
	return Codec(name + "/" + rate + "/" + channels)
}

// parseStream reads the value of an m= line.
func parseStream(value string) (Stream, error) {
	f := strings.Fields(value)
	if len(f) < 4 {
		return Stream{}, fmt.Errorf("%w: m=", ErrSyntax)
	}
	if len(f)-3 > MaxFormats {
		return Stream{}, fmt.Errorf("%w: over %d formats", ErrLimit, MaxFormats)
	}
	number, _, _ := strings.Cut(f[1], "/") // port/count
	port, err := strconv.ParseUint(number, 10, 16)
	if err != nil {
		return Stream{}, fmt.Errorf("%w: port of m=", ErrSyntax)
	}
	s := Stream{Kind: f[0], Port: uint16(port), Proto: f[2], fmts: strings.Join(f[3:], " ")}
	for _, t := range f[3:] {
		pt, err := strconv.ParseUint(t, 10, 7)
		if err != nil {
			if s.usable() {
				return Stream{}, fmt.Errorf("%w: payload type", ErrSyntax)
			}
			continue
		}
		s.Formats = append(s.Formats, Format{Payload: uint8(pt), Codec: static(uint8(pt))})
	}
	return s, nil
}

// parseConnection reads "IN IP4 192.0.2.1". Names are refused: looking one up
// would let a caller choose what we ask the DNS.
func parseConnection(value string) (netip.Addr, error) {
	f := strings.Fields(value)
	if len(f) != 3 || f[0] != "IN" || f[1] != "IP4" && f[1] != "IP6" {
		return netip.Addr{}, fmt.Errorf("%w: c=", ErrSyntax)
	}
	host, _, _ := strings.Cut(f[2], "/") // TTL and count of a multicast address
	addr, err := netip.ParseAddr(host)
	if err != nil || addr.Is4() != (f[1] == "IP4") {
		return netip.Addr{}, fmt.Errorf("%w: address of c=", ErrSyntax)
	}
	addr = addr.Unmap()
	return addr, checkAddr(addr)
}

// milliseconds reads a packet time; nonsense is 0, not said.
func milliseconds(s string) time.Duration {
	n, err := strconv.ParseFloat(strings.TrimSpace(s), 64) // some write 20.0
	if err != nil || !(n > 0) {
		return 0
	}
	return time.Duration(min(n, 1000)) * time.Millisecond
}

// finish gives the streams what they inherit.
func (p *parser) finish() (*Session, error) {
	for i := range p.session.Streams {
		s := &p.session.Streams[i]
		if !s.Addr.IsValid() {
			s.Addr = p.addr
		}
		if s.usable() && !s.Addr.IsValid() {
			return nil, fmt.Errorf("%w: no c=", ErrSyntax)
		}
		if port := p.rtcpPort[i]; port != 0 && !s.RTCP.IsValid() && s.Addr.IsValid() {
			s.RTCP = netip.AddrPortFrom(s.Addr, port)
		}
	}
	return p.session, nil
}
