package routing

import (
	"slices"
	"time"

	"frontdesk/call"
)

// inquiry is one call as rules look at it.
type inquiry struct {
	plan  *Plan
	facts *Facts

	did, caller call.Number // normalised; a hidden caller has none
	at          time.Time   // in the plan's zone
	vars        *variables  // of expressions, made when the first is reached
	wanted      bool        // a plan with expressions on the CRM's answer asks for it
	heard       bool        // and has it
}

func (p *Plan) inquire(f *Facts) inquiry {
	q := inquiry{plan: p, facts: f, did: number(f.DID, p.country), at: f.At.In(p.zone)}
	if !f.Anonymous {
		q.caller = number(f.Caller, p.country)
	}
	return q
}

// condition is a kind of condition of a rule.
type condition int

const (
	onTrunk condition = iota
	onDID
	onCaller
	onHours
	onWhen
)

// failure is the condition that kept a rule from matching.
type failure struct {
	condition condition
	holiday   string // that closed the hours
	part      int    // of the expression
	err       error  // of the expression
	unknown   bool   // the expression turns on the CRM's answer, and there is none
}

// match reports whether every condition of r holds, and if not, the first that
// fails. Conditions are tried in the order in which they get dearer.
func (r *rule) match(q *inquiry) (failure, bool) {
	if len(r.trunks) > 0 && !slices.Contains(r.trunks, q.facts.Trunk) {
		return failure{condition: onTrunk}, false
	}
	if len(r.did.patterns) > 0 {
		if _, ok := r.did.match(q.did); !ok {
			return failure{condition: onDID}, false
		}
	}
	if len(r.caller.patterns) > 0 {
		if _, ok := r.caller.match(q.caller); !ok {
			return failure{condition: onCaller}, false
		}
	}
	if r.hours != nil {
		if open, holiday := r.hours.open(q.at); !open {
			return failure{condition: onHours, holiday: holiday}, false
		}
	}
	if r.when != nil {
		if is, part, err := r.when.holds(q.variables(r.when), q.heard); is != yes {
			return failure{condition: onWhen, part: part, err: err, unknown: is == unknown}, false
		}
	}
	return failure{}, true
}

// variables are the call's values for e.
func (q *inquiry) variables(e *expression) *variables {
	if q.vars == nil {
		q.vars = &variables{
			Trunk: q.facts.Trunk, DID: string(q.did), Caller: string(q.caller),
			CallerName: q.facts.CallerName, Anonymous: q.hidden(), clock: clockAt(q.at),
		}
	}
	if e.asks && q.heard && q.vars.CRM.Field == nil {
		q.vars.CRM = newAnswer(q.plan.section(&q.facts.CRM))
	}
	e.functions(q.vars, q.plan.country, q.at)
	return q.vars
}

// hidden reports whether the caller is anonymous, or gave no number at all.
func (q *inquiry) hidden() bool { return q.caller == "" }

// blockedBy is the pattern that blocks the caller. A number that the caller
// hides, and the trunk knows, is blocked all the same.
func (q *inquiry) blockedBy() (string, bool) {
	return list{patterns: q.plan.blocked}.match(number(q.facts.Caller, q.plan.country))
}

// Search reports whether deciding f calls for asking the CRM: not for anonymous
// and blocked callers, where the rule wants no search, or without a rule. What f
// holds of an answer counts for nothing. A rule whose `when` speaks of the CRM,
// and whose other conditions hold, calls for it as well, unless it wants no
// search itself.
func (p *Plan) Search(f Facts) bool {
	q := p.inquire(&f)
	return q.search()
}

// search is Search; it leaves the answer unheard.
func (q *inquiry) search() bool {
	for i := range q.plan.rules {
		r := &q.plan.rules[i]
		f, ok := r.match(q)
		if ok || f.unknown && r.lookup {
			_, blocked := q.blockedBy()
			if wanted := r.lookup && !q.hidden() && !blocked; ok || wanted {
				return wanted
			}
		}
	}
	return false
}

// hear lets expressions look at the CRM's answer where one was asked for: facts
// from elsewhere, as in a replay, may hold one that this plan would not have.
func (q *inquiry) hear() {
	if q.plan.asks {
		q.wanted = q.search()
		q.heard = q.wanted && answered(&q.facts.CRM)
	}
}
