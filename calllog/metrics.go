package calllog

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"frontdesk/call"
	"frontdesk/store"
)

// metrics count what a Log does.
type metrics struct {
	steps   *prometheus.CounterVec
	ring    *prometheus.CounterVec
	files   *prometheus.CounterVec          // recordings whose time has come
	backlog atomic.Pointer[[]store.Backlog] // as last looked at
}

// The ends of a try at a step, and of what is told while a call rings.
const (
	resultDone    = "done"
	resultWaiting = "waiting" // it will be tried again
	resultFailed  = "failed"  // for good

	ringDone    = "done"
	ringFailed  = "failed"
	ringDropped = "dropped" // too late, or too many: left to the end of the call
)

func newMetrics() *metrics {
	m := &metrics{
		steps: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "frontdesk_calllog_steps_total", Help: "Tries at steps of logging calls, by how they ended.",
		}, []string{"step", "result"}),
		ring: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "frontdesk_calllog_ringing_total", Help: "What was told to the CRM while calls rang, by what became of it.",
		}, []string{"result"}),
		files: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "frontdesk_calllog_files_expired_total", Help: "Recordings that were due to leave the portal's drive, by what became of it.",
		}, []string{"result"}),
	}
	for _, r := range []string{resultDone, resultFailed} {
		m.files.WithLabelValues(r)
	}
	for _, step := range Steps() {
		for _, r := range []string{resultDone, resultWaiting, resultFailed} {
			m.steps.WithLabelValues(step, r)
		}
	}
	for _, r := range []string{ringDone, ringFailed, ringDropped} {
		m.ring.WithLabelValues(r)
	}
	return m
}

// expired counts a recording that was due.
func (m *metrics) expired(deleted bool) {
	result := resultFailed
	if deleted {
		result = resultDone
	}
	m.files.WithLabelValues(result).Inc()
}

// Collectors are the log's metrics.
func (l *Log) Collectors() []prometheus.Collector {
	out := []prometheus.Collector{
		l.metrics.steps, l.metrics.ring, l.metrics.files,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "frontdesk_calllog_records_pending", Help: "Records of calls that wait for the database.",
		}, func() float64 { return float64(l.ending.count()) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "frontdesk_calllog_records_lost_total", Help: "Records of calls that the database did not take for too long.",
		}, func() float64 { return float64(l.dropped.Load()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "frontdesk_calllog_oldest_seconds", Help: "Age of the step that has waited longest for the CRM; 0 where none waits.",
		}, l.oldest),
	}
	for _, step := range Steps() {
		for _, state := range []string{call.StepWaiting, call.StepFailed} {
			out = append(out, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
				Name: "frontdesk_calllog_backlog", Help: "Steps owed to the CRM by state, counted each 30 seconds; failed ones are not tried again.",
				ConstLabels: prometheus.Labels{"step": step, "state": state},
			}, func() float64 { return float64(l.owed(step, state)) }))
		}
	}
	return out
}

func (l *Log) owed(step, state string) (n int) {
	if b := l.metrics.backlog.Load(); b != nil {
		for _, x := range *b {
			if x.Step == step && x.State == state {
				n += x.Count
			}
		}
	}
	return n
}

func (l *Log) oldest() float64 {
	age := time.Duration(0)
	if b := l.metrics.backlog.Load(); b != nil {
		for _, x := range *b {
			if x.State == call.StepWaiting {
				age = max(age, l.now().Sub(x.Oldest))
			}
		}
	}
	return age.Seconds()
}
