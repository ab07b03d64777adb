package sip

import (
	"bytes"
	"io"
	"mime"
	"mime/multipart"
	"strings"
)

const applicationSDP = "application/sdp"

// maxParts bounds the parts of a multipart body that are looked at.
const maxParts = 8

// sdpType is the content type of a session description, empty for none.
func sdpType(body []byte) string {
	if len(body) == 0 {
		return ""
	}
	return applicationSDP
}

// sessionPart is the session description in a body: the whole of it, or the
// first fitting part of a multipart body (RFC 5621). A body without a type is
// taken for one where it looks like one.
func sessionPart(contentType string, body []byte) []byte {
	if len(body) == 0 {
		return nil
	}
	kind, params, err := mime.ParseMediaType(contentType)
	switch {
	case contentType == "" && bytes.HasPrefix(body, []byte("v=0")):
		return body
	case strings.EqualFold(kind, applicationSDP): // also where only its parameters are malformed
		return body
	case err != nil || !strings.HasPrefix(kind, "multipart/") || params["boundary"] == "":
		return nil
	}
	parts := multipart.NewReader(bytes.NewReader(body), params["boundary"])
	for range maxParts {
		part, err := parts.NextRawPart()
		if err != nil {
			return nil
		}
		kind, _, _ := mime.ParseMediaType(part.Header.Get("Content-Type"))
		if !strings.EqualFold(kind, applicationSDP) {
			continue
		}
		sdp, err := io.ReadAll(part)
		if err != nil {
			return nil
		}
		return sdp
	}
	return nil
}
