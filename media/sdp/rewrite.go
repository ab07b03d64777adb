package sdp

import (
	"fmt"
	"strings"
)

// Rewrite passes a peer's description on with our address: o=, c=, the port
// of the first usable audio stream and its packet time, codecs, parameters
// and direction stay; all other streams get port 0. ICE, encryption and
// whatever else is not named here is left out. An address of 0.0.0.0 becomes
// the direction it stands for. It fails as ParseOffer does, and with
// ErrNoAudio.
//
// A stream switched off (port 0) stays off: a body without any audio stream
// that is on is refused.
func Rewrite(body []byte, local Local) ([]byte, error) {
	s, err := parse(body)
	if err != nil {
		return nil, fmt.Errorf("rewriting: %w", err)
	}
	chosen := s.Audio()
	if chosen < 0 {
		return nil, fmt.Errorf("rewriting: %w", ErrNoAudio)
	}
	lines, err := split(body)
	if err != nil {
		return nil, fmt.Errorf("rewriting: %w", err)
	}
	var b strings.Builder
	local.header(&b)
	at := -1
	for _, l := range lines {
		switch {
		case l[0] == 'm':
			if at == chosen {
				fmt.Fprintf(&b, "a=%s\r\n", s.Streams[chosen].direction())
			}
			at++
			if at == chosen {
				fmt.Fprintf(&b, "m=audio %d %s %s\r\n", local.Addr.Port(), s.Streams[at].Proto, s.Streams[at].fmts)
			} else {
				s.Streams[at].refuse(&b)
			}
		case at == chosen && passed(l):
			b.WriteString(l + "\r\n")
		}
	}
	if at == chosen {
		fmt.Fprintf(&b, "a=%s\r\n", s.Streams[chosen].direction())
	}
	return []byte(b.String()), nil
}

// passed reports whether an attribute of the audio stream is handed on.
func passed(line string) bool {
	name, _, _ := strings.Cut(line, ":")
	switch name {
	case "a=rtpmap", "a=fmtp", "a=ptime", "a=maxptime", "a=silenceSupp":
		return true
	}
	return false
}
