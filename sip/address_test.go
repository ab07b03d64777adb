package sip

import (
	"strings"
	"testing"
)

func TestAddressString(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		in   Address
		want string
	}{
		{Address{"Client", "+79161234567", "10.0.0.1:5060", "user=phone"}, `"Client" <sip:+79161234567@10.0.0.1:5060;user=phone>`},
		{Address{"", "201", "[2001:db8::1]:5060", ""}, "<sip:201@[2001:db8::1]:5060>"},
		{Address{`A "B" \ C`, "1", "h", ""}, `"A \"B\" \\ C" <sip:1@h>`},
		{Address{"Иван", "1", "h", ""}, `"Иван" <sip:1@h>`},
		{Address{"a\r\nX-Evil: 1\x00", "1\r\nX: 2", "h\r\nX: 3", "a=b\r\nX: 4"}, `"a  X-Evil: 1" <sip:1%0D%0AX%3A%202@hX:3;a=bX:4>`},
		{Address{`evil" <sip:x@y>`, "a@b", "h>", ";>x"}, `"evil\" <sip:x@y>" <sip:a%40b@h;x>`},
		{Address{"", "*72#", "h", ""}, "<sip:*72%23@h>"},
		{Address{"", "", "h", "lr"}, "<sip:h;lr>"},
		{Address{"", "+7495", "", "phone-context=x"}, "<tel:+7495;phone-context=x>"},
		{Address{strings.Repeat("ё", 4096), "1", "h", ""}, `"` + strings.Repeat("ё", 100) + `" <sip:1@h>`},
		{Address{"C1 \u0085\u009b control", "1", "h", ""}, `"C1    control" <sip:1@h>`},
		{Address{"bad \xff\xfe utf", "1", "h", ""}, `"bad  utf" <sip:1@h>`},
	} {
		if got := c.in.String(); got != c.want {
			t.Errorf("%+v is %s, want %s", c.in, got, c.want)
		}
		if _, err := ParseAddress(c.in.String()); err != nil {
			t.Errorf("%s cannot be read back: %v", c.in, err)
		}
	}
}

func TestParseAddress(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]Address{
		`"A \"B\"" <sip:201@pbx:5070;user=phone>;tag=1`: {`A "B"`, "201", "pbx:5070", "user=phone"},
		"sip:201@pbx;tag=1":                             {"", "201", "pbx", ""},
		"Иван <sips:201@pbx>":                           {"Иван", "201", "pbx", ""},
		"<tel:+7495;ext=1>":                             {"", "+7495", "", "ext=1"},
		"<sip:*72%23@h>":                                {"", "*72#", "h", ""},
		"<sip:a%0d%0aX@h>":                              {"", "a  X", "h", ""},
		"<sip:pbx>":                                     {"", "", "pbx", ""},
		"<sip:a:secret@pbx>":                            {"", "a", "pbx", ""},
	} {
		if got, err := ParseAddress(in); err != nil || got != want {
			t.Errorf("%s is %+v, want %+v (%v)", in, got, want, err)
		}
	}
	for _, bad := range []string{"", "x", "<sip:>", `"a`, "<sip:a@h", `"\ " no uri`, "a, b <sip:a@h>"} {
		if _, err := ParseAddress(bad); err == nil {
			t.Errorf("%q is accepted", bad)
		}
	}
}

func TestParseAddresses(t *testing.T) {
	t.Parallel()
	got := parseAddresses(`"A, B" <sip:1@h>, junk, <tel:+7495>`)
	if len(got) != 2 || got[0] != (Address{"A, B", "1", "h", ""}) || got[1] != (Address{User: "+7495"}) {
		t.Errorf("addresses %+v", got)
	}
}
