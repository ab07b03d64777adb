package tts

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"os"

	"github.com/zaf/g711"
)

// Limits on a WAV file: what is larger is refused, not read.
const (
	maxWAVBytes    = 64 << 20
	maxWAVSeconds  = 600
	maxWAVChannels = 8
	minWAVRate     = 1000
	maxWAVRate     = 192000
)

// The format tags of the fmt chunk that are understood (RFC 2361).
const (
	tagPCM        = 0x0001
	tagFloat      = 0x0003
	tagALaw       = 0x0006
	tagMuLaw      = 0x0007
	tagExtensible = 0xfffe
)

// Audio is decoded sound: one channel of 16-bit samples.
type Audio struct {
	Rate int // samples a second
	PCM  []int16
}

// At8k is the sound at 8 kHz.
func (a Audio) At8k() []int16 { return Resample(a.PCM, a.Rate, SampleRate) }

// LoadWAV reads a WAV file and returns its sound at 8 kHz.
func LoadWAV(path string) ([]int16, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := readLimited(f)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path, err)
	}
	a, err := DecodeWAV(b)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return a.At8k(), nil
}

// readLimited reads r to its end, or fails past the limit.
func readLimited(r io.Reader) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r, maxWAVBytes+1))
	if err == nil && len(b) > maxWAVBytes {
		err = fmt.Errorf("%w: larger than %d MB", ErrWAV, maxWAVBytes>>20)
	}
	return b, err
}

// DecodeWAV reads a WAV file of any common form: PCM of 8, 16, 24 or 32 bits,
// 32- or 64-bit float, A-law or mu-law, up to eight channels (mixed down), any
// rate from 1 to 192 kHz. A data chunk that claims more than is there (a
// program that wrote to a pipe could not know) is read to the end of the file.
func DecodeWAV(b []byte) (Audio, error) {
	f, data, _, err := scanWAV(b)
	if err != nil {
		return Audio{}, err
	}
	pcm, err := f.decode(data)
	if err != nil {
		return Audio{}, err
	}
	return Audio{Rate: f.rate, PCM: pcm}, nil
}

// wavFormat is what the fmt chunk says.
type wavFormat struct {
	tag      uint16
	channels int
	rate     int
	bits     int
}

// scanWAV walks the RIFF chunks to the format and the samples. Whole tells
// whether the data chunk was as long as it said.
func scanWAV(b []byte) (f wavFormat, data []byte, whole bool, err error) {
	if len(b) < 12 || string(b[:4]) != "RIFF" || string(b[8:12]) != "WAVE" {
		return f, nil, false, fmt.Errorf("%w: no RIFF/WAVE header", ErrWAV)
	}
	known := false
	for rest := b[12:]; len(rest) >= 8; {
		id, size := string(rest[:4]), int64(binary.LittleEndian.Uint32(rest[4:8]))
		body := rest[8:]
		whole = size <= int64(len(body))
		chunk := body[:min(size, int64(len(body)))]
		switch id {
		case "fmt ":
			if f, err = parseFormat(chunk); err != nil {
				return f, nil, false, err
			}
			known = true
		case "data":
			if !known {
				return f, nil, false, fmt.Errorf("%w: samples before their format", ErrWAV)
			}
			return f, chunk, whole, nil
		}
		// Chunks are padded to an even length.
		rest = body[min(size+size&1, int64(len(body))):]
	}
	return f, nil, false, fmt.Errorf("%w: no samples in it", ErrWAV)
}

func parseFormat(c []byte) (wavFormat, error) {
	if len(c) < 16 {
		return wavFormat{}, fmt.Errorf("%w: format chunk of %d bytes", ErrWAV, len(c))
	}
	f := wavFormat{
		tag:      binary.LittleEndian.Uint16(c),
		channels: int(binary.LittleEndian.Uint16(c[2:])),
		rate:     int(binary.LittleEndian.Uint32(c[4:])),
		bits:     int(binary.LittleEndian.Uint16(c[14:])),
	}
	if f.tag == tagExtensible && len(c) >= 26 {
		f.tag = binary.LittleEndian.Uint16(c[24:]) // the GUID starts with the real tag
	}
	if f.channels < 1 || f.channels > maxWAVChannels {
		return f, fmt.Errorf("%w: %d channels", ErrWAV, f.channels)
	}
	if f.rate < minWAVRate || f.rate > maxWAVRate {
		return f, fmt.Errorf("%w: %d samples a second", ErrWAV, f.rate)
	}
	if f.sample() == nil {
		return f, fmt.Errorf("%w: unknown coding (tag %#x, %d bits)", ErrWAV, f.tag, f.bits)
	}
	return f, nil
}

// sample is how to read one sample of the format, nil if it is unknown.
func (f wavFormat) sample() func([]byte) int32 {
	switch [2]int{int(f.tag), f.bits} {
	case [2]int{tagPCM, 8}:
		return func(b []byte) int32 { return (int32(b[0]) - 128) << 8 }
	case [2]int{tagPCM, 16}:
		return func(b []byte) int32 { return int32(int16(binary.LittleEndian.Uint16(b))) }
	case [2]int{tagPCM, 24}:
		return func(b []byte) int32 { return int32(int16(binary.LittleEndian.Uint16(b[1:]))) }
	case [2]int{tagPCM, 32}:
		return func(b []byte) int32 { return int32(int16(binary.LittleEndian.Uint16(b[2:]))) }
	case [2]int{tagFloat, 32}:
		return func(b []byte) int32 {
			return fromFloat(float64(math.Float32frombits(binary.LittleEndian.Uint32(b))))
		}
	case [2]int{tagFloat, 64}:
		return func(b []byte) int32 { return fromFloat(math.Float64frombits(binary.LittleEndian.Uint64(b))) }
	case [2]int{tagALaw, 8}:
		return func(b []byte) int32 { return int32(g711.DecodeAlawFrame(b[0])) }
	case [2]int{tagMuLaw, 8}:
		return func(b []byte) int32 { return int32(g711.DecodeUlawFrame(b[0])) }
	}
	return nil
}

func fromFloat(v float64) int32 {
	if math.IsNaN(v) {
		return 0
	}
	return int32(clip(v * 32767))
}

// decode turns the data chunk into one channel. A last sample cut short is left
// out.
func (f wavFormat) decode(data []byte) ([]int16, error) {
	width := f.bits / 8
	frame := width * f.channels
	n := len(data) / frame
	if n == 0 {
		return nil, fmt.Errorf("%w: no samples in it", ErrWAV)
	}
	if n/f.rate >= maxWAVSeconds {
		return nil, fmt.Errorf("%w: longer than %d s", ErrWAV, maxWAVSeconds)
	}
	sample, pcm := f.sample(), make([]int16, n)
	for i := range pcm {
		var sum int32
		for c := range f.channels {
			sum += sample(data[i*frame+c*width:])
		}
		pcm[i] = int16(sum / int32(f.channels))
	}
	return pcm, nil
}

// EncodeWAV writes samples of the rate as a mono 16-bit WAV file.
func EncodeWAV(pcm []int16, rate int) []byte {
	const header = 44
	size := len(pcm) * 2
	b := bytes.NewBuffer(make([]byte, 0, header+size))
	le := func(v any) { _ = binary.Write(b, binary.LittleEndian, v) } // a Buffer never fails
	b.WriteString("RIFF")
	le(uint32(header - 8 + size))
	b.WriteString("WAVEfmt ")
	le(uint32(16))
	le([]uint16{tagPCM, 1})
	le([]uint32{uint32(rate), uint32(rate * 2)})
	le([]uint16{2, 16})
	b.WriteString("data")
	le(uint32(size))
	le(pcm)
	return b.Bytes()
}

// decodeCached reads a file of our own cache. It must be exactly what EncodeWAV
// wrote at 8 kHz: a shorter one was cut by a full disk or a crash.
func decodeCached(b []byte) ([]int16, error) {
	f, data, whole, err := scanWAV(b)
	if err != nil {
		return nil, err
	}
	if !whole || f != (wavFormat{tag: tagPCM, channels: 1, rate: SampleRate, bits: 16}) {
		return nil, fmt.Errorf("%w: cut short, or not written by frontdesk", ErrWAV)
	}
	return f.decode(data)
}
