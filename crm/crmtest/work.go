package crmtest

import (
	"encoding/base64"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"frontdesk/call"
)

// Activity is an entry of a timeline: that of a call that was finished, or one
// that crm.activity.add made.
type Activity struct {
	ID          int
	Owner       call.Kind
	OwnerID     int
	Author      int
	Responsible int
	Direction   int // 1 in, 2 out
	Completed   bool
	Missed      bool   // counts as a missed call
	CallID      string // of telephony; "": made by crm.activity.add
	Said
}

// Said is what an activity says.
type Said struct {
	Subject, Text      string
	Number             string
	Started, Ended     string // as written
	Originator, Origin string
	Files              []Attachment
}

// Attachment is a file of an activity.
type Attachment struct {
	Name string
	Data []byte
}

// Task is a task.
type Task struct {
	ID                  int
	Author, Responsible int
	Title, Text         string
	Deadline            string   // as written
	Bound               []string // L_12, C_7
	XML                 string
	Created             time.Time
}

// work is what employees do, or have done for them.
type work struct {
	activities map[int]*Activity
	tasks      []Task
	readers    map[int]bool // users who may change nothing in the CRM
}

// SetReadOnly says whether a user may change nothing in the CRM.
func (p *Portal) SetReadOnly(user int, is bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.work.readers[user] = is
}

// Activities are all activities, by id.
func (p *Portal) Activities() []Activity {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []Activity
	for _, a := range p.sortedActivities() {
		out = append(out, *a)
	}
	return out
}

func (p *Portal) sortedActivities() []*Activity {
	return slices.SortedFunc(maps.Values(p.work.activities), func(a, b *Activity) int { return a.ID - b.ID })
}

// Tasks are all tasks, in order.
func (p *Portal) Tasks() []Task {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.work.tasks)
}

// logCall makes the activity of a finished call. Without an entity there is
// none; nor between employees.
func (p *Portal) logCall(c *Call) {
	if _, ok := p.entities[c.Entity][c.EntityID]; !ok {
		return
	}
	a := &Activity{
		ID: p.id(), Owner: c.Entity, OwnerID: c.EntityID, Author: c.FinishedBy, Responsible: c.FinishedBy, Direction: 1,
		CallID: c.ID, Missed: c.Status == "304" && (c.Type == 2 || c.Type == 3),
		Said: Said{
			Subject: "Call " + c.Number, Number: c.Number, Started: c.Started.Format(time.RFC3339),
			Ended: c.Started.Add(time.Duration(c.Duration) * time.Second).Format(time.RFC3339), Originator: "voximplant", Origin: "VI_" + c.ID,
		},
	}
	if c.Type == 1 {
		a.Direction = 2
	}
	a.Completed = !a.Missed
	c.Activity = a.ID
	p.work.activities[a.ID] = a
}

func workMethods() map[string]method {
	return map[string]method{
		"crm.activity.add":    activityAdd,
		"crm.activity.get":    activityGet,
		"crm.activity.list":   activityList,
		"crm.activity.update": activityUpdate,
		"tasks.task.add":      taskAdd,
		"tasks.task.list":     taskList,
	}
}

// writable refuses users who may change nothing.
func (p *Portal) writable(c invocation) *Failure {
	if p.work.readers[c.user] {
		return &Failure{Status: 403, Text: "Access denied."}
	}
	return nil
}

// ownerKinds are the kinds by the portal's numbers.
var ownerKinds = map[int]call.Kind{1: call.KindLead, 3: call.KindContact, 4: call.KindCompany}

func activityAdd(p *Portal, c invocation) (answer, *Failure) {
	f := c.fields("fields")
	for _, name := range []string{"SUBJECT", "RESPONSIBLE_ID", "TYPE_ID"} {
		if str(f[name]) == "" {
			return answer{}, bad("The field %s is not defined or invalid.", name)
		}
	}
	ways, _ := elements(f["COMMUNICATIONS"])
	switch {
	case len(ways) == 0:
		return answer{}, bad("The field COMMUNICATIONS is not defined or invalid.")
	case len(ways) > 1 && num(f["TYPE_ID"]) == 2:
		return answer{}, bad("The only one communication is allowed for activity of specified type")
	}
	kind := ownerKinds[num(f["OWNER_TYPE_ID"])]
	if _, ok := p.entities[kind][num(f["OWNER_ID"])]; !ok {
		return answer{}, bad("Could not build binding. Please ensure that owner info and communications are defined correctly.")
	}
	if fail := p.writable(c); fail != nil {
		return answer{}, fail
	}
	way, _ := ways[0].(map[string]any)
	a := &Activity{
		ID: p.id(), Owner: kind, OwnerID: num(f["OWNER_ID"]), Author: c.user, Said: Said{Number: str(way["VALUE"])},
	}
	if fail := a.merge(f); fail != nil {
		return answer{}, fail
	}
	p.work.activities[a.ID] = a
	return answer{result: a.ID}, nil
}

// merge writes fields into an activity; files that are sent replace those that
// are there.
func (a *Activity) merge(f map[string]any) *Failure {
	for name, to := range map[string]*string{
		"SUBJECT": &a.Subject, "DESCRIPTION": &a.Text, "START_TIME": &a.Started, "END_TIME": &a.Ended,
		"ORIGINATOR_ID": &a.Originator, "ORIGIN_ID": &a.Origin,
	} {
		if v, sent := f[name]; sent {
			*to = str(v)
		}
	}
	for name, to := range map[string]*int{"RESPONSIBLE_ID": &a.Responsible, "DIRECTION": &a.Direction} {
		if v, sent := f[name]; sent {
			*to = num(v)
		}
	}
	if v, sent := f["COMPLETED"]; sent {
		a.Completed = yes(v)
	}
	files, sent := elements(f["FILES"])
	if !sent {
		return nil
	}
	a.Files = nil
	for _, file := range files {
		m, _ := file.(map[string]any)
		pair, _ := elements(m["fileData"])
		if len(pair) != 2 {
			return bad("Could not save files.")
		}
		data, err := base64.StdEncoding.DecodeString(str(pair[1]))
		if err != nil {
			return bad("Could not save files.")
		}
		a.Files = append(a.Files, Attachment{str(pair[0]), data})
	}
	return nil
}

func (a *Activity) row() map[string]any {
	kind := map[call.Kind]int{call.KindLead: 1, call.KindContact: 3, call.KindCompany: 4}[a.Owner]
	files := []any{}
	for i := range a.Files {
		files = append(files, map[string]any{"id": a.ID*100 + i, "url": "https://portal.invalid/file"})
	}
	return map[string]any{
		"ID": strconv.Itoa(a.ID), "OWNER_TYPE_ID": strconv.Itoa(kind), "OWNER_ID": strconv.Itoa(a.OwnerID), "TYPE_ID": "2",
		"SUBJECT": a.Subject, "DESCRIPTION": a.Text, "START_TIME": a.Started, "END_TIME": a.Ended, "ORIGINATOR_ID": a.Originator,
		"ORIGIN_ID": a.Origin, "AUTHOR_ID": strconv.Itoa(a.Author), "RESPONSIBLE_ID": strconv.Itoa(a.Responsible),
		"DIRECTION": strconv.Itoa(a.Direction), "COMPLETED": map[bool]string{true: "Y", false: "N"}[a.Completed], "FILES": files,
	}
}

func activityList(p *Portal, c invocation) (answer, *Failure) {
	l := c.listing()
	rows := slices.DeleteFunc(p.sortedActivities(), func(a *Activity) bool {
		row := a.row()
		return slices.ContainsFunc(l.conditions, func(c condition) bool { return !c.holds([]any{row[c.field]}) })
	})
	return page(l, rows, func(a *Activity) any {
		row := a.row()
		maps.DeleteFunc(row, func(field string, _ any) bool { return field != "ID" && !l.wants(field) })
		return row
	}), nil
}

func (p *Portal) activity(c invocation) (*Activity, *Failure) {
	a, ok := p.work.activities[c.number("id")]
	if !ok {
		return nil, bad("Activity is not found.")
	}
	return a, nil
}

func activityGet(p *Portal, c invocation) (answer, *Failure) {
	a, fail := p.activity(c)
	if fail != nil {
		return answer{}, fail
	}
	return answer{result: a.row()}, nil
}

func activityUpdate(p *Portal, c invocation) (answer, *Failure) {
	a, fail := p.activity(c)
	if fail == nil {
		fail = p.writable(c)
	}
	if fail == nil {
		fail = a.merge(c.fields("fields"))
	}
	if fail != nil {
		return answer{}, fail
	}
	return answer{result: true}, nil
}

func taskAdd(p *Portal, c invocation) (answer, *Failure) {
	f := c.fields("fields")
	responsible, known := p.users[num(f["RESPONSIBLE_ID"])]
	switch {
	case len(f) == 0:
		return answer{}, &Failure{400, "100", "Could not find value for parameter {fields}"}
	case str(f["TITLE"]) == "":
		return answer{}, core("Task title not specified<br>")
	case num(f["RESPONSIBLE_ID"]) == 0:
		return answer{}, core("Assignee not specified<br>")
	case !known || responsible.Dismissed:
		return answer{}, core(`User specified in the "Assignee" field not found<br>`)
	}
	t := Task{
		ID: p.id(), Author: c.user, Responsible: responsible.ID, Title: str(f["TITLE"]), Text: str(f["DESCRIPTION"]),
		Deadline: str(f["DEADLINE"]), XML: str(f["XML_ID"]), Created: p.now(),
	}
	bound, _ := elements(f["UF_CRM_TASK"])
	for _, b := range bound {
		t.Bound = append(t.Bound, str(b))
	}
	p.work.tasks = append(p.work.tasks, t)
	return answer{result: map[string]any{"task": t.row()}}, nil
}

// row shows a task: names in camel case, ids as strings.
func (t Task) row() map[string]any {
	var xml any
	if t.XML != "" {
		xml = t.XML
	}
	return map[string]any{
		"id": strconv.Itoa(t.ID), "title": t.Title, "description": t.Text, "responsibleId": strconv.Itoa(t.Responsible),
		"createdBy": strconv.Itoa(t.Author), "deadline": t.Deadline, "xmlId": xml, "status": "2",
		"createdDate": t.Created.Format(time.RFC3339), "auditors": []any{}, "group": []any{},
	}
}

// taskList filters by what the documentation lists; XML_ID is none of that and
// dropped. Sorting is by id, the newest first.
func taskList(p *Portal, c invocation) (answer, *Failure) {
	rows := slices.Clone(p.work.tasks)
	for key, want := range c.fields("filter") {
		op, field := splitKey(key)
		rows = slices.DeleteFunc(rows, func(t Task) bool {
			switch strings.ToUpper(field) {
			case "UF_CRM_TASK":
				return !slices.Contains(t.Bound, str(want))
			case "RESPONSIBLE_ID":
				return t.Responsible != num(want)
			case "CREATED_DATE":
				return op != "" && !ordered(op, order(t.Created.Format(time.RFC3339), want, false))
			}
			return false
		})
	}
	slices.Reverse(rows)
	a := page(c.listing(), rows, func(t Task) any { return t.row() })
	a.result = map[string]any{"tasks": a.result}
	return a, nil
}

// LeadState is a lead as it stands, and whose it was.
type LeadState struct {
	ID          int
	Title       string
	Phones      []string
	Responsible int
	Owners      []int // all who were responsible, in order
	Author      int
	Status      string
	Source      string
	Origin      string
}

// Leads are all leads, by id.
func (p *Portal) Leads() []LeadState {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []LeadState
	for _, e := range p.sorted(call.KindLead) {
		l := LeadState{
			ID: e.id, Title: str(e.fields["TITLE"]), Responsible: num(e.fields["ASSIGNED_BY_ID"]), Owners: slices.Clone(e.owners),
			Author: num(e.fields["CREATED_BY_ID"]), Status: str(e.fields["STATUS_ID"]), Source: str(e.fields["SOURCE_ID"]),
			Origin: str(e.fields["ORIGIN_ID"]),
		}
		for _, ph := range e.phones {
			l.Phones = append(l.Phones, ph.value)
		}
		out = append(out, l)
	}
	return out
}

// assign gives an entity to a user.
func (p *Portal) assign(e *entity, user int) { e.fields["ASSIGNED_BY_ID"] = strconv.Itoa(user) }

// note remembers whose an entity is.
func (e *entity) note() {
	owner := num(e.fields["ASSIGNED_BY_ID"])
	if n := len(e.owners); n == 0 || e.owners[n-1] != owner {
		e.owners = append(e.owners, owner)
	}
}
