package crmtest

import (
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"frontdesk/call"
)

// Call is a call registered by telephony.externalCall.register.
type Call struct {
	ID, ExternalID string
	User           int
	Number, Line   string
	Type           int // 1 out, 2 in, 3 in redirected
	Registered     time.Time
	Entity         call.Kind // the entity it was registered for
	EntityID       int
	Shown          []int // users whose card is open
	Ending
}

// Ending is what telephony.externalCall.finish and attachRecord leave behind.
type Ending struct {
	Finished   bool
	FinishedBy int
	Duration   int // seconds
	Status     string
	Activity   int
	Record     string // file name
	RecordID   int
	Audio      []byte
}

type calls struct {
	live     map[string]*Call // by call id
	finished map[string]*Call
	ids      []string // in the order of registration
}

func (c *calls) get(id string) *Call {
	if live, ok := c.live[id]; ok {
		return live
	}
	return c.finished[id]
}

// Calls are all calls, live and finished, in the order of registration.
func (p *Portal) Calls() []Call {
	p.mu.Lock()
	defer p.mu.Unlock()
	var out []Call
	for _, id := range p.calls.ids {
		c := *p.calls.get(id)
		c.Shown = slices.Clone(c.Shown)
		out = append(out, c)
	}
	return out
}

func telephonyMethods() map[string]method {
	return map[string]method{
		"telephony.externalcall.register":          register,
		"telephony.externalcall.show":              show,
		"telephony.externalcall.hide":              hide,
		"telephony.externalcall.finish":            finish,
		"telephony.externalcall.attachrecord":      attachRecord,
		"telephony.externalcall.searchcrmentities": searchEntities,
		"telephony.externalline.get":               func(*Portal, invocation) (answer, *Failure) { return answer{result: []any{}}, nil },
		"voximplant.statistic.get":                 statistics,
	}
}

func core(text string) *Failure { return &Failure{400, "ERROR_CORE", text} }

// caller is the active user that a method names by id or by inner number.
func (p *Portal) employee(c invocation) (int, *Failure) {
	id, inner := c.number("USER_ID"), c.text("USER_PHONE_INNER")
	if id == 0 && inner == "" {
		return 0, core("USER_ID or USER_PHONE_INNER should be set")
	}
	for _, u := range p.sortedUsers() {
		if !u.Dismissed && (u.ID == id || id == 0 && u.Extension == inner) {
			return u.ID, nil
		}
	}
	return 0, core("User is not found or is not active")
}

// callLife is how long the same call gives the same id again.
const callLife = 30 * time.Minute

func register(p *Portal, c invocation) (answer, *Failure) {
	user, fail := p.employee(c)
	if fail != nil {
		return answer{}, fail
	}
	kind := c.number("TYPE")
	if kind < 1 || kind > 5 {
		return answer{}, core("Unknown TYPE")
	}
	number := c.text("PHONE_NUMBER")
	if normalise(number) == "" || strings.ContainsFunc(number, func(r rune) bool { return r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' }) {
		return answer{}, core("Unsupported phone number format")
	}
	if at := c.text("CALL_START_DATE"); at != "" {
		if _, err := time.Parse(time.RFC3339, at); err != nil {
			return answer{}, core("CALL_START_DATE should be in the ISO-8601 format")
		}
	}
	fresh := Call{
		User: user, Number: number, Type: kind, Line: c.text("LINE_NUMBER"), ExternalID: c.text("EXTERNAL_CALL_ID"),
		Registered: p.now(), Entity: call.Kind(strings.ToLower(c.text("CRM_ENTITY_TYPE"))), EntityID: c.number("CRM_ENTITY_ID"),
	}
	if old := p.sameCall(fresh); old != nil {
		return answer{result: old.registered(nil)}, nil
	}
	created := p.linkEntity(&fresh, c)
	fresh.ID = "externalCall." + strings.ToLower(rand.Text()) + "." + strconv.FormatInt(p.now().Unix(), 10)
	if show := c.arg("SHOW"); show == nil || yes(show) {
		fresh.Shown = []int{user}
	}
	p.calls.live[fresh.ID] = &fresh
	p.calls.ids = append(p.calls.ids, fresh.ID)
	return answer{result: fresh.registered(created)}, nil
}

// sameCall is the oldest call of the last half hour that the portal takes for
// the same.
func (p *Portal) sameCall(c Call) *Call {
	for _, id := range p.calls.ids {
		old := p.calls.get(id)
		if old.User == c.User && normalise(old.Number) == normalise(c.Number) && old.Type == c.Type &&
			(c.Line == "" || old.Line == c.Line) && (c.ExternalID == "" || old.ExternalID == c.ExternalID) &&
			p.now().Sub(old.Registered) < callLife {
			return old
		}
	}
	return nil
}

// linkEntity finds the entity of a call, or creates a lead where asked to.
func (p *Portal) linkEntity(c *Call, in invocation) (created []any) {
	if c.EntityID != 0 {
		return nil
	}
	keys := map[string]bool{normalise(c.Number): true}
	for _, k := range call.Kinds() {
		if ids := p.carriers(k, keys); len(ids) > 0 {
			c.Entity, c.EntityID = k, num(ids[0])
			return nil
		}
	}
	if !yes(in.arg("CRM_CREATE")) || p.noLeads {
		return nil
	}
	e := &entity{kind: call.KindLead, id: p.id(), fields: map[string]any{
		"TITLE": c.Number, "STATUS_ID": "NEW", "STATUS_SEMANTIC_ID": "P", "ASSIGNED_BY_ID": strconv.Itoa(c.User),
		"SOURCE_ID": in.text("CRM_SOURCE"),
	}, phones: []phone{{id: p.id(), value: c.Number, kind: "WORK"}}}
	p.store(e)
	c.Entity, c.EntityID = call.KindLead, e.id
	return []any{map[string]any{"ENTITY_TYPE": "LEAD", "ENTITY_ID": e.id}}
}

func (c *Call) registered(created []any) map[string]any {
	out := map[string]any{
		"CALL_ID": c.ID, "CRM_CREATED_LEAD": nil, "CRM_CREATED_ENTITIES": append([]any{}, created...),
		"CRM_ENTITY_TYPE": nil, "CRM_ENTITY_ID": nil,
	}
	if c.EntityID != 0 {
		out["CRM_ENTITY_TYPE"], out["CRM_ENTITY_ID"] = strings.ToUpper(string(c.Entity)), c.EntityID
	}
	if len(created) > 0 {
		out["CRM_CREATED_LEAD"] = c.EntityID
	}
	return out
}

// listed are the users that show and hide name: one or several.
func (c invocation) listed(name string) []int {
	list, ok := elements(c.arg(name))
	if !ok {
		return []int{c.number(name)}
	}
	out := make([]int, len(list))
	for i, v := range list {
		out[i] = num(v)
	}
	return out
}

func show(p *Portal, c invocation) (answer, *Failure) {
	live, ok := p.calls.live[c.text("CALL_ID")]
	if !ok {
		return answer{result: false}, nil
	}
	for _, id := range c.listed("USER_ID") {
		if !slices.Contains(live.Shown, id) {
			live.Shown = append(live.Shown, id)
		}
	}
	return answer{result: true}, nil
}

func hide(p *Portal, c invocation) (answer, *Failure) {
	live, ok := p.calls.live[c.text("CALL_ID")]
	if !ok {
		return answer{result: false}, nil
	}
	gone := c.listed("USER_ID")
	live.Shown = slices.DeleteFunc(live.Shown, func(id int) bool { return slices.Contains(gone, id) })
	return answer{result: true}, nil
}

func finish(p *Portal, c invocation) (answer, *Failure) {
	id, ok := c.arg("CALL_ID").(string)
	if !ok {
		return answer{}, &Failure{400, "INVALID_ARGUMENT", "CALL_ID must be a string"}
	}
	live, ok := p.calls.live[id]
	if !ok {
		return answer{}, core("Call is not found (call should be registered prior to finishing)")
	}
	user, fail := p.employee(c)
	if fail != nil {
		return answer{}, fail
	}
	live.Finished, live.FinishedBy, live.Shown = true, user, nil
	live.Duration, live.Status = c.number("DURATION"), c.text("STATUS_CODE")
	if live.Status == "" {
		live.Status = map[bool]string{true: "200", false: "304"}[live.Duration > 0]
	}
	live.Activity = p.id()
	delete(p.calls.live, id)
	p.calls.finished[id] = live
	return answer{result: live.statistic()}, nil
}

// statistic is the row of a finished call. CALL_START_DATE is {} in JSON.
func (c *Call) statistic() map[string]any {
	status := 0
	if c.Duration > 0 {
		status = 1
	}
	return map[string]any{
		"CALL_ID": c.ID, "EXTERNAL_CALL_ID": c.ExternalID, "PORTAL_USER_ID": c.FinishedBy, "PHONE_NUMBER": c.Number,
		"PORTAL_NUMBER": c.Line, "INCOMING": strconv.Itoa(c.Type), "CALL_DURATION": c.Duration,
		"CALL_START_DATE": map[string]any{}, "CALL_STATUS": status, "CALL_FAILED_CODE": c.Status,
		"CRM_ACTIVITY_ID": c.Activity, "CRM_ENTITY_TYPE": strings.ToUpper(string(c.Entity)), "CRM_ENTITY_ID": c.EntityID,
		"RECORD_FILE_ID": c.RecordID, "COST": 0, "COST_CURRENCY": "", "COMMENT": nil,
	}
}

func statistics(p *Portal, c invocation) (answer, *Failure) {
	l := c.listing()
	all := slices.SortedFunc(maps.Values(p.calls.finished), func(a, b *Call) int { return a.Activity - b.Activity })
	rows := slices.DeleteFunc(all, func(call *Call) bool {
		row := call.statistic()
		return slices.ContainsFunc(l.conditions, func(c condition) bool { return str(row[c.field]) != str(c.want) })
	})
	return page(l, rows, func(c *Call) any { return c.statistic() }), nil
}

func attachRecord(p *Portal, c invocation) (answer, *Failure) {
	name, content := c.text("FILENAME"), c.text("FILE_CONTENT")
	done, ok := p.calls.finished[c.text("CALL_ID")]
	switch {
	case c.text("CALL_ID") == "":
		return answer{}, core("Required parameters are not set")
	case !ok:
		return answer{}, core("Call is not found in the statistic table")
	case name == "":
		return answer{}, core("File name is empty")
	case !strings.HasSuffix(name, ".mp3") && !strings.HasSuffix(name, ".wav"):
		return answer{}, core(fmt.Sprintf("Wrong file extension in %q", name))
	case content == "":
		return answer{}, core("File content is empty.")
	}
	audio, err := base64.StdEncoding.DecodeString(content)
	if err != nil {
		return answer{}, core("File content is not properly encoded")
	}
	done.Record, done.RecordID, done.Audio = name, p.id(), audio
	return answer{result: map[string]any{"FILE_ID": done.RecordID}}, nil
}

// searchEntities gives contacts, leads and companies with who is responsible.
func searchEntities(p *Portal, c invocation) (answer, *Failure) {
	number := c.text("PHONE_NUMBER")
	if number == "" {
		return answer{}, core("PHONE_NUMBER is empty")
	}
	out := []any{}
	for _, k := range []call.Kind{call.KindContact, call.KindLead, call.KindCompany} {
		for _, id := range p.carriers(k, map[string]bool{normalise(number): true}) {
			e := p.entities[k][num(id)]
			u := p.users[num(e.fields["ASSIGNED_BY_ID"])]
			name := strings.TrimSpace(str(e.fields["NAME"]) + " " + str(e.fields["LAST_NAME"]))
			if name == "" {
				name = str(e.fields["TITLE"])
			}
			out = append(out, map[string]any{
				"CRM_ENTITY_TYPE": strings.ToUpper(string(k)), "CRM_ENTITY_ID": id, "ASSIGNED_BY_ID": u.ID, "NAME": name,
				"ASSIGNED_BY": map[string]any{
					"ID": strconv.Itoa(u.ID), "TIMEMAN_STATUS": "OPENED", "USER_PHONE_INNER": u.Extension,
					"WORK_PHONE": nil, "PERSONAL_PHONE": nil, "PERSONAL_MOBILE": u.Mobile,
				},
			})
		}
	}
	return answer{result: out}, nil
}
