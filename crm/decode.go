package crm

import (
	"encoding/json"
	"fmt"
	"strings"
	"unicode"

	"frontdesk/call"
)

// matches are the entities of one section that carry a number.
type matches struct {
	ids  []int       // in the order found
	rows map[int]row // of those that may be read
	hits int         // what the search gave: at findCap it was cut
}

// row is what a list says of an entity.
type row struct {
	entity call.Entity
	phones []string // as stored
}

func (m *matches) cut() bool { return m.hits >= findCap }

func (m *matches) add(r row) {
	if _, known := m.rows[r.entity.ID]; !known {
		m.ids = append(m.ids, r.entity.ID)
	}
	m.rows[r.entity.ID] = r
}

// entities are the matches, those that may not be read too: they are known
// callers whose responsible is not.
func (m *matches) entities() []call.Entity {
	out := make([]call.Entity, 0, len(m.ids))
	for _, id := range m.ids {
		out = append(out, m.rows[id].entity)
	}
	return out
}

// cards are the matches with their numbers.
func (m *matches) cards() []call.Card {
	out := make([]call.Card, 0, len(m.ids))
	for _, id := range m.ids {
		out = append(out, call.Card{Entity: m.rows[id].entity, Phones: m.rows[id].phones})
	}
	return out
}

// matches reads a section's two results. The search is the truth about what
// matches: where it found nothing, the portal dropped the filter of the list,
// which then holds fifty strangers.
func (c *Client) matches(s section, results FlexObject) (*matches, error) {
	var found FlexObject
	if err := decode("crm.duplicate.findbycomm ("+s.find+")", results[s.find], &found); err != nil {
		return nil, err
	}
	var ids []FlexInt
	if raw, ok := found[s.entityType]; ok {
		if err := decode("crm.duplicate.findbycomm ("+s.find+")", raw, &ids); err != nil {
			return nil, err
		}
	}
	m := &matches{rows: make(map[int]row, len(ids)), hits: len(ids)}
	for _, id := range ids {
		if id <= 0 {
			return nil, fmt.Errorf("crm.duplicate.findbycomm (%s): %w: no id", s.find, errShape)
		}
		if _, twice := m.rows[int(id)]; !twice {
			m.ids = append(m.ids, int(id))
			m.rows[int(id)] = row{entity: call.Entity{Kind: s.kind, ID: int(id), Unreadable: true}}
		}
	}
	rows, err := c.rows(s, results[s.list])
	if err != nil {
		return nil, err
	}
	for _, raw := range rows {
		id, err := raw.id(s)
		if err != nil {
			return nil, err
		}
		if _, ours := m.rows[id]; !ours {
			continue
		}
		if m.rows[id], err = c.row(s, id, raw); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// rawRow is a row as it came.
type rawRow map[string]json.RawMessage

func (c *Client) rows(s section, raw json.RawMessage) ([]rawRow, error) {
	var rows []rawRow
	if err := decode(s.method, raw, &rows); err != nil {
		return nil, err
	}
	return rows, nil
}

func (r rawRow) id(s section) (int, error) {
	var id FlexInt
	if raw, ok := r["ID"]; ok {
		if err := decode(s.method+" (ID)", raw, &id); err != nil {
			return 0, err
		}
	}
	if id <= 0 {
		return 0, fmt.Errorf("%s: %w: a row without ID", s.method, errShape)
	}
	return int(id), nil
}

// row reads one row of our own.
func (c *Client) row(s section, id int, raw rawRow) (row, error) {
	r := fieldReader{raw: raw, where: fmt.Sprintf("%s %d", s.kind, id)}
	f := s.names
	out := row{entity: call.Entity{
		Kind: s.kind, ID: id, Name: r.name(),
		Responsible: r.employee("ASSIGNED_BY_ID"),
		Manager:     r.employee(f.Manager),
		Temporary:   r.employee(f.Temporary),
		Direct:      r.boolean(f.Direct),
		NoSticky:    r.boolean(f.NoSticky),
	}}
	if v, ok := r.value(f.Until); ok {
		t, err := toTime(v, c.cfg.Zone)
		r.fail(f.Until, err)
		out.entity.Until = t
	}
	if s.kind == call.KindLead {
		semantics := r.text("STATUS_SEMANTIC_ID")
		out.entity.Closed = semantics == "S" || semantics == "F"
	}
	for _, code := range f.Extra {
		if v, ok := r.value(code); ok {
			if out.entity.Fields == nil {
				out.entity.Fields = map[string]any{}
			}
			out.entity.Fields[code] = v
		}
	}
	out.phones = r.phones()
	return out, r.err
}

// fieldReader reads fields of a row and keeps the first error.
type fieldReader struct {
	raw   rawRow
	where string
	err   error
}

func (r *fieldReader) fail(field string, err error) {
	if err != nil && r.err == nil {
		r.err = fmt.Errorf("%w: %s, %s: %w", errShape, r.where, field, err)
	}
}

// value is a field's value; ok is false where no field is configured or none
// came.
func (r *fieldReader) value(field string) (v any, ok bool) {
	raw, ok := r.raw[field]
	if field == "" || !ok {
		return nil, false
	}
	r.fail(field, json.Unmarshal(raw, &v))
	return v, true
}

func (r *fieldReader) employee(field string) int {
	v, _ := r.value(field)
	id, err := toEmployee(v)
	r.fail(field, err)
	return id
}

func (r *fieldReader) boolean(field string) bool {
	v, _ := r.value(field)
	b, err := toBool(v)
	r.fail(field, err)
	return b
}

func (r *fieldReader) text(field string) string {
	v, _ := r.value(field)
	s, _ := v.(string) // null and absent are empty
	return s
}

// name is NAME and LAST_NAME, else TITLE, on one line.
func (r *fieldReader) name() string {
	if s := plain(r.text("NAME") + " " + r.text("LAST_NAME")); s != "" {
		return s
	}
	return plain(r.text("TITLE"))
}

// maxName bounds names in runes.
const maxName = 200

// plain puts a foreign text on one line of bounded length.
func plain(s string) string {
	s = strings.Join(strings.FieldsFunc(strings.ToValidUTF8(s, ""), func(r rune) bool {
		return unicode.IsSpace(r) || unicode.IsControl(r)
	}), " ")
	if runes := []rune(s); len(runes) > maxName {
		return string(runes[:maxName])
	}
	return s
}

func (r *fieldReader) phones() []string {
	raw, ok := r.raw["PHONE"]
	if !ok || !present(raw) || string(raw) == "false" {
		return nil
	}
	var list []struct {
		Value json.RawMessage `json:"VALUE"`
	}
	r.fail("PHONE", json.Unmarshal(raw, &list))
	out := make([]string, 0, len(list))
	for _, p := range list {
		if s := text(p.Value); s != "" {
			out = append(out, s)
		}
	}
	return out
}

// sameNumber reports whether a stored number is n, whatever its spelling and
// with or without an extension behind it.
func (c *Client) sameNumber(stored string, n call.Number) bool {
	return readStored(stored, c.cfg.Country) == n
}
