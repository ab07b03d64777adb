package routing_test

import (
	"slices"
	"strings"
	"testing"

	"frontdesk/call"
	"frontdesk/routing"
)

// known is thursday's call, with two contacts of the caller and a company.
func known() routing.Facts {
	f := thursday()
	f.CRM = call.Answer{Source: call.SourceLive, Entities: []call.Entity{
		{Kind: call.KindCompany, ID: 3, Name: "ООО Ромашка", Fields: map[string]any{"UF_CRM_VIP": true, "UF_CRM_REGION": "77"}},
		{Kind: call.KindContact, ID: 1, Name: "Анна Ли", Responsible: 17, Fields: map[string]any{
			"UF_CRM_VIP": "1", "UF_CRM_REGION": "Москва", "UF_CRM_LEVEL": 3.0, "UF_CRM_SUM": "1500.50|RUB", "UF_CRM_END": "2026-12-31T03:00:00+03:00",
			"UF_CRM_TAGS": []any{"gold", "  ", "77"}, "PHONE": []any{map[string]any{"VALUE": "+79161234567"}}, "UF_CRM_EMPTY": nil, "UF_CRM_NO": false,
		}},
		{Kind: call.KindContact, ID: 2, Name: "Пётр Ли", Responsible: 18, Fields: map[string]any{"UF_CRM_REGION": "Казань", "UF_CRM_LEVEL": "7"}},
	}}
	return f
}

func TestWhenOfTheCRM(t *testing.T) {
	t.Parallel()
	for when, want := range map[string]bool{
		`crm.found`:     true,
		`not crm.found`: false,
		`crm.kind == "contact" and crm.count == 2`:               true,
		`crm.name startsWith "анна"`:                             true,
		`crm.name contains "Ромашка"`:                            false, // the company's section does not decide
		`crm.responsible == 18`:                                  true,
		`crm.responsible in [17, 99]`:                            true,
		`crm.field("UF_CRM_VIP") == true`:                        true,
		`crm.field("UF_CRM_VIP") == false`:                       false,
		`true == crm.field("UF_CRM_VIP")`:                        true,
		`crm.field("UF_CRM_VIP") == 1`:                           true,
		`crm.field("UF_CRM_VIP") == "1"`:                         true,
		`crm.field("UF_CRM_NO") == false`:                        true,
		`crm.field("UF_CRM_NO") == true`:                         false,
		`crm.field("UF_CRM_EMPTY") == false`:                     true,
		`crm.field("UF_CRM_EMPTY") == ""`:                        true,
		`crm.field("UF_CRM_EMPTY") != ""`:                        false,
		`crm.field("UF_CRM_EMPTY") == 0`:                         false,
		`crm.field("UF_CRM_EMPTY") < 5`:                          false,
		`crm.field("UF_CRM_REGION") == "москва"`:                 true,
		`crm.field("UF_CRM_REGION") == "Казань"`:                 true,
		`crm.field("UF_CRM_REGION") != "Казань"`:                 false,
		`crm.field("UF_CRM_REGION") == "77"`:                     false,
		`crm.field("UF_CRM_REGION") in ["a", "Казань"]`:          true,
		`crm.field("UF_CRM_REGION") not in ["a", "b"]`:           true,
		`"gold" in crm.field("UF_CRM_TAGS")`:                     true,
		`crm.field("UF_CRM_TAGS") == 77`:                         true,
		`crm.field("UF_CRM_LEVEL") > 6.5`:                        true,
		`crm.field("UF_CRM_LEVEL") > 7`:                          false,
		`3 >= crm.field("UF_CRM_LEVEL")`:                         true,
		`2 >= crm.field("UF_CRM_LEVEL")`:                         false,
		`crm.field("UF_CRM_LEVEL") > hour`:                       false,
		`crm.field("UF_CRM_SUM") >= 1500.5`:                      true,
		`crm.field("UF_CRM_END") >= date`:                        true,
		`crm.field("UF_CRM_END") < "2026-12-31"`:                 false,
		`crm.field("PHONE") endsWith "4567"`:                     true,
		`string(crm.field("UF_CRM_TAGS")) matches "^go.*7$"`:     true,
		`crm.field("UF_CRM_REGION") == crm.name`:                 false,
		`crm.field("UF_CRM_VIP") == true ? hour > 20 : true`:     false,
		`let f = crm.field("UF_CRM_VIP"); f == true and f == 1`:  true,
		`any(["gold", "silver"], # in crm.field("UF_CRM_TAGS"))`: true,
	} {
		plan, problems := withWhen(when)
		if plan == nil {
			t.Errorf("%s: %+v", when, problems)
			continue
		}
		if d := plan.Decide(known()); (d.Rule != "") != want {
			t.Errorf("%s is %v, want %v; %+v", when, !want, want, d.Trace[0])
		}
	}
}

func TestWhenWithoutTheCRM(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		when          string
		match, search bool
		why           string
	}{
		{`crm.found`, false, true, `when crm.found needs the CRM: the deadline passed`},
		{`not crm.found`, false, true, `when not crm.found needs the CRM: the deadline passed`},
		{`hour == 14 and not crm.found`, false, true, `when not crm.found needs the CRM: the deadline passed`},
		{`crm.found and hour == 15`, false, false, `when hour == 15 is false (hour = 14)`},
		{`crm.found or hour == 14`, true, true, ``},
		{`crm.found or hour == 15 and crm.count == 1 or hour == 16`, false, true, `when crm.found or (hour == 15 and crm.count == 1) or hour == 16 needs the CRM: the deadline passed`},
		{`hour == 15 and crm.found or hour == 16`, false, false, `when (hour == 15 and crm.found) or hour == 16 is false (hour = 14, crm.found = (unknown))`},
		{`hour == 14 ? true : crm.found`, false, true, `when hour == 14 ? true : crm.found needs the CRM: the deadline passed`},
	} {
		plan, problems := withWhen(c.when)
		if plan == nil {
			t.Errorf("%s: %+v", c.when, problems)
			continue
		}
		f := known()
		if got := plan.Search(f); got != c.search {
			t.Errorf("%s: search %v", c.when, got)
		}
		f.CRM = call.Answer{Source: call.SourceNone, Missing: call.MissingDeadline}
		d := plan.Decide(f)
		if (d.Rule != "") != c.match || c.why != "" && d.Trace[0].Why != c.why {
			t.Errorf("%s: %+v", c.when, d.Trace[0])
		}
	}
}

func TestWhoIsNotAskedAboutMeetsNoConditionOnTheCRM(t *testing.T) {
	t.Parallel()
	found, no := `crm.found`, false
	src := source(routing.RuleSource{Name: "a", Default: "100", When: &found}, routing.RuleSource{Name: "b", Default: "101", Lookup: &no})
	src.Blocked = routing.BlockedSource{Callers: []string{"+7999*"}}
	plan, _ := routing.Compile(src)
	hidden, blocked := known(), known()
	hidden.Anonymous, blocked.Caller = true, "+79991112233"
	for why, f := range map[string]routing.Facts{
		"when crm.found needs the CRM: the caller has no number to ask for":   hidden,
		"when crm.found needs the CRM: it is not asked about blocked callers": blocked,
	} {
		d := plan.Decide(f)
		if plan.Search(f) || d.Rule != "b" || d.Trace[0].Why != why {
			t.Errorf("search %v, rule %s, %+v", plan.Search(f), d.Rule, d.Trace[0])
		}
	}
}

// A rule with lookup: false asks for nothing, and sees what another rule asked for.
func TestWhenOfTheCRMWithoutLookup(t *testing.T) {
	t.Parallel()
	found, no := `crm.found`, false
	vip := routing.RuleSource{Name: "vip", Default: "100", When: &found, Lookup: &no}
	for _, c := range []struct {
		next   routing.RuleSource
		search bool
		rule   string
	}{
		{routing.RuleSource{Name: "all", Default: "101"}, true, "vip"},
		{routing.RuleSource{Name: "all", Default: "101", Lookup: &no}, false, "all"},
	} {
		plan, problems := routing.Compile(source(vip, c.next))
		want := `warning rules[0].when: rule "vip" has lookup: false and does not ask the CRM: this holds only where another rule asks for the same call | leave out lookup: false, or what speaks of crm`
		if got := said(problems); !slices.Equal(got, []string{want}) {
			t.Errorf("problems %q", got)
		}
		f := known()
		if got := plan.Search(f); got != c.search {
			t.Errorf("search %v, want %v", got, c.search)
		}
		if d := plan.Decide(f); d.Rule != c.rule {
			t.Errorf("rule %s, want %s: %+v", d.Rule, c.rule, d.Trace)
		}
	}
}

func TestFieldsAreThoseThatRulesName(t *testing.T) {
	t.Parallel()
	a, b := `crm.field("UF_CRM_VIP") == true or crm.field("SOURCE_ID") == "WEB"`, `let f = crm; f.field("UF_CRM_VIP") == 1 and hour > 3`
	plan, problems := routing.Compile(source(
		routing.RuleSource{Name: "a", Default: "100", When: &a}, routing.RuleSource{Name: "b", Default: "100", When: &b},
	))
	if plan == nil {
		t.Fatal(said(problems))
	}
	if got := plan.Fields(); !slices.Equal(got, []string{"SOURCE_ID", "UF_CRM_VIP"}) {
		t.Errorf("fields %q", got)
	}
	if plan, _ := routing.Compile(source(routing.RuleSource{Name: "a", Default: "100"})); len(plan.Fields()) != 0 {
		t.Errorf("fields %q of a plan that names none", plan.Fields())
	}
}

func TestWhenProblemsOfTheCRM(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ when, want, hint string }{
		{`crm.field("UF_CRM_VIP")`, "a field of the CRM", `== true`},
		{`not crm.field("UF_CRM_VIP")`, "a field of the CRM", `== true`},
		{`crm.field("UF_CRM_VIP") and hour > 1`, "a field of the CRM", `== true`},
		{`crm.field("UF_CRM_VIP") > true`, "a field of the CRM", `> 3`},
		{`crm.vip == true`, "crm", `crm.field("CODE")`},
		{`crm.field(trunk) == 1`, "in quotes", ""},
		{`crm.field("uf_crm_vip") == 1`, "no code of a field", "UF_CRM_VIP"},
		{`let f = crm.field; f("UF_CRM_VIP") == 1`, "right behind it", "UF_CRM_VIP"},
		{`crm.field() == 1`, "not enough arguments", ""},
		{`crn.found`, "unknown name crn", `"crm"`},
		{`crm`, "expected bool", ""},
	} {
		plan, problems := withWhen(c.when)
		if plan != nil || len(problems) != 1 || !strings.Contains(problems[0].Message, c.want) || !strings.Contains(problems[0].Hint, c.hint) {
			t.Errorf("%s: %+v, want %s | %s", c.when, problems, c.want, c.hint)
		}
	}
}

func BenchmarkDecideWhenOfTheCRM(b *testing.B) {
	plan, _ := withWhen(`crm.field("UF_CRM_LEVEL") > 6 and crm.field("UF_CRM_REGION") == "казань"`)
	facts := known()
	b.ReportAllocs()
	for b.Loop() {
		if d := plan.Decide(facts); d.Rule == "" {
			b.Fatal(d)
		}
	}
}
