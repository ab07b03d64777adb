package crmtest

import (
	"crypto/rand"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"frontdesk/call"
)

// Call is a call registered by telephony.externalCall.register.
type Call struct {
	ID, ExternalID string
	User           int // who it was registered for
	Number, Line   string
	Type           int // 1 out, 2 in, 3 in redirected
	Started        time.Time
	Registered     time.Time
	Linked
	Cards
	Ending
}

// Linked is what a call has to do with the CRM.
type Linked struct {
	Entity   call.Kind // the entity it is about
	EntityID int
	Created  bool // by the call itself
	Internal bool // between employees: the CRM is left alone
}

// Cards are for whom the card of a call is open, and for whom it ever was.
type Cards struct {
	Shown    []int
	Appeared []int
}

// Ending is what telephony.externalCall.finish and attachRecord leave behind.
type Ending struct {
	Finished   bool
	FinishedBy int       // the employee it was finished for: author and responsible of the activity
	FinishedAt time.Time // when the portal was told
	Duration   int       // seconds
	Status     string
	Reason     string
	Row        int // of the statistics
	Activity   int
	Recorded
}

// Recorded is the recording of a call.
type Recorded struct {
	Record    string // file name
	RecordID  int    // of the file on the drive
	Audio     []byte // nil where DropAudio is on
	AudioSize int
	Attached  int // how often a recording was attached
}

type calls struct {
	live     map[string]*Call // by call id
	finished map[string]*Call
	ids      []string            // in the order of registration
	alike    map[string][]string // ids by employee, number and type
	app      map[string]string   // by call id: the application that registered it
	forget   bool
	drop     bool
	uploads  map[string]upload // by token
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
		c.Shown, c.Appeared = slices.Clone(c.Shown), slices.Clone(c.Appeared)
		out = append(out, c)
	}
	return out
}

// SetForgetful has the portal give a new id to a call that is registered again
// after it was finished; else it gives the old one for half an hour, as it does
// for calls that are live. Which of them portals do is not documented.
func (p *Portal) SetForgetful(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls.forget = on
}

// DropAudio has the portal keep the sizes of recordings alone.
func (p *Portal) DropAudio(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls.drop = on
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
		uploadMethod:                               uploadRecord,
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
	started := p.now()
	if at := c.text("CALL_START_DATE"); at != "" {
		var err error
		if started, err = time.Parse(time.RFC3339, at); err != nil {
			return answer{}, core("CALL_START_DATE should be in the ISO-8601 format")
		}
	}
	fresh := Call{
		User: user, Number: number, Type: kind, Line: cut(c.text("LINE_NUMBER"), maxLine), ExternalID: c.text("EXTERNAL_CALL_ID"),
		Started: started, Registered: p.now(),
		Linked: Linked{Entity: call.Kind(strings.ToLower(c.text("CRM_ENTITY_TYPE"))), EntityID: c.number("CRM_ENTITY_ID")},
	}
	if old := p.sameCall(fresh, c.app); old != nil {
		return answer{result: old.registered(nil)}, nil
	}
	created := p.linkEntity(&fresh, c)
	fresh.ID = "externalCall." + strings.ToLower(rand.Text()) + "." + strconv.FormatInt(p.now().Unix(), 10)
	if show := c.arg("SHOW"); show == nil || yes(show) {
		fresh.Shown, fresh.Appeared = []int{user}, []int{user}
	}
	p.calls.live[fresh.ID] = &fresh
	p.calls.app[fresh.ID] = c.app
	p.calls.alike[fresh.pair()] = append(p.calls.alike[fresh.pair()], fresh.ID)
	p.calls.ids = append(p.calls.ids, fresh.ID)
	return answer{result: fresh.registered(created)}, nil
}

// maxLine is where the name of a line is cut.
const maxLine = 50

func cut(s string, n int) string {
	if r := []rune(s); len(r) > n {
		return string(r[:n])
	}
	return s
}

// pair is who speaks with whom, and how.
func (c *Call) pair() string { return fmt.Sprint(c.User, " ", normalise(c.Number), " ", c.Type) }

// sameCall is the oldest call of the last half hour that the portal takes for
// the same: by employee, number and type, and by line and external id as far as
// they are sent.
func (p *Portal) sameCall(c Call, app string) *Call {
	for _, id := range p.calls.alike[c.pair()] {
		old := p.calls.get(id)
		if p.calls.app[id] == app && (c.Line == "" || old.Line == c.Line) && (c.ExternalID == "" || old.ExternalID == c.ExternalID) &&
			p.now().Sub(old.Registered) < callLife && !(old.Finished && p.calls.forget) {
			return old
		}
	}
	return nil
}

// linkEntity finds the entity of a call, or creates a lead where asked to. A
// call to an employee's inner number leaves the CRM alone; that of an employee's
// own telephone makes no lead.
func (p *Portal) linkEntity(c *Call, in invocation) (created []any) {
	key := normalise(c.Number)
	own := false
	for _, u := range p.users {
		c.Internal = c.Internal || !u.Dismissed && u.Extension != "" && u.Extension == c.Number
		own = own || u.Mobile != "" && normalise(u.Mobile) == key
	}
	if c.Internal {
		c.Entity, c.EntityID = "", 0
		return nil
	}
	if c.EntityID != 0 {
		return nil
	}
	keys := map[string]bool{key: true}
	for _, k := range call.Kinds() {
		if ids := p.carriers(k, keys); len(ids) > 0 {
			c.Entity, c.EntityID = k, num(ids[0])
			return nil
		}
	}
	c.Entity = ""
	if !yes(in.arg("CRM_CREATE")) || own {
		return nil
	}
	kind := call.KindLead
	if p.noLeads {
		kind = call.KindContact
	}
	e := &entity{kind: kind, id: p.id(), fields: map[string]any{
		"TITLE": c.Number, "ASSIGNED_BY_ID": strconv.Itoa(c.User), "CREATED_BY_ID": strconv.Itoa(c.User), "SOURCE_ID": in.text("CRM_SOURCE"),
	}, phones: []phone{{id: p.id(), value: c.Number, kind: "WORK"}}}
	if kind == call.KindLead {
		e.fields["STATUS_ID"], e.fields["STATUS_SEMANTIC_ID"] = "NEW", "P"
	}
	p.store(e)
	c.Entity, c.EntityID, c.Created = kind, e.id, true
	return []any{map[string]any{"ENTITY_TYPE": strings.ToUpper(string(kind)), "ENTITY_ID": e.id}}
}

func (c *Call) registered(created []any) map[string]any {
	out := map[string]any{
		"CALL_ID": c.ID, "CRM_CREATED_LEAD": nil, "CRM_CREATED_ENTITIES": append([]any{}, created...),
		"CRM_ENTITY_TYPE": nil, "CRM_ENTITY_ID": nil,
	}
	if c.EntityID != 0 {
		out["CRM_ENTITY_TYPE"], out["CRM_ENTITY_ID"] = strings.ToUpper(string(c.Entity)), c.EntityID
	}
	if len(created) > 0 && c.Entity == call.KindLead {
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
			live.Shown, live.Appeared = append(live.Shown, id), append(live.Appeared, id)
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
	live.Finished, live.FinishedBy, live.FinishedAt, live.Shown = true, user, p.now(), nil
	live.Duration, live.Status, live.Reason = c.number("DURATION"), c.text("STATUS_CODE"), c.text("FAILED_REASON")
	if live.Status == "" {
		live.Status = map[bool]string{true: "200", false: "304"}[live.Duration > 0]
	}
	if e := p.entities[live.Entity][live.EntityID]; live.Created && e != nil {
		p.assign(e, user)
		p.touch(e)
	}
	live.Row = p.id()
	p.logCall(live)
	delete(p.calls.live, id)
	p.calls.finished[id] = live
	out := live.statistic()
	out["CALL_START_DATE"] = map[string]any{} // a date object, which JSON loses
	return answer{result: out}, nil
}
