package routing_test

import (
	"strings"
	"testing"
	"time"

	"frontdesk/routing"
)

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	loc, err := time.LoadLocation(name)
	if err != nil {
		t.Fatal(err)
	}
	return loc
}

// withHours compiles a plan whose one rule holds within hours.
func withHours(loc *time.Location, hours string, s map[string]routing.ScheduleSource) (*routing.Plan, []routing.Problem) {
	return routing.Compile(routing.Source{
		Country: "RU", Zone: loc, Schedules: s,
		Rules: []routing.RuleSource{{Name: "only", Hours: hours, Default: "100"}},
	})
}

func TestHours(t *testing.T) {
	t.Parallel()
	// 2026-03-02 is a Monday.
	for _, c := range []struct{ hours, yes, no string }{
		{"Mon-Fri 09:00-18:00", "03-02 09:00:00,03-06 17:59:59", "03-02 08:59:59,03-02 18:00:00,03-07 12:00:00"},
		{"mon-fri 9:00-18:00", "03-02 09:00:00", "03-01 12:00:00"},
		{"Mon,Wed,Fri 09:00-18:00", "03-02 10:00:00,03-04 10:00:00,03-06 10:00:00", "03-03 10:00:00,03-05 10:00:00"},
		{"Mon Wed 09:00-18:00", "03-02 10:00:00,03-04 10:00:00", "03-03 10:00:00"},
		{"Mon-Wed,Fri 09:00-18:00", "03-03 10:00:00,03-06 10:00:00", "03-05 10:00:00"},
		{"Mon-Fri 09:00-13:00,14:00-18:00", "03-02 12:59:59,03-02 14:00:00", "03-02 13:00:00,03-02 13:30:00"},
		{"Mon-Fri 09:00-13:00 14:00-18:00, Sat 10:00-14:00", "03-02 14:30:00,03-07 13:59:59", "03-02 13:30:00,03-07 09:00:00,03-08 11:00:00"},
		{"Mon-Fri 09:00-18:00; Sat-Sun 10:00-16:00", "03-07 10:00:00,03-08 15:00:00", "03-07 09:30:00,03-08 16:00:00"},
		{"Mon - Fri 09:00 - 18:00", "03-02 09:00:00", "03-07 10:00:00"},
		{"Mon–Fri 09:00–18:00", "03-02 09:00:00", "03-07 10:00:00"},
		{"Пн-Пт 09:00-18:00, Сб 10:00-14:00", "03-02 09:00:00,03-07 10:00:00", "03-08 10:00:00"},
		{"Monday-Friday 09:00-18:00", "03-02 09:00:00", "03-07 10:00:00"},
		{"09:00-18:00", "03-07 10:00:00,03-08 10:00:00", "03-07 18:00:00"},
		{"Sat-Sun", "03-07 00:00:00,03-08 23:59:59", "03-02 00:00:00,03-06 23:59:59"},
		{"Sat, Mon 09:00-18:00", "03-07 10:00:00,03-02 10:00:00", "03-07 19:00:00"},
		{"Fri-Mon 09:00-18:00", "03-06 10:00:00,03-08 10:00:00,03-02 10:00:00", "03-03 10:00:00,03-05 10:00:00"},
		{"Fri 22:00-06:00", "03-06 22:00:00,03-07 00:00:00,03-07 02:00:00,03-07 05:59:59", "03-06 21:59:59,03-07 06:00:00,03-06 02:00:00,03-07 22:00:00"},
		{"Sun 22:00-06:00", "03-01 23:00:00,03-02 02:00:00", "03-01 02:00:00,03-03 02:00:00"},
		{"22:00-06:00", "03-02 23:00:00,03-03 05:00:00", "03-02 06:00:00,03-02 12:00:00"},
		{"Mon 18:00-24:00", "03-02 23:59:59", "03-03 00:00:00,03-02 17:00:00"},
		{"Mon 18:00-00:00", "03-02 23:59:59", "03-03 00:00:00"},
		{"Mon 00:00-24:00", "03-02 00:00:00,03-02 23:59:59", "03-01 23:59:59,03-03 00:00:00"},
	} {
		loc := zone(t, "Europe/Moscow")
		plan, problems := withHours(loc, c.hours, nil)
		if plan == nil {
			t.Errorf("%q: %+v", c.hours, problems)
			continue
		}
		checkHours(t, plan, c.hours, c.yes, true, loc)
		checkHours(t, plan, c.hours, c.no, false, loc)
	}
}

func checkHours(t *testing.T, plan *routing.Plan, hours, times string, want bool, loc *time.Location) {
	t.Helper()
	for s := range strings.SplitSeq(times, ",") {
		layout := "2006-01-02 15:04:05"
		if len(s) < len(layout) {
			s = "2026-" + s
		}
		at, err := time.ParseInLocation(layout, s, loc)
		if err != nil {
			t.Fatal(err)
		}
		if got := plan.Search(routing.Facts{At: at.UTC(), Caller: "+79161234567"}); got != want {
			t.Errorf("%q at %s: %v, want %v", hours, at, got, want)
		}
	}
}

func TestHoursOnDaysWhenClocksChange(t *testing.T) {
	t.Parallel()
	berlin := zone(t, "Europe/Berlin")
	plan, _ := withHours(berlin, "Sun 01:30-03:30", nil)
	for at, want := range map[string]bool{
		"2026-03-29T00:29:59Z": false, // 01:29:59 CET
		"2026-03-29T00:30:00Z": true,  // 01:30 CET
		"2026-03-29T01:00:00Z": true,  // 03:00 CEST: 02:00 never came
		"2026-03-29T01:30:00Z": false, // 03:30 CEST
		"2026-10-24T23:30:00Z": true,  // 01:30 CEST
		"2026-10-25T00:30:00Z": true,  // 02:30 CEST
		"2026-10-25T01:30:00Z": true,  // 02:30 again, CET
		"2026-10-25T02:30:00Z": false, // 03:30 CET
	} {
		moment, err := time.Parse(time.RFC3339, at)
		if err != nil {
			t.Fatal(err)
		}
		if got := plan.Search(routing.Facts{At: moment, Caller: "+491761234567"}); got != want {
			t.Errorf("at %s: %v, want %v", moment.In(berlin), got, want)
		}
	}
}

func TestSchedules(t *testing.T) {
	t.Parallel()
	loc := zone(t, "Europe/Moscow")
	schedules := map[string]routing.ScheduleSource{
		"office": {
			Hours:    []string{"Mon-Fri 09:00-18:00", "Sat 10:00-14:00"},
			Holidays: []string{"2026-03-09", "01-07", "2026-12-31 - 2027-01-08", "05-01 - 05-02"},
		},
		"ночь":   {Hours: []string{"22:00-06:00"}, Holidays: []string{"03-08"}},
		"winter": {Hours: []string{"Mon-Sun"}, Holidays: []string{"12-30 - 01-02", "02-29"}},
	}
	for _, c := range []struct{ schedule, yes, no string }{
		{"office", "03-02 10:00:00,03-07 10:00:00,03-10 10:00:00", "03-09 10:00:00,03-08 10:00:00"},
		{"office", "2026-01-08 10:00:00,2026-12-30 10:00:00,2027-01-11 10:00:00", "2026-01-07 10:00:00,2027-01-07 10:00:00,2028-01-07 10:00:00,2026-12-31 10:00:00,2027-01-04 10:00:00,2027-01-08 10:00:00"},
		{"office", "2026-05-04 10:00:00", "2026-05-01 10:00:00,2026-05-02 10:00:00"},
		// A night that would begin on the holiday does not; one before it ends at its midnight.
		{"ночь", "03-07 23:59:59,03-09 22:00:00,03-10 05:00:00", "03-08 00:00:00,03-08 05:00:00,03-08 23:00:00,03-09 02:00:00"},
		{"winter", "2026-12-29 00:00:00,2026-01-03 00:00:00,2026-02-28 12:00:00", "2026-12-30 00:00:00,2026-12-31 23:00:00,2026-01-02 23:59:59,2028-02-29 12:00:00"},
	} {
		plan, problems := withHours(loc, c.schedule, schedules)
		if plan == nil {
			t.Fatalf("%+v", problems)
		}
		checkHours(t, plan, c.schedule, c.yes, true, loc)
		checkHours(t, plan, c.schedule, c.no, false, loc)
	}
}

func TestHoursProblems(t *testing.T) {
	t.Parallel()
	schedules := map[string]routing.ScheduleSource{"office": {Hours: []string{"Mon-Fri"}}}
	for _, c := range []struct {
		hours  string
		offset int
		want   string
		hint   string
	}{
		{"  ", -1, "no hours", ""},
		{"ofice", -1, `there is no schedule "ofice"`, `did you mean "office"?`},
		{"lunch", -1, `there is no schedule "lunch"`, "there are office"},
		{"Mon-Fry 09:00-18:00", 4, `"Fry" is no day`, `"Fri"`},
		{"Mo 09:00-18:00", 0, `"Mo" is no day`, `"Mon"`},
		{"Mon-Fri 09:00-18:00, Foo", 21, `"Foo" is no day`, "Mon, Tue"},
		{"Mon-Fri 09:00-25:00", 14, `"25:00" is no time`, "24:00 is the end"},
		{"Mon-Fri 24:00-06:00", 8, `"24:00" is no time`, ""},
		{"Mon-Fri 09:60-18:00", 8, `"09:60" is no time`, ""},
		{"Mon-Fri 0900-1800", 8, `"0900" is no time`, "09:00"},
		{"Mon-Fri 09:00", 8, "has no end", ""},
		{"Mon-Fri 09:00-09:00", 8, "ends where it begins", "00:00-24:00"},
		{"Пн-Пи 09:00-18:00", 3, `"Пи" is no day`, ""},
		{"Mon-Fri-Sat 09:00-18:00", 4, `"Fri-Sat" is no day`, ""},
		{"Mon-Fri 09:00-18:00-19:00", 14, `"18:00-19:00" is no time`, ""},
	} {
		plan, problems := withHours(time.UTC, c.hours, schedules)
		if plan != nil || len(problems) != 1 {
			t.Errorf("%q: %+v", c.hours, problems)
			continue
		}
		p := problems[0]
		if p.Path != "rules[0].hours" || p.Offset != c.offset || !strings.Contains(p.Message, c.want) || !strings.Contains(p.Hint, c.hint) {
			t.Errorf("%q: %+v, want %+v", c.hours, p, c)
		}
	}
}

func TestHolidayProblems(t *testing.T) {
	t.Parallel()
	for holiday, want := range map[string]string{
		"":                        "is no holiday",
		"1 January":               "is no holiday",
		"2026-02-30":              "there is no day",
		"13-01":                   "there is no day",
		"2026-01-08 - 2025-12-31": "ends before it begins",
		"01-01 - 2026-01-08":      "is no holiday",
		"20260101":                "is no holiday",
		"xx-yy":                   "there is no day",
		"я-1":                     "is no holiday",
		"2026-01-01/2026-01-0":    "is no holiday",
		"2026-01-01x2026-01-08":   "is no holiday",
	} {
		_, problems := withHours(time.UTC, "s", map[string]routing.ScheduleSource{"s": {Hours: []string{"Mon"}, Holidays: []string{holiday}}})
		if len(problems) != 1 || problems[0].Path != "schedules.s.holidays[0]" || !strings.Contains(problems[0].Message, want) {
			t.Errorf("%q: %+v, want %s", holiday, problems, want)
		}
	}
}

func FuzzHours(f *testing.F) {
	for _, s := range []string{"Mon-Fri 09:00-18:00", "Пн 22:00-06:00, Сб", "Sat-Sun;10:00 - 12:00", "24:00-", "-", "Mon-"} {
		f.Add(s, int64(1772442000))
	}
	f.Fuzz(func(t *testing.T, hours string, unix int64) {
		plan, problems := withHours(time.UTC, hours, nil)
		for _, p := range problems {
			if p.Offset > len([]rune(hours)) || p.Message == "" {
				t.Errorf("%q: problem %+v", hours, p)
			}
		}
		if plan == nil {
			if len(problems) == 0 {
				t.Fatalf("%q: no plan and no problem", hours)
			}
			return
		}
		facts := routing.Facts{At: time.Unix(unix%(1<<40), 0), Caller: "+79161234567"}
		week := facts
		week.At = week.At.AddDate(0, 0, 7)
		if plan.Search(facts) != plan.Search(week) {
			t.Fatalf("%q differs from one week to the next at %s", hours, facts.At)
		}
	})
}
