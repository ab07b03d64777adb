package pbx

import (
	"context"
	"errors"
	"net"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics are the counters of a client.
type metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	spoilt   atomic.Int64
}

func newMetrics() *metrics {
	return &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "frontdesk_pbx_requests_total",
			Help: "Requests to 3CX's API by what was asked and class of the answer.",
		}, []string{"request", "class"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "frontdesk_pbx_request_seconds",
			Help:    "Time until 3CX's answer was read.",
			Buckets: []float64{.01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10},
		}, []string{"request"}),
	}
}

// Collectors are the client's metrics.
func (c *Client) Collectors() []prometheus.Collector {
	m := c.metrics
	return []prometheus.Collector{
		m.requests, m.seconds,
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "frontdesk_pbx_tokens_refused_total",
			Help: "Tokens that 3CX took no more before their time: another program uses the same API client, or 3CX was restarted.",
		}, func() float64 { return float64(m.spoilt.Load()) }),
	}
}

func (m *metrics) request(name string, err error, took time.Duration) {
	m.requests.WithLabelValues(name, class(err)).Inc()
	m.seconds.WithLabelValues(name).Observe(took.Seconds())
}

// class sorts the end of a request into a closed list.
func class(err error) string {
	var timeout net.Error
	var e *Error
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, ErrUnauthorized), errors.Is(err, ErrForbidden):
		return "denied"
	case errors.Is(err, ErrNotFound):
		return "missing"
	case errors.Is(err, ErrBusy):
		return "server_error"
	case errors.As(err, &e):
		return "refused"
	case errors.Is(err, context.Canceled):
		return "canceled"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	case errors.Is(err, errShape), errors.Is(err, errTooLarge), errors.Is(err, errNoProgress):
		return "malformed"
	}
	return "network"
}
