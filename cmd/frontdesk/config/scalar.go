package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Secret is a value that never shows: whatever prints, logs or marshals it
// gets ***. Ask Reveal for the value where it is used.
type Secret struct{ value *string } // behind a pointer: fmt prints unexported fields without asking

// NewSecret makes a secret of a text; "" is no secret.
func NewSecret(text string) Secret {
	if text == "" {
		return Secret{}
	}
	return Secret{&text}
}

// Reveal is the value itself, "" for none.
func (s Secret) Reveal() string {
	if s.value == nil {
		return ""
	}
	return *s.value
}

// Set reports whether there is a value.
func (s Secret) Set() bool { return s.value != nil }

// Equal reports whether both hold the same value.
func (s Secret) Equal(o Secret) bool { return s.Reveal() == o.Reveal() }

// String is ***, or "" for none.
func (s Secret) String() string {
	if s.value == nil {
		return ""
	}
	return mask
}

// Format prints *** for every verb.
func (s Secret) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(s.String())) }

// MarshalText writes ***; JSON and YAML go by it.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// LogValue is *** in logs.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// PortRange is a range of ports, both ends included.
type PortRange struct{ First, Last uint16 }

// String is FIRST-LAST.
func (p PortRange) String() string { return fmt.Sprintf("%d-%d", p.First, p.Last) }

// MarshalText writes FIRST-LAST.
func (p PortRange) MarshalText() ([]byte, error) { return []byte(p.String()), nil }

func parsePorts(s string) (PortRange, error) {
	low, high, ok := strings.Cut(s, "-")
	if !ok {
		return PortRange{}, errors.New("a range of ports is written FIRST-LAST, as 20000-29999")
	}
	first, err := strconv.ParseUint(strings.TrimSpace(low), 10, 16)
	if err != nil || first == 0 {
		return PortRange{}, fmt.Errorf("%q is no port: 1 to 65535", strings.TrimSpace(low))
	}
	last, err := strconv.ParseUint(strings.TrimSpace(high), 10, 16)
	if err != nil || last == 0 {
		return PortRange{}, fmt.Errorf("%q is no port: 1 to 65535", strings.TrimSpace(high))
	}
	return PortRange{uint16(first), uint16(last)}, nil
}

// durationPart is a number with its unit; d is 24 hours.
var durationPart = regexp.MustCompile(`^(\d+(?:\.\d+)?)(ms|us|µs|ns|s|m|h|d|w)`)

const durationPattern = `^(0|(\d+(\.\d+)?(ms|us|µs|ns|s|m|h|d|w))+)$`

// parseDuration reads 2500ms, 25s, 15m, 1h30m, 30d, 2w; 0 needs no unit.
func parseDuration(s string) (time.Duration, error) {
	if s == "0" {
		return 0, nil
	}
	var total float64
	rest := s
	for rest != "" {
		m := durationPart.FindStringSubmatch(rest)
		if m == nil {
			return 0, fmt.Errorf("%q is not %s", s, durationTitle)
		}
		n, err := strconv.ParseFloat(m[1], 64)
		if err != nil {
			return 0, fmt.Errorf("%q is not %s", s, durationTitle)
		}
		total += n * float64(unit(m[2]))
		rest = rest[len(m[0]):]
	}
	if s == "" {
		return 0, fmt.Errorf("%q is not %s", s, durationTitle)
	}
	if total > float64(math.MaxInt64)/2 {
		return 0, fmt.Errorf("%s is too long", s)
	}
	return time.Duration(total), nil
}

func unit(name string) time.Duration {
	switch name {
	case "ns":
		return time.Nanosecond
	case "us", "µs":
		return time.Microsecond
	case "ms":
		return time.Millisecond
	case "s":
		return time.Second
	case "m":
		return time.Minute
	case "h":
		return time.Hour
	case "d":
		return day
	}
	return 7 * day
}

// parseSource reads an address or a CIDR block.
func parseSource(s string) (netip.Prefix, error) {
	if !strings.Contains(s, "/") {
		a, err := netip.ParseAddr(s)
		if err != nil {
			return netip.Prefix{}, fmt.Errorf("%q is no IP address and no CIDR block", s)
		}
		if a.Zone() != "" {
			return netip.Prefix{}, fmt.Errorf("%q: an address with a zone cannot be compared", s)
		}
		a = a.Unmap()
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(s)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("%q is no IP address and no CIDR block", s)
	}
	if p != p.Masked() {
		return netip.Prefix{}, fmt.Errorf("%s has bits beyond its length; the block is %s", s, p.Masked())
	}
	return p, nil
}

// decimal is a whole number as JSON knows it, other than 0101 or 1_000.
var decimal = regexp.MustCompile(`^-?(0|[1-9]\d{0,17})$`)

func parseInt(s string) (int, error) {
	if !decimal.MatchString(s) {
		return 0, fmt.Errorf("%q is not a whole number", s)
	}
	return strconv.Atoi(s)
}

// jsonScalar is a scalar for the schema: what editors take for numbers and
// booleans is one here too, the rest is text.
func jsonScalar(n *node) any {
	if n.style != stylePlain {
		return n.text
	}
	switch {
	case n.text == "true", n.text == "false":
		return n.text == "true"
	case decimal.MatchString(n.text):
		return json.Number(n.text)
	}
	return n.text
}
