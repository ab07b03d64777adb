package pbx

import (
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// column is the meaning of one field of a line.
type column int

const (
	colNone column = iota
	colHistoryID
	colCallID
	colDuration
	colStart
	colAnswered
	colEnd
	colReason
	colFromNo
	colToNo
	colFromDN
	colToDN
	colDialNo
	colChanged
	colFinalNo
	colFinalDN
	colBilling // read by nobody
	colChain
	colFromType
	colToType
	colFinalType
	colFromName
	colToName
	colFinalName
	colAgents
)

// CDRFields are the names of the fields that 3CX can write, in the order that
// its manual and this one recommend. Lines of old installations end after the
// twentieth.
func CDRFields() []string {
	return []string{
		"historyid", "callid", "duration", "time-start", "time-answered", "time-end", "reason-terminated",
		"from-no", "to-no", "from-dn", "to-dn", "dial-no", "reason-changed", "final-number", "final-dn",
		"bill-code", "bill-rate", "bill-cost", "bill-name", "chain",
		"from-type", "to-type", "final-type", "from-dispname", "to-dispname", "final-dispname", "missed-queue-calls",
	}
}

// CDRField reports whether 3CX has a field of this name. Hyphens, underscores
// and the case of letters do not count.
func CDRField(name string) bool { return columnOf(name) != colNone }

func columnOf(name string) column {
	columns := [...]column{
		colHistoryID, colCallID, colDuration, colStart, colAnswered, colEnd, colReason,
		colFromNo, colToNo, colFromDN, colToDN, colDialNo, colChanged, colFinalNo, colFinalDN,
		colBilling, colBilling, colBilling, colBilling, colChain,
		colFromType, colToType, colFinalType, colFromName, colToName, colFinalName, colAgents,
	}
	name = lettersOf(name)
	for i, known := range CDRFields() {
		if lettersOf(known) == name {
			return columns[i]
		}
	}
	return colNone
}

// lettersOf is a name without what does not count in it.
func lettersOf(name string) string {
	return strings.Map(func(r rune) rune {
		if r == '-' || r == '_' || r == ' ' {
			return -1
		}
		return unicode.ToLower(r)
	}, name)
}

// layout is the order of a line's fields, compiled.
type layout struct {
	columns []column
	name    int // the last field that may hold commas, -1 for none
	first   int // the first of those that stand together with it
}

// newLayout compiles names. Those it does not know are passed over: the fields
// behind them keep their places.
func newLayout(names []string) (layout, error) {
	l := layout{name: -1}
	for i, n := range names {
		c := columnOf(n)
		l.columns = append(l.columns, c)
		if c.isName() {
			if l.name != i-1 || l.name < 0 {
				l.first = i
			}
			l.name = i
		}
	}
	if len(names) == 0 {
		return l, errNoFields
	}
	if !slices.Contains(l.columns, colStart) || !slices.Contains(l.columns, colFromNo) {
		return l, fmt.Errorf("cdr: fields %v: time-start and from-no are needed", names)
	}
	return l, nil
}

func (c column) isName() bool { return c == colFromName || c == colToName || c == colFinalName }

// ParseCDR reads one line, its fields in the order given. A line with fewer
// fields than that is marked Partial; one without a time at which the call
// began, or without anybody who called, is an error.
func ParseCDR(fields []string, line string) (CDR, error) {
	l, err := newLayout(fields)
	if err != nil {
		return CDR{}, err
	}
	return l.parse(line)
}

func (l *layout) parse(line string) (CDR, error) {
	if len(line) > maxLine {
		return CDR{}, fmt.Errorf("cdr: a line of %d bytes", len(line))
	}
	values := l.fit(split(line))
	var c CDR
	c.Partial = len(values) != len(l.columns)
	for i, v := range values {
		if i < len(l.columns) && v != "" && !c.set(l.columns[i], v) {
			c.Partial = true
		}
	}
	switch {
	case c.Start.IsZero():
		return c, fmt.Errorf("cdr: %d fields and no time-start among them: is their order that of 3CX?", len(values))
	case c.From.Number == "" && c.From.DN == "" && len(c.Chain) == 0:
		return c, fmt.Errorf("cdr: nobody calls")
	}
	return c, nil
}

// fit brings a line with too many fields back to its order: display names hold
// commas. What begins with a blank went on from the name before it; what is
// left over belongs to the last name.
func (l *layout) fit(values []string) []string {
	over := len(values) - len(l.columns)
	if over <= 0 || l.name < 0 {
		return trimAll(values)
	}
	last := l.name + over // of the fields that are names
	names := slices.Clone(values[l.first : last+1])
	for i := 1; i < len(names) && over > 0; {
		if !strings.HasPrefix(names[i], " ") {
			i++
			continue
		}
		names[i-1] += "," + names[i]
		names = slices.Delete(names, i, i+1)
		over--
	}
	if end := len(names) - 1 - over; over > 0 {
		names = append(names[:end], strings.Join(names[end:], ","))
	}
	return trimAll(slices.Concat(values[:l.first], names, values[last+1:]))
}

func trimAll(values []string) []string {
	for i, v := range values {
		values[i] = strings.TrimSpace(v)
	}
	return values
}

// split cuts a line at its commas, and takes quotes off fields that are
// quoted.
func split(line string) []string {
	line = strings.TrimRight(line, "\r\n\x00")
	out := make([]string, 0, 28)
	for {
		if strings.HasPrefix(line, `"`) {
			if v, rest, more, ok := quoted(line); ok {
				out = append(out, v)
				if !more {
					return out
				}
				line = rest
				continue
			}
		}
		v, rest, more := strings.Cut(line, ",")
		out = append(out, v)
		if !more {
			return out
		}
		line = rest
	}
}

// quoted reads a field in quotes, in which a quote is written twice. ok is
// false where the quote is a character like any other.
func quoted(line string) (value, rest string, more, ok bool) {
	for i := 1; i < len(line); i++ {
		if line[i] != '"' {
			continue
		}
		if i+1 < len(line) && line[i+1] == '"' {
			i++
			continue
		}
		value = strings.ReplaceAll(line[1:i], `""`, `"`)
		after := strings.TrimLeft(line[i+1:], " ")
		if after == "" {
			return value, "", false, true
		}
		if after[0] == ',' {
			return value, after[1:], true, true
		}
		return "", "", false, false
	}
	return "", "", false, false
}

// set puts a value into its place; it reports whether the value makes sense.
func (c *CDR) set(col column, v string) (ok bool) {
	ok = true
	switch col {
	case colHistoryID:
		c.HistoryID = clean(trimWord(v, "Call "))
	case colCallID:
		c.CallID = clean(v)
	case colDuration:
		c.Duration, ok = clock(v)
	case colStart:
		c.Start, ok = stamp(v)
	case colAnswered:
		c.Answered, ok = stamp(v)
	case colEnd:
		c.End, ok = stamp(v)
	case colReason:
		c.Reason = strings.ToLower(clean(v))
	case colChanged:
		c.Changed = strings.ToLower(clean(v))
	case colDialNo:
		c.Dialled = clean(trimWord(v, "Ext."))
	case colChain:
		c.Chain = chain(v)
	case colAgents:
		c.Agents = agents(v)
	default:
		c.setParty(col, v)
	}
	return ok
}

func (c *CDR) setParty(col column, v string) {
	v = clean(v)
	switch col {
	case colFromNo:
		c.From.number(v)
	case colToNo:
		c.To.number(v)
	case colFinalNo:
		c.Final.number(v)
	case colFromDN:
		c.From.DN = trimWord(v, "Ext.")
	case colToDN:
		c.To.DN = trimWord(v, "Ext.")
	case colFinalDN:
		c.Final.DN = trimWord(v, "Ext.")
	case colFromType:
		c.From.Type = strings.ToLower(v)
	case colToType:
		c.To.Type = strings.ToLower(v)
	case colFinalType:
		c.Final.Type = strings.ToLower(v)
	case colFromName:
		c.From.Name = v
	case colToName:
		c.To.Name = v
	case colFinalName:
		c.Final.Name = v
	}
}

func (p *Party) number(v string) {
	p.Number = trimWord(v, "Ext.")
	p.Ext = len(p.Number) != len(v)
}

// trimWord takes a literal prefix off, whatever the case of its letters.
func trimWord(v, word string) string {
	if len(v) >= len(word) && strings.EqualFold(v[:len(word)], word) {
		return strings.TrimSpace(v[len(word):])
	}
	return v
}

// maxHops bounds the endpoints and the agents that are kept of a line.
const maxHops = 256

// chain reads "Chain: +74951234567;Ext.800;Ext.101;".
func chain(v string) []Hop {
	var out []Hop
	for part := range strings.SplitSeq(trimWord(v, "Chain:"), ";") {
		var p Party
		if p.number(clean(strings.TrimSpace(part))); p.Number != "" && len(out) < maxHops {
			out = append(out, Hop{p.Number, p.Ext})
		}
	}
	return out
}

// agents reads a list whose separator is not the same in all builds.
func agents(v string) []string {
	var out []string
	for _, part := range strings.FieldsFunc(v, func(r rune) bool { return r == ';' || r == ',' || unicode.IsSpace(r) }) {
		if a := trimWord(clean(part), "Ext."); a != "" && len(out) < maxHops && !slices.Contains(out, a) {
			out = append(out, a)
		}
	}
	return out
}

// maxValue bounds one value: nothing that a PBX writes is longer.
const maxValue = 256

// clean is v without what a terminal would obey, in valid UTF-8, cut at
// maxValue bytes.
func clean(v string) string {
	if plainText(v) && len(v) <= maxValue {
		return v
	}
	v = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return -1
		}
		return r
	}, strings.ToValidUTF8(v, string(utf8.RuneError)))
	if len(v) > maxValue {
		v = strings.ToValidUTF8(v[:maxValue], "")
	}
	return v
}

func plainText(v string) bool {
	for i := 0; i < len(v); i++ {
		if v[i] < ' ' || v[i] > '~' {
			return false
		}
	}
	return true
}

// stamp reads "2026/03/02 09:15:04", its date also with dots or hyphens, as
// UTC.
func stamp(v string) (time.Time, bool) {
	const form = "0000-00-00 00:00:00"
	if len(v) < len(form) {
		return time.Time{}, false
	}
	var n [6]int
	part := 0
	for i := range len(form) {
		switch {
		case form[i] != '0':
			if !separates(form[i], v[i]) {
				return time.Time{}, false
			}
			part++
		case v[i] < '0' || v[i] > '9':
			return time.Time{}, false
		default:
			n[part] = n[part]*10 + int(v[i]-'0')
		}
	}
	t := time.Date(n[0], time.Month(n[1]), n[2], n[3], n[4], n[5], 0, time.UTC)
	real := n[0] >= 1990 && t.Month() == time.Month(n[1]) && t.Day() == n[2] && n[3] < 24 && n[4] < 60 && n[5] < 60
	if !real {
		return time.Time{}, false
	}
	return t, true
}

func separates(want, have byte) bool {
	switch want {
	case '-':
		return have == '/' || have == '.' || have == '-'
	case ' ':
		return have == ' ' || have == 'T'
	default:
		return have == want
	}
}

// clock reads "00:02:10".
func clock(v string) (time.Duration, bool) {
	v, _, _ = strings.Cut(v, ".")
	sum, parts := 0, 0
	for part := range strings.SplitSeq(v, ":") {
		n := 0
		if part == "" || len(part) > 4 {
			return 0, false
		}
		for _, r := range part {
			if r < '0' || r > '9' {
				return 0, false
			}
			n = n*10 + int(r-'0')
		}
		sum = sum*60 + n
		parts++
	}
	return time.Duration(sum) * time.Second, parts == 3
}
