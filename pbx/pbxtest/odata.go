package pbxtest

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// pageCap is the most rows a page may ask for; more is answered 400.
const pageCap = 100

// query are the options of a request for a list.
type query struct {
	fields struct{ selected, expand []string }
	keep   func(Row) bool
	order  []ordering
	search string
	top    int // 0: not given
	skip   int
	count  bool
}

type ordering struct {
	field string
	down  bool
}

// parseQuery reads the options for a table.
func parseQuery(v url.Values, t *table) (q query, fail *failure) {
	q.fields.selected, q.fields.expand = list(v.Get("$select")), list(v.Get("$expand"))
	for _, f := range slices.Concat(q.fields.selected, q.fields.expand) {
		if !slices.Contains(t.fields, f) {
			return q, invalid("Could not find a property named '%s' on the type", f)
		}
	}
	for to, name := range map[*int]string{&q.top: "$top", &q.skip: "$skip"} {
		text := v.Get(name)
		if text == "" {
			continue
		}
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return q, invalid("Invalid value '%s' for %s query option found.", text, name)
		}
		*to = n
	}
	if q.top > pageCap {
		return q, invalid("The limit of '%d' for Top query has been exceeded. The value from the incoming request is '%d'.", pageCap, q.top)
	}
	q.count, q.search = v.Get("$count") == "true", v.Get("$search")
	for _, o := range list(v.Get("$orderby")) {
		field, direction, _ := strings.Cut(o, " ")
		if !slices.Contains(t.fields, field) {
			return q, invalid("Could not find a property named '%s' on the type", field)
		}
		q.order = append(q.order, ordering{field, strings.TrimSpace(direction) == "desc"})
	}
	if text := v.Get("$filter"); text != "" {
		keep, err := parseFilter(text, t.fields)
		if err != nil {
			return q, invalid("The query specified in the URI is not valid. %v", err)
		}
		q.keep = keep
	}
	return q, nil
}

func list(s string) []string {
	var out []string
	for part := range strings.SplitSeq(s, ",") {
		if part = strings.TrimSpace(part); part != "" {
			out = append(out, part)
		}
	}
	return out
}

// matches applies $filter and $search.
func (q *query) matches(r Row) bool {
	if q.keep != nil && !q.keep(r) {
		return false
	}
	if q.search == "" {
		return true
	}
	for _, v := range r {
		if s, ok := v.(string); ok && strings.Contains(strings.ToLower(s), strings.ToLower(q.search)) {
			return true
		}
	}
	return false
}

func (q *query) sorted(rows []Row) []Row {
	if len(q.order) == 0 || len(q.order) == 1 && q.order[0] == (ordering{field: "Id"}) {
		return rows
	}
	rows = slices.Clone(rows)
	slices.SortStableFunc(rows, func(a, b Row) int {
		for _, o := range q.order {
			c, ok := order(a[o.field], b[o.field])
			if !ok && (a[o.field] == nil) != (b[o.field] == nil) {
				if c = 1; a[o.field] == nil {
					c = -1
				}
			}
			if o.down {
				c = -c
			}
			if c != 0 {
				return c
			}
		}
		return 0
	})
	return rows
}

// page answers a request for a list.
func (q *query) page(t *table, rows []Row) Row {
	if q.keep != nil || q.search != "" {
		rows = slices.DeleteFunc(slices.Clone(rows), func(r Row) bool { return !q.matches(r) })
	}
	out := Row{}
	if q.count {
		out["@odata.count"] = len(rows)
	}
	rows = q.sorted(rows)
	rows = rows[min(q.skip, len(rows)):]
	size := q.top
	if size == 0 {
		if size = pageCap; len(rows) > size { // the server cuts the list, not the client
			out["@odata.nextLink"] = q.skip + size
		}
	}
	value := []Row{}
	for _, r := range rows[:min(size, len(rows))] {
		value = append(value, t.show(r, q.fields.selected, q.fields.expand))
	}
	out["value"] = value
	return out
}

// failure is an answer that is no success.
type failure struct {
	status int
	target string // the field at fault
	text   string // "": no body
}

// invalid is a request that is not understood.
func invalid(format string, args ...any) *failure {
	return &failure{status: http.StatusBadRequest, text: fmt.Sprintf(format, args...)}
}

// warning is the refusal of a field's value.
func warning(field, token string) *failure {
	return &failure{status: http.StatusBadRequest, target: field, text: "WARNINGS." + token}
}

// noSuch is an unknown key; an endpoint that a build lacks has no body.
func noSuch(field string) *failure {
	return &failure{status: http.StatusNotFound, target: field, text: "WARNINGS.XAPI.NOT_FOUND"}
}

// body is Pbx.ODataErrors.ODataError.
func (f *failure) body() Row {
	message := f.text
	details := []Row{}
	if f.target != "" {
		message = f.target + ":\n" + f.text
		details = append(details, Row{"code": "", "message": f.text, "target": f.target})
	}
	return Row{"error": Row{"code": "", "message": message, "target": f.target, "details": details, "innerError": Row{}}}
}

// segment is one part of a path: a name, and what stands in parentheses.
type segment struct {
	name string
	args map[string]string // a key alone is under ""
	call bool              // there were parentheses
}

// parsePath splits a path where neither quotes nor parentheses are open.
func parsePath(path string) ([]segment, bool) {
	var out []segment
	var quoted bool
	depth, from := 0, 0
	path += "/"
	for i := range len(path) {
		switch c := path[i]; {
		case c == '\'':
			quoted = !quoted
		case quoted:
		case c == '(':
			depth++
		case c == ')':
			depth--
		case c == '/' && depth == 0:
			if i > from {
				s, ok := parseSegment(path[from:i])
				if !ok {
					return nil, false
				}
				out = append(out, s)
			}
			from = i + 1
		}
	}
	return out, !quoted && depth == 0
}

func parseSegment(s string) (segment, bool) {
	name, rest, call := strings.Cut(s, "(")
	out := segment{name: name, args: map[string]string{}, call: call}
	if !call {
		return out, true
	}
	if !strings.HasSuffix(rest, ")") {
		return out, false
	}
	for _, arg := range splitArgs(strings.TrimSuffix(rest, ")")) {
		key, value, named := strings.Cut(arg, "=")
		if !named || strings.HasPrefix(arg, "'") {
			key, value = "", arg
		}
		if n := len(value); n >= 2 && value[0] == '\'' && value[n-1] == '\'' {
			value = strings.ReplaceAll(value[1:n-1], "''", "'")
		}
		out.args[strings.TrimSpace(key)] = value
	}
	return out, true
}

func splitArgs(s string) []string {
	var out []string
	quoted, from := false, 0
	for i := range len(s) {
		switch {
		case s[i] == '\'':
			quoted = !quoted
		case s[i] == ',' && !quoted:
			out, from = append(out, strings.TrimSpace(s[from:i])), i+1
		}
	}
	if rest := strings.TrimSpace(s[from:]); rest != "" {
		out = append(out, rest)
	}
	return out
}
