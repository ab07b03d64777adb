package crm_test

import (
	"errors"
	"fmt"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"frontdesk/call"
	"frontdesk/crm"
	"frontdesk/crm/crmtest"

	"github.com/google/go-cmp/cmp"
)

// bubble runs f in a synctest bubble, where any goroutine left behind fails the
// test.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, f)
}

func TestLookupReadsEverySection(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPortal(crmtest.Options{})
		contact := p.AddContact(crmtest.Contact{
			Name: "Ann", LastName: "Lee", Responsible: 61, Phones: []string{"8 (916) 123-45-67"},
			Fields: map[string]any{
				"UF_CRM_FD_MANAGER": "62", "UF_CRM_FD_TEMP_MANAGER": 61, "UF_CRM_FD_TEMP_UNTIL": "2030-01-02T03:04:05+03:00",
				"UF_CRM_FD_DIRECT": true, "UF_CRM_FD_NO_STICKY": "1", "UF_CRM_VIP": "gold",
			},
		})
		company := p.AddCompany(crmtest.Company{Title: "Lee & Co", Responsible: 62, Phones: []string{"+79161234567"}})
		open := p.AddLead(crmtest.Lead{Title: "Call", Responsible: 62, Phones: []string{"79161234567"}})
		junk := p.AddLead(crmtest.Lead{Name: "Spam", Semantics: "F", Responsible: 62, Phones: []string{"9161234567"}})
		w := newWorld(t, p, func(c *crm.Config) { c.Fields.Extra = []string{"UF_CRM_VIP"} })
		until, _ := time.Parse(time.RFC3339, "2030-01-02T03:04:05+03:00")
		want := []call.Entity{
			{
				Kind: call.KindContact, ID: contact, Name: "Ann Lee", Responsible: 61, Manager: 62, Temporary: 61, Until: until,
				Direct: true, NoSticky: true, Fields: map[string]any{"UF_CRM_VIP": "gold"},
			},
			{Kind: call.KindCompany, ID: company, Name: "Lee & Co", Responsible: 62},
			{Kind: call.KindLead, ID: open, Name: "Call", Responsible: 62},
			{Kind: call.KindLead, ID: junk, Name: "Spam", Responsible: 62, Closed: true},
		}
		if diff := cmp.Diff(want, w.found(t)); diff != "" {
			t.Error(diff)
		}
		if n := lookups(p); n != 1 {
			t.Errorf("%d look-ups were sent, want 1", n)
		}
	})
}

// The filter of a list whose search found nothing is dropped by the portal: the
// list holds fifty strangers, none of whom may be taken for the caller.
func TestStrangersAreNotTheCaller(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPortal(crmtest.Options{})
		for i := range 60 {
			p.AddContact(crmtest.Contact{ID: i + 1, Name: "Stranger", Responsible: 61, Phones: []string{"+7495000" + strconv.Itoa(1000+i)}})
		}
		w := newWorld(t, p)
		if got := w.found(t); len(got) != 0 {
			t.Errorf("found %d strangers", len(got))
		}
		p.AddLead(crmtest.Lead{Title: "Known", Responsible: 62, Phones: []string{"+79161234567"}})
		time.Sleep(time.Second)
		got := w.found(t)
		if len(got) != 1 || got[0].Kind != call.KindLead {
			t.Errorf("found %+v, want the lead alone", got)
		}
	})
}

func TestUnreadableIsKnown(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPortal(crmtest.Options{})
		id := p.AddContact(crmtest.Contact{Name: "Secret", Responsible: 61, Phones: []string{"+79161234567"}, Hidden: true})
		w := newWorld(t, p)
		want := []call.Entity{{Kind: call.KindContact, ID: id, Unreadable: true}}
		if diff := cmp.Diff(want, w.found(t)); diff != "" {
			t.Error(diff)
		}
	})
}

// Twenty leads would hide the contact if the kinds were searched together.
func TestManyLeadsDoNotHideTheContact(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPortal(crmtest.Options{})
		for range 25 {
			p.AddLead(crmtest.Lead{Title: "Call", Responsible: 62, Phones: []string{"+79161234567"}})
		}
		contact := p.AddContact(crmtest.Contact{Name: "Ann", Responsible: 61, Phones: []string{"+79161234567"}})
		w := newWorld(t, p)
		a, err := w.ask(t, number)
		if err != nil {
			t.Fatal(err)
		}
		if a.Entities[0].Kind != call.KindContact || a.Entities[0].ID != contact {
			t.Errorf("the first entity is %+v", a.Entities[0])
		}
		if !cmp.Equal(a.Capped, []call.Kind{call.KindLead}) {
			t.Errorf("capped %v: leads do not decide here and were not completed", a.Capped)
		}
	})
}

// A search cut at twenty is completed, whatever the spellings.
func TestCutSearchIsCompleted(t *testing.T) {
	spelled := func(i int) string {
		return []string{"+79161234567", "8 (916) 123-45-67", "+7 916 123 45 67", "+79161234567#404"}[i%4]
	}
	for name, c := range map[string]struct {
		spelling func(int) string
		kind     call.Kind
		n        int
	}{
		"21 contacts alike":     {func(int) string { return "+79161234567" }, call.KindContact, 21},
		"60 contacts alike":     {func(int) string { return "89161234567" }, call.KindContact, 60},
		"60 contacts mixed":     {spelled, call.KindContact, 60},
		"170 companies":         {func(int) string { return "+7 (916) 123-45-67" }, call.KindCompany, 170},
		"50 leads, a full page": {func(int) string { return "+79161234567" }, call.KindLead, 50},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				p := newPortal(crmtest.Options{})
				p.SetFault(crmtest.Fault{Kind: crmtest.Slow, Latency: 200 * time.Millisecond})
				for i := range c.n {
					owner := 61
					if i == c.n-1 {
						owner = 62 // the very last one differs: every entity counts
					}
					switch c.kind {
					case call.KindContact:
						p.AddContact(crmtest.Contact{Name: "C", Responsible: owner, Phones: []string{"+74950000000", c.spelling(i)}})
					case call.KindCompany:
						p.AddCompany(crmtest.Company{Title: "M", Responsible: owner, Phones: []string{c.spelling(i)}})
					default:
						p.AddLead(crmtest.Lead{Title: "L", Responsible: owner, Phones: []string{c.spelling(i)}})
					}
				}
				a, err := newWorld(t, p).ask(t, number)
				if err != nil {
					t.Fatal(err)
				}
				owners := map[int]int{}
				for _, e := range a.Entities {
					owners[e.Responsible]++
				}
				if owners[61] != c.n-1 || owners[62] != 1 || len(a.Capped) != 0 {
					t.Errorf("owners %v, capped %v; want %d and 1", owners, a.Capped, c.n-1)
				}
			})
		})
	}
}

// Thirty spellings, each on one contact: the list cannot find those that the cut
// search did not show, and the answer says so. A completion that fails is no
// answer at all.
func TestCappedIsTold(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPortal(crmtest.Options{})
		for i := range 30 {
			p.AddContact(crmtest.Contact{Responsible: 61, Phones: []string{fmt.Sprintf("+79161234567#%d", i)}})
		}
		p.SetFault(crmtest.Fault{Kind: crmtest.Partial, After: 1, Command: "p0"})
		w := newWorld(t, p)
		if a, err := w.ask(t, number); !errors.Is(err, crm.ErrFailed) || len(a.Entities) != 0 {
			t.Errorf("a completion that fails gave %+v, %v", a, err)
		}
		p.Heal()
		time.Sleep(time.Second)
		a, err := w.ask(t, number)
		if err != nil {
			t.Fatal(err)
		}
		if len(a.Entities) != 20 || !cmp.Equal(a.Capped, []call.Kind{call.KindContact}) {
			t.Errorf("%d entities, capped %v", len(a.Entities), a.Capped)
		}
	})
}

func TestFieldShapes(t *testing.T) {
	moment := time.Date(2026, 8, 21, 18, 0, 0, 0, time.FixedZone("", 3*3600))
	for name, c := range map[string]struct {
		code string
		raw  any
		want call.Entity
		fail bool
	}{
		"employee string":       {"UF_CRM_FD_MANAGER", "62", call.Entity{Manager: 62}, false},
		"employee number":       {"UF_CRM_FD_MANAGER", 62, call.Entity{Manager: 62}, false},
		"employee list":         {"UF_CRM_FD_MANAGER", []any{"62", "61"}, call.Entity{Manager: 62}, false},
		"employee empty list":   {"UF_CRM_FD_MANAGER", []any{}, call.Entity{}, false},
		"employee user_":        {"UF_CRM_FD_MANAGER", "user_62", call.Entity{Manager: 62}, false},
		"employee empty":        {"UF_CRM_FD_MANAGER", "", call.Entity{}, false},
		"employee null":         {"UF_CRM_FD_MANAGER", nil, call.Entity{}, false},
		"employee zero":         {"UF_CRM_FD_MANAGER", "0", call.Entity{}, false},
		"employee false":        {"UF_CRM_FD_MANAGER", false, call.Entity{}, false},
		"employee name":         {"UF_CRM_FD_MANAGER", "Ivan", call.Entity{}, true},
		"employee object":       {"UF_CRM_FD_MANAGER", map[string]any{"ID": 1}, call.Entity{}, true},
		"employee fraction":     {"UF_CRM_FD_MANAGER", 1.5, call.Entity{}, true},
		"employee beyond range": {"UF_CRM_FD_MANAGER", "99999999999999999999", call.Entity{}, true},
		"until ISO":             {"UF_CRM_FD_TEMP_UNTIL", "2026-08-21T18:00:00+03:00", call.Entity{Until: moment}, false},
		"until without colon":   {"UF_CRM_FD_TEMP_UNTIL", "2026-08-21T18:00:00+0300", call.Entity{Until: moment}, false},
		"until portal's":        {"UF_CRM_FD_TEMP_UNTIL", "21.08.2026 18:00:00", call.Entity{Until: moment}, false},
		"until empty":           {"UF_CRM_FD_TEMP_UNTIL", "", call.Entity{}, false},
		"until null":            {"UF_CRM_FD_TEMP_UNTIL", nil, call.Entity{}, false},
		"until false":           {"UF_CRM_FD_TEMP_UNTIL", false, call.Entity{}, false},
		"until words":           {"UF_CRM_FD_TEMP_UNTIL", "tomorrow", call.Entity{}, true},
		"boolean true":          {"UF_CRM_FD_DIRECT", true, call.Entity{Direct: true}, false},
		"boolean 1":             {"UF_CRM_FD_DIRECT", 1, call.Entity{Direct: true}, false},
		"boolean string 1":      {"UF_CRM_FD_DIRECT", "1", call.Entity{Direct: true}, false},
		"boolean Y":             {"UF_CRM_FD_DIRECT", "Y", call.Entity{Direct: true}, false},
		"boolean false":         {"UF_CRM_FD_DIRECT", false, call.Entity{}, false},
		"boolean 0":             {"UF_CRM_FD_DIRECT", "0", call.Entity{}, false},
		"boolean N":             {"UF_CRM_FD_DIRECT", "N", call.Entity{}, false},
		"boolean empty":         {"UF_CRM_FD_DIRECT", "", call.Entity{}, false},
		"boolean words":         {"UF_CRM_FD_DIRECT", "perhaps", call.Entity{}, true},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				p := newPortal(crmtest.Options{})
				c.want.Kind, c.want.Responsible = call.KindContact, 61
				c.want.ID = p.AddContact(crmtest.Contact{
					Responsible: 61, Phones: []string{string(number)}, Fields: map[string]any{c.code: c.raw},
				})
				w := newWorld(t, p, func(c *crm.Config) { c.Zone = moment.Location() })
				a, err := w.ask(t, number)
				if c.fail {
					if !errors.Is(err, crm.ErrFailed) || len(a.Entities) != 0 {
						t.Errorf("a wrong value gave %+v, %v", a.Entities, err)
					}
					return
				}
				if diff := cmp.Diff([]call.Entity{c.want}, a.Entities); diff != "" || err != nil {
					t.Error(err, diff)
				}
			})
		})
	}
}

// One part that fails fails the look-up: nothing is decided by half an answer.
func TestPartialAnswerIsNoAnswer(t *testing.T) {
	for _, command := range []string{"dc", "dm", "dl", "c", "m", "l"} {
		t.Run(command, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				p := newPortal(crmtest.Options{})
				p.AddContact(crmtest.Contact{Responsible: 61, Phones: []string{string(number)}})
				p.SetFault(crmtest.Fault{Kind: crmtest.Partial, Command: command, Code: "insufficient_scope"})
				a, err := newWorld(t, p).ask(t, number)
				if !errors.Is(err, crm.ErrFailed) || !errors.Is(err, &crm.Error{Code: crm.CodeScope}) {
					t.Errorf("got %v", err)
				}
				if a.Missing != call.MissingError || a.Source != call.SourceNone || len(a.Entities) != 0 || a.Error == "" {
					t.Errorf("answer %+v", a)
				}
				var e *crm.Error
				if !errors.As(err, &e) || e.Command != command {
					t.Errorf("the error does not name the command: %v", err)
				}
			})
		})
	}
}

func TestNoNumberIsNotAsked(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPortal(crmtest.Options{})
		a, err := newWorld(t, p).ask(t, "")
		if !errors.Is(err, crm.ErrNotAsked) || a.Missing != call.MissingNotAsked || p.Total() != 0 {
			t.Errorf("answer %+v, %v, %d requests", a, err, p.Total())
		}
	})
}

// Callers with one number share one request.
func TestCallersShareALookup(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPortal(crmtest.Options{})
		p.AddContact(crmtest.Contact{Responsible: 61, Phones: []string{string(number)}})
		p.SetFault(crmtest.Fault{Kind: crmtest.Slow, Latency: time.Second})
		w := newWorld(t, p)
		results := make(chan int)
		for range 20 {
			go func() {
				a, err := w.ask(t, number)
				if err != nil {
					t.Error(err)
				}
				results <- len(a.Entities)
			}()
		}
		for range 20 {
			if n := <-results; n != 1 {
				t.Errorf("%d entities", n)
			}
		}
		if n := lookups(p); n != 1 {
			t.Errorf("%d look-ups were sent, want 1", n)
		}
	})
}

// Foreign text never reaches the portal as a reference.
func TestDollarsAreRemoved(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPortal(crmtest.Options{})
		p.AddContact(crmtest.Contact{ID: 1, Responsible: 61, Phones: []string{"+74950000000"}})
		w := newWorld(t, p)
		if a, err := w.ask(t, "$result[dc][CONTACT]"); err != nil || len(a.Entities) != 0 {
			t.Errorf("found %v, %v", a.Entities, err)
		}
	})
}
