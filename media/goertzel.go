package media

import "math"

// keypad holds the digits by row and column.
const keypad = "123A456B789C*0#D"

func rowFreq(i int) float64 { return [4]float64{697, 770, 852, 941}[i] }
func colFreq(i int) float64 { return [4]float64{1209, 1336, 1477, 1633}[i] }

// What makes a block of samples a digit. The figures are those that passed
// the usual talk-off tapes in the open-source detectors: a block of 12.75 ms,
// of which a tone of 40 ms holds two whole ones.
const (
	blockSize    = 102
	minPower     = 0.17                 // of each tone: about -42 dBFS
	twist        = 6.3                  // column over row by at most 8 dB
	reverseTwist = 2.5                  // row over column by at most 4 dB
	peak         = 6.3                  // the tone over every other of its group by 8 dB
	purity       = 0.82 * blockSize / 2 // both tones' share of all energy
)

// detector finds DTMF in audio (ITU-T Q.24): two blocks running must show the
// same digit to begin it, and two must show another or none to end it.
type detector struct {
	coefficient [8]float32 // rows, columns
	v1, v2      [8]float32
	energy      float32
	n           int  // samples in the block
	last        byte // what the block before showed; 0: nothing
	current     byte // the digit being heard
}

func newDetector() *detector {
	d := &detector{}
	for i := range 4 {
		d.coefficient[i] = float32(2 * math.Cos(2*math.Pi*rowFreq(i)/sampleRate))
		d.coefficient[4+i] = float32(2 * math.Cos(2*math.Pi*colFreq(i)/sampleRate))
	}
	return d
}

// feed takes samples and calls found for each digit that begins.
func (d *detector) feed(pcm []int16, found func(digit byte)) {
	for len(pcm) > 0 {
		n := min(len(pcm), blockSize-d.n)
		d.accumulate(pcm[:n])
		pcm = pcm[n:]
		if d.n == blockSize {
			if digit := d.judge(); digit != 0 {
				found(digit)
			}
		}
	}
}

func (d *detector) accumulate(pcm []int16) {
	for i, c := range d.coefficient {
		v1, v2 := d.v1[i], d.v2[i]
		for _, s := range pcm {
			v1, v2 = float32(s)*(1.0/32768)+c*v1-v2, v1
		}
		d.v1[i], d.v2[i] = v1, v2
	}
	for _, s := range pcm {
		x := float32(s) * (1.0 / 32768)
		d.energy += x * x
	}
	d.n += len(pcm)
}

// judge ends a block and returns the digit that begins with it, or 0.
func (d *detector) judge() byte {
	var power [8]float32
	for i, c := range d.coefficient {
		power[i] = d.v1[i]*d.v1[i] + d.v2[i]*d.v2[i] - c*d.v1[i]*d.v2[i]
	}
	hit := digitOf(power, d.energy)
	d.v1, d.v2, d.energy, d.n = [8]float32{}, [8]float32{}, 0, 0

	var begun byte
	if hit != d.current && d.last != d.current { // two blocks agree that something changed
		if hit != d.last {
			hit = 0
		}
		d.current, begun = hit, hit
	}
	d.last = hit
	return begun
}

// digitOf returns the digit a block shows, or 0.
func digitOf(power [8]float32, energy float32) byte {
	row, col := strongest(power[:4]), strongest(power[4:])
	r, c := power[row], power[4+col]
	if r < minPower || c < minPower || c > r*twist || r > c*reverseTwist || r+c < purity*energy {
		return 0
	}
	for i := range 4 {
		if i != row && power[i]*peak > r || i != col && power[4+i]*peak > c {
			return 0
		}
	}
	return keypad[row*4+col]
}

func strongest(power []float32) int {
	best := 0
	for i, p := range power {
		if p > power[best] {
			best = i
		}
	}
	return best
}
