//go:build e2e

package e2e_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"time"

	"frontdesk/crm/crmtest"
)

// agreeNames are the trunks of TestExplainAgrees, at .11, .12 and .13.
var agreeNames = []string{"one", "two", "three"}

func agreeTrunks() option {
	return func(s *setup) {
		s.sections["trunks"] = `{one: {sources: [{{.Net}}.11], transfer: [redirect]},` +
			` two: {sources: [{{.Net}}.12], transfer: [redirect], identity: from},` +
			` three: {sources: [{{.Net}}.13], transfer: [redirect], identity: pai, did: to}}`
		// No name has a recorded prompt, and nobody speaks: there is no greeting.
		s.sections["greeting"] = `{engine: none, text: "nobody", cache: "{{.Dir}}/cache"}`
		s.sections["pbx"] = `{sip: ["sip:{{.PBX}}"], extensions: [200-219], queues: [800-805]}`
	}
}

// world makes random companies and dialplans.
type world struct {
	*rand.Rand
	employees []int
}

// oneOf picks one of several.
func oneOf[T any](g *world, of ...T) T { return of[g.IntN(len(of))] }

// chance is true in so many of a hundred cases.
func (g *world) chance(percent int) bool { return g.IntN(100) < percent }

// fill makes employees, some of whom cannot be rung, and entities that share
// numbers.
func (g *world) fill(p *crmtest.Portal) {
	for i := range 16 {
		u := crmtest.User{FirstName: "F" + fmt.Sprint(i), LastName: "L" + fmt.Sprint(i), Extension: fmt.Sprint(200 + i), Dismissed: g.chance(15)}
		switch g.IntN(8) {
		case 0:
			u.Extension = ""
		case 1:
			u.Extension = "777" // not on the PBX
		case 2:
			u.Extension = "200" // somebody else's
		}
		g.employees = append(g.employees, p.AddUser(u))
	}
	g.clients(p)
	for range 150 {
		phones := []string{g.spelling(g.IntN(60))}
		if g.chance(20) {
			phones = append(phones, g.spelling(g.IntN(60)))
		}
		hidden := g.chance(5)
		switch g.IntN(3) {
		case 0:
			p.AddContact(crmtest.Contact{Name: "C", LastName: "Ф", Responsible: g.employee(), Phones: phones, Fields: g.fields(), Hidden: hidden})
		case 1:
			p.AddCompany(crmtest.Company{Title: "ООО", Responsible: g.employee(), Phones: phones, Fields: g.fields(), Hidden: hidden})
		default:
			p.AddLead(crmtest.Lead{
				Title: "lead", Responsible: g.employee(), Phones: phones, Fields: g.fields(), Hidden: hidden, Semantics: oneOf(g, "P", "S", "F"),
			})
		}
	}
}

// clients are three people of no doubt: one of a manager, one of a deputy whose
// time lasts, and one of the responsible.
func (g *world) clients(p *crmtest.Portal) {
	boss := p.AddUser(crmtest.User{FirstName: "F", LastName: "L", Extension: "219"})
	for i, fields := range []map[string]any{
		{"UF_CRM_FD_MANAGER": boss},
		{"UF_CRM_FD_TEMP_MANAGER": boss, "UF_CRM_FD_TEMP_UNTIL": time.Now().Add(time.Hour).Format(time.RFC3339)},
		{},
	} {
		p.AddContact(crmtest.Contact{Name: "C", Responsible: boss, Phones: []string{"+7" + person(60+i)}, Fields: fields})
	}
}

// employee is one of them, somebody unknown, or nobody.
func (g *world) employee() int {
	switch g.IntN(20) {
	case 0:
		return 0
	case 1:
		return 999999
	}
	return oneOf(g, g.employees...)
}

func (g *world) fields() map[string]any {
	f := map[string]any{}
	if g.chance(30) {
		f["UF_CRM_FD_MANAGER"] = g.employee()
	}
	if g.chance(40) {
		f["UF_CRM_FD_TEMP_MANAGER"] = g.employee()
		if g.chance(90) {
			// Some end while the calls are placed.
			f["UF_CRM_FD_TEMP_UNTIL"] = time.Now().Add(time.Duration(g.IntN(60)-20) * oneOf(g, time.Second, time.Minute)).Format(time.RFC3339)
		}
	}
	if g.chance(40) {
		f["UF_CRM_FD_DIRECT"] = true
	}
	return f
}

// person is one of the callers, of whom the portal knows most.
func person(i int) string { return fmt.Sprintf("916%07d", 2000000+i*1001) }

// spelling is a caller's number as people write it.
func (g *world) spelling(i int) string {
	n := person(i)
	return oneOf(g, "+7"+n, "8"+n, "7"+n, "+7 ("+n[:3]+") "+n[3:6]+"-"+n[6:8]+"-"+n[8:], "8-"+n[:3]+"-"+n[3:])
}

// strayDID is a number of no rule but those for every number.
const strayDID = "+78005553535"

// numbers that are called, and patterns that match some of them.
var (
	called   = []string{"+74951234567", "84951234568", "74997000001", "+74997000002", "+78123334455", "4951234567", strayDID}
	didRules = []string{"+74951234567", "8 (495) 123-45-68", "+7499*", "_+7499XXXXXXX", "_+7495123456[7-9]", "+7812*"}
	callers  = []string{"+7916*", "_+79162X.", "_+7916[2-3]0XXXXX", "89162001001"}
	whens    = []string{
		"not anonymous", "anonymous", `match(caller, "+79162*")`, "hour >= 0 and minute < 60", `within("Mon-Fri 09:00-18:00")`,
		`trunk == "one"`, `weekday in ["Mon", "Tue", "Wed", "Thu"]`, `did startsWith "+7499"`,
	}
)

// dialplan is a random rules section. Those that are strict have no rule for
// every number, and one without a search.
func (g *world) dialplan(strict bool) option {
	var rules []string
	if strict {
		rules = append(rules, `{name: fax, did: "+78123334455", default: "800", lookup: false}`)
	}
	for i := range 3 + g.IntN(6) {
		rule := []string{fmt.Sprintf("name: rule %d", i), fmt.Sprintf("default: %q", oneOf(g, "800", "801", "805", "210"))}
		add := func(percent int, text string) {
			if g.chance(percent) {
				rule = append(rule, text)
			}
		}
		add(30, "trunk: "+oneOf(g, "one", "two", "[one, three]"))
		if strict {
			add(100, fmt.Sprintf("did: %q", oneOf(g, didRules...)))
		} else {
			add(70, fmt.Sprintf("did: [%q, %q]", oneOf(g, didRules...), oneOf(g, didRules...)))
		}
		add(20, fmt.Sprintf("caller: %q", oneOf(g, callers...)))
		add(20, fmt.Sprintf("hours: %q", g.hours()))
		add(20, fmt.Sprintf("when: '%s'", oneOf(g, whens...)))
		add(15, "lookup: false")
		add(30, "greeting: false")
		rules = append(rules, "{"+strings.Join(rule, ", ")+"}")
	}
	if !strict && g.chance(60) {
		rules = append(rules, `{name: rest, default: "803"}`)
	}
	return section("rules", "["+strings.Join(rules, ", ")+"]")
}

// open is a rules section under which every outcome is likely: most calls are
// searched for.
func (g *world) open() option {
	return section("rules", `[{name: fax, did: "+78123334455", default: "800", lookup: false},`+
		` {name: rest, did: ["+7495*", "+7499*"], default: "803"}]`)
}

// hours begin or end close to now, in the site's zone.
func (g *world) hours() string {
	now := time.Now().In(time.FixedZone("Moscow", 3*3600))
	clock := func(hours int) string { return now.Add(time.Duration(hours) * time.Hour).Format("15:04") }
	return oneOf(g, "Mon-Sun "+clock(-1)+"-"+clock(1), "Mon-Sun "+clock(1)+"-"+clock(3), "Mon-Fri 09:00-18:00", "Sat-Sun 10:00-14:00")
}

func (g *world) blocked() option {
	return section("blocked", fmt.Sprintf("{callers: [%q], action: %s}", "+7"+person(g.IntN(60))[:6]+"*", oneOf(g, "reject", "default")))
}

func (g *world) leads() option {
	return section("crm", `{deadline: 10s, mirror: {enabled: false}, leads: {closed: `+oneOf(g, "ignore", "use")+
		`}, bitrix24: {webhook: "{{.Webhook}}", rate: {per_second: 1000, burst: 200}}}`)
}

// question is a random call.
func (g *world) question() question {
	q := question{trunk: oneOf(g, agreeNames...), to: oneOf(g, called...)}
	n := person(g.IntN(65))
	q.user = oneOf(g, "+7"+n, "8"+n, "7"+n, n)
	q.number = q.user
	switch g.IntN(12) {
	case 0:
		q.hidden, q.number = true, ""
	case 1:
		q.user, q.number = "anonymous", ""
	case 2:
		q.asserted = "+7" + person(g.IntN(65))
		if q.trunk != "two" { // which goes by From
			q.number = q.asserted
		}
	}
	return q
}
