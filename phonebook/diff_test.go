package phonebook_test

import (
	"math/rand/v2"
	"slices"
	"strconv"
	"testing"

	"github.com/google/go-cmp/cmp"

	"frontdesk/call"
	"frontdesk/phonebook"
)

// entry is what is wanted of contact id.
func entry(id int, name string) phonebook.Entry {
	entries, _ := phonebook.Entries(call.Address{Kind: call.KindContact, ID: id, FirstName: name, Phones: phones("mobile", "+7916"+strconv.Itoa(1000000+id))})
	return entries[0]
}

func listed(e phonebook.Entry, contact int) call.Listing {
	return call.Listing{Kind: e.Kind, ID: e.ID, Part: e.Part, Contact: contact, Fingerprint: e.Values.Fingerprint()}
}

func TestDiff(t *testing.T) {
	t.Parallel()
	anna, boris, vera := entry(1, "Anna"), entry(2, "Boris"), entry(3, "Vera")
	with := func(v phonebook.Values, f phonebook.Field, s string) phonebook.Values { v[f] = s; return v }
	contact := func(id int, v phonebook.Values) phonebook.Contact { return phonebook.Contact{ID: id, Values: v} }
	key := func(e phonebook.Entry) call.Listing { return call.Listing{Kind: e.Kind, ID: e.ID, Part: e.Part} }
	foreign := contact(90, values("FirstName", "Mum", "Home", "+74950000000"))
	for _, c := range []struct {
		name  string
		want  []phonebook.Entry
		have  []phonebook.Contact
		known []call.Listing
		plan  phonebook.Plan
	}{
		{"nothing", nil, []phonebook.Contact{foreign}, nil, phonebook.Plan{Tally: phonebook.Tally{Foreign: 1}}},
		{"in step", []phonebook.Entry{anna}, []phonebook.Contact{foreign, contact(5, anna.Values)}, []call.Listing{listed(anna, 5)},
			phonebook.Plan{Tally: phonebook.Tally{Ours: 1, Foreign: 1, Wanted: 1, Unchanged: 1}}},
		{"new", []phonebook.Entry{anna, boris}, nil, nil,
			phonebook.Plan{Creates: []phonebook.Create{{Entry: anna}, {Entry: boris}}, Tally: phonebook.Tally{Wanted: 2}}},
		{"changed in the CRM or by people: only what differs", []phonebook.Entry{anna},
			[]phonebook.Contact{contact(5, with(with(anna.Values, phonebook.FirstName, "Ana"), phonebook.Home, "+74950000001"))}, []call.Listing{listed(anna, 5)},
			phonebook.Plan{Updates: []phonebook.Update{{Entry: anna, Contact: 5, Changes: []phonebook.Change{{phonebook.FirstName, "Anna"}, {phonebook.Home, ""}}}},
				Tally: phonebook.Tally{Ours: 1, Wanted: 1}}},
		{"gone from the CRM", nil, []phonebook.Contact{contact(6, boris.Values), contact(5, anna.Values)}, []call.Listing{listed(anna, 5)},
			phonebook.Plan{Deletes: []phonebook.Delete{{Key: anna.Key, Contact: 5}, {Key: boris.Key, Contact: 6}}, Tally: phonebook.Tally{Ours: 2}}},
		{"gone from both", nil, nil, []call.Listing{listed(anna, 5)}, phonebook.Plan{Forget: []call.Listing{listed(anna, 5)}}},
		{"deleted by people", []phonebook.Entry{anna}, nil, []call.Listing{listed(anna, 5)},
			phonebook.Plan{Creates: []phonebook.Create{{Entry: anna, Doubtful: true}}, Tally: phonebook.Tally{Wanted: 1}}},
		{"being made when the process died", []phonebook.Entry{anna}, nil, []call.Listing{key(anna)},
			phonebook.Plan{Creates: []phonebook.Create{{Entry: anna, Doubtful: true}}, Tally: phonebook.Tally{Wanted: 1}}},
		{"made when the process died", []phonebook.Entry{anna}, []phonebook.Contact{contact(5, anna.Values)}, []call.Listing{key(anna)},
			phonebook.Plan{Keep: []call.Listing{listed(anna, 5)}, Tally: phonebook.Tally{Ours: 1, Wanted: 1, Unchanged: 1, Adopted: 1}}},
		{"not known, since the database is new", []phonebook.Entry{anna}, []phonebook.Contact{contact(5, anna.Values)}, nil,
			phonebook.Plan{Keep: []call.Listing{listed(anna, 5)}, Tally: phonebook.Tally{Ours: 1, Wanted: 1, Unchanged: 1, Adopted: 1}}},
		{"twice, neither known: the older stays", []phonebook.Entry{anna}, []phonebook.Contact{contact(7, anna.Values), contact(5, anna.Values), contact(6, anna.Values)}, nil,
			phonebook.Plan{Keep: []call.Listing{listed(anna, 5)}, Deletes: []phonebook.Delete{{Key: anna.Key, Contact: 6, Twice: true}, {Key: anna.Key, Contact: 7, Twice: true}},
				Tally: phonebook.Tally{Ours: 3, Wanted: 1, Unchanged: 1, Adopted: 1}}},
		{"twice, one known", []phonebook.Entry{anna}, []phonebook.Contact{contact(5, anna.Values), contact(6, anna.Values)}, []call.Listing{listed(anna, 6)},
			phonebook.Plan{Deletes: []phonebook.Delete{{Key: anna.Key, Contact: 5, Twice: true}}, Tally: phonebook.Tally{Ours: 2, Wanted: 1, Unchanged: 1}}},
		{"the same row twice", []phonebook.Entry{anna}, []phonebook.Contact{contact(5, anna.Values), contact(5, anna.Values)}, []call.Listing{listed(anna, 5)},
			phonebook.Plan{Tally: phonebook.Tally{Ours: 1, Wanted: 1, Unchanged: 1}}},
		{"taken over by people", []phonebook.Entry{anna, boris}, []phonebook.Contact{contact(5, with(anna.Values, phonebook.Tag, "")), contact(6, with(boris.Values, phonebook.Tag, "VIP"))},
			[]call.Listing{listed(anna, 5), listed(boris, 6)},
			phonebook.Plan{Keep: []call.Listing{
				{Kind: anna.Kind, ID: 1, Part: 1, Contact: 5, Fingerprint: "theirs"}, {Kind: anna.Kind, ID: 2, Part: 1, Contact: 6, Fingerprint: "theirs"}},
				Tally: phonebook.Tally{Foreign: 2, Wanted: 2, Theirs: 2}}},
		{"taken over before", []phonebook.Entry{anna}, []phonebook.Contact{contact(5, with(anna.Values, phonebook.Tag, ""))},
			[]call.Listing{{Kind: anna.Kind, ID: 1, Part: 1, Contact: 5, Fingerprint: "theirs"}}, phonebook.Plan{Tally: phonebook.Tally{Foreign: 1, Wanted: 1, Theirs: 1}}},
		{"taken over, then deleted by people", []phonebook.Entry{anna}, nil, []call.Listing{{Kind: anna.Kind, ID: 1, Part: 1, Contact: 5, Fingerprint: "theirs"}},
			phonebook.Plan{Creates: []phonebook.Create{{Entry: anna, Doubtful: true}}, Tally: phonebook.Tally{Wanted: 1}}},
		{"taken over, then gone from the CRM", nil, []phonebook.Contact{contact(5, with(anna.Values, phonebook.Tag, ""))},
			[]call.Listing{{Kind: anna.Kind, ID: 1, Part: 1, Contact: 5, Fingerprint: "theirs"}},
			phonebook.Plan{Forget: []call.Listing{{Kind: anna.Kind, ID: 1, Part: 1, Contact: 5, Fingerprint: "theirs"}}, Tally: phonebook.Tally{Foreign: 1}}},
		{"wanted twice", []phonebook.Entry{anna, entry(1, "Other"), vera}, nil, nil,
			phonebook.Plan{Creates: []phonebook.Create{{Entry: anna}, {Entry: vera}}, Tally: phonebook.Tally{Wanted: 2}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if d := cmp.Diff(c.plan, phonebook.Diff(slices.Values(c.want), c.have, c.known)); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
}

func TestSuspect(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		ours, wanted, deletes int
		want                  bool
	}{
		{1000, 900, 100, false}, {1000, 799, 201, true}, {1000, 800, 200, false}, {500, 400, 100, false}, {500, 399, 101, true},
		{50, 0, 50, true}, {50, 1, 49, false}, {0, 0, 0, false}, {10, 10, 0, false},
	} {
		p := phonebook.Plan{Deletes: make([]phonebook.Delete, c.deletes), Tally: phonebook.Tally{Ours: c.ours, Wanted: c.wanted}}
		if p.Suspect() != c.want {
			t.Errorf("%+v", c)
		}
	}
}

// TestDiffProperties: applied to a book, a plan makes it what is wanted, leaves
// people's contacts alone, and is then empty.
func TestDiffProperties(t *testing.T) {
	t.Parallel()
	for seed := range uint64(2000) {
		rng := rand.New(rand.NewPCG(seed, 7))
		want, have, known := scene(rng)
		plan := phonebook.Diff(slices.Values(want), have, known)
		rng.Shuffle(len(have), func(i, j int) { have[i], have[j] = have[j], have[i] })
		rng.Shuffle(len(known), func(i, j int) { known[i], known[j] = known[j], known[i] })
		again := phonebook.Diff(slices.Values(want), have, known)
		if d := cmp.Diff(plan, again); d != "" {
			t.Fatalf("seed %d: another order, another plan:\n%s", seed, d)
		}
		have, known = carriedOut(t, plan, have, known)
		next := phonebook.Diff(slices.Values(want), have, known)
		if next.Writes() > 0 || len(next.Keep) > 0 || len(next.Forget) > 0 {
			t.Fatalf("seed %d: a second plan: %+v", seed, next)
		}
		if next.Ours+next.Theirs != next.Wanted {
			t.Fatalf("seed %d: %+v", seed, next.Tally)
		}
	}
}

// scene is a CRM, a book that people and a process that died have been at, and
// what is known of it.
func scene(rng *rand.Rand) (want []phonebook.Entry, have []phonebook.Contact, known []call.Listing) {
	for id := range 12 {
		e := entry(id+1, "N"+strconv.Itoa(rng.IntN(3)))
		if rng.IntN(3) > 0 {
			want = append(want, e)
		}
		for n := range rng.IntN(3) {
			c := phonebook.Contact{ID: 100 + 10*id + n, Values: e.Values}
			switch rng.IntN(5) {
			case 0:
				c.Values[phonebook.Tag] = "people's"
			case 1:
				c.Values[phonebook.FirstName] = "edited"
			}
			have = append(have, c)
		}
		switch rng.IntN(4) {
		case 0:
			known = append(known, listed(e, 100+10*id+rng.IntN(3)))
		case 1:
			known = append(known, call.Listing{Kind: e.Kind, ID: e.ID, Part: 1})
		}
	}
	return want, have, known
}

// carriedOut is the book after a plan; it fails where people's contacts are
// touched.
func carriedOut(t *testing.T, p phonebook.Plan, have []phonebook.Contact, known []call.Listing) ([]phonebook.Contact, []call.Listing) {
	t.Helper()
	book := map[int]phonebook.Contact{}
	for _, c := range have {
		book[c.ID] = c
	}
	links := map[phonebook.Key]call.Listing{}
	for _, l := range known {
		links[phonebook.Key{Kind: l.Kind, ID: l.ID, Part: l.Part}] = l
	}
	ours := func(id int) {
		if _, ok := phonebook.ParseTag(book[id].Values[phonebook.Tag]); !ok {
			t.Fatalf("contact %d is people's", id)
		}
	}
	for _, l := range p.Keep {
		links[phonebook.Key{Kind: l.Kind, ID: l.ID, Part: l.Part}] = l
	}
	for _, l := range p.Forget {
		delete(links, phonebook.Key{Kind: l.Kind, ID: l.ID, Part: l.Part})
	}
	for _, d := range p.Deletes {
		ours(d.Contact)
		delete(book, d.Contact)
		if !d.Twice {
			delete(links, d.Key)
		}
	}
	for _, u := range p.Updates {
		ours(u.Contact)
		c := book[u.Contact]
		for _, change := range u.Changes {
			c.Values[change.Field] = change.Value
		}
		book[u.Contact] = c
		links[u.Key] = listed(u.Entry, u.Contact)
	}
	for i, c := range p.Creates {
		book[1000+i] = phonebook.Contact{ID: 1000 + i, Values: c.Values}
		links[c.Key] = listed(c.Entry, 1000+i)
	}
	have, known = nil, nil
	for _, c := range book {
		have = append(have, c)
	}
	for _, l := range links {
		known = append(known, l)
	}
	return have, known
}

func BenchmarkDiff(b *testing.B) {
	const n = 50_000
	want := make([]phonebook.Entry, n)
	have := make([]phonebook.Contact, n)
	known := make([]call.Listing, n)
	for i := range n {
		want[i] = entry(i+1, "Anna")
		have[i] = phonebook.Contact{ID: i + 1, Values: want[i].Values}
		known[i] = listed(want[i], i+1)
	}
	for b.Loop() {
		if p := phonebook.Diff(slices.Values(want), have, known); p.Unchanged != n {
			b.Fatal(p.Tally)
		}
	}
}
