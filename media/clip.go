package media

import (
	"math"
	"sync"

	"github.com/zaf/g711"

	"frontdesk/media/sdp"
)

// sampleRate of everything that is played or heard, in Hz.
const sampleRate = 8000

// maxFrame is the longest frame in samples (60 ms), which are as many bytes
// of G.711.
const maxFrame = 60 * sampleRate / 1000

// Clip is audio ready to be played: it is encoded once per codec when first
// needed, and its payloads are shared by all calls that play it.
type Clip struct {
	pcm        []int16
	alaw, ulaw encoding
}

// encoding is the audio in one codec, with silence behind it so that the last
// frame is whole whatever the packet time.
type encoding struct {
	once sync.Once
	data []byte
}

// NewClip makes a clip of 8 kHz mono samples; they must not change any more.
func NewClip(pcm []int16) *Clip { return &Clip{pcm: pcm} }

// encoded returns the clip in PCMA or PCMU, maxFrame bytes of silence
// included; nil for any other codec.
func (c *Clip) encoded(codec sdp.Codec) []byte {
	switch codec {
	case sdp.PCMA:
		return c.alaw.of(c.pcm, g711.EncodeAlawFrame)
	case sdp.PCMU:
		return c.ulaw.of(c.pcm, g711.EncodeUlawFrame)
	}
	return nil
}

func (e *encoding) of(pcm []int16, encode func(int16) uint8) []byte {
	e.once.Do(func() {
		data := make([]byte, len(pcm)+maxFrame)
		for i, s := range pcm {
			// The codecs take the absolute value, which the lowest sample has not.
			data[i] = encode(max(s, -math.MaxInt16))
		}
		silence := encode(0)
		for i := len(pcm); i < len(data); i++ {
			data[i] = silence
		}
		e.data = data
	})
	return e.data
}

// Decode returns the samples of a G.711 payload, appended to pcm; nothing for
// other codecs.
func Decode(pcm []int16, codec sdp.Codec, payload []byte) []int16 {
	switch codec {
	case sdp.PCMA:
		for _, b := range payload {
			pcm = append(pcm, g711.DecodeAlawFrame(b))
		}
	case sdp.PCMU:
		for _, b := range payload {
			pcm = append(pcm, g711.DecodeUlawFrame(b))
		}
	}
	return pcm
}
