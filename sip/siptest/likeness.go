package siptest

import (
	"context"
	"math"
)

// window is how much of a clip is looked for: its loudest 200 ms.
const window = 1600 // samples

// alike is how well a piece must match to be taken for the same sound. G.711
// alone costs less than a hundredth.
const alike = 0.95

// WaitClip waits until the loudest piece of a clip was heard since the call
// began, or since Forget.
func (c *Call) WaitClip(ctx context.Context, clip []int16) error {
	piece := loudest(clip)
	from := 0
	return c.hearing(ctx, "a clip", func() bool {
		from = min(from, len(c.sound.pcm)) // Forget was called
		at, _, found := find(c.sound.pcm[from:], piece)
		from += at
		return found
	})
}

// Likeness tells how well the best match of a clip's loudest 200 ms in heard
// resembles it, from 0 to 1: 1 is the same sound, at whatever level, and what
// has nothing in common stays below 0.5.
func Likeness(heard, clip []int16) float64 {
	_, best, _ := find(heard, loudest(clip))
	return best
}

// loudest is the piece of a clip, at most a window long, with the most energy.
func loudest(clip []int16) []int16 {
	if len(clip) <= window {
		return clip
	}
	var sum float64
	best, at := -1.0, 0
	for i, v := range clip {
		sum += float64(v) * float64(v)
		if i >= window {
			sum -= float64(clip[i-window]) * float64(clip[i-window])
		}
		if i >= window-1 && sum > best {
			best, at = sum, i-window+1
		}
	}
	return clip[at : at+window]
}

// find looks for a piece by normalised correlation, up to the first match that
// is good enough. It returns the place of that match, or how many places were
// tried, and the best likeness seen.
func find(heard, piece []int16) (at int, best float64, found bool) {
	if len(piece) == 0 {
		return 0, 0, false
	}
	energy := dot(piece, piece)
	for ; at+len(piece) <= len(heard); at++ {
		here := heard[at : at+len(piece)]
		own := dot(here, here)
		if own == 0 || energy == 0 {
			continue
		}
		best = max(best, dot(here, piece)/math.Sqrt(own*energy))
		if best >= alike {
			return at, best, true
		}
	}
	return at, best, false
}

func dot(a, b []int16) float64 {
	var sum int64
	for i, v := range a {
		sum += int64(v) * int64(b[i])
	}
	return float64(sum)
}
