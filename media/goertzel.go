package media

import "math"

// keypad holds the digits by row and column.
const keypad = "123A456B789C*0#D"

func rowFreq(i int) float64 { return [4]float64{697, 770, 852, 941}[i] }
func colFreq(i int) float64 { return [4]float64{1209, 1336, 1477, 1633}[i] }

// What makes a block of samples a digit. The ratios are those that pass the
// usual talk-off tapes in the open-source detectors. Blocks of 12.75 ms begin
// every half block, so that a tone of 40 ms holds four whole ones.
const (
	blockSize    = 102
	hop          = blockSize / 2
	minPower     = 0.17                 // of each tone: about -42 dBFS
	twist        = 6.3                  // column over row by at most 8 dB
	reverseTwist = 2.5                  // row over column by at most 4 dB
	peak         = 6.3                  // the tone over every other of its group by 8 dB
	purity       = 0.82 * blockSize / 2 // both tones' share of all energy
	beginHits    = 4                    // blocks running that begin a digit
	endMisses    = 5                    // blocks running without it that end it
)

// detector finds DTMF in audio (ITU-T Q.24). A digit is reported once, when
// enough blocks running have shown it.
type detector struct {
	coefficient [8]float32 // rows, columns
	blocks      [2]block   // half a block apart
	current     byte       // the digit being heard, 0 if none
	misses      int        // blocks running without it
	next        byte       // what the last blocks have shown instead
	hits        int        // how many of them
}

// block is a Goertzel filter for each frequency over the samples so far.
type block struct {
	v1, v2 [8]float32
	energy float32
	n      int
}

func newDetector() *detector {
	d := &detector{}
	d.blocks[1].n = hop // the first one of these is half silence
	for i := range 4 {
		d.coefficient[i] = float32(2 * math.Cos(2*math.Pi*rowFreq(i)/sampleRate))
		d.coefficient[4+i] = float32(2 * math.Cos(2*math.Pi*colFreq(i)/sampleRate))
	}
	return d
}

// feed takes samples and calls found for each digit that begins.
func (d *detector) feed(pcm []int16, found func(digit byte)) {
	for len(pcm) > 0 {
		n := min(len(pcm), hop-d.blocks[0].n%hop)
		for i := range d.blocks {
			b := &d.blocks[i]
			b.accumulate(pcm[:n], &d.coefficient)
			if b.n < blockSize {
				continue
			}
			if digit := d.judge(b.digit(&d.coefficient)); digit != 0 {
				found(digit)
			}
			*b = block{}
		}
		pcm = pcm[n:]
	}
}

func (b *block) accumulate(pcm []int16, coefficient *[8]float32) {
	for i, c := range coefficient {
		v1, v2 := b.v1[i], b.v2[i]
		for _, s := range pcm {
			v1, v2 = float32(s)*(1.0/32768)+c*v1-v2, v1
		}
		b.v1[i], b.v2[i] = v1, v2
	}
	for _, s := range pcm {
		x := float32(s) * (1.0 / 32768)
		b.energy += x * x
	}
	b.n += len(pcm)
}

// digit returns the digit a whole block shows, or 0.
func (b *block) digit(coefficient *[8]float32) byte {
	var power [8]float32
	for i, c := range coefficient {
		power[i] = b.v1[i]*b.v1[i] + b.v2[i]*b.v2[i] - c*b.v1[i]*b.v2[i]
	}
	return digitOf(power, b.energy)
}

// judge takes what a block showed and returns the digit that begins with it,
// or 0.
func (d *detector) judge(hit byte) byte {
	if hit == d.current {
		d.misses, d.next, d.hits = 0, hit, 0
		return 0
	}
	if hit != d.next {
		d.next, d.hits = hit, 0
	}
	d.hits++
	d.misses++
	switch {
	case hit != 0 && d.hits >= beginHits:
		d.current, d.misses, d.hits = hit, 0, 0
		return hit
	case d.misses >= endMisses:
		d.current, d.misses = 0, 0
	}
	return 0
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
