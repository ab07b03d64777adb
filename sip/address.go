package sip

import (
	"fmt"
	"net/url"
	"strings"

	gosip "github.com/emiago/sipgo/sip"
)

// Address is a party as From, To, P-Asserted-Identity, Contact and Refer-To
// name it, in plain text: no quotes, no escapes.
type Address struct {
	Display string // name for people; hostile input
	User    string // number or name; empty where the URI has none
	Host    string // host or host:port; empty for a tel URI
	Params  string // URI parameters, "user=phone;x=y"
}

// String is a as a header carries it. Whatever a holds, it stays one address:
// the name is quoted, what may not stand in a URI is escaped or left out.
func (a Address) String() string {
	uri := "<" + a.URI() + ">"
	name := strings.TrimSpace(shortened(clean(strings.ToValidUTF8(a.Display, ""))))
	if name == "" {
		return uri
	}
	return `"` + escaped(name) + `" ` + uri
}

// longestName is what is sent of a display name: a longer one could make a
// request too large for a datagram, or for the telephone that shows it.
const longestName = 100

func shortened(name string) string {
	n := 0
	for i := range name {
		if n++; n > longestName {
			return name[:i]
		}
	}
	return name
}

// URI is a as a sip URI, or a tel URI where it has no host.
func (a Address) URI() string {
	params := ""
	if p := keep(a.Params, ";=-.!%*_+`'~[]/:&$"); p != "" {
		params = ";" + strings.Trim(p, ";")
	}
	user := escapeUser(a.User)
	if a.Host == "" {
		return "tel:" + user + params
	}
	if user != "" {
		user += "@"
	}
	return "sip:" + user + keep(a.Host, ".-_:[]") + params
}

// keep drops what is neither a letter, a digit, nor in more.
func keep(s, more string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x80 && (isAlnum(byte(r)) || strings.ContainsRune(more, r)) {
			return r
		}
		return -1
	}, s)
}

// escapeUser escapes what may not stand in the user part of a URI (RFC 3261
// section 25.1: unreserved, user-unreserved).
func escapeUser(s string) string {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		if c := s[i]; isAlnum(c) || strings.IndexByte("-_.!~*'()&=+$,;?/", c) >= 0 {
			b.WriteByte(c)
		} else {
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

func isAlnum(c byte) bool {
	return c >= '0' && c <= '9' || c|0x20 >= 'a' && c|0x20 <= 'z'
}

// ParseAddress reads one name-addr or addr-spec, with or without header
// parameters, of a sip, sips or tel URI.
func ParseAddress(s string) (Address, error) {
	a, err := parseNameAddr(s)
	if err != nil {
		return Address{}, fmt.Errorf("parsing address %q: %w", clean(s), err)
	}
	return addressOf(a.display, a.uri), nil
}

// parseAddresses reads the addresses of a header that may hold several, as
// P-Asserted-Identity; those that cannot be read are left out.
func parseAddresses(value string) []Address {
	var out []Address
	for v := range listItems(value) {
		if a, err := ParseAddress(v); err == nil {
			out = append(out, a)
		}
	}
	return out
}

// addressOf is a parsed address in plain text. display is as it stands between
// the quotes.
func addressOf(display string, uri gosip.Uri) Address {
	a := Address{Display: plain(display)}
	if uri.Scheme != "sip" && uri.Scheme != "sips" {
		if uri.Scheme == "tel" {
			a.User, a.Params, _ = strings.Cut(uri.Raw(), ";")
		}
		return a
	}
	a.User = uri.User
	if user, err := url.PathUnescape(uri.User); err == nil {
		a.User = clean(user)
	}
	a.Host = uri.Host
	if uri.Port > 0 {
		a.Host = fmt.Sprintf("%s:%d", uri.Host, uri.Port)
	}
	a.Params = uri.UriParams.ToString(';')
	return a
}

// plain takes the escapes out of the inside of a quoted string.
func plain(s string) string {
	if strings.IndexByte(s, '\\') >= 0 {
		var b strings.Builder
		for i := 0; i < len(s); i++ {
			if s[i] == '\\' && i+1 < len(s) {
				i++
			}
			b.WriteByte(s[i])
		}
		s = b.String()
	}
	return clean(strings.ToValidUTF8(s, ""))
}
