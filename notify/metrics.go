package notify

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics count what a Notifier does.
type metrics struct {
	tries   *prometheus.CounterVec
	seconds prometheus.Histogram
	lost    atomic.Int64
}

// The ends of a try at a delivery.
const (
	resultDone    = "done"
	resultFailed  = "failed"  // it is tried again
	resultResting = "resting" // the same: the receiver was in trouble before, and was not asked
	resultGone    = "gone"    // the receiver answered 410
	resultDropped = "dropped" // its hook is not configured any more
)

func newMetrics() *metrics {
	m := &metrics{
		tries: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "frontdesk_notify_tries_total", Help: "Tries to deliver events to webhooks, by event and how they ended.",
		}, []string{"event", "result"}),
		seconds: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "frontdesk_notify_seconds", Help: "Time that receivers of webhooks took to answer, or not to.",
			Buckets: []float64{.01, .03, .1, .3, 1, 3, 10},
		}),
	}
	for _, e := range Events() {
		for _, r := range []string{resultDone, resultFailed, resultResting, resultGone, resultDropped} {
			m.tries.WithLabelValues(e, r)
		}
	}
	return m
}

func (m *metrics) tried(event, result string) { m.tries.WithLabelValues(event, result).Inc() }

// Collectors are the notifier's metrics.
func (n *Notifier) Collectors() []prometheus.Collector {
	return []prometheus.Collector{
		n.metrics.tries, n.metrics.seconds,
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "frontdesk_notify_lost_total", Help: "Events of calls in progress that the database did not take.",
		}, func() float64 { return float64(n.metrics.lost.Load()) }),
	}
}
