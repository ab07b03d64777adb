package sip

import (
	"errors"
	"net/netip"
	"strconv"
	"strings"

	gosip "github.com/emiago/sipgo/sip"
)

// What is wrong with a URI.
var (
	errURIScheme = errors.New("no URI scheme")
	errURIUser   = errors.New("bad user part of a URI")
	errURIHost   = errors.New("bad host of a URI")
	errURIPort   = errors.New("bad port of a URI")
	errURIParam  = errors.New("bad parameter of a URI")
)

// parseURI reads a URI (RFC 3261 section 19.1.1). The inside of schemes other
// than sip and sips is not looked at.
func parseURI(s string) (gosip.Uri, error) {
	var u gosip.Uri
	scheme, rest, ok := strings.Cut(s, ":")
	if !ok || !isScheme(scheme) {
		return u, errURIScheme
	}
	for i := 0; i < len(rest); i++ {
		if c := rest[i]; c <= ' ' || c == 0x7f || c == '<' || c == '>' || c == '"' {
			return u, errURIUser
		}
	}
	if !strings.EqualFold(scheme, "sip") && !strings.EqualFold(scheme, "sips") {
		if err := gosip.ParseUri(s, &u); err != nil { // it knows no dots in schemes
			u = gosip.Uri{Scheme: lower(scheme), Host: rest}
		}
		return u, nil
	}
	u.Scheme = lower(scheme)
	if user, host, ok := strings.Cut(rest, "@"); ok {
		if user == "" || !escapesRight(user) {
			return u, errURIUser
		}
		u.User, u.Password, _ = strings.Cut(user, ":")
		rest = host
	}
	rest, headers, _ := strings.Cut(rest, "?")
	hostport, params, _ := strings.Cut(rest, ";")
	var err error
	if u.Host, u.Port, err = parseHostPort(hostport); err != nil {
		return u, err
	}
	if u.UriParams, err = parsePairs(params, ';'); err != nil {
		return u, err
	}
	u.Headers, err = parsePairs(headers, '&')
	return u, err
}

func isScheme(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		letter := c|0x20 >= 'a' && c|0x20 <= 'z'
		if !letter && (i == 0 || !(c >= '0' && c <= '9' || c == '+' || c == '-' || c == '.')) {
			return false
		}
	}
	return s != ""
}

// escapesRight reports whether each % is followed by two hexadecimal digits.
func escapesRight(s string) bool {
	for i := strings.IndexByte(s, '%'); i >= 0; i = strings.IndexByte(s, '%') {
		if len(s) < i+3 || !isHex(s[i+1]) || !isHex(s[i+2]) {
			return false
		}
		s = s[i+3:]
	}
	return true
}

func isHex(c byte) bool {
	return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'f'
}

// parseHostPort reads "host", "host:port" and "[v6]:port"; an IPv6 address
// keeps its brackets. Port 0 means that there is none.
func parseHostPort(s string) (host string, port int, err error) {
	host, digits, colon := s, "", false
	if strings.HasPrefix(s, "[") {
		end := strings.IndexByte(s, ']')
		if end < 0 {
			return "", 0, errURIHost
		}
		addr, ok := parseIPv6(s[1:end])
		if !ok {
			return "", 0, errURIHost
		}
		host = "[" + addr + "]"
		if rest := s[end+1:]; rest != "" {
			if rest[0] != ':' {
				return "", 0, errURIHost
			}
			digits, colon = rest[1:], true
		}
	} else {
		host, digits, colon = strings.Cut(s, ":")
		if !isHost(host) {
			return "", 0, errURIHost
		}
	}
	if !colon {
		return host, 0, nil
	}
	port, ok := parsePort(digits)
	if !ok {
		return "", 0, errURIPort
	}
	return host, port, nil
}

// parseIPv6 reads an address without brackets. The grammar of RFC 3261 asked
// for a third colon before an IPv4 part; that one is forgiven (RFC 5118
// section 4.10).
func parseIPv6(s string) (string, bool) {
	if head, tail, ok := strings.Cut(s, ":::"); ok && strings.Contains(tail, ".") {
		s = head + "::" + tail
	}
	addr, err := netip.ParseAddr(s)
	return s, err == nil && addr.Is6() && addr.Zone() == ""
}

func isHost(s string) bool {
	for i := 0; i < len(s); i++ {
		c := s[i]
		if !isAlnum(c) && c != '.' && c != '-' && c != '_' {
			return false
		}
	}
	return s != ""
}

func parsePort(s string) (int, bool) {
	n, err := strconv.ParseUint(s, 10, 16)
	return int(n), err == nil && n > 0 && s[0] != '+'
}

// parsePairs reads the parameters or headers of a URI. Names of parameters are
// kept in lower case: they are compared without it.
func parsePairs(s string, sep byte) (gosip.HeaderParams, error) {
	if s == "" {
		return nil, nil
	}
	out := make(gosip.HeaderParams, 0, 2)
	for more := true; more; {
		var pair string
		pair, s, more = cutByte(s, sep)
		name, value, _ := strings.Cut(pair, "=")
		if name == "" && (more || len(out) == 0) || name == "" && value != "" {
			return nil, errURIParam
		}
		if sep == ';' {
			name = lower(name)
		}
		if name != "" {
			out = append(out, gosip.HeaderKV{K: name, V: value})
		}
	}
	return out, nil
}

// cutByte is strings.Cut for one byte.
func cutByte(s string, sep byte) (before, after string, found bool) {
	if i := strings.IndexByte(s, sep); i >= 0 {
		return s[:i], s[i+1:], true
	}
	return s, "", false
}

// lower is strings.ToLower for ASCII, free where nothing changes.
func lower(s string) string {
	for i := 0; i < len(s); i++ {
		if s[i] >= 'A' && s[i] <= 'Z' {
			b := []byte(s)
			for ; i < len(b); i++ {
				if b[i] >= 'A' && b[i] <= 'Z' {
					b[i] |= 0x20
				}
			}
			return string(b)
		}
	}
	return s
}
