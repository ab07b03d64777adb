package crm

import (
	"context"
	"errors"
	"net"
	"strings"
	"time"

	"frontdesk/call"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the counters of a client.
type metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	lookups  *prometheus.CounterVec

	fallbacks *prometheus.CounterVec
}

func newMetrics() *metrics {
	return &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "frontdesk_crm_requests_total",
			Help: "Requests to the portal by REST method and class of the answer.",
		}, []string{"method", "class"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "frontdesk_crm_request_seconds",
			Help:    "Time until the portal's answer was read.",
			Buckets: []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"method"}),
		lookups: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "frontdesk_crm_lookups_total",
			Help: "Look-ups of callers by result: live, or why there was no answer.",
		}, []string{"result"}),
		fallbacks: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "frontdesk_crm_author_fallbacks_total",
			Help: "Writes by the portal's credential because an employee's own could not: revoked, scope, rights, or resting after a refusal.",
		}, []string{"reason"}),
	}
}

// Collectors are the client's metrics.
func (c *Client) Collectors() []prometheus.Collector {
	m := c.metrics
	out := []prometheus.Collector{
		m.requests, m.seconds, m.lookups, m.fallbacks,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "frontdesk_crm_refused_authors",
			Help: "Employees whose own credential the portal refuses.",
		}, func() float64 { return float64(c.voices.refusedAuthors()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "frontdesk_crm_breaker_open",
			Help: "1 while the portal is skipped because it does not answer.",
		}, func() float64 {
			if open, _ := c.breaker.state(); open {
				return 1
			}
			return 0
		}),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "frontdesk_crm_employees",
			Help: "Employees in memory.",
		}, func() float64 { return float64(len(c.Employees())) }),
	}
	for lane, name := range map[Lane]string{
		LaneLookup: "lookup", LaneCard: "card", LaneLog: "log", LaneUpload: "upload", LaneSync: "sync",
	} {
		out = append(out, prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name:        "frontdesk_crm_bucket_wait_seconds_total",
			Help:        "Time that requests waited for the portal's rate limit, by urgency.",
			ConstLabels: prometheus.Labels{"lane": name},
		}, func() float64 { return c.bucket.waited(lane).Seconds() }))
	}
	return out
}

func (m *metrics) lookup(missing call.Missing) {
	result := string(missing)
	if missing == "" {
		result = string(call.SourceLive)
	}
	m.lookups.WithLabelValues(result).Inc()
}

func (m *metrics) request(method string, err error, took time.Duration) {
	label := methodLabel(method)
	m.requests.WithLabelValues(label, class(err)).Inc()
	m.seconds.WithLabelValues(label).Observe(took.Seconds())
}

// methodLabel keeps the label's values few: methods are the callers' choice.
func methodLabel(method string) string {
	switch method = strings.ToLower(method); method {
	case "batch", "user.get", uploading:
		return method
	}
	for _, family := range []string{"telephony.", "voximplant.", "crm.", "tasks.", "department.", "disk.", "user."} {
		if strings.HasPrefix(method, family) {
			return strings.TrimSuffix(family, ".")
		}
	}
	return "other"
}

// class sorts the end of a request into a closed list.
func class(err error) string {
	var e *Error
	var timeout net.Error
	switch {
	case err == nil:
		return "ok"
	case errors.As(err, &e) && e.Code == CodeQueryLimit:
		return "query_limit"
	case errors.As(err, &e) && e.Code == CodeOperationTime:
		return "operation_time"
	case errors.As(err, &e) && (e.Status == 401 || e.Status == 403):
		return "denied"
	case errors.As(err, &e) && e.Status >= 500:
		return "server_error"
	case errors.As(err, &e):
		return "refused"
	case errors.Is(err, context.Canceled):
		return "canceled"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	case errors.Is(err, errNotJSON), errors.Is(err, errShape), errors.Is(err, errTooLarge):
		return "malformed"
	}
	return "network"
}
