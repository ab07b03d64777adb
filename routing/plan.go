package routing

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"frontdesk/call"
)

// Plan is a compiled dialplan. It never changes and serves any number of calls
// at once.
type Plan struct {
	country     string
	zone        *time.Location
	rules       []rule
	blocked     []pattern
	never       []pattern // callers who never become leads
	blockedGoOn bool      // blocked callers go to the rule's default
	closedLeads bool      // closed leads count
	digits      DigitsSource
	sticky      bool
	diverts     bool     // some rule looks at who takes no calls
	asks        bool     // some `when` speaks of the CRM's answer
	fields      []string // that they name, in order
}

// rule is one compiled rule.
type rule struct {
	name     string
	label    string // in traces
	fallback call.Extension
	trunks   []string
	did      list
	caller   list
	hours    *hours
	when     *expression
	lookup   bool
	greeting bool

	unavailable call.Extension // where a call goes whose extension takes none; empty: nowhere else
}

// list is the patterns of one condition; an empty one holds for every call.
type list struct {
	patterns []pattern
	text     string // in traces
}

// match tells the first pattern that n matches.
func (l list) match(n call.Number) (string, bool) {
	for _, p := range l.patterns {
		if p.matches(n) {
			return p.text, true
		}
	}
	return "", false
}

// holds reports whether n matches a pattern.
func (l list) holds(n call.Number) bool {
	_, ok := l.match(n)
	return ok
}

// Compile makes a plan of src and tells all its problems at once. The plan is
// nil if any of them is more than a warning.
func Compile(src Source) (*Plan, []Problem) {
	c := compiler{src: src, schedules: map[string]*hours{}}
	plan := &Plan{
		country: src.Country, zone: src.Zone, digits: src.Digits, sticky: src.Sticky,
		closedLeads: src.Leads == "use", blockedGoOn: src.Blocked.Action == "default",
	}
	if plan.zone == nil {
		plan.zone = time.UTC
	}
	c.settings()
	c.compileSchedules()
	plan.blocked = c.patterns("blocked.callers", src.Blocked.Callers).patterns
	plan.never = c.patterns("crm.leads.never_for", src.Never).patterns
	for i, r := range src.Rules {
		plan.rules = append(plan.rules, c.rule(i, r))
	}
	plan.asks, plan.fields = asked(plan.rules)
	plan.diverts = slices.ContainsFunc(plan.rules, func(r rule) bool { return r.unavailable != "" })
	c.names()
	broken := slices.ContainsFunc(c.problems, func(p Problem) bool { return !p.Warning })
	if !broken {
		c.lint(plan)
		return plan, c.problems
	}
	return nil, c.problems
}

// Fields are the codes of the entities' fields that the rules' `when` name, each
// once and in order: the CRM must be asked for them.
func (p *Plan) Fields() []string { return slices.Clone(p.fields) }

// NeverLead reports whether a caller never becomes a lead: by the patterns of
// Source.Never, or since the number is one that a rule names as called.
func (p *Plan) NeverLead(n call.Number) bool {
	if (list{patterns: p.never}).holds(n) {
		return true
	}
	for _, r := range p.rules {
		for _, did := range r.did.patterns {
			if did.exact() && did.matches(n) {
				return true
			}
		}
	}
	return false
}

// Diverts reports whether deciding looks at Facts.Unavailable.
func (p *Plan) Diverts() bool { return p.diverts }

func asked(rules []rule) (asks bool, fields []string) {
	for i := range rules {
		if w := rules[i].when; w != nil {
			asks = asks || w.asks
			fields = append(fields, w.fields...)
		}
	}
	slices.Sort(fields)
	return asks, slices.Compact(fields)
}

// compiler gathers problems on the way from a Source to a Plan.
type compiler struct {
	src       Source
	schedules map[string]*hours
	problems  []Problem
}

func (c *compiler) fail(path, hint, format string, args ...any) {
	c.problems = append(c.problems, Problem{Path: path, Message: fmt.Sprintf(format, args...), Hint: hint, Offset: -1})
}

func (c *compiler) warn(path, hint, format string, args ...any) {
	c.fail(path, hint, format, args...)
	c.problems[len(c.problems)-1].Warning = true
}

func (c *compiler) report(path string, faults []fault) {
	for _, f := range faults {
		c.problems = append(c.problems, f.at(path))
	}
}

// settings checks the values that stand for themselves.
func (c *compiler) settings() {
	c.oneOf("crm.leads.closed", c.src.Leads, "ignore", "use")
	c.oneOf("blocked.action", c.src.Blocked.Action, "reject", "default")
	if c.src.Digits.Max < 0 {
		c.fail("digits.max", "0 is no limit", "%d is no number of digits", c.src.Digits.Max)
	}
	if end := c.src.Digits.End; end != "" && end != "#" && end != "*" {
		c.fail("digits.end", `"#", "*", or "" for none`, "%q is no key that can end an entry", end)
	}
}

func (c *compiler) oneOf(path, value string, allowed ...string) {
	if value != "" && !slices.Contains(allowed, value) {
		c.fail(path, suggest(value, allowed, strings.Join(allowed, ", ")), "%q is none of the values", value)
	}
}

// compileSchedules reads the named schedules, in the order of their names so
// that problems come in the same order every time.
func (c *compiler) compileSchedules() {
	for _, name := range sortedKeys(c.src.Schedules) {
		src, path := c.src.Schedules[name], "schedules."+name
		h := &hours{text: name}
		if len(src.Hours) == 0 {
			c.fail(path+".hours", `as in ["Mon-Fri 09:00-18:00"]`, "the schedule has no hours")
		}
		for i, line := range src.Hours {
			if f := h.add(line); f != nil {
				c.report(fmt.Sprintf("%s.hours[%d]", path, i), []fault{*f})
			}
		}
		for i, text := range src.Holidays {
			day, f := parseHoliday(text)
			if f != nil {
				c.report(fmt.Sprintf("%s.holidays[%d]", path, i), []fault{*f})
				continue
			}
			h.holidays = append(h.holidays, day)
		}
		c.schedules[name] = h
	}
}

// hours reads the name of a schedule, or hours as they stand.
func (c *compiler) hours(text string) (*hours, []fault) {
	if h, ok := c.schedules[strings.TrimSpace(text)]; ok {
		return h, nil
	}
	h := &hours{text: strings.TrimSpace(text)}
	f := h.add(text)
	if f == nil {
		return h, nil
	}
	if h.text != "" && !strings.ContainsAny(h.text, ":0123456789 ,-") {
		f = &fault{message: fmt.Sprintf("there is no schedule %q", text), offset: -1, hint: suggest(text, sortedKeys(c.schedules), strings.Join(sortedKeys(c.schedules), ", "))}
	}
	return nil, []fault{*f}
}

func (c *compiler) rule(i int, src RuleSource) rule {
	path := fmt.Sprintf("rules[%d]", i)
	r := rule{
		name: src.Name, label: "rule " + strconv.Quote(src.Name), fallback: call.Extension(src.Default),
		trunks: src.Trunk, lookup: src.Lookup == nil || *src.Lookup, greeting: src.Greeting == nil || *src.Greeting,
		did: c.patterns(path+".did", src.DID), caller: c.patterns(path+".caller", src.Caller),
		unavailable: call.Extension(src.OnUnavailable),
	}
	for j, name := range src.Trunk {
		if !slices.Contains(c.src.Trunks, name) {
			c.fail(fmt.Sprintf("%s.trunk[%d]", path, j), suggest(name, c.src.Trunks, strings.Join(c.src.Trunks, ", ")), "there is no trunk %q", name)
		}
	}
	c.target(path+".default", src.Default)
	if src.OnUnavailable != "" {
		c.dialled(path+".on_unavailable", src.OnUnavailable)
	}
	var faults []fault
	if src.Hours != "" {
		r.hours, faults = c.hours(src.Hours)
		c.report(path+".hours", faults)
	}
	if src.When != nil {
		r.when, faults = parseWhen(*src.When, c.src.Country, c.hours)
		c.report(path+".when", faults)
	}
	return r
}

func (c *compiler) patterns(path string, texts []string) list {
	const shown = 8
	var l list
	for i, text := range texts {
		p, faults := parsePattern(text, c.src.Country)
		c.report(fmt.Sprintf("%s[%d]", path, i), faults)
		l.patterns = append(l.patterns, p)
	}
	l.text = strings.Join(texts[:min(len(texts), shown)], ", ")
	if more := len(texts) - shown; more > 0 {
		l.text += fmt.Sprintf(" and %d more", more)
	}
	return l
}

// target checks a rule's default: it leaves in a SIP URI.
func (c *compiler) target(path, s string) {
	if s == "" {
		c.fail(path, "the number of an extension or queue", "the rule has no default")
		return
	}
	c.dialled(path, s)
}

// dialled checks a number on the PBX.
func (c *compiler) dialled(path, s string) {
	for i, r := range []rune(s) {
		if !strings.ContainsRune(charset, r) || r == '+' && i > 0 {
			c.fail(path, "digits, as dialled on the PBX", "%q cannot be dialled", s)
			return
		}
	}
}

// names checks that every rule has a name of its own: records tell rules by it.
func (c *compiler) names() {
	seen := map[string]int{}
	for i, r := range c.src.Rules {
		path := fmt.Sprintf("rules[%d].name", i)
		first, twice := seen[r.Name]
		switch {
		case strings.TrimSpace(r.Name) == "":
			c.fail(path, "records and traces tell rules by their names", "the rule has no name")
		case twice:
			c.fail(path, "", "rules[%d] has the name %q already", first, r.Name)
		default:
			seen[r.Name] = i
		}
	}
}
