package pbx

import (
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// cdrMetrics count the lines of call detail records.
type cdrMetrics struct {
	lines, partial, bad, refused, connected atomic.Int64

	last atomic.Int64 // when the last line came, in Unix milliseconds; 0 for never
}

// Collectors are the metrics of the CDR socket.
func (m *cdrMetrics) Collectors() []prometheus.Collector {
	count := func(name, help string, n *atomic.Int64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, func() float64 { return float64(n.Load()) })
	}
	return []prometheus.Collector{
		count("frontdesk_pbx_cdr_lines_total", "Call detail records read.", &m.lines),
		count("frontdesk_pbx_cdr_partial_lines_total", "Call detail records with fewer fields than set, or a time that is none.", &m.partial),
		count("frontdesk_pbx_cdr_bad_lines_total", "Lines of the CDR socket that are no call detail record.", &m.bad),
		count("frontdesk_pbx_cdr_refused_total", "Connections to the CDR socket that were refused.", &m.refused),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "frontdesk_pbx_cdr_connected", Help: "Connections that call detail records come by."},
			func() float64 { return float64(m.connected.Load()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "frontdesk_pbx_cdr_last_line_seconds", Help: "Age of the last call detail record; -1 before the first."},
			m.age),
	}
}

func (m *cdrMetrics) age() float64 {
	at := m.last.Load()
	if at == 0 {
		return -1
	}
	return time.Since(time.UnixMilli(at)).Seconds()
}

// joinerMetrics count what became of calls.
type joinerMetrics struct {
	accounts, joined, alone, settled, late atomic.Int64
}

// Collectors are the metrics of the joiner.
func (m *joinerMetrics) Collectors() []prometheus.Collector {
	count := func(name, help string, n *atomic.Int64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, func() float64 { return float64(n.Load()) })
	}
	return []prometheus.Collector{
		count("frontdesk_pbx_accounts_total", "Accounts of calls that the PBX gave, without those in the house.", &m.accounts),
		count("frontdesk_pbx_joined_total", "Calls of the PBX that were found to be calls of frontdesk.", &m.joined),
		count("frontdesk_pbx_alone_total", "Calls of the PBX that never passed frontdesk.", &m.alone),
		count("frontdesk_pbx_settled_total", "Records settled, those that were settled again included.", &m.settled),
		count("frontdesk_pbx_late_total", "Accounts of calls too long over to be placed.", &m.late),
	}
}
