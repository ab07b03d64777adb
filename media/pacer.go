package media

import (
	"context"
	"sync"
	"time"
)

// The schedule counts ticks of 5 ms since the pacer was made. A frame of
// 20 ms is due every fourth tick, so its streams are spread over four slots.
const (
	tick      = 5 * time.Millisecond
	wheelSize = 12 // ticks of the longest frame, 60 ms
	spread    = 4  // slots among which a new stream picks the emptiest
	lateTicks = 2  // a frame sent so many ticks after its time counts as late
	skipTicks = 8  // two frames: a pacer later than this leaves frames out
)

// pacer sends frames for all streams of one shard. Its wheel has a slot per
// tick; a stream lies in the slot of its next frame. Adding a stream takes the
// lock for a moment, sending does not hold it.
type pacer struct {
	epoch time.Time
	count *counters
	wake  chan struct{} // a stream has come to an idle pacer

	mu      sync.Mutex
	wheel   [wheelSize][]*sender
	next    int64 // the tick to be worked next
	streams int

	spare  []*sender // an empty slot to swap in; the pacer's own
	buffer [headerSize + maxFrame]byte
}

func newPacer(count *counters) *pacer {
	return &pacer{epoch: time.Now(), count: count, wake: make(chan struct{}, 1)}
}

// now is the current tick.
func (p *pacer) now() int64 { return p.tickAt(time.Now()) }

func (p *pacer) tickAt(t time.Time) int64 { return int64(t.Sub(p.epoch) / tick) }

// join puts a stream into the emptiest of the next slots and returns the tick
// of its first frame. The caller holds the stream's lock.
func (p *pacer) join(s *sender) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.streams == 0 {
		p.next = max(p.next, p.now()+1)
	}
	due := p.next
	for i := range int64(spread) {
		if len(p.slot(p.next+i)) < len(p.slot(due)) {
			due = p.next + i
		}
	}
	p.put(s, due)
	p.streams++
	select {
	case p.wake <- struct{}{}:
	default:
	}
	return due
}

func (p *pacer) slot(due int64) []*sender { return p.wheel[due%wheelSize] }

func (p *pacer) put(s *sender, due int64) {
	p.wheel[due%wheelSize] = append(p.wheel[due%wheelSize], s)
}

// run paces until ctx ends. The schedule is absolute: a late tick does not
// move the ones behind it.
func (p *pacer) run(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		at, busy := p.pending()
		if !busy {
			select {
			case <-ctx.Done():
				return
			case <-p.wake:
			}
			continue
		}
		timer.Reset(time.Until(at))
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		p.catchUp(p.now())
	}
}

// pending returns when the next tick is, if there is anything to pace.
func (p *pacer) pending() (time.Time, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.epoch.Add(time.Duration(p.next) * tick), p.streams > 0
}

// catchUp works all ticks up to now, or leaves out those that are too old.
func (p *pacer) catchUp(now int64) {
	if p.behind(now) > skipTicks {
		p.skip(now)
	}
	for p.behind(now) >= 0 {
		p.work(now)
	}
}

// behind is by how many ticks the next one is late.
func (p *pacer) behind(now int64) int64 {
	p.mu.Lock()
	defer p.mu.Unlock()
	return now - p.next
}

// work sends the frames of one tick.
func (p *pacer) work(now int64) {
	p.mu.Lock()
	at := p.next
	batch := p.slot(at)
	p.wheel[at%wheelSize] = p.spare
	p.next++
	p.mu.Unlock()

	left := batch[:0]
	for _, s := range batch {
		if s.step(&p.buffer, at, now-at >= lateTicks) {
			left = append(left, s)
		}
	}

	p.mu.Lock()
	for _, s := range left {
		p.put(s, s.due)
	}
	p.streams -= len(batch) - len(left)
	p.mu.Unlock()
	clear(batch)
	p.spare = batch[:0]
}

// skip moves the schedule to now: every stream leaves out the frames that
// should have been sent before.
func (p *pacer) skip(now int64) {
	var all []*sender
	p.mu.Lock()
	for i, slot := range p.wheel {
		all = append(all, slot...)
		clear(slot)
		p.wheel[i] = slot[:0]
	}
	p.next = now
	p.mu.Unlock()
	for _, s := range all {
		s.skip(now)
	}
	p.mu.Lock()
	for _, s := range all {
		p.put(s, s.due)
	}
	p.mu.Unlock()
}
