package b2bua_test

import (
	"log/slog"
	"testing"
	"time"

	"frontdesk/b2bua"
	"frontdesk/call"
	"frontdesk/routing"
)

// TestUnavailable: who takes no calls is a fact of a call, where a rule looks
// at it and nowhere else.
func TestUnavailable(t *testing.T) {
	t.Parallel()
	lookup := false
	for to, want := range map[string]call.Extension{"801": "801", "": "201"} {
		plan, problems := routing.Compile(routing.Source{
			Country: "RU", Zone: time.UTC, Trunks: []string{"carrier"},
			Rules: []routing.RuleSource{{Name: "all", Default: "201", OnUnavailable: to, Lookup: &lookup}},
		})
		if plan == nil {
			t.Fatal(problems)
		}
		quiet := slog.New(slog.DiscardHandler)
		agent := b2bua.NewAgent(b2bua.Deps{Logger: quiet}, &b2bua.Settings{
			Plan: plan, Country: "RU", Zone: time.UTC, Deadline: time.Second, Trunks: map[string]b2bua.Trunk{"carrier": {Name: "carrier"}},
			PBX: b2bua.PBX{
				Nodes: b2bua.NewNodes([]string{"sip:127.0.0.1:5070"}, quiet), Numbers: numbers,
				Unavailable: func() map[call.Extension]string { return map[call.Extension]string{"201": "not registered"} },
			},
		})
		facts, d := agent.Explain(t.Context(), b2bua.Query{Trunk: "carrier", From: "+79161234567", To: "+74951234567"})
		if d.Target != want || d.Default != "201" || (len(facts.Unavailable) > 0) != (to != "") {
			t.Errorf("on_unavailable %q: target %s, default %s, facts %v", to, d.Target, d.Default, facts.Unavailable)
		}
	}
}
