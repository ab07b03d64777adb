package crmtest

import (
	"net"
	"time"
)

// rate is the portal's leaky bucket, one for each source address.
type rate struct {
	perSecond float64 // 0: off
	burst     float64
	level     map[string]float64
	at        map[string]time.Time
}

// SetRate switches the portal's limit on: a counter per source address that
// each request raises by one, that sinks by perSecond, and above burst refuses
// with QUERY_LIMIT_EXCEEDED. Most plans have 2 and 50, Enterprise 5 and 250; 0
// switches it off.
func (p *Portal) SetRate(perSecond float64, burst int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.limits.rate = rate{perSecond: perSecond, burst: float64(burst), level: map[string]float64{}, at: map[string]time.Time{}}
}

// admit counts a request from a remote address.
func (p *Portal) admit(remote string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	r := &p.limits.rate
	if r.perSecond == 0 {
		return true
	}
	source, _, err := net.SplitHostPort(remote)
	if err != nil {
		source = remote
	}
	now := p.now()
	level := max(0, r.level[source]-now.Sub(r.at[source]).Seconds()*r.perSecond)
	r.at[source] = now
	if level+1 > r.burst {
		r.level[source] = level
		return false
	}
	r.level[source] = level + 1
	return true
}
