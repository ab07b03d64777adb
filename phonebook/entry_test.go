package phonebook_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"frontdesk/call"
	"frontdesk/phonebook"
)

// values makes Values of name=value pairs.
func values(pairs ...string) phonebook.Values {
	var v phonebook.Values
	for i := 0; i < len(pairs); i += 2 {
		at := slices.IndexFunc(phonebook.Fields(), func(f phonebook.Field) bool { return f.String() == pairs[i] })
		v[at] = pairs[i+1]
	}
	return v
}

func phones(pairs ...string) []call.Phone {
	var out []call.Phone
	for i := 0; i < len(pairs); i += 2 {
		out = append(out, call.Phone{Kind: call.PhoneKind(pairs[i]), Number: call.Number(pairs[i+1])})
	}
	return out
}

func TestEntries(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		a    call.Address
		want []phonebook.Values
	}{
		{"a person", call.Address{Kind: call.KindContact, ID: 12345, FirstName: "Anna", LastName: "Orlova", Company: "ACME", Title: "CFO", Mail: "a@acme.ru",
			Phones: phones("mobile", "+79161234567", "work", "+74951234567", "home", "+74951234568", "fax", "+74951234569", "pager", "+74951234570", "other", "+74951234571",
				"mobile", "+79161234568", "work", "+74951234572")},
			[]phonebook.Values{values("FirstName", "Anna", "LastName", "Orlova", "CompanyName", "ACME", "Title", "CFO", "Email", "a@acme.ru",
				"PhoneNumber", "+79161234567", "Business", "+74951234567", "Home", "+74951234568", "BusinessFax", "+74951234569", "Pager", "+74951234570",
				"Other", "+74951234571", "Mobile2", "+79161234568", "Business2", "+74951234572", "Tag", "B24:C:12345")}},
		{"a company", call.Address{Kind: call.KindCompany, ID: 77, Company: "ACME", Phones: phones("work", "+74951234567")},
			[]phonebook.Values{values("CompanyName", "ACME", "Business", "+74951234567", "Tag", "B24:CO:77")}},
		{"no name", call.Address{Kind: call.KindLead, ID: 9, Phones: phones("work", "+74951234567")},
			[]phonebook.Values{values("FirstName", "+74951234567", "Business", "+74951234567", "Tag", "B24:L:9")}},
		{"more of a kind than places", call.Address{Kind: call.KindLead, ID: 9, FirstName: "A",
			Phones: phones("work", "+74950000001", "work", "+74950000002", "work", "+74950000003", "work", "+74950000004", "fax", "+74950000005", "fax", "+74950000006")},
			[]phonebook.Values{values("FirstName", "A", "Business", "+74950000001", "Business2", "+74950000002", "Other", "+74950000003", "PhoneNumber", "+74950000004",
				"BusinessFax", "+74950000005", "Mobile2", "+74950000006", "Tag", "B24:L:9")}},
		{"more than a contact holds", call.Address{Kind: call.KindContact, ID: 5, FirstName: "A", Phones: phones(
			"work", "+74950000001", "work", "+74950000002", "work", "+74950000003", "work", "+74950000004", "work", "+74950000005", "work", "+74950000006", "work", "+74950000007", "work", "+74950000008")},
			[]phonebook.Values{
				values("FirstName", "A", "Business", "+74950000001", "Business2", "+74950000002", "Other", "+74950000003", "PhoneNumber", "+74950000004",
					"Mobile2", "+74950000005", "Home", "+74950000006", "Pager", "+74950000007", "Tag", "B24:C:5"),
				values("FirstName", "A", "Business", "+74950000008", "Tag", "B24:C:5/2"),
			}},
		{"the same twice, and a fax that is a telephone", call.Address{Kind: call.KindContact, ID: 5, FirstName: "A",
			Phones: phones("fax", "+74950000001", "work", "+74950000001", "home", "+74950000001")},
			[]phonebook.Values{values("FirstName", "A", "Business", "+74950000001", "Tag", "B24:C:5")}},
		{"no number", call.Address{Kind: call.KindContact, ID: 5, FirstName: "A"}, nil},
		{"no full number", call.Address{Kind: call.KindContact, ID: 5, FirstName: "A", Phones: phones("work", "101", "work", "+", "work", "+7a", "work", "+712345678901234567890")}, nil},
		{"closed", call.Address{Kind: call.KindLead, ID: 5, FirstName: "A", Closed: true, Phones: phones("work", "+74950000001")}, nil},
		{"hostile", call.Address{Kind: call.KindContact, ID: 5, FirstName: "A\x00\r\nB\u202e\tC\u200b", LastName: "\xff\xfe", Company: "zwj\u200cok", Mail: "a@b\r\nBcc: c@d",
			Phones: phones("work", "+74950000001")},
			[]phonebook.Values{values("FirstName", "A B C", "CompanyName", "zwj\u200cok", "Business", "+74950000001", "Tag", "B24:C:5")}},
		{"unknown kind", call.Address{Kind: "deal", ID: 5, FirstName: "A", Phones: phones("work", "+74950000001")}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			entries, loss := phonebook.Entries(c.a)
			var got []phonebook.Values
			for i, e := range entries {
				got = append(got, e.Values)
				if e.Key != (phonebook.Key{Kind: c.a.Kind, ID: c.a.ID, Part: i + 1}) {
					t.Errorf("key %v", e.Key)
				}
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
			if len(loss.Cut) > 0 || loss.Numbers > 0 {
				t.Errorf("lost %v", loss)
			}
		})
	}
}

func TestEntriesTellWhatIsLost(t *testing.T) {
	t.Parallel()
	a := call.Address{Kind: call.KindContact, ID: 5, FirstName: strings.Repeat("я", 101), Mail: strings.Repeat("a", 200) + "@b", Phones: phones("work", "+74950000001")}
	entries, loss := phonebook.Entries(a)
	if d := cmp.Diff(phonebook.Loss{Cut: []phonebook.Field{phonebook.FirstName, phonebook.Email}}, loss); d != "" {
		t.Error(d)
	}
	if v := entries[0].Values; v[phonebook.FirstName] != strings.Repeat("я", 100) || v[phonebook.Email] != "" {
		t.Errorf("%q", v)
	}
	a.Phones = nil
	for i := range 60 {
		a.Phones = append(a.Phones, call.Phone{Kind: call.PhoneWork, Number: call.Number("+7495" + string(rune('0'+i/10)) + string(rune('0'+i%10)) + "00000")})
	}
	if entries, loss = phonebook.Entries(a); len(entries) != 8 || loss.Numbers != 4 {
		t.Errorf("%d contacts, %d numbers lost", len(entries), loss.Numbers)
	}
}

func TestTags(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		tag  string
		want phonebook.Key
	}{
		{"B24:C:12345", phonebook.Key{Kind: call.KindContact, ID: 12345, Part: 1}},
		{"B24:CO:77", phonebook.Key{Kind: call.KindCompany, ID: 77, Part: 1}},
		{"B24:L:9/3", phonebook.Key{Kind: call.KindLead, ID: 9, Part: 3}},
	} {
		if got, ok := phonebook.ParseTag(c.tag); !ok || got != c.want || got.Tag() != c.tag {
			t.Errorf("%s: %v %v", c.tag, got, ok)
		}
	}
	for _, tag := range []string{
		"", "B24:", "B24:C:", "B24:C:0", "B24:C:-1", "B24:C:+1", "B24:C:01", "B24:C:1/1", "B24:C:1/0", "B24:C:1/", "B24:C:1/02", "B24:X:1", "b24:C:1",
		"B24:C:1 ", " B24:C:1", "B24:C:1:2", "VIP", "XB24:C:1", "B24:C:99999999999999999999",
	} {
		if k, ok := phonebook.ParseTag(tag); ok {
			t.Errorf("%q is taken for %v", tag, k)
		}
	}
}

// FuzzEntries: whatever the portal holds, a contact is one that a PBX takes.
func FuzzEntries(f *testing.F) {
	f.Add("Anna", "Orlova", "ACME", "CFO", "a@acme.ru", "+79161234567", "mobile", 5)
	f.Add("=cmd|' /C calc'!A0", "\u202e\x00", "", "\r\n", "@", "+7", "fax", 1)
	f.Fuzz(func(t *testing.T, first, last, company, title, mail, number, kind string, id int) {
		a := call.Address{Kind: call.KindContact, ID: id, FirstName: first, LastName: last, Company: company, Title: title, Mail: mail}
		rng := rand.New(rand.NewPCG(uint64(id), 1))
		for range rng.IntN(20) {
			n := number
			if len(n) > 0 && rng.IntN(2) == 0 {
				n += string(rune('0' + rng.IntN(10)))
			}
			a.Phones = append(a.Phones, call.Phone{Number: call.Number(n), Kind: call.PhoneKind(kind)})
		}
		entries, _ := phonebook.Entries(a)
		seen := map[string]bool{}
		for _, e := range entries {
			if k, ok := phonebook.ParseTag(e.Values[phonebook.Tag]); !ok || k != e.Key {
				t.Errorf("tag %q", e.Values[phonebook.Tag])
			}
			if e.Values[phonebook.FirstName]+e.Values[phonebook.LastName]+e.Values[phonebook.CompanyName] == "" {
				t.Error("no name")
			}
			numbers := 0
			for _, f := range phonebook.Fields() {
				v := e.Values[f]
				if !utf8.ValidString(v) || utf8.RuneCountInString(v) > 200 || strings.ContainsFunc(v, unicode.IsControl) || v != strings.TrimSpace(v) {
					t.Errorf("%s: %q", f, v)
				}
				if f >= phonebook.PhoneNumber && f <= phonebook.BusinessFax && v != "" {
					numbers++
					if seen[v] {
						t.Errorf("%s twice", v)
					}
					seen[v] = true
				}
			}
			if numbers == 0 {
				t.Error("no number")
			}
		}
	})
}
