package crmtest

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// rights are what users may do through REST, and the cards' layouts.
type rights struct {
	scopes  map[int][]string // of the webhooks of a user; absent: all
	plain   map[int]bool     // users who are no administrators
	layouts map[string]any   // common layouts of cards, by card
}

// allScopes are those of a webhook that was not restricted.
func allScopes() []string {
	return []string{"crm", "telephony", "user", "user.userfield", "department", "disk", "im", "task"}
}

// SetScopes restricts the webhooks of a user.
func (p *Portal) SetScopes(user int, scopes ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.rights.scopes == nil {
		p.rights.scopes = map[int][]string{}
	}
	p.rights.scopes[user] = scopes
}

// SetAdmin says whether a user is an administrator; everybody is at first.
func (p *Portal) SetAdmin(user int, is bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.rights.plain == nil {
		p.rights.plain = map[int]bool{}
	}
	p.rights.plain[user] = !is
}

// SetLayout sets the layout of a card that is common to all employees, as JSON
// decodes it: "contact", "company", "lead", "repeat lead". nil: there is none.
func (p *Portal) SetLayout(card string, layout any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.layOut(card, layout)
}

func (p *Portal) layOut(card string, layout any) {
	if p.rights.layouts == nil {
		p.rights.layouts = map[string]any{}
	}
	p.rights.layouts[card] = layout
}

// Layout is the common layout of a card; nil for none.
func (p *Portal) Layout(card string) any {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.rights.layouts[card]
}

// UserFields are the user fields of an object (CRM_CONTACT, USER) by code.
func (p *Portal) UserFields(object string) map[string]UserField {
	p.mu.Lock()
	defer p.mu.Unlock()
	return maps.Clone(p.userFields[object])
}

func setupMethods() map[string]method {
	m := map[string]method{
		"profile":                            profile,
		"user.userfield.add":                 administrators(userFieldAdd("USER", "UF_USR_")),
		"user.userfield.list":                administrators(userFieldList("USER")),
		"crm.item.details.configuration.get": layoutGet,
		"crm.item.details.configuration.set": layoutSet,
	}
	for _, object := range []string{"contact", "company", "lead"} {
		m["crm."+object+".userfield.add"] = administrators(checkedField(userFieldAdd("CRM_"+strings.ToUpper(object), "UF_CRM_")))
	}
	return m
}

// scoped refuses methods outside of the webhook's permissions.
func (p *Portal) scoped(name string, c invocation) *Failure {
	scopes, restricted := p.rights.scopes[c.user]
	if !restricted {
		return nil
	}
	name = strings.ToLower(name)
	want, _, _ := strings.Cut(name, ".")
	switch {
	case strings.HasPrefix(name, "user.userfield"):
		want = "user.userfield"
	case want == "tasks":
		want = "task"
	case want == "voximplant":
		want = "telephony"
	}
	if !slices.Contains(allScopes(), want) || slices.Contains(scopes, want) {
		return nil
	}
	return &Failure{403, "insufficient_scope", "The request requires higher privileges than provided by the access token"}
}

func scopes(p *Portal, c invocation) (answer, *Failure) {
	given, restricted := p.rights.scopes[c.user]
	if !restricted {
		given = allScopes()
	}
	out := []any{}
	for _, s := range given {
		out = append(out, s)
	}
	return answer{result: out}, nil
}

// profile is the caller: it needs no permission.
func profile(p *Portal, c invocation) (answer, *Failure) {
	u := p.users[c.user]
	return answer{result: map[string]any{
		"ID": strconv.Itoa(c.user), "ADMIN": !p.rights.plain[c.user], "NAME": u.FirstName, "LAST_NAME": u.LastName,
	}}, nil
}

func administrators(m method) method {
	return func(p *Portal, c invocation) (answer, *Failure) {
		if p.rights.plain[c.user] {
			return answer{}, &Failure{Status: 403, Text: "Access denied."}
		}
		return m(p, c)
	}
}

var fieldName = regexp.MustCompile(`^[A-Z0-9_]+$`)

// checkedField refuses names and types that a portal does not make fields of.
func checkedField(m method) method {
	types := []string{"string", "integer", "double", "boolean", "date", "datetime", "enumeration", "employee", "money", "url", "crm"}
	return func(p *Portal, c invocation) (answer, *Failure) {
		fields := c.fields("fields")
		name, kind := str(fields["FIELD_NAME"]), str(fields["USER_TYPE_ID"])
		switch {
		case name == "":
			return answer{}, bad("The 'FIELD_NAME' field is not found.")
		case !fieldName.MatchString(name) || len(name) > 50:
			return answer{}, bad("The 'FIELD_NAME' field is not valid.")
		case !slices.Contains(types, kind):
			return answer{}, bad("The 'USER_TYPE_ID' field is not valid.")
		}
		return m(p, c)
	}
}

// layoutKey is the card that a method names.
func layoutKey(c invocation) (string, *Failure) {
	switch n := c.number("entityTypeId"); n {
	case 0:
		return "", bad("Parameter 'entityTypeId' is not defined")
	case 1:
		if num(c.fields("extras")["leadCustomerType"]) == 2 {
			return "repeat lead", nil
		}
		return "lead", nil
	case 3:
		return "contact", nil
	case 4:
		return "company", nil
	default:
		return "", bad("The entity type '%d' is not supported in current context.", n)
	}
}

func layoutGet(p *Portal, c invocation) (answer, *Failure) {
	key, fail := layoutKey(c)
	if fail != nil || c.text("scope") != "C" {
		return answer{}, fail // of a personal layout there is none
	}
	return answer{result: p.rights.layouts[key]}, nil
}

func layoutSet(p *Portal, c invocation) (answer, *Failure) {
	key, fail := layoutKey(c)
	if fail != nil {
		return answer{}, fail
	}
	if c.text("scope") == "C" && p.rights.plain[c.user] {
		return answer{}, bad("Access denied.")
	}
	sections, ok := elements(c.arg("data"))
	switch {
	case !ok:
		return answer{}, bad("Parameter 'data' must be an array.")
	case len(sections) == 0:
		return answer{}, bad("There are no data to write.")
	}
	for i, raw := range sections {
		if why := badSection(i, raw); why != "" {
			return answer{}, bad("%s", why)
		}
	}
	if c.text("scope") == "C" {
		p.layOut(key, c.arg("data"))
	}
	return answer{result: true}, nil
}

func badSection(i int, raw any) string {
	s, _ := raw.(map[string]any)
	switch {
	case str(s["type"]) != "section":
		return fmt.Sprintf("Section at index %d has type %s. The expected type is 'section'.", i, str(s["type"]))
	case str(s["name"]) == "":
		return fmt.Sprintf("Section at index %d does not have a name.", i)
	case str(s["title"]) == "":
		return fmt.Sprintf("Section at index %d does not have a title.", i)
	}
	list, _ := elements(s["elements"])
	for j, e := range list {
		if m, _ := e.(map[string]any); str(m["name"]) == "" {
			return fmt.Sprintf("Element at index %d in section at index %d does not have a name.", j, i)
		}
	}
	return ""
}
