package media

import "encoding/binary"

// headerSize is the length of the RTP header that we write: no sources, no
// extension.
const headerSize = 12

// packet is a parsed RTP packet. The payload is payload bytes of the datagram
// from offset start on, which is never below headerSize.
type packet struct {
	marker    bool
	payload   uint8 // payload type
	seq       uint16
	timestamp uint32
	ssrc      uint32
	start     int
	body      []byte
}

// parsePacket reads an RTP packet (RFC 3550, section 5.1). Whatever else
// arrives on the port (STUN, DTLS, RTCP, cut packets) is not ok.
func parsePacket(b []byte) (p packet, ok bool) {
	if len(b) < headerSize || b[0]>>6 != 2 {
		return p, false
	}
	start := headerSize + 4*int(b[0]&0x0f)
	if b[0]&0x10 != 0 { // extension: 2 bytes of profile, 2 of length in words
		if len(b) < start+4 {
			return p, false
		}
		start += 4 + 4*int(binary.BigEndian.Uint16(b[start+2:]))
	}
	end := len(b)
	if b[0]&0x20 != 0 { // the last byte counts the padding, itself included
		if b[end-1] == 0 {
			return p, false
		}
		end -= int(b[end-1])
	}
	if start > end {
		return p, false
	}
	if t := b[1]; t >= 200 && t <= 204 { // RTCP (RFC 5761, section 4)
		return p, false
	}
	return packet{
		marker: b[1]&0x80 != 0, payload: b[1] & 0x7f,
		seq: binary.BigEndian.Uint16(b[2:]), timestamp: binary.BigEndian.Uint32(b[4:]), ssrc: binary.BigEndian.Uint32(b[8:]),
		start: start, body: b[start:end],
	}, true
}

// putHeader writes a header of headerSize bytes into b.
func putHeader(b []byte, marker bool, payload uint8, seq uint16, timestamp, ssrc uint32) {
	_ = b[headerSize-1]
	b[0] = 2 << 6
	b[1] = payload
	if marker {
		b[1] |= 0x80
	}
	binary.BigEndian.PutUint16(b[2:], seq)
	binary.BigEndian.PutUint32(b[4:], timestamp)
	binary.BigEndian.PutUint32(b[8:], ssrc)
}
