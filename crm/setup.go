package crm

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
)

// SetupState is what setup does with a field or a card. The list is closed.
type SetupState string

// The states. A dry run tells the same ones.
const (
	SetupCreate   SetupState = "create"   // it is not there yet
	SetupKeep     SetupState = "keep"     // it is there and good
	SetupConflict SetupState = "conflict" // a field of that name has another type: it cannot be used
	SetupFailed   SetupState = "failed"   // the portal refused
)

// SetupStep is one thing that setup makes sure of.
type SetupStep struct {
	Object string     `json:"object"`          // contact, company, lead, repeat lead, user
	Field  string     `json:"field,omitempty"` // code of the field; none for the card
	Type   string     `json:"type,omitempty"`  // that the field is to have
	State  SetupState `json:"state"`
	Text   string     `json:"text"`
	Advice string     `json:"advice,omitempty"`
}

// SetupOptions say how the portal is prepared.
type SetupOptions struct {
	Section string // title of the section on the cards; "": Incoming routing
	Russian bool   // the language of what a card that has no layout of its own is made of
	DryRun  bool   // tell, and change nothing
}

// DefaultSection is the title of the section on the cards.
const DefaultSection = "Incoming routing"

// Setup makes sure that the portal has the user fields that routing reads, on
// contacts, companies, leads and users, and that the cards show them in a
// section. What is there stays as it is. It may be repeated. The error tells
// that the portal could not be asked at all; single refusals are steps.
func (c *Client) Setup(ctx context.Context, o SetupOptions) ([]SetupStep, error) {
	if o.Section == "" {
		o.Section = DefaultSection
	}
	s := setup{client: c, options: o}
	for _, object := range entityObjects() {
		if err := s.object(ctx, object); err != nil {
			return s.steps, err
		}
	}
	if c.cfg.Fields.Sticky != "" {
		if _, err := s.fields(ctx, userObject()); err != nil {
			return s.steps, err
		}
	}
	return s.steps, nil
}

// object is what has user fields.
type object struct {
	name   string // contact
	method string // crm.contact.userfield
	prefix string // of its fields
	wanted func(Fields) []field
	cards  []card
}

// field is a user field as it is to be.
type field struct {
	code, kind       string // UF_CRM_FD_MANAGER, employee
	english, russian string // its label
}

func entityObjects() []object {
	wanted := func(f Fields) []field {
		return []field{
			{f.Manager, "employee", "Call manager", "Менеджер для звонков"},
			{f.Temporary, "employee", "Temporary call manager", "Временный менеджер для звонков"},
			{f.Until, "datetime", "Temporary manager until", "Временный менеджер до"},
			{f.Direct, "boolean", "Connect without greeting", "Соединять без приветствия"},
			{f.NoSticky, "boolean", "Do not return to the last employee", "Не возвращать к последнему сотруднику"},
		}
	}
	var out []object
	for _, name := range []string{"contact", "company", "lead"} {
		out = append(out, object{name: name, method: "crm." + name + ".userfield", prefix: "UF_CRM_", wanted: wanted, cards: cardsOf(name)})
	}
	return out
}

func userObject() object {
	return object{name: "user", method: "user.userfield", prefix: "UF_USR_", wanted: func(f Fields) []field {
		return []field{{f.Sticky, "integer", "Calls return for so many minutes", "Возвращать звонки столько минут"}}
	}}
}

// setup is one Setup in the making.
type setup struct {
	client  *Client
	options SetupOptions
	steps   []SetupStep
}

// step adds a step about a field, and gives it to be finished.
func (s *setup) step(o object, f field, state SetupState, format string, args ...any) *SetupStep {
	s.steps = append(s.steps, SetupStep{Object: o.name, Field: f.code, Type: f.kind, State: state, Text: fmt.Sprintf(format, args...)})
	return &s.steps[len(s.steps)-1]
}

// refused adds a step about a field that the portal refuses.
func (s *setup) refused(o object, f field, err error, method string) {
	s.step(o, f, SetupFailed, "%s", err).Advice = Advice(err, method)
}

// object sees to the fields of an object and to its cards.
func (s *setup) object(ctx context.Context, o object) error {
	before := len(s.steps)
	have, err := s.fields(ctx, o)
	if err != nil {
		return err
	}
	var shown []string
	for _, step := range s.steps[before:] {
		if step.State == SetupCreate || step.State == SetupKeep {
			shown = append(shown, step.Field)
		}
	}
	for _, card := range o.cards {
		if len(shown) > 0 {
			s.card(ctx, card, shown, slices.Sorted(maps.Keys(have)))
		}
	}
	return nil
}

// fields sees to the fields of an object, and gives those that it had before.
func (s *setup) fields(ctx context.Context, o object) (map[string]userField, error) {
	have, err := s.client.userFields(ctx, o)
	var refused *Error
	if err != nil && (!errors.As(err, &refused) || outage(refused)) {
		return nil, fmt.Errorf("reading the fields of a %s: %w", o.name, err)
	}
	before := len(s.steps)
	for _, f := range o.wanted(s.client.cfg.Fields) {
		switch {
		case f.code == "":
		case err != nil:
			s.refused(o, f, err, o.method+".list")
		default:
			s.field(ctx, o, f, have)
		}
	}
	s.confirm(ctx, o, s.steps[before:])
	return have, nil
}

// confirm looks for the fields that were made: a portal may give one another
// name than it was asked for.
func (s *setup) confirm(ctx context.Context, o object, steps []SetupStep) {
	made := func(step SetupStep) bool { return step.State == SetupCreate }
	if s.options.DryRun || !slices.ContainsFunc(steps, made) {
		return
	}
	have, err := s.client.userFields(ctx, o)
	for i := range steps {
		step := &steps[i]
		if !made(*step) || err == nil && have[step.Field].Kind == step.Type {
			continue
		}
		step.State, step.Text, step.Advice = SetupFailed, "the portal took the field and does not list it", "run setup again"
		if err != nil {
			step.Text, step.Advice = err.Error(), Advice(err, o.method+".list")
		}
	}
}

// outage reports whether a refusal says nothing about what was asked for.
func outage(e *Error) bool {
	switch e.Code {
	case CodeNoAuth, CodeExpired, CodeDeleted, CodeOverload, CodeQueryLimit:
		return true
	}
	return e.Status >= 500 || e.Status == 0 || e.Status == 200
}

func (s *setup) field(ctx context.Context, o object, f field, have map[string]userField) {
	switch is, ok := have[f.code]; {
	case ok && is.Kind != f.kind:
		s.step(o, f, SetupConflict, "the field exists with type %s, not %s", is.Kind, f.kind).Advice = "delete it, or name another one in crm.bitrix24.fields"
	case ok:
		s.step(o, f, SetupKeep, "there is a field of type %s", f.kind)
	case !strings.HasPrefix(f.code, o.prefix):
		s.step(o, f, SetupFailed, "the portal has no such field, and makes only fields that begin with %s", o.prefix).Advice = "name another one in crm.bitrix24.fields"
	case s.options.DryRun:
		s.step(o, f, SetupCreate, "a new field of type %s", f.kind)
	default:
		if err := s.client.addField(ctx, o, f); err != nil {
			s.refused(o, f, err, o.method+".add")
			return
		}
		s.step(o, f, SetupCreate, "a new field of type %s", f.kind)
	}
}

// userField is a user field as the portal has it.
type userField struct {
	Name string `json:"FIELD_NAME"`
	Kind string `json:"USER_TYPE_ID"`
}

// userFields are the user fields of an object by code.
func (c *Client) userFields(ctx context.Context, o object) (map[string]userField, error) {
	out := map[string]userField{}
	for page := range maxPages {
		var rows []userField
		params := map[string]any{"order": map[string]string{"ID": "ASC"}, "start": page * pageRows}
		if err := c.Call(ctx, LaneLog, o.method+".list", params, &rows); err != nil {
			return nil, err
		}
		before := len(out)
		for _, f := range rows {
			if f.Name == "" || f.Kind == "" {
				return nil, fmt.Errorf("%s.list: %w: a field without name or type", o.method, errShape)
			}
			out[f.Name] = f
		}
		if len(rows) != pageRows || len(out) == before { // some portals give all at once, whatever the start
			break
		}
	}
	return out, nil
}

// addField creates a field. On a large portal that may take longer than a
// request may: after a failure the field is looked for.
func (c *Client) addField(ctx context.Context, o object, f field) error {
	label := map[string]string{"en": f.english, "ru": f.russian}
	fields := map[string]any{
		"FIELD_NAME": strings.TrimPrefix(f.code, o.prefix), "USER_TYPE_ID": f.kind, "MULTIPLE": "N", "MANDATORY": "N",
		"SHOW_FILTER": "Y", "EDIT_IN_LIST": "Y", "LABEL": f.english,
		"EDIT_FORM_LABEL": label, "LIST_COLUMN_LABEL": label, "LIST_FILTER_LABEL": label,
	}
	switch f.kind {
	case "boolean":
		fields["SETTINGS"] = map[string]any{"DEFAULT_VALUE": 0, "DISPLAY": "CHECKBOX"}
	case "datetime":
		fields["SETTINGS"] = map[string]any{"DEFAULT_VALUE": map[string]string{"TYPE": "NONE", "VALUE": ""}}
	}
	refused := c.Call(ctx, LaneLog, o.method+".add", map[string]any{"fields": fields}, nil)
	if refused == nil {
		return nil
	}
	if have, err := c.userFields(ctx, o); err == nil && have[f.code].Kind == f.kind {
		return nil
	}
	return refused
}

// Advice says what to do where the portal refuses a method.
func Advice(err error, method string) string {
	var e *Error
	switch {
	case errors.Is(err, errNoTokens), errors.Is(err, errGrant):
		return "install the application again, or set crm.bitrix24.app.refresh_token"
	case errors.Is(err, errShape), errors.Is(err, errNotJSON), errors.Is(err, errTooLarge):
		return "what answers is not Bitrix24 as documented: look for a proxy between, and try again"
	case !errors.As(err, &e):
		return "check the portal's address, DNS and the way through firewalls"
	}
	switch e.Code {
	case CodeNoAuth:
		return "the webhook is gone, or its owner has been dismissed: make a new one (Developer resources > Other > Inbound webhook)"
	case CodeExpired:
		return "the token has expired: install the application again"
	case CodeScope:
		return "add the permission " + scopeOf(method) + " to the webhook or application"
	case CodeWrongAuth:
		return "this method wants an application: set crm.bitrix24.app"
	case "ACCESS_DENIED", "INVALID_CREDENTIALS", "USER_ACCESS_ERROR":
		return "the owner must be an administrator, and the portal's plan must include REST"
	case "ERROR_METHOD_NOT_FOUND":
		return "the portal does not have this module"
	case CodeQueryLimit, CodeOperationTime:
		return "the portal's limits are used up: try again later, or lower crm.bitrix24.rate"
	case CodeOverload:
		return "Bitrix24 blocks this portal's REST: ask its support"
	case CodeDeleted:
		return "the portal is deleted"
	}
	if strings.Contains(strings.ToLower(e.Text), "access denied") || e.Status == 403 {
		return "the owner of the webhook must be an administrator of the CRM"
	}
	return "see the portal's words"
}

// scopeOf is the permission that a method needs.
func scopeOf(method string) string {
	first, _, _ := strings.Cut(method, ".")
	switch {
	case strings.HasPrefix(method, "user.userfield"):
		return "user.userfield"
	case first == "tasks":
		return "task"
	case first == "voximplant":
		return "telephony"
	case slices.Contains([]string{"crm", "telephony", "user", "department", "disk", "im"}, first):
		return first
	}
	return "of " + method
}
