package media

import (
	"math"

	"frontdesk/media/sdp"
)

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
//
// The samples go through one Goertzel filter per frequency, half a block at a
// time; a whole block is the sum of two halves, the first turned by the phase
// of half a block.
type detector struct {
	rows, cols group
	now, last  half // the half block at work, and the one before
	n          int  // samples in it
	current    byte // the digit being heard, 0 if none
	misses     int  // blocks running without it
	next       byte // what the last blocks have shown instead
	hits       int  // how many of them
	pcm        []int16
}

// group is four frequencies: the filter's coefficient, and the angles of one
// sample and of half a block.
type group struct {
	coefficient          [4]float32
	cos, sin, turn, skew [4]float32
}

// half is the filters' state over half a block, then their result.
type half struct {
	rows, cols bins
	energy     float32
}

type bins struct{ v1, v2 [4]float32 }

func newGroup(freq func(int) float64) (g group) {
	for i := range 4 {
		w := 2 * math.Pi * freq(i) / sampleRate
		g.coefficient[i] = float32(2 * math.Cos(w))
		g.cos[i], g.sin[i] = float32(math.Cos(w)), float32(math.Sin(w))
		g.turn[i], g.skew[i] = float32(math.Cos(hop*w)), float32(math.Sin(hop*w))
	}
	return g
}

func newDetector() *detector {
	return &detector{rows: newGroup(rowFreq), cols: newGroup(colFreq)}
}

// hear takes a packet's payload.
func (d *detector) hear(codec sdp.Codec, payload []byte, found func(digit byte)) {
	d.pcm = Decode(d.pcm[:0], codec, payload)
	d.feed(d.pcm, found)
}

// feed takes samples and calls found for each digit that begins.
func (d *detector) feed(pcm []int16, found func(digit byte)) {
	for len(pcm) > 0 {
		n := min(len(pcm), hop-d.n)
		d.now.rows.sweep(pcm[:n], &d.rows.coefficient)
		d.now.cols.sweep(pcm[:n], &d.cols.coefficient)
		for _, s := range pcm[:n] {
			d.now.energy += float32(s) * float32(s)
		}
		pcm = pcm[n:]
		if d.n += n; d.n < hop {
			continue
		}
		if digit := d.judge(d.block()); digit != 0 {
			found(digit)
		}
		d.n, d.last, d.now = 0, d.now, half{}
	}
}

// sweep runs four filters over the samples.
func (b *bins) sweep(pcm []int16, c *[4]float32) {
	c0, c1, c2, c3 := c[0], c[1], c[2], c[3]
	p0, p1, p2, p3 := b.v1[0], b.v1[1], b.v1[2], b.v1[3]
	q0, q1, q2, q3 := b.v2[0], b.v2[1], b.v2[2], b.v2[3]
	for _, s := range pcm {
		x := float32(s)
		p0, q0 = x-q0+c0*p0, p0
		p1, q1 = x-q1+c1*p1, p1
		p2, q2 = x-q2+c2*p2, p2
		p3, q3 = x-q3+c3*p3, p3
	}
	b.v1, b.v2 = [4]float32{p0, p1, p2, p3}, [4]float32{q0, q1, q2, q3}
}

// block ends half a block and returns the digit that it shows together with
// the half before, or 0.
func (d *detector) block() byte {
	d.now.rows.finish(&d.rows)
	d.now.cols.finish(&d.cols)
	rows := d.now.rows.power(&d.last.rows, &d.rows)
	cols := d.now.cols.power(&d.last.cols, &d.cols)
	return digitOf(rows, cols, d.now.energy+d.last.energy)
}

// finish turns the state into the result, a complex number as (v1, v2).
func (b *bins) finish(g *group) {
	for i := range 4 {
		b.v1[i], b.v2[i] = b.v1[i]-g.cos[i]*b.v2[i], g.sin[i]*b.v2[i]
	}
}

// power is that of the block made of before and b.
func (b *bins) power(before *bins, g *group) (power [4]float32) {
	for i := range 4 {
		re := b.v1[i] + before.v1[i]*g.turn[i] - before.v2[i]*g.skew[i]
		im := b.v2[i] + before.v1[i]*g.skew[i] + before.v2[i]*g.turn[i]
		power[i] = re*re + im*im
	}
	return power
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
func digitOf(rows, cols [4]float32, energy float32) byte {
	row, col := strongest(rows), strongest(cols)
	r, c := rows[row], cols[col]
	if r < minPower || c < minPower || c > r*twist || r > c*reverseTwist || r+c < purity*energy {
		return 0
	}
	for i := range 4 {
		if i != row && rows[i]*peak > r || i != col && cols[i]*peak > c {
			return 0
		}
	}
	return keypad[row*4+col]
}

func strongest(power [4]float32) int {
	best := 0
	for i, p := range power {
		if p > power[best] {
			best = i
		}
	}
	return best
}
