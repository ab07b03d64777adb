package crm_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"frontdesk/call"
	"frontdesk/crm"
	"frontdesk/crm/crmtest"

	"github.com/google/go-cmp/cmp"
)

// memory is a store in memory that can be made to fail.
type memory struct {
	mu    sync.Mutex
	cards map[string]call.Card
	gone  map[string]call.Card
	when  map[string]time.Time // of the last change
	state map[string][]byte
	fail  func(op string) error // may be nil
	saves int
}

func newMemory() *memory {
	return &memory{
		cards: map[string]call.Card{}, gone: map[string]call.Card{}, when: map[string]time.Time{}, state: map[string][]byte{},
	}
}

func (m *memory) trouble(op string) error {
	if m.fail == nil {
		return nil
	}
	return m.fail(op)
}

func (m *memory) SaveEntities(_ context.Context, cards []call.Card) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.trouble("save"); err != nil {
		return err
	}
	m.saves += len(cards)
	for _, c := range cards {
		key := fmt.Sprint(c.Kind, c.ID)
		m.cards[key], m.when[key] = c, time.Now()
	}
	return nil
}

func (m *memory) DeleteEntities(_ context.Context, k call.Kind, ids []int) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.trouble("delete"); err != nil {
		return err
	}
	for _, id := range ids {
		key := fmt.Sprint(k, id)
		delete(m.cards, key)
		m.gone[key], m.when[key] = call.Card{Entity: call.Entity{Kind: k, ID: id}}, time.Now()
	}
	return nil
}

func (m *memory) LoadEntities(_ context.Context, since time.Time, each func(c call.Card, gone bool) error) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.trouble("load"); err != nil {
		return err
	}
	tell := func(told map[string]call.Card, gone bool) error {
		for key, c := range told {
			if since.IsZero() || !m.when[key].Before(since.Add(-30*time.Second)) {
				if err := each(c, gone); err != nil {
					return err
				}
			}
		}
		return nil
	}
	if !since.IsZero() {
		if err := tell(m.gone, true); err != nil {
			return err
		}
	}
	return tell(m.cards, false)
}

func (m *memory) Get(_ context.Context, key string) ([]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.trouble("get"); err != nil {
		return nil, err
	}
	if v, ok := m.state[key]; ok {
		return v, nil
	}
	return nil, fs.ErrNotExist
}

func (m *memory) Put(_ context.Context, key string, value []byte) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.trouble("put"); err != nil {
		return err
	}
	m.state[key] = value
	return nil
}

func (m *memory) CompareAndPut(_ context.Context, key string, old, value []byte) (bool, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.trouble("compare"); err != nil {
		return false, err
	}
	was, there := m.state[key]
	if there != (old != nil) || !bytes.Equal(was, old) {
		return false, nil
	}
	m.state[key] = value
	return true, nil
}

func (m *memory) stored() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.cards)
}

func (m *memory) saved() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.saves
}

// newMirror makes a mirror of w's portal, on s.
func newMirror(t testing.TB, w *world, s *memory, change ...func(*crm.MirrorConfig)) *crm.Mirror {
	t.Helper()
	cfg := crm.MirrorConfig{Cards: s, State: s}
	for _, f := range change {
		f(&cfg)
	}
	m, err := crm.NewMirror(w.Client, cfg)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// runMirror runs m in the background until the test's end, or until stop.
func runMirror(t testing.TB, m *crm.Mirror) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- m.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(stop)
	return stop
}

func mobile(i int) string { return fmt.Sprintf("+7916%07d", i) }

// who are the entities that the mirror gives for a number, as "contact 7".
func who(t testing.TB, m *crm.Mirror, number string) []string {
	t.Helper()
	a, ok := m.Lookup(call.ParseNumber(number, "RU"), time.Now())
	if !ok {
		t.Fatalf("the mirror does not answer for %s", number)
	}
	if a.Source != call.SourceMirror || a.Missing != "" {
		t.Errorf("answer from %q, missing %q", a.Source, a.Missing)
	}
	out := []string{}
	for _, e := range a.Entities {
		out = append(out, fmt.Sprintf("%s %d", e.Kind, e.ID))
	}
	return out
}

func wantWho(t testing.TB, m *crm.Mirror, number string, want ...string) {
	t.Helper()
	if got := who(t, m, number); !slices.Equal(got, want) {
		t.Errorf("%s is carried by %q, want %q", number, got, want)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// populate adds n contacts, each with a number of its own.
func populate(p *crmtest.Portal, n int) {
	for i := range n {
		p.AddContact(crmtest.Contact{ID: 10 + 3*i, Name: "C", Responsible: 61, Phones: []string{mobile(i)}})
	}
}

func contact(i int) string { return fmt.Sprintf("contact %d", 10+3*i) }

func TestMirrorSaysWhatTheLiveAnswerSays(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPortal(crmtest.Options{})
		p.AddContact(crmtest.Contact{
			Name: "Ann", LastName: "Lee", Responsible: 61, Phones: []string{"8 (916) 123-45-67", "+7 495 000-11-22#12"},
			Fields: map[string]any{
				"UF_CRM_FD_MANAGER": "62", "UF_CRM_FD_TEMP_MANAGER": 61, "UF_CRM_FD_TEMP_UNTIL": "2030-01-02T03:04:05+03:00",
				"UF_CRM_FD_DIRECT": true, "UF_CRM_FD_NO_STICKY": "1", "UF_CRM_VIP": "gold",
			},
		})
		p.AddCompany(crmtest.Company{Title: "Lee & Co", Responsible: 62, Phones: []string{"+79161234567"}})
		p.AddLead(crmtest.Lead{Title: "Call", Responsible: 62, Phones: []string{"79161234567"}})
		p.AddLead(crmtest.Lead{Name: "Spam", Semantics: "F", Responsible: 62, Phones: []string{"9161234567"}})
		w := newWorld(t, p, func(c *crm.Config) { c.Fields.Extra = []string{"UF_CRM_VIP"} })
		m := newMirror(t, w, newMemory())
		if _, ok := m.Lookup(number, time.Now()); ok {
			t.Error("an empty mirror answers")
		}
		must(t, m.Export(t.Context()))
		got, ok := m.Lookup(number, time.Now())
		if !ok || len(got.Entities) != 4 {
			t.Fatalf("the mirror says %+v, %v", got, ok)
		}
		if diff := cmp.Diff(w.found(t), got.Entities); diff != "" {
			t.Error(diff)
		}
		wantWho(t, m, "+74950001122", "contact 1001")
		wantWho(t, m, "+74950001123")
		if size := m.Size(); size != (crm.MirrorSize{Contacts: 1, Companies: 1, Leads: 2, Numbers: 2}) {
			t.Errorf("the mirror holds %+v", size)
		}
		if len(w.Employees()) != 3 {
			t.Errorf("employees: %v", w.Employees())
		}
	})
}

// 730 contacts are a full batch of ten pages, four full pages and a short one;
// the pages behind it begin again from the start. Exactly 50 and 500 end with
// an empty page.
func TestExportReadsEveryPage(t *testing.T) {
	for _, n := range []int{0, 1, 49, 50, 51, 500, 730} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				p := newPortal(crmtest.Options{})
				populate(p, n)
				w := newWorld(t, p)
				s := newMemory()
				var last crm.Progress
				m := newMirror(t, w, s, func(c *crm.MirrorConfig) {
					c.Progress = func(p crm.Progress) {
						if p.Kind == call.KindContact {
							last = p
						}
					}
				})
				must(t, m.Export(t.Context()))
				for i := range n {
					wantWho(t, m, mobile(i), contact(i))
				}
				if got := m.Size().Contacts; got != n || s.stored() != n || last.Cards != n || last.At != last.Last || s.saves != n {
					t.Errorf("%d contacts, %d stored, %d saved, progress %+v; want %d", got, s.stored(), s.saves, last, n)
				}
			})
		})
	}
}

var errTest = errors.New("test")

// An export that dies, by the portal or by the store, at any request, goes on
// where it was; also in another process.
func TestExportResumes(t *testing.T) {
	step := 1
	if testing.Short() {
		step = 4
	}
	for after := 0; after < 9; after += step {
		t.Run(fmt.Sprint(after), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				p := newPortal(crmtest.Options{})
				populate(p, 1730)
				w := newWorld(t, p)
				s := newMemory()
				p.SetFault(crmtest.Fault{Kind: crmtest.ServerError, Method: "batch", After: after, Times: 1})
				m := newMirror(t, w, s)
				err := m.Export(t.Context())
				if err == nil && after < 8 {
					t.Error("the export did not notice")
				}
				before := s.stored()
				again := newMirror(t, w, s) // the process was killed
				must(t, again.Load(t.Context()))
				must(t, again.Export(t.Context()))
				for i := range 1730 {
					wantWho(t, again, mobile(i), contact(i))
				}
				if s.saves != 1730 || s.stored() != 1730 {
					t.Errorf("%d stored, %d saved; %d were there before", s.stored(), s.saves, before)
				}
			})
		})
	}
}

// A process killed between saving a page and saving how far it is reads the
// page again, which changes nothing.
func TestExportKilledBetweenPageAndCursor(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPortal(crmtest.Options{})
		populate(p, 1100)
		w := newWorld(t, p)
		s := newMemory()
		puts := 0
		s.fail = func(op string) error {
			if op == "put" {
				puts++
			}
			if op == "put" && puts == 3 {
				return errTest
			}
			return nil
		}
		if err := newMirror(t, w, s).Export(t.Context()); !errors.Is(err, errTest) {
			t.Fatalf("the export says %v", err)
		}
		again := newMirror(t, w, s)
		must(t, again.Load(t.Context()))
		must(t, again.Export(t.Context()))
		if s.stored() != 1100 || again.Size().Numbers != 1100 {
			t.Errorf("%d stored, %+v", s.stored(), again.Size())
		}
	})
}

// What the store missed it is told again, although memory has it.
func TestStoreGoneForAWhile(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPortal(crmtest.Options{})
		populate(p, 3)
		w := newWorld(t, p)
		s := newMemory()
		m := newMirror(t, w, s)
		runMirror(t, m)
		synctest.Wait()
		time.Sleep(time.Minute)
		s.mu.Lock()
		s.fail = func(string) error { return errTest }
		s.mu.Unlock()
		p.SetField(call.KindContact, 10, "ASSIGNED_BY_ID", "62")
		p.SetPhones(call.KindContact, 10, mobile(99))
		time.Sleep(7 * time.Minute)
		wantWho(t, m, mobile(99), contact(0)) // memory serves on
		s.mu.Lock()
		s.fail = nil
		s.mu.Unlock()
		time.Sleep(time.Minute)
		s.mu.Lock()
		defer s.mu.Unlock()
		if got := s.cards["contact10"]; got.Responsible != 62 || !slices.Equal(got.Phones, []string{mobile(99)}) {
			t.Errorf("stored is %+v", got)
		}
	})
}

func TestDeltasFollowThePortal(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPortal(crmtest.Options{})
		populate(p, 120)
		w := newWorld(t, p)
		s := newMemory()
		m := newMirror(t, w, s)
		runMirror(t, m)
		time.Sleep(20 * time.Minute)
		wantWho(t, m, mobile(7), contact(7))
		saves := s.saved()

		p.SetField(call.KindContact, 10, "UF_CRM_FD_MANAGER", "62")
		p.SetPhones(call.KindContact, 13, mobile(1), mobile(0)) // now two have number 0
		p.SetPhones(call.KindContact, 16, mobile(500))
		lead := p.AddLead(crmtest.Lead{Title: "New", Responsible: 62, Phones: []string{mobile(600)}})
		time.Sleep(6 * time.Minute)
		wantWho(t, m, mobile(0), contact(0), contact(1))
		wantWho(t, m, mobile(2))
		wantWho(t, m, mobile(500), contact(2))
		wantWho(t, m, mobile(600), fmt.Sprintf("lead %d", lead))
		if a, _ := m.Lookup(call.Number(mobile(0)), time.Now()); a.Entities[0].Manager != 62 {
			t.Errorf("the manager is %d", a.Entities[0].Manager)
		}
		if got := s.saved() - saves; got != 4 {
			t.Errorf("%d cards were saved for 4 changes", got)
		}

		// A merge: 13 takes over what 10 had, and 10 is gone.
		p.Remove(call.KindContact, 10)
		p.Remove(call.KindLead, lead)
		time.Sleep(24 * time.Hour) // over the night
		wantWho(t, m, mobile(0), contact(1))
		wantWho(t, m, mobile(600))
		if s.stored() != 119 {
			t.Errorf("%d are stored", s.stored())
		}
	})
}

// More entities changed at once than a page holds.
func TestDeltaOfManyPages(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPortal(crmtest.Options{})
		populate(p, 700)
		w := newWorld(t, p)
		m := newMirror(t, w, newMemory())
		runMirror(t, m)
		time.Sleep(20 * time.Minute)
		for i := range 700 {
			p.SetPhones(call.KindContact, 10+3*i, mobile(10000+i))
		}
		time.Sleep(6 * time.Minute)
		for i := range 700 {
			wantWho(t, m, mobile(10000+i), contact(i))
			wantWho(t, m, mobile(i))
		}
	})
}

func TestSweep(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPortal(crmtest.Options{})
		populate(p, 200)
		w := newWorld(t, p)
		s := newMemory()
		m := newMirror(t, w, s)
		must(t, m.Export(t.Context()))
		for i := 100; i < 200; i++ { // the last hundred, all pages of theirs
			p.Remove(call.KindContact, 10+3*i)
		}
		p.Remove(call.KindContact, 10+3*50)
		must(t, m.Sweep(t.Context()))
		if n := m.Size().Contacts; n != 99 || s.stored() != 99 {
			t.Errorf("%d contacts are left, %d stored; want 99", n, s.stored())
		}
		for i := range 100 {
			p.Remove(call.KindContact, 10+3*i)
		}
		if err := m.Sweep(t.Context()); err == nil || !strings.Contains(err.Error(), "not believed") {
			t.Errorf("a portal that shows nothing: %v", err)
		}
		if n := m.Size().Contacts; n != 99 {
			t.Errorf("%d contacts are left, want all 99", n)
		}
	})
}

func TestMirrorAge(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPortal(crmtest.Options{})
		populate(p, 3)
		w := newWorld(t, p)
		s := newMemory()
		m := newMirror(t, w, s, func(c *crm.MirrorConfig) { c.MaxAge = time.Hour })
		stop := runMirror(t, m)
		time.Sleep(10*time.Minute + 30*time.Second)
		p.SetFault(crmtest.Fault{Kind: crmtest.Silence})
		time.Sleep(30 * time.Minute)
		a, ok := m.Lookup(call.Number(mobile(1)), time.Now())
		if age := time.Duration(a.Age); !ok || age < 30*time.Minute || age > 31*time.Minute {
			t.Errorf("age %v, %v", age, ok)
		}
		stop()
		// Another process, and the portal still dead: it knows callers and employees.
		w2 := newWorld(t, p)
		m2 := newMirror(t, w2, s, func(c *crm.MirrorConfig) { c.MaxAge = time.Hour })
		runMirror(t, m2)
		synctest.Wait()
		wantWho(t, m2, mobile(1), contact(1))
		if e, ok := w2.Employee(61); !ok || e.Extension != "201" {
			t.Errorf("employee 61: %+v, %v", e, ok)
		}
		time.Sleep(40 * time.Minute)
		if a, ok := m2.Lookup(call.Number(mobile(1)), time.Now()); ok {
			t.Errorf("a copy older than an hour answers: %+v", a)
		}
		if ok, why := m2.Ready(time.Now()); ok || why == "" {
			t.Errorf("ready: %v, %s", ok, why)
		}
		p.Heal()
		time.Sleep(2 * time.Minute)
		wantWho(t, m2, mobile(1), contact(1))
	})
}

// Other fields mean that the copy lacks something: it is read anew.
func TestMirrorOfOtherFields(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPortal(crmtest.Options{})
		p.AddContact(crmtest.Contact{Responsible: 61, Phones: []string{mobile(1)}, Fields: map[string]any{"UF_CRM_VIP": "gold"}})
		w := newWorld(t, p)
		s := newMemory()
		must(t, newMirror(t, w, s).Export(t.Context()))
		w2 := newWorld(t, p, func(c *crm.Config) { c.Fields.Extra = []string{"UF_CRM_VIP"} })
		m := newMirror(t, w2, s)
		must(t, m.Load(t.Context()))
		if _, ok := m.Lookup(call.Number(mobile(1)), time.Now()); ok {
			t.Error("a copy without the field answers")
		}
		must(t, m.Export(t.Context()))
		a, _ := m.Lookup(call.Number(mobile(1)), time.Now())
		if !maps.Equal(a.Entities[0].Fields, map[string]any{"UF_CRM_VIP": "gold"}) {
			t.Errorf("fields: %v", a.Entities[0].Fields)
		}
	})
}

// The mirror rests when half of a method's execution time is used up, so that
// callers never find it gone.
func TestExportLeavesExecutionTime(t *testing.T) {
	if testing.Short() {
		t.Skip("an export that lasts hours")
	}
	bubble(t, func(t *testing.T) {
		p := newPortal(crmtest.Options{})
		populate(p, 4000)
		p.SetOperating(480*time.Second, 5*time.Second) // 96 pages in ten minutes
		w := newWorld(t, p)
		m := newMirror(t, w, newMemory())
		began := time.Now()
		must(t, m.Export(t.Context()))
		if took := time.Since(began); took < 10*time.Minute || took > 25*time.Minute {
			t.Errorf("the export took %v", took)
		}
		if _, err := w.ask(t, call.Number(mobile(1))); err != nil {
			t.Errorf("a caller's look-up: %v", err)
		}
	})
}

// Callers are served at once while an export uses what they leave.
func TestExportYieldsToCallers(t *testing.T) {
	bubble(t, func(t *testing.T) {
		cards, callers := 5000, 40
		if testing.Short() {
			cards, callers = 1000, 8
		}
		p := newPortal(crmtest.Options{})
		populate(p, cards)
		p.SetRate(2, 50)
		w := newWorld(t, p)
		m := newMirror(t, w, newMemory())
		done := make(chan error)
		go func() { done <- m.Export(t.Context()) }()
		for range callers {
			began := time.Now()
			if _, err := w.ask(t, call.Number(mobile(1))); err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); took > 10*time.Millisecond {
				t.Errorf("a caller waited %v", took)
			}
			time.Sleep(2 * time.Second)
		}
		must(t, <-done)
		wantWho(t, m, mobile(cards-1), contact(cards-1))
	})
}

// crm.prefer: mirror decides at once whatever the portal does, and what it said
// is set right afterwards.
func TestMirrorFirst(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPortal(crmtest.Options{})
		populate(p, 3)
		w := newWorld(t, p)
		m := newMirror(t, w, newMemory())
		first := crm.MirrorFirst{Mirror: m}
		if a, err := first.Lookup(t.Context(), call.Number(mobile(1))); err != nil || a.Source != call.SourceLive {
			t.Errorf("without a copy: %+v, %v", a, err)
		}
		runMirror(t, m)
		time.Sleep(20 * time.Minute)
		p.SetPhones(call.KindContact, 10, mobile(77)) // nobody has told the mirror
		p.Remove(call.KindContact, 13)
		p.SetFault(crmtest.Fault{Kind: crmtest.Slow, Latency: time.Second})
		for number, entities := range map[int]int{0: 1, 1: 1, 77: 0} {
			began := time.Now()
			a, err := first.Lookup(t.Context(), call.Number(mobile(number)))
			if err != nil || a.Source != call.SourceMirror || len(a.Entities) != entities || time.Since(began) != 0 {
				t.Errorf("%d: %+v, %v after %v", number, a, err, time.Since(began))
			}
		}
		time.Sleep(30 * time.Second)
		wantWho(t, m, mobile(77), contact(0))
		wantWho(t, m, mobile(0))
		wantWho(t, m, mobile(1))
	})
}

// serveEvents joins m's handler of events to the portal, in memory.
func serveEvents(t testing.TB, p *crmtest.Portal, h http.Handler, token string) {
	lines := newPipes()
	server := &http.Server{Handler: h}
	go func() { _ = server.Serve(lines) }()
	client := &http.Client{Transport: &http.Transport{DialContext: lines.dial}}
	p.AddHook(crmtest.Hook{URL: "http://frontdesk.test/bitrix24/events", Token: token, Client: client})
	t.Cleanup(func() {
		p.Close()
		client.CloseIdleConnections()
		if err := server.Close(); err != nil {
			t.Error(err)
		}
	})
}

func TestEvents(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPortal(crmtest.Options{})
		populate(p, 120)
		w := newWorld(t, p)
		w.run(t)
		s := newMemory()
		m := newMirror(t, w, s, func(c *crm.MirrorConfig) { c.Every = time.Hour })
		runMirror(t, m)
		time.Sleep(10 * time.Minute)
		serveEvents(t, p, m.Events("other", "right"), "right")
		before := p.Total()
		for i := range 100 {
			p.SetPhones(call.KindContact, 10+3*i, mobile(1000+i))
		}
		p.Remove(call.KindContact, 10)
		company := p.AddCompany(crmtest.Company{Title: "New", Responsible: 62, Phones: []string{mobile(1)}})
		p.AddUser(crmtest.User{ID: 99, FirstName: "New", Extension: "299"})
		time.Sleep(3 * time.Second)
		for i := 1; i < 100; i++ {
			wantWho(t, m, mobile(1000+i), contact(i))
		}
		wantWho(t, m, mobile(1000))
		wantWho(t, m, mobile(1), fmt.Sprintf("company %d", company))
		if e, ok := w.Employee(99); !ok || e.Extension != "299" {
			t.Errorf("employee 99: %+v, %v", e, ok)
		}
		if n := p.Total() - before; n > 6 {
			t.Errorf("%d requests for 103 events", n)
		}
		if p.Posted() != 103 {
			t.Errorf("%d events were taken", p.Posted())
		}
	})
}

// While the portal is down events wait, and nothing is lost.
func TestEventsOfADeadPortal(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPortal(crmtest.Options{})
		populate(p, 3)
		w := newWorld(t, p)
		m := newMirror(t, w, newMemory(), func(c *crm.MirrorConfig) { c.Every = time.Hour })
		runMirror(t, m)
		time.Sleep(10 * time.Minute)
		serveEvents(t, p, m.Events("right"), "right")
		p.SetFault(crmtest.Fault{Kind: crmtest.ServerError})
		p.SetPhones(call.KindContact, 10, mobile(1000))
		time.Sleep(5 * time.Minute)
		wantWho(t, m, mobile(0), contact(0))
		p.Heal()
		time.Sleep(time.Minute)
		wantWho(t, m, mobile(1000), contact(0))
		wantWho(t, m, mobile(0))
	})
}
