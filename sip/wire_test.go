package sip

import (
	"net/netip"
	"strings"
)

var testSource = netip.MustParseAddrPort("192.0.2.77:5062")

// crlf writes a message by lines, as tests show it.
func crlf(lines ...string) []byte {
	return []byte(strings.Join(lines, "\r\n"))
}

// testInvite is a usual INVITE with further header lines before its body.
func testInvite(more ...string) []byte {
	lines := append([]string{
		"INVITE sip:+74951234567@198.51.100.1:5060 SIP/2.0",
		"Via: SIP/2.0/UDP 192.0.2.77:5062;branch=z9hG4bK-524287-1;rport",
		"Max-Forwards: 70",
		`From: "Client" <sip:+79161234567@192.0.2.77>;tag=from-1`,
		"To: <sip:+74951234567@198.51.100.1>",
		"Call-ID: call-1@192.0.2.77",
		"CSeq: 1 INVITE",
		"Contact: <sip:+79161234567@192.0.2.77:5062>",
		"Allow: INVITE, ACK, BYE, CANCEL, OPTIONS, PRACK, UPDATE, INFO, REFER",
		"Supported: 100rel, timer, replaces",
		"Session-Expires: 1800;refresher=uac",
		"Min-SE: 90",
		"User-Agent: carrier SBC 7.4",
		"P-Asserted-Identity: <sip:+79161234567@192.0.2.77>",
		"Privacy: none",
		"Content-Type: application/sdp",
	}, more...)
	return crlf(append(lines, "Content-Length: 220", "", testSDP)...)
}

const testSDP = "v=0\r\no=- 20518 0 IN IP4 192.0.2.77\r\ns=-\r\nc=IN IP4 192.0.2.77\r\nt=0 0\r\nm=audio 30000 RTP/AVP 8 0 101\r\n" +
	"a=rtpmap:8 PCMA/8000\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:20\r\na=sendrecv\r\n"
