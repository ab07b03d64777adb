package routing

import (
	"time"

	"frontdesk/call"
)

// SIP statuses of refused calls.
const (
	notFound = 404 // RFC 3261 section 21.4.5
	decline  = 603 // RFC 3261 section 21.6.2
)

// Decision is where a call goes and why. As JSON it is the answer of explain.
type Decision struct {
	Target   call.Extension `json:"target"` // empty when the call is refused
	Outcome  call.Outcome   `json:"outcome"`
	Greeting bool           `json:"greeting"` // also when digits were dialled during it
	Rule     string         `json:"rule"`
	Trace    []Step         `json:"trace"`

	Default  call.Extension `json:"-"` // the rule's default, for busy and no answer
	Employee *call.Employee `json:"-"` // whom the call goes to; nil: nobody in particular
	Entity   *call.Entity   `json:"-"` // by which the employee was found; nil: by none
	Reject   int            `json:"-"` // the SIP status of a refused call: 404, 603; else 0
}

// Decide decides f. The numbers in the comments are those of the package's
// staircase.
func (p *Plan) Decide(f Facts) Decision {
	d := deciding{inquiry: p.inquire(&f), tracer: newTracer(len(p.rules) + len(f.CRM.Entities) + moreSteps)}
	d.hear()
	switch {
	case !d.findRule():
		d.refuse(notFound, call.OutcomeNoRule)
	case d.blocked():
	case d.withoutSearch():
	default:
		d.hearCRM()
		d.findSection()
		d.findManagers()
		if !d.bySticky() && len(d.rings) > 0 {
			d.byManagers()
		}
	}
	if d.Reject == 0 {
		d.divert()
		d.decideGreeting()
		d.judgeDigits()
	}
	d.conclude()
	d.Trace = d.trace()
	return d.Decision
}

// deciding is a decision in the making.
type deciding struct {
	inquiry
	tracer
	Decision
	rule  *rule
	kind  call.Kind // of the section that decides
	rings []ring    // of that section's entities
	alike string    // who shares the target's extension
	clock string    // the time as traces show it, once it is needed

	absent call.Extension // whom the call would have gone to, had it been available
}

// ring is what an entity yields: an extension to ring, or why there is none.
type ring struct {
	entity    *call.Entity
	outcome   call.Outcome // by which of its employees
	employee  call.Employee
	extension call.Extension // empty: cannot be rung
}

// findRule is step 1: the first rule whose every condition holds.
func (d *deciding) findRule() bool {
	for i := range d.plan.rules {
		r := &d.plan.rules[i]
		if f, ok := r.match(&d.inquiry); !ok {
			d.noteMismatch(r, f)
			continue
		}
		d.note(r.label, "match", d.whyMatch(r))
		d.noteTook()
		d.rule, d.Rule, d.Default, d.Target = r, r.name, r.fallback, r.fallback
		return true
	}
	return false
}

func (d *deciding) refuse(code int, o call.Outcome) {
	d.Target, d.Reject, d.Outcome = "", code, o
}

// blocked is the first half of step 2.
func (d *deciding) blocked() bool {
	by, ok := d.blockedBy()
	if !ok {
		return false
	}
	d.Outcome = call.OutcomeBlocked
	if !d.plan.blockedGoOn {
		d.refuse(decline, call.OutcomeBlocked)
	}
	d.note("caller", "blocked", "caller ", string(d.facts.Caller), " matches ", by)
	return true
}

// withoutSearch is the second half of step 2.
func (d *deciding) withoutSearch() bool {
	switch {
	case d.hidden():
		d.Outcome = call.OutcomeAnonymous
		why := "the caller hides the number"
		if !d.facts.Anonymous {
			why = "the caller has no number"
		}
		d.note("caller", "anonymous", why, ": no search")
		return true
	case !d.rule.lookup:
		d.Outcome = call.OutcomeLookupOff
		d.note("caller", "not searched", "the rule has lookup: false")
		return true
	}
	return false
}

// hearCRM is step 9: what is missing is a fact, and has its outcome.
func (d *deciding) hearCRM() {
	a := &d.facts.CRM
	d.Outcome = call.OutcomeUnknown
	if !answered(a) {
		d.Outcome = call.OutcomeCRMError
		if a.Missing == call.MissingDeadline {
			d.Outcome = call.OutcomeDeadline
		}
	}
	d.noteCRM(a)
}

func answered(a *call.Answer) bool {
	return a.Source == call.SourceLive || a.Source == call.SourceMirror
}

// findSection is step 3: the first section that has an entity decides. Closed
// leads are no entities unless the setting says so.
func (d *deciding) findSection() {
	a := &d.facts.CRM
	if !answered(a) {
		return
	}
	for _, kind := range call.Kinds() {
		found, closed := 0, 0
		for i := range a.Entities {
			e := &a.Entities[i]
			switch {
			case e.Kind != kind:
			case d.plan.ignores(e):
				closed++
			default:
				found++
				if d.kind == "" || d.kind == kind {
					d.kind = kind
					d.rings = append(d.rings, ring{entity: e})
				}
			}
		}
		d.noteSection(kind, found, closed)
	}
}

// ignores reports whether e is a closed lead that counts for nothing.
func (p *Plan) ignores(e *call.Entity) bool {
	return e.Closed && e.Kind == call.KindLead && !p.closedLeads
}

// section are the entities that decide by step 3; none where there are none.
func (p *Plan) section(a *call.Answer) (kind call.Kind, entities []*call.Entity) {
	for _, kind := range call.Kinds() {
		for i := range a.Entities {
			if e := &a.Entities[i]; e.Kind == kind && !p.ignores(e) {
				entities = append(entities, e)
			}
		}
		if entities != nil {
			return kind, entities
		}
	}
	return "", nil
}

// findManagers is step 4 for each entity of the section.
func (d *deciding) findManagers() {
	for i := range d.rings {
		r := &d.rings[i]
		id, outcome := effective(r.entity, d.at)
		employee, reason := d.reach(id)
		if r.entity.Unreadable {
			reason = "its card may not be read"
		}
		r.outcome, r.employee = outcome, employee
		if reason == "" {
			r.extension = employee.Extension
		}
		d.noteEntity(r, id, reason)
	}
}

// effective is the employee who gets the entity's calls: the temporary manager
// while now < until, else the manager, else the responsible.
func effective(e *call.Entity, at time.Time) (id int, o call.Outcome) {
	switch {
	case e.Temporary != 0 && at.Before(e.Until):
		return e.Temporary, call.OutcomeTemporary
	case e.Manager != 0:
		return e.Manager, call.OutcomeManager
	}
	return e.Responsible, call.OutcomeResponsible
}

// reach is step 7: the employee, and why it cannot be rung, if so.
func (d *deciding) reach(id int) (e call.Employee, reason string) {
	e, why := reach(d.facts.Employees, &d.facts.Numbers, id)
	return e, why.about(e)
}

// obstacle is why an employee cannot be rung.
type obstacle int

const (
	free      obstacle = iota
	nobody             // no employee is set
	stranger           // the portal does not know the employee
	dismissed          // the employee has left
	mute               // no extension in the profile
	elsewhere          // an extension that the PBX does not have
)

func reach(employees map[int]call.Employee, numbers *call.Numbers, id int) (call.Employee, obstacle) {
	e, known := employees[id]
	e.ID = id
	switch {
	case id == 0:
		return call.Employee{}, nobody
	case !known:
		return e, stranger
	case e.Dismissed:
		return e, dismissed
	case e.Extension == "":
		return e, mute
	case !numbers.Has(e.Extension):
		return e, elsewhere
	}
	return e, free
}

// about words o, met by e; "" where e can be rung.
func (o obstacle) about(e call.Employee) string {
	switch o {
	case nobody:
		return "no employee is set"
	case stranger:
		return "the employee is not known"
	case dismissed:
		return "the employee is dismissed"
	case mute:
		return "the employee has no extension"
	case elsewhere:
		return "the PBX has no extension " + string(e.Extension)
	}
	return ""
}

// bySticky is step 6: a live binding goes before the managers.
func (d *deciding) bySticky() bool {
	s := d.facts.Sticky
	if s == nil {
		return false
	}
	e, reason := d.reach(s.Employee)
	switch {
	case !d.plan.sticky:
		reason = "sticky is off"
	case !d.at.Before(s.Until):
		reason = "it ended " + d.stamp(s.Until)
	case d.forbidden() != nil:
		reason = describe(d.forbidden()) + " forbids sticking"
	case reason == "" && e.StickyMinutes != nil && *e.StickyMinutes <= 0:
		reason = "the employee never sticks"
	}
	if reason != "" {
		d.note("sticky", "ignored", "bound to ", person(e), "; ", reason)
		return false
	}
	d.note("sticky", string(e.Extension), "bound to ", person(e), " until ", d.stamp(s.Until))
	d.Outcome, d.Target, d.Employee = call.OutcomeSticky, e.Extension, &e
	return true
}

// forbidden is an entity of the section that forbids sticking.
func (d *deciding) forbidden() *call.Entity {
	for _, r := range d.rings {
		if r.entity.NoSticky {
			return r.entity
		}
	}
	return nil
}

// byManagers is the rest of steps 4 and 7: all entities must ring the same
// extension. Where they do by different ways, the strongest gives the outcome:
// temporary before manager before responsible, and the first such entity.
func (d *deciding) byManagers() {
	best, rung, silent := &d.rings[0], call.Extension(""), false
	for i := range d.rings {
		r := &d.rings[i]
		switch {
		case r.extension == "":
			silent = true
			continue
		case rung != "" && r.extension != rung:
			d.Outcome = call.OutcomeAmbiguous
			d.note("managers", "ambiguous", "they ring different extensions: ", string(rung), " and ", string(r.extension))
			return
		case rung == "" || strength(r.outcome) > strength(best.outcome):
			best = r
		}
		rung = r.extension
	}
	if silent {
		d.Outcome = call.OutcomeNoExtension
		d.note("managers", "no extension", "not every ", string(d.kind), " has somebody who can be rung: no silent fall to the next")
		return
	}
	entity, employee := *best.entity, best.employee
	d.Outcome, d.Target, d.Entity = best.outcome, rung, &entity
	if d.alike = d.sharing(employee); d.alike == "" {
		d.Employee = &employee
	}
}

func strength(o call.Outcome) int {
	switch o {
	case call.OutcomeTemporary:
		return 2
	case call.OutcomeManager:
		return 1
	}
	return 0
}

// sharing names two different employees of the section, all of whose
// employees ring the same extension; "" where it is one employee.
func (d *deciding) sharing(e call.Employee) string {
	for _, r := range d.rings {
		if r.employee.ID != e.ID {
			return person(e) + " and " + person(r.employee)
		}
	}
	return ""
}

// divert is the rest of step 7 where the rule wants it: an extension that is
// known to take no calls is not rung.
func (d *deciding) divert() {
	why, absent := d.facts.Unavailable[d.Target]
	if d.absent = ""; !absent || d.rule.unavailable == "" || d.rule.unavailable == d.Target {
		return
	}
	d.note("availability", string(d.rule.unavailable), "extension ", string(d.Target), " takes no calls: ", shortened(why))
	d.absent, d.Target, d.Employee, d.alike = d.Target, d.rule.unavailable, nil, ""
}

// decideGreeting is steps 5 and 8.
func (d *deciding) decideGreeting() {
	switch {
	case d.absent != "":
		d.note("greeting", "none", "it would name somebody who takes no calls")
	case d.alike != "":
		d.note("greeting", "none", d.alike, " share extension ", string(d.Target), ": no name would be right")
	case d.Employee == nil:
		d.note("greeting", "none", "no manager or sticky employee was found")
	case !d.rule.greeting:
		d.note("greeting", "none", "the rule has greeting: false")
	case d.direct():
		d.note("greeting", "none", "direct: every ", string(d.kind), " of the section is")
	default:
		d.Greeting = true
		d.note("greeting", "plays", "for ", person(*d.Employee))
	}
}

// direct is step 5: every entity of the section is direct.
func (d *deciding) direct() bool {
	for _, r := range d.rings {
		if !r.entity.Direct {
			return false
		}
	}
	return len(d.rings) > 0
}

// judgeDigits is the rest of step 8: digits that name an existing number
// replace the target.
func (d *deciding) judgeDigits() {
	digits := d.plan.digits.judged(d.facts.Digits)
	switch {
	case digits == "" && d.Greeting:
		d.note("digits", "none", "the caller dialled nothing")
	case digits == "":
	case !d.facts.Numbers.Has(call.Extension(digits)):
		d.note("digits", "ignored", "the PBX has no extension or queue ", shortened(digits))
	default:
		d.note("digits", digits, "the caller dialled an existing number")
		d.Outcome, d.Target, d.Employee, d.Entity = call.OutcomeDigits, call.Extension(digits), nil, nil
		d.divert()
	}
}

// judged is what counts of the keys pressed: up to the end key, and at most
// Max. What is left is one number or none: parts of it are not tried.
func (s DigitsSource) judged(keys string) string {
	for i := range len(keys) {
		if s.End != "" && keys[i:i+1] == s.End {
			keys = keys[:i]
			break
		}
	}
	if s.Max > 0 && len(keys) > s.Max {
		keys = keys[:s.Max]
	}
	return keys
}

// stamp is t as traces show it, in the plan's zone.
func (d *deciding) stamp(t time.Time) string { return t.In(d.plan.zone).Format(time.DateTime) }
