package crmtest

import (
	"maps"
	"slices"
	"strconv"
	"strings"
)

// User is a user of the portal. Fields are user fields such as UF_USR_FD_STICKY.
type User struct {
	ID                  int // 0: the next free one
	FirstName, LastName string
	Extension           string // UF_PHONE_INNER
	Email, Mobile       string
	Departments         []int
	Dismissed           bool
	Fields              map[string]any
}

// Department is a department with its head, a user.
type Department struct {
	ID     int // 0: the next free one
	Name   string
	Parent int
	Head   int
}

// UserField describes a user field of an object.
type UserField struct {
	ID         int
	Name, Type string // UF_CRM_FD_MANAGER, employee
}

// AddUser stores a user, or replaces the one with its id, and returns the id.
func (p *Portal) AddUser(u User) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if u.ID == 0 {
		u.ID = p.id()
	}
	u.Fields = maps.Clone(u.Fields)
	if _, known := p.users[u.ID]; !known {
		p.emit("ONUSERADD", u.ID)
	}
	p.users[u.ID] = u
	return u.ID
}

// RemoveUser deletes a user, as if it had never been.
func (p *Portal) RemoveUser(id int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.users, id)
}

// AddDepartment stores a department and returns its id.
func (p *Portal) AddDepartment(d Department) int {
	p.mu.Lock()
	defer p.mu.Unlock()
	if d.ID == 0 {
		d.ID = p.id()
	}
	p.departments[d.ID] = d
	return d.ID
}

// AddUserField creates a user field of CRM_CONTACT, CRM_COMPANY, CRM_LEAD or
// USER.
func (p *Portal) AddUserField(object string, f UserField) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.defineField(object, f)
}

func (p *Portal) defineField(object string, f UserField) int {
	if f.ID == 0 {
		f.ID = p.id()
	}
	if p.userFields[object] == nil {
		p.userFields[object] = map[string]UserField{}
	}
	p.userFields[object][f.Name] = f
	return f.ID
}

func userMethods() map[string]method {
	return map[string]method{
		"user.get":            userGet,
		"user.current":        userCurrent,
		"user.update":         userUpdate,
		"user.userfield.list": userFieldList("USER"),
		"user.userfield.add":  userFieldAdd("USER", "UF_USR_"),
		"department.get":      departmentGet,
	}
}

// row is a user as user.get shows it: empty fields are missing.
func (u User) row() map[string]any {
	out := map[string]any{"ID": strconv.Itoa(u.ID), "ACTIVE": !u.Dismissed, "USER_TYPE": "employee"}
	for field, v := range map[string]string{
		"NAME": u.FirstName, "LAST_NAME": u.LastName, "UF_PHONE_INNER": u.Extension,
		"EMAIL": u.Email, "PERSONAL_MOBILE": u.Mobile,
	} {
		if v != "" {
			out[field] = v
		}
	}
	departments := []any{}
	for _, d := range u.Departments {
		departments = append(departments, d)
	}
	out["UF_DEPARTMENT"] = departments
	maps.Copy(out, u.Fields)
	return out
}

func (u User) selected(l listing) map[string]any {
	out := u.row()
	if len(l.selected) == 0 {
		return out
	}
	maps.DeleteFunc(out, func(field string, _ any) bool {
		return field != "ID" && !l.wants(field) && !slices.Contains(l.selected, "*")
	})
	return out
}

func userGet(p *Portal, c invocation) (answer, *Failure) {
	l := c.listing()
	if s := c.text("sort"); s != "" {
		l.sort = strings.ToUpper(s)
	}
	l.descending = strings.EqualFold(c.text("order"), "DESC")
	rows := slices.DeleteFunc(p.sortedUsers(), func(u User) bool {
		row := u.row()
		return slices.ContainsFunc(l.conditions, func(cond condition) bool {
			values, ok := elements(row[cond.field])
			if !ok {
				values = []any{row[cond.field]}
			}
			return !cond.holds(values)
		})
	})
	if l.descending {
		slices.Reverse(rows)
	}
	return page(l, rows, func(u User) any { return u.selected(l) }), nil
}

func (p *Portal) sortedUsers() []User {
	return slices.SortedFunc(maps.Values(p.users), func(a, b User) int { return a.ID - b.ID })
}

func userCurrent(p *Portal, c invocation) (answer, *Failure) {
	u, ok := p.users[c.user]
	if !ok {
		return answer{}, &Failure{401, "NO_AUTH_FOUND", "Wrong authorization data"}
	}
	return answer{result: u.row()}, nil
}

func userUpdate(p *Portal, c invocation) (answer, *Failure) {
	u, ok := p.users[c.number("ID")]
	if !ok {
		return answer{}, &Failure{400, "ERROR_CORE", "User not found"}
	}
	fields := maps.Clone(u.Fields)
	if fields == nil {
		fields = map[string]any{}
	}
	for field, v := range c.params {
		switch {
		case field == "UF_PHONE_INNER":
			u.Extension = str(v)
		case field == "NAME":
			u.FirstName = str(v)
		case field == "LAST_NAME":
			u.LastName = str(v)
		case field == "ACTIVE":
			u.Dismissed = !yes(v)
		case strings.HasPrefix(field, "UF_USR_"):
			fields[field] = v
		}
	}
	u.Fields = fields
	p.users[u.ID] = u
	return answer{result: true}, nil
}

func departmentGet(p *Portal, c invocation) (answer, *Failure) {
	l := listing{conditions: conditions(c.params), start: c.number("START")}
	l.conditions = slices.DeleteFunc(l.conditions, func(c condition) bool {
		return !slices.Contains([]string{"ID", "NAME", "PARENT", "UF_HEAD"}, c.field)
	})
	all := slices.SortedFunc(maps.Values(p.departments), func(a, b Department) int { return a.ID - b.ID })
	rows := slices.DeleteFunc(all, func(d Department) bool {
		row := d.row()
		return slices.ContainsFunc(l.conditions, func(c condition) bool { return !c.holds([]any{row[c.field]}) })
	})
	return page(l, rows, func(d Department) any { return d.row() }), nil
}

// row shows a department; parent and head are missing when unset.
func (d Department) row() map[string]any {
	out := map[string]any{"ID": strconv.Itoa(d.ID), "NAME": d.Name, "SORT": 500}
	if d.Parent != 0 {
		out["PARENT"] = strconv.Itoa(d.Parent)
	}
	if d.Head != 0 {
		out["UF_HEAD"] = strconv.Itoa(d.Head)
	}
	return out
}

func userFieldList(object string) method {
	return func(p *Portal, c invocation) (answer, *Failure) {
		l := c.listing()
		defined := slices.SortedFunc(maps.Values(p.userFields[object]), func(a, b UserField) int { return a.ID - b.ID })
		show := func(f UserField) map[string]any {
			return map[string]any{
				"ID": strconv.Itoa(f.ID), "ENTITY_ID": object, "FIELD_NAME": f.Name, "USER_TYPE_ID": f.Type,
				"MULTIPLE": "N", "MANDATORY": "N",
			}
		}
		rows := slices.DeleteFunc(defined, func(f UserField) bool {
			row := show(f)
			return slices.ContainsFunc(l.conditions, func(c condition) bool { return !c.holds([]any{row[c.field]}) })
		})
		return page(l, rows, func(f UserField) any { return show(f) }), nil
	}
}

func userFieldAdd(object, prefix string) method {
	return func(p *Portal, c invocation) (answer, *Failure) {
		fields := c.fields("fields")
		name, kind := strings.ToUpper(str(fields["FIELD_NAME"])), str(fields["USER_TYPE_ID"])
		if name == "" || kind == "" {
			return answer{}, &Failure{400, "ERROR_ARGUMENT", "FIELD_NAME and USER_TYPE_ID are required"}
		}
		if !strings.HasPrefix(name, prefix) {
			name = prefix + name
		}
		if _, exists := p.userFields[object][name]; exists {
			return answer{}, &Failure{400, "ERROR_CORE", "Field " + name + " already exists for " + object}
		}
		return answer{result: p.defineField(object, UserField{Name: name, Type: kind})}, nil
	}
}
