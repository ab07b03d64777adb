package phonebook_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"frontdesk/call"
	"frontdesk/phonebook"
)

func TestFullSync(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.fill(1200)
		w.contacts[1] = phonebook.Contact{ID: 1, Values: values("FirstName", "Mum", "Home", "+74950000000", "Tag", "family")}
		mum := w.contacts[1]
		w.next = 2
		s := newSync(t, w)

		dry := full(t, s, phonebook.Options{DryRun: true})
		if w.writes() > 0 || w.count("save")+w.count("note") > 0 {
			t.Errorf("a dry run writes: %v", w.ops)
		}
		if dry.Written.Created != 1200 || len(dry.Examples) != 10 || dry.Examples[0] != "create B24:C:1 Anna" {
			t.Errorf("dry run: %+v", dry)
		}

		var last phonebook.Progress
		sum, err := s.Full(t.Context(), phonebook.Options{}, func(p phonebook.Progress) { last = p })
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(phonebook.Written{Created: 1200}, sum.Written); d != "" || sum.Foreign != 1 || sum.Wanted != 1200 {
			t.Errorf("first: %+v", sum)
		}
		if last != (phonebook.Progress{Stage: phonebook.StageWrite, Done: 1200, Total: 1200}) {
			t.Errorf("progress %+v", last)
		}
		inStep(t, w)

		writes, saves := w.writes(), w.count("save")
		sum = full(t, s, phonebook.Options{})
		if w.writes() != writes || w.count("save") != saves || sum.Matched.Unchanged != 1200 {
			t.Errorf("the second sync writes: %v, %+v", w.ops, sum)
		}
		if w.contacts[1] != mum {
			t.Errorf("people's contact is now %v", w.contacts[1])
		}
	})
}

func TestFullSyncFollows(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.fill(20)
		s := newSync(t, w)
		full(t, s, phonebook.Options{})

		five := w.of(5)
		w.put(person(1, "Olga"))      // renamed in the CRM
		w.remove(call.KindContact, 2) // deleted, or merged into another
		w.put(person(21, "New"))      // new
		many := person(3, "Anna")     // has more numbers than a contact
		for i := range 8 {
			many.Phones = append(many.Phones, call.Phone{Kind: call.PhoneWork, Number: call.Number(fmt.Sprintf("+7495000000%d", i))})
		}
		w.put(many)
		w.edit(w.of(4), func(c *phonebook.Contact) { c.Values[phonebook.FirstName] = "Nuts" }) // ours comes back
		w.edit(five, func(c *phonebook.Contact) { c.Values[phonebook.Tag] = "" })              // theirs
		delete(w.contacts, w.of(6))                                                            // comes back
		w.contacts[99] = phonebook.Contact{ID: 99, Values: w.contacts[w.of(7)].Values}         // twice
		w.next = 100
		theirs := w.contacts[five]

		sum := full(t, s, phonebook.Options{})
		if d := cmp.Diff(phonebook.Written{Created: 3, Updated: 3, Deleted: 2}, sum.Written); d != "" {
			t.Errorf("(-want +got):\n%s", d)
		}
		if sum.Matched.Theirs != 1 || w.contacts[five] != theirs {
			t.Errorf("people's contact: %+v, %v", sum, w.contacts[five])
		}
		full(t, s, phonebook.Options{})
		if w.contacts[five] != theirs {
			t.Error("people's contact was touched")
		}
		w.remove(call.KindContact, 5)
		inStep(t, w)
		many.Phones = many.Phones[:2]
		w.put(many)
		full(t, s, phonebook.Options{})
		inStep(t, w)
	})
}

// TestAWrongAnswerOfTheCRM: what the CRM leaves out is not deleted in great
// numbers, and all else is done.
func TestAWrongAnswerOfTheCRM(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.fill(600)
		s := newSync(t, w)
		full(t, s, phonebook.Options{})
		for id := 1; id <= 121; id++ {
			w.remove(call.KindContact, id)
		}
		w.put(person(601, "New"))
		sum, err := s.Full(t.Context(), phonebook.Options{}, nil)
		if !errors.Is(err, phonebook.ErrMassDeletion) || !strings.Contains(err.Error(), "--force") || sum.Withheld != 121 || sum.Written.Created != 1 || sum.Written.Deleted != 0 {
			t.Errorf("%v, %+v", err, sum)
		}
		w.lied = true
		for _, o := range []phonebook.Options{{}, {DryRun: true}} {
			if _, err := s.Full(t.Context(), o, nil); !errors.Is(err, phonebook.ErrMassDeletion) {
				t.Errorf("nothing in the CRM, %+v: %v", o, err)
			}
		}
		w.lied = false
		if sum = full(t, s, phonebook.Options{Force: true}); sum.Written.Deleted != 121 {
			t.Errorf("%+v", sum)
		}
		inStep(t, w)
	})
}

// TestAListThatBreaksOff: half a list of the CRM or of the PBX writes nothing.
func TestAListThatBreaksOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, op := range []string{"contacts", "addresses", "load"} {
			w := newWorld()
			w.fill(10)
			s := newSync(t, w)
			full(t, s, phonebook.Options{})
			w.fill(20)
			before := w.writes()
			boom := errors.New("boom")
			w.trouble = func(o string, after bool) error {
				if o == op && after {
					return boom
				}
				return nil
			}
			if _, err := s.Full(t.Context(), phonebook.Options{}, nil); !errors.Is(err, boom) || w.writes() != before {
				t.Errorf("%s: %v, %d writes", op, err, w.writes()-before)
			}
			w.trouble = nil
			full(t, s, phonebook.Options{})
			inStep(t, w)
		}
	})
}

// TestDeathAtAnyPoint: a process may die before or after any operation takes
// effect; the next one goes on, and nothing is there twice.
func TestDeathAtAnyPoint(t *testing.T) {
	t.Parallel()
	errDead := errors.New("dead")
	for _, after := range []bool{false, true} {
		for fuse := 1; ; fuse++ {
			completed := false
			synctest.Test(t, func(t *testing.T) {
				w := newWorld()
				w.fill(6)
				full(t, newSync(t, w), phonebook.Options{})
				w.put(person(1, "Olga"))
				w.remove(call.KindContact, 2)
				w.remove(call.KindContact, 3)
				w.fill2(7, 9)
				left := fuse
				w.trouble = func(_ string, late bool) error {
					if late == after {
						left--
					}
					if left <= 0 {
						return errDead
					}
					return nil
				}
				_, err := newSync(t, w).Full(t.Context(), phonebook.Options{}, nil)
				completed = err == nil
				w.trouble = nil
				// An entity may be looked at by an update before the next full sync.
				s := newSync(t, w)
				for id := 7; id <= 9; id += 2 {
					if err := s.Update(t.Context(), call.KindContact, id); err != nil {
						t.Fatal(err)
					}
				}
				full(t, s, phonebook.Options{})
				inStep(t, w)
				if n := len(w.contacts); n != 7 {
					t.Errorf("fuse %d, after %v: %d contacts", fuse, after, n)
				}
				if sum := full(t, s, phonebook.Options{}); sum.Written != (phonebook.Written{}) {
					t.Errorf("fuse %d, after %v: then %+v", fuse, after, sum.Written)
				}
			})
			if completed {
				break
			}
		}
	}
}

// fill2 puts contacts first to last into the CRM.
func (w *world) fill2(first, last int) {
	for id := first; id <= last; id++ {
		w.put(person(id, "Vera"))
	}
}

// TestLostAnswers: an API that does what it is told and fails to say so.
func TestLostAnswers(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.fill(10)
		n := 0
		w.trouble = func(op string, after bool) error {
			if op != "create" && op != "update" && op != "delete" {
				return nil
			}
			if n++; n%3 == 0 {
				return errors.New("503")
			}
			return nil
		}
		s := newSync(t, w)
		full(t, s, phonebook.Options{})
		inStep(t, w)
		w.remove(call.KindContact, 1)
		w.put(person(2, "Olga"))
		full(t, s, phonebook.Options{})
		inStep(t, w)
		if len(w.contacts) != 9 {
			t.Errorf("%d contacts", len(w.contacts))
		}
	})
}

// TestOutage: an API that stays down ends the sync after half a minute.
func TestOutage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.fill(1000)
		w.trouble = func(op string, _ bool) error {
			if op == "create" && w.ops["create"] > 100 {
				return errors.New("503")
			}
			return nil
		}
		s := newSync(t, w)
		began := time.Now()
		sum, err := s.Full(t.Context(), phonebook.Options{}, nil)
		if err == nil || sum.Written.Created != 100 || time.Since(began) > time.Minute {
			t.Errorf("after %v: %v, %+v", time.Since(began), err, sum.Written)
		}
		if w.count("create") > 115 {
			t.Errorf("%d requests", w.count("create"))
		}
		w.trouble = nil
		full(t, s, phonebook.Options{})
		inStep(t, w)
	})
}

// TestRefusals: a contact that the PBX does not take holds up no other; a PBX
// that takes none any more ends the sync.
func TestRefusals(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.fill(200)
		w.trouble = func(op string, after bool) error {
			if op == "create" && !after && w.ops["create"]%2 == 0 {
				return fmt.Errorf("400 STRING_TOO_LONG: %w", phonebook.ErrRefused)
			}
			return nil
		}
		s := newSync(t, w)
		sum := full(t, s, phonebook.Options{})
		if sum.Written != (phonebook.Written{Created: 100, Refused: 100}) || len(w.links) != 100 {
			t.Errorf("%+v, %d kept", sum.Written, len(w.links))
		}
		w.fill(1000)
		w.trouble = func(op string, after bool) error {
			if op == "create" && !after {
				return fmt.Errorf("400 LIMIT_REACHED: %w", phonebook.ErrRefused)
			}
			return nil
		}
		before := w.count("create")
		if _, err := s.Full(t.Context(), phonebook.Options{}, nil); !errors.Is(err, phonebook.ErrManyRefused) || w.count("create")-before > 60 {
			t.Errorf("%v after %d", err, w.count("create")-before)
		}
	})
}

// TestGoneMeanwhile: PATCH of a contact that people have just deleted.
func TestGoneMeanwhile(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.fill(3)
		s := newSync(t, w)
		full(t, s, phonebook.Options{})
		two := w.of(2)
		w.put(person(2, "Olga"))
		w.trouble = func(op string, after bool) error {
			if op == "update" && !after {
				delete(w.contacts, two)
			}
			return nil
		}
		full(t, s, phonebook.Options{})
		inStep(t, w)
	})
}

// TestOneAtATime: neither two syncs of a process nor those of two nodes run
// together; a node that died is not waited for for ever.
func TestOneAtATime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.fill(3)
		a, b := newSync(t, w), newSync(t, w, func(c *phonebook.Config) { c.Node = "b" })
		reached, goOn := make(chan struct{}), make(chan struct{})
		done := make(chan error, 1)
		go func() {
			first := true
			_, err := a.Full(context.Background(), phonebook.Options{}, func(phonebook.Progress) {
				if first {
					first = false
					close(reached)
					<-goOn
				}
			})
			done <- err
		}()
		<-reached
		if _, err := a.Full(t.Context(), phonebook.Options{}, nil); !errors.Is(err, phonebook.ErrRunning) {
			t.Error(err)
		}
		if _, err := b.Full(t.Context(), phonebook.Options{}, nil); !errors.Is(err, phonebook.ErrElsewhere) {
			t.Error(err)
		}
		time.Sleep(6 * time.Minute) // a is taken for dead
		full(t, b, phonebook.Options{})
		close(goOn)
		if err := <-done; !errors.Is(err, phonebook.ErrElsewhere) {
			t.Errorf("whose lease was taken: %v", err)
		}
		inStep(t, w)
	})
}

func TestRunAndRequest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.fill(3)
		every := func(c *phonebook.Config) { c.Every = time.Hour }
		s := newSync(t, w, every)
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() { done <- s.Run(ctx) }()
		show := func(phonebook.Progress) {}
		sum, err := s.Request(t.Context(), phonebook.Options{}, show)
		if err != nil || sum.Written.Created != 3 {
			t.Errorf("%v, %+v", err, sum)
		}
		w.put(person(4, "Vera"))
		time.Sleep(59 * time.Minute)
		if w.count("create") != 3 {
			t.Error("too early")
		}
		time.Sleep(2 * time.Minute)
		if w.count("create") != 4 {
			t.Error("not after an hour")
		}
		w.put(person(5, "Vera"))
		w.trouble = func(op string, _ bool) error {
			if op == "contacts" {
				return errors.New("503")
			}
			return nil
		}
		if _, err := s.Request(t.Context(), phonebook.Options{}, show); err == nil {
			t.Error("no error")
		}
		w.mu.Lock()
		w.trouble = nil
		w.mu.Unlock()
		time.Sleep(time.Hour + 2*time.Minute)
		inStep(t, w)
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		// After a restart the last sync counts.
		lists := w.count("contacts")
		again := newSync(t, w, every)
		ctx, cancel = context.WithCancel(t.Context())
		go func() { done <- again.Run(ctx) }()
		time.Sleep(30 * time.Minute)
		if w.count("contacts") != lists {
			t.Error("synced again after a restart")
		}
		cancel()
		<-done
	})
}

func TestUpdate(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.fill(5)
		s := newSync(t, w)
		full(t, s, phonebook.Options{})
		update := func(id int) {
			t.Helper()
			if err := s.Update(t.Context(), call.KindContact, id); err != nil {
				t.Fatal(err)
			}
		}
		asked := func() int { return w.writes() + w.count("find") }
		before := asked()
		update(1)
		if asked() != before {
			t.Error("what has not changed costs requests")
		}
		w.put(person(1, "Olga"))
		update(1)
		w.put(person(6, "New"))
		update(6)
		w.remove(call.KindContact, 2)
		update(2)
		delete(w.contacts, w.of(3))
		w.put(person(3, "Vera"))
		update(3)
		inStep(t, w)
		if w.ops["create"] != 5+2 || w.ops["update"] != 1 || w.ops["delete"] != 1 {
			t.Errorf("%v", w.ops)
		}

		four, five := w.of(4), w.of(5)
		w.edit(four, func(c *phonebook.Contact) { c.Values[phonebook.Tag] = "VIP" })
		theirs := w.contacts[four]
		w.put(person(4, "Vera"))
		update(4)
		update(4)
		w.edit(five, func(c *phonebook.Contact) { c.Values[phonebook.Tag] = "B24:C:1" }) // people's fancy
		w.put(person(5, "Vera"))
		fancy := w.contacts[five]
		update(5)
		w.remove(call.KindContact, 4)
		update(4)
		if w.contacts[four] != theirs || w.contacts[five] != fancy {
			t.Errorf("people's contacts: %v, %v", w.contacts[four], w.contacts[five])
		}
		if d := cmp.Diff(5+2, w.ops["create"]); d != "" {
			t.Error(d)
		}
	})
}

// TestUpdateDuringAFullSync: what an update wrote from a later look at the CRM
// is not overwritten, and nothing is made twice.
func TestUpdateDuringAFullSync(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.fill(4)
		s := newSync(t, w)
		full(t, s, phonebook.Options{})
		w.put(person(1, "Olga"))
		w.put(person(5, "New"))
		time.Sleep(time.Second)
		updated := false
		_, err := s.Full(t.Context(), phonebook.Options{}, func(p phonebook.Progress) {
			if p.Stage != phonebook.StageCRM || p.Done != 5 || updated {
				return
			}
			updated = true
			time.Sleep(time.Second)
			w.put(person(1, "Zoya"))
			for _, id := range []int{1, 5} {
				if err := s.Update(t.Context(), call.KindContact, id); err != nil {
					t.Error(err)
				}
			}
		})
		if err != nil || !updated {
			t.Fatal(err, updated)
		}
		inStep(t, w)
		if len(w.contacts) != 5 {
			t.Errorf("%d contacts", len(w.contacts))
		}
	})
}

func TestUpdateFails(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, op := range []string{"addresses of", "load", "find", "create", "save"} {
			w := newWorld()
			w.fill(1)
			w.trouble = func(o string, _ bool) error {
				if o == op {
					return errors.New("503")
				}
				return nil
			}
			s := newSync(t, w)
			if err := s.Update(t.Context(), call.KindContact, 1); err == nil {
				t.Errorf("%s: no error", op)
			}
			w.trouble = nil
			if err := s.Update(t.Context(), call.KindContact, 1); err != nil {
				t.Errorf("%s: %v", op, err)
			}
			inStep(t, w)
		}
	})
}

func TestWriteCSV(t *testing.T) {
	t.Parallel()
	w := newWorld()
	w.put(call.Address{Kind: call.KindContact, ID: 1, FirstName: `=HYPERLINK("x")`, LastName: "+Orlova", Company: `ACME, "Ltd"`, Mail: "-a@b",
		Phones: phones("mobile", "+79161234567", "fax", "+74951234567")})
	w.put(call.Address{Kind: call.KindContact, ID: 2, FirstName: "Nobody"})
	var b strings.Builder
	n, err := phonebook.WriteCSV(t.Context(), &b, w, func(phonebook.Progress) {})
	want := "Name,Last Name,Company,Mobile,Mobile2,Home,Home 2,Business,Business2,e-mail,Other,Business Fax,Home Fax,Pager\r\n" +
		`"'=HYPERLINK(""x"")",'+Orlova,"ACME, ""Ltd""",+79161234567,,,,,,'-a@b,,+74951234567,,` + "\r\n"
	if d := cmp.Diff(want, b.String()); d != "" || err != nil || n != 1 {
		t.Errorf("%d, %v:\n%s", n, err, d)
	}
	w.trouble = func(string, bool) error { return errors.New("boom") }
	if _, err := phonebook.WriteCSV(t.Context(), &b, w, func(phonebook.Progress) {}); err == nil {
		t.Error("no error")
	}
}

func TestCollectors(t *testing.T) {
	t.Parallel()
	s := newSync(t, newWorld())
	if n := len(slices.Concat(s.Collectors())); n != 4 {
		t.Errorf("%d collectors", n)
	}
	if _, err := phonebook.New(phonebook.Config{}); err == nil {
		t.Error("a sync of nothing")
	}
}
