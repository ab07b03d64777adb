package routing

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"frontdesk/call"
)

// Snapshot is all of a portal that routing reads, at one moment.
type Snapshot struct {
	At        time.Time
	Employees map[int]call.Employee // dismissed ones too
	Numbers   call.Numbers          // that exist on the PBX; the zero value: not known
	Cards     []AuditCard           // contacts, companies and leads
}

// AuditCard is an entity with the numbers on its card.
type AuditCard struct {
	call.Entity
	Phones []AuditPhone
}

// AuditPhone is a number on a card.
type AuditPhone struct {
	Stored string      // as typed
	Number call.Number // as read; empty where it is none
	Lost   string      // why who calls from it is not found, in words; empty where they are
}

// FindingKind is what is wrong. The list is closed.
type FindingKind string

// The kinds of findings, in the order in which they are told.
const (
	FindingNoExtension      FindingKind = "no_extension"      // whoever gets the calls has no extension, or nobody gets them
	FindingUnknownExtension FindingKind = "unknown_extension" // the PBX does not have it
	FindingDismissed        FindingKind = "dismissed"         // whoever gets the calls has left
	FindingAmbiguous        FindingKind = "ambiguous"         // one number rings different extensions
	FindingDeputyEnded      FindingKind = "deputy_ended"      // a temporary manager past their end, or without one
	FindingUnsearchable     FindingKind = "unsearchable"      // the portal does not find a number by its caller
	FindingSharedExtension  FindingKind = "shared_extension"  // two employees with one extension
)

// FindingKinds lists the kinds in the order in which they are told.
func FindingKinds() []FindingKind {
	return []FindingKind{
		FindingNoExtension, FindingUnknownExtension, FindingDismissed, FindingAmbiguous, FindingDeputyEnded,
		FindingUnsearchable, FindingSharedExtension,
	}
}

// Finding is something that misroutes calls, or will. Entity is written
// "contact:12". What does not apply is empty or 0.
type Finding struct {
	Kind     FindingKind `json:"kind"`
	Entity   string      `json:"entity"`
	Employee int         `json:"employee"`
	Number   call.Number `json:"number"`
	Text     string      `json:"text"`

	Entities  []string `json:"entities,omitempty"`  // all that an ambiguous number is on
	Employees []int    `json:"employees,omitempty"` // all that share an extension
}

// Audit tells what misroutes calls, or will, before it does: it takes the steps
// of a decision for every number of s. What never decides is not told, as the
// company behind a contact of the same number, or a closed lead. The findings
// come by kind, then in the order of s.
func (p *Plan) Audit(s Snapshot) []Finding {
	a := audit{plan: p, snapshot: &s, numbers: s.Numbers, on: map[call.Number][]int{}, first: map[call.Number]int{}, findings: []Finding{}}
	if len(s.Numbers.Extensions)+len(s.Numbers.Queues) == 0 {
		a.numbers = ringable(s.Employees)
	}
	for i := range s.Cards {
		a.index(i)
	}
	for i := range s.Cards {
		a.card(&s.Cards[i])
	}
	a.ambiguous()
	a.shared()
	order := FindingKinds()
	slices.SortStableFunc(a.findings, func(x, y Finding) int {
		return cmp.Compare(slices.Index(order, x.Kind), slices.Index(order, y.Kind))
	})
	return a.findings
}

// ringable are the extensions of all employees: nothing is said about those of
// a PBX whose numbers are not known.
func ringable(employees map[int]call.Employee) call.Numbers {
	var n call.Numbers
	for _, e := range employees {
		if e.Extension != "" {
			n.Extensions = append(n.Extensions, string(e.Extension))
		}
	}
	return n
}

// audit is one Audit in the making.
type audit struct {
	plan     *Plan
	snapshot *Snapshot
	numbers  call.Numbers
	on       map[call.Number][]int // the cards of a number
	first    map[call.Number]int   // the section of a number that decides
	findings []Finding
}

func (a *audit) add(f Finding) { a.findings = append(a.findings, f) }

// index notes the numbers of card i.
func (a *audit) index(i int) {
	c := &a.snapshot.Cards[i]
	if a.plan.ignores(&c.Entity) {
		return
	}
	section := slices.Index(call.Kinds(), c.Kind)
	for _, ph := range c.Phones {
		n := ph.Number
		if on := a.on[n]; n == "" || len(on) > 0 && on[len(on)-1] == i {
			continue
		}
		a.on[n] = append(a.on[n], i)
		if best, ok := a.first[n]; !ok || section < best {
			a.first[n] = section
		}
	}
}

// card finds what is wrong with one card by itself.
func (a *audit) card(c *AuditCard) {
	if a.plan.ignores(&c.Entity) {
		return
	}
	if n, decides := a.decides(c); decides {
		a.reached(c, n)
	}
	if c.Temporary != 0 && !a.snapshot.At.Before(c.Until) {
		e, _ := reach(a.snapshot.Employees, &a.numbers, c.Temporary)
		text := "ended " + a.stamp(c.Until)
		if c.Until.IsZero() {
			text = "has no end and does not count"
		}
		a.add(Finding{
			Kind: FindingDeputyEnded, Entity: nameIn(&c.Entity), Employee: c.Temporary, Number: anyNumber(c),
			Text: describe(&c.Entity) + ": temporary manager " + person(e) + " " + text + ", and is still set",
		})
	}
	for _, ph := range c.Phones {
		if ph.Lost != "" {
			a.add(Finding{
				Kind: FindingUnsearchable, Entity: nameIn(&c.Entity), Employee: c.Responsible, Number: ph.Number,
				Text: fmt.Sprintf("%s: who calls from %q is not found: %s", describe(&c.Entity), shortened(ph.Stored), ph.Lost),
			})
		}
	}
}

// decides gives a number for which the card's section decides.
func (a *audit) decides(c *AuditCard) (call.Number, bool) {
	section := slices.Index(call.Kinds(), c.Kind)
	for _, ph := range c.Phones {
		if first, ok := a.first[ph.Number]; ok && first == section {
			return ph.Number, true
		}
	}
	return "", false
}

// reached finds whoever gets a card's calls, now or once the temporary manager's
// time is over, and cannot be rung.
func (a *audit) reached(c *AuditCard, n call.Number) {
	id, outcome := effective(&c.Entity, a.snapshot.At)
	a.ring(c, n, id, outcome, "go")
	if outcome == call.OutcomeTemporary {
		later := c.Entity
		later.Temporary = 0
		id, next := effective(&later, a.snapshot.At)
		a.ring(c, n, id, next, "will go, from "+a.stamp(c.Until)+" on,")
	}
}

func (a *audit) ring(c *AuditCard, n call.Number, id int, outcome call.Outcome, when string) {
	e, why := reach(a.snapshot.Employees, &a.numbers, id)
	kind, wrong := map[obstacle]FindingKind{
		nobody: FindingNoExtension, stranger: FindingNoExtension, mute: FindingNoExtension,
		elsewhere: FindingUnknownExtension, dismissed: FindingDismissed,
	}[why]
	if !wrong {
		return
	}
	who := string(outcome)
	if id != 0 {
		who += " " + person(e)
	}
	a.add(Finding{
		Kind: kind, Entity: nameIn(&c.Entity), Employee: id, Number: n,
		Text: "the calls of " + describe(&c.Entity) + " " + when + " to the " + who + ": " + why.about(e),
	})
}

// ambiguous finds numbers whose entities ring different extensions.
func (a *audit) ambiguous() {
	for _, n := range slices.Sorted(maps.Keys(a.on)) {
		cards := a.on[n]
		if len(cards) < 2 {
			continue
		}
		facts := Facts{At: a.snapshot.At, Caller: n, Employees: a.snapshot.Employees, Numbers: a.numbers}
		facts.CRM.Source = call.SourceMirror
		for _, i := range cards {
			facts.CRM.Entities = append(facts.CRM.Entities, a.snapshot.Cards[i].Entity)
		}
		d := deciding{inquiry: a.plan.inquire(&facts)}
		d.findSection()
		d.findManagers()
		if d.byManagers(); d.Outcome == call.OutcomeAmbiguous {
			a.add(ambiguity(n, d.rings))
		}
	}
}

func ambiguity(n call.Number, rings []ring) Finding {
	f := Finding{Kind: FindingAmbiguous, Entity: nameIn(rings[0].entity), Employee: rings[0].employee.ID, Number: n}
	var texts []string
	for _, r := range rings {
		f.Entities = append(f.Entities, nameIn(r.entity))
		texts = append(texts, describe(r.entity)+" rings "+cmp.Or(string(r.extension), "nobody"))
	}
	const shown = 5
	if more := len(texts) - shown; more > 0 {
		texts = append(texts[:shown], fmt.Sprintf("and %d more", more))
	}
	f.Text = "calls from " + string(n) + " go to the default: " + strings.Join(texts, ", ")
	return f
}

// shared finds extensions that several employees have.
func (a *audit) shared() {
	of := map[call.Extension][]int{}
	for _, id := range slices.Sorted(maps.Keys(a.snapshot.Employees)) {
		if e := a.snapshot.Employees[id]; e.Extension != "" && !e.Dismissed {
			of[e.Extension] = append(of[e.Extension], id)
		}
	}
	for _, ext := range slices.Sorted(maps.Keys(of)) {
		ids := of[ext]
		if len(ids) < 2 {
			continue
		}
		var people []string
		for _, id := range ids {
			people = append(people, person(a.snapshot.Employees[id]))
		}
		a.add(Finding{
			Kind: FindingSharedExtension, Employee: ids[0], Employees: ids,
			Text: "extension " + string(ext) + " is that of " + strings.Join(people, " and of ") + ": who of them is called cannot be told",
		})
	}
}

func (a *audit) stamp(t time.Time) string { return t.In(a.plan.zone).Format(time.DateTime) }

// nameIn names an entity in findings: "contact:12".
func nameIn(e *call.Entity) string { return fmt.Sprintf("%s:%d", e.Kind, e.ID) }

func anyNumber(c *AuditCard) call.Number {
	for _, ph := range c.Phones {
		if ph.Number != "" {
			return ph.Number
		}
	}
	return ""
}
