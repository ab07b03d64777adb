package sip

import "github.com/prometheus/client_golang/prometheus"

// Collectors are the metrics of the stack, to be registered once.
func (s *Stack) Collectors() []prometheus.Collector {
	gauge := func(name, help string, read func(*shard) int) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: "frontdesk", Subsystem: "sip", Name: name, Help: help,
		}, func() float64 { return float64(s.sum(read)) })
	}
	return append(s.wire.collectors(),
		counter("panics_total", "Calls and messages that ended by a panic.", nil, &s.stats.panics),
		counter("calls_refused_total", "Calls refused over the limit of calls, or while draining.", nil, &s.stats.refused),
		counter("retransmissions_total", "Messages that we sent again.", nil, &s.stats.retransmitted),
		gauge("server_transactions", "Server transactions held.", func(sh *shard) int { return len(sh.servers) }),
		gauge("client_transactions", "Client transactions held.", func(sh *shard) int { return len(sh.clients) }),
		gauge("dialogs", "Dialogs held, early ones too.", func(sh *shard) int { return len(sh.legs) }),
	)
}

// sum adds up what read finds in each shard.
func (s *Stack) sum(read func(*shard) int) int {
	total := 0
	for _, sh := range s.shards {
		sh.mu.Lock()
		total += read(sh)
		sh.mu.Unlock()
	}
	return total
}
