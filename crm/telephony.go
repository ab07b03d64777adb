package crm

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"frontdesk/call"
)

// EntityID names an entity of the CRM. Kinds beside those of package call come
// from portals without leads: deal.
type EntityID struct {
	Kind call.Kind `json:"kind,omitempty"`
	ID   int       `json:"id,omitempty"`
}

// CallType is how the portal sorts a call.
type CallType int

// The types of calls.
const (
	CallOut        CallType = 1
	CallIn         CallType = 2
	CallRedirected CallType = 3 // incoming, and handed on inside
)

// RegisterCall is a call, or one leg of it, that begins.
type RegisterCall struct {
	Employee   int         // whose call it is; must be active
	Number     call.Number // the client's
	Type       CallType
	Started    time.Time // zero: now
	Line       string    // shown as the line; at most 50 characters are kept
	ExternalID string    // unique for each leg: the portal gives the same id for it within half an hour
	Entity     EntityID  // zero: the portal searches by the number

	Create bool   // a lead where the portal finds nobody
	Source string // of that lead, as CALL
	Show   bool   // opens the card for the employee
	Chat   bool   // a message in the employee's chat
}

// Registered is a call that the portal knows.
type Registered struct {
	CallID          string
	Entity          EntityID   // zero: none
	CreatedEntities []EntityID // what the portal created for it
	LeadError       string     // why it created no lead; the call is registered all the same
}

// FinishCall is the end of a registered call.
type FinishCall struct {
	CallID   string
	Employee int           // who talked, or whose miss it is: author and responsible of the activity
	Duration time.Duration // of the conversation; counts in whole seconds, and must be 0 for what is missed
	Status   CallStatus
	Reason   string // of the failure, free text
	Chat     bool   // a message in the employee's chat
}

// CallStatus is the portal's code for how a call ended.
type CallStatus string

// The codes in use.
const (
	StatusTalked      CallStatus = "200"
	StatusMissed      CallStatus = "304"
	StatusDeclined    CallStatus = "603"
	StatusCanceled    CallStatus = "603-S" // by the caller
	StatusBusy        CallStatus = "486"
	StatusUnavailable CallStatus = "480"
	StatusWrongNumber CallStatus = "404"
	StatusOther       CallStatus = "OTHER"
)

// Finished is what the portal made of a finished call.
type Finished struct {
	Activity      int      // 0: none, see ActivityError
	Owner         EntityID // what the activity belongs to; zero: nobody knows the number
	Employee      int
	Seconds       int
	Status        CallStatus
	ActivityError string
}

// Register tells the portal of a call (telephony.externalCall.register). After
// an ambiguous failure it may be repeated for half an hour: the same employee,
// number, type, line and ExternalID give the same CallID. See EmployeeNotFound.
func (c *Client) Register(ctx context.Context, r RegisterCall) (Registered, error) {
	if err := r.check(); err != nil {
		return Registered{}, err
	}
	var out registered
	if err := c.serve(ctx, LaneLog, methodRegister, r.params(), &out); err != nil {
		return Registered{}, err
	}
	return out.read(c)
}

// Show opens the card of a live call for employees
// (telephony.externalCall.show). ok is false where the portal does not know the
// call, or it is over. Nobody can tell whether anybody sees the card.
func (c *Client) Show(ctx context.Context, callID string, employees ...int) (ok bool, err error) {
	return c.card(ctx, "telephony.externalCall.show", callID, employees)
}

// Hide closes the card of a live call for employees
// (telephony.externalCall.hide), see Show.
func (c *Client) Hide(ctx context.Context, callID string, employees ...int) (ok bool, err error) {
	return c.card(ctx, "telephony.externalCall.hide", callID, employees)
}

func (c *Client) card(ctx context.Context, method, callID string, employees []int) (bool, error) {
	if len(employees) == 0 {
		return true, nil
	}
	var ok FlexBool
	err := c.serve(ctx, LaneCard, method, map[string]any{"CALL_ID": callID, "USER_ID": employees}, &ok)
	return bool(ok), err
}

// Finish ends a registered call (telephony.externalCall.finish): the portal
// hides its card, writes the statistics and makes the activity. It works once:
// after an ambiguous failure CallsByExternalID tells whether it was done, as it
// does where CallNotFound holds.
func (c *Client) Finish(ctx context.Context, f FinishCall) (Finished, error) {
	if err := f.check(); err != nil {
		return Finished{}, err
	}
	var out statistic
	if err := c.serve(ctx, LaneLog, methodFinish, f.params(), &out); err != nil {
		return Finished{}, err
	}
	return out.ended(c, f.CallID)
}

const (
	methodRegister = "telephony.externalCall.register"
	methodFinish   = "telephony.externalCall.finish"
)

func (r RegisterCall) check() error {
	switch {
	case r.Employee <= 0:
		return fmt.Errorf("%s: %w: no employee", methodRegister, errRefused)
	case r.Number == "":
		return fmt.Errorf("%s: %w: no number", methodRegister, errRefused)
	case r.Type < 1 || r.Type > 5:
		return fmt.Errorf("%s: %w: no type", methodRegister, errRefused)
	}
	return nil
}

// params are flat, so that a batch may hold them too.
func (r RegisterCall) params() map[string]any {
	p := map[string]any{
		"USER_ID": r.Employee, "PHONE_NUMBER": string(r.Number), "TYPE": int(r.Type),
		"CRM_CREATE": digit(r.Create), "SHOW": digit(r.Show), "ADD_TO_CHAT": digit(r.Chat),
	}
	if !r.Started.IsZero() {
		p["CALL_START_DATE"] = r.Started.Format(time.RFC3339)
	}
	for name, v := range map[string]string{"LINE_NUMBER": r.Line, "EXTERNAL_CALL_ID": r.ExternalID, "CRM_SOURCE": r.Source} {
		if v != "" {
			p[name] = v
		}
	}
	if r.Entity.ID > 0 {
		p["CRM_ENTITY_TYPE"], p["CRM_ENTITY_ID"] = strings.ToUpper(string(r.Entity.Kind)), r.Entity.ID
	}
	return p
}

func (f FinishCall) check() error {
	switch {
	case f.CallID == "":
		return fmt.Errorf("%s: %w: no call", methodFinish, errRefused)
	case f.Employee <= 0:
		return fmt.Errorf("%s: %w: no employee", methodFinish, errRefused)
	}
	return nil
}

func (f FinishCall) params() map[string]any {
	p := map[string]any{
		"CALL_ID": f.CallID, "USER_ID": f.Employee, "DURATION": int(max(f.Duration, 0) / time.Second), "ADD_TO_CHAT": digit(f.Chat),
	}
	if f.Status != "" {
		p["STATUS_CODE"] = string(f.Status)
	}
	if f.Reason != "" {
		p["FAILED_REASON"] = f.Reason
	}
	return p
}

func digit(b bool) int {
	if b {
		return 1
	}
	return 0
}

// registered is the answer of register.
type registered struct {
	CallID     json.RawMessage `json:"CALL_ID"`
	Lead       json.RawMessage `json:"CRM_CREATED_LEAD"`
	Created    json.RawMessage `json:"CRM_CREATED_ENTITIES"`
	EntityType json.RawMessage `json:"CRM_ENTITY_TYPE"`
	EntityID   json.RawMessage `json:"CRM_ENTITY_ID"`
	LeadError  json.RawMessage `json:"LEAD_CREATION_ERROR"`
}

func (r registered) read(c *Client) (Registered, error) {
	out := Registered{
		CallID: word(r.CallID), Entity: entityOf(r.EntityType, r.EntityID), LeadError: c.clean(word(r.LeadError)),
	}
	if out.CallID == "" {
		return out, fmt.Errorf("%s: %w: %w", methodRegister, errShape, errNoID)
	}
	var rows []struct {
		Type json.RawMessage `json:"ENTITY_TYPE"`
		ID   json.RawMessage `json:"ENTITY_ID"`
	}
	if json.Unmarshal(r.Created, &rows) == nil {
		for _, row := range rows {
			if e := entityOf(row.Type, row.ID); e.ID > 0 {
				out.CreatedEntities = append(out.CreatedEntities, e)
			}
		}
	}
	if id := whole(r.Lead); id > 0 && len(out.CreatedEntities) == 0 {
		out.CreatedEntities = []EntityID{{call.KindLead, id}}
	}
	return out, nil
}

// word is a text that may come as a number, null, false or an empty array.
func word(raw json.RawMessage) string {
	if s := text(raw); s != "false" || len(raw) > 0 && raw[0] == '"' {
		return s
	}
	return ""
}

// whole is an integer in any shape; 0 where it is none.
func whole(raw json.RawMessage) int {
	var n FlexInt
	if len(raw) == 0 || json.Unmarshal(raw, &n) != nil {
		return 0
	}
	return int(n)
}

func entityOf(kind, id json.RawMessage) EntityID {
	e := EntityID{Kind: call.Kind(strings.ToLower(word(kind))), ID: whole(id)}
	if e.Kind == "" || e.ID <= 0 {
		return EntityID{}
	}
	return e
}

// statistic is a row of the call statistics; finish answers with one.
type statistic struct {
	CallID     json.RawMessage `json:"CALL_ID"`
	ExternalID json.RawMessage `json:"EXTERNAL_CALL_ID"`
	Employee   json.RawMessage `json:"PORTAL_USER_ID"`
	Duration   json.RawMessage `json:"CALL_DURATION"`
	Code       json.RawMessage `json:"CALL_FAILED_CODE"`
	Activity   json.RawMessage `json:"CRM_ACTIVITY_ID"`
	EntityType json.RawMessage `json:"CRM_ENTITY_TYPE"`
	EntityID   json.RawMessage `json:"CRM_ENTITY_ID"`
	File       json.RawMessage `json:"RECORD_FILE_ID"`
	Errors     FlexObject      `json:"ERRORS"`
}

// ended reads the answer of finish, which must be about a call.
func (s statistic) ended(c *Client, callID string) (Finished, error) {
	if word(s.CallID) != callID {
		return Finished{}, fmt.Errorf("%s: %w: it is not about this call", methodFinish, errShape)
	}
	return s.finished(c), nil
}

func (s statistic) finished(c *Client) Finished {
	return Finished{
		Activity: whole(s.Activity), Owner: entityOf(s.EntityType, s.EntityID), Employee: whole(s.Employee),
		Seconds: whole(s.Duration), Status: CallStatus(word(s.Code)), ActivityError: c.clean(phrase(s.Errors["ACTIVITY_CREATION"])),
	}
}

// phrase is a text, or the texts of a list.
func phrase(raw json.RawMessage) string {
	var list []json.RawMessage
	if json.Unmarshal(raw, &list) != nil {
		return word(raw)
	}
	texts := make([]string, len(list))
	for i, t := range list {
		texts[i] = word(t)
	}
	return strings.Join(texts, "; ")
}

// LoggedCall is a finished call as the portal's statistics have it.
type LoggedCall struct {
	CallID     string
	ExternalID string
	File       int // of its recording on the portal's drive; 0: none, or not told
	Finished
}

// CallsByExternalID are the finished calls that carry external ids, by these
// ids, in one request for up to fifty of them (voximplant.statistic.get). It
// tells after an ambiguous failure whether a call was finished; more than one
// means that it was finished twice.
func (c *Client) CallsByExternalID(ctx context.Context, ids ...string) (map[string][]LoggedCall, error) {
	out := make(map[string][]LoggedCall, len(ids))
	for len(ids) > 0 {
		n := min(len(ids), maxCommands)
		rows, err := c.statistics(ctx, "EXTERNAL_CALL_ID", ids[:n])
		if err != nil {
			return nil, err
		}
		for id, found := range rows {
			for _, r := range found {
				out[id] = append(out[id], LoggedCall{CallID: word(r.CallID), ExternalID: id, File: whole(r.File), Finished: r.finished(c)})
			}
		}
		ids = ids[n:]
	}
	return out, nil
}

const methodStatistics = "voximplant.statistic.get"

// statistics are the rows of finished calls by what a field of theirs holds, in
// one request.
func (c *Client) statistics(ctx context.Context, field string, ids []string) (map[string][]statistic, error) {
	commands := make([]command, len(ids))
	for i, id := range ids {
		commands[i] = newCommand("s"+strconv.Itoa(i), methodStatistics, url.Values{
			"FILTER[" + field + "]": {literal(id)}, "SORT": {"ID"}, "ORDER": {"ASC"},
		})
	}
	parts, err := c.run(ctx, LaneLog, c.voices.portal, commands)
	if err != nil {
		return nil, err
	}
	out := make(map[string][]statistic, len(ids))
	for i, id := range ids {
		var rows []statistic
		if err := parts[i].err; err != nil {
			return nil, err
		}
		if err := decode(methodStatistics, parts[i].result, &rows); err != nil {
			return nil, err
		}
		for _, r := range rows {
			// A filter that the portal does not know is dropped by it.
			if named := map[string]json.RawMessage{"CALL_ID": r.CallID, "EXTERNAL_CALL_ID": r.ExternalID}; word(named[field]) == id {
				out[id] = append(out[id], r)
			}
		}
	}
	return out, nil
}
