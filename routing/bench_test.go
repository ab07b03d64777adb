package routing_test

import (
	"fmt"
	"testing"
	"time"

	"frontdesk/call"
	"frontdesk/routing"
)

// busy is a plan of 20 rules of which the last matches, and a call to it.
func busy(b *testing.B) (*routing.Plan, routing.Facts) {
	b.Helper()
	src := routing.Source{
		Country: "RU", Zone: zone(b, "Europe/Moscow"), Sticky: true, Trunks: []string{"carrier", "backup"},
		Numbers: call.Numbers{Extensions: call.Ranges{"100-299"}, Queues: call.Ranges{"800-899"}},
	}
	for i := range 19 {
		r := routing.RuleSource{Name: fmt.Sprintf("rule %d", i), Default: "800", DID: []string{fmt.Sprintf("_+7499%03dXXXX", i), fmt.Sprintf("+7812%03d*", i)}}
		switch i % 4 {
		case 0:
			r.Trunk = []string{"backup"}
		case 1:
			r.DID, r.Hours = nil, "Sat-Sun 09:00-18:00"
		}
		src.Rules = append(src.Rules, r)
	}
	src.Rules = append(src.Rules, routing.RuleSource{Name: "all", Default: "801"})
	plan, problems := routing.Compile(src)
	if plan == nil {
		b.Fatal(said(problems))
	}
	at := time.Date(2026, 3, 5, 14, 30, 0, 0, src.Zone)
	return plan, routing.Facts{
		At: at, Trunk: "carrier", Caller: "+79161234567", DID: "+74951234567", Numbers: src.Numbers,
		Employees: map[int]call.Employee{17: {ID: 17, FirstName: "Анна", LastName: "Петрова", Extension: "201"}},
		CRM: call.Answer{Source: call.SourceLive, Entities: []call.Entity{
			{Kind: call.KindContact, ID: 12, Name: "ООО Ромашка", Responsible: 17, Temporary: 17, Until: at.Add(time.Hour)},
			{Kind: call.KindLead, ID: 13, Responsible: 18},
		}},
		Gathered: routing.Gathered{Took: map[string]call.Seconds{"crm": call.Seconds(300 * time.Millisecond)}},
	}
}

func BenchmarkDecide(b *testing.B) {
	plan, facts := busy(b)
	b.ReportAllocs()
	for b.Loop() {
		if d := plan.Decide(facts); d.Target != "201" {
			b.Fatal(d)
		}
	}
}

func BenchmarkDecideParallel(b *testing.B) {
	plan, facts := busy(b)
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			plan.Decide(facts)
		}
	})
}

func BenchmarkDecideWhen(b *testing.B) {
	when := `trunk == "carrier" and hour >= 9 and match(caller, "+7916*")`
	plan, _ := routing.Compile(source(routing.RuleSource{Name: "one", Default: "100", When: &when}))
	facts := thursday()
	b.ReportAllocs()
	for b.Loop() {
		if d := plan.Decide(facts); d.Rule == "" {
			b.Fatal(d)
		}
	}
}

func BenchmarkSearch(b *testing.B) {
	plan, facts := busy(b)
	b.ReportAllocs()
	for b.Loop() {
		if !plan.Search(facts) {
			b.Fatal("no search")
		}
	}
}

func BenchmarkCompile(b *testing.B) {
	when := `trunk == "carrier" and hour >= 9 and match(caller, "+7916*")`
	src := source()
	for i := range 100 {
		src.Rules = append(src.Rules, routing.RuleSource{
			Name: fmt.Sprintf("rule %d", i), Default: "100", DID: []string{fmt.Sprintf("_7499%03dXXXX", i)}, Hours: "office", When: &when,
		})
	}
	b.ReportAllocs()
	for b.Loop() {
		if plan, problems := routing.Compile(src); plan == nil {
			b.Fatal(said(problems))
		}
	}
}
