package routing

import (
	"fmt"
	"strings"
	"time"
)

// holiday is a day, or a range of days with both ends in it, once or every
// year. Its ends are numbers such as 20260131, or 131 where it is yearly.
type holiday struct {
	text     string
	from, to int
	yearly   bool
}

func (h holiday) on(t time.Time) bool {
	date := int(t.Month())*100 + t.Day()
	if !h.yearly {
		date += t.Year() * 10000
	}
	if h.from > h.to { // over the new year
		return date >= h.from || date <= h.to
	}
	return h.from <= date && date <= h.to
}

// The lengths of what a holiday is written as, without spaces.
const (
	lenYearly      = len("01-07")
	lenDate        = len("2026-01-01")
	lenYearlyRange = 2*lenYearly + 1
	lenDateRange   = 2*lenDate + 1
)

// parseHoliday reads "2026-01-01", "01-07", "2026-12-31 - 2027-01-08" or
// "12-31 - 01-08".
func parseHoliday(text string) (holiday, *fault) {
	s := strings.Map(func(r rune) rune {
		switch {
		case isDash(r):
			return '-'
		case r == ' ' || r == '\t' || r == '\u00a0':
			return -1
		}
		return r
	}, text)
	first, last := s, s
	switch len(s) {
	case lenYearly, lenDate:
	case lenYearlyRange, lenDateRange:
		half := len(s) / 2
		if s[half] != '-' {
			return holiday{}, notHoliday(text)
		}
		first, last = s[:half], s[half+1:]
	default:
		return holiday{}, notHoliday(text)
	}
	h := holiday{text: text, yearly: len(first) == lenYearly}
	var ok bool
	for _, end := range []struct {
		text string
		date *int
	}{{first, &h.from}, {last, &h.to}} {
		if *end.date, ok = parseDate(end.text); !ok {
			return h, &fault{message: fmt.Sprintf("there is no day %q", end.text), hint: "days are written year-month-day or month-day", offset: -1}
		}
	}
	if !h.yearly && h.to < h.from {
		return h, &fault{message: fmt.Sprintf("%q ends before it begins", text), offset: -1}
	}
	return h, nil
}

func notHoliday(text string) *fault {
	return &fault{
		message: fmt.Sprintf("%q is no holiday", text), offset: -1,
		hint: `as in "2026-01-01", each year "01-07", or a range "2026-12-31 - 2027-01-08"`,
	}
}

// parseDate reads "2026-01-31" as 20260131 and "01-31" as 131.
func parseDate(s string) (int, bool) {
	year := 2024 // a leap year: 02-29 is a yearly day
	yearly := len(s) == lenYearly
	if !yearly {
		y, ok := decimal(s[:4], 4, 4)
		if !ok || s[4] != '-' {
			return 0, false
		}
		year, s = y, s[5:]
	}
	month, okMonth := decimal(s[:2], 2, 2)
	day, okDay := decimal(s[3:], 2, 2)
	t := time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC)
	if !okMonth || !okDay || s[2] != '-' || int(t.Month()) != month || t.Day() != day {
		return 0, false
	}
	if yearly {
		year = 0
	}
	return year*10000 + month*100 + day, true
}
