package sip

import (
	"strings"
	"testing"
)

func request(method string, more ...string) []byte {
	lines := []string{method + " sip:a@h SIP/2.0", "Via: SIP/2.0/UDP h;branch=z9hG4bK1", "From: <sip:a@h>;tag=1", "To: <sip:b@h>", "Call-ID: 1", "CSeq: 1 " + method}
	return crlf(append(append(lines, more...), "", "")...)
}

func TestVerdict(t *testing.T) {
	t.Parallel()
	tagged := func(b []byte) []byte {
		return []byte(strings.Replace(string(b), "To: <sip:b@h>", "To: <sip:b@h>;tag=2", 1))
	}
	without := func(b []byte, line string) []byte { return []byte(strings.Replace(string(b), line+"\r\n", "", 1)) }
	for _, c := range []struct {
		name   string
		b      []byte
		code   int
		header string
	}{
		{"OPTIONS", request("OPTIONS"), 0, ""},
		{"INFO", request("INFO"), 0, ""},
		{"INVITE without Max-Forwards and Contact", request("INVITE"), 0, ""},
		{"Max-Forwards 0, handed on", request("INVITE", "Max-Forwards: 0"), 483, ""},
		{"Max-Forwards 0 within a dialog", tagged(request("INVITE", "Max-Forwards: 0")), 0, ""},
		{"Max-Forwards 0, for us", request("OPTIONS", "Max-Forwards: 0"), 0, ""},
		{"REGISTER", request("REGISTER"), 405, "Allow: INVITE"},
		{"SUBSCRIBE", request("SUBSCRIBE"), 405, "Allow: INVITE"},
		{"PUBLISH", request("PUBLISH"), 405, "Allow: INVITE"},
		{"MESSAGE", request("MESSAGE"), 405, "Allow: INVITE"},
		{"MESSAGE within a dialog", tagged(request("MESSAGE")), 0, ""},
		{"unknown method", request("FOO"), 501, "Allow: INVITE"},
		{"methods have case", request("invite"), 501, "Allow: INVITE"},
		{"Require we support", request("INVITE", "Require: 100rel,TIMER"), 0, ""},
		{"Require we do not", request("INVITE", "Require: 100rel, foo", "Require: bar"), 420, "Unsupported: foo, bar"},
		{"Require on CANCEL", request("CANCEL", "Require: foo"), 0, ""},
		{"Require on ACK", request("ACK", "Require: foo"), 0, ""},
		{"Content-Encoding", request("INVITE", "Content-Encoding: gzip"), 415, "Accept-Encoding: identity"},
		{"identity", request("INVITE", "e: identity"), 0, ""},
		{"body without type", []byte(string(request("INVITE")) + "v=0"), 415, "Accept: application/sdp"},
		{"SDP, oddly spelt", []byte(string(request("INVITE", "c: Application/SDP ; charset=x")) + "v=0"), 0, ""},
		{"multipart", []byte(string(request("INVITE", "c: multipart/mixed;boundary=x")) + "v=0"), 0, ""},
		{"INFO with any body", []byte(string(request("INFO", "c: application/x")) + "x"), 0, ""},
		{"Accept all", request("INVITE", "Accept: text/plain, */*;q=0.1"), 0, ""},
		{"Accept none", request("INVITE", "Accept:"), 406, "Warning: 399"},
		{"two Contacts", request("INVITE", "Contact: <sip:a@h>, <sip:b@h>"), 400, ""},
		{"Contact *", request("INVITE", "Contact: *"), 400, ""},
		{"tel", []byte(strings.Replace(string(request("INVITE")), "sip:a@h", "tel:+7495", 1)), 416, ""},
		{"sips", []byte(strings.Replace(string(request("INVITE")), "sip:a@h", "sips:a@h", 1)), 0, ""},
		{"version 3.0", []byte(strings.Replace(string(request("INVITE")), "SIP/2.0", "SIP/3.0", 1)), 505, ""},
		{"version in small letters", []byte(strings.Replace(string(request("INVITE")), "SIP/2.0", "sip/2.0", 1)), 0, ""},
		{"no From", without(request("INVITE"), "From: <sip:a@h>;tag=1"), 400, ""},
		{"no To", without(request("INVITE"), "To: <sip:b@h>"), 400, ""},
		{"no Call-ID", without(request("INVITE"), "Call-ID: 1"), 400, ""},
		{"no CSeq", without(request("INVITE"), "CSeq: 1 INVITE"), 400, ""},
		{"no Via", without(request("INVITE"), "Via: SIP/2.0/UDP h;branch=z9hG4bK1"), -1, ""},
		{"mismatch", []byte(strings.Replace(string(request("OPTIONS")), "1 OPTIONS", "1 INVITE", 1)), 400, ""},
		{"ACK", request("ACK"), 0, ""},
		{"ACK with a fault", request("ACK", "CSeq: 1 ACK"), -1, ""},
		{"ACK without a branch", []byte(strings.Replace(string(request("ACK")), ";branch=z9hG4bK1", "", 1)), 0, ""},
		{"ACK of another version", []byte(strings.Replace(string(request("ACK")), "SIP/2.0", "SIP/7.0", 1)), -1, ""},
		{"smuggled blank", request("INVITE", "Require : foo"), 420, "Unsupported: foo"},
		{"response", []byte(strings.Replace(string(request("INVITE")), "INVITE sip:a@h SIP/2.0", "SIP/2.0 200 OK", 1)), 0, ""},
		{"response without From", without([]byte(strings.Replace(string(request("INVITE")), "INVITE sip:a@h SIP/2.0", "SIP/2.0 200 OK", 1)), "From: <sip:a@h>;tag=1"), -1, ""},
		{"response with a fault", []byte(strings.Replace(string(request("INVITE", "Contact: <")), "INVITE sip:a@h SIP/2.0", "SIP/2.0 200 OK", 1)), -1, ""},
	} {
		code, answer := judge(t, c.b)
		if code != c.code {
			t.Errorf("%s: verdict %d, want %d", c.name, code, c.code)
		} else if code > 0 {
			checkAnswer(t, answer, code, c.header)
		}
	}
}
