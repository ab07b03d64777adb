package routing

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

const minutesOfDay = 24 * 60

// span is a part of a day in minutes from its midnight; to is exclusive and
// beyond 24 hours where the span ends on the next day.
type span struct{ from, to int }

// hours are the opening hours of a week, closed on holidays. Times are those
// on the wall clock, so that days on which clocks change need no care.
type hours struct {
	text     string // as written
	days     [7][]span
	holidays []holiday
}

// open reports whether t, in the plan's zone, is within h; if not, why says
// which holiday closed it. A span belongs to the day on which it begins: it
// ends at a holiday's midnight and does not begin on one.
func (h *hours) open(t time.Time) (open bool, why string) {
	if closed := h.holidayOn(t); closed != "" {
		return false, closed
	}
	minute := t.Hour()*60 + t.Minute()
	today := t.Weekday()
	if within(h.days[today], minute) {
		return true, ""
	}
	yesterday := (today + 6) % 7
	if !within(h.days[yesterday], minute+minutesOfDay) {
		return false, ""
	}
	if closed := h.holidayOn(time.Date(t.Year(), t.Month(), t.Day()-1, 12, 0, 0, 0, time.UTC)); closed != "" {
		return false, closed
	}
	return true, ""
}

func within(spans []span, minute int) bool {
	return slices.ContainsFunc(spans, func(s span) bool { return s.from <= minute && minute < s.to })
}

func (h *hours) holidayOn(t time.Time) string {
	for _, d := range h.holidays {
		if d.on(t) {
			return d.text
		}
	}
	return ""
}

// covers reports whether h is open whenever other is.
func (h *hours) covers(other *hours) bool {
	if len(h.holidays) > 0 && !slices.Equal(h.holidays, other.holidays) {
		return false
	}
	for day := range h.days {
		before := (day + 6) % 7
		for m := range minutesOfDay {
			in := within(other.days[day], m) || within(other.days[before], m+minutesOfDay)
			if in && !within(h.days[day], m) && !within(h.days[before], m+minutesOfDay) {
				return false
			}
		}
	}
	return true
}

// dayNames are the first letters of each weekday, Sunday first.
func dayNames() [7][]string {
	return [7][]string{
		{"sun", "sunday", "вс"}, {"mon", "monday", "пн"}, {"tue", "tuesday", "tues", "вт"}, {"wed", "wednesday", "ср"},
		{"thu", "thursday", "thur", "thurs", "чт"}, {"fri", "friday", "пт"}, {"sat", "saturday", "сб"},
	}
}

func parseDay(s string) (time.Weekday, bool) {
	for day, names := range dayNames() {
		if slices.Contains(names, strings.ToLower(s)) {
			return time.Weekday(day), true
		}
	}
	return 0, false
}

// add reads a line such as "Mon-Fri 09:00-13:00 14:00-18:00, Sat 10:00-14:00":
// days, then the spans that hold on them. Spans without days hold every day,
// days without spans are open all day.
func (h *hours) add(line string) *fault {
	if strings.TrimSpace(line) == "" {
		return &fault{message: "no hours are given", hint: `as in "Mon-Fri 09:00-18:00"`, offset: -1}
	}
	var days []time.Weekday
	spanned := true // the days so far have a span
	for _, t := range tokens(line) {
		switch {
		case t.text[0] >= '0' && t.text[0] <= '9':
			s, f := parseSpan(t)
			if f != nil {
				return f
			}
			h.put(days, s)
			spanned = true
		default:
			more, f := parseDays(t)
			if f != nil {
				return f
			}
			if spanned {
				days = nil
			}
			days, spanned = append(days, more...), false
		}
	}
	if !spanned {
		h.put(days, span{0, minutesOfDay})
	}
	return nil
}

func (h *hours) put(days []time.Weekday, s span) {
	if days == nil {
		days = []time.Weekday{0, 1, 2, 3, 4, 5, 6}
	}
	for _, d := range days {
		h.days[d] = append(h.days[d], s)
	}
}

// token is a word of a line and where it stands, in runes.
type token struct {
	text   string
	offset int
}

// tokens splits at commas, semicolons and spaces, other than those around a
// dash: "09:00 - 18:00" is one word.
func tokens(line string) []token {
	var out []token
	var word []rune
	start, joined := 0, false
	flush := func() {
		if len(word) > 0 {
			out = append(out, token{string(word), start})
		}
		word, joined = nil, false
	}
	runes := []rune(line)
	for i, r := range runes {
		switch {
		case r == ',' || r == ';':
			flush()
		case r == ' ' || r == '\t' || r == '\n' || r == '\u00a0':
			if !joined && !dashFollows(runes[i:]) {
				flush()
			}
		default:
			if len(word) == 0 {
				start = i
			}
			if joined = isDash(r); joined {
				r = '-'
			}
			word = append(word, r)
		}
	}
	flush()
	return out
}

func isDash(r rune) bool { return r == '-' || r == '–' || r == '—' }

func dashFollows(rest []rune) bool {
	for _, r := range rest {
		if r != ' ' && r != '\t' && r != '\u00a0' {
			return isDash(r)
		}
	}
	return false
}

func parseDays(t token) ([]time.Weekday, *fault) {
	first, last, isRange := strings.Cut(t.text, "-")
	from, ok := parseDay(first)
	if !ok {
		return nil, &fault{message: fmt.Sprintf("%q is no day of the week", first), hint: suggest(first, allDayNames(), "Mon, Tue, Wed, Thu, Fri, Sat, Sun"), offset: t.offset}
	}
	if !isRange {
		return []time.Weekday{from}, nil
	}
	to, ok := parseDay(last)
	if !ok {
		return nil, &fault{message: fmt.Sprintf("%q is no day of the week", last), hint: suggest(last, allDayNames(), "Mon, Tue, Wed, Thu, Fri, Sat, Sun"), offset: t.offset + len([]rune(first)) + 1}
	}
	days := []time.Weekday{from}
	for d := from; d != to; {
		d = (d + 1) % 7
		days = append(days, d)
	}
	return days, nil
}

func allDayNames() []string {
	var out []string
	for _, names := range dayNames() {
		out = append(out, strings.ToUpper(names[0][:1])+names[0][1:])
	}
	return out
}

func parseSpan(t token) (span, *fault) {
	first, last, isRange := strings.Cut(t.text, "-")
	if !isRange {
		return span{}, &fault{message: fmt.Sprintf("%q has no end", t.text), hint: "as in 09:00-18:00", offset: t.offset}
	}
	from, ok := parseClock(first)
	if !ok || from == minutesOfDay {
		return span{}, &fault{message: fmt.Sprintf("%q is no time of day", first), hint: "as in 09:00", offset: t.offset}
	}
	to, ok := parseClock(last)
	switch {
	case !ok:
		return span{}, &fault{message: fmt.Sprintf("%q is no time of day", last), hint: "as in 18:00; 24:00 is the end of the day", offset: t.offset + len([]rune(first)) + 1}
	case from == to:
		return span{}, &fault{message: fmt.Sprintf("%q ends where it begins", t.text), hint: "a whole day is 00:00-24:00", offset: t.offset}
	case to < from:
		to += minutesOfDay
	}
	return span{from, to}, nil
}

// parseClock reads "9:00" or "09:00", up to "24:00", in minutes.
func parseClock(s string) (int, bool) {
	hour, minute, ok := strings.Cut(s, ":")
	h, okHour := decimal(hour, 1, 2)
	m, okMinute := decimal(minute, 2, 2)
	total := h*60 + m
	return total, ok && okHour && okMinute && m < 60 && total <= minutesOfDay
}

// decimal reads between least and most digits.
func decimal(s string, least, most int) (int, bool) {
	if len(s) < least || len(s) > most {
		return 0, false
	}
	n := 0
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, false
		}
		n = n*10 + int(s[i]-'0')
	}
	return n, true
}
