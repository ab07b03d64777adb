package tts_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math"
	"slices"
	"strings"
	"testing"

	"frontdesk/tts"
	"github.com/google/go-cmp/cmp"
	"github.com/zaf/g711"
)

// riff builds a WAV file from a format and the bytes of its samples.
func riff(tag, channels, rate, bits int, data []byte, between ...string) []byte {
	var b bytes.Buffer
	le := func(v any) { _ = binary.Write(&b, binary.LittleEndian, v) }
	b.WriteString("RIFF")
	le(uint32(36 + len(strings.Join(between, "")) + len(data)))
	b.WriteString("WAVEfmt ")
	le(uint32(16))
	le([]uint16{uint16(tag), uint16(channels)})
	le([]uint32{uint32(rate), uint32(rate * channels * bits / 8)})
	le([]uint16{uint16(channels * bits / 8), uint16(bits)})
	b.WriteString(strings.Join(between, ""))
	b.WriteString("data")
	le(uint32(len(data)))
	b.Write(data)
	return b.Bytes()
}

func le(vs any) []byte {
	var b bytes.Buffer
	_ = binary.Write(&b, binary.LittleEndian, vs)
	return b.Bytes()
}

func TestDecodeWAV(t *testing.T) {
	t.Parallel()
	extensible := riff(0xfffe, 1, 8000, 16, nil)
	extensible = slices.Concat(extensible[:16], le(uint32(40)), extensible[20:36],
		le([]uint16{22, 16}), le(uint32(4)), le(uint16(1)), make([]byte, 14), []byte("data"), le(uint32(4)), le([]int16{5, -5}))
	lying := riff(1, 1, 22050, 16, le([]int16{1, 2, 3}))
	binary.LittleEndian.PutUint32(lying[40:], 0x7ffff000) // as espeak-ng --stdout writes
	binary.LittleEndian.PutUint32(lying[4:], 0x7ffff024)
	tests := []struct {
		name string
		in   []byte
		want tts.Audio
	}{
		{"our own", tts.EncodeWAV([]int16{1, -2, 32767, -32768}, 16000), tts.Audio{Rate: 16000, PCM: []int16{1, -2, 32767, -32768}}},
		{"PCM 16", riff(1, 1, 8000, 16, le([]int16{100, -100})), tts.Audio{Rate: 8000, PCM: []int16{100, -100}}},
		{"PCM 8", riff(1, 1, 8000, 8, []byte{128, 255, 0}), tts.Audio{Rate: 8000, PCM: []int16{0, 32512, -32768}}},
		{"PCM 24", riff(1, 1, 48000, 24, []byte{9, 0, 1, 9, 0xff, 0xff}), tts.Audio{Rate: 48000, PCM: []int16{256, -1}}},
		{"PCM 32", riff(1, 1, 48000, 32, le([]int32{1 << 16, -1 << 16})), tts.Audio{Rate: 48000, PCM: []int16{1, -1}}},
		{"float 32", riff(3, 1, 44100, 32, le([]float32{0, 1, -2, float32(math.NaN())})), tts.Audio{Rate: 44100, PCM: []int16{0, 32767, -32768, 0}}},
		{"float 64", riff(3, 1, 44100, 64, le([]float64{.5})), tts.Audio{Rate: 44100, PCM: []int16{16383}}},
		{"A-law", riff(6, 1, 8000, 8, []byte{0xd5, g711.EncodeAlawFrame(8031)}), tts.Audio{Rate: 8000, PCM: []int16{8, g711.DecodeAlawFrame(g711.EncodeAlawFrame(8031))}}},
		{"mu-law", riff(7, 1, 8000, 8, []byte{0xff, g711.EncodeUlawFrame(-8031)}), tts.Audio{Rate: 8000, PCM: []int16{0, g711.DecodeUlawFrame(g711.EncodeUlawFrame(-8031))}}},
		{"stereo", riff(1, 2, 8000, 16, le([]int16{100, 300, 32767, 32767})), tts.Audio{Rate: 8000, PCM: []int16{200, 32767}}},
		{"extensible", extensible, tts.Audio{Rate: 8000, PCM: []int16{5, -5}}},
		{"other chunks, odd length", riff(1, 1, 8000, 16, le([]int16{7}), "LIST\x03\x00\x00\x00abc\x00"), tts.Audio{Rate: 8000, PCM: []int16{7}}},
		{"lying length", lying, tts.Audio{Rate: 22050, PCM: []int16{1, 2, 3}}},
		{"cut in a sample", riff(1, 1, 8000, 16, le([]int16{1, 2}))[:47], tts.Audio{Rate: 8000, PCM: []int16{1}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got, err := tts.DecodeWAV(tt.in)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(tt.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestDecodeWAVRefuses(t *testing.T) {
	t.Parallel()
	ok := riff(1, 1, 8000, 16, le([]int16{1, 2}))
	tests := map[string][]byte{
		"empty":             nil,
		"no RIFF":           []byte("ID3\x04 this is an MP3 file"),
		"header only":       ok[:12],
		"cut before format": ok[:30],
		"no data chunk":     ok[:36],
		"empty data":        riff(1, 1, 8000, 16, nil),
		"no channels":       riff(1, 0, 8000, 16, []byte{1, 2}),
		"65535 channels":    riff(1, 65535, 8000, 16, []byte{1, 2}),
		"rate 0":            riff(1, 1, 0, 16, []byte{1, 2}),
		"rate 4 GHz":        riff(1, 1, -1, 16, []byte{1, 2}),
		"no bits":           riff(1, 1, 8000, 0, []byte{1, 2}),
		"ADPCM":             riff(2, 1, 8000, 4, []byte{1, 2}),
		"data first":        slices.Concat(ok[:12], ok[36:], ok[12:36]),
		"too long":          riff(7, 1, 8000, 8, make([]byte, 601*8000)),
	}
	for name, in := range tests {
		if _, err := tts.DecodeWAV(in); !errors.Is(err, tts.ErrWAV) {
			t.Errorf("%s: error %v, want ErrWAV", name, err)
		}
	}
}

func FuzzWAV(f *testing.F) {
	f.Add(tts.EncodeWAV([]int16{1, 2, 3}, 8000))
	f.Add(riff(3, 2, 44100, 32, le([]float32{1, 2, 3})))
	f.Add(riff(0xfffe, 1, 8000, 16, make([]byte, 64), "LIST\xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, in []byte) {
		a, err := tts.DecodeWAV(in)
		if err != nil {
			if !errors.Is(err, tts.ErrWAV) {
				t.Errorf("error of another kind: %v", err)
			}
			return
		}
		if len(a.PCM) == 0 || len(a.PCM) > len(in) || a.Rate < 1000 {
			t.Fatalf("%d samples at %d Hz from %d bytes", len(a.PCM), a.Rate, len(in))
		}
		again, err := tts.DecodeWAV(tts.EncodeWAV(a.PCM, a.Rate))
		if err != nil || !slices.Equal(again.PCM, a.PCM) {
			t.Errorf("does not survive writing: %v", err)
		}
	})
}
