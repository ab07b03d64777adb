package sip

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const (
	passed = 0
	silent = -1
)

// torture are the verdicts on the messages of RFC 4475 and RFC 5118 for a UAS
// that handles the methods of allow. live is what a server answers whose
// handler declines every call with 486: where it is 0 it is the verdict.
var torture = []struct {
	file   string
	code   int
	header string // that the answer must carry, "Name: part of the value"
	live   int
	why    string
}{
	// RFC 4475 section 3.1.1: valid messages
	{"rfc4475/wsinv", passed, "", 481, "3.1.1.1: legal folds, blanks and escapes; its To tag belongs to no dialog of ours"},
	{"rfc4475/intmeth", 501, "Allow: INVITE", 0, "3.1.1.2: legal, but the method is unknown"},
	{"rfc4475/esc01", passed, "", 486, "3.1.1.3: escapes in the URI are legal and not decoded for routing"},
	{"rfc4475/escnull", 405, "Allow: INVITE", 0, "3.1.1.4: escaped NULs are legal; we are no registrar"},
	{"rfc4475/esc02", 501, "Allow: INVITE", 0, "3.1.1.5: a % in a method is no escape, so the method is unknown"},
	{"rfc4475/lwsdisp", passed, "", 200, "3.1.1.6: no blank is needed between name and <"},
	{"rfc4475/longreq", passed, "", 486, "3.1.1.7: long values and many spellings of Via are legal"},
	{"rfc4475/dblreq", 405, "Allow: INVITE", 0, "3.1.1.8: one answer to the REGISTER; what follows it in the datagram is ignored"},
	{"rfc4475/semiuri", passed, "", 200, "3.1.1.9: a semicolon in the user part is legal"},
	{"rfc4475/transports", passed, "", 200, "3.1.1.10: unknown transports in Via are legal"},
	{"rfc4475/mpart01", 405, "Allow: INVITE", 0, "3.1.1.11: legal; MESSAGE outside a dialog is not served"},
	{"rfc4475/unreason", silent, "", 0, "3.1.1.12: a legal response of no transaction; responses are never answered"},
	{"rfc4475/noreason", silent, "", 0, "3.1.1.13: a legal response without a reason phrase"},

	// RFC 4475 section 3.1.2: invalid messages
	{"rfc4475/badinv01", 400, "", 0, "3.1.2.1: empty parameters in Via and Contact"},
	{"rfc4475/clerr", 400, "", 0, "3.1.2.2: Content-Length is larger than the datagram"},
	{"rfc4475/ncl", 400, "", 0, "3.1.2.3: negative Content-Length"},
	{"rfc4475/scalar02", 400, "", 0, "3.1.2.4: CSeq beyond 2^31-1"},
	{"rfc4475/scalarlg", silent, "", 0, "3.1.2.5: a response with numbers out of range is dropped"},
	{"rfc4475/quotbal", 400, "", 0, "3.1.2.6: the quoted string of To does not end"},
	{"rfc4475/ltgtruri", 400, "", 0, "3.1.2.7: <> around the Request-URI"},
	{"rfc4475/lwsruri", 400, "", 0, "3.1.2.8: a blank in the Request-URI"},
	{"rfc4475/lwsstart", 400, "", 0, "3.1.2.9: more than one blank in the request line"},
	{"rfc4475/trws", 400, "", 0, "3.1.2.10: blanks behind the version"},
	{"rfc4475/escruri", 400, "", 0, "3.1.2.11: headers in the Request-URI"},
	{"rfc4475/baddate", passed, "", 486, "3.1.2.12: Date is not needed, so its zone does not matter"},
	{"rfc4475/regbadct", 400, "", 0, "3.1.2.13: a Contact with ? and without <>"},
	{"rfc4475/badaspec", 400, "", 0, "3.1.2.14: blanks inside <>"},
	{"rfc4475/baddn", 400, "", 0, "3.1.2.15: a comma in an unquoted name; and the header section does not end"},
	{"rfc4475/badvers", 505, "", 0, "3.1.2.16: version 7.0"},
	{"rfc4475/mismatch01", 400, "", 0, "3.1.2.17: the method of CSeq is another one"},
	{"rfc4475/mismatch02", 501, "Allow: INVITE", 0, "3.1.2.18: an unknown method goes before its mismatch"},
	{"rfc4475/bigcode", silent, "", 0, "3.1.2.19: a status code out of range; responses are never answered"},

	// RFC 4475 section 3.2 and 3.3
	{"rfc4475/badbranch", 400, "", 0, "3.2.1: the magic cookie with nothing behind it, refused statelessly"},
	{"rfc4475/insuf", 400, "", 0, "3.3.1: From, To and Call-ID are missing"},
	{"rfc4475/unkscm", 416, "", 0, "3.3.2: unknown scheme of the Request-URI"},
	{"rfc4475/novelsc", 416, "", 0, "3.3.3: a known scheme that is not sip"},
	{"rfc4475/unksm2", 405, "Allow: INVITE", 0, "3.3.4: other schemes in To and From are legal; we are no registrar"},
	{"rfc4475/bext01", 420, "Unsupported: nothingSupportsThis, nothingSupportsThisEither", 0, "3.3.5: unknown Require; Proxy-Require is for proxies"},
	{"rfc4475/invut", 415, "Accept: application/sdp", 0, "3.3.6: a body of unknown type"},
	{"rfc4475/regaut01", 405, "Allow: INVITE", 0, "3.3.7: an unknown Authorization scheme does not matter where nothing is authorised"},
	{"rfc4475/multi01", 400, "", 0, "3.3.8: single-valued headers repeated"},
	{"rfc4475/mcl01", 400, "", 0, "3.3.9: two Content-Length"},
	{"rfc4475/bcast", silent, "", 0, "3.3.10: a response whose second Via is a broadcast address is not forwarded"},
	{"rfc4475/zeromf", passed, "", 200, "3.3.11: an endpoint answers OPTIONS with Max-Forwards 0"},
	{"rfc4475/cparam01", 405, "Allow: INVITE", 0, "3.3.12: an unknown Contact parameter is legal; we are no registrar"},
	{"rfc4475/cparam02", 405, "Allow: INVITE", 0, "3.3.13: an unknown URI parameter is legal; we are no registrar"},
	{"rfc4475/regescrt", 405, "Allow: INVITE", 0, "3.3.14: an escaped header in a Contact URI within <> is legal; we are no registrar"},
	{"rfc4475/sdp01", 406, "Warning: 399", 0, "3.3.15: no session description may go into the answer"},
	{"rfc4475/inv2543", passed, "", 486, "3.4.1: an INVITE of RFC 2543: no branch, From tag, Contact, Max-Forwards"},

	// RFC 5118
	{"rfc5118/ipv6-good", 405, "Allow: INVITE", 0, "4.1: legal; we are no registrar"},
	{"rfc5118/ipv6-bad", 400, "", 0, "4.2: an IPv6 Request-URI without brackets"},
	{"rfc5118/port-ambiguous", 405, "Allow: INVITE", 0, "4.3: the last group is part of the address; we are no registrar"},
	{"rfc5118/port-unambiguous", 405, "Allow: INVITE", 0, "4.4: legal; we are no registrar"},
	{"rfc5118/via-received-param-with-delim", passed, "", 481, "4.5: brackets in received are tolerated; the BYE belongs to no dialog"},
	{"rfc5118/via-received-param-no-delim", passed, "", 200, "4.5: received without brackets is right"},
	{"rfc5118/ipv6-in-sdp", passed, "", 486, "4.6: IPv6 in SDP is for the offer's reader"},
	{"rfc5118/mult-ip-in-header", passed, "", 481, "4.7: mixed families in Via are legal; the BYE belongs to no dialog"},
	{"rfc5118/mult-ip-in-sdp", passed, "", 486, "4.8: mixed families in SDP are for the offer's reader"},
	{"rfc5118/ipv4-mapped-ipv6", passed, "", 486, "4.9: mapped addresses are legal"},
	{"rfc5118/ipv6-bug-abnf-3-colons", passed, "", 200, "4.10: the third colon of the old grammar is forgiven"},
	{"rfc5118/ipv6-correct-abnf-2-colons", passed, "", 200, "4.10: legal"},
}

func tortureMessage(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("..", "testdata", "sip", "torture", name+".dat"))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestTorture(t *testing.T) {
	t.Parallel()
	for _, c := range torture {
		t.Run(strings.ReplaceAll(c.file, "/", "_"), func(t *testing.T) {
			t.Parallel()
			code, answer := judge(t, tortureMessage(t, c.file))
			if code != c.code && !(code == passed && c.code == silent) {
				t.Fatalf("verdict %d, want %d: %s", code, c.code, c.why)
			}
			if c.code > 0 {
				checkAnswer(t, answer, c.code, c.header)
			}
		})
	}
}

func TestTortureIsComplete(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob(filepath.Join("..", "testdata", "sip", "torture", "*", "*.dat"))
	if err != nil || len(files) != 61 || len(torture) != 61 {
		t.Errorf("%d files and %d verdicts, want 61 of each (%v)", len(files), len(torture), err)
	}
}

// judge parses b and gives the verdict, with the answer as it would leave.
// A response is never answered.
func judge(t testing.TB, b []byte) (int, []byte) {
	t.Helper()
	m, err := parse(b)
	if err != nil {
		return silent, nil
	}
	if m.req != nil {
		stampVia(m.req, testSource)
	}
	code, reason, extra := verdict(m)
	if code <= 0 {
		return code, nil
	}
	return code, encode(reply(m.req, code, reason, "ourtag", extra...))
}

// checkAnswer reads an answer back with our own parser: it must be without
// defects, but for headers that its request lacked.
func checkAnswer(t testing.TB, b []byte, code int, header string) {
	t.Helper()
	m, err := parse(b)
	if err != nil || m.res == nil {
		t.Fatalf("answer cannot be read: %v\n%s", err, b)
	}
	if m.res.StatusCode != code {
		t.Errorf("answered %d, want %d", m.res.StatusCode, code)
	}
	if m.res.Via() == nil || m.res.Via().Params.GetOr("received", "") == "" {
		t.Errorf("answer without a Via that says where the request came from:\n%s", b)
	}
	if to := m.res.To(); to != nil && to.Params.GetOr("tag", "") == "" {
		t.Errorf("answer without a To tag:\n%s", b)
	}
	if name, want, ok := strings.Cut(header, ": "); ok && !strings.Contains(value(m.res.Headers(), name), want) {
		t.Errorf("%s is %q, want %q", name, value(m.res.Headers(), name), want)
	}
}
