package sip

import (
	"bytes"
	"encoding/hex"
	"hash/maphash"
	"net/netip"
	"strconv"
	"strings"

	gosip "github.com/emiago/sipgo/sip"
)

// Header is one header field of a message.
type Header struct{ Name, Value string }

// reply builds an answer to req (RFC 3261 section 8.2.6): its Via, From, To,
// Call-ID and CSeq, toTag where the To has no tag yet, the route set where the
// answer may make a dialog (section 12.1.1), and headers. The header values of
// req are shared and must not be changed. The reason defaults to the usual one.
// req need not be valid: what it lacks, the answer lacks.
func reply(req *gosip.Request, code int, reason, toTag string, headers ...Header) *gosip.Response {
	if reason == "" {
		reason = reasonOf(code)
	}
	res := gosip.NewResponse(code, clean(reason))
	for _, h := range req.Headers() {
		switch h := h.(type) {
		case *gosip.ViaHeader, *gosip.FromHeader, *gosip.CallIDHeader, *gosip.CSeqHeader:
			res.AppendHeader(h)
		case *gosip.ToHeader:
			res.AppendHeader(tagged(h, toTag))
		case *gosip.RecordRouteHeader:
			if code > 100 && code < 300 && req.Method == gosip.INVITE {
				res.AppendHeader(h)
			}
		default:
			switch h.Name() {
			case "From", "To", "Call-ID", "CSeq": // malformed, echoed as they came
				res.AppendHeader(h)
			case "Timestamp":
				if code == 100 { // section 8.2.6.1
					res.AppendHeader(h)
				}
			}
		}
	}
	for _, h := range headers {
		res.AppendHeader(gosip.NewHeader(keep(h.Name, "-.!%*_+`'~"), clean(h.Value)))
	}
	res.SetBody(nil)
	return res
}

func tagged(to *gosip.ToHeader, tag string) *gosip.ToHeader {
	if tag == "" || to.Params.Has("tag") {
		return to
	}
	params := make(gosip.HeaderParams, 0, len(to.Params)+1)
	params = append(append(params, to.Params...), gosip.HeaderKV{K: "tag", V: tag})
	return &gosip.ToHeader{DisplayName: to.DisplayName, Address: to.Address, Params: params}
}

// encode is m as it goes on the wire.
func encode(m gosip.Message) []byte {
	var b bytes.Buffer
	b.Grow(1024 + len(m.Body()))
	m.StringWrite(&b)
	return b.Bytes()
}

// clean makes s fit for a header: a control character could end it.
func clean(s string) string {
	if strings.IndexFunc(s, isControl) < 0 {
		return s
	}
	return strings.Map(func(r rune) rune {
		if isControl(r) {
			return ' '
		}
		return r
	}, s)
}

func isControl(r rune) bool { return r < ' ' && r != '\t' || 0x7f <= r && r < 0xa0 }

// stampVia notes in the top Via where req came from (RFC 3261 section 18.2.1,
// RFC 3581 section 4). What the client wrote there itself is not believed.
func stampVia(req *gosip.Request, src netip.AddrPort) {
	via := req.Via()
	if via == nil {
		return
	}
	via.Params.Remove("received")
	if via.Params.Has("rport") {
		via.Params.Add("rport", strconv.Itoa(int(src.Port())))
	} else if host, err := netip.ParseAddr(trimBrackets(via.Host)); err == nil && host.Unmap() == src.Addr() {
		return
	}
	via.Params.Add("received", src.Addr().WithZone("").String())
}

// tagger makes the To tags of stateless answers: the same request gets the same
// tag again (RFC 3261 section 8.2.7), and nobody can guess another's.
type tagger struct{ seed maphash.Seed }

func newTagger() tagger { return tagger{maphash.MakeSeed()} }

func (t tagger) of(req *gosip.Request) string {
	var h maphash.Hash
	h.SetSeed(t.seed)
	for _, part := range []string{string(req.Method), value(req.Headers(), "Call-ID"), value(req.Headers(), "CSeq"), value(req.Headers(), "From")} {
		_, _ = h.WriteString(part)
		_ = h.WriteByte(0)
	}
	if via := req.Via(); via != nil {
		_, _ = h.WriteString(via.Host + via.Params.GetOr("branch", ""))
	}
	return hex.EncodeToString(h.Sum(nil))
}

// reasonOf is the reason phrase of a status code (RFC 3261 section 21 and the
// registry).
func reasonOf(code int) string {
	switch code {
	case 100:
		return "Trying"
	case 180:
		return "Ringing"
	case 181:
		return "Call Is Being Forwarded"
	case 182:
		return "Queued"
	case 183:
		return "Session Progress"
	case 200:
		return "OK"
	case 202:
		return "Accepted"
	case 301:
		return "Moved Permanently"
	case 302:
		return "Moved Temporarily"
	}
	return failureOf(code)
}

func failureOf(code int) string {
	switch code {
	case 400:
		return "Bad Request"
	case 401:
		return "Unauthorized"
	case 403:
		return "Forbidden"
	case 404:
		return "Not Found"
	case 405:
		return "Method Not Allowed"
	case 406:
		return "Not Acceptable"
	case 407:
		return "Proxy Authentication Required"
	case 408:
		return "Request Timeout"
	case 410:
		return "Gone"
	case 413:
		return "Request Entity Too Large"
	case 415:
		return "Unsupported Media Type"
	case 416:
		return "Unsupported URI Scheme"
	case 420:
		return "Bad Extension"
	case 422:
		return "Session Interval Too Small"
	}
	return laterFailureOf(code)
}

func laterFailureOf(code int) string {
	switch code {
	case 480:
		return "Temporarily Unavailable"
	case 481:
		return "Call/Transaction Does Not Exist"
	case 482:
		return "Loop Detected"
	case 483:
		return "Too Many Hops"
	case 484:
		return "Address Incomplete"
	case 486:
		return "Busy Here"
	case 487:
		return "Request Terminated"
	case 488:
		return "Not Acceptable Here"
	case 489:
		return "Bad Event"
	case 491:
		return "Request Pending"
	case 500:
		return "Server Internal Error"
	case 501:
		return "Not Implemented"
	case 503:
		return "Service Unavailable"
	case 504:
		return "Server Time-out"
	case 505:
		return "Version Not Supported"
	case 513:
		return "Message Too Large"
	case 600:
		return "Busy Everywhere"
	case 603:
		return "Decline"
	case 604:
		return "Does Not Exist Anywhere"
	}
	return "SIP " + strconv.Itoa(code)
}
