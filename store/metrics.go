package store

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/riverqueue/river/rivertype"
)

// metrics are the counters of a store.
type metrics struct {
	seconds    *prometheus.HistogramVec
	errors     *prometheus.CounterVec
	workedJobs *prometheus.CounterVec
	jobSeconds *prometheus.HistogramVec
	jobs       atomic.Pointer[map[string]int] // by state, counted now and then
}

func newMetrics() *metrics {
	return &metrics{
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "frontdesk_store_seconds",
			Help:    "Time that an operation on the database took, with its wait for others.",
			Buckets: []float64{.0005, .001, .0025, .005, .01, .025, .05, .1, .25, 1, 5},
		}, []string{"op"}),
		errors: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "frontdesk_store_errors_total",
			Help: "Operations on the database that failed, by why.",
		}, []string{"op", "class"}),
		workedJobs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "frontdesk_store_jobs_worked_total",
			Help: "Tries at jobs by how they ended.",
		}, []string{"kind", "result"}),
		jobSeconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "frontdesk_store_job_seconds",
			Help:    "Time that a try at a job took.",
			Buckets: []float64{.01, .05, .1, .5, 1, 5, 10, 30},
		}, []string{"kind"}),
	}
}

// Collectors are the store's metrics.
func (s *Store) Collectors() []prometheus.Collector {
	m := s.metrics
	out := []prometheus.Collector{
		m.seconds, m.errors, m.workedJobs, m.jobSeconds,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "frontdesk_store_up",
			Help: "1 while the database can be written.",
		}, func() float64 {
			if ok, _ := s.health.get(); ok {
				return 1
			}
			return 0
		}),
	}
	for _, state := range rivertype.JobStates() {
		out = append(out, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name:        "frontdesk_store_jobs",
			Help:        "Jobs by state, counted each 15 seconds; retryable ones have failed before, discarded and cancelled ones are given up.",
			ConstLabels: prometheus.Labels{"state": string(state)},
		}, func() float64 { return float64(m.count(state)) }))
	}
	return out
}

func (m *metrics) count(state rivertype.JobState) int {
	if counts := m.jobs.Load(); counts != nil {
		return (*counts)[string(state)]
	}
	return 0
}

func (m *metrics) observe(op string, took time.Duration, err error) {
	m.seconds.WithLabelValues(op).Observe(took.Seconds())
	if err != nil && !errors.Is(err, ErrNotFound) {
		m.errors.WithLabelValues(op, class(err)).Inc()
	}
}

func (m *metrics) worked(kind, result string, took time.Duration) {
	m.workedJobs.WithLabelValues(kind, result).Inc()
	m.jobSeconds.WithLabelValues(kind).Observe(took.Seconds())
}

// class sorts an error into a closed list.
func class(err error) string {
	switch {
	case errors.Is(err, context.Canceled):
		return "canceled"
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	case isFull(err):
		return "full"
	case isGone(err):
		return "gone"
	}
	return "failed"
}

// health is whether the database works, as far as is known.
type health struct{ why atomic.Pointer[string] }

// set remembers the end of a look and reports whether it worked before.
func (h *health) set(err error) (was bool) {
	var why *string
	if err != nil {
		text := err.Error()
		why = &text
	}
	return h.why.Swap(why) == nil
}

func (h *health) get() (ok bool, why string) {
	if p := h.why.Load(); p != nil {
		return false, *p
	}
	return true, ""
}
