package staff_test

import (
	"fmt"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"frontdesk/call"
	"frontdesk/routing"
	"frontdesk/staff"
)

// bubble runs a test on virtual time.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, f)
}

// ending is contact 1 of 201 with 205 in their place for a time from now.
func ending(in time.Duration) call.Entity {
	return call.Entity{ID: 1, Name: "Ромашка", Responsible: 1, Temporary: 5, Until: time.Now().Add(in)}
}

// Scenario 6: until 18:00:00 the one, from then on the other; the fields are
// cleared once, two mails, none after a restart.
func TestDeputyEnds(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFirm(t, ending(time.Hour))
		f.hire(t)
		time.Sleep(time.Hour - time.Second)
		if f.entity(1).Temporary != 5 || len(f.post.to()) != 0 {
			t.Error("ended before its time")
		}
		time.Sleep(40 * time.Second)
		if e := f.entity(1); e.Temporary != 0 || !e.Until.IsZero() || e.Responsible != 1 {
			t.Errorf("half a minute after its end: %+v", e)
		}
		f.hire(t) // another node, or after a restart
		time.Sleep(2 * time.Hour)
		if diff := cmp.Diff([]string{"e201@example.com", "e205@example.com"}, f.post.to()); diff != "" || f.cleared() != 1 {
			t.Errorf("cleared %d times, mails %s", f.cleared(), diff)
		}
		if jobs, notes := f.left(); jobs != 0 || notes != 0 {
			t.Errorf("%d jobs and %d notes are left", jobs, notes)
		}
		f.office.set(func(o *office) { o.entities[1] = ending(-time.Minute) }) // in the past at its creation
		time.Sleep(time.Minute)
		if n := len(f.post.to()); n != 4 || f.entity(1).Temporary != 0 {
			t.Errorf("the next one: %d mails, %+v", n, f.entity(1))
		}
		mails, _ := f.post.all()
		if mails[0].ID == mails[2].ID || mails[0].ID == mails[1].ID {
			t.Error("different mails have one Message-ID")
		}
	})
}

func TestMailTexts(t *testing.T) {
	for _, c := range []struct {
		name, language string
		entity         func() call.Entity
		subjects       []string
		says           [][]string
	}{
		{
			"the responsible takes over", "ru-RU", func() call.Entity { return ending(0) },
			[]string{"Замещение закончилось: Ромашка", "Звонки снова поступают вам: Ромашка"},
			[][]string{
				{"Здравствуйте, Boris!", "«Ромашка» (контакт 1)", "истёк 01.01.2000 01:00 CET", "принимает Anna, внутренний номер 201 (ответственный)"},
				{"Здравствуйте, Anna!", "Замещал: Boris.", "вы его ответственный"},
			},
		},
		{
			"the call manager takes over", "en-GB", func() call.Entity { e := ending(0); e.Manager = 7; return e },
			[]string{"Your cover has ended: Ромашка", "Calls come to you again: Ромашка"},
			[][]string{
				{"Hello Boris,", "Ромашка (contact 1)", "From now on Gleb, extension 207, takes the calls of this client (call manager)."},
				{"Hello Gleb,", "you are the call manager"},
			},
		},
		{
			"the deputy is the responsible", "ru", func() call.Entity { e := ending(0); e.Responsible = 5; return e },
			[]string{"Замещение закончилось: Ромашка"}, [][]string{{"и дальше поступают вам: вы его ответственный."}},
		},
		{
			"nobody takes over", "en", func() call.Entity { e := ending(0); e.Responsible, e.Name = 0, ""; return e },
			[]string{"Your cover has ended: contact 1"}, [][]string{{"no permanent employee"}},
		},
		{
			"a name that wants to be a header", "en", func() call.Entity {
				e := ending(0)
				e.Responsible, e.Name = 0, "A\r\nBcc: b@example.com\r\n\r\nB"
				return e
			},
			[]string{"Your cover has ended: A Bcc: b@example.com B"}, [][]string{{"A Bcc: b@example.com B (contact 1)"}},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				f := newFirm(t, c.entity())
				f.hire(t, func(cfg *staff.ExpirerConfig) { cfg.Language = c.language })
				time.Sleep(time.Minute)
				mails, _ := f.post.all()
				if len(mails) != len(c.subjects) {
					t.Fatalf("%d mails", len(mails))
				}
				for i, m := range mails {
					if m.Subject != c.subjects[i] {
						t.Errorf("subject %q, want %q", m.Subject, c.subjects[i])
					}
					for _, s := range c.says[i] {
						if !strings.Contains(m.Body, s) {
							t.Errorf("%q is missing in\n%s", s, m.Body)
						}
					}
					if strings.Contains(m.Body, "<no value>") {
						t.Error(m.Body)
					}
				}
			})
		})
	}
}

// Whatever somebody changes holds, whenever they do.
func TestChangesAreRespected(t *testing.T) {
	later := func(o *office) {
		e := o.entities[1]
		e.Until = time.Now().Add(time.Hour)
		o.entities[1] = e
	}
	for name, change := range map[string]func(f *firm){
		"prolonged before it is read":  func(f *firm) { f.read.set(func() { f.office.set(later) }) },
		"prolonged before it is clear": func(f *firm) { f.meddle.set(func() { f.office.set(later) }) },
		"deleted": func(f *firm) {
			f.read.set(func() { f.office.set(func(o *office) { delete(o.entities, 1) }) })
		},
		"cleared by hand": func(f *firm) {
			f.read.set(func() {
				f.office.set(func(o *office) { o.entities[1] = call.Entity{Kind: call.KindContact, ID: 1, Responsible: 1} })
			})
		},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				f := newFirm(t, ending(0))
				change(f)
				f.hire(t)
				time.Sleep(10 * time.Minute)
				if f.read.waits() || f.meddle.waits() {
					t.Fatal("nothing was changed")
				}
				if f.cleared() != 0 || len(f.post.to()) != 0 {
					t.Errorf("cleared %d times, mailed %v", f.cleared(), f.post.to())
				}
				if jobs, notes := f.left(); jobs != 0 || notes != 0 {
					t.Errorf("%d jobs and %d notes are left", jobs, notes)
				}
			})
		})
	}
}

// A process dies before each of its steps in turn; another one goes on. Nothing
// is lost, and nothing is done twice but for the one gap that cannot be closed:
// a mail that was sent and not yet noted, which comes again as the same mail.
func TestDeathAtEachStep(t *testing.T) {
	t.Parallel()
	for step := range 9 {
		t.Run(fmt.Sprint(step), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				f := newFirm(t, ending(time.Second))
				first := f.hire(t)
				time.Sleep(500 * time.Millisecond)
				f.bureau.mu.Lock()
				first.die = step
				f.bureau.mu.Unlock()
				time.Sleep(time.Minute)
				f.hire(t)
				time.Sleep(time.Hour)
				if e := f.entity(1); e.Temporary != 0 || !e.Until.IsZero() || f.cleared() != 1 {
					t.Errorf("cleared %d times: %+v", f.cleared(), e)
				}
				ids := map[string]int{}
				mails, _ := f.post.all()
				for _, m := range mails {
					ids[m.ID]++
				}
				if len(ids) != 2 || len(mails) > 3 {
					t.Errorf("mails by Message-ID: %v", ids)
				}
				if jobs, notes := f.left(); jobs != 0 || notes != 0 {
					t.Errorf("%d jobs and %d notes are left", jobs, notes)
				}
			})
		})
	}
}

// Portal, database and mail server are gone in turn, for hours.
func TestOutagesDelay(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFirm(t, ending(time.Minute))
		f.hire(t)
		f.hire(t)
		f.office.set(func(o *office) { o.down = true })
		time.Sleep(2 * time.Hour)
		f.bureau.set(true)
		f.office.set(func(o *office) { o.down = false })
		time.Sleep(2 * time.Hour)
		f.post.fails(func(staff.Message) error { return errDown })
		f.bureau.set(false)
		time.Sleep(3 * time.Hour)
		if len(f.post.to()) != 0 {
			t.Errorf("mails %v", f.post.to())
		}
		f.post.fails(func(m staff.Message) error { // one mailbox is full for another while
			if strings.HasPrefix(m.To.Address, "e205") {
				return errDown
			}
			return nil
		})
		time.Sleep(3 * time.Hour)
		if diff := cmp.Diff([]string{"e201@example.com"}, f.post.to()); diff != "" {
			t.Error(diff)
		}
		f.post.fails(nil)
		time.Sleep(3 * time.Hour)
		if diff := cmp.Diff([]string{"e201@example.com", "e205@example.com"}, f.post.to()); diff != "" || f.cleared() != 1 {
			t.Errorf("cleared %d times, mails %s", f.cleared(), diff)
		}
	})
}

// A mailbox that does not exist is tried for a day; a portal that keeps what it
// is told to clear is not taken at its word; who has no address is passed over.
func TestWhatCannotBeDone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		e := ending(0)
		e.Manager = 12 // without an extension, and here without an address
		f := newFirm(t, e)
		f.hire(t)
		f.office.set(func(o *office) { o.deaf = true })
		var tried atomic.Int64
		f.post.fails(func(staff.Message) error { tried.Add(1); return staff.ErrRefused })
		time.Sleep(time.Hour)
		if tried.Load() != 0 {
			t.Error("mailed although nothing was cleared")
		}
		f.office.set(func(o *office) { o.deaf = false })
		time.Sleep(20 * time.Hour)
		if jobs, _ := f.left(); jobs != 1 || tried.Load() == 0 {
			t.Errorf("%d jobs after %d tries", jobs, tried.Load())
		}
		time.Sleep(8 * time.Hour)
		jobs, notes := f.left()
		if jobs != 0 || notes != 0 || tried.Load() > 40 {
			t.Errorf("%d jobs and %d notes are left after %d tries", jobs, notes, tried.Load())
		}
	})
}

func TestNoMailServer(t *testing.T) {
	bubble(t, func(t *testing.T) {
		f := newFirm(t, ending(0))
		f.hire(t, func(cfg *staff.ExpirerConfig) { cfg.Post = nil })
		time.Sleep(time.Minute)
		if jobs, notes := f.left(); f.cleared() != 1 || jobs != 0 || notes != 0 {
			t.Errorf("cleared %d times, %d jobs and %d notes are left", f.cleared(), jobs, notes)
		}
	})
}

// A day in which clocks are put forward at two, with a rule from midnight, a
// deputy to midnight, one over the change, and a binding over the change:
// decisions and mails.
func TestDayOfClockChange(t *testing.T) {
	bubble(t, func(t *testing.T) {
		zone := berlin(t)
		at := func(day, hour, minute int) time.Time { return time.Date(2000, 3, day, hour, minute, 0, 0, zone) }
		time.Sleep(time.Until(at(25, 23, 0)))
		plan, problems := routing.Compile(routing.Source{
			Country: "RU", Zone: zone, Sticky: true, Trunks: []string{"carrier"}, Leads: "ignore",
			Numbers: call.Numbers{Extensions: call.Ranges{"100-299"}, Queues: call.Ranges{"800-801"}},
			Rules:   []routing.RuleSource{{Name: "night", Hours: "Mon-Sun 00:00-06:00", Default: "801"}, {Name: "all", Default: "800"}},
		})
		if plan == nil {
			t.Fatal(problems)
		}
		f := newFirm(t,
			call.Entity{ID: 1, Name: "Midnight", Responsible: 1, Temporary: 5, Until: at(26, 0, 0)},
			call.Entity{ID: 2, Name: "Change", Responsible: 7, Temporary: 5, Until: at(26, 3, 30)},
		)
		f.hire(t)
		book := newBook()
		const stranger = 0
		decide := func(contact int) string {
			now := time.Now().In(zone)
			facts := routing.Facts{
				At: now, Trunk: "carrier", Caller: client, DID: did, Employees: people(), Sticky: book.Sticky(client, now),
				Numbers: call.Numbers{Extensions: call.Ranges{"100-299"}, Queues: call.Ranges{"800-801"}},
				CRM:     call.Answer{Source: call.SourceLive},
			}
			if contact != stranger {
				facts.CRM.Entities = []call.Entity{f.entity(contact)}
			}
			d := plan.Decide(facts)
			return string(d.Target) + " " + string(d.Outcome)
		}
		expect := func(when time.Time, contact int, want string) {
			t.Helper()
			time.Sleep(time.Until(when))
			if got := decide(contact); got != want {
				t.Errorf("%s: %s, want %s", when.Format(time.DateTime), got, want)
			}
		}
		second := time.Second
		expect(at(25, 23, 59).Add(59*second), 1, "205 temporary")
		expect(at(25, 23, 59).Add(59*second), stranger, "800 unknown")
		expect(at(26, 0, 0), stranger, "801 unknown")
		expect(at(26, 0, 0), 1, "201 responsible") // from the value: nothing is cleared yet
		expect(at(26, 1, 50), 2, "205 temporary")
		book.Ended(in("201"))
		expect(at(26, 1, 59), 2, "201 sticky")
		expect(at(26, 3, 4).Add(59*second), 2, "201 sticky") // a quarter of an hour after 01:50
		expect(at(26, 3, 5), 2, "205 temporary")
		expect(at(26, 3, 29).Add(59*second), 2, "205 temporary")
		expect(at(26, 3, 30), 2, "207 responsible")
		expect(at(26, 5, 59).Add(59*second), stranger, "801 unknown") // five hours after midnight
		expect(at(26, 6, 0), stranger, "800 unknown")
		time.Sleep(12 * time.Hour)
		var got []string
		mails, when := f.post.all()
		for i, m := range mails {
			end := at(26, 0, 0)
			if i >= 2 {
				end = at(26, 3, 30)
			}
			if late := when[i].Sub(end); late < 0 || late > 40*second {
				t.Errorf("%s came %v after the end", m.Subject, late)
			}
			_, told, _ := strings.Cut(m.Body, "истёк ")
			told, _, _ = strings.Cut(told, ".\n")
			got = append(got, m.To.Address+" "+told)
		}
		want := []string{
			"e205@example.com 26.03.2000 00:00 CET", "e201@example.com 26.03.2000 00:00 CET",
			"e205@example.com 26.03.2000 03:30 CEST", "e207@example.com 26.03.2000 03:30 CEST",
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
}
