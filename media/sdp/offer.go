package sdp

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"
)

// eventPayload is the payload type our own offers give telephone-event.
const eventPayload = 101

// Local is our side of a description.
type Local struct {
	Addr      netip.AddrPort // where we receive
	ID        uint64         // of the session (o=), the same for the whole leg
	Version   uint64         // grows with each new description of the leg
	Ptime     time.Duration  // in offers; 0 means 20 ms
	Direction Direction      // what we want; an answer is narrowed by the offer
}

// header writes the session part.
func (l Local) header(b *strings.Builder) {
	family := "IP4"
	if l.Addr.Addr().Is6() {
		family = "IP6"
	}
	fmt.Fprintf(b, "v=0\r\no=frontdesk %d %d IN %s %s\r\ns=frontdesk\r\nc=IN %s %s\r\nt=0 0\r\n",
		l.ID, l.Version, family, l.Addr.Addr(), family, l.Addr.Addr())
}

// stream writes an audio stream of these formats.
func (l Local) stream(b *strings.Builder, proto string, formats []Format, ptime time.Duration, d Direction) {
	fmt.Fprintf(b, "m=audio %d %s", l.Addr.Port(), proto)
	for _, f := range formats {
		fmt.Fprintf(b, " %d", f.Payload)
	}
	b.WriteString("\r\n")
	for _, f := range formats {
		fmt.Fprintf(b, "a=rtpmap:%d %s\r\n", f.Payload, f.Codec.rtpmap())
		if f.Fmtp != "" {
			fmt.Fprintf(b, "a=fmtp:%d %s\r\n", f.Payload, f.Fmtp)
		}
	}
	fmt.Fprintf(b, "a=ptime:%d\r\na=%s\r\n", ptime.Milliseconds(), d)
}

// rtpmap is the codec in the words of an rtpmap attribute.
func (c Codec) rtpmap() string {
	switch {
	case c == PCMA || c == PCMU:
		return string(c) + "/8000"
	case c.Event():
		return strings.ToLower(string(c))
	}
	return string(c)
}

// payload is the payload type of a codec in our own offers.
func (c Codec) payload() uint8 {
	if c == PCMU {
		return 0
	}
	return 8
}

// Offer writes an offer of one audio stream with these codecs, PCMA or PCMU,
// in order of preference, and telephone-event.
func Offer(local Local, codecs []Codec) []byte {
	var formats []Format
	for _, c := range codecs {
		if c == PCMA || c == PCMU {
			formats = append(formats, Format{Payload: c.payload(), Codec: c})
		}
	}
	formats = append(formats, Format{Payload: eventPayload, Codec: eventName + "/8000", Fmtp: "0-15"})
	var b strings.Builder
	local.header(&b)
	local.stream(&b, "RTP/AVP", formats, clampPtime(local.Ptime), local.Direction)
	return []byte(b.String())
}

// OfferAgreed writes an offer of what is agreed already: the codec and the
// telephone-event of m, by the payload types they have there (RFC 3264 section
// 8.3.2), in packets of the same length.
func OfferAgreed(local Local, m Media) []byte {
	var formats []Format
	for _, f := range m.Formats {
		if f.Payload == m.Payload || m.TelephoneEvent != 0 && f.Payload == m.TelephoneEvent {
			formats = append(formats, f)
		}
	}
	var b strings.Builder
	local.header(&b)
	local.stream(&b, "RTP/AVP", formats, clampPtime(m.Ptime), local.Direction)
	return []byte(b.String())
}

// Accept reads what the peer's answer to our offer agrees on. With offered
// codecs given, the answer's first of those counts, else its first audio
// codec. It fails with ErrNoAudio or ErrNoCommonCodec.
func Accept(answer *Session, offered ...Codec) (Media, error) {
	i := answer.Audio()
	if i < 0 {
		return Media{}, ErrNoAudio
	}
	s := &answer.Streams[i]
	for n, f := range s.Formats {
		if f.Codec.audio() && (len(offered) == 0 || slices.Contains(offered, f.Codec)) {
			return s.media(s.Formats, n, s.direction().Mirror()), nil
		}
	}
	return Media{}, ErrNoCommonCodec
}

// Agree reads what an answer made elsewhere means for the leg whose offer was
// passed on with Rewrite: its address and payload types are the offer's, the
// codec and direction the answer's. For the answering leg use Accept.
func Agree(offer, answer *Session) (Media, error) {
	o, a := offer.Audio(), answer.Audio()
	if o < 0 || a < 0 {
		return Media{}, ErrNoAudio
	}
	from, to := &offer.Streams[o], &answer.Streams[a]
	var formats []Format
	first := -1
	for _, f := range to.Formats {
		i := find(from.Formats, f.Codec)
		if i < 0 || f.Codec == "" {
			continue
		}
		if first < 0 && f.Codec.audio() {
			first = len(formats)
		}
		formats = append(formats, from.Formats[i])
	}
	if first < 0 {
		return Media{}, ErrNoCommonCodec
	}
	return from.media(formats, first, to.Direction|from.direction().Mirror()), nil
}
