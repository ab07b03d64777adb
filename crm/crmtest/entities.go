package crmtest

import (
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"frontdesk/call"
)

// Card is what an address book shows of an entity besides its name.
type Card struct {
	Kinds        []string // VALUE_TYPE of each of Phones, MOBILE and the like; WORK where there are fewer
	Mails        []string
	Post         string // of a contact or a lead
	CompanyTitle string // of a lead
}

// Contact is a person in the CRM. Fields are user fields by code, in whatever
// shape the portal is to give them.
type Contact struct {
	ID             int // 0: the next free one
	Name, LastName string
	Company        int
	Responsible    int
	Phones         []string // as typed by whoever entered them
	Fields         map[string]any
	Hidden         bool // found by number, but the webhook's owner may not read it
	Card
}

// Company is a company in the CRM.
type Company struct {
	ID          int // 0: the next free one
	Title       string
	Responsible int
	Phones      []string
	Fields      map[string]any
	Hidden      bool
	Card
}

// Lead is a lead in the CRM.
type Lead struct {
	ID                    int // 0: the next free one
	Title, Name, LastName string
	Semantics             string // P in work (default), S converted, F junk
	Contact, Company      int
	Responsible           int
	Phones                []string
	Fields                map[string]any
	Hidden                bool
	Card
}

// entity is any of them as stored: own fields as strings, user fields as given.
type entity struct {
	kind   call.Kind
	id     int
	hidden bool
	fields map[string]any
	phones []phone
	mails  []phone
	owners []int // all who were responsible, in order
}

type phone struct {
	id          int
	value, kind string
}

// AddContact stores a contact and returns its id.
func (p *Portal) AddContact(c Contact) int {
	return p.add(entity{kind: call.KindContact, id: c.ID, hidden: c.Hidden, fields: map[string]any{
		"NAME": c.Name, "LAST_NAME": c.LastName, "COMPANY_ID": optional(c.Company), "ASSIGNED_BY_ID": strconv.Itoa(c.Responsible),
		"POST": text(c.Post),
	}}, c.Phones, c.Fields, c.Card)
}

// AddCompany stores a company and returns its id.
func (p *Portal) AddCompany(c Company) int {
	return p.add(entity{kind: call.KindCompany, id: c.ID, hidden: c.Hidden, fields: map[string]any{
		"TITLE": c.Title, "ASSIGNED_BY_ID": strconv.Itoa(c.Responsible),
	}}, c.Phones, c.Fields, c.Card)
}

// AddLead stores a lead and returns its id.
func (p *Portal) AddLead(l Lead) int {
	status := map[string]string{"S": "CONVERTED", "F": "JUNK"}[l.Semantics]
	if status == "" {
		l.Semantics, status = "P", "NEW"
	}
	return p.add(entity{kind: call.KindLead, id: l.ID, hidden: l.Hidden, fields: map[string]any{
		"TITLE": l.Title, "NAME": l.Name, "LAST_NAME": l.LastName, "STATUS_ID": status, "STATUS_SEMANTIC_ID": l.Semantics,
		"CONTACT_ID": optional(l.Contact), "COMPANY_ID": optional(l.Company), "ASSIGNED_BY_ID": strconv.Itoa(l.Responsible),
		"POST": text(l.Post), "COMPANY_TITLE": text(l.CompanyTitle),
	}}, l.Phones, l.Fields, l.Card)
}

// text is a text as lists give it: null without one.
func text(s string) any {
	if s == "" {
		return nil
	}
	return s
}

// optional is an id as lists give it: null without one.
func optional(id int) any {
	if id == 0 {
		return nil
	}
	return strconv.Itoa(id)
}

// add stores an entity and returns its id.
func (p *Portal) add(e entity, phones []string, userFields map[string]any, c Card) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if e.id == 0 {
		e.id = p.id()
	}
	maps.Copy(e.fields, userFields)
	for i, v := range phones {
		kind := "WORK"
		if i < len(c.Kinds) {
			kind = c.Kinds[i]
		}
		e.phones = append(e.phones, phone{id: p.id(), value: v, kind: kind})
	}
	for _, v := range c.Mails {
		e.mails = append(e.mails, phone{id: p.id(), value: v, kind: "WORK"})
	}
	p.store(&e)
	return e.id
}

// store puts a new entity into the portal. mu is held.
func (p *Portal) store(e *entity) {
	now := p.now().Format(time.RFC3339)
	e.fields["ID"] = strconv.Itoa(e.id)
	e.fields["DATE_CREATE"], e.fields["DATE_MODIFY"] = now, now
	p.entities[e.kind][e.id] = e
	e.note()
	p.changed(e.kind, "ADD", e.id)
}

// SetField changes one field of an entity, "ASSIGNED_BY_ID" or a user field. It
// reports whether there is such an entity.
func (p *Portal) SetField(k call.Kind, id int, code string, value any) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	e, ok := p.entities[k][id]
	if ok {
		e.fields[code] = value
		p.touch(e)
	}
	return ok
}

// SetPhones replaces the numbers of an entity. It reports whether there is such
// an entity.
func (p *Portal) SetPhones(k call.Kind, id int, phones ...string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	e, ok := p.entities[k][id]
	if ok {
		e.phones = nil
		for _, v := range phones {
			e.phones = append(e.phones, phone{id: p.id(), value: v, kind: "WORK"})
		}
		p.touch(e)
	}
	return ok
}

// touch notes that an entity was changed. mu is held.
func (p *Portal) touch(e *entity) {
	e.note()
	e.fields["DATE_MODIFY"] = p.now().Format(time.RFC3339)
	p.changed(e.kind, "UPDATE", e.id)
}

// Field is one field of an entity as stored.
func (p *Portal) Field(k call.Kind, id int, code string) (any, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	e, ok := p.entities[k][id]
	if !ok {
		return nil, false
	}
	v, ok := e.fields[code]
	return v, ok
}

// Remove deletes an entity.
func (p *Portal) Remove(k call.Kind, id int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, ok := p.entities[k][id]; ok {
		delete(p.entities[k], id)
		p.changed(k, "DELETE", id)
	}
}

// sorted are the entities of a kind by id.
func (p *Portal) sorted(k call.Kind) []*entity {
	return slices.SortedFunc(maps.Values(p.entities[k]), func(a, b *entity) int { return a.id - b.id })
}

// normalise is a number as the portal's match code has it: digits only, without
// an extension, the Russian 8 as 7, prefixes for abroad cut.
func normalise(s string) string {
	if i := strings.IndexAny(s, "#;,"); i >= 0 {
		s = s[:i]
	}
	plus := strings.HasPrefix(strings.TrimSpace(s), "+")
	digits := strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' || r == '*' {
			return r
		}
		return -1
	}, s)
	if plus || len(digits) < 10 {
		return digits
	}
	switch {
	case strings.HasPrefix(digits, "00"):
		return digits[2:]
	case strings.HasPrefix(digits, "011"):
		return digits[3:]
	case digits[0] == '0':
		return digits[1:]
	case digits[0] == '8' && !strings.ContainsAny(digits[1:2], "012"):
		return "7" + digits[1:]
	}
	return digits
}

// matchCode is normalise, remembered. mu is held.
func (p *Portal) matchCode(s string) string {
	code, known := p.codes[s]
	if !known {
		code = normalise(s)
		p.codes[s] = code
	}
	return code
}

// findCap is where a search by number is cut.
const findCap = 20

// findByComm is crm.duplicate.findbycomm. It finds what the caller may not read.
func findByComm(p *Portal, c invocation) (answer, *Failure) {
	switch t := c.text("type"); {
	case t == "":
		return answer{}, bad("Communication type is not defined.")
	case t != "PHONE":
		return answer{}, bad("Communication type '%s' is not supported in current context.", t)
	}
	values, ok := elements(c.arg("values"))
	if !ok || len(values) == 0 {
		return answer{}, bad("Communication values is not defined.")
	}
	keys := map[string]bool{}
	for _, v := range values[:min(len(values), 20)] {
		if key := normalise(str(v)); key != "" {
			keys[key] = true
		}
	}
	kinds := []call.Kind{call.KindLead, call.KindContact, call.KindCompany}
	if only := c.text("entity_type"); only != "" {
		kinds = []call.Kind{call.Kind(strings.ToLower(only))}
	}
	found := map[string]any{}
	for _, k := range kinds {
		ids := p.carriers(k, keys)
		if len(ids) > 0 {
			found[strings.ToUpper(string(k))] = ids
		}
		if len(ids) >= findCap {
			break // the types that follow are hidden
		}
	}
	return answer{result: phpMap(found)}, nil
}

// carriers are the ids of a kind whose numbers match, cut at the cap.
func (p *Portal) carriers(k call.Kind, keys map[string]bool) []any {
	var found []int
	for id, e := range p.entities[k] {
		if slices.ContainsFunc(e.phones, func(ph phone) bool { return keys[p.matchCode(ph.value)] }) {
			found = append(found, id)
		}
	}
	slices.Sort(found)
	var ids []any
	for _, id := range found[:min(len(found), findCap)] {
		ids = append(ids, id)
	}
	return ids
}

// list is crm.contact.list and its like, in the old style.
func list(k call.Kind) method {
	return func(p *Portal, c invocation) (answer, *Failure) {
		l := c.listing()
		rows := p.filtered(k, l)
		return page(l, rows, func(e *entity) any { return p.row(e, l) }), nil
	}
}

// filtered are the readable entities of a kind that pass the filter, in order.
func (p *Portal) filtered(k call.Kind, l listing) []*entity {
	rows := slices.DeleteFunc(p.sorted(k), func(e *entity) bool {
		return e.hidden || slices.ContainsFunc(l.conditions, func(c condition) bool { return !c.holds(e.values(c.field)) })
	})
	if l.sort == "ID" { // as they are
		if l.descending {
			slices.Reverse(rows)
		}
		return rows
	}
	slices.SortStableFunc(rows, func(a, b *entity) int {
		cmp := order(a.fields[l.sort], b.fields[l.sort], l.sort == "ID")
		if l.descending {
			return -cmp
		}
		return cmp
	})
	return rows
}

// values are what a filter sees of a field: a number's exact text.
func (e *entity) values(field string) []any {
	if field == "PHONE" {
		out := make([]any, len(e.phones))
		for i, ph := range e.phones {
			out[i] = ph.value
		}
		return out
	}
	return []any{e.fields[field]}
}

// row shows the selected fields. PHONE comes only when named, and only when
// there is one.
func (p *Portal) row(e *entity, l listing) map[string]any {
	out := map[string]any{"ID": e.fields["ID"]}
	for field, v := range e.fields {
		if l.wants(field) {
			out[field] = v
		}
	}
	for field := range p.userFields["CRM_"+strings.ToUpper(string(e.kind))] {
		if _, set := out[field]; !set && l.wants(field) {
			out[field] = nil
		}
	}
	if l.wants("HAS_PHONE") {
		out["HAS_PHONE"] = map[bool]string{true: "Y", false: "N"}[len(e.phones) > 0]
	}
	if slices.Contains(l.selected, "PHONE") && len(e.phones) > 0 {
		out["PHONE"] = multiRows("PHONE", e.phones)
	}
	if slices.Contains(l.selected, "EMAIL") && len(e.mails) > 0 {
		out["EMAIL"] = multiRows("EMAIL", e.mails)
	}
	return out
}

// multiRows are the values of a field that may have several.
func multiRows(field string, values []phone) []any {
	var out []any
	for _, v := range values {
		out = append(out, map[string]any{
			"ID": strconv.Itoa(v.id), "VALUE_TYPE": v.kind, "VALUE": v.value, "TYPE_ID": field,
		})
	}
	return out
}
