package sip

import (
	"bytes"
	"strconv"
	"strings"

	"frontdesk/call"

	gosip "github.com/emiago/sipgo/sip"
)

// draft is a request of ours before it is rendered. Everything in it but the
// body loses its line breaks on the way out.
type draft struct {
	method  gosip.RequestMethod
	uri     string // request URI
	headers []Header
	draftDialog
	draftBody
}

// draftDialog is what ties a request to its dialog.
type draftDialog struct {
	from, to    string // whole values, with tags
	callID      string
	cseq        uint32
	routes      []string
	contact     string // empty: none
	call        string // our call id
	maxForwards int
}

type draftBody struct {
	contentType string
	body        []byte
}

// render writes d with the branch it is sent under, as seen from f.
func (d *draft) render(s *Stack, f flow, branch string) []byte {
	var b bytes.Buffer
	b.Grow(640 + len(d.body))
	b.WriteString(string(d.method))
	b.WriteByte(' ')
	b.WriteString(clean(d.uri))
	b.WriteString(" SIP/2.0\r\nVia: SIP/2.0/")
	b.WriteString(strings.ToUpper(f.network()))
	b.WriteByte(' ')
	b.WriteString(s.sentBy(f))
	b.WriteString(";rport;branch=")
	b.WriteString(branch)
	b.WriteString("\r\n")
	for _, r := range d.routes {
		writeHeader(&b, "Route", r)
	}
	writeHeader(&b, "Max-Forwards", strconv.Itoa(d.maxForwards))
	writeHeader(&b, "From", d.from)
	writeHeader(&b, "To", d.to)
	writeHeader(&b, "Call-ID", d.callID)
	writeHeader(&b, "CSeq", strconv.FormatUint(uint64(d.cseq), 10)+" "+string(d.method))
	if d.contact != "" {
		writeHeader(&b, "Contact", d.contact)
	}
	if d.call != "" {
		writeHeader(&b, callHeader, d.call)
	}
	if agent := s.cfg.UserAgent; agent != "" {
		writeHeader(&b, "User-Agent", agent)
	}
	for _, h := range d.headers {
		writeHeader(&b, h.Name, h.Value)
	}
	writeBody(&b, d.contentType, d.body)
	return b.Bytes()
}

// followUp is the ACK (of a final answer that is no 2xx) or the CANCEL that
// goes with an INVITE: same request URI, routes, From, Call-ID and sequence
// number (sections 9.1 and 17.1.1.3).
func (d *draft) followUp(method gosip.RequestMethod, to string) *draft {
	return &draft{
		method: method,
		uri:    d.uri,
		draftDialog: draftDialog{
			from: d.from, to: to, callID: d.callID, cseq: d.cseq,
			routes: d.routes, call: d.call, maxForwards: 70,
		},
	}
}

// hop is the URI that d is sent to (section 8.1.2).
func (d *draft) hop() string {
	if len(d.routes) > 0 && loose(d.routes[0]) {
		return bareURI(d.routes[0])
	}
	return d.uri
}

// newBranch begins with the cookie that tells it is unique.
func newBranch() string { return gosip.RFC3261BranchMagicCookie + call.NewID() }

// reasonHeader is the Reason header (RFC 3326) for reason: a whole value such
// as "Q.850;cause=16", or words of ours.
func reasonHeader(reason string) []Header {
	if reason == "" {
		return nil
	}
	protocol, _, found := strings.Cut(reason, ";")
	if found && (protocol == "SIP" || protocol == "Q.850") {
		return []Header{{"Reason", reason}}
	}
	return []Header{{"Reason", `SIP;text=` + quote(reason)}}
}

// quote makes a quoted-string of s (section 25.1).
func quote(s string) string {
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(clean(s)) + `"`
}
