package crm

import (
	"context"
	"sync"
	"time"
)

// Lane is how urgent a request is. A lane may draw the bucket down only to its
// own floor, so that what is more urgent always finds something left.
type Lane int

// The lanes, most urgent first.
const (
	LaneLookup Lane = iota // a caller waits; may borrow below zero
	LaneCard               // showing and hiding call cards
	LaneLog                // registering and finishing calls, employees
	LaneUpload             // recordings
	LaneSync               // mirror and address book
)

// floors are the shares of the burst that each lane leaves in the bucket.
func (l Lane) floor(burst float64) float64 {
	switch l {
	case LaneLookup:
		return -burst / 4
	case LaneCard:
		return 0
	case LaneLog:
		return burst / 8
	case LaneUpload:
		return burst / 4
	}
	return burst / 2
}

// bucket is a token bucket with lanes.
type bucket struct {
	full share // of all nodes together

	mu     sync.Mutex
	nodes  int // that share it
	share      // this node's
	tokens float64
	at     time.Time // when tokens was right
	waits  [LaneSync + 1]time.Duration
}

// share is a limit, or a node's part of it.
type share struct{ rate, burst float64 }

func newBucket(rate float64, burst int) *bucket {
	full := share{rate: rate, burst: float64(burst)}
	return &bucket{full: full, nodes: 1, share: full, tokens: full.burst, at: time.Now()}
}

// most is how many look-ups may be under way at once: no more than the portal
// takes at once.
func (b *bucket) most() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return int(b.burst - LaneLookup.floor(b.burst))
}

// divide leaves an equal part to each of several nodes, and tells between how
// many it was divided before.
func (b *bucket) divide(nodes int) (before int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	nodes = max(nodes, 1)
	b.fill(time.Now())
	before, b.nodes = b.nodes, nodes
	b.share = share{rate: b.full.rate / float64(nodes), burst: max(b.full.burst/float64(nodes), 1)}
	b.tokens = min(b.tokens, b.burst)
	return before
}

func (b *bucket) shared() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.nodes
}

func (b *bucket) fill(now time.Time) {
	if d := now.Sub(b.at); d > 0 {
		b.tokens = min(b.burst, b.tokens+d.Seconds()*b.rate)
		b.at = now
	}
}

// wait takes a token. A look-up that could get one only after half of its time
// is refused at once: it would come too late and take the place of one in time.
func (b *bucket) wait(ctx context.Context, lane Lane) error {
	for {
		need, taken, ok := b.take(ctx, lane)
		if !ok {
			return errBudget
		}
		if need > 0 {
			if err := sleep(ctx, need); err != nil {
				return err
			}
		}
		if taken {
			return nil
		}
	}
}

// take takes a token now, or a place for one (taken) after the time it tells,
// or nothing yet.
func (b *bucket) take(ctx context.Context, lane Lane) (need time.Duration, taken, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	b.fill(now)
	floor := min(lane.floor(b.burst), b.burst-1) // a full bucket serves every lane
	if short := floor - (b.tokens - 1); short > 0 {
		need = time.Duration(short / b.rate * float64(time.Second))
	}
	if lane != LaneLookup && need > 0 {
		b.waits[lane] += need
		return need, false, true
	}
	if until, limited := ctx.Deadline(); limited && need > 0 && need > until.Sub(now)/2 {
		return 0, false, false
	}
	b.tokens--
	b.waits[lane] += need
	return need, true, true
}

// drain empties the bucket: the portal says that its own is full.
func (b *bucket) drain() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.fill(time.Now())
	b.tokens = min(b.tokens, 0)
}

// waited is the time that requests of a lane have waited in sum.
func (b *bucket) waited(lane Lane) time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.waits[lane]
}

// sleep waits for d or the end of ctx.
func sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
