package sip

import (
	"bytes"
)

// framed takes what a framer cuts out of a stream.
type framed interface {
	message(b []byte)
	pong()
}

// framer cuts a stream into messages by Content-Length (RFC 3261 section
// 18.3), and CRLF keep-alives out of it (RFC 5626 section 4.4.1).
type framer struct {
	ends    int // line ends met since the last message or ping
	scanned int // bytes in which no end of the header section was found
}

// next hands on the messages that are whole in b and returns how many bytes
// are done with. After an error the stream cannot be framed any more; what the
// parser can make of the rest has then been handed on, to be answered 400.
func (f *framer) next(b []byte, to framed) (int, error) {
	used := 0
	for {
		used += f.lineEnds(b[used:], to)
		rest := b[used:]
		if len(rest) == 0 || len(rest) == 1 && rest[0] == '\r' {
			return used, nil
		}
		end := bytes.Index(rest[f.scanned:], []byte("\r\n\r\n"))
		if end < 0 {
			f.scanned = max(0, len(rest)-3)
			if len(rest) > maxMessage {
				return used, errTooLarge
			}
			return used, nil
		}
		head := f.scanned + end + 4
		f.scanned = 0
		length, ok := contentLength(rest[:head])
		if !ok || length > maxMessage-head {
			to.message(rest[:head])
			return used + head, errFraming
		}
		if len(rest) < head+length {
			f.scanned = head - 4 // look no further back next time
			return used, nil
		}
		to.message(rest[:head+length])
		used += head + length
		f.ends = 0
	}
}

// lineEnds skips line ends before a message; two of them are a ping.
func (f *framer) lineEnds(b []byte, to framed) int {
	n := 0
	for len(b) >= n+2 && b[n] == '\r' && b[n+1] == '\n' {
		n += 2
		if f.ends++; f.ends == 2 {
			f.ends = 0
			to.pong()
		}
	}
	return n
}

// contentLength finds the body's length in a header section. It is false where
// the header is missing, repeated or no number: the stream has no frame then.
func contentLength(head []byte) (int, bool) {
	length, found := 0, false
	for line := range bytes.SplitSeq(head, []byte("\r\n")) {
		if len(line) == 0 || line[0]|0x20 != 'c' && line[0]|0x20 != 'l' {
			continue
		}
		name, value, ok := bytes.Cut(line, []byte(":"))
		name = bytes.TrimRight(name, " \t")
		if !ok || !bytes.EqualFold(name, []byte("content-length")) && !bytes.EqualFold(name, []byte("l")) {
			continue
		}
		n, ok := decimal(string(bytes.Trim(value, " \t")))
		if !ok || found {
			return 0, false
		}
		length, found = n, true
	}
	return length, found
}
