package routing_test

import (
	"strings"
	"testing"
	"time"

	"frontdesk/call"
	"frontdesk/routing"
)

// one compiles a plan of a single rule.
func one(t testing.TB, country string, r routing.RuleSource) (*routing.Plan, []routing.Problem) {
	t.Helper()
	r.Name, r.Default = "only", "100"
	return routing.Compile(routing.Source{
		Country: country, Zone: time.UTC, Trunks: []string{"carrier"}, Rules: []routing.RuleSource{r},
		Numbers: call.Numbers{Extensions: call.Ranges{"100-299"}},
	})
}

func TestPatterns(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		country, pattern string
		yes, no          string // numbers, by spaces
	}{
		// exact, however written
		{"RU", "+74951234567", "+74951234567", "+74951234568 4951234567890 112"},
		{"RU", "84951234567", "+74951234567", "+84951234567"},
		{"RU", "8 (495) 123-45-67", "+74951234567", "+74951234560"},
		{"RU", "4951234567", "+74951234567", ""},
		{"RU", "+8 495 123-45-67", "+74951234567", ""},
		{"RU", "380441234567", "+380441234567", ""},
		{"UA", "0441234567", "+380441234567", ""},
		{"GB", "020 7946 0018", "+442079460018", ""},
		{"US", "(212) 555-2368", "+12125552368", ""},
		{"RU", "112", "112", "1120 +7112"},
		{"RU", "0101", "0101", "101"},
		{"RU", "*72", "*72", "72 *722"},
		// prefixes
		{"RU", "+7495765*", "+74957654321 +74957650000", "+74957664321 +7495"},
		{"RU", "+7495*", "+74950000000", "+74990000000"},
		{"RU", "7495*", "+74951234567", "+74991234567"},
		{"RU", "8495*", "+74951234567", "+84951234567"},
		{"RU", "8 (495) *", "+74951234567", "+74991234567"},
		{"RU", "495765*", "+74957654321", "+74957664321"},
		{"RU", "84957654*", "+74957654321", "+74957664321"},
		{"RU", "380*", "+380441234567", "+79161234567"},
		{"RU", "7*", "+79161234567", "+380441234567"},
		{"RU", "*", "+79161234567 112 *72", ""},
		{"RU", "*7*", "*72 *7", "72 +79161234567"},
		{"RU", "8*", "+79161234567 +74951234567 800", "+380441234567"},
		{"RU", "89*", "+79161234567", "+74951234567 +380441234567"},
		{"RU", "8-10-380*", "+380441234567", "+79161234567"},
		{"RU", "10*", "101 1012", "201 +79161234567"},
		{"GB", "020*", "+442079460018", "+441179460018"},
		{"US", "212555*", "+12125552368", "+13125552368"},
		// Asterisk
		{"RU", "_+7499XXXXXXX", "+74991234567", "+74951234567 +749912345678"},
		{"RU", "_7499XXXXXXX", "+74991234567", "+74951234567"},
		{"RU", "_8499XXXXXXX", "+74991234567", "+84991234567"},
		{"RU", "_499XXXXXXX", "+74991234567", "+74951234567"},
		{"RU", "_+8499XXXXXXX", "+74991234567", "+84991234567"},
		{"RU", "_8(499)XXX-XX-XX", "+74991234567", "+74951234567"},
		{"RU", "_+749[59]XXXXXXX", "+74951234567 +74991234567", "+74981234567"},
		{"RU", "_+7[15-7]XXXXXXXXX", "+71111111111 +75111111111 +77111111111", "+72111111111 +74111111111 +78111111111"},
		{"RU", "_+79Z!", "+79161234567", "+79061234567"},
		{"RU", "_+7N.", "+79161234567 +72161234567", "+71161234567 +7"},
		{"RU", "_+7!", "+79161234567", "+380441234567"},
		{"RU", "_+x.", "+79161234567 +380441234567", "112"},
		{"RU", "_.", "+79161234567 112", ""},
		{"RU", "_!", "+79161234567 112", ""},
		{"RU", "_XXX", "112 999", "1122 12 +79161234567 *72"},
		{"RU", "_NXX", "201 999", "101 001"},
		{"RU", "_ZXX", "101", "001"},
		{"RU", "_*XX", "*72", "72 *7"},
		{"RU", "_[*#]21", "*21 #21", "121"},
		{"RU", "_7495.", "+74951234567", "+7495"},
		{"RU", "_380XXXXXXXXX", "+380441234567", "+375441234567"},
		{"UA", "_044XXXXXXX", "+380441234567", "+380501234567"},
		{"RU", "_XXXXXXXXXX", "+79161234567", "112"},
		{"US", "_NXXNXXXXXX", "+12125552368", "+11125552368"},
	} {
		plan, problems := one(t, c.country, routing.RuleSource{Caller: []string{c.pattern}})
		if plan == nil {
			t.Errorf("%s: %v", c.pattern, problems)
			continue
		}
		check := func(numbers string, want bool) {
			for _, n := range strings.Fields(numbers) {
				if got := plan.Search(routing.Facts{Caller: call.Number(n)}); got != want {
					t.Errorf("%s in %s: %s matches: %v, want %v", c.pattern, c.country, n, got, want)
				}
			}
		}
		check(c.yes, true)
		check(c.no, false)
	}
}

func TestNothingMatchesNoNumber(t *testing.T) {
	t.Parallel()
	for _, p := range []string{"*", "_.", "_!", "112"} {
		plan, _ := one(t, "RU", routing.RuleSource{DID: []string{p}})
		if plan.Search(routing.Facts{Caller: "+79161234567"}) {
			t.Errorf("did %q matches a call without a DID", p)
		}
	}
}

func TestNumbersAreNormalisedFirst(t *testing.T) {
	t.Parallel()
	plan, _ := one(t, "RU", routing.RuleSource{Caller: []string{"+7916*"}, DID: []string{"_+7495XXXXXXX"}})
	for _, n := range []call.Number{"89161234567", "79161234567", "+79161234567", "9161234567", "0079161234567", "8 (916) 123-45-67"} {
		if !plan.Search(routing.Facts{Caller: n, DID: "84951234567"}) {
			t.Errorf("caller %q does not match", n)
		}
	}
}

func TestPatternProblems(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern string
		offset  int
		warning bool
		want    string // in the message
		hint    string // in the hint
	}{
		{"", -1, false, "empty", "leave the condition out"},
		{"  ", -1, false, "empty", ""},
		{"anonymous", 1, false, "no number", ""},
		{"+7499XXXXXXX", 5, false, "no number", `"_+7499XXXXXXX"`},
		{"+7499XXX*", 5, false, "'X' is none", "begin with _"},
		{"74+95*", 2, false, "'+' is none", ""},
		{"٣٤*", 0, false, "is none of these", ""},
		{"_", -1, false, "nothing follows", ""},
		{"_+74P9", 4, false, "'P' means nothing", "X is 0-9"},
		{"_7+4", 2, false, "only in front", ""},
		{"_74.5", 4, false, "nothing may follow", ""},
		{"_74!.", 4, false, "nothing may follow", ""},
		{"_7[15", 2, false, "not closed", ""},
		{"_7[]", 2, false, "holds no digit", ""},
		{"_7[7-1]", 3, false, "no span", ""},
		{"_7[a]", 3, false, "no digit", ""},
		{"_+7499XXXXXX", -1, true, "a number of +7 has 11 digits, this has 10", ""},
		{"_+7499XXXXXXXX", -1, true, "this has 12", ""},
		{"+749912345678", -1, true, "this has 12", ""},
		{"_7499XXXXXXXX", -1, true, "never matches", "+7495"},
		{"+0495*", -1, true, "begins with 0", ""},
		{"_+XXXXXX", -1, true, "at least 7", ""},
		{"_+38044XXXXXXXXXXXXXX", -1, true, "at most 15", ""},
		{"380*", -1, true, "this matches +380... and short numbers", "+380*"},
		{"84*", -1, true, "this matches +784... and +74... and short numbers", ""},
	} {
		_, problems := one(t, "RU", routing.RuleSource{Caller: []string{c.pattern}})
		if len(problems) != 1 {
			t.Errorf("%q: %d problems: %+v", c.pattern, len(problems), problems)
			continue
		}
		p := problems[0]
		if p.Path != "rules[0].caller[0]" || p.Offset != c.offset || p.Warning != c.warning ||
			!strings.Contains(p.Message, c.want) || !strings.Contains(p.Hint, c.hint) {
			t.Errorf("%q: %+v, want %+v", c.pattern, p, c)
		}
	}
}

func FuzzPattern(f *testing.F) {
	for _, s := range []string{"+7495*", "_+7499XXXXXXX", "_[15-7]N.", "84951234567", "_!", "*72*", "_+x[*#0-9]!"} {
		f.Add(s, "+74951234567")
	}
	f.Fuzz(func(t *testing.T, pattern, caller string) {
		plan, problems := one(t, "RU", routing.RuleSource{Caller: []string{pattern}})
		for _, p := range problems {
			if p.Offset > len([]rune(pattern)) || p.Message == "" {
				t.Errorf("%q: problem %+v", pattern, p)
			}
		}
		if plan == nil {
			if len(problems) == 0 {
				t.Fatalf("%q: no plan and no problem", pattern)
			}
			return
		}
		facts := routing.Facts{Caller: call.Number(caller)}
		if first, again := plan.Search(facts), plan.Search(facts); first != again {
			t.Fatalf("%q decides differently", pattern)
		}
		if number := call.ParseNumber(pattern, "RU"); number != "" && !strings.Contains(pattern, "*") && !strings.HasPrefix(strings.TrimSpace(pattern), "_") {
			if !plan.Search(routing.Facts{Caller: number}) {
				t.Fatalf("%q does not match itself", pattern)
			}
		}
	})
}
