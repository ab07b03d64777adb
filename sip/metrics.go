package sip

import (
	"strconv"
	"sync/atomic"

	gosip "github.com/emiago/sipgo/sip"
	"github.com/prometheus/client_golang/prometheus"
)

// dropReason says why a message got no answer. The list is closed.
type dropReason int

const (
	dropUnlisted   dropReason = iota // its source is no peer
	dropTruncated                    // larger than a datagram can be
	dropUnparsable                   // no SIP message
	dropRefused                      // malformed, and may not be answered (ACK, response)
	dropUnsent                       // the answer could not be sent
	dropReadError                    // the socket failed
	dropConnection                   // a connection was refused or broken off
	dropReasons                      // how many there are
)

// String is the reason as metrics and logs name it.
func (d dropReason) String() string {
	return [dropReasons]string{"unlisted", "truncated", "unparsable", "refused", "unsent", "read_error", "connection"}[d]
}

// counted are the methods that are counted by name; the last stands for all
// others.
var counted = [...]gosip.RequestMethod{
	gosip.INVITE, gosip.ACK, gosip.BYE, gosip.CANCEL, gosip.OPTIONS, gosip.REGISTER, gosip.INFO, gosip.REFER,
	gosip.NOTIFY, gosip.UPDATE, gosip.PRACK, gosip.MESSAGE, gosip.SUBSCRIBE, gosip.PUBLISH, "other",
}

// wireCounters are what the wire counts, without locks.
type wireCounters struct {
	datagrams  atomic.Uint64
	keepalives atomic.Uint64
	stateless  atomic.Uint64
	panics     atomic.Uint64
	dropped    [dropReasons]atomic.Uint64
	requests   [len(counted)]atomic.Uint64
	responses  [7]atomic.Uint64 // by class; 0 is any other
}

func (c *wireCounters) request(m gosip.RequestMethod) {
	last := len(counted) - 1
	for i, name := range counted[:last] {
		if name == m {
			c.requests[i].Add(1)
			return
		}
	}
	c.requests[last].Add(1)
}

func (c *wireCounters) response(code int) {
	class := code / 100
	if class < 1 || class > 6 {
		class = 0
	}
	c.responses[class].Add(1)
}

// collectors are the metrics of the wire.
func (w *wire) collectors() []prometheus.Collector {
	c := &w.count
	out := []prometheus.Collector{
		counter("datagrams_total", "UDP datagrams received.", nil, &c.datagrams),
		counter("keepalives_total", "Keep-alives received: CRLF and empty datagrams.", nil, &c.keepalives),
		counter("stateless_answers_total", "Requests answered without a transaction.", nil, &c.stateless),
		counter("message_panics_total", "Messages whose handling ended by a panic.", nil, &c.panics),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace: "frontdesk", Subsystem: "sip", Name: "connections", Help: "TCP and TLS connections open.",
		}, func() float64 { return float64(w.streams.len()) }),
	}
	for i := range c.dropped {
		out = append(out, counter("dropped_total", "Messages without an answer, by reason.",
			prometheus.Labels{"reason": dropReason(i).String()}, &c.dropped[i]))
	}
	for i, m := range counted {
		out = append(out, counter("requests_total", "Requests received from peers, by method.",
			prometheus.Labels{"method": string(m)}, &c.requests[i]))
	}
	for i := 1; i < len(c.responses); i++ {
		out = append(out, counter("responses_total", "Responses received from peers, by class.",
			prometheus.Labels{"class": strconv.Itoa(i) + "xx"}, &c.responses[i]))
	}
	return out
}

func counter(name, help string, labels prometheus.Labels, v *atomic.Uint64) prometheus.Collector {
	return prometheus.NewCounterFunc(prometheus.CounterOpts{
		Namespace: "frontdesk", Subsystem: "sip", Name: name, Help: help, ConstLabels: labels,
	}, func() float64 { return float64(v.Load()) })
}
