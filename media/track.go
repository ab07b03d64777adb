package media

import (
	"sync"
	"time"

	"frontdesk/media/sdp"
)

// trackLimit is how many packets a recorder may be behind: eight seconds of
// them. What comes when it is further behind is not recorded.
const trackLimit = 400

// track takes what one leg says from the reader to a recorder. The reader only
// copies; the lock is held by either for that long.
type track struct {
	mu   sync.Mutex
	held batch
	lost int // packets that found no room
}

// batch is packets in the order in which they came.
type batch struct {
	packets []spoken
	audio   []byte // of all, one after the other
}

// spoken is one packet of a leg.
type spoken struct {
	at              time.Time
	ssrc, timestamp uint32
	codec           sdp.Codec
	from, to        int // its part of the batch's audio
}

// take keeps one packet.
func (t *track) take(p packet, codec sdp.Codec, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.held.packets) >= trackLimit {
		t.lost++
		return
	}
	from := len(t.held.audio)
	t.held.audio = append(t.held.audio, p.body...)
	t.held.packets = append(t.held.packets, spoken{now, p.ssrc, p.timestamp, codec, from, len(t.held.audio)})
}

// drain gives everything that was kept; the empty batch takes its place.
func (t *track) drain(empty batch) batch {
	empty.packets, empty.audio = empty.packets[:0], empty.audio[:0]
	t.mu.Lock()
	defer t.mu.Unlock()
	full := t.held
	t.held = empty
	return full
}

// missed is how many packets found no room.
func (t *track) missed() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.lost
}

// law is the codec of a packet, empty for what is no G.711.
func law(m *sdp.Media, payload uint8) sdp.Codec {
	codec := m.Codec
	if payload != m.Payload {
		codec = ""
		for _, f := range m.Formats {
			if f.Payload == payload {
				codec = f.Codec
			}
		}
	}
	if codec != sdp.PCMA && codec != sdp.PCMU {
		return ""
	}
	return codec
}
