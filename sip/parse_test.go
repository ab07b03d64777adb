package sip

import (
	"errors"
	"strings"
	"testing"
	"time"

	gosip "github.com/emiago/sipgo/sip"
)

// with is testInvite with one header line replaced, found by its name.
func with(line string) []byte {
	name, _, _ := strings.Cut(line, ":")
	lines := strings.Split(string(testInvite()), "\r\n")
	for i, l := range lines {
		if n, _, _ := strings.Cut(l, ":"); strings.EqualFold(n, strings.TrimSpace(name)) {
			lines[i] = line
			return crlf(lines...)
		}
	}
	return testInvite(line)
}

func parsed(t testing.TB, b []byte) *message {
	t.Helper()
	m, err := parse(b)
	if err != nil {
		t.Fatalf("parse: %v\n%s", err, b)
	}
	return m
}

func TestParseINVITE(t *testing.T) {
	t.Parallel()
	m := parsed(t, testInvite())
	req := m.req
	if len(m.defects) > 0 || req == nil {
		t.Fatalf("defects %q", m.defects)
	}
	for what, c := range map[string][2]string{
		"method":  {string(req.Method), "INVITE"},
		"uri":     {req.Recipient.String(), "sip:+74951234567@198.51.100.1:5060"},
		"from":    {req.From().Value(), `"Client" <sip:+79161234567@192.0.2.77>;tag=from-1`},
		"to":      {req.To().Value(), "<sip:+74951234567@198.51.100.1>"},
		"call-id": {req.CallID().Value(), "call-1@192.0.2.77"},
		"cseq":    {req.CSeq().Value(), "1 INVITE"},
		"branch":  {req.Via().Params.GetOr("branch", ""), "z9hG4bK-524287-1"},
		"body":    {string(req.Body()), testSDP},
	} {
		if c[0] != c[1] {
			t.Errorf("%s is %q, want %q", what, c[0], c[1])
		}
	}
	if code, reason, _ := verdict(m); code != 0 {
		t.Errorf("verdict %d %s", code, reason)
	}
}

// Tags are found however blanks and case are strewn.
func TestParseTags(t *testing.T) {
	t.Parallel()
	for _, line := range []string{
		"To: <sip:b@h>; tag=abc", "To: <sip:b@h> ;tag=abc", "To: <sip:b@h>;tag = abc", "To: <sip:b@h>;Tag=abc",
		"To: <sip:b@h>;\ttag\t=\tabc", "To: sip:b@h;tag=abc", "To: <sip:b@h>;x;tag=abc", "To: <sip:b@h>;x=\"a;b\";tag=abc",
		"To: \"B; tag=no\" <sip:b@h;tag=no>;tag=abc", "To: <sip:b@h>;tag=abc;", "To:\r\n <sip:b@h>\r\n ;tag\r\n =abc",
	} {
		m := parsed(t, with(line))
		if got := tagOf(m.req.To()); got != "abc" || len(m.defects) > 0 {
			t.Errorf("%q: tag %q, defects %q", line, got, m.defects)
		}
	}
}

func TestParseCompactForms(t *testing.T) {
	t.Parallel()
	m := parsed(t, crlf("REFER sip:a@h SIP/2.0", "v: SIP/2.0/UDP h;branch=z9hG4bK1", "f: <sip:a@h>;tag=1", "t: <sip:b@h>;tag=2", "i: 1", "CSeq: 1 REFER",
		"m: <sip:a@h>", "k: timer", "x: 1800", "r: <sip:201@h>", "b: <sip:c@h>", "o: refer", "s: hello", "e: identity", "u: refer", "c: text/plain", "l: 2", "", "hi"))
	if len(m.defects) > 0 {
		t.Fatalf("defects %q", m.defects)
	}
	for name, want := range map[string]string{
		"Supported": "timer", "Session-Expires": "1800", "Refer-To": "<sip:201@h>", "Referred-By": "<sip:c@h>", "Event": "refer",
		"Subject": "hello", "Content-Encoding": "identity", "Allow-Events": "refer", "Content-Type": "text/plain", "Contact": "<sip:a@h>",
	} {
		if got := value(m.req.Headers(), name); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
}

func TestParseSeveralValues(t *testing.T) {
	t.Parallel()
	m := parsed(t, crlf("SIP/2.0 302 Moved", "Via: SIP/2.0/UDP a:5060, SIP/2.0/TCP [2001:db8::1];branch=x , SIP / 2.0 / TLS c : 5061",
		"Via: SIP/2.0/UDP d", "Contact: <sip:1@h>;q=0.9, \"B, C\" <sip:2@h>", "Contact: sip:3@h;expires=5", "Record-Route: <sip:p1;lr>, <sip:p2;lr>",
		"From: <sip:a@h>;tag=1", "To: <sip:b@h>;tag=2", "Call-ID: 1", "CSeq: 1 INVITE", "", ""))
	if len(m.defects) > 0 {
		t.Fatalf("defects %q", m.defects)
	}
	var vias []string
	for _, h := range m.res.GetHeaders("via") {
		vias = append(vias, h.Value())
	}
	if got, want := strings.Join(vias, "|"), "SIP/2.0/UDP a:5060|SIP/2.0/TCP [2001:db8::1];branch=x|SIP/2.0/TLS c:5061|SIP/2.0/UDP d"; got != want {
		t.Errorf("Via %s, want %s", got, want)
	}
	if n := len(m.res.GetHeaders("contact")); n != 3 {
		t.Errorf("%d contacts, want 3", n)
	}
	if got := m.res.Contact().Address.User; got != "1" {
		t.Errorf("Contact() is %q, want the first", got)
	}
	if n := len(m.res.GetHeaders("record-route")); n != 2 {
		t.Errorf("%d in the route set, want 2", n)
	}
}

func TestParseStatusLines(t *testing.T) {
	t.Parallel()
	rest := "\r\nVia: SIP/2.0/UDP a;branch=z9hG4bK1\r\nFrom: <sip:a@h>;tag=1\r\nTo: <sip:b@h>;tag=2\r\nCall-ID: 1\r\nCSeq: 1 INVITE\r\n\r\n"
	for line, want := range map[string]int{
		"SIP/2.0 200 OK": 200, "SIP/2.0 200": 200, "SIP/2.0 100 ": 100, "sip/2.0 180 Ringing": 180, "SIP/2.0 603 a b c": 603,
		"SIP/2.0 4294967301 x": 0, "SIP/2.0 99 x": 0, "SIP/2.0 700 x": 0, "SIP/2.0 -20 x": 0, "SIP/2.0": 0, "SIP/2.0 +20 x": 0,
	} {
		m, err := parse([]byte(line + rest))
		switch {
		case want == 0 && err == nil:
			t.Errorf("%q: accepted", line)
		case want != 0 && (err != nil || m.res.StatusCode != want):
			t.Errorf("%q: %v", line, err)
		}
	}
}

// Whatever is malformed is kept, so that it can be answered 400.
func TestParseDefects(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]defect{
		"Contact: <sip:a@":                       "Bad Contact",
		"CSeq: garbage":                          "Bad CSeq",
		"CSeq: 1":                                "Bad CSeq",
		"CSeq: 2147483648 INVITE":                "Bad CSeq",
		"CSeq: -1 INVITE":                        "Bad CSeq",
		"no colon at all":                        "Bad Header Line",
		"bad name: x":                            "Bad Header Line",
		"Content-Length: 9999":                   "Content-Length Beyond Message",
		"Content-Length: +5":                     "Bad Content-Length",
		"Content-Length: 5 5":                    "Bad Content-Length",
		"Content-Length: 99999999999999999999":   "Bad Content-Length",
		"Call-ID: ":                              "Bad Call-ID",
		"Call-ID: a b":                           "Bad Call-ID",
		"Max-Forwards: 256":                      "Bad Max-Forwards",
		"Max-Forwards: x":                        "Bad Max-Forwards",
		"Content-Type: sdp":                      "Bad Content-Type",
		"From: <sip:a@h>;tag=1 2":                "Bad From",
		"From: <sip:a@h> tag=1":                  "Bad From",
		"From: \"a <sip:a@h>":                    "Bad From",
		"From: <sip:a@h:99999>;tag=1":            "Bad From",
		"From: <>;tag=1":                         "Bad From",
		"To: sip:b@h?subject=x":                  "Bad To",
		"To: <sip:b@h>;;tag=2":                   "Bad To",
		"Via: SIP/2.0/UDP h;branch=a b":          "Bad Via",
		"Via: SIP/2.0/UDP h:0":                   "Bad Via",
		"Via: ":                                  "Bad Via",
		"Via: SIP/2.0/UDP h;;":                   "Bad Via",
		"Record-Route: sip:p1, ":                 "Bad Record-Route",
		"Subject: a\rInjected: b":                "Control Character in Header",
		"Subject: a\nInjected: b":                "Control Character in Header",
		"Subject: a\x00b":                        "Control Character in Header",
		"From: <sip:a@h>;tag=1\r\nf: <sip:a@h>":  "Repeated From",
		"Call-ID: 1\r\nCall-ID: 1":               "Repeated Call-ID",
		"Content-Length: 220\r\nl: 220":          "Repeated Content-Length",
		"Event: a\r\no: a":                       "Repeated Event",
		"From: \"A\" <sip:a@h>;tag=\"unfinished": "Bad From",
		"From: <sip:a%zz@h>;tag=1":               "Bad From",
		"From: <sip:a@2001:db8::1>;tag=1":        "Bad From",
		"From: <sip:a@[2001:db8::1>;tag=1":       "Bad From",
		"From: <sip:a@[2001:db8::1%eth0]>;tag=1": "Bad From",
	} {
		m := parsed(t, with(line))
		if len(m.defects) == 0 || m.defects[0] != want {
			t.Errorf("%q: defects %q, want %q", line, m.defects, want)
			continue
		}
		if m.req.Via() == nil {
			continue
		}
		stampVia(m.req, testSource)
		if code, _, _ := verdict(m); code != 400 {
			t.Errorf("%q: verdict %d, want 400", line, code)
		}
		checkAnswer(t, encode(reply(m.req, 400, "", "t")), 400, "")
	}
}

func TestParseNoMessage(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]error{
		"":                                   errNotSIP,
		"\r\n":                               errNotSIP,
		"hello":                              errNotSIP,
		"GET / HTTP/1.1\r\nHost: x\r\n\r\n":  errNotSIP,
		"INVITE sip:a@h SIP/2.0\nVia: x\n\n": errNotSIP, // LF only
		"INV@TE sip:a@h SIP/2.0\r\n\r\n":     errNotSIP,
		"SIP/2.0 1000 x\r\n\r\n":             errStatus,
		"OPTIONS sip:a@h SIP/2.0\r\n" + strings.Repeat("X: y\r\n", 2000) + "\r\n":                    errManyHeaders,
		"OPTIONS sip:a@h SIP/2.0\r\n" + strings.Repeat("Via: SIP/2.0/UDP a\r\n", 100) + "\r\n":       errManyHeaders,
		"OPTIONS sip:a@h SIP/2.0\r\nX: y\r\n" + strings.Repeat(" z\r\n", 1000) + "A: b\r\n\r\n":      errManyHeaders,
		"OPTIONS sip:a@h SIP/2.0\r\nVia: a" + strings.Repeat(",SIP/2.0/UDP a", 900) + "\r\nX: y\r\n": errManyHeaders,
		strings.Repeat("x", 65536): errTooLarge,
	} {
		if _, err := parse([]byte(text)); !errors.Is(err, want) {
			t.Errorf("%.40q: %v, want %v", text, err, want)
		}
	}
}

func TestParseLeadingLineEnds(t *testing.T) {
	t.Parallel()
	m := parsed(t, append([]byte("\r\n\r\n\r\n"), testInvite()...))
	if len(m.defects) > 0 || m.req.Method != gosip.INVITE {
		t.Errorf("defects %q", m.defects)
	}
}

// A 40 kB message is legal over UDP.
func TestParseLargeMessage(t *testing.T) {
	t.Parallel()
	m := parsed(t, testInvite("X-Long: "+strings.Repeat("x", 40_000)))
	if code, reason, _ := verdict(m); code != 0 {
		t.Errorf("verdict %d %s", code, reason)
	}
}

// What the parser reads, the serialiser writes back with the same meaning.
func TestParseRoundTrip(t *testing.T) {
	t.Parallel()
	for _, line := range []string{
		`From: "A \"B\" \\ C" <sip:a@h>;tag=1`, "From: <sip:a@[2001:db8::1]:5060;transport=tcp;lr>;tag=1", "From: <tel:+74951234567;phone-context=x>;tag=1",
		`From: <sip:a@h>;tag=1;x="a b;c=d"`, "From: <sip:a@h>;x=YWJj==;tag=1", "From: <sip:b@h;lr?Subject=x>;tag=1", `From: "Иван" <sip:a@h>;tag=1`,
		`From: "Иван \"I\"" <sip:*72%23@h:5070;user=phone>;tag=1;y="z"`,
	} {
		m := parsed(t, with(line))
		if got := "From: " + m.req.From().Value(); got != line || len(m.defects) > 0 {
			t.Errorf("%s\nis written back as\n%s\ndefects %q", line, got, m.defects)
		}
	}
	for in, want := range map[string]string{
		"From: Иван Петров <sip:a@h>;tag=1": `"Иван Петров" <sip:a@h>;tag=1`, `From: a\b <sip:a@h>;tag=1`: `"a\\b" <sip:a@h>;tag=1`,
		"From: sip:a@h;tag=1": "<sip:a@h>;tag=1",
	} {
		if got := parsed(t, with(in)).req.From().Value(); got != want {
			t.Errorf("%s is written as %s, want %s", in, got, want)
		}
	}
}

// A long header costs time by its length, not by its square (reliability A8).
func TestParseGrowth(t *testing.T) {
	t.Parallel()
	for _, unit := range []string{`\`, ";a=b", " ", `"`, ",<", ";", "a,", "<sip:x@y>,", "\r\n "} {
		text := with("Contact: " + strings.Repeat(unit, 60_000/len(unit)))
		best := time.Hour
		for range 5 {
			start := time.Now()
			if _, err := parse(text); err != nil && !errors.Is(err, errManyHeaders) {
				t.Fatal(err)
			}
			best = min(best, time.Since(start))
		}
		if best > 100*time.Millisecond {
			t.Errorf("60 kB of %q cost %s", unit, best)
		}
	}
}
