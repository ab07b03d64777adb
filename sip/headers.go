package sip

import (
	"bytes"
	"strconv"
	"strings"

	gosip "github.com/emiago/sipgo/sip"
)

// callHeader carries our id of the call on every message of its legs, so that
// tools can join the ladder.
const callHeader = "X-Frontdesk-Call"

// What we can do, as told to others.
const (
	allow     = "INVITE, ACK, CANCEL, BYE, OPTIONS, INFO, UPDATE, PRACK, REFER, NOTIFY"
	supported = "timer, 100rel"
)

// value is the first header called name, empty if there is none.
func value(hs []gosip.Header, name string) string {
	for _, h := range hs {
		if n := h.Name(); len(n) == len(name) && strings.EqualFold(n, name) {
			return h.Value()
		}
	}
	return ""
}

// values are all headers called name, in order.
func values(hs []gosip.Header, name string) []string {
	var out []string
	for _, h := range hs {
		if n := h.Name(); len(n) == len(name) && strings.EqualFold(n, name) {
			out = append(out, h.Value())
		}
	}
	return out
}

// list are the comma-separated tokens of all headers called name, in lower case.
func list(hs []gosip.Header, name string) []string {
	var out []string
	for _, v := range values(hs, name) {
		for token := range strings.SplitSeq(v, ",") {
			if token = strings.ToLower(strings.TrimSpace(token)); token != "" {
				out = append(out, token)
			}
		}
	}
	return out
}

// tagOf is the tag of a From or To header.
func tagOf(h gosip.Header) string {
	switch h := h.(type) {
	case *gosip.FromHeader:
		if h != nil {
			return h.Params.GetOr("tag", "")
		}
	case *gosip.ToHeader:
		if h != nil {
			return h.Params.GetOr("tag", "")
		}
	}
	return ""
}

func callID(m *message) string {
	var h *gosip.CallIDHeader
	if m.req != nil {
		h = m.req.CallID()
	} else {
		h = m.res.CallID()
	}
	if h == nil {
		return ""
	}
	return string(*h)
}

// writeHeader writes one header line; neither name nor value can break it.
func writeHeader(b *bytes.Buffer, name, val string) {
	b.WriteString(clean(name))
	b.WriteString(": ")
	b.WriteString(clean(val))
	b.WriteString("\r\n")
}

// writeBody ends the header and writes the body.
func writeBody(b *bytes.Buffer, contentType string, body []byte) {
	if len(body) > 0 {
		writeHeader(b, "Content-Type", contentType)
	}
	b.WriteString("Content-Length: ")
	b.WriteString(strconv.Itoa(len(body)))
	b.WriteString("\r\n\r\n")
	b.Write(body)
}

// retryAfter is the header that asks for a new try after a few seconds.
func retryAfter(seconds int) Header { return Header{"Retry-After", strconv.Itoa(seconds)} }
