package media

import (
	"encoding/binary"
	"io"
	"time"
)

// How far a stream's own clock may be from the time of its packets' arrival
// before it is set again, and how much audio is kept to be put in order. All
// but a second of it may still change.
const (
	drift      = sampleRate
	windowSize = 3 * sampleRate
)

// frameBytes is the size of a frame of two samples.
const frameBytes = 2 * 2

// mixdown puts what two legs say on one time line and writes it: two channels
// of 16 bits. What did not come is silence.
type mixdown struct {
	w       io.Writer
	start   time.Time
	written int64                // frames
	window  [windowSize][2]int16 // from there on
	clocks  [2]streamClock
	late    int // samples whose place was written already
	pcm     []int16
	bytes   []byte
}

// streamClock turns a stream's timestamps into places on the time line.
type streamClock struct {
	bound      bool
	ssrc, last uint32
	place      int64 // of last
}

// at is the place of a packet that arrived at a place. Its timestamp decides,
// unless it leads too far away: then the stream begins anew.
func (c *streamClock) at(s spoken, arrival int64) int64 {
	place := arrival
	if c.bound && s.ssrc == c.ssrc {
		by := c.place + int64(int32(s.timestamp-c.last))
		if by-arrival <= drift && arrival-by <= drift {
			place = by
		}
	}
	*c = streamClock{true, s.ssrc, s.timestamp, place}
	return place
}

// frames is where a moment is on the time line.
func (m *mixdown) frames(at time.Time) int64 {
	return int64(at.Sub(m.start) * sampleRate / time.Second)
}

// merge takes the packets of both legs in the order of their arrival.
func (m *mixdown) merge(left, right batch) error {
	for len(left.packets)+len(right.packets) > 0 {
		channel, from := 0, &left
		if len(left.packets) == 0 || len(right.packets) > 0 && right.packets[0].at.Before(left.packets[0].at) {
			channel, from = 1, &right
		}
		s := from.packets[0]
		from.packets = from.packets[1:]
		if err := m.add(channel, s, from.audio[s.from:s.to]); err != nil {
			return err
		}
	}
	return nil
}

// add places one packet.
func (m *mixdown) add(channel int, s spoken, payload []byte) error {
	m.pcm = Decode(m.pcm[:0], s.codec, payload)
	place := m.clocks[channel].at(s, m.frames(s.at))
	if err := m.flush(place + int64(len(m.pcm)) - windowSize); err != nil {
		return err
	}
	for i, sample := range m.pcm {
		at := place + int64(i) - m.written
		if at < 0 {
			m.late++
			continue
		}
		m.window[at][channel] = sample
	}
	return nil
}

// flush writes everything before a place.
func (m *mixdown) flush(place int64) error {
	for m.written < place {
		n := int(min(place-m.written, windowSize))
		m.bytes = m.bytes[:0]
		for _, frame := range m.window[:n] {
			m.bytes = binary.LittleEndian.AppendUint16(m.bytes, uint16(frame[0]))
			m.bytes = binary.LittleEndian.AppendUint16(m.bytes, uint16(frame[1]))
		}
		copy(m.window[:], m.window[n:])
		clear(m.window[windowSize-n:])
		if _, err := m.w.Write(m.bytes); err != nil {
			return err
		}
		m.written += int64(n)
	}
	return nil
}
