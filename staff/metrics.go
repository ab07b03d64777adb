package staff

import (
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// bookMetrics count what a Book does.
type bookMetrics struct {
	talks, attempts          atomic.Int64
	failed, dropped, refused atomic.Int64
}

func (m *bookMetrics) bound(c cause) {
	if c == byAttempt {
		m.attempts.Add(1)
		return
	}
	m.talks.Add(1)
}

func counter(name, help string, labels prometheus.Labels, n *atomic.Int64) prometheus.Collector {
	return prometheus.NewCounterFunc(prometheus.CounterOpts{
		Name: "frontdesk_staff_" + name, Help: help, ConstLabels: labels,
	}, func() float64 { return float64(n.Load()) })
}

// Collectors are the book's metrics.
func (b *Book) Collectors() []prometheus.Collector {
	m := &b.metrics
	const bound, boundHelp = "sticky_bound_total", "Callers bound to an employee by calls that ended here, by what bound them."
	return []prometheus.Collector{
		counter(bound, boundHelp, prometheus.Labels{"by": string(byTalk)}, &m.talks),
		counter(bound, boundHelp, prometheus.Labels{"by": string(byAttempt)}, &m.attempts),
		counter("sticky_write_failures_total", "Attempts to write a binding to the database that failed; they are repeated.", nil, &m.failed),
		counter("sticky_write_dropped_total", "Bindings never written because too many waited: after a restart they are unknown.", nil, &m.dropped),
		counter("sticky_refused_total", "Bindings of the database that lie in the future, after a clock was set back.", nil, &m.refused),
		counter("sticky_evicted_total", "Bindings that ended early for want of room.", nil, &b.all.evicted),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "frontdesk_staff_sticky_bindings", Help: "Callers bound to an employee, with those that ended in the last minute.",
		}, func() float64 { return float64(b.all.count()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "frontdesk_staff_sticky_unsaved", Help: "Bindings that wait to be written to the database.",
		}, func() float64 { return float64(b.unsaved.count()) }),
	}
}
