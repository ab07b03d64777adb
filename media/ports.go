package media

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"
)

// ErrNoPorts means that every port of the range is in use, resting, or taken
// by another program.
var ErrNoPorts = errors.New("no free RTP port")

// PortRange is a range of UDP ports, both ends included. Only the even ones
// are used for RTP, the next odd one belongs to the same leg (RTCP). The zero
// range stands for any that are free, high up.
type PortRange struct{ First, Last uint16 }

// ports hands out even ports. The free list is a queue that begins at a
// random place: the port longest free goes first, and a freed one rests.
type ports struct {
	mu   sync.Mutex
	free []freePort
	used int
	any  bool // the zero range
	rest time.Duration
}

type freePort struct {
	port  uint16
	since time.Time // when it was released; zero: never used
}

func newPorts(r PortRange, rest time.Duration) (*ports, error) {
	p := &ports{any: r == PortRange{}, rest: rest}
	if p.any {
		return p, nil
	}
	first := int(r.First) + int(r.First&1)
	n := (int(r.Last) - first + 1) / 2
	if r.First == 0 || n <= 0 {
		return nil, fmt.Errorf("no pair of ports in %d-%d", r.First, r.Last)
	}
	p.free = make([]freePort, n)
	start := rand.IntN(n)
	for i := range p.free {
		p.free[i].port = uint16(first + 2*((start+i)%n))
	}
	return p, nil
}

// take opens a socket on the next port by calling open, and passes over ports
// that another program holds.
func (p *ports) take(open func(port uint16) error) (uint16, error) {
	var last error
	for range p.tries() {
		port, ok := p.pop()
		if !ok {
			break
		}
		if last = open(port); last == nil {
			return port, nil
		}
		p.put(port)
		if !busy(last) {
			return 0, last
		}
	}
	if last != nil {
		return 0, fmt.Errorf("%w: %w", ErrNoPorts, last)
	}
	return 0, ErrNoPorts
}

// Where the zero range picks from, and how often. The system's own choice
// (binding to port 0) will not do: such a port is lost with the first
// disconnect, and may be odd.
const (
	anyFirst = 40000
	anyPairs = 10000
	anyTries = 100
)

// tries is how many ports may be tried for one leg.
func (p *ports) tries() int {
	if p.any {
		return anyTries
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.free)
}

// pop takes the port that was released longest ago, if it has rested.
func (p *ports) pop() (uint16, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.any {
		p.used++
		return uint16(anyFirst + 2*rand.IntN(anyPairs)), true
	}
	if len(p.free) == 0 || !p.free[0].since.IsZero() && time.Since(p.free[0].since) < p.rest {
		return 0, false
	}
	port := p.free[0].port
	p.free = p.free[1:]
	p.used++
	return port, true
}

// put takes a port back; it rests from now on.
func (p *ports) put(port uint16) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.used--
	if !p.any {
		p.free = append(p.free, freePort{port: port, since: time.Now()})
	}
}

func (p *ports) inUse() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.used
}
