package pbxtest

import (
	"cmp"
	"maps"
	"slices"
	"strings"
)

// Row is one entity as JSON shows it: field by name. Rows that were given out
// are not changed any more.
type Row map[string]any

// id is the row's key.
func (r Row) id() int {
	n, _ := r["Id"].(int)
	return n
}

// text is a field as a string, empty if it is none.
func (r Row) text(field string) string {
	s, _ := r[field].(string)
	return s
}

// table is an entity set, its rows in the order of their ids.
type table struct {
	fields   []string // every field there is; those a row has not are null
	expanded []string // fields that show with $expand only
	rows     []Row
	version  int // counts changes
	found    found
}

// found is what the last filter found, for the next page of the same list.
type found struct {
	filter  string
	version int
	rows    []Row
}

func newTable(fields string, expanded ...string) *table {
	return &table{fields: strings.Fields(fields), expanded: expanded}
}

func (t *table) find(id int) (int, bool) {
	return slices.BinarySearchFunc(t.rows, id, func(r Row, id int) int { return cmp.Compare(r.id(), id) })
}

func (t *table) get(id int) Row {
	if i, ok := t.find(id); ok {
		return t.rows[i]
	}
	return nil
}

// put adds a row, or replaces the one with its id.
func (t *table) put(r Row) {
	t.version++
	i, ok := t.find(r.id())
	if ok {
		t.rows[i] = r
		return
	}
	t.rows = slices.Insert(t.rows, i, r)
}

// change replaces fields of a row.
func (t *table) change(id int, fields Row) bool {
	i, ok := t.find(id)
	if !ok {
		return false
	}
	t.version++
	r := maps.Clone(t.rows[i])
	maps.Copy(r, fields)
	t.rows[i] = r
	return true
}

func (t *table) remove(id int) bool {
	i, ok := t.find(id)
	if ok {
		t.version++
		t.rows = slices.Delete(t.rows, i, i+1)
	}
	return ok
}

// by is the first row whose field has a value.
func (t *table) by(field, value string) Row {
	i := slices.IndexFunc(t.rows, func(r Row) bool { return r.text(field) == value })
	if i < 0 {
		return nil
	}
	return t.rows[i]
}

// show is a row with all its fields, or those selected, and what is expanded.
func (t *table) show(r Row, selected, expand []string) Row {
	out := make(Row, len(t.fields))
	for _, f := range t.fields {
		switch {
		case slices.Contains(t.expanded, f):
			if slices.Contains(expand, f) {
				out[f] = r[f]
			}
		case len(selected) == 0 || slices.Contains(selected, f):
			out[f] = r[f]
		}
	}
	return out
}

// list are the rows that a query keeps, in their order. The caller may not
// change the slice, nor does the table.
func (t *table) list(q *query, filter string) []Row {
	if t.found.rows == nil || t.found.filter != filter || t.found.version != t.version {
		kept := make([]Row, 0, len(t.rows))
		for _, r := range t.rows {
			if q.matches(r) {
				kept = append(kept, r)
			}
		}
		t.found = found{filter, t.version, kept}
	}
	return t.found.rows
}
