package routing

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"frontdesk/call"
)

// lint warns of what works, though perhaps not as meant.
func (c *compiler) lint(p *Plan) {
	if len(p.rules) == 0 {
		c.warn("rules", "", "there is no rule: every call is refused with 404")
	}
	c.lintReach(p)
	c.lintTargets(p)
	c.lintDigits()
	c.lintAsking(p)
}

// lintAsking finds conditions on an answer that their rule does not ask for.
func (c *compiler) lintAsking(p *Plan) {
	for i, r := range p.rules {
		if r.when != nil && r.when.asks && !r.lookup {
			c.warn(fmt.Sprintf("rules[%d].when", i), "leave out lookup: false, or what speaks of crm",
				"%s has lookup: false and does not ask the CRM: this holds only where another rule asks for the same call", r.label)
		}
	}
}

// lintReach finds rules that can never be reached: an earlier one matches all
// that they match.
func (c *compiler) lintReach(p *Plan) {
	for i := range p.rules {
		path := fmt.Sprintf("rules[%d]", i)
		if last := len(p.rules) - 1; p.rules[i].matchesAll() && i < last {
			c.warn(path, "put it last, or give it a condition", "%s matches every call: the rules after it are never tried", p.rules[i].label)
		}
		for j := range i {
			if p.rules[j].covers(&p.rules[i]) {
				c.warn(path, "put it before "+p.rules[j].label, "%s is never reached: %s before it (rules[%d]) matches all its calls", p.rules[i].label, p.rules[j].label, j)
				break
			}
		}
	}
}

func (r *rule) matchesAll() bool {
	return len(r.trunks) == 0 && len(r.did.patterns) == 0 && len(r.caller.patterns) == 0 && r.hours == nil && r.when == nil
}

// covers reports whether r matches every call that other matches, as far as it
// can be told without calls.
func (r *rule) covers(other *rule) bool {
	if len(r.trunks) > 0 {
		if len(other.trunks) == 0 || slices.ContainsFunc(other.trunks, func(t string) bool { return !slices.Contains(r.trunks, t) }) {
			return false
		}
	}
	if !r.did.covers(other.did) || !r.caller.covers(other.caller) {
		return false
	}
	if r.when != nil && (other.when == nil || other.when.text != r.when.text) {
		return false
	}
	return r.hours == nil || other.hours != nil && (r.hours == other.hours || r.hours.covers(other.hours))
}

func (l list) covers(other list) bool {
	if len(l.patterns) == 0 {
		return true
	}
	return len(other.patterns) > 0 && !slices.ContainsFunc(other.patterns, func(o pattern) bool {
		return !slices.ContainsFunc(l.patterns, func(p pattern) bool { return p.covers(o) })
	})
}

// lintTargets finds defaults that the PBX does not have. Where its numbers are
// not known yet, nothing can be said.
func (c *compiler) lintTargets(p *Plan) {
	if len(c.src.Numbers.Extensions)+len(c.src.Numbers.Queues) == 0 {
		return
	}
	for i, r := range p.rules {
		if !c.src.Numbers.Has(r.fallback) {
			c.warn(fmt.Sprintf("rules[%d].default", i), "", "the PBX has no extension or queue %s", strconv.Quote(string(r.fallback)))
		}
		if r.unavailable != "" && !c.src.Numbers.Has(r.unavailable) {
			c.warn(fmt.Sprintf("rules[%d].on_unavailable", i), "", "the PBX has no extension or queue %s", strconv.Quote(string(r.unavailable)))
		}
	}
}

func (c *compiler) lintDigits() {
	longest := max(call.Ranges(c.src.Numbers.Extensions).Longest(), call.Ranges(c.src.Numbers.Queues).Longest())
	if limit := c.src.Digits.Max; limit > 0 && limit < longest {
		c.warn("digits.max", "", "the PBX has numbers of %d digits, of which a caller can dial only %d", longest, limit)
	}
}

func sortedKeys[V any](m map[string]V) []string {
	return slices.Sorted(maps.Keys(m))
}
