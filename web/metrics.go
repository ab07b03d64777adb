package web

import (
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// metrics count requests by path pattern and status: both come from closed
// lists.
type metrics struct {
	requests *prometheus.CounterVec
	seconds  *prometheus.HistogramVec
	panics   prometheus.Counter
}

func newMetrics() metrics {
	return metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "frontdesk_web_requests_total", Help: "HTTP requests answered, by path and status.",
		}, []string{"path", "code"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "frontdesk_web_request_seconds", Help: "Time an HTTP request took, by path.",
			Buckets: []float64{.001, .005, .025, .1, .5, 2.5, 10},
		}, []string{"path"}),
		panics: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "frontdesk_web_panics_total", Help: "HTTP handlers that panicked.",
		}),
	}
}

// Collectors are the server's metrics, to be registered.
func (s *Server) Collectors() []prometheus.Collector {
	return []prometheus.Collector{s.metrics.requests, s.metrics.seconds, s.metrics.panics}
}

// counted counts what passes the guard; strangers are not measured.
func (s *Server) counted(path string, next http.HandlerFunc) http.Handler {
	if path == "/{$}" {
		path = "/"
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		counting := &answer{ResponseWriter: w}
		began := time.Now()
		defer func() {
			if counting.code == 0 {
				counting.code = http.StatusInternalServerError // it panicked, see recovered
			}
			s.metrics.requests.WithLabelValues(path, strconv.Itoa(counting.code)).Inc()
			s.metrics.seconds.WithLabelValues(path).Observe(time.Since(began).Seconds())
		}()
		next(counting, r)
	})
}
