package pbxtest

import (
	"maps"
	"net/http"
	"slices"
	"unicode/utf8"
)

// maxField is the length that a field of a contact may have, in characters.
const maxField = 255

// addContact adds a contact. mu is held.
func (s *State) addContact(fields Row) int {
	r := maps.Clone(fields)
	r["Id"] = s.id()
	if r["ContactType"] == nil {
		r["ContactType"] = s.contactTypes()[0]
	}
	s.tables["Contacts"].put(r)
	return r.id()
}

// contactTypes are the values of ContactType in a build, its own first.
func (s *State) contactTypes() []string {
	if s.cfg.Build < Build9 {
		return []string{"Company", "Personal"}
	}
	return []string{"3CX", "CRM", "Google", "M365"}
}

// judgeContact refuses what a PBX does not keep.
func (s *State) judgeContact(r Row) *failure {
	fields := s.tables["Contacts"].fields
	filled := func(names ...string) bool {
		return slices.ContainsFunc(names, func(n string) bool { return r.text(n) != "" })
	}
	for name, v := range r {
		text, isText := v.(string)
		switch {
		case !slices.Contains(fields, name):
			return invalid("The property '%s' does not exist on type 'Pbx.Contact'. Make sure to only use property names that are defined by the type.", name)
		case name == "Id" || v == nil:
		case !isText, name == "ContactType" && !slices.Contains(s.contactTypes(), text):
			return invalid("Cannot convert a value of property '%s'", name)
		case utf8.RuneCountInString(text) > maxField:
			return warning(name, "STRING_TOO_LONG")
		}
	}
	switch {
	case !filled("FirstName", "LastName", "CompanyName"):
		return warning("FirstName", "CONTACTS_SPECIFY_NAME_SURNAME_COMPANY")
	case !filled("PhoneNumber", "Mobile2", "Home", "Business", "Business2", "Other", "BusinessFax", "Pager"):
		return warning("PhoneNumber", "CONTACTS_SPECIFY_PHONE_NUMBER")
	}
	return nil
}

func postContact(a *API, q *request) (any, *failure) {
	fields, fail := q.fields()
	if fail != nil {
		return nil, fail
	}
	s := a.state
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tables["Contacts"]
	delete(fields, "Id")
	if fail := s.judgeContact(fields); fail != nil {
		return nil, fail
	}
	if s.cfg.MaxContacts > 0 && len(t.rows) >= s.cfg.MaxContacts {
		return nil, warning("", "LIMIT_REACHED")
	}
	return created{t.show(t.get(s.addContact(fields)), nil, nil)}, nil
}

func patchContact(a *API, q *request) (any, *failure) {
	fields, fail := q.fields()
	if fail != nil {
		return nil, fail
	}
	a.state.mu.Lock()
	defer a.state.mu.Unlock()
	t := a.state.tables["Contacts"]
	r := t.keyed(q.last().args)
	if r == nil {
		return nil, noSuch("Id")
	}
	delete(fields, "Id")
	merged := maps.Clone(r)
	maps.Copy(merged, fields)
	if fail := a.state.judgeContact(merged); fail != nil {
		return nil, fail
	}
	t.change(r.id(), fields)
	return nil, nil
}

func deleteContact(a *API, q *request) (any, *failure) {
	a.state.mu.Lock()
	defer a.state.mu.Unlock()
	t := a.state.tables["Contacts"]
	if !t.remove(t.keyed(q.last().args).id()) {
		return nil, noSuch("Id")
	}
	return nil, nil
}

// deleteContacts is the bulk delete of either name. Ids that are gone already
// do not matter.
func deleteContacts(a *API, q *request) (any, *failure) {
	fields, fail := q.fields()
	if fail != nil {
		return nil, fail
	}
	ids, ok := fields["ids"].([]any)
	if !ok {
		return nil, &failure{status: http.StatusBadRequest, target: "ids", text: "WARNINGS.XAPI.REQUIRED"}
	}
	a.state.mu.Lock()
	defer a.state.mu.Unlock()
	for _, v := range ids {
		id, ok := v.(float64)
		if !ok {
			return nil, invalid("Cannot convert a value of property 'ids'")
		}
		a.state.tables["Contacts"].remove(int(id))
	}
	return nil, nil
}
