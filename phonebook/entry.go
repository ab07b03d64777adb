package phonebook

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"frontdesk/call"
)

// Field is one of the fields of a contact that are ours.
type Field int

// The fields. PhoneNumber is the mobile number.
const (
	FirstName Field = iota
	LastName
	CompanyName
	Title
	Email
	PhoneNumber
	Mobile2
	Business
	Business2
	Home
	Other
	Pager
	BusinessFax
	Tag
	fieldCount
)

// Fields lists all fields.
func Fields() []Field {
	out := make([]Field, fieldCount)
	for i := range out {
		out[i] = Field(i)
	}
	return out
}

// String is the field's name in the interface of 3CX.
func (f Field) String() string {
	return [fieldCount]string{
		"FirstName", "LastName", "CompanyName", "Title", "Email", "PhoneNumber", "Mobile2", "Business", "Business2",
		"Home", "Other", "Pager", "BusinessFax", "Tag",
	}[f]
}

// Values are the fields of a contact by Field.
type Values [fieldCount]string

// Contact is a contact of the PBX. One that is not ours needs no Values but its
// Tag.
type Contact struct {
	ID int
	Values
}

// Key names a contact of ours: the entity, and which part of its numbers.
type Key struct {
	Kind call.Kind
	ID   int
	Part int // from 1
}

// letters name the kinds of entities in Tags.
func letters(k call.Kind) string {
	switch k {
	case call.KindContact:
		return "C"
	case call.KindCompany:
		return "CO"
	case call.KindLead:
		return "L"
	}
	return ""
}

// Tag is what marks a contact of ours: B24:C:12345, or B24:C:12345/2 for the
// second one of an entity.
func (k Key) Tag() string {
	tag := "B24:" + letters(k.Kind) + ":" + strconv.Itoa(k.ID)
	if k.Part > 1 {
		tag += "/" + strconv.Itoa(k.Part)
	}
	return tag
}

// ParseTag reads a Tag; ok is false where it is not one of ours to the letter.
func ParseTag(tag string) (k Key, ok bool) {
	parts := strings.Split(tag, ":")
	if len(parts) != 3 {
		return Key{}, false
	}
	for _, kind := range call.Kinds() {
		if letters(kind) == parts[1] {
			k.Kind = kind
		}
	}
	id, part, several := strings.Cut(parts[2], "/")
	k.Part = 1
	var err, partErr error
	k.ID, err = strconv.Atoi(id)
	if several {
		k.Part, partErr = strconv.Atoi(part)
	}
	ok = err == nil && partErr == nil && k.Kind != "" && k.ID > 0 && k.Part > 0 && k.Tag() == tag
	return k, ok
}

// listing is how k is kept.
func (k Key) listing(contact int, fingerprint string) call.Listing {
	return call.Listing{Kind: k.Kind, ID: k.ID, Part: k.Part, Contact: contact, Fingerprint: fingerprint}
}

func keyOf(l call.Listing) Key { return Key{Kind: l.Kind, ID: l.ID, Part: l.Part} }

// Entry is what a contact is to hold.
type Entry struct {
	Key
	Values
}

// Fingerprint is short and the same for the same values.
func (v Values) Fingerprint() string {
	sum := sha256.Sum256([]byte(strings.Join(v[:], "\x00")))
	return hex.EncodeToString(sum[:12])
}

// Loss is what of an entity does not fit into the book.
type Loss struct {
	Cut     []Field // texts that were too long
	Numbers int     // that are too many
}

// Bounds. 3CX documents none for its texts; these are far above what is seen
// and below what it may refuse.
const (
	maxName    = 100 // runes
	maxCompany = 200
	maxMail    = 200 // a longer one is left out: half an address is none
	maxParts   = 8   // contacts of one entity: 56 numbers
)

// Entries are the contacts that show an entity: none for a closed lead and for
// an entity without a number, several for one with more than seven. An entity
// without a name is called by its first number.
func Entries(a call.Address) ([]Entry, Loss) {
	var loss Loss
	numbers := distinct(a.Phones)
	if a.Closed || len(numbers) == 0 || letters(a.Kind) == "" || a.ID <= 0 {
		return nil, loss
	}
	var head Values
	for _, t := range []struct {
		field Field
		value string
		most  int
	}{
		{FirstName, a.FirstName, maxName}, {LastName, a.LastName, maxName},
		{CompanyName, a.Company, maxCompany}, {Title, a.Title, maxName},
	} {
		value, cut := plain(t.value, t.most)
		head[t.field] = value
		if cut {
			loss.Cut = append(loss.Cut, t.field)
		}
	}
	var cut bool
	if head[Email], cut = plain(a.Mail, maxMail); cut || strings.Count(head[Email], "@") != 1 || strings.Contains(head[Email], " ") {
		head[Email] = ""
	}
	if cut {
		loss.Cut = append(loss.Cut, Email)
	}
	if head[FirstName]+head[LastName]+head[CompanyName] == "" {
		head[FirstName] = string(numbers[0].Number)
	}
	var out []Entry
	for part := 1; len(numbers) > 0 && part <= maxParts; part++ {
		e := Entry{Key: Key{Kind: a.Kind, ID: a.ID, Part: part}, Values: head}
		numbers = e.place(numbers)
		e.Values[Tag] = e.Key.Tag()
		out = append(out, e)
	}
	loss.Numbers = len(numbers)
	return out, loss
}

// distinct are the numbers that can be called, each once, by the first thing
// they are for that is not a fax.
func distinct(phones []call.Phone) []call.Phone {
	var out []call.Phone
	for _, p := range phones {
		digits := p.Number.Digits()
		if !p.Number.E164() || len(digits) > 20 || strings.Trim(digits, "0123456789") != "" {
			continue
		}
		at := slices.IndexFunc(out, func(o call.Phone) bool { return o.Number == p.Number })
		switch {
		case at < 0:
			out = append(out, p)
		case out[at].Kind == call.PhoneFax:
			out[at].Kind = p.Kind
		}
	}
	return out
}

// places are where a number goes by what it is for, best first.
func places(k call.PhoneKind) []Field {
	switch k {
	case call.PhoneMobile:
		return []Field{PhoneNumber, Mobile2}
	case call.PhoneWork:
		return []Field{Business, Business2}
	case call.PhoneHome:
		return []Field{Home}
	case call.PhoneFax:
		return []Field{BusinessFax}
	case call.PhonePager:
		return []Field{Pager}
	}
	return []Field{Other}
}

// place puts the numbers where they belong, what is left where there is room,
// and gives back what does not fit. A fax number may stand among the others
// when its place is taken, but no other number stands for a fax.
func (e *Entry) place(numbers []call.Phone) []call.Phone {
	put := func(numbers []call.Phone, where func(call.PhoneKind) []Field) (left []call.Phone) {
		for _, n := range numbers {
			fields := where(n.Kind)
			at := slices.IndexFunc(fields, func(f Field) bool { return e.Values[f] == "" })
			if at < 0 {
				left = append(left, n)
				continue
			}
			e.Values[fields[at]] = string(n.Number)
		}
		return left
	}
	anywhere := []Field{Other, PhoneNumber, Mobile2, Business, Business2, Home, Pager}
	return put(put(numbers, places), func(call.PhoneKind) []Field { return anywhere })
}

// plain puts a foreign text on one line: no control characters, none that turn
// the direction of writing, no more than most runes.
func plain(s string, most int) (out string, cut bool) {
	const joiners = "\u200c\u200d" // belong to the spelling of some languages
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r), unicode.IsControl(r):
			return ' '
		case unicode.Is(unicode.Cf, r) && !strings.ContainsRune(joiners, r), r == unicode.ReplacementChar:
			return -1
		}
		return r
	}, s)
	s = strings.Join(strings.Fields(s), " ")
	if runes := []rune(s); len(runes) > most {
		return strings.TrimSpace(string(runes[:most])), true
	}
	return s, false
}

// compare orders keys.
func compare(a, b Key) int {
	return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.ID, b.ID), cmp.Compare(a.Part, b.Part))
}
