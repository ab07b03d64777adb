package recording

import "github.com/prometheus/client_golang/prometheus"

type metrics struct {
	tapes, fetched, failures prometheus.Counter
	encoding                 prometheus.Histogram
}

func newMetrics() *metrics {
	counter := func(name, help string) prometheus.Counter {
		return prometheus.NewCounter(prometheus.CounterOpts{Name: "frontdesk_recording_" + name, Help: help})
	}
	return &metrics{
		tapes:    counter("tapes_total", "Talks recorded by frontdesk."),
		fetched:  counter("fetched_total", "Recordings taken from the PBX."),
		failures: counter("failures_total", "Tries to fetch, cut or encode a recording that failed."),
		encoding: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "frontdesk_recording_encoding_seconds", Help: "Time to make an mp3.",
			Buckets: []float64{.05, .2, 1, 5, 20, 60, 300},
		}),
	}
}

// Collectors are the keeper's metrics.
func (k *Keeper) Collectors() []prometheus.Collector {
	return []prometheus.Collector{
		k.metrics.tapes, k.metrics.fetched, k.metrics.failures, k.metrics.encoding,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "frontdesk_recording_waiting", Help: "Recordings that wait to be made ready."},
			func() float64 { return float64(len(k.tasks)) }),
	}
}
