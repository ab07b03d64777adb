package crmtest

import (
	"slices"
	"strings"
	"time"
)

// condition is one entry of a filter.
type condition struct {
	op, field string
	want      any
}

// conditions reads a filter. An empty array is dropped, which is the trap: the
// list is then not filtered at all.
func conditions(filter map[string]any) []condition {
	var out []condition
	for key, want := range filter {
		if list, ok := elements(want); ok && len(list) == 0 {
			continue
		}
		op, field := splitKey(key)
		out = append(out, condition{op: op, field: strings.ToUpper(field), want: want})
	}
	return out
}

func splitKey(key string) (op, field string) {
	for _, op := range []string{">=", "<=", "!@", "!%", "=%", "%=", "!=", ">", "<", "@", "!", "%", "="} {
		if strings.HasPrefix(key, op) {
			return op, key[len(op):]
		}
	}
	return "", key
}

// holds reports whether any of the values satisfies the condition; several
// values are those of a multiple field.
func (c condition) holds(values []any) bool {
	wants, isList := elements(c.want)
	if !isList {
		wants = []any{c.want}
	}
	numeric := c.field == "ID" || strings.HasSuffix(c.field, "_ID") && !slices.Contains(textIDs(), c.field)
	met := slices.ContainsFunc(values, func(have any) bool {
		return slices.ContainsFunc(wants, func(want any) bool { return c.compare(have, want, numeric) })
	})
	if strings.HasPrefix(c.op, "!") {
		return !met
	}
	return met
}

// textIDs are the fields whose names end like those of numbers.
func textIDs() []string {
	return []string{"ORIGIN_ID", "ORIGINATOR_ID", "STATUS_ID", "SOURCE_ID", "ENTITY_ID", "XML_ID"}
}

func (c condition) compare(have, want any, numeric bool) bool {
	switch c.op {
	case ">", "<", ">=", "<=":
		return ordered(c.op, order(have, want, numeric))
	case "%", "=%", "%=", "!%":
		return strings.Contains(strings.ToLower(str(have)), strings.ToLower(strings.Trim(str(want), "%")))
	}
	if numeric {
		return num(have) == num(want)
	}
	if flag(have) || flag(want) {
		return yes(have) == yes(want)
	}
	return str(have) == str(want)
}

func flag(v any) bool { _, ok := v.(bool); return ok }

func ordered(op string, cmp int) bool {
	switch op {
	case ">":
		return cmp > 0
	case "<":
		return cmp < 0
	case ">=":
		return cmp >= 0
	}
	return cmp <= 0
}

func order(a, b any, numeric bool) int {
	if numeric {
		return num(a) - num(b)
	}
	ta, errA := time.Parse(time.RFC3339, str(a))
	tb, errB := time.Parse(time.RFC3339, str(b))
	if errA == nil && errB == nil {
		return ta.Compare(tb)
	}
	return strings.Compare(str(a), str(b))
}

// pageSize is fixed for every list.
const pageSize = 50

// listing are the parameters that lists share.
type listing struct {
	conditions []condition
	selected   []string
	sort       string
	descending bool
	start      int
}

func (c invocation) listing() listing {
	l := listing{conditions: conditions(c.fields("filter")), sort: "ID", start: c.number("start")}
	if list, ok := elements(c.arg("select")); ok {
		for _, v := range list {
			l.selected = append(l.selected, str(v))
		}
	}
	for field, direction := range c.fields("order") {
		l.sort, l.descending = strings.ToUpper(field), strings.EqualFold(str(direction), "DESC")
	}
	return l
}

// page cuts a list that has been filtered and sorted. start=-1 switches counting
// off: no total, no next.
func page[T any](l listing, rows []T, show func(T) any) answer {
	a := answer{list: true, total: len(rows)}
	from := max(l.start, 0)
	rows = rows[min(from, len(rows)):]
	if len(rows) > pageSize {
		rows = rows[:pageSize]
		a.next = from + pageSize
	}
	if l.start < 0 {
		a.total, a.next = 0, 0
	}
	out := make([]any, len(rows))
	for i, r := range rows {
		out[i] = show(r)
	}
	a.result = out
	return a
}

// wants reports whether a field was selected; mask is * or UF_* for it.
func (l listing) wants(field string) bool {
	mask := "*"
	if strings.HasPrefix(field, "UF_") {
		mask = "UF_*"
	}
	if len(l.selected) == 0 {
		return mask == "*"
	}
	return slices.Contains(l.selected, field) || slices.Contains(l.selected, mask)
}
