package config

import (
	"strings"

	"frontdesk/call"
	"frontdesk/routing"
)

// compile makes the plan out of the rules and reports what routing says of
// them, at the places where it stands in the file.
func compile(c *Config, rep *report) {
	plan, problems := routing.Compile(Dialplan(c, rep.numbersKnown(c)))
	for _, p := range problems {
		rep.routing(p)
	}
	if !Problems(rep.problems).HasErrors() {
		c.Plan = plan
	}
}

// Dialplan is the part of a configuration that routing compiles. The numbers
// are those that exist on the PBX, which 3CX may know better than the file.
func Dialplan(c *Config, numbers call.Numbers) routing.Source {
	src := routing.Source{
		Country: c.Country, Zone: c.Zone, Numbers: numbers,
		Schedules: map[string]routing.ScheduleSource{},
		Never:     c.CRM.Leads.NeverFor,
		Blocked:   routing.BlockedSource{Callers: c.Blocked.Callers, Action: c.Blocked.Action},
		Leads:     c.CRM.Leads.Closed,
		Digits:    routing.DigitsSource{Max: c.Digits.Max, End: c.Digits.End},
		Sticky:    c.Sticky.Time > 0,
	}
	for _, t := range c.Trunks {
		src.Trunks = append(src.Trunks, t.Name)
	}
	for name, s := range c.Schedules {
		src.Schedules[name] = routing.ScheduleSource{Hours: s.Hours, Holidays: s.Holidays}
	}
	for _, r := range c.Rules {
		src.Rules = append(src.Rules, routing.RuleSource{
			Name: r.Name, Trunk: r.Trunk, DID: r.DID, Caller: r.Caller, Hours: r.Hours, When: r.When,
			Default: r.Default, OnUnavailable: r.OnUnavailable, Lookup: r.Lookup, Greeting: r.Greeting,
		})
	}
	return src
}

// numbersKnown are the PBX's numbers as far as the file tells them: none where
// they are fed from 3CX, or are wrong, so that no rule is blamed for them.
func (r *report) numbersKnown(c *Config) call.Numbers {
	if c.PBX.XAPI != nil {
		return call.Numbers{}
	}
	for path := range r.failed {
		if path == "pbx" || strings.HasPrefix(path, "pbx.extensions") || strings.HasPrefix(path, "pbx.queues") {
			return call.Numbers{}
		}
	}
	return call.Numbers{Extensions: c.PBX.Extensions, Queues: c.PBX.Queues}
}

// routing reports a problem of the dialplan.
func (r *report) routing(p routing.Problem) {
	if r.spoilt(p.Path) || r.missing(p.Path) {
		return
	}
	target := r.root.find(p.Path)
	at := target.at
	if target.exact && p.Offset >= 0 {
		at = r.src.place(target.node, p.Offset)
	}
	if p.Warning {
		r.add(at, p.Path, p.Message, p.Hint, true)
		return
	}
	if p.Hint == "" && r.src.commented(target.node) {
		p.Hint = "a # after a blank begins a comment: quote the value, or write it below |"
	}
	r.fail(at, p.Path, p.Message, p.Hint)
}

// missing reports whether a list of names, in which a rule looks for its own,
// could not be read: then a name that is not found there says nothing.
func (r *report) missing(path string) bool {
	return strings.Contains(path, "].trunk") && r.failed["trunks"] ||
		strings.HasSuffix(path, "].hours") && r.failed["schedules"]
}
