package sip

import (
	"strings"

	gosip "github.com/emiago/sipgo/sip"
)

// acceptedBodies are the bodies a session offer may come in.
const acceptedBodies = "application/sdp, multipart/mixed"

// verdict judges m before any transaction is looked up or made (RFC 3261
// section 8.2): 0 is fine, -1 is dropped without an answer, anything else is
// answered statelessly with that code, reason and further headers. ACK and
// responses are never answered.
func verdict(m *message) (code int, reason string, extra []Header) {
	if m.res != nil {
		return verdictResponse(m)
	}
	req := m.req
	if req.Method == gosip.ACK {
		if code, reason, _ = checkStructure(m); code != 0 {
			return -1, reason, nil
		}
		return 0, "", nil
	}
	if req.Via() == nil {
		return -1, "no Via to answer to", nil
	}
	for _, check := range [...]func(*message) (int, string, []Header){checkStructure, checkMethod, checkRouting, checkBodies} {
		if code, reason, extra = check(m); code != 0 {
			return code, reason, extra
		}
	}
	return 0, "", nil
}

func verdictResponse(m *message) (int, string, []Header) {
	res := m.res
	switch {
	case len(m.defects) > 0:
		return -1, string(m.defects[0]), nil
	case res.SipVersion != "SIP/2.0":
		return -1, "unknown version", nil
	case res.Via() == nil || res.CSeq() == nil || res.CallID() == nil || res.From() == nil || res.To() == nil:
		return -1, "response without a mandatory header", nil
	}
	return 0, "", nil
}

// checkStructure checks what every request needs (RFC 3261 sections 7.1, 8.1.1).
func checkStructure(m *message) (int, string, []Header) {
	req := m.req
	switch {
	case req.SipVersion != "SIP/2.0":
		return 505, "Version Not Supported", nil
	case len(m.defects) > 0:
		return 400, string(m.defects[0]), nil
	case req.Via() == nil:
		return 400, "Missing Via", nil
	case req.From() == nil:
		return 400, "Missing From", nil
	case req.To() == nil:
		return 400, "Missing To", nil
	case req.CallID() == nil:
		return 400, "Missing Call-ID", nil
	case req.CSeq() == nil:
		return 400, "Missing CSeq", nil
	case !methodKnown(req.Method): // before the CSeq: RFC 4475 section 3.1.2.18
		return 501, "Not Implemented", []Header{{"Allow", allow}}
	case req.CSeq().MethodName != req.Method:
		return 400, "CSeq Method Mismatch", nil
	case req.Via().Params.GetOr("branch", "") == gosip.RFC3261BranchMagicCookie:
		return 400, "Empty Branch", nil
	}
	return 0, "", nil
}

// methodKnown reports whether m is a method of SIP, handled here or not.
func methodKnown(m gosip.RequestMethod) bool {
	for _, k := range counted[:len(counted)-1] {
		if k == m {
			return true
		}
	}
	return false
}

// checkMethod checks that we handle the method (RFC 3261 section 8.2.1).
func checkMethod(m *message) (int, string, []Header) {
	switch m.req.Method {
	case gosip.REGISTER, gosip.SUBSCRIBE, gosip.PUBLISH:
	case gosip.MESSAGE:
		if tagOf(m.req.To()) != "" {
			return 0, "", nil
		}
	default:
		return 0, "", nil
	}
	return 405, "Method Not Allowed", []Header{{"Allow", allow}}
}

// checkRouting checks where the request is to go and what it needs there (RFC 3261
// sections 8.2.2, 16.3).
func checkRouting(m *message) (int, string, []Header) {
	req := m.req
	if req.Recipient.Scheme != "sip" && req.Recipient.Scheme != "sips" {
		return 416, "Unsupported URI Scheme", nil
	}
	if len(req.Recipient.Headers) > 0 { // RFC 3261 section 19.1.1 forbids them here
		return 400, "Headers in Request-URI", nil
	}
	if req.Method == gosip.CANCEL {
		return 0, "", nil // its Require and hops are those of the INVITE
	}
	// Only what is handed on loops; an endpoint processes the rest (RFC 4475
	// section 3.3.11).
	hops := req.MaxForwards()
	if req.Method == gosip.INVITE && tagOf(req.To()) == "" && hops != nil && hops.Val() == 0 {
		return 483, "Too Many Hops", nil
	}
	if unknown := unsupported(req); unknown != "" {
		return 420, "Bad Extension", []Header{{"Unsupported", unknown}}
	}
	return 0, "", nil
}

// unsupported lists the option tags that req requires and we do not support.
func unsupported(req *gosip.Request) string {
	var unknown []string
	for _, v := range values(req.Headers(), "Require") {
		for tag := range listItems(v) {
			if tag != "" && !hasOption(supported, tag) {
				unknown = append(unknown, tag)
			}
		}
	}
	return strings.Join(unknown, ", ")
}

// hasOption reports whether list, as a header has it, holds the option tag.
func hasOption(list, tag string) bool {
	for item := range listItems(list) {
		if strings.EqualFold(item, tag) {
			return true
		}
	}
	return false
}

// checkBodies checks what the request carries and what it would take back (RFC 3261
// section 8.2.3), and that a request that makes a dialog has one Contact.
func checkBodies(m *message) (int, string, []Header) {
	req := m.req
	for _, v := range values(req.Headers(), "Content-Encoding") {
		if v != "" && !strings.EqualFold(v, "identity") {
			return 415, "Unsupported Media Type", []Header{{"Accept-Encoding", "identity"}}
		}
	}
	if req.Method != gosip.INVITE && req.Method != gosip.UPDATE && req.Method != gosip.PRACK {
		return 0, "", nil
	}
	if len(req.Body()) > 0 && !carriesSession(req.ContentType()) {
		return 415, "Unsupported Media Type", []Header{{"Accept", acceptedBodies}}
	}
	if req.Method != gosip.INVITE {
		return 0, "", nil
	}
	if !takesSession(req) {
		return 406, "Not Acceptable", []Header{{"Warning", `399 frontdesk "Accept leaves out application/sdp"`}}
	}
	contacts := 0
	for _, h := range req.Headers() {
		if c, ok := h.(*gosip.ContactHeader); ok {
			contacts++
			if contacts > 1 || c.Address.Wildcard { // RFC 3261 section 8.1.1.8
				return 400, "Bad Contact", nil
			}
		}
	}
	return 0, "", nil
}

func carriesSession(ct *gosip.ContentTypeHeader) bool {
	if ct == nil {
		return false
	}
	media, _, _ := strings.Cut(ct.Value(), ";")
	media = lower(trim(media))
	return media == "application/sdp" || strings.HasPrefix(media, "multipart/")
}

// takesSession reports whether the Accept headers, if any, let us answer with
// a session description.
func takesSession(req *gosip.Request) bool {
	accepts := values(req.Headers(), "Accept")
	for _, v := range accepts {
		for item := range listItems(v) {
			media, _, _ := strings.Cut(item, ";")
			switch lower(trim(media)) {
			case "application/sdp", "application/*", "*/*", "multipart/mixed", "multipart/*":
				return true
			}
		}
	}
	return len(accepts) == 0
}
