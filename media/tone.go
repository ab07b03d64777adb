package media

import (
	"math"
	"time"
)

// Tone returns a sine of freq Hz at -9 dBFS, as 8 kHz samples.
func Tone(freq float64, d time.Duration) []int16 { return mix(d, freq) }

// DTMF returns the two tones of a digit, or quiet if it is none.
func DTMF(digit byte, d time.Duration) []int16 {
	for i := range keypad {
		if keypad[i] == digit {
			return mix(d, rowFreq(i/4), colFreq(i%4))
		}
	}
	return Quiet(d)
}

// Quiet returns samples of 0.
func Quiet(d time.Duration) []int16 { return make([]int16, samples(d)) }

func samples(d time.Duration) int { return int(d * sampleRate / time.Second) }

// mix adds sines of -9 dBFS each.
func mix(d time.Duration, freqs ...float64) []int16 {
	amplitude := math.MaxInt16 * math.Pow(10, -9.0/20)
	pcm := make([]int16, samples(d))
	for i := range pcm {
		var v float64
		for _, f := range freqs {
			v += math.Sin(2 * math.Pi * f * float64(i) / sampleRate)
		}
		pcm[i] = int16(v * amplitude)
	}
	return pcm
}

// Level returns the loudness of 8 kHz samples in dBFS: a full sine is -3, no
// sound -inf.
func Level(pcm []int16) float64 {
	return 10 * math.Log10(energy(pcm)/float64(max(len(pcm), 1))/(math.MaxInt16*math.MaxInt16))
}

func energy(pcm []int16) float64 {
	var e float64
	for _, s := range pcm {
		e += float64(s) * float64(s)
	}
	return e
}

// Dominant returns the share of the energy that lies at freq Hz, from 0 to 1
// (Goertzel). A tone heard whole is above 0.9; a tenth of a second and more
// gives a useful answer.
func Dominant(pcm []int16, freq float64) float64 {
	e := energy(pcm)
	if e == 0 {
		return 0
	}
	c := 2 * math.Cos(2*math.Pi*freq/sampleRate)
	var v1, v2 float64
	for _, s := range pcm {
		v1, v2 = float64(s)+c*v1-v2, v1
	}
	power := v1*v1 + v2*v2 - c*v1*v2
	return power / (e * float64(len(pcm)) / 2)
}
