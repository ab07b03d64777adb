package call

import (
	"fmt"
	"strings"
)

// Extension is a number on the PBX, as dialled: an extension or a queue.
type Extension string

// Numbers are the numbers that exist on the PBX. The zero value knows none.
type Numbers struct {
	Extensions Ranges `json:"extensions,omitempty"`
	Queues     Ranges `json:"queues,omitempty"`
}

// Has reports whether ext is an extension or a queue. The empty extension
// never is.
func (n Numbers) Has(ext Extension) bool { return n.Extensions.Has(ext) || n.Queues.Has(ext) }

// IsQueue reports whether ext is a queue.
func (n Numbers) IsQueue(ext Extension) bool { return n.Queues.Has(ext) }

// Continues reports whether some number is longer than prefix and begins with
// it.
func (n Numbers) Continues(prefix string) bool {
	return n.Extensions.Continues(prefix) || n.Queues.Continues(prefix)
}

// Ranges are numbers and spans of numbers: "201", "100-299". A span joins
// numbers of one length.
type Ranges []string

// Check tells the first entry that is no number and no span, with its index;
// the index is -1 where all are good.
func (r Ranges) Check() (int, error) {
	for i, s := range r {
		low, high, ok := span(s)
		switch {
		case !ok:
			return i, fmt.Errorf("%q is no number and no range such as 100-299", s)
		case len(low) != len(high):
			return i, fmt.Errorf("%q joins numbers of different length", s)
		case low > high:
			return i, fmt.Errorf("%q ends before it begins", s)
		}
	}
	return -1, nil
}

// Has reports whether ext is in r.
func (r Ranges) Has(ext Extension) bool {
	if !onlyDigits(string(ext)) {
		return false
	}
	for _, s := range r {
		if s == string(ext) {
			return true
		}
		if strings.IndexByte(s, '-') < 0 && strings.IndexByte(s, ' ') < 0 {
			continue // a plain number, as an API lists hundreds of them
		}
		low, high, ok := span(s)
		if ok && len(low) == len(ext) && low <= string(ext) && string(ext) <= high {
			return true
		}
	}
	return false
}

// Continues reports whether some number in r is longer than prefix and begins
// with it.
func (r Ranges) Continues(prefix string) bool {
	if prefix != "" && !onlyDigits(prefix) {
		return false
	}
	for _, s := range r {
		low, high, ok := span(s)
		if ok && len(low) == len(high) && len(prefix) < len(low) &&
			low[:len(prefix)] <= prefix && prefix <= high[:len(prefix)] {
			return true
		}
	}
	return false
}

// Longest is the length of the longest number in r, 0 for none.
func (r Ranges) Longest() int {
	longest := 0
	for _, s := range r {
		if low, _, ok := span(s); ok {
			longest = max(longest, len(low))
		}
	}
	return longest
}

func span(s string) (low, high string, ok bool) {
	low, high, found := strings.Cut(strings.ReplaceAll(s, " ", ""), "-")
	if !found {
		high = low
	}
	return low, high, onlyDigits(low) && onlyDigits(high)
}
