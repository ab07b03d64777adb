package tts_test

import (
	"math"
	"testing"

	"frontdesk/tts"
)

func TestResampleKeepsPitchAndLevel(t *testing.T) {
	t.Parallel()
	for _, rate := range []int{11025, 16000, 22050, 24000, 44100, 48000, 96000, 6000, 12345} {
		for _, hz := range []float64{300, 1000, 2500} {
			out := tts.Resample(tone(hz, rate, rate, 10000), rate, 8000)
			if d := len(out) - 8000; d < 0 || d > 1 {
				t.Errorf("%d Hz: a second became %d samples", rate, len(out))
			}
			mid := out[400:7600] // without the edges, where there was silence before; whole periods
			if got := level(mid, hz, 8000); math.Abs(got-10000) > 50 {
				t.Errorf("%d Hz: %v Hz has level %.1f, want 10000", rate, hz, got)
			}
			if got, want := rms(mid), 10000/math.Sqrt2; math.Abs(got-want) > 50 {
				t.Errorf("%d Hz: %v Hz has RMS %.1f, want %.1f: something else is in it", rate, hz, got, want)
			}
		}
	}
}

func TestResampleRemovesWhatCannotBeHeard(t *testing.T) {
	t.Parallel()
	for _, rate := range []int{16000, 22050, 44100, 48000} {
		for _, hz := range []float64{4700, 6000, 7900} { // would fold back to 3300, 2000, 100
			out := tts.Resample(tone(hz, rate, rate, 10000), rate, 8000)
			if got := rms(out[400:7600]); got > 10 { // -57 dB
				t.Errorf("%d Hz: %v Hz comes through with RMS %.1f", rate, hz, got)
			}
		}
	}
}

func TestResampleEdges(t *testing.T) {
	t.Parallel()
	if got := tts.Resample(nil, 22050, 8000); len(got) != 0 {
		t.Errorf("nothing became %d samples", len(got))
	}
	if got := tts.Resample([]int16{1000}, 22050, 8000); len(got) != 1 {
		t.Errorf("one sample became %d", len(got))
	}
	dc := make([]int16, 4410)
	for i := range dc {
		dc[i] = 1234
	}
	for i, v := range tts.Resample(dc, 44100, 8000)[100:700] {
		if v < 1233 || v > 1235 {
			t.Fatalf("steady level 1234 is %d at %d", v, i)
		}
	}
}

// square is a full-scale square wave of 200 Hz.
func square(rate int) []int16 {
	pcm := make([]int16, rate)
	for i := range pcm {
		pcm[i] = math.MaxInt16
		if i*400/rate%2 == 1 {
			pcm[i] = math.MinInt16
		}
	}
	return pcm
}

func TestResampleClips(t *testing.T) {
	t.Parallel()
	out := tts.Resample(square(22050), 22050, 8000)
	// The ripple beside an edge overshoots full scale. Were it to wrap, two
	// neighbours within one half period would differ by nearly all of it.
	for i := 12; i < 7900; i++ {
		if place := i % 20; place > 4 && place < 16 && math.Abs(float64(out[i])-float64(out[i-1])) > 20000 {
			t.Fatalf("sample %d jumps from %d to %d", i, out[i-1], out[i])
		}
	}
}

func BenchmarkResample(b *testing.B) {
	pcm := tone(440, 22050, 6*22050, 10000) // a sentence of 6 s as espeak-ng makes it
	for b.Loop() {
		tts.Resample(pcm, 22050, 8000)
	}
}
