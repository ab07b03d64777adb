package crmtest

import (
	"strconv"
	"strings"
	"unicode"

	"frontdesk/call"
)

// entityMethods are the methods of crm.*.
func entityMethods() map[string]method {
	m := map[string]method{
		"crm.duplicate.findbycomm": findByComm,
		"crm.item.list":            itemList,
	}
	for _, k := range call.Kinds() {
		name := "crm." + string(k) + "."
		m[name+"list"] = list(k)
		m[name+"get"] = get(k)
		m[name+"add"] = add(k)
		m[name+"update"] = update(k)
		m[name+"delete"] = remove(k)
		object := "CRM_" + strings.ToUpper(string(k))
		m[name+"userfield.list"] = userFieldList(object)
		m[name+"userfield.add"] = userFieldAdd(object, "UF_CRM_")
	}
	return m
}

// existing is the entity that a method names; one that may not be read is
// denied.
func (p *Portal) existing(k call.Kind, c invocation) (*entity, *Failure) {
	id := c.number("id")
	if id <= 0 {
		return nil, bad("ID is not defined or invalid.")
	}
	e, ok := p.entities[k][id]
	switch {
	case !ok:
		return nil, bad("Not found")
	case e.hidden:
		return nil, &Failure{Status: 403, Text: "Access denied."}
	}
	return e, nil
}

func get(k call.Kind) method {
	return func(p *Portal, c invocation) (answer, *Failure) {
		e, fail := p.existing(k, c)
		if fail != nil {
			return answer{}, fail
		}
		return answer{result: p.row(e, listing{selected: []string{"*", "UF_*", "PHONE"}})}, nil
	}
}

func add(k call.Kind) method {
	return func(p *Portal, c invocation) (answer, *Failure) {
		fields := c.fields("fields")
		if fields == nil {
			return answer{}, bad("Parameter 'fields' must be array.")
		}
		if fail := p.writable(c); fail != nil {
			return answer{}, fail
		}
		own := strconv.Itoa(c.user)
		e := &entity{kind: k, id: p.id(), fields: map[string]any{"ASSIGNED_BY_ID": own, "CREATED_BY_ID": own}}
		if k == call.KindLead {
			e.fields["STATUS_ID"] = "NEW"
		}
		p.merge(e, fields)
		p.store(e)
		return answer{result: e.id}, nil
	}
}

func update(k call.Kind) method {
	return func(p *Portal, c invocation) (answer, *Failure) {
		e, fail := p.existing(k, c)
		if fail == nil {
			fail = p.writable(c)
		}
		if fail != nil {
			return answer{}, fail
		}
		p.merge(e, c.fields("fields"))
		p.touch(e)
		e.fields["MODIFY_BY_ID"] = strconv.Itoa(c.user)
		return answer{result: true}, nil
	}
}

func remove(k call.Kind) method {
	return func(p *Portal, c invocation) (answer, *Failure) {
		e, fail := p.existing(k, c)
		if fail != nil {
			return answer{}, fail
		}
		delete(p.entities[k], e.id)
		p.changed(k, "DELETE", e.id)
		return answer{result: true}, nil
	}
}

// merge writes fields into an entity; authorship cannot be passed.
func (p *Portal) merge(e *entity, fields map[string]any) {
	for field, v := range fields {
		switch field {
		case "ID", "DATE_CREATE", "DATE_MODIFY", "CREATED_BY_ID", "MODIFY_BY_ID":
		case "PHONE":
			p.mergePhones(e, v)
		default:
			if !strings.HasPrefix(field, "UF_") {
				v = str(v)
			}
			e.fields[field] = v
		}
	}
	if e.kind == call.KindLead {
		e.fields["STATUS_SEMANTIC_ID"] = semantics(str(e.fields["STATUS_ID"]))
	}
}

func semantics(status string) string {
	switch status {
	case "CONVERTED":
		return "S"
	case "JUNK":
		return "F"
	}
	return "P"
}

// mergePhones appends numbers, and edits those that are given with their id.
func (p *Portal) mergePhones(e *entity, v any) {
	list, _ := elements(v)
	for _, item := range list {
		m, _ := item.(map[string]any)
		value, kind := str(m["VALUE"]), str(m["VALUE_TYPE"])
		if kind == "" {
			kind = "WORK"
		}
		if id := num(m["ID"]); id > 0 {
			e.editPhone(id, value)
		} else if value != "" {
			e.phones = append(e.phones, phone{id: p.id(), value: value, kind: kind})
		}
	}
}

func (e *entity) editPhone(id int, value string) {
	for i, ph := range e.phones {
		if ph.id != id {
			continue
		}
		if value == "" {
			e.phones = append(e.phones[:i], e.phones[i+1:]...)
		} else {
			e.phones[i].value = value
		}
		return
	}
}

// itemList is crm.item.list for leads, contacts and companies: names in camel
// case, ids as numbers, all phones only with select *.
func itemList(p *Portal, c invocation) (answer, *Failure) {
	kinds := map[int]call.Kind{1: call.KindLead, 3: call.KindContact, 4: call.KindCompany}
	k, ok := kinds[c.number("entityTypeId")]
	if !ok {
		return answer{}, &Failure{400, "NOT_FOUND", "SPA not found"}
	}
	l := c.listing()
	for i := range l.conditions {
		l.conditions[i].field = snake(l.conditions[i].field, c.fields("filter"))
	}
	original := yes(c.arg("useOriginalUfNames"))
	a := page(l, p.filtered(k, l), func(e *entity) any { return item(e, l, original) })
	a.result = map[string]any{"items": a.result}
	return a, nil
}

// snake is the old-style name of a field; names arrive in upper case, so the
// words are found in the filter as it was sent.
func snake(upper string, filter map[string]any) string {
	for key := range filter {
		_, field := splitKey(key)
		if strings.EqualFold(field, upper) && !strings.HasPrefix(field, "UF_") {
			return toSnake(field)
		}
	}
	return upper
}

func toSnake(camel string) string {
	var b strings.Builder
	for _, r := range camel {
		if unicode.IsUpper(r) {
			b.WriteByte('_')
		}
		b.WriteRune(unicode.ToUpper(r))
	}
	return b.String()
}

func toCamel(field string) string {
	words := strings.Split(strings.ToLower(field), "_")
	for i := 1; i < len(words); i++ {
		if words[i] != "" {
			words[i] = strings.ToUpper(words[i][:1]) + words[i][1:]
		}
	}
	return strings.Join(words, "")
}

func item(e *entity, l listing, original bool) map[string]any {
	all := len(l.selected) == 0
	for _, s := range l.selected {
		all = all || s == "*"
	}
	out := map[string]any{"id": e.id}
	for field, v := range e.fields {
		name := toCamel(field)
		if original && strings.HasPrefix(field, "UF_") {
			name = field
		}
		if !all && !containsFold(l.selected, name) {
			continue
		}
		if strings.HasSuffix(field, "ID") && !strings.HasPrefix(field, "STATUS") && !strings.HasPrefix(field, "UF_") {
			v = num(v)
		}
		out[name] = v
	}
	if all {
		var fm []any
		for _, ph := range e.phones {
			fm = append(fm, map[string]any{"id": ph.id, "typeId": "PHONE", "valueType": ph.kind, "value": ph.value})
		}
		out["fm"] = fm
	}
	if len(e.phones) > 0 && (all || containsFold(l.selected, "phone")) {
		out["phone"] = e.phones[0].value
	}
	return out
}

func containsFold(list []string, s string) bool {
	for _, v := range list {
		if strings.EqualFold(v, s) {
			return true
		}
	}
	return false
}
