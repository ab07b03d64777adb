package routing_test

import (
	"testing"

	"frontdesk/call"
	"frontdesk/routing"
)

func TestNeverLead(t *testing.T) {
	t.Parallel()
	plan, problems := routing.Compile(routing.Source{
		Country: "RU", Never: []string{"+7999*", "8 (916) 000-00-01"},
		Rules: []routing.RuleSource{{Name: "own", DID: []string{"+74951234567", "+7499*"}, Default: "800"}},
	})
	if plan == nil {
		t.Fatal(problems)
	}
	for n, want := range map[call.Number]bool{
		"+79991112233": true, "+79160000001": true, "+74951234567": true, "": false,
		"+74991234567": false, // a rule takes them all; they need not be ours
		"+79161234567": false,
	} {
		if got := plan.NeverLead(n); got != want {
			t.Errorf("%q: %v, want %v", n, got, want)
		}
	}
	if _, problems := routing.Compile(routing.Source{Never: []string{"x7"}}); len(problems) == 0 || problems[0].Path != "crm.leads.never_for[0]" {
		t.Errorf("a bad pattern: %v", problems)
	}
}
