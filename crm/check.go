package crm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"

	"frontdesk/call"
)

// Needs say what the product will do with the portal besides looking callers
// up.
type Needs struct {
	CallLog    bool // calls are registered and finished
	Recordings bool // recordings are uploaded, and deleted after a while
	Tasks      bool // tasks on missed calls
	Heads      bool // missed calls go to the heads of departments
	Leads      bool // leads are made for unknown callers
	Events     bool // events are polled by the application, if there is one
}

// Check is one thing that was tried with one credential.
type Check struct {
	Credential string `json:"credential"` // webhook, app, employee 17
	Method     string `json:"method"`
	For        string `json:"for"` // what it is needed for
	OK         bool   `json:"ok"`
	Problem    string `json:"problem,omitempty"`
	Advice     string `json:"advice,omitempty"`
}

// nobody is a number that no entity carries, in a range that is not given out.
const nobody = call.Number("+79990000000")

// Check tries every credential with the methods that the product will use, as
// far as that changes nothing: of what would write it leaves out what is to be
// written, and takes the complaint about that for a yes. No answer holds a
// secret.
func (c *Client) Check(ctx context.Context, n Needs) []Check {
	k := checking{client: c, as: c.voices.portal, name: "webhook"}
	if c.voices.portal.app != nil {
		k.name = "app"
	}
	in := k.alive(ctx, k.name, k.as)
	if in {
		k.portal(ctx, n)
	}
	if app := c.voices.app; app != nil && (app == k.as && in || app != k.as && k.alive(ctx, "app", app)) {
		k.app(ctx, app, n)
	}
	for _, id := range slices.Sorted(maps.Keys(c.voices.employees)) {
		k.employee(ctx, id, c.voices.employees[id])
	}
	return k.checks
}

// checking is one Check in the making.
type checking struct {
	client *Client
	as     *credential // the portal's
	name   string      // of it
	checks []Check
	admin  bool // the owner of the credential that was last let in is an administrator
}

// note keeps one result. An advice is found where none is given.
func (k *checking) note(credential, method, purpose string, err error, advice string) bool {
	check := Check{Credential: credential, Method: method, For: purpose, OK: err == nil}
	if err != nil {
		check.Problem, check.Advice = err.Error(), advice
		switch {
		case advice != "":
		case credential == "app" && hasCode(err, CodeNoAuth):
			check.Advice = "the application is gone, or whoever installed it has been dismissed: install the application again"
		default:
			check.Advice = Advice(err, method)
		}
	}
	k.checks = append(k.checks, check)
	return check.OK
}

// try sends a method with the portal's credential. One that refuses webhooks is
// sent by the application, where there is one.
func (k *checking) try(ctx context.Context, method, purpose string, params any) bool {
	return k.noteTried(method, purpose, k.client.call(ctx, k.as, LaneLog, method, params, new(json.RawMessage)))
}

// tryEmpty sends a method without the parameters that it must have, so that it
// can do nothing but complain of that.
func (k *checking) tryEmpty(ctx context.Context, method, purpose string) bool {
	err := k.client.call(ctx, k.as, LaneLog, method, nil, new(json.RawMessage))
	if complains(err) {
		err = nil
	}
	return k.noteTried(method, purpose, err)
}

func (k *checking) noteTried(method, purpose string, err error) bool {
	name := k.name
	if _, only := k.client.voices.appOnly.Load(strings.ToLower(method)); only {
		name = "app"
	}
	return k.note(name, method, purpose, err, "")
}

// complains reports whether a refusal is about the parameters: whoever gets as
// far has been let in.
func complains(err error) bool {
	var e *Error
	if !errors.As(err, &e) || e.Status != http.StatusBadRequest && e.Status != http.StatusForbidden {
		return false
	}
	switch e.Code {
	case "ERROR_CORE", "ERROR_ARGUMENT", "INVALID_ARGUMENT", "INVALID_ARG_VALUE", "USER_ID_EMPTY", "100", "0", "":
		return !strings.Contains(strings.ToLower(e.Text), "denied")
	}
	return false
}

// alive asks who the credential speaks as; nothing else is worth a try without
// an answer.
func (k *checking) alive(ctx context.Context, name string, as *credential) bool {
	var who struct {
		ID    FlexInt  `json:"ID"`
		Admin FlexBool `json:"ADMIN"`
	}
	err := k.client.call(ctx, as, LaneLog, "profile", nil, &who)
	if err == nil && who.ID <= 0 {
		err = fmt.Errorf("profile: %w: nobody", errShape)
	}
	k.admin = bool(who.Admin)
	return k.note(name, "profile", "being let in", err, "")
}

// administrator checks that the owner of the credential let in last is one.
func (k *checking) administrator(name, purpose, advice string) {
	var err error
	if !k.admin {
		err = errors.New("the owner is no administrator")
	}
	k.note(name, "profile", purpose, err, advice)
}

// portal tries what the portal's own credential is used for.
func (k *checking) portal(ctx context.Context, n Needs) {
	k.administrator(k.name, "reading every card, and creating fields",
		"let an administrator make the webhook or install the application: what its owner may not read, callers are not found by")
	k.permissions(ctx, n)
	_, _, err := k.client.find(ctx, nobody)
	k.note(k.name, "batch", "looking callers up", err, k.within(err))
	k.try(ctx, "user.get", "extensions of the employees", map[string]any{"FILTER": map[string]any{"USER_TYPE": "employee"}, "start": -1})
	for _, s := range k.client.sections {
		k.tryEmpty(ctx, "crm."+string(s.kind)+".update", "clearing ended temporary managers")
	}
	k.prepared(ctx)
	if n.Heads {
		k.try(ctx, "department.get", "heads of departments", nil)
	}
	if n.Leads {
		k.leads(ctx)
	}
	if n.CallLog {
		k.calls(ctx)
	}
	if n.Recordings {
		k.tryEmpty(ctx, "telephony.externalCall.attachRecord", "recordings of calls")
		k.try(ctx, "disk.storage.getlist", "recordings on the drive", map[string]any{"filter": map[string]any{"ENTITY_TYPE": "common"}})
		k.tryEmpty(ctx, "disk.file.delete", "deleting old recordings")
	}
	if n.Tasks {
		k.tryEmpty(ctx, "tasks.task.add", "tasks on missed calls")
	}
}

// leads checks that the portal works with leads. Making one cannot be tried: an
// empty one might stay.
func (k *checking) leads(ctx context.Context) {
	const method, withoutLeads = "crm.settings.mode.get", 2
	var mode FlexInt
	err, advice := k.client.call(ctx, k.as, LaneLog, method, nil, &mode), ""
	if err == nil && mode == withoutLeads {
		err, advice = errors.New("the portal works without leads"), "switch leads on in the settings of its CRM, or crm.leads.create off"
	}
	k.note(k.name, method, "leads for unknown callers", err, advice)
}

// calls tries what writes calls down.
func (k *checking) calls(ctx context.Context) {
	k.try(ctx, "telephony.externalLine.get", "lines in the call log", nil)
	k.tryEmpty(ctx, "telephony.externalCall.register", "calls in the call log")
	k.tryEmpty(ctx, "telephony.externalCall.show", "the card of a call that rings")
	k.tryEmpty(ctx, "telephony.externalCall.hide", "the card of a call that rang elsewhere")
	k.tryEmpty(ctx, "telephony.externalCall.finish", "calls in the call log")
	k.try(ctx, "voximplant.statistic.get", "finding a call again whose answer was lost",
		map[string]any{"FILTER": map[string]any{"EXTERNAL_CALL_ID": "none"}, "start": -1})
}

// app tries what only the application can be used for.
func (k *checking) app(ctx context.Context, as *credential, n Needs) {
	if !n.Events {
		return
	}
	err := k.client.call(ctx, as, LaneLog, "event.get", nil, new(json.RawMessage))
	if !k.note("app", "event.get", "events of cards that changed", err, "") || as == k.as {
		return
	}
	k.administrator("app", "events of all cards", "let an administrator install the application")
}

// within advises on the method of a batch that was refused.
func (k *checking) within(err error) string {
	var e *Error
	if !errors.As(err, &e) {
		return ""
	}
	return Advice(err, e.Method)
}

// permissions compares the credential's permissions with what is needed; each
// is named with what it is for.
func (k *checking) permissions(ctx context.Context, n Needs) {
	var have []string
	if err := k.client.call(ctx, k.as, LaneLog, "scope", nil, &have); err != nil {
		k.note(k.name, "scope", "the list of permissions", err, "")
		return
	}
	for _, s := range []struct {
		wanted bool
		any    []string // one of them is enough
		use    string
	}{
		{true, []string{"crm"}, "looking callers up"},
		{true, []string{"user", "user_basic", "user_brief"}, "extensions of the employees"},
		{k.client.cfg.Fields.Sticky != "", []string{"user.userfield"}, "the employees' own sticky time"},
		{n.Heads, []string{"department"}, "heads of departments"},
		{n.CallLog, []string{"telephony"}, "the call log"},
		{n.Recordings, []string{"disk"}, "recordings on the drive"},
		{n.Tasks, []string{"task", "tasks"}, "tasks on missed calls"},
	} {
		if !s.wanted {
			continue
		}
		var err error
		if !slices.ContainsFunc(s.any, func(one string) bool { return slices.Contains(have, one) }) {
			err = fmt.Errorf("the permission %s is missing", s.any[0])
		}
		k.note(k.name, "scope "+s.any[0], s.use, err, "add the permission "+s.any[0]+" to the webhook or application")
	}
}

// prepared checks that setup has been done.
func (k *checking) prepared(ctx context.Context) {
	steps, err := k.client.Setup(ctx, SetupOptions{DryRun: true})
	if err != nil {
		k.note(k.name, "userfield.list", "the fields of setup", err, "")
		return
	}
	for _, s := range steps {
		if s.Field == "" {
			continue // a card that does not show the fields routes all the same
		}
		var err error
		switch s.State {
		case SetupCreate:
			err, s.Advice = fmt.Errorf("there is no field %s of type %s", s.Field, s.Type), "run frontdesk bitrix24 setup"
		case SetupConflict, SetupFailed:
			err = errors.New(s.Text)
		}
		k.note(k.name, s.Object+" "+s.Field, "routing by "+s.Field, err, s.Advice)
	}
}

// employee checks the webhook of an employee: that it is theirs, and may write.
func (k *checking) employee(ctx context.Context, id int, as *credential) {
	name := fmt.Sprintf("employee %d", id)
	var who struct {
		ID FlexInt `json:"ID"`
	}
	err, advice := k.client.call(ctx, as, LaneLog, "profile", nil, &who), ""
	if err == nil && int(who.ID) != id {
		err, advice = fmt.Errorf("the webhook is that of user %d", who.ID), "let the employee make a webhook, and put it in crm.bitrix24.employees"
	}
	if !k.note(name, "profile", "writing as this employee", err, advice) {
		return
	}
	var have []string
	err = k.client.call(ctx, as, LaneLog, "scope", nil, &have)
	if err == nil && !slices.Contains(have, "crm") {
		err = errors.New("the permission crm is missing")
		k.note(name, "scope crm", "writing as this employee", err, "add the permission crm to the webhook")
		return
	}
	if !k.note(name, "scope crm", "writing as this employee", err, "") {
		return
	}
	const method = "crm.contact.update"
	if err = k.client.call(ctx, as, LaneLog, method, nil, new(json.RawMessage)); complains(err) {
		err = nil
	}
	k.note(name, method, "writing as this employee", err, "")
}
