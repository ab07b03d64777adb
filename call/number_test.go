package call_test

import (
	"slices"
	"strings"
	"testing"

	"frontdesk/call"
)

func TestParseNumber(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ in, country, want string }{
		{"84951234567", "RU", "+74951234567"},
		{"8 (495) 123-45-67", "RU", "+74951234567"},
		{"4951234567", "RU", "+74951234567"},
		{"88001234567", "RU", "+78001234567"},
		{"8 10 380 44 123 45 67", "RU", "+380441234567"},
		{"380441234567", "RU", "+380441234567"},
		{"375291234567", "RU", "+375291234567"},
		{"998901234567", "RU", "+998901234567"},
		{"+8 495 123-45-67", "RU", "+74951234567"},
		{"+84951234567", "RU", "+74951234567"},
		{"0079161234567", "RU", "+79161234567"},
		{"80441234567", "UA", "+380441234567"},
		{"101", "RU", "101"},
		{"112", "RU", "112"},
		{"*72", "RU", "*72"},
		{"*72#89161234567", "RU", "*72#89161234567"},
		{"77011234567", "RU", "+77011234567"},
		{"87011234567", "RU", "+77011234567"},
		{"+1 800 FLOWERS", "US", ""},
		{"79161234567;phone-context=+7", "RU", "+79161234567"},
		{"+79161234567", "RU", "+79161234567"},
		{"79161234567", "RU", "+79161234567"},
		{"9161234567", "RU", "+79161234567"},
		{"+79161234567", "", "+79161234567"},
		{"(212) 555-2368", "US", "+12125552368"},
		{"020 7946 0018", "GB", "+442079460018"},
		{"anonymous", "RU", ""},
		{"+7903" + strings.Repeat("1", 29), "RU", ""}, // too many digits
		{"", "RU", ""},
		{"+", "RU", ""},
		{"+79780000000", "UA", "+79780000000"},
	} {
		if got := call.ParseNumber(c.in, c.country); string(got) != c.want {
			t.Errorf("ParseNumber(%q, %s) = %q, want %q", c.in, c.country, got, c.want)
		}
	}
}

func TestParseNumberIsStable(t *testing.T) {
	t.Parallel()
	for _, in := range []string{"84951234567", "380441234567", "101", "*72", "+442079460018", "00 49 30 123456"} {
		once := call.ParseNumber(in, "RU")
		if twice := call.ParseNumber(string(once), "RU"); twice != once {
			t.Errorf("ParseNumber(%q) = %q, read again %q", in, once, twice)
		}
	}
}

func FuzzParseNumber(f *testing.F) {
	for _, s := range []string{"84951234567", "+8 495 123-45-67", "*72", "0079161234567", "+1 800 FLOWERS"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		for _, r := range string(call.ParseNumber(s, "RU")) {
			if (r < '0' || r > '9') && r != '+' && r != '*' && r != '#' {
				t.Fatalf("ParseNumber(%q) holds %q", s, r)
			}
		}
	})
}

func TestMasked(t *testing.T) {
	t.Parallel()
	for in, want := range map[call.Number]string{
		"+74951234567": "+7495*****67", "101": "101", "": "",
	} {
		if got := in.Masked(); got != want {
			t.Errorf("%q masked is %q, want %q", in, got, want)
		}
		if got := in.LogValue().String(); got != want {
			t.Errorf("%q logged is %q, want %q", in, got, want)
		}
	}
}

func TestSpellings(t *testing.T) {
	t.Parallel()
	got := call.Number("+79161234567").Spellings("RU")
	want := []string{"+79161234567", "79161234567", "89161234567", "9161234567"}
	if !slices.Equal(got, want) {
		t.Errorf("spellings %q, want %q", got, want)
	}
	if got := call.Number("").Spellings("RU"); got != nil {
		t.Errorf("no number has spellings %q", got)
	}
}

func TestCallingCode(t *testing.T) {
	t.Parallel()
	for country, want := range map[string]string{"RU": "7", "US": "1", "UA": "380", "": "", "XX": ""} {
		if got := call.CallingCode(country); got != want {
			t.Errorf("calling code of %q is %q, want %q", country, got, want)
		}
	}
}

func BenchmarkParseNumber(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		call.ParseNumber("+79161234567", "RU")
	}
}
