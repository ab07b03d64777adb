package sdp

import (
	"fmt"
	"strings"
)

// Answer picks the first of codecs that the offer has and answers every m=
// line in order (RFC 3264, section 6): the call's audio with our address and
// the offer's payload types, all others with port 0. The direction is the
// offer's, mirrored. It fails with ErrNoAudio or ErrNoCommonCodec.
func Answer(offer *Session, local Local, codecs []Codec) ([]byte, Media, error) {
	chosen, format, err := choose(offer, codecs)
	if err != nil {
		return nil, Media{}, err
	}
	s := &offer.Streams[chosen]
	formats := []Format{s.Formats[format]}
	formats[0].Fmtp = ""
	if e := eventFor(s.Formats, formats[0].Codec); e >= 0 {
		event := s.Formats[e]
		event.Fmtp = "0-15"
		formats = append(formats, event)
	}
	m := s.media(formats, 0, s.direction().Mirror()|local.Direction)

	var b strings.Builder
	local.header(&b)
	for i := range offer.Streams {
		if i == chosen {
			local.stream(&b, s.Proto, formats, m.Ptime, m.Direction)
		} else {
			offer.Streams[i].refuse(&b)
		}
	}
	return []byte(b.String()), m, nil
}

// choose finds the stream and format to talk: our order of codecs decides,
// within the first stream that has any of them.
func choose(offer *Session, codecs []Codec) (stream, format int, err error) {
	if offer.Audio() < 0 {
		return 0, 0, ErrNoAudio
	}
	for i := range offer.Streams {
		if !offer.Streams[i].usable() {
			continue
		}
		for _, c := range codecs {
			if n := find(offer.Streams[i].Formats, c); n >= 0 {
				return i, n, nil
			}
		}
	}
	return 0, 0, ErrNoCommonCodec
}

// refuse writes the stream with port 0.
func (s *Stream) refuse(b *strings.Builder) {
	fmt.Fprintf(b, "m=%s 0 %s %s\r\n", s.Kind, s.Proto, s.fmts)
}
