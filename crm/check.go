package crm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"

	"frontdesk/call"
)

// Needs say what the product will do with the portal besides looking callers
// up.
type Needs struct {
	CallLog    bool // calls are registered and finished
	Recordings bool // recordings are uploaded, and deleted after a while
	Tasks      bool // tasks on missed calls
	Heads      bool // missed calls go to the heads of departments
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
// far as that changes nothing. No answer holds a secret.
func (c *Client) Check(ctx context.Context, n Needs) []Check {
	k := checking{client: c}
	portal := "webhook"
	if c.voices.portal.app != nil {
		portal = "app"
	}
	if k.alive(ctx, portal, c.voices.portal) {
		k.portal(ctx, portal, n)
	}
	if app := c.voices.app; app != nil && app != c.voices.portal {
		k.alive(ctx, "app", app)
	}
	for _, id := range slices.Sorted(maps.Keys(c.voices.employees)) {
		k.employee(ctx, id, c.voices.employees[id])
	}
	return k.checks
}

// checking is one Check in the making.
type checking struct {
	client *Client
	checks []Check
	admin  bool // the owner of the credential is an administrator
}

// note keeps one result. An advice is found where none is given.
func (k *checking) note(credential, method, purpose string, err error, advice string) bool {
	check := Check{Credential: credential, Method: method, For: purpose, OK: err == nil}
	if err != nil {
		check.Problem = err.Error()
		if check.Advice = advice; advice == "" {
			check.Advice = Advice(err, method)
		}
	}
	k.checks = append(k.checks, check)
	return check.OK
}

// try sends a method that only reads.
func (k *checking) try(ctx context.Context, credential, method, purpose string, params any) bool {
	var any json.RawMessage
	err := k.client.call(ctx, k.client.voices.portal, LaneLog, method, params, &any)
	return k.note(credential, method, purpose, err, "")
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

// portal tries what the portal's own credential is used for.
func (k *checking) portal(ctx context.Context, name string, n Needs) {
	var err error
	if !k.admin {
		err = errors.New("the owner is no administrator")
	}
	k.note(name, "profile", "reading every card, and creating fields", err,
		"let an administrator make the webhook: what its owner may not read, callers are not found by")
	k.permissions(ctx, name, n)
	_, _, err = k.client.find(ctx, nobody)
	k.note(name, "batch", "looking callers up", err, k.within(err))
	k.try(ctx, name, "user.get", "extensions of the employees", map[string]any{"FILTER": map[string]any{"USER_TYPE": "employee"}, "start": -1})
	k.prepared(ctx, name)
	if n.Heads {
		k.try(ctx, name, "department.get", "heads of departments", nil)
	}
	if n.CallLog {
		k.try(ctx, name, "telephony.externalLine.get", "lines in the call log", nil)
		k.registers(ctx, name)
	}
	if n.Recordings {
		k.try(ctx, name, "disk.storage.getlist", "recordings on the drive", map[string]any{"filter": map[string]any{"ENTITY_TYPE": "common"}})
	}
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
func (k *checking) permissions(ctx context.Context, name string, n Needs) {
	var have []string
	if err := k.client.call(ctx, k.client.voices.portal, LaneLog, "scope", nil, &have); err != nil {
		k.note(name, "scope", "the list of permissions", err, "")
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
		k.note(name, "scope "+s.any[0], s.use, err, "add the permission "+s.any[0]+" to the webhook or application")
	}
}

// prepared checks that setup has been done.
func (k *checking) prepared(ctx context.Context, name string) {
	steps, err := k.client.Setup(ctx, SetupOptions{DryRun: true})
	if err != nil {
		k.note(name, "userfield.list", "the fields of setup", err, "")
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
		k.note(name, s.Object+" "+s.Field, "routing by "+s.Field, err, s.Advice)
	}
}

// registers asks for a call to be registered, without saying which: that
// nothing can be made of it shows that the credential would have been good.
func (k *checking) registers(ctx context.Context, name string) {
	const method = "telephony.externalCall.register"
	err := k.client.call(ctx, k.client.voices.portal, LaneLog, method, nil, nil)
	var e *Error
	if errors.As(err, &e) && e.Status == 400 && !hasCode(err, CodeScope) {
		err = nil
	}
	k.note(name, method, "calls in the call log", err, "")
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
	k.note(name, "scope crm", "writing as this employee", err, "")
}
