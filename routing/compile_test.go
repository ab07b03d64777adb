package routing_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"frontdesk/call"
	"frontdesk/routing"
)

func source(rules ...routing.RuleSource) routing.Source {
	return routing.Source{
		Country: "RU", Zone: time.UTC, Rules: rules, Trunks: []string{"carrier", "backup"},
		Numbers: call.Numbers{Extensions: call.Ranges{"100-299"}, Queues: call.Ranges{"800-899"}},
		Schedules: map[string]routing.ScheduleSource{
			"office": {Hours: []string{"Mon-Fri 09:00-18:00"}},
			"closed": {Hours: []string{"Mon-Fri 09:00-18:00"}, Holidays: []string{"01-01"}},
		},
	}
}

func said(problems []routing.Problem) []string {
	var out []string
	for _, p := range problems {
		kind := "error"
		if p.Warning {
			kind = "warning"
		}
		line := kind + " " + p.Path + ": " + p.Message
		if p.Hint != "" {
			line += " | " + p.Hint
		}
		out = append(out, line)
	}
	return out
}

func TestCompileTellsAllProblemsAtOnce(t *testing.T) {
	t.Parallel()
	empty := ""
	src := source(
		routing.RuleSource{Name: "a", Trunk: []string{"carier"}, DID: []string{"+7495*", "abc"}, Hours: "offce", Default: "800"},
		routing.RuleSource{Name: "a", Caller: []string{"_+7P"}, When: &empty, Default: "8oo"},
		routing.RuleSource{Default: ""},
	)
	src.Leads, src.Blocked = "ignor", routing.BlockedSource{Action: "drop", Callers: []string{"+7800*", "x"}}
	src.Digits = routing.DigitsSource{Max: -1, End: "5"}
	src.Schedules["bad"] = routing.ScheduleSource{Holidays: []string{"2026-02-30"}}
	src.Schedules["also bad"] = routing.ScheduleSource{Hours: []string{"Mon 09:00-18:00", "Foo"}}
	plan, problems := routing.Compile(src)
	if plan != nil {
		t.Error("there is a plan")
	}
	want := []string{
		`error crm.leads.closed: "ignor" is none of the values | did you mean "ignore"?`,
		`error blocked.action: "drop" is none of the values | there are reject, default`,
		`error digits.max: -1 is no number of digits | 0 is no limit`,
		`error digits.end: "5" is no key that can end an entry | "#", "*", or "" for none`,
		`error schedules.also bad.hours[1]: "Foo" is no day of the week | there are Mon, Tue, Wed, Thu, Fri, Sat, Sun`,
		`error schedules.bad.hours: the schedule has no hours | as in ["Mon-Fri 09:00-18:00"]`,
		`error schedules.bad.holidays[0]: there is no day "2026-02-30" | days are written year-month-day or month-day`,
		`error blocked.callers[1]: this is no number | Asterisk-style patterns begin with _: "_x"`,
		`error rules[0].did[1]: this is no number | write a number, a prefix such as +7495*, or a pattern such as _+7499XXXXXXX`,
		`error rules[0].trunk[0]: there is no trunk "carier" | did you mean "carrier"?`,
		`error rules[0].hours: there is no schedule "offce" | did you mean "office"?`,
		`error rules[1].caller[0]: 'P' means nothing in a pattern | X is 0-9, Z is 1-9, N is 2-9, [15-7] one of these, . one or more, ! none or more`,
		`error rules[1].default: "8oo" cannot be dialled | digits, as dialled on the PBX`,
		"error rules[1].when: the expression is empty, and would hold for every call | leave `when` out, or put an expression that begins with ! in quotes",
		`error rules[2].default: the rule has no default | the number of an extension or queue`,
		`error rules[1].name: rules[0] has the name "a" already`,
		`error rules[2].name: the rule has no name | records and traces tell rules by their names`,
	}
	if diff := cmp.Diff(want, said(problems)); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

func TestLint(t *testing.T) {
	t.Parallel()
	when, same := `hour > 9`, `hour > 9`
	r := func(name string, change func(*routing.RuleSource)) routing.RuleSource {
		s := routing.RuleSource{Name: name, Default: "100"}
		change(&s)
		return s
	}
	none := func(*routing.RuleSource) {}
	did := func(p ...string) func(*routing.RuleSource) { return func(s *routing.RuleSource) { s.DID = p } }
	caller := func(p ...string) func(*routing.RuleSource) { return func(s *routing.RuleSource) { s.Caller = p } }
	trunk := func(n ...string) func(*routing.RuleSource) { return func(s *routing.RuleSource) { s.Trunk = n } }
	hours := func(h string) func(*routing.RuleSource) { return func(s *routing.RuleSource) { s.Hours = h } }
	unreached := []string{`warning rules[1]: rule "b" is never reached: rule "a" before it (rules[0]) matches all its calls | put it before rule "a"`}
	for _, c := range []struct {
		name string
		a, b routing.RuleSource
		want []string
	}{
		{"catch-all first", r("a", none), r("b", did("+7495*")), append([]string{
			`warning rules[0]: rule "a" matches every call: the rules after it are never tried | put it last, or give it a condition`}, unreached...)},
		{"catch-all last", r("a", did("+7495*")), r("b", none), nil},
		{"same number", r("a", did("+74951234567")), r("b", did("84951234567")), unreached},
		{"wider prefix", r("a", did("+7495*")), r("b", did("+7495765*")), unreached},
		{"narrower prefix", r("a", did("+7495765*")), r("b", did("+7495*")), nil},
		{"prefix over pattern", r("a", did("+749*")), r("b", did("_+7499XXXXXXX", "_+749[58]XXXXXXX")), unreached},
		{"pattern over number", r("a", did("_+7499XXXXXXX")), r("b", did("+74991234567")), unreached},
		{"pattern over narrower one", r("a", did("_+7499XXXXXXX")), r("b", did("_+7499NZ[1-3]XXXX")), unreached},
		{"pattern of other length", r("a", did("_XXX")), r("b", did("_XXXX")), nil},
		{"one or more over none or more", r("a", did("_+7.")), r("b", did("_+7!")), nil},
		{"one pattern of two", r("a", did("+7495*")), r("b", did("+7495765*", "+7499*")), nil},
		{"everything with a number", r("a", did("*")), r("b", none), nil},
		{"caller", r("a", caller("+7*")), r("b", caller("+7916*")), unreached},
		{"caller and did", r("a", caller("+7*")), r("b", did("+7*")), nil},
		{"trunks", r("a", trunk("carrier", "backup")), r("b", trunk("backup")), unreached},
		{"more trunks", r("a", trunk("backup")), r("b", trunk("backup", "carrier")), nil},
		{"same hours", r("a", hours("office")), r("b", hours("Mon-Fri 09:00-18:00")), unreached},
		{"wider hours", r("a", hours("22:00-08:00")), r("b", hours("Fri 23:00-06:00")), unreached},
		{"narrower hours", r("a", hours("Mon-Fri 10:00-18:00")), r("b", hours("office")), nil},
		{"holidays before the same hours", r("a", hours("closed")), r("b", hours("office")), nil},
		{"holidays behind the same hours", r("a", hours("office")), r("b", hours("closed")), unreached},
		{"same expression", r("a", func(s *routing.RuleSource) { s.When = &when }), r("b", func(s *routing.RuleSource) { s.When = &same; s.DID = []string{"112"} }), unreached},
		{"an expression", r("a", func(s *routing.RuleSource) { s.When = &when }), r("b", none), nil},
		{"unknown default", r("a", did("112")), r("b", func(s *routing.RuleSource) { s.Default = "777" }), []string{
			`warning rules[1].default: the PBX has no extension or queue "777"`}},
		{"impossible pattern", r("a", did("_+7499XXXXXX")), r("b", none), []string{
			`warning rules[0].did[0]: this never matches: a number of +7 has 11 digits, this has 10`}},
	} {
		plan, problems := routing.Compile(source(c.a, c.b))
		if plan == nil {
			t.Errorf("%s: no plan: %q", c.name, said(problems))
		}
		if diff := cmp.Diff(c.want, said(problems)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

func TestLintSettings(t *testing.T) {
	t.Parallel()
	src := source(routing.RuleSource{Name: "all", Default: "100"})
	src.Numbers.Queues = call.Ranges{"80000-80009"}
	src.Digits = routing.DigitsSource{Max: 4, End: "#"}
	_, problems := routing.Compile(src)
	want := []string{"warning digits.max: the PBX has numbers of 5 digits, of which a caller can dial only 4"}
	if diff := cmp.Diff(want, said(problems)); diff != "" {
		t.Error(diff)
	}
	_, problems = routing.Compile(source())
	if diff := cmp.Diff([]string{"warning rules: there is no rule: every call is refused with 404"}, said(problems)); diff != "" {
		t.Error(diff)
	}
	src = source(routing.RuleSource{Name: "all", Default: "777"})
	src.Numbers = call.Numbers{}
	if _, problems = routing.Compile(src); len(problems) != 0 {
		t.Errorf("numbers not known yet: %q", said(problems))
	}
}

func TestNoZoneIsUTC(t *testing.T) {
	t.Parallel()
	src := source(routing.RuleSource{Name: "all", Default: "100", Hours: "12:00-13:00"})
	src.Zone = nil
	plan, _ := routing.Compile(src)
	at := time.Date(2026, 3, 1, 15, 30, 0, 0, time.FixedZone("MSK", 3*3600))
	if !plan.Search(routing.Facts{At: at, Caller: "+79161234567"}) {
		t.Error("12:30 UTC is not within 12:00-13:00")
	}
}

func TestTextIsSafeAndAligned(t *testing.T) {
	t.Parallel()
	plan, _ := routing.Compile(source(routing.RuleSource{Name: "все звонки", Default: "800"}))
	d := plan.Decide(routing.Facts{
		Caller: "+79161234567", Numbers: call.Numbers{Extensions: call.Ranges{"100-299"}},
		CRM: call.Answer{Source: call.SourceLive, Error: "x", Entities: []call.Entity{{
			Kind: call.KindContact, ID: 1, Name: "\x1b[31m<script>\r\nSIP/2.0 200", Responsible: 5,
		}}},
		Employees: map[int]call.Employee{5: {ID: 5, FirstName: "\x1b]0;\u202e" + strings.Repeat("я", 300), Extension: "201"}},
	})
	var b strings.Builder
	if err := d.WriteText(&b); err != nil {
		t.Fatal(err)
	}
	if strings.ContainsAny(b.String(), "\x1b\r\u202e") {
		t.Errorf("control characters in %q", b.String())
	}
	for line := range strings.Lines(b.String()) {
		if n := len([]rune(line)); n > 250 {
			t.Errorf("a line of %d characters: %s", n, line)
		}
	}
	if want := `=> 201 (responsible, greeting) by rule "все звонки", default 800`; !strings.Contains(b.String(), want) {
		t.Errorf("text is\n%swithout %s", b.String(), want)
	}
}
