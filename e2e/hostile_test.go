//go:build e2e

package e2e_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"unicode/utf8"

	"frontdesk/pbx/pbxtest"
)

// hostile are display names and users as they stand in a From header.
func hostile() map[string][2]string {
	const n = "+79031112244"
	return map[string][2]string{
		"escaped CRLF":       {"\"Ann\\\r\\\nX-Evil: 1\" ", n},
		"CR alone":           {"\"Ann\rX-Evil: 1\" ", n},
		"LF alone":           {"\"Ann\nX-Evil: 1\" ", n},
		"folded":             {"\"Ann\r\n X-Evil: 1\" ", n},
		"NUL":                {"\"Ann\x00X-Evil: 1\" ", n},
		"quotes":             {`"Ann \"evil\" <sip:666@evil.example>" `, n},
		"backslash at end":   {`"Ann evil\\" `, n},
		"unquoted angle":     {`Ann > evil `, n},
		"script":             {`"<script>evil()</script>" `, n},
		"SQL":                {`"'; DROP TABLE calls; -- evil" `, n},
		"template":           {`"{{.Manager.LastName}} ${evil} $(evil)" `, n},
		"4 KB":               {`"` + strings.Repeat("evil", 1024) + `" `, n},
		"bad UTF-8":          {"\"evil \xff\xfe\xc3\x28\" ", n},
		"overlong UTF-8":     {"\"evil \xc0\x8a\" ", n},
		"line separator":     {"\"evil \u2028 \u0085 X-Evil: 1\" ", n},
		"right to left":      {"\"evil \u202e1029\" ", n},
		"terminal":           {"\"evil \x1b[2J\x1b]0;x\x07\" ", n},
		"user CRLF":          {"", "%2B7903%0D%0AX-Evil:1"},
		"user NUL":           {"", "+7903111%00evil"},
		"user result":        {"", "$result[dc][CONTACT][0]"},
		"user result hidden": {"", "%24result%5Bdc%5D"},
		"user command":       {"", "+79031112244&cmd[evil]=user.get"},
		"user query":         {"", "+79031112244?method=evil&x=1"},
		"user quotes":        {"", "+7903%22%3E%3Cscript%3Eevil()"},
		"user 4 KB":          {"", "+7903" + strings.Repeat("1", 4096)},
		"user star":          {"", "*72"},
		"user phone-context": {"", "9031112244;phone-context=evil.example"},
	}
}

// TestHostileCallers: whatever a caller calls itself, the PBX gets whole headers,
// the portal gets numbers, and the log stays one JSON object a line.
func TestHostileCallers(t *testing.T) {
	t.Parallel()
	s := start(t, number("800", pbxtest.Refuse("busy")))
	peer := newRawPeer(s, ".13")
	served := 0
	for name, from := range hostile() {
		callID := "evil-" + strings.ReplaceAll(name, " ", "-")
		peer.send(peer.invite(callID, from[0], from[1]))
		final := ""
		waitFor(t, name+" to be answered", func() bool { final = peer.answer(callID); return final != "" })
		if strings.HasPrefix(final, "SIP/2.0 5") && !strings.HasPrefix(final, "SIP/2.0 503") {
			t.Errorf("%s: %.200s", name, final)
		}
		if strings.HasPrefix(final, "SIP/2.0 486") {
			served++
		}
		peer.acknowledge(callID, from, final)
	}
	t.Logf("%d of %d callers were served, the others refused", served, len(hostile()))
	if served < len(hostile())/2 {
		t.Errorf("only %d callers were served", served)
	}
	for _, step := range s.pbx.Phone.Ladder().Steps() {
		if !step.Sent && strings.HasPrefix(step.First, "INVITE ") {
			wholesome(t, step.Data)
		}
	}
	s.portalSafe()
	s.outputSafe()
	s.idle()
}

// acknowledge sends the ACK of a refusal, with the To that it had.
func (p *rawPeer) acknowledge(callID string, from [2]string, final string) {
	_, to, _ := strings.Cut(final, "\r\nTo: ")
	to, _, _ = strings.Cut(to, "\r\n")
	head, _, _ := strings.Cut(p.invite(callID, from[0], from[1]), "\r\nContent-Type")
	ack := strings.Replace(strings.Replace(head, "INVITE ", "ACK ", 1), "1 INVITE", "1 ACK", 1)
	p.send(strings.Replace(ack, "To: <sip:"+did+"@"+p.s.sip+">", "To: "+to, 1) + "\r\nContent-Length: 0\r\n\r\n")
}

// wholesome looks at an INVITE that reached the PBX.
func wholesome(t *testing.T, message []byte) {
	t.Helper()
	head, _, _ := bytes.Cut(message, []byte("\r\n\r\n"))
	if !utf8.Valid(head) {
		t.Errorf("not UTF-8: %q", head)
	}
	for line := range bytes.SplitSeq(head, []byte("\r\n")) {
		name, value, ok := bytes.Cut(line, []byte(":"))
		switch {
		case bytes.ContainsFunc(line, func(r rune) bool { return r < ' ' || r == 0x7f || 0x80 <= r && r < 0xa0 }):
			t.Errorf("a header with control characters: %q", line)
		case len(line) > 1024:
			t.Errorf("a header of %d bytes: %.100q...", len(line), line)
		case ok && strings.EqualFold(string(name), "X-Evil"):
			t.Errorf("a header was injected: %q", line)
		case ok && strings.EqualFold(string(name), "From") && !oneAddress(string(value)):
			t.Errorf("From is not one address: %q", line)
		}
	}
}

// oneAddress reports whether a header is an optional quoted name and one URI.
func oneAddress(value string) bool {
	rest := strings.TrimSpace(value)
	if strings.HasPrefix(rest, `"`) {
		end := 1
		for end < len(rest) && rest[end] != '"' {
			if rest[end] == '\\' {
				end++
			}
			end++
		}
		if end >= len(rest) {
			return false
		}
		rest = strings.TrimSpace(rest[end+1:])
	}
	uri, _, ok := strings.Cut(strings.TrimPrefix(rest, "<"), ">")
	return ok && strings.HasPrefix(rest, "<sip:") && !strings.ContainsAny(uri, "<\" ")
}

// portalSafe looks for foreign text in what the portal was asked.
func (s *server) portalSafe() {
	s.t.Helper()
	for _, r := range s.portal.Requests() {
		if strings.Contains(strings.ToLower(string(r.Body)), "evil") {
			s.t.Errorf("the portal got a caller's text: %s", r.Body)
		}
		for _, c := range r.Commands {
			if len(c) > 4096 || strings.Contains(c, "*72") {
				s.t.Errorf("a command of a batch: %.300q", c)
			}
		}
	}
}

// outputSafe reads the log line by line, and what is shown of the calls.
func (s *server) outputSafe() {
	s.t.Helper()
	for line := range strings.Lines(s.log.String()) {
		var entry map[string]any
		if strings.HasPrefix(line, "{") && json.Unmarshal([]byte(line), &entry) != nil || strings.HasPrefix(line, "X-Evil") {
			s.t.Errorf("a broken line of the log: %.300q", line)
		}
		if strings.ContainsFunc(strings.TrimSuffix(line, "\n"), func(r rune) bool { return r < ' ' && r != '\t' || r == 0x7f }) {
			s.t.Errorf("control characters in the log: %.300q", line)
		}
		if len(line) > 8<<10 {
			s.t.Errorf("a line of %d bytes in the log: %.200q", len(line), line)
		}
	}
	for _, path := range []string{"/", "/api/v1/calls?limit=500"} {
		_, body, _ := s.get(path)
		if bytes.Contains(body, []byte("<script>evil")) {
			s.t.Errorf("%s shows a caller's script", path)
		}
		if path != "/" && !json.Valid(body) {
			s.t.Errorf("%s is no JSON: %s", path, fmt.Sprintf("%.300q", body))
		}
	}
	for _, r := range s.calls() {
		if len(r.Caller) > 40 {
			s.t.Errorf("a caller's number of %d bytes: %.100q", len(r.Caller), r.Caller)
		}
	}
}
