package phonebook

import (
	"cmp"
	"iter"
	"maps"
	"slices"
	"strings"

	"frontdesk/call"
)

// theirs is the fingerprint of a contact that people took over.
const theirs = "theirs"

// Plan is what has to be done so that the book is as wanted.
type Plan struct {
	Creates []Create
	Updates []Update
	Deletes []Delete
	Keep    []call.Listing // to be kept, nothing is written to the PBX: what was adopted, or taken over by people
	Forget  []call.Listing // neither wanted nor there
	Tally
}

// Tally counts what a Plan was made from.
type Tally struct {
	Ours, Foreign int // contacts on the PBX
	Wanted        int
	Unchanged     int
	Adopted       int // ours by their Tag, and not known
	Theirs        int // taken over by people
}

// Create is a contact that is missing.
type Create struct {
	Entry
	Doubtful bool // it was there, or was tried: look for its Tag first
}

// Update is a contact that differs.
type Update struct {
	Entry
	Contact int
	Changes []Change
}

// Change is the new value of a field.
type Change struct {
	Field Field
	Value string
}

// Delete is a contact of ours that nobody wants, or that is there twice.
type Delete struct {
	Key
	Contact int
	Twice   bool // another contact with its Tag stays
}

// Diff compares what is wanted with what is there. have are all contacts of the
// PBX, known is what was kept of ours. The order of have and known does not
// matter; creates and updates come in the order of want, deletes in that of the
// contacts' ids. Of an entry that is wanted twice the first one counts.
func Diff(want iter.Seq[Entry], have []Contact, known []call.Listing) Plan {
	d := newDiffing(have, known)
	for e := range want {
		d.want(e)
	}
	return d.end()
}

// diffing is a Diff under way. What want names is taken out of ours and known.
type diffing struct {
	Plan
	ours    map[Key]*Contact
	known   map[Key]call.Listing
	foreign map[int]bool // of every contact there is, whether it is people's
	wanted  map[Key]bool
}

func newDiffing(have []Contact, known []call.Listing) *diffing {
	d := &diffing{ours: map[Key]*Contact{}, known: make(map[Key]call.Listing, len(known)), foreign: map[int]bool{}, wanted: map[Key]bool{}}
	for _, l := range known {
		d.known[keyOf(l)] = l
	}
	for i := range have {
		c := &have[i]
		if _, again := d.foreign[c.ID]; again {
			continue // a list that changes while it is read may show a row twice
		}
		k, ok := ParseTag(c.Values[Tag])
		d.foreign[c.ID] = !ok
		if !ok {
			d.Tally.Foreign++
			continue
		}
		d.Tally.Ours++
		other, twice := d.ours[k]
		if twice {
			if d.prefer(k, other, c) {
				c, other = other, c
			}
			d.Deletes = append(d.Deletes, Delete{Key: k, Contact: c.ID, Twice: true})
			c = other
		}
		d.ours[k] = c
	}
	return d
}

// prefer reports whether b stays rather than a, which has the same Tag: the one
// that is known, else the older one.
func (d *diffing) prefer(k Key, a, b *Contact) bool {
	switch l, ok := d.known[k]; {
	case ok && l.Contact == a.ID:
		return false
	case ok && l.Contact == b.ID:
		return true
	}
	return b.ID < a.ID
}

func (d *diffing) want(e Entry) {
	if d.wanted[e.Key] {
		return
	}
	d.wanted[e.Key] = true
	d.Wanted++
	l, known := d.known[e.Key]
	delete(d.known, e.Key)
	c, there := d.ours[e.Key]
	delete(d.ours, e.Key)
	switch {
	case there:
		d.compare(e, c, l, known)
	case known && l.Contact > 0 && d.foreign[l.Contact]:
		d.Theirs++
		if l.Fingerprint != theirs {
			d.Keep = append(d.Keep, e.Key.listing(l.Contact, theirs))
		}
	default:
		d.Creates = append(d.Creates, Create{Entry: e, Doubtful: known})
	}
}

func (d *diffing) compare(e Entry, c *Contact, l call.Listing, known bool) {
	adopted := !known || l.Contact != c.ID
	if adopted {
		d.Adopted++
	}
	if changes := e.Values.changes(c.Values); len(changes) > 0 {
		d.Updates = append(d.Updates, Update{Entry: e, Contact: c.ID, Changes: changes})
		return
	}
	d.Unchanged++
	if f := e.Values.Fingerprint(); adopted || l.Fingerprint != f {
		d.Keep = append(d.Keep, e.Key.listing(c.ID, f))
	}
}

// changes are the fields of v that differ in there.
func (v Values) changes(there Values) []Change {
	var out []Change
	for _, f := range Fields() {
		if v[f] != there[f] {
			out = append(out, Change{f, v[f]})
		}
	}
	return out
}

// end plans the end of what is not wanted.
func (d *diffing) end() Plan {
	for k, c := range d.ours {
		d.Deletes = append(d.Deletes, Delete{Key: k, Contact: c.ID})
	}
	slices.SortFunc(d.Deletes, func(a, b Delete) int { return cmp.Compare(a.Contact, b.Contact) })
	for _, k := range slices.SortedFunc(maps.Keys(d.known), compare) {
		if _, deleted := d.ours[k]; !deleted {
			d.Forget = append(d.Forget, d.known[k])
		}
	}
	return d.Plan
}

// Writes is how many contacts a plan writes.
func (p Plan) Writes() int { return len(p.Creates) + len(p.Updates) + len(p.Deletes) }

const (
	fewDeletes = 100 // so many may go at once, whatever their share
	mostShare  = 5   // more than a fifth of the book may not
)

// Suspect reports whether a plan deletes so much that the CRM is more likely to
// have left something out of its answer.
func (p Plan) Suspect() bool {
	n := len(p.Deletes)
	return n > 0 && p.Wanted == 0 || n > fewDeletes && n*mostShare > p.Tally.Ours
}

// maxExamples bounds what a dry run tells of each kind.
const maxExamples = 10

// examples are lines about what a plan writes.
func (p Plan) examples() []string {
	var out []string
	for _, c := range p.Creates[:min(len(p.Creates), maxExamples)] {
		out = append(out, "create "+c.Values[Tag]+" "+c.Values.name())
	}
	for _, u := range p.Updates[:min(len(p.Updates), maxExamples)] {
		line := "update " + u.Values[Tag] + " " + u.Values.name() + ":"
		for _, c := range u.Changes {
			line += " " + c.Field.String()
		}
		out = append(out, line)
	}
	for _, d := range p.Deletes[:min(len(p.Deletes), maxExamples)] {
		out = append(out, "delete "+d.Key.Tag())
	}
	return out
}

// name is how v is called.
func (v Values) name() string {
	if s := strings.TrimSpace(v[FirstName] + " " + v[LastName]); s != "" {
		return s
	}
	return v[CompanyName]
}
