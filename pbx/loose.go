package pbx

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// loose is any JSON scalar as text: versions of 3CX write ids as numbers and as
// strings, and null for what is empty. What is no scalar is empty.
type loose string

// UnmarshalJSON takes anything.
func (l *loose) UnmarshalJSON(b []byte) error {
	*l = ""
	if len(b) == 0 {
		return nil
	}
	switch b[0] {
	case '"':
		var s string
		if err := json.Unmarshal(b, &s); err != nil {
			return err
		}
		*l = loose(s)
	case 'n', '{', '[':
	default:
		*l = loose(b)
	}
	return nil
}

// text is l on one line, without what a terminal would obey.
func (l loose) text() string {
	s := strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == unicode.ReplacementChar {
			return -1
		}
		return r
	}, strings.ToValidUTF8(string(l), ""))
	return strings.TrimSpace(s)
}

// int is l as an integer; 0 for what is none.
func (l loose) int() int {
	if n, err := strconv.ParseInt(strings.TrimSpace(string(l)), 10, 64); err == nil {
		return int(n)
	}
	f, err := strconv.ParseFloat(strings.TrimSpace(string(l)), 64)
	if err != nil || math.Abs(f) > math.MaxInt32 || f != math.Trunc(f) {
		return 0
	}
	return int(f)
}

// bool is l as a boolean; known is false where it says neither.
func (l loose) bool() (value, known bool) {
	switch strings.ToLower(l.text()) {
	case "true", "1", "yes":
		return true, true
	case "false", "0", "no":
		return false, true
	}
	return false, false
}

// time is l as a moment; zero for what is none. 3CX writes UTC, not always with
// its Z.
func (l loose) time() time.Time {
	s := l.text()
	for _, layout := range []string{time.RFC3339, "2006-01-02T15:04:05", time.DateTime} {
		if t, err := time.ParseInLocation(layout, s, time.UTC); err == nil && t.Year() > 1970 {
			return t.UTC()
		}
	}
	return time.Time{}
}

// duration is l as ISO 8601 ("PT1M1.4S"), as a clock ("00:01:01.4"), or in
// seconds; 0 for what is none of them.
func (l loose) duration() time.Duration {
	s := l.text()
	if clock := strings.Split(s, ":"); len(clock) == 3 {
		h, m := loose(clock[0]).int(), loose(clock[1]).int()
		return time.Duration(h)*time.Hour + time.Duration(m)*time.Minute + seconds(clock[2])
	}
	if rest, ok := strings.CutPrefix(strings.ToUpper(s), "P"); ok {
		return iso(rest)
	}
	return seconds(s)
}

// iso reads what follows the P of an ISO 8601 duration: days, hours, minutes
// and seconds, 3CX's calls know no more.
func iso(s string) time.Duration {
	var out time.Duration
	clock := false
	for s != "" {
		if rest, ok := strings.CutPrefix(s, "T"); ok {
			s, clock = rest, true
			continue
		}
		i := strings.IndexFunc(s, func(r rune) bool { return r != '.' && !unicode.IsDigit(r) })
		if i <= 0 {
			return 0
		}
		amount, unit := seconds(s[:i]), s[i]
		switch {
		case unit == 'D' && !clock:
			out += amount * 24 * 3600
		case unit == 'H' && clock:
			out += amount * 3600
		case unit == 'M' && clock:
			out += amount * 60
		case unit == 'S' && clock:
			out += amount
		default:
			return 0
		}
		s = s[i+1:]
	}
	return out
}

// longestSpan bounds durations: a call of three years is a broken field.
const longestSpan = 1e8

func seconds(s string) time.Duration {
	f, err := strconv.ParseFloat(strings.TrimSpace(s), 64)
	if err != nil || math.IsNaN(f) || f < 0 || f > longestSpan {
		return 0
	}
	return time.Duration(math.Round(f*1e6)) * time.Microsecond
}
