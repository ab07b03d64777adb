package sip

import (
	"net/netip"
	"strings"
	"testing"
)

func TestReply(t *testing.T) {
	t.Parallel()
	req := parsed(t, testInvite("Record-Route: <sip:p1;lr>, <sip:p2;lr>", "Timestamp: 5", "Via: SIP/2.0/TCP second;branch=z9hG4bK2")).req
	stampVia(req, testSource)
	got := string(encode(reply(req, 180, "", "ours", Header{"X-Frontdesk-Call", "id"})))
	want := string(crlf(
		"SIP/2.0 180 Ringing",
		"Via: SIP/2.0/UDP 192.0.2.77:5062;branch=z9hG4bK-524287-1;rport=5062;received=192.0.2.77",
		`From: "Client" <sip:+79161234567@192.0.2.77>;tag=from-1`,
		"To: <sip:+74951234567@198.51.100.1>;tag=ours",
		"Call-ID: call-1@192.0.2.77",
		"CSeq: 1 INVITE",
		"Record-Route: <sip:p1;lr>",
		"Record-Route: <sip:p2;lr>",
		"Via: SIP/2.0/TCP second;branch=z9hG4bK2",
		"X-Frontdesk-Call: id",
		"Content-Length: 0", "", ""))
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if req.To().Params.Has("tag") {
		t.Error("the request got the tag")
	}
	if s := string(encode(reply(req, 100, "", ""))); strings.Contains(s, "Record-Route") || !strings.Contains(s, "Timestamp: 5") || strings.Contains(s, "To: <sip:+74951234567@198.51.100.1>;tag") {
		t.Errorf("100 is\n%s", s)
	}
	if s := string(encode(reply(req, 486, "", "ours"))); strings.Contains(s, "Record-Route") {
		t.Errorf("486 is\n%s", s)
	}
}

// Nothing we are given to say can end a header (reliability A9).
func TestReplyIsInert(t *testing.T) {
	t.Parallel()
	req := parsed(t, testInvite()).req
	res := encode(reply(req, 486, "Busy\r\nX-A: b", "t", Header{"X-B\r\nX-C", "v\r\nX-D: w\x00\x01"}))
	m := parsed(t, res)
	if n := len(m.res.Headers()); n != 7 {
		t.Errorf("%d headers, want 7:\n%s", n, res)
	}
}

func TestStampVia(t *testing.T) {
	t.Parallel()
	for via, want := range map[string]string{
		"192.0.2.77:5062;branch=z9hG4bK1":                    "192.0.2.77:5062;branch=z9hG4bK1",
		"192.0.2.77;rport;branch=z9hG4bK1":                   "192.0.2.77;rport=5062;branch=z9hG4bK1;received=192.0.2.77",
		"10.0.0.1:5060;branch=z9hG4bK1":                      "10.0.0.1:5060;branch=z9hG4bK1;received=192.0.2.77",
		"host.example;branch=z9hG4bK1":                       "host.example;branch=z9hG4bK1;received=192.0.2.77",
		"192.0.2.77;received=203.0.113.9;branch=z9hG4bK1":    "192.0.2.77;branch=z9hG4bK1",
		"10.0.0.1;received=[2001:db8::9];branch=z9hG4bK1":    "10.0.0.1;branch=z9hG4bK1;received=192.0.2.77",
		"[::ffff:192.0.2.77]:5062;branch=z9hG4bK1":           "[::ffff:192.0.2.77]:5062;branch=z9hG4bK1",
		"10.0.0.1;rport=1;branch=z9hG4bK1;received=10.0.0.9": "10.0.0.1;rport=5062;branch=z9hG4bK1;received=192.0.2.77",
	} {
		req := parsed(t, with("Via: SIP/2.0/UDP "+via)).req
		stampVia(req, testSource)
		if got := req.Via().Value(); got != "SIP/2.0/UDP "+want {
			t.Errorf("%s\nbecame %s\nwant   %s", via, got, want)
		}
	}
}

func TestStampViaIPv6(t *testing.T) {
	t.Parallel()
	req := parsed(t, with("Via: SIP/2.0/UDP [2001:DB8::0:1];branch=z9hG4bK1;rport")).req
	stampVia(req, netip.MustParseAddrPort("[2001:db8::1]:5070"))
	if got, want := req.Via().Value(), "SIP/2.0/UDP [2001:DB8::0:1];branch=z9hG4bK1;rport=5070;received=2001:db8::1"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestTaggerIsStable(t *testing.T) {
	t.Parallel()
	g := newTagger()
	tag := func(b []byte) string { return g.of(parsed(t, b).req) }
	first, again := tag(testInvite()), tag(testInvite())
	if first != again || first == tag(with("Call-ID: 2")) {
		t.Error("tags must be equal for equal requests and differ for others")
	}
	if newTagger().of(parsed(t, testInvite()).req) == tag(testInvite()) {
		t.Error("two taggers give the same tag")
	}
}

func BenchmarkReply(b *testing.B) {
	req := parsed(b, testInvite()).req
	b.ReportAllocs()
	for b.Loop() {
		encode(reply(req, 302, "", "ourtag", Header{"Contact", "<sip:201@10.0.0.1:5060>"}))
	}
}

func BenchmarkParseINVITE(b *testing.B) {
	text := testInvite()
	b.SetBytes(int64(len(text)))
	b.ReportAllocs()
	for b.Loop() {
		m, err := parse(text)
		if err != nil {
			b.Fatal(err)
		}
		if code, _, _ := verdict(m); code != 0 {
			b.Fatal(code)
		}
	}
}
