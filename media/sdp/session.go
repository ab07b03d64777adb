package sdp

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// Codec names how audio or events are encoded: PCMA and PCMU by these names,
// anything else as NAME/RATE or NAME/RATE/CHANNELS in capitals ("G722/8000",
// "OPUS/48000/2"). An empty Codec is a payload type nobody explained.
type Codec string

// The codecs that frontdesk can play itself (RFC 3551).
const (
	PCMA Codec = "PCMA"
	PCMU Codec = "PCMU"
)

const eventName = "TELEPHONE-EVENT" // RFC 4733

// ParseCodec returns the playable codec of that name, in any case.
func ParseCodec(name string) (Codec, bool) {
	c := Codec(strings.ToUpper(name))
	return c, c == PCMA || c == PCMU
}

// Rate returns the RTP clock rate in Hz.
func (c Codec) Rate() int {
	_, rest, _ := strings.Cut(string(c), "/")
	rate, _, _ := strings.Cut(rest, "/")
	if n, err := strconv.Atoi(rate); err == nil && n > 0 {
		return n
	}
	return 8000
}

// Event reports whether c is telephone-event rather than audio.
func (c Codec) Event() bool {
	name, _, _ := strings.Cut(string(c), "/")
	return name == eventName
}

// audio reports whether c can carry a conversation.
func (c Codec) audio() bool {
	name, _, _ := strings.Cut(string(c), "/")
	return name != "" && name != eventName && name != "CN" && name != "RED"
}

// Format is one payload type of a stream.
type Format struct {
	Payload uint8
	Codec   Codec
	Fmtp    string // parameters (a=fmtp), as written
}

// Direction says which way audio flows, seen from whoever states it. Its bits
// are what is missing: the zero value is both ways.
type Direction uint8

// The directions of RFC 4566, section 6.
const (
	SendRecv Direction = 0
	SendOnly Direction = 1 // does not receive
	RecvOnly Direction = 2 // does not send
	Inactive Direction = 3
)

// String returns the attribute's name.
func (d Direction) String() string {
	return [...]string{"sendrecv", "sendonly", "recvonly", "inactive"}[d&3]
}

// Mirror is the same direction seen from the other side.
func (d Direction) Mirror() Direction { return (d&1)<<1 | (d&2)>>1 }

// Sends reports whether whoever states d sends.
func (d Direction) Sends() bool { return d&RecvOnly == 0 }

func parseDirection(name string) (Direction, bool) {
	for d := SendRecv; d <= Inactive; d++ {
		if name == d.String() {
			return d, true
		}
	}
	return 0, false
}

// Stream is one m= section.
type Stream struct {
	Kind, Proto string // "audio", "RTP/AVP"
	Port        uint16 // 0: refused or switched off
	Addr        netip.Addr
	Formats     []Format
	Ptime       time.Duration // as wished; 0: not said
	MaxPtime    time.Duration
	Direction   Direction // the sender's
	RTCP        netip.AddrPort
	fmts        string // the payload types as written, for answers
}

// usable reports whether the stream is audio that we can carry.
func (s *Stream) usable() bool {
	return s.Kind == "audio" && s.Port != 0 && (s.Proto == "RTP/AVP" || s.Proto == "RTP/AVPF")
}

// Session is a parsed description. Streams inherit the session's address and
// direction where they name none.
type Session struct {
	Origin  string // the o= line's value
	Streams []Stream
}

// Audio returns the index of the first usable audio stream, or -1.
func (s *Session) Audio() int {
	for i := range s.Streams {
		if s.Streams[i].usable() {
			return i
		}
	}
	return -1
}

// Media is what was agreed for one leg, seen from our side.
type Media struct {
	Addr           netip.AddrPort // where to send; invalid while the peer is on hold without an address
	RTCP           netip.AddrPort // where its reports go
	Codec          Codec          // negotiated: PCMA, PCMU, or another that is only passed through
	Payload        uint8          // its payload type
	Formats        []Format       // all payload types that may come, events included
	TelephoneEvent uint8          // payload type of RFC 4733 events; 0: none
	Ptime          time.Duration  // of what we send: 10 to 60 ms
	Direction      Direction      // ours: SendOnly means that the peer does not send
}

// Held reports whether either side has stopped its audio.
func (m Media) Held() bool { return m.Direction != SendRecv || !m.Addr.IsValid() }

// media makes a Media of the stream for the codec at index i of formats.
func (s *Stream) media(formats []Format, i int, d Direction) Media {
	m := Media{
		Codec: formats[i].Codec, Payload: formats[i].Payload, Formats: formats,
		Ptime: s.ptime(), Direction: d,
	}
	if s.Addr.IsValid() && !s.Addr.IsUnspecified() {
		m.Addr = netip.AddrPortFrom(s.Addr, s.Port)
		m.RTCP = s.RTCP
		if !m.RTCP.IsValid() && s.Port < 65535 {
			m.RTCP = netip.AddrPortFrom(s.Addr, s.Port+1)
		}
	}
	if e := eventFor(formats, m.Codec); e >= 0 {
		m.TelephoneEvent = formats[e].Payload
	}
	return m
}

// ptime is the packet time to use towards the stream's owner.
func (s *Stream) ptime() time.Duration {
	d := clampPtime(s.Ptime)
	if s.MaxPtime > 0 {
		d = min(d, clampPtime(s.MaxPtime))
	}
	return d
}

// direction is the owner's; no address means that it takes nothing.
func (s *Stream) direction() Direction {
	if !s.Addr.IsValid() || s.Addr.IsUnspecified() {
		return s.Direction | SendOnly
	}
	return s.Direction
}

// find returns the index of a codec in formats, or -1.
func find(formats []Format, c Codec) int {
	for i, f := range formats {
		if f.Codec == c {
			return i
		}
	}
	return -1
}

// eventFor returns the index of the telephone-event that goes with an audio
// codec: the one of the same clock rate (RFC 4733, section 2.1), or -1.
func eventFor(formats []Format, audio Codec) int {
	return find(formats, Codec(fmt.Sprintf("%s/%d", eventName, audio.Rate())))
}

// static returns the codecs that need no rtpmap (RFC 3551, table 4).
func static(payload uint8) Codec {
	switch payload {
	case 0:
		return PCMU
	case 3:
		return "GSM/8000"
	case 4:
		return "G723/8000"
	case 8:
		return PCMA
	case 9:
		return "G722/8000"
	case 13:
		return "CN/8000"
	case 15:
		return "G728/8000"
	case 18:
		return "G729/8000"
	}
	return ""
}
