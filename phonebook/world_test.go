package phonebook_test

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"sync"
	"testing"

	"go.uber.org/goleak"

	"frontdesk/call"
	"frontdesk/phonebook"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// world is a CRM, a PBX and a store in memory. trouble, if set, is asked before
// and after each operation and may fail it: before: it is not done; after: it
// is done, and the answer is lost.
type world struct {
	mu      sync.Mutex
	trouble func(op string, after bool) error

	crm      map[string]call.Address
	contacts map[int]phonebook.Contact
	next     int
	links    map[phonebook.Key]call.Listing
	notes    map[string][]byte
	ops      map[string]int
	lied     bool // the CRM answers nothing
}

func newWorld() *world {
	return &world{
		crm: map[string]call.Address{}, contacts: map[int]phonebook.Contact{}, next: 1, links: map[phonebook.Key]call.Listing{},
		notes: map[string][]byte{}, ops: map[string]int{},
	}
}

// fill puts n contacts into the CRM.
func (w *world) fill(n int) {
	for id := 1; id <= n; id++ {
		w.put(person(id, "Anna"))
	}
}

func person(id int, name string) call.Address {
	return call.Address{Kind: call.KindContact, ID: id, FirstName: name, Phones: phones("mobile", fmt.Sprintf("+7916%07d", id))}
}

func crmKey(k call.Kind, id int) string { return fmt.Sprintf("%s/%09d", k, id) }

func (w *world) put(a call.Address) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.crm[crmKey(a.Kind, a.ID)] = a
}

func (w *world) remove(k call.Kind, id int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.crm, crmKey(k, id))
}

// do runs an operation, unless there is trouble.
func (w *world) do(op string, f func()) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ops[op]++
	if w.trouble != nil {
		if err := w.trouble(op, false); err != nil {
			return err
		}
	}
	f()
	if w.trouble != nil {
		return w.trouble(op, true)
	}
	return nil
}

func (w *world) Addresses(_ context.Context, each func(call.Address) error) error {
	var all []call.Address
	err := w.do("addresses", func() {
		for _, k := range slices.Sorted(maps.Keys(w.crm)) {
			all = append(all, w.crm[k])
		}
	})
	if w.lied {
		return nil
	}
	for _, a := range all {
		if err := each(a); err != nil {
			return err
		}
	}
	return err
}

func (w *world) AddressesOf(_ context.Context, k call.Kind, ids ...int) ([]call.Address, error) {
	var out []call.Address
	err := w.do("addresses of", func() {
		for _, id := range ids {
			if a, ok := w.crm[crmKey(k, id)]; ok {
				out = append(out, a)
			}
		}
	})
	return out, err
}

func (w *world) Contacts(_ context.Context, each func(phonebook.Contact) error) error {
	var all []phonebook.Contact
	if err := w.do("contacts", func() { all = w.sorted() }); err != nil {
		return err
	}
	for _, c := range all {
		if err := each(c); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) sorted() []phonebook.Contact {
	return slices.SortedFunc(maps.Values(w.contacts), func(a, b phonebook.Contact) int { return cmp.Compare(a.ID, b.ID) })
}

func (w *world) Find(_ context.Context, id int, tag string) ([]phonebook.Contact, error) {
	var out []phonebook.Contact
	err := w.do("find", func() {
		for _, c := range w.sorted() {
			if id > 0 && c.ID == id || c.Values[phonebook.Tag] == tag {
				out = append(out, c)
			}
		}
	})
	return out, err
}

func (w *world) Create(_ context.Context, v phonebook.Values) (id int, err error) {
	err = w.do("create", func() {
		id = w.next
		w.contacts[id] = phonebook.Contact{ID: id, Values: v}
		w.next++
	})
	return id, err
}

func (w *world) Update(_ context.Context, id int, changes []phonebook.Change) error {
	gone := false
	err := w.do("update", func() {
		c, ok := w.contacts[id]
		for _, change := range changes {
			c.Values[change.Field] = change.Value
		}
		if gone = !ok; ok {
			w.contacts[id] = c
		}
	})
	if gone {
		return errors.Join(err, phonebook.ErrGone)
	}
	return err
}

func (w *world) Delete(_ context.Context, ids []int) error {
	return w.do("delete", func() {
		for _, id := range ids {
			delete(w.contacts, id)
		}
	})
}

func (w *world) SavePhonebook(_ context.Context, listings []call.Listing) error {
	return w.do("save", func() {
		for _, l := range listings {
			w.links[phonebook.Key{Kind: l.Kind, ID: l.ID, Part: l.Part}] = l
		}
	})
}

func (w *world) DeletePhonebook(_ context.Context, listings []call.Listing) error {
	return w.do("forget", func() {
		for _, l := range listings {
			delete(w.links, phonebook.Key{Kind: l.Kind, ID: l.ID, Part: l.Part})
		}
	})
}

func (w *world) LoadPhonebook(_ context.Context, kind call.Kind, id int, each func(call.Listing) error) error {
	var out []call.Listing
	if err := w.do("load", func() {
		for k, l := range w.links {
			if kind == "" || k.Kind == kind && k.ID == id {
				out = append(out, l)
			}
		}
	}); err != nil {
		return err
	}
	for _, l := range out {
		if err := each(l); err != nil {
			return err
		}
	}
	return nil
}

func (w *world) Get(_ context.Context, key string) (v []byte, err error) {
	if e := w.do("get", func() {
		var ok bool
		if v, ok = w.notes[key]; !ok {
			err = fs.ErrNotExist
		}
	}); e != nil {
		return nil, e
	}
	return v, err
}

func (w *world) CompareAndPut(_ context.Context, key string, old, value []byte) (did bool, err error) {
	err = w.do("note", func() {
		was, there := w.notes[key]
		if there == (old != nil) && bytes.Equal(was, old) {
			w.notes[key], did = value, true
		}
	})
	return did, err
}

// writes are how many requests changed the book.
func (w *world) writes() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ops["create"] + w.ops["update"] + w.ops["delete"]
}

func (w *world) count(op string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ops[op]
}

// of is the id of the contact that shows contact id of the CRM.
func (w *world) of(id int) int {
	for _, c := range w.contacts {
		if c.Values[phonebook.Tag] == (phonebook.Key{Kind: call.KindContact, ID: id, Part: 1}).Tag() {
			return c.ID
		}
	}
	return 0
}

// edit has people change a contact.
func (w *world) edit(id int, change func(*phonebook.Contact)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	c := w.contacts[id]
	change(&c)
	w.contacts[id] = c
}

func newSync(t testing.TB, w *world, change ...func(*phonebook.Config)) *phonebook.Sync {
	t.Helper()
	cfg := phonebook.Config{Source: w, Book: w, Links: w, Notes: w, Node: "a"}
	for _, f := range change {
		f(&cfg)
	}
	s, err := phonebook.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// full syncs and wants no error.
func full(t testing.TB, s *phonebook.Sync, o phonebook.Options) phonebook.Summary {
	t.Helper()
	sum, err := s.Full(t.Context(), o, nil)
	if err != nil {
		t.Fatal(err)
	}
	return sum
}

// inStep wants our contacts to be those that the CRM calls for, each once.
func inStep(t testing.TB, w *world) {
	t.Helper()
	w.mu.Lock()
	defer w.mu.Unlock()
	want := map[string]phonebook.Values{}
	for _, a := range w.crm {
		entries, _ := phonebook.Entries(a)
		for _, e := range entries {
			want[e.Values[phonebook.Tag]] = e.Values
		}
	}
	for _, c := range w.sorted() {
		tag := c.Values[phonebook.Tag]
		k, ok := phonebook.ParseTag(tag)
		if !ok {
			continue
		}
		if v, ok := want[tag]; !ok || v != c.Values {
			t.Errorf("contact %d %q: %q, want %q", c.ID, tag, c.Values, v)
		}
		delete(want, tag)
		if l := w.links[k]; l.Contact != c.ID || l.Fingerprint != c.Values.Fingerprint() {
			t.Errorf("contact %d %s is kept as %+v", c.ID, tag, l)
		}
	}
	for tag := range want {
		t.Errorf("%s is missing", tag)
	}
}
