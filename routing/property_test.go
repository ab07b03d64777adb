package routing_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"frontdesk/call"
	"frontdesk/routing"
)

// The conditions that random rules are made of, each with what it means in
// other terms than the package's.
type condition[T any] struct {
	text  string
	means func(T) bool
}

func number(text, re string) condition[string] {
	return condition[string]{text, regexp.MustCompile(re).MatchString}
}

func numberConditions() []condition[string] {
	return []condition[string]{
		number("+74951234567", `^\+74951234567$`),
		number("84991112233", `^\+74991112233$`),
		number("8 (916) 123-45-67", `^\+79161234567$`),
		number("+7495*", `^\+7495`),
		number("8499*", `^(\+7499|8499)`),
		number("_+7499XXXXXXX", `^\+7499[0-9]{7}$`),
		number("_916NXXXXXX", `^\+7916[2-9][0-9]{6}$`),
		number("_+7.", `^\+7.`),
		number("_1X[0-2]", `^1[0-9][0-2]$`),
		number("*", `.`),
	}
}

// moment is a local time as the naive implementation sees it.
type moment struct {
	day    string // "Mon"
	minute int
	date   string // "01-02"
}

func hourConditions() []condition[moment] {
	weekday := func(m moment) bool { return !strings.HasPrefix(m.day, "S") }
	return []condition[moment]{
		{"Mon-Fri 09:00-18:00", func(m moment) bool { return weekday(m) && m.minute >= 540 && m.minute <= 1079 }},
		{"Fri 22:00-06:00", func(m moment) bool {
			return m.day == "Fri" && m.minute >= 1320 || m.day == "Sat" && m.minute < 360
		}},
		{"Sat-Sun", func(m moment) bool { return !weekday(m) }},
		{"office", func(m moment) bool { return weekday(m) && m.minute/60 >= 9 && m.minute/60 < 18 && m.date != "03-04" }},
	}
}

func whenConditions() []condition[routing.Facts] {
	return []condition[routing.Facts]{
		{`anonymous`, func(f routing.Facts) bool { return f.Anonymous || f.Caller == "" }},
		{`caller_name == "VIP" and trunk != "backup"`, func(f routing.Facts) bool { return f.CallerName == "VIP" && f.Trunk != "backup" }},
		{`len(caller_name) > 3 || match(did, "+7495*")`, func(f routing.Facts) bool {
			return len(f.CallerName) > 3 || strings.HasPrefix(string(f.DID), "+7495")
		}},
		{`split(caller_name, "I")[1] == "P"`, func(f routing.Facts) bool { return f.CallerName == "VIP" }},
	}
}

// sure and perhaps are what is known of a condition on the CRM's answer.
const (
	never = iota
	perhaps
	sure
)

func certain(is bool) int { return map[bool]int{false: never, true: sure}[is] }

// crmCondition is a condition on what the CRM says, nil where it says nothing.
type crmCondition struct {
	text  string
	means func(f routing.Facts, section []call.Entity) int
}

func crmConditions() []crmCondition {
	vip := func(section []call.Entity) bool {
		return slices.ContainsFunc(section, func(e call.Entity) bool { return e.Fields["UF_CRM_VIP"] == "1" })
	}
	heard := func(section []call.Entity, is bool) int {
		if section == nil {
			return perhaps
		}
		return certain(is)
	}
	return []crmCondition{
		{`crm.found`, func(_ routing.Facts, s []call.Entity) int { return heard(s, len(s) > 0) }},
		{`trunk == "carrier" and not crm.found`, func(f routing.Facts, s []call.Entity) int {
			return min(certain(f.Trunk == "carrier"), heard(s, len(s) == 0))
		}},
		{`crm.field("UF_CRM_VIP") == true`, func(_ routing.Facts, s []call.Entity) int { return heard(s, vip(s)) }},
		{`crm.field("UF_CRM_VIP") != true and crm.count > 1`, func(_ routing.Facts, s []call.Entity) int { return heard(s, !vip(s) && len(s) > 1) }},
		{`crm.kind == "lead" or caller_name == "VIP"`, func(f routing.Facts, s []call.Entity) int {
			return max(certain(f.CallerName == "VIP"), heard(s, len(s) > 0 && s[0].Kind == "lead"))
		}},
	}
}

// world is a random dialplan with its meaning, and a call.
type world struct {
	source routing.Source
	rules  []func(routing.Facts, moment) bool // what of a rule's conditions is not about the CRM
	crm    []crmCondition                     // of each rule; means is nil for none
	facts  routing.Facts
}

func chance(r *rand.Rand, percent int) bool { return r.IntN(100) < percent }

func oneOf[T any](r *rand.Rand, of ...T) T { return of[r.IntN(len(of))] }

func newWorld(r *rand.Rand, moscow *time.Location, numbers []condition[string]) world {
	w := world{source: routing.Source{
		Country: "RU", Zone: moscow, Trunks: []string{"carrier", "backup"}, Sticky: chance(r, 85),
		Leads: oneOf(r, "ignore", "use", ""), Digits: routing.DigitsSource{Max: oneOf(r, 0, 3, 4), End: oneOf(r, "", "#", "*")},
		Schedules: map[string]routing.ScheduleSource{"office": {Hours: []string{"Mon-Fri 09:00-13:00", "Mon-Fri 13:00-18:00"}, Holidays: []string{"03-04"}}},
	}}
	if chance(r, 20) {
		w.source.Blocked = routing.BlockedSource{Callers: []string{"_916NXXXXXX"}, Action: oneOf(r, "", "reject", "default")}
	}
	for i := range 1 + r.IntN(4) {
		w.addRule(r, fmt.Sprintf("правило %d", i), numbers)
	}
	return w
}

func (w *world) addRule(r *rand.Rand, name string, numbers []condition[string]) {
	src := routing.RuleSource{Name: name, Default: oneOf(r, "800", "801")}
	var all []func(routing.Facts, moment) bool
	if chance(r, 25) {
		src.Trunk = []string{"carrier"}
		all = append(all, func(f routing.Facts, _ moment) bool { return f.Trunk == "carrier" })
	}
	if chance(r, 40) {
		a, b := oneOf(r, numbers...), oneOf(r, numbers...)
		src.DID = []string{a.text, b.text}
		all = append(all, func(f routing.Facts, _ moment) bool { return a.means(string(f.DID)) || b.means(string(f.DID)) })
	}
	if chance(r, 25) {
		c := oneOf(r, numbers...)
		src.Caller = []string{c.text}
		all = append(all, func(f routing.Facts, _ moment) bool { return !f.Anonymous && c.means(string(f.Caller)) })
	}
	if chance(r, 30) {
		c := oneOf(r, hourConditions()...)
		src.Hours = c.text
		all = append(all, func(_ routing.Facts, m moment) bool { return c.means(m) })
	}
	if chance(r, 25) {
		c := oneOf(r, whenConditions()...)
		src.When = &c.text
		all = append(all, func(f routing.Facts, _ moment) bool { return c.means(f) })
	}
	var asks crmCondition
	if src.When == nil && chance(r, 25) {
		asks = oneOf(r, crmConditions()...)
		src.When = &asks.text
	}
	w.crm = append(w.crm, asks)
	if no := false; chance(r, 15) {
		src.Lookup = &no
	}
	if v := chance(r, 50); chance(r, 30) {
		src.Greeting = &v
	}
	w.source.Rules = append(w.source.Rules, src)
	w.rules = append(w.rules, func(f routing.Facts, m moment) bool {
		return !slices.ContainsFunc(all, func(c func(routing.Facts, moment) bool) bool { return !c(f, m) })
	})
}

func (w *world) addFacts(r *rand.Rand) {
	at := time.Date(2026, 3, 2, 0, 0, 0, 0, w.source.Zone).Add(time.Duration(r.IntN(7*48)) * 30 * time.Minute)
	f := routing.Facts{
		At: oneOf(r, at, at.UTC()), Trunk: oneOf(r, "carrier", "carrier", "backup"), CallerName: oneOf(r, "", "VIP", "Иван"),
		Caller:    oneOf[call.Number](r, "+79161234567", "+79162345678", "+74991112233", "+380441234567", "112", ""),
		DID:       oneOf[call.Number](r, "+74951234567", "+74957654321", "+74991112233", "101", "8499", ""),
		Anonymous: chance(r, 8), Employees: map[int]call.Employee{},
		Numbers: call.Numbers{Extensions: call.Ranges{"200-209", "2010"}, Queues: call.Ranges{"800-801"}},
		Digits:  oneOf(r, "", "", "", "", "202", "202#", "20*", "2010", "20100", "999", "800#1", "#"),
		CRM:     call.Answer{Source: oneOf(r, call.SourceLive, call.SourceLive, call.SourceLive, call.SourceMirror, call.SourceNone)},
	}
	if f.CRM.Source == call.SourceNone {
		f.CRM.Missing = oneOf(r, call.MissingDeadline, call.MissingError, call.MissingSkipped, "")
	}
	for id := range 6 {
		e := call.Employee{ID: id + 1, Extension: oneOf[call.Extension](r, "201", "201", "202", "203", "800", "", "999"), Dismissed: chance(r, 10)}
		if n := r.IntN(2) * 10; chance(r, 20) {
			e.StickyMinutes = &n
		}
		f.Employees[e.ID] = e
	}
	who := func(percent int) int {
		if chance(r, percent) {
			return 1 + r.IntN(7) // 7 is nobody that is known
		}
		return 0
	}
	for i := range oneOf(r, 0, 1, 1, 1, 2, 2, 3, 4) {
		e := call.Entity{
			Kind: oneOf(r, call.KindContact, call.KindContact, call.KindCompany, call.KindLead), ID: i + 1,
			Responsible: who(95), Manager: who(30), Temporary: who(30),
			Direct: chance(r, 40), NoSticky: chance(r, 15), Closed: chance(r, 30), Unreadable: chance(r, 5),
			Fields: map[string]any{"UF_CRM_VIP": oneOf[any](r, "0", "1", nil)},
		}
		if chance(r, 80) {
			e.Until = at.Add(time.Duration(r.IntN(3)-1) * time.Minute)
		}
		f.CRM.Entities = append(f.CRM.Entities, e)
	}
	if chance(r, 40) {
		f.Sticky = &call.Sticky{Employee: 1 + r.IntN(7), Until: at.Add(time.Duration(r.IntN(4)-1) * time.Minute)}
	}
	w.facts = f
}

// naive decides w by the words of the design, without a thought for speed.
func naive(w world) verdict {
	f, local := w.facts, w.facts.At.In(w.source.Zone)
	m := moment{local.Format("Mon"), local.Hour()*60 + local.Minute(), local.Format("01-02")}
	blocked := len(w.source.Blocked.Callers) > 0 && regexp.MustCompile(`^\+7916[2-9]`).MatchString(string(f.Caller))
	i, asked := naiveRule(w, m, blocked || f.Anonymous || f.Caller == "")
	if i < 0 {
		return verdict{Outcome: "no_rule", Reject: 404, Search: asked}
	}
	rule := w.source.Rules[i]
	v := verdict{Rule: rule.Name, Default: call.Extension(rule.Default), Target: call.Extension(rule.Default), Search: asked}
	direct := false
	switch {
	case blocked && w.source.Blocked.Action != "default":
		return verdict{Outcome: "blocked", Reject: 603, Rule: v.Rule, Default: v.Default} // not asked
	case blocked:
		v.Outcome = "blocked"
	case f.Anonymous || f.Caller == "":
		v.Outcome = "anonymous"
	case rule.Lookup != nil && !*rule.Lookup:
		v.Outcome = "lookup_off"
	default:
		direct = naiveSearch(w, &v)
	}
	v.Greeting = v.Employee != 0 && !direct && (rule.Greeting == nil || *rule.Greeting)
	digits := f.Digits
	if end := w.source.Digits.End; end != "" {
		digits = strings.Split(digits, end)[0]
	}
	if limit := w.source.Digits.Max; limit > 0 && len(digits) > limit {
		digits = digits[:limit]
	}
	if regexp.MustCompile(`^(20[0-9]|2010|80[01])$`).MatchString(digits) {
		v.Target, v.Outcome, v.Employee, v.Entity = call.Extension(digits), "digits", 0, ""
	}
	return v
}

// naiveRule finds the rule that decides, -1 for none, and whether the CRM is
// asked: by the first rule with a search that matches, or might.
func naiveRule(w world, m moment, unsearched bool) (rule int, asked bool) {
	matches := func(section []call.Entity) (first int, wanted bool) {
		for i, plain := range w.rules {
			is := certain(plain(w.facts, m))
			if means := w.crm[i].means; is == sure && means != nil {
				is = means(w.facts, section)
			}
			lookup := w.source.Rules[i].Lookup == nil
			if is == perhaps && lookup && !unsearched {
				wanted = true
			}
			if is == sure {
				return i, wanted || lookup && !unsearched
			}
		}
		return -1, wanted
	}
	if rule, asked = matches(nil); !asked || w.facts.CRM.Source == call.SourceNone {
		return rule, asked
	}
	section := naiveSection(w.facts.CRM.Entities, w.source.Leads == "use")
	if section == nil {
		section = []call.Entity{}
	}
	rule, _ = matches(section)
	return rule, true
}

// naiveSearch fills v with what the CRM and the binding say; it tells whether
// the section is direct.
func naiveSearch(w world, v *verdict) (direct bool) {
	f := w.facts
	var section []call.Entity
	if f.CRM.Source != call.SourceNone {
		section = naiveSection(f.CRM.Entities, w.source.Leads == "use")
	}
	can := func(id int) bool {
		e := f.Employees[id]
		return !e.Dismissed && slices.Contains([]call.Extension{"201", "202", "203", "800"}, e.Extension)
	}
	direct = len(section) > 0
	forbidden := false
	for _, e := range section {
		direct = direct && e.Direct
		forbidden = forbidden || e.NoSticky
	}
	if s := f.Sticky; s != nil && w.source.Sticky && s.Until.After(f.At) && can(s.Employee) && !forbidden {
		if e := f.Employees[s.Employee]; e.StickyMinutes == nil || *e.StickyMinutes > 0 {
			v.Outcome, v.Target, v.Employee = "sticky", e.Extension, e.ID
			return direct
		}
	}
	switch {
	case f.CRM.Missing == call.MissingDeadline:
		v.Outcome = "deadline"
	case f.CRM.Source == call.SourceNone:
		v.Outcome = "crm_error"
	case len(section) == 0:
		v.Outcome = "unknown"
	default:
		naiveManagers(f, section, can, v)
	}
	return direct
}

func naiveSection(all []call.Entity, closedToo bool) []call.Entity {
	byKind := map[call.Kind][]call.Entity{}
	for _, e := range all {
		if e.Kind != "lead" || !e.Closed || closedToo {
			byKind[e.Kind] = append(byKind[e.Kind], e)
		}
	}
	for _, k := range []call.Kind{"contact", "company"} {
		if byKind[k] != nil {
			return byKind[k]
		}
	}
	return byKind["lead"]
}

func naiveManagers(f routing.Facts, section []call.Entity, can func(int) bool, v *verdict) {
	ways := map[call.Outcome][]string{} // entities, by the way their employee was found
	people, extensions, dumb := map[int]bool{}, map[call.Extension]bool{}, false
	ids := map[string]int{}
	for _, e := range section {
		way, id := call.Outcome("responsible"), e.Responsible
		if e.Manager > 0 {
			way, id = "manager", e.Manager
		}
		if e.Temporary > 0 && !e.Until.IsZero() && e.Until.After(f.At) {
			way, id = "temporary", e.Temporary
		}
		if e.Unreadable || !can(id) {
			dumb = true
			continue
		}
		name := fmt.Sprintf("%s %d", e.Kind, e.ID)
		people[id], extensions[f.Employees[id].Extension], ids[name] = true, true, id
		ways[way] = append(ways[way], name)
	}
	switch {
	case len(extensions) > 1:
		v.Outcome = "ambiguous"
		return
	case dumb:
		v.Outcome = "no_extension"
		return
	}
	for ext := range extensions {
		v.Target = ext
	}
	for _, way := range []call.Outcome{"responsible", "manager", "temporary"} {
		if ways[way] != nil {
			v.Outcome, v.Entity = way, ways[way][0]
		}
	}
	if len(people) == 1 {
		v.Employee = ids[v.Entity]
	}
}

// So many random dialplans decide so many random calls each, twice.
const (
	dialplans = 500 // 125 in short runs
	calls     = 12
)

func TestDecideAgreesWithTheDesignsWords(t *testing.T) {
	t.Parallel()
	moscow, numbers, seen := zone(t, "Europe/Moscow"), numberConditions(), map[call.Outcome]int{}
	worlds, enough := uint64(dialplans), 20
	if testing.Short() {
		worlds, enough = worlds/4, enough/4
	}
	for seed := range worlds {
		r := rand.New(rand.NewPCG(seed, 1))
		w := newWorld(r, moscow, numbers)
		plan, problems := routing.Compile(w.source)
		if plan == nil {
			t.Fatalf("world %d: %q", seed, said(problems))
		}
		for n := range calls {
			w.addFacts(r)
			d := plan.Decide(w.facts)
			if diff := cmp.Diff(naive(w), verdictOf(d, plan.Search(w.facts))); diff != "" {
				facts, err := json.Marshal(w.facts)
				t.Fatalf("world %d, call %d (-naive +got):\n%s\nfacts %s (%v)\nrules %+v\ntrace %+v", seed, n, diff, facts, err, w.source.Rules, d.Trace)
			}
			seen[d.Outcome]++
			if n == 0 {
				replay(t, plan, w.facts, d)
			}
			if consistent(t, plan, w.facts, d); t.Failed() {
				t.Fatalf("world %d, call %d", seed, n)
			}
		}
	}
	for _, o := range call.Outcomes() {
		if seen[o] < enough {
			t.Errorf("outcome %s was seen %d times: the worlds are too poor", o, seen[o])
		}
	}
}

// consistent checks what holds for every decision.
func consistent(t *testing.T, plan *routing.Plan, f routing.Facts, d routing.Decision) {
	t.Helper()
	if !d.Outcome.Valid() || (d.Reject == 0) != (d.Target != "") {
		t.Errorf("decision %+v", d)
	}
	if last := d.Trace[len(d.Trace)-1]; last.Step != "decision" || !strings.HasPrefix(last.Why, string(d.Outcome)) {
		t.Errorf("the trace ends with %+v", last)
	}
	if !plan.Search(f) {
		f.CRM = call.Answer{Source: call.SourceNone, Missing: call.MissingNotAsked}
		if diff := cmp.Diff(d, plan.Decide(f)); diff != "" {
			t.Errorf("a decision without a search turns on the CRM:\n%s", diff)
		}
	}
}
