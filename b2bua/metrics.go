package b2bua

import (
	"slices"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"frontdesk/call"
)

// lateness is how far past the deadline a decision may come before it counts
// as late.
const lateness = 50 * time.Millisecond

type metrics struct {
	active    atomic.Int64
	decisions *prometheus.HistogramVec
	late      prometheus.Counter
	calls     *prometheus.CounterVec
	transfers *prometheus.CounterVec
	referrals *prometheus.CounterVec
	greetings *prometheus.CounterVec
}

func newMetrics(deadline time.Duration) *metrics {
	m := &metrics{
		decisions: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "frontdesk_decision_seconds",
			Help:    "Time from an INVITE's arrival to its routing decision.",
			Buckets: decisionBuckets(deadline),
		}, []string{"outcome"}),
		late: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "frontdesk_decisions_late_total",
			Help: "Decisions later than the deadline plus 50 ms. Must stay 0.",
		}),
		calls: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "frontdesk_calls_total",
			Help: "Calls ended, by trunk, last outcome and result.",
		}, []string{"trunk", "outcome", "result"}),
		transfers: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "frontdesk_transfers_total",
			Help: "Attempts to hand a call over, by method and success.",
		}, []string{"method", "result"}),
		referrals: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "frontdesk_referrals_total",
			Help: "Callers whom the PBX wanted handed on by REFER, by what came of it: done, failed, refused.",
		}, []string{"result"}),
		greetings: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "frontdesk_greetings_total",
			Help: "Greetings, by how they went: played, interrupted, or why there was none.",
		}, []string{"result"}),
	}
	for _, o := range call.Outcomes() { // so that rates start from 0
		m.decisions.WithLabelValues(string(o))
	}
	return m
}

// decisionBuckets has the deadline as an edge, so that the share of decisions
// made in time can be read off.
func decisionBuckets(deadline time.Duration) []float64 {
	edges := []float64{.0005, .001, .002, .005, .01, .025, .05, .1, .25, .5, 1, 1.5, 2, 3, 5, 10}
	for _, d := range []time.Duration{deadline, deadline + lateness} {
		if s := d.Seconds(); !slices.Contains(edges, s) {
			edges = append(edges, s)
		}
	}
	slices.Sort(edges)
	return edges
}

func (m *metrics) decided(o call.Outcome, took, deadline time.Duration) {
	m.decisions.WithLabelValues(string(o)).Observe(took.Seconds())
	if took > deadline+lateness {
		m.late.Inc()
	}
}

// Collectors are the agent's metrics.
func (a *Agent) Collectors() []prometheus.Collector {
	m := a.metrics
	return []prometheus.Collector{
		m.decisions, m.late, m.calls, m.transfers, m.referrals, m.greetings,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "frontdesk_calls_active", Help: "Calls in progress.",
		}, func() float64 { return float64(m.active.Load()) }),
	}
}
