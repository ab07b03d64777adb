package sip

import (
	"bytes"
	"testing"
)

func TestFragmentStatus(t *testing.T) {
	t.Parallel()
	for frag, want := range map[string]int{
		"SIP/2.0 200 OK": 200, "SIP/2.0 486 Busy Here\r\nX: y\r\n": 486, "\r\n sip/2.0  100 \n": 100,
		"": 0, "SIP/2.0": 0, "SIP/2.0 20": 0, "SIP/2.0 abc": 0, "HTTP/1.1 200 OK": 0, "SIP/2.0 999 x": 0, "junk\r\nSIP/2.0 200 OK": 0,
	} {
		if got := fragmentStatus([]byte(frag)); got != want {
			t.Errorf("fragmentStatus(%q) = %d, want %d", frag, got, want)
		}
	}
}

func TestSessionPart(t *testing.T) {
	t.Parallel()
	const sdp = "v=0\r\ns=-\r\n"
	multipart := "--b\r\nContent-Type: text/plain\r\n\r\nhello\r\n--b\r\nContent-Type: application/sdp;charset=utf-8\r\n\r\n" + sdp + "\r\n--b--\r\n"
	for _, c := range []struct{ kind, body, want string }{
		{"application/sdp", sdp, sdp},
		{"Application/SDP ; x", sdp, sdp},
		{"", sdp, sdp},
		{"", "hello", ""},
		{"text/plain", sdp, ""},
		{"application/sdp", "", ""},
		{`multipart/mixed; boundary="b"`, multipart, sdp},
		{"multipart/mixed", multipart, ""},
		{"multipart/mixed;boundary=other", multipart, ""},
		{"multipart/mixed;boundary=b", multipart[:40], ""},
	} {
		if got := sessionPart(c.kind, []byte(c.body)); string(got) != c.want {
			t.Errorf("sessionPart(%q, %q) = %q, want %q", c.kind, c.body, got, c.want)
		}
	}
}

func FuzzSessionPart(f *testing.F) {
	f.Add("multipart/mixed;boundary=b", []byte("--b\r\nContent-Type: application/sdp\r\n\r\nv=0\r\n--b--"))
	f.Add("application/sdp", []byte("v=0"))
	f.Fuzz(func(t *testing.T, kind string, body []byte) {
		if got := sessionPart(kind, body); !bytes.Contains(body, got) {
			t.Fatalf("%q is not in the body", got)
		}
		if code := fragmentStatus(body); code != 0 && (code < 100 || code > 699) {
			t.Fatalf("status %d", code)
		}
	})
}
