package staff

import "github.com/prometheus/client_golang/prometheus"

// results are the ends of a temporary manager's job, and of a mail.
const (
	resultCleared = "cleared" // both fields were emptied and read back
	resultChanged = "changed" // somebody changed or prolonged the limit before
	resultGone    = "gone"    // the entity was deleted
	resultFailed  = "failed"  // it will be tried again

	mailSent      = "sent"
	mailFailed    = "failed"     // it will be tried again
	mailRefused   = "refused"    // for good, after a day
	mailNoAddress = "no_address" // the employee has none, or has left
	mailOff       = "off"        // no mail server is configured
)

// expirerMetrics count what an Expirer does.
type expirerMetrics struct {
	deputies, mails *prometheus.CounterVec
	searches        *prometheus.CounterVec
}

func newExpirerMetrics() *expirerMetrics {
	m := &expirerMetrics{
		deputies: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "frontdesk_staff_deputies_total", Help: "Temporary managers whose time had passed, by what was done.",
		}, []string{"result"}),
		mails: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "frontdesk_staff_mails_total", Help: "Mails about temporary managers whose time had passed, by what became of them.",
		}, []string{"result"}),
		searches: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "frontdesk_staff_searches_total", Help: "Searches for temporary managers whose time had passed, by result.",
		}, []string{"result"}),
	}
	for _, r := range []string{resultCleared, resultChanged, resultGone, resultFailed} {
		m.deputies.WithLabelValues(r)
	}
	for _, r := range []string{mailSent, mailFailed, mailRefused, mailNoAddress, mailOff} {
		m.mails.WithLabelValues(r)
	}
	for _, r := range []string{"ok", "failed"} {
		m.searches.WithLabelValues(r)
	}
	return m
}

// Collectors are the expirer's metrics.
func (x *Expirer) Collectors() []prometheus.Collector {
	return []prometheus.Collector{x.metrics.deputies, x.metrics.mails, x.metrics.searches}
}
