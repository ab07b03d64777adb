package calllog

import (
	"fmt"
	"strings"
	"time"

	"frontdesk/call"
	"frontdesk/crm"
)

// Plan is what the CRM is owed for a call. The zero value is nothing.
type Plan struct {
	Entries []Entry
	Lead    *Lead
	Task    *Task
	Blind   bool // no employee was known: whose the call is cannot be said
}

// Entry is one call in the CRM: a conversation, or a miss.
type Entry struct {
	Leg      int          `json:"leg"`
	External string       `json:"external"` // unique in the portal
	Type     crm.CallType `json:"type"`
	Number   call.Number  `json:"number"` // the client's
	Line     string       `json:"line,omitempty"`
	Started  time.Time    `json:"started"`
	Owner    Owner        `json:"owner"`
	Duration call.Seconds `json:"duration"`
	Entity   crm.EntityID `json:"entity,omitzero"` // zero: the portal searches by the number
	Create   bool         `json:"create,omitempty"`
	End
}

// End is how a conversation ended.
type End struct {
	Status crm.CallStatus `json:"status"`
	Reason string         `json:"reason,omitempty"`
	Talk   *call.Talk     `json:"talk,omitempty"` // one that has a recording
}

// Owner is whose something is: an employee, or the head of the employee's
// department.
type Owner struct {
	Employee int  `json:"employee"`
	Head     bool `json:"head,omitempty"`
	Else     int  `json:"else,omitempty"` // who it is where the portal does not accept the first, or there is no head
}

// Lead is what is to happen about leads: one is made for a caller who has none,
// and who talked takes it over from the placeholder.
type Lead struct {
	Create *NewLead `json:"create,omitempty"`
	ID     int      `json:"id,omitempty"` // of a lead that is there
	From   int      `json:"from,omitempty"`
	To     int      `json:"to,omitempty"` // 0: nobody talked
}

// NewLead is a lead to be made.
type NewLead struct {
	Number call.Number `json:"number"`
	DID    call.Number `json:"did,omitempty"`
	Name   string      `json:"name,omitempty"` // as the caller gave it
	Origin string      `json:"origin"`
}

// Task is a task about a missed call.
type Task struct {
	Owner    Owner        `json:"owner"`
	Number   call.Number  `json:"number"`
	Missed   time.Time    `json:"missed"`
	Deadline time.Time    `json:"deadline"`
	Origin   string       `json:"origin"`
	Entity   crm.EntityID `json:"entity,omitzero"`
}

// taskWithin is how soon a missed caller is to be called back.
const taskWithin = 24 * time.Hour

// Make plans what the CRM is owed for a call that has ended. Calls within the
// company, of callers who are blocked or whom no rule takes, and those without
// a number are not logged.
func Make(r call.Record, p Policy) Plan {
	c, ok := read(r, p)
	if !ok {
		return Plan{}
	}
	out := Plan{Blind: len(p.Employees) == 0}
	if p.Log {
		out.Entries = c.entries()
	}
	out.Lead = c.lead()
	if p.Log && p.Tasks && c.missed() && c.in() {
		out.Task = &Task{
			Owner: c.missedOwner(), Number: c.client, Missed: r.Started, Deadline: c.over().Add(taskWithin),
			Origin: r.ID, Entity: c.entity(),
		}
	}
	return out
}

// Ring plans what the CRM is told of an incoming call while it rings at the
// record's target: an entry whose card the owner sees, and a lead. An owner of
// 0 sees nothing.
func Ring(r call.Record, p Policy) (e Entry, l *Lead, ok bool) {
	c, ok := read(r, p)
	if !ok || !c.in() {
		return Entry{}, nil, false
	}
	e = c.entry(0)
	if who := p.active(p.sits(r.Target)); who != 0 {
		e.Owner = Owner{Employee: who, Else: p.nobody()}
	} else {
		e.Owner = Owner{Employee: p.nobody()}
	}
	return e, c.lead(), true
}

// reading is a record as planning sees it.
type reading struct {
	r      call.Record
	p      Policy
	client call.Number
	facts  facts
}

// facts are what planning reads of the facts of a decision.
type facts struct {
	Name      string      `json:"caller_name"`
	Anonymous bool        `json:"anonymous"`
	CRM       call.Answer `json:"crm"`
}

// read says whether a call is to be logged at all.
func read(r call.Record, p Policy) (*reading, bool) {
	c := &reading{r: r, p: p, client: r.Caller}
	if r.Direction == call.Out {
		c.client = r.DID
	}
	if err := r.Facts.Decode(&c.facts); err != nil {
		c.facts = facts{} // of a foreign or older version: the portal searches for itself
	}
	switch {
	case c.client == "" || c.facts.Anonymous && c.in():
		return nil, false // the portal takes no call without a number
	case p.Numbers.Has(call.Extension(c.client)):
		return nil, false // within the company
	case c.in() && (r.Outcome == call.OutcomeBlocked || r.Outcome == call.OutcomeNoRule):
		return nil, false
	}
	return c, true
}

func (c *reading) in() bool { return c.r.Direction != call.Out }

// missed reports whether nobody talked, as far as is known.
func (c *reading) missed() bool { return c.r.Result != call.ResultAnswered && c.r.Result != "" }

// over is when the call ended, as far as is known.
func (c *reading) over() time.Time {
	if c.r.Times.Ended.IsZero() {
		return c.r.Started
	}
	return c.r.Times.Ended
}

// entries are one for each conversation, or one for the call.
func (c *reading) entries() []Entry {
	talks := c.talks()
	if c.r.Result != call.ResultAnswered || len(talks) == 0 {
		return []Entry{c.whole()}
	}
	out := make([]Entry, len(talks))
	for i, t := range talks {
		e := c.entry(i)
		if i > 0 {
			e.Started = t.From
		}
		e.Owner, e.Duration = c.talker(t), talked(time.Duration(t.Seconds)*time.Second)
		e.Status = crm.StatusTalked
		if t.Recording != "" {
			t.Employee = e.Owner.Employee
			e.Talk = &t
		}
		out[i] = e
	}
	return out
}

// talks are the conversations worth an entry: not those of no length, as a
// transfer makes them, unless there is nothing else.
func (c *reading) talks() []call.Talk {
	var out []call.Talk
	for _, t := range c.r.Talks {
		if t.Seconds > 0 {
			out = append(out, t)
		}
	}
	if len(out) == 0 && len(c.r.Talks) > 0 {
		out = c.r.Talks[:1]
	}
	return out
}

// talked is a length that the portal does not take for a miss.
func talked(d time.Duration) call.Seconds { return call.Seconds(max(d, time.Second)) }

// whole is the entry of a call without conversations that are known one by one.
func (c *reading) whole() Entry {
	e := c.entry(0)
	switch {
	case c.r.Result == call.ResultAnswered:
		e.Owner, e.Status = c.talker(call.Talk{Extension: c.inside()}), crm.StatusTalked
		from := c.r.Answered
		if from.IsZero() {
			from = c.r.Started
		}
		e.Duration = talked(c.over().Sub(from).Round(time.Second))
	case c.r.Result == "":
		e.Owner = c.talker(call.Talk{Extension: c.inside()})
		e.Status, e.Reason = crm.StatusOther, "handed over to the PBX, which did not tell how it went on"
	case c.in():
		e.Owner, e.Status = c.missedOwner(), crm.StatusMissed
	default:
		e.Owner, e.Status = c.talker(call.Talk{Extension: c.inside()}), c.failure()
	}
	return e
}

// entry is what the entries of a call have in common.
func (c *reading) entry(leg int) Entry {
	e := Entry{
		Leg: leg, External: fmt.Sprintf("%s-%d", c.r.ID, leg), Number: c.client, Started: c.r.Started,
		Type: crm.CallIn, Line: c.r.Trunk, Entity: c.entity(),
	}
	switch {
	case !c.in():
		e.Type = crm.CallOut
		if c.r.Prefix != "" {
			e.Line = c.r.Prefix
		}
	case leg > 0:
		e.Type = crm.CallRedirected
	}
	e.Create = leg == 0 && c.p.Simple && c.newcomer()
	return e
}

// inside is the extension of the company that took part.
func (c *reading) inside() call.Extension {
	if c.in() {
		return c.r.Target
	}
	return call.Extension(c.r.Caller)
}

// talker owns a conversation.
func (c *reading) talker(t call.Talk) Owner {
	who := c.p.active(t.Employee)
	if who == 0 {
		who = c.p.active(c.p.sits(t.Extension))
	}
	if who == 0 {
		return Owner{Employee: c.p.nobody()}
	}
	return Owner{Employee: who, Else: c.p.nobody()}
}

// missedOwner owns a missed call, by the policy.
func (c *reading) missedOwner() Owner {
	last := c.p.active(c.p.sits(c.calledLast()))
	switch {
	case last == 0 || c.p.Missed != OwnerEmployee && c.p.Missed != OwnerHead:
		return Owner{Employee: c.p.nobody()}
	case c.p.Missed == OwnerHead:
		return Owner{Employee: last, Head: true, Else: c.p.nobody()}
	}
	return Owner{Employee: last, Else: c.p.nobody()}
}

// calledLast is the extension that was rung last, or that would have been.
func (c *reading) calledLast() call.Extension {
	for i := len(c.r.Legs) - 1; i > 0; i-- {
		user := strings.TrimPrefix(c.r.Legs[i].Target, "sip:")
		user, _, _ = strings.Cut(user, "@")
		if c.p.Numbers.Has(call.Extension(user)) {
			return call.Extension(user)
		}
	}
	return c.r.Target
}

// failure is the portal's code for an outgoing call that nobody answered.
func (c *reading) failure() crm.CallStatus {
	if c.r.Result == call.ResultAbandoned {
		return crm.StatusCanceled
	}
	code := 0
	for _, l := range c.r.Legs {
		if l.Code >= 300 {
			code = l.Code
		}
	}
	switch code {
	case 486, 600:
		return crm.StatusBusy
	case 603:
		return crm.StatusDeclined
	case 404, 410, 484, 604:
		return crm.StatusWrongNumber
	case 480:
		return crm.StatusUnavailable
	case 487:
		return crm.StatusCanceled
	case 0, 408:
		return crm.StatusMissed
	}
	return crm.StatusOther
}

// entity is what the CRM said about the caller, by the section that decides;
// zero where it said nothing.
func (c *reading) entity() crm.EntityID {
	for _, kind := range call.Kinds() {
		for _, e := range c.facts.CRM.Entities {
			if e.Kind == kind && !e.Closed && !e.Unreadable {
				return crm.EntityID{Kind: kind, ID: e.ID}
			}
		}
	}
	return crm.EntityID{}
}

// newcomer reports whether a caller is to have a lead if the CRM does not know
// them. Whether it does is asked again before one is made.
func (c *reading) newcomer() bool {
	asked := c.facts.CRM.Missing != call.MissingNotAsked
	return c.p.Leads && c.in() && asked && c.entity().ID == 0 && !c.p.never(c.client)
}

// lead is what happens about leads: none where an incoming caller is known by
// more than the placeholder's lead.
func (c *reading) lead() *Lead {
	if !c.in() || c.p.Simple || c.p.Placeholder == 0 {
		return nil
	}
	l := &Lead{From: c.p.Placeholder}
	if c.newcomer() {
		l.Create = &NewLead{Number: c.client, DID: c.r.DID, Name: c.facts.Name, Origin: c.r.ID}
	} else if l.ID = c.waitingLead(); l.ID == 0 {
		return nil
	}
	if talks := c.talks(); c.r.Result == call.ResultAnswered && len(talks) > 0 {
		// Whoever talked last has the client, after a transfer too.
		if to := c.talker(talks[len(talks)-1]).Employee; to != c.p.nobody() {
			l.To = to
		}
	}
	if l.Create == nil && l.To == 0 {
		return nil
	}
	return l
}

// waitingLead is the caller's lead if it is all the CRM knows of them and the
// placeholder has it still.
func (c *reading) waitingLead() int {
	e := c.entity()
	if e.Kind != call.KindLead || !c.p.Leads {
		return 0
	}
	for _, found := range c.facts.CRM.Entities {
		if found.Kind == call.KindLead && found.ID == e.ID && found.Responsible == c.p.Placeholder {
			return e.ID
		}
	}
	return 0
}
