package routing_test

import (
	"strings"
	"testing"
	"time"

	"frontdesk/call"
	"frontdesk/routing"
)

func withWhen(when string) (*routing.Plan, []routing.Problem) {
	return routing.Compile(routing.Source{
		Country: "RU", Zone: time.FixedZone("MSK", 3*3600), Trunks: []string{"carrier"},
		Schedules: map[string]routing.ScheduleSource{"office": {Hours: []string{"Mon-Fri 09:00-18:00"}}},
		Rules:     []routing.RuleSource{{Name: "only", When: &when, Default: "100"}},
	})
}

// thursday is a call on a Thursday at 14:30 Moscow time.
func thursday() routing.Facts {
	return routing.Facts{
		At: time.Date(2026, 3, 5, 11, 30, 0, 0, time.UTC), Trunk: "carrier",
		Caller: "+79161234567", CallerName: "VIP Иван", DID: "+74951234567",
	}
}

func TestWhen(t *testing.T) {
	t.Parallel()
	for when, want := range map[string]bool{
		`true`:  true,
		`false`: false,
		`trunk == "carrier" and did == "+74951234567"`: true,
		`caller startsWith "+7916"`:                    true,
		`caller_name startsWith "VIP"`:                 true,
		`caller_name contains "Иван" && hour < 12`:     false,
		`anonymous`:                                                false,
		`not anonymous`:                                            true,
		`hour == 14 and minute == 30`:                              true,
		`weekday == "Thu"`:                                         true,
		`weekday in ["Sat", "Sun"]`:                                false,
		`date == "2026-03-05"`:                                     true,
		`date >= "2026-03-01" and date < "2026-04-01"`:             true,
		`time >= "14:30" and time < "14:31"`:                       true,
		`day == 5 and month == 3 and year == 2026`:                 true,
		`match(caller, "+7916*")`:                                  true,
		`match(caller, "_8916XXXXXXX")`:                            true,
		`match(did, "+7499*") or match(caller, "_+79XXXXXXXXX")`:   true,
		`match("89161234567", "+7916*")`:                           true,
		`caller | match("+7495*")`:                                 false,
		`within("office")`:                                         true,
		`within("Mon-Fri 15:00-18:00")`:                            false,
		`not within("Sat-Sun")`:                                    true,
		`(hour > 10 and hour < 12) or weekday == "Thu"`:            true,
		`split(caller_name, " ")[1] == "Иван"`:                     true,
		`caller matches "^\\+7916"`:                                true,
		`any(["+7916", "+7917"], caller startsWith #)`:             true,
		`let operator = caller[:5]; operator == "+7916"`:           true,
		`hour >= 9 ? true : false`:                                 true,
		`trunk == "carrier" and not (did == "+74951234567")`:       false,
		`!(anonymous) && caller != "" && (hour - 4) * 2 == 20`:     true,
		`hour in 9..17 and (weekday == "Thu" or weekday == "Fri")`: true,
	} {
		plan, problems := withWhen(when)
		if plan == nil {
			t.Errorf("%s: %+v", when, problems)
			continue
		}
		if got := plan.Search(thursday()); got != want {
			t.Errorf("%s is %v, want %v; %+v", when, got, want, plan.Decide(thursday()).Trace)
		}
	}
}

func TestWhenTrace(t *testing.T) {
	t.Parallel()
	for when, want := range map[string]string{
		`trunk == "carrier" and hour >= 18`:      `when hour >= 18 is false (hour = 14)`,
		`anonymous`:                              `when anonymous is false (anonymous = false)`,
		`false`:                                  `when false is false`,
		`weekday in ["Sat"] or caller == "+7"`:   `when weekday in ["Sat"] or caller == "+7" is false (weekday = "Thu", caller = "+79161234567")`,
		`split(caller_name, " ")[7] == "x"`:      `when split(caller_name, " ")[7] == "x" failed: index out of range: 7 (array length is 2) (caller_name = "VIP Иван")`,
		`true and int(trunk) > 1`:                `when int(trunk) > 1 failed: invalid operation: int(carrier) (trunk = "carrier")`,
		`match(did, "+7499*") and hour == 14`:    `when match(did, "+7499*") is false (did = "+74951234567")`,
		`let p = "+7499*"; (match(did, "+78*"))`: `when let p = "+7499*"; match(did, "+78*") is false (did = "+74951234567")`,
	} {
		plan, problems := withWhen(when)
		if plan == nil {
			t.Errorf("%s: %+v", when, problems)
			continue
		}
		d := plan.Decide(thursday())
		if d.Outcome != call.OutcomeNoRule || d.Trace[0].Why != want {
			t.Errorf("%s:\n got %s\nwant %s", when, d.Trace[0].Why, want)
		}
	}
}

func TestWhenProblems(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		when    string
		offset  int
		warning bool
		want    string
		hint    string
	}{
		{"", -1, false, "empty", "leave `when` out"},
		{" \n", -1, false, "empty", "in quotes"},
		{"callr == '1'", 0, false, "unknown name callr", `did you mean "caller"?`},
		{"hour == 9 and sticky", 14, false, "unknown name sticky", "there are trunk"},
		{"hour", -1, false, "expected bool", ""},
		{`get({"a": true}, trunk)`, -1, false, "expected bool", ""},
		{`date("2026-01-01") == date("2026-01-01")`, 0, false, "", ""},
		{`timezone("UTC") == nil`, 0, false, "unknown name timezone", ""},
		{`count(1..99999, true) > hour`, -1, true, "memory budget", ""},
		{"hour = 9", 5, false, "", ""},
		{"hour == 'x'", 5, false, "mismatched types int and string", ""},
		{"now() == now()", 0, false, "unknown name now", ""},
		{`match(caller, "+7X*")`, 17, false, "'X' is none", ""},
		{`match(caller, trunk)`, 14, false, "in quotes", ""},
		{`within("ofice")`, 8, false, "no schedule", "office"},
		{`within("Mon-Fri 09:00-25:00")`, 22, false, "no time of day", ""},
		{`match(caller, "_+7499XXXXXX")`, 15, true, "never matches", ""},
		{`split(caller_name, " ")[1] == "x"`, -1, true, "fails on a call without", "does not match"},
		{strings.Repeat("hour == 1 or ", 300) + "hour == 2", 1635, false, "exceeds maximum", ""},
	} {
		_, problems := withWhen(c.when)
		if len(problems) != 1 {
			t.Errorf("%q: %+v", c.when, problems)
			continue
		}
		p := problems[0]
		if p.Path != "rules[0].when" || p.Warning != c.warning || p.Offset != c.offset || !strings.Contains(p.Message, c.want) || !strings.Contains(p.Hint, c.hint) {
			t.Errorf("%.40q: %+v, want %d %v %s %s", c.when, p, c.offset, c.warning, c.want, c.hint)
		}
	}
}
