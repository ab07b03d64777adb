package crm

import (
	"math"
	"sync/atomic"
	"time"

	"frontdesk/call"

	"github.com/prometheus/client_golang/prometheus"
)

// What became of a question to the mirror.
const (
	answerKnown = iota
	answerUnknown
	answerStale
	answerIncomplete
	answerKinds
)

// mirrorMetrics are the counters of a mirror, and until when it rests.
type mirrorMetrics struct {
	answers   [answerKinds]atomic.Int64
	changes   atomic.Int64
	deletions atomic.Int64
	failures  atomic.Int64
	progress  atomic.Pointer[Progress]
	feeds     atomic.Bool // this node feeds the mirror
	events    [3]atomic.Int64
	resting
}

// eventIndex sorts results into taken, ignored and refused.
func eventIndex(r eventResult) int {
	switch r {
	case eventTaken:
		return 0
	case eventIgnored:
		return 1
	}
	return 2
}

func (m *mirrorMetrics) event(r eventResult) { m.events[eventIndex(r)].Add(1) }

// Collectors are the mirror's metrics.
func (m *Mirror) Collectors() []prometheus.Collector {
	counter := func(name, help string, labels prometheus.Labels, n *atomic.Int64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help, ConstLabels: labels},
			func() float64 { return float64(n.Load()) })
	}
	gauge := func(name, help string, labels prometheus.Labels, f func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: labels}, f)
	}
	x := &m.metrics
	out := []prometheus.Collector{
		gauge("frontdesk_crm_mirror_numbers", "Numbers in the mirror.", nil,
			func() float64 { return float64(m.index.carried.Load()) }),
		gauge("frontdesk_crm_mirror_age_seconds", "Age of the mirror's copy; NaN before the first export is complete.", nil, m.age),
		gauge("frontdesk_crm_mirror_export_ratio", "How far the export is within the ids of its kind; 1 when there is none.", nil, m.exported),
		gauge("frontdesk_crm_mirror_feeds", "1 while this node feeds the mirror, for all that share its store.", nil, x.feeding),
		counter("frontdesk_crm_mirror_changes_total", "Cards taken in that were new or changed.", nil, &x.changes),
		counter("frontdesk_crm_mirror_deletions_total", "Entities dropped because the portal has them no more.", nil, &x.deletions),
		counter("frontdesk_crm_mirror_failures_total", "Exports, deltas and other reads that failed; each is repeated.", nil, &x.failures),
	}
	for _, k := range kindOrder {
		out = append(out, gauge("frontdesk_crm_mirror_entities", "Entities in the mirror.", prometheus.Labels{"kind": string(k)},
			func() float64 { return float64(m.index.count(k)) }))
	}
	for i, result := range []string{"known", "unknown", "stale", "incomplete"} {
		out = append(out, counter("frontdesk_crm_mirror_lookups_total", "Questions to the mirror by what it could say.",
			prometheus.Labels{"result": result}, &x.answers[i]))
	}
	for i, result := range []string{"taken", "ignored", "refused"} {
		out = append(out, counter("frontdesk_crm_events_total", "Events from the portal by what became of them.",
			prometheus.Labels{"result": result}, &x.events[i]))
	}
	return out
}

func (m *mirrorMetrics) feeding() float64 {
	if m.feeds.Load() {
		return 1
	}
	return 0
}

func (m *Mirror) age() float64 {
	at := m.known.Load()
	if !at.Complete {
		return math.NaN()
	}
	return max(time.Since(at.Heard), 0).Seconds()
}

// exported is how far the export is within its kind.
func (m *Mirror) exported() float64 {
	at, p := m.known.Load(), m.metrics.progress.Load()
	switch {
	case at.Kind == "" && at.Complete:
		return 1
	case p == nil || p.Last == 0:
		return 0
	}
	return float64(p.At) / float64(p.Last)
}

// MirrorSize tells what a mirror holds.
type MirrorSize struct {
	Contacts, Companies, Leads int
	Numbers                    int
}

// Size counts what the mirror holds.
func (m *Mirror) Size() MirrorSize {
	return MirrorSize{
		Contacts: m.index.count(call.KindContact), Companies: m.index.count(call.KindCompany),
		Leads: m.index.count(call.KindLead), Numbers: int(m.index.carried.Load()),
	}
}
