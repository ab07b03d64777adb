package media

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// counters are what one shard has done. They are written by the shard's two
// goroutines and now and then by others.
type counters struct {
	sent     atomic.Uint64 // packets
	received atomic.Uint64 // valid RTP packets read; filtered ones are never seen
	failed   atomic.Uint64 // packets the kernel would not send
	junk     atomic.Uint64 // datagrams that are no RTP of the session
	unrouted atomic.Uint64 // packets to relay that the other leg cannot take
	late     atomic.Uint64 // frames sent 10 ms or more after their time
	skipped  atomic.Uint64 // frames left out since the pacer was too late
	lost     atomic.Uint64 // digits that nobody read
}

// Collectors returns the metrics of the engine.
func (e *Engine) Collectors() []prometheus.Collector {
	sum := func(name, help string, labels prometheus.Labels, of func(*counters) *atomic.Uint64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: "frontdesk_media_" + name, Help: help, ConstLabels: labels}, func() float64 {
			var n uint64
			for _, s := range e.shards {
				n += of(&s.count).Load()
			}
			return float64(n)
		})
	}
	const dropped, droppedHelp = "packets_dropped_total", "Packets not sent or not understood, by reason."
	return []prometheus.Collector{
		sum("packets_sent_total", "RTP packets sent.", nil, func(c *counters) *atomic.Uint64 { return &c.sent }),
		sum("packets_received_total", "RTP packets read; what the socket filter drops is not counted.", nil, func(c *counters) *atomic.Uint64 { return &c.received }),
		sum(dropped, droppedHelp, prometheus.Labels{"why": "send"}, func(c *counters) *atomic.Uint64 { return &c.failed }),
		sum(dropped, droppedHelp, prometheus.Labels{"why": "junk"}, func(c *counters) *atomic.Uint64 { return &c.junk }),
		sum(dropped, droppedHelp, prometheus.Labels{"why": "unrouted"}, func(c *counters) *atomic.Uint64 { return &c.unrouted }),
		sum("frames_late_total", "Frames sent 10 ms or more after their time.", nil, func(c *counters) *atomic.Uint64 { return &c.late }),
		sum("frames_skipped_total", "Frames left out because the pacer was over 40 ms late.", nil, func(c *counters) *atomic.Uint64 { return &c.skipped }),
		sum("digits_lost_total", "Digits that were pressed and not read in time.", nil, func(c *counters) *atomic.Uint64 { return &c.lost }),
	}
}
