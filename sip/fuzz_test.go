package sip

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"
)

// FuzzParse holds what must be true of any datagram: no panic, no answer to an
// ACK or a response, and an answer that reads back with the headers it was
// given: nothing of the request can split one.
func FuzzParse(f *testing.F) {
	files, err := filepath.Glob(filepath.Join("..", "testdata", "sip", "torture", "*", "*.dat"))
	if err != nil {
		f.Fatal(err)
	}
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add(testInvite())
	f.Add(request("ACK"))
	f.Add([]byte("INVITE sip:a@h SIP/2.0\r\nVia: SIP/2.0/UDP a\r\nTo: \"\\\x00\" <sip:b>\r\nFrom: <sip:a@h\r\n\n\r: x\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := parse(b)
		if err != nil {
			return
		}
		if (m.req == nil) == (m.res == nil) {
			t.Fatal("neither request nor response, or both")
		}
		if m.req != nil {
			stampVia(m.req, testSource)
		}
		code, reason, extra := verdict(m)
		if code > 0 && (m.res != nil || m.req.Method == "ACK") {
			t.Fatalf("answers %d to what is never answered", code)
		}
		if m.req == nil || code < 0 {
			return
		}
		if code == 0 {
			code, reason = 486, ""
		}
		checkInert(t, m, code, reason, extra)
	})
}

// checkInert answers m and compares the answer with what was meant.
func checkInert(t *testing.T, m *message, code int, reason string, extra []Header) {
	t.Helper()
	res := reply(m.req, code, reason, "ourtag", extra...)
	wire := encode(res)
	if lines, want := bytes.Count(wire, []byte("\r\n")), len(res.Headers())+2; lines != want {
		t.Fatalf("%d lines, want %d:\n%q", lines, want, wire)
	}
	if n := bytes.Count(wire, []byte("\n")); n != bytes.Count(wire, []byte("\r\n")) || n != bytes.Count(wire, []byte("\r")) {
		t.Fatalf("a line end of the request's:\n%q", wire)
	}
	back, err := parse(wire)
	if err != nil {
		if err == errTooLarge || err == errManyHeaders {
			return
		}
		t.Fatalf("answer cannot be read: %v\n%q", err, wire)
	}
	if back.res.StatusCode != code {
		t.Fatalf("answer reads as %d", back.res.StatusCode)
	}
	if len(m.defects) == 0 && len(back.defects) > 0 {
		t.Fatalf("answer has defects %q:\n%q", back.defects, wire)
	}
	if len(m.defects) == 0 && len(back.res.Headers()) != len(res.Headers()) {
		t.Fatalf("answer reads as %d headers, had %d:\n%q", len(back.res.Headers()), len(res.Headers()), wire)
	}
}
