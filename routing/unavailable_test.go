package routing_test

import (
	"testing"

	"frontdesk/routing"
)

func TestOnUnavailable(t *testing.T) {
	t.Parallel()
	for to, c := range map[string]struct{ works, lint, diverts bool }{
		"801":      {true, false, true},
		"":         {true, false, false},
		"555":      {true, true, true},
		"8 01":     {false, false, false},
		"801@evil": {false, false, false},
	} {
		plan, problems := routing.Compile(source(routing.RuleSource{Name: "all", Default: "800", OnUnavailable: to}))
		if (plan != nil) != c.works {
			t.Fatalf("%q: %q", to, said(problems))
		}
		lint := false
		for _, p := range problems {
			lint = lint || p.Path == "rules[0].on_unavailable" && p.Warning
		}
		if c.works && (lint != c.lint || plan.Diverts() != c.diverts) {
			t.Errorf("%q: lint=%t diverts=%t, %q", to, lint, plan.Diverts(), said(problems))
		}
	}
}
