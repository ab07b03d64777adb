package tts

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Where a prompt came from.
const (
	sourceMemory   = "memory"
	sourceRecorded = "recorded"
	sourceDisk     = "disk"
	sourceRendered = "rendered"
	sourceFallback = "fallback" // another engine than the preferred one, from wherever
	sourceNone     = "none"     // not to be had, or not in time
)

type metrics struct {
	prompts     *prometheus.CounterVec
	renders     *prometheus.CounterVec
	seconds     *prometheus.HistogramVec
	cacheErrors prometheus.Counter
}

func newMetrics() *metrics {
	return &metrics{
		prompts: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "frontdesk_tts_prompts_total",
			Help: "Prompts asked for, by where they came from.",
		}, []string{"source"}),
		renders: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "frontdesk_tts_requests_total",
			Help: "Texts given to a speech engine, by engine and result.",
		}, []string{"engine", "result"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "frontdesk_tts_render_seconds",
			Help:    "Time a speech engine took for one text.",
			Buckets: []float64{.01, .03, .1, .3, 1, 3, 10, 30},
		}, []string{"engine"}),
		cacheErrors: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "frontdesk_tts_cache_errors_total",
			Help: "Cached prompts that were damaged or could not be read or written.",
		}),
	}
}

func (m *metrics) prompt(source string) { m.prompts.WithLabelValues(source).Inc() }

func (m *metrics) rendered(engine string, took time.Duration, err error) {
	result := "ok"
	switch {
	case errors.Is(err, ErrText):
		result = "refused"
	case err != nil:
		result = "failed"
	}
	m.renders.WithLabelValues(engine, result).Inc()
	m.seconds.WithLabelValues(engine).Observe(took.Seconds())
}

// Collectors are the store's metrics.
func (s *Store[T]) Collectors() []prometheus.Collector {
	m := s.metrics
	return []prometheus.Collector{m.prompts, m.renders, m.seconds, m.cacheErrors}
}
