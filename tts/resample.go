package tts

import "math"

// The resampler's filter: zero crossings of the sinc kept on each side, and the
// Kaiser window's beta. Together they give about 80 dB of rejection and a
// transition of a tenth of the band.
const (
	zeroCrossings = 24
	kaiserBeta    = 8.0
	// passband leaves the filter's slope below half the lower rate.
	passband = 0.95
)

// Resample changes the rate of pcm from one number of samples a second to
// another, keeping pitch and level, by a windowed sinc in polyphase form
// (J. O. Smith, Digital Audio Resampling). Rates must be positive.
func Resample(pcm []int16, from, to int) []int16 {
	if from == to || len(pcm) == 0 {
		return pcm
	}
	g := gcd(from, to)
	up, down := to/g, from/g
	out := make([]int16, (len(pcm)*up+down-1)/down)
	bank := newFilterBank(from, to, up)
	for n := range out {
		at := n * down // in units of 1/up input samples
		out[n] = bank.apply(pcm, at/up, at%up)
	}
	return out
}

// filterBank holds the filter's taps for each phase between two input samples,
// computed when first needed.
type filterBank struct {
	phases [][]float32
	half   int     // taps on each side
	cutoff float64 // of the input's rate
}

func newFilterBank(from, to, up int) *filterBank {
	cutoff := passband * min(1, float64(to)/float64(from))
	return &filterBank{
		phases: make([][]float32, up),
		half:   int(math.Ceil(zeroCrossings / cutoff)),
		cutoff: cutoff,
	}
}

// apply is the output sample that lies phase/len(phases) after input sample i.
func (f *filterBank) apply(pcm []int16, i, phase int) int16 {
	taps := f.phases[phase]
	if taps == nil {
		taps = f.taps(float64(phase) / float64(len(f.phases)))
		f.phases[phase] = taps
	}
	first := i - f.half + 1
	lo, hi := max(0, -first), min(len(taps), len(pcm)-first)
	if lo >= hi {
		return 0
	}
	var sum float32
	in := pcm[first+lo : first+hi]
	for k, t := range taps[lo:hi] {
		sum += t * float32(in[k])
	}
	return int16(clip(math.Round(float64(sum))))
}

// taps are the filter's weights at a fraction of an input sample, scaled so
// that a steady level passes unchanged.
func (f *filterBank) taps(fraction float64) []float32 {
	weights := make([]float64, 2*f.half)
	var sum float64
	for k := range weights {
		x := float64(k-f.half+1) - fraction // distance in input samples
		weights[k] = sinc(x*f.cutoff) * kaiser(x/float64(f.half))
		sum += weights[k]
	}
	taps := make([]float32, len(weights))
	for k, w := range weights {
		taps[k] = float32(w / sum)
	}
	return taps
}

func sinc(x float64) float64 {
	if x == 0 {
		return 1
	}
	return math.Sin(math.Pi*x) / (math.Pi * x)
}

// kaiser is the Kaiser window at x of -1 to 1.
func kaiser(x float64) float64 {
	if x < -1 || x > 1 {
		return 0
	}
	return bessel0(kaiserBeta*math.Sqrt(1-x*x)) / bessel0(kaiserBeta)
}

// bessel0 is the modified Bessel function of the first kind, order zero.
func bessel0(x float64) float64 {
	sum, term := 1.0, 1.0
	for k := 1.0; term > sum*1e-12; k++ {
		term *= (x / (2 * k)) * (x / (2 * k))
		sum += term
	}
	return sum
}

func clip(v float64) float64 { return max(math.MinInt16, min(math.MaxInt16, v)) }

func gcd(a, b int) int {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}
