package crmtest

import (
	"fmt"
	"strings"
	"time"
)

// operating is the portal's budget of execution time: so much for each method
// and credential in ten minutes.
type operating struct {
	limit, each time.Duration
	spent       map[string]time.Duration
	resets      map[string]time.Time
}

// operatingWindow is over which execution time is summed up.
const operatingWindow = 10 * time.Minute

// SetOperating grants each method and credential limit of execution time in
// ten minutes, and says that a call takes each of it. Beyond it calls are
// refused with OPERATION_TIME_LIMIT. A limit of 0 switches it off.
func (p *Portal) SetOperating(limit, each time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.limits.operating = operating{limit: limit, each: each, spent: map[string]time.Duration{}, resets: map[string]time.Time{}}
}

// spend counts a call of a method against the budget, and refuses those that
// webhooks may not make. mu is held.
func (p *Portal) spend(name string, c invocation) *Failure {
	name = strings.ToLower(name)
	if c.app == "" && p.apps.only[name] {
		return &Failure{403, "WRONG_AUTH_TYPE", "Current authorization type is denied for this method"}
	}
	o := &p.limits.operating
	if o.limit == 0 {
		return nil
	}
	key := budgetOf(name, c)
	if now := p.now(); !now.Before(o.resets[key]) {
		o.spent[key], o.resets[key] = 0, now.Add(operatingWindow)
	}
	if o.spent[key] >= o.limit {
		return Fault{Kind: OperationTime}.failure()
	}
	o.spent[key] += o.each
	return nil
}

func budgetOf(name string, c invocation) string {
	return fmt.Sprintf("%s by %s of %d", strings.ToLower(name), c.app, c.user)
}

// clockOf is the time of one command of a batch, with what its method has used.
// mu is held.
func (p *Portal) clockOf(name string, c invocation) map[string]any {
	out := map[string]any{"start": 1.0, "finish": 1.1, "duration": 0.1, "processing": 0.1}
	if o := &p.limits.operating; o.limit > 0 {
		key := budgetOf(name, c)
		out["operating"], out["operating_reset_at"] = o.spent[key].Seconds(), o.resets[key].Unix()
	}
	return out
}
