package phonebook

import (
	"errors"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Results of writes and syncs.
const (
	resultOK       = "ok"
	resultRefused  = "refused"  // the PBX does not take it
	resultFailed   = "failed"   // it will be tried again
	resultWithheld = "withheld" // done but for deletions that are not believed
)

// metrics count what a Sync does.
type metrics struct {
	writes, syncs      *prometheus.CounterVec
	contacts, complete prometheus.Gauge
}

func newMetrics() *metrics {
	m := &metrics{
		writes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "frontdesk_phonebook_writes_total", Help: "Contacts of the PBX's address book that were written, by operation and result.",
		}, []string{"operation", "result"}),
		syncs: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "frontdesk_phonebook_syncs_total", Help: "Full syncs of the address book, by result.",
		}, []string{"result"}),
		contacts: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "frontdesk_phonebook_contacts", Help: "Contacts that the CRM called for at the last full sync.",
		}),
		complete: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "frontdesk_phonebook_complete_timestamp_seconds", Help: "When this node last completed a full sync of the address book; 0: not yet.",
		}),
	}
	for _, op := range []operation{opCreate, opUpdate, opDelete} {
		for _, r := range []string{resultOK, resultRefused, resultFailed} {
			m.writes.WithLabelValues(string(op), r)
		}
	}
	for _, r := range []string{resultOK, resultWithheld, resultFailed} {
		m.syncs.WithLabelValues(r)
	}
	return m
}

func (m *metrics) wrote(op operation, err error) {
	result := resultOK
	switch {
	case errors.Is(err, ErrRefused):
		result = resultRefused
	case err != nil:
		result = resultFailed
	}
	m.writes.WithLabelValues(string(op), result).Inc()
}

func (m *metrics) synced(sum Summary, err error) {
	switch {
	case err == nil:
		m.syncs.WithLabelValues(resultOK).Inc()
		m.contacts.Set(float64(sum.Wanted))
		m.complete.Set(float64(time.Now().Unix()))
	case errors.Is(err, ErrMassDeletion):
		m.syncs.WithLabelValues(resultWithheld).Inc()
	default:
		m.syncs.WithLabelValues(resultFailed).Inc()
	}
}

// Collectors are the metrics of the address book.
func (s *Sync) Collectors() []prometheus.Collector {
	return []prometheus.Collector{s.metrics.writes, s.metrics.syncs, s.metrics.contacts, s.metrics.complete}
}
