package crm

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Share divides the portal's limit among the nodes that share a store: the
// portal counts all of them together where they have one address. Each node
// writes down in turn that it lives, and takes its part of rate and burst. The
// bucket stays in memory, so that no request ever waits for the store; a node
// that comes or goes is counted after a few beats.
type Share struct {
	client *Client
	state  StateStore
	log    *slog.Logger
	node   string
	seen   map[string]sign // by node
}

// sign is a node's last sign of life, as this node saw it: clocks of others are
// not believed.
type sign struct {
	beat int64
	at   time.Time
}

const (
	shareKey = "crm/nodes"
	// shareBeat is how often a node says that it lives.
	shareBeat = 5 * time.Second
	// shareLost is after which silence a node is not counted any more.
	shareLost = 6 * shareBeat
	// shareTries bounds the tries of one beat, when many nodes write at once.
	shareTries = 20
	// sharePatience bounds a beat.
	sharePatience = 3 * time.Second
)

// NewShare makes c one of the nodes that share state.
func NewShare(c *Client, state StateStore) *Share {
	return &Share{client: c, state: state, log: c.log, node: rand.Text(), seen: map[string]sign{}}
}

// Run keeps the share right until ctx ends, and then leaves the others theirs.
// While the store does not answer, the last share stays.
func (s *Share) Run(ctx context.Context) error {
	for failing := false; ; {
		nodes, err := s.beat(ctx, true)
		switch {
		case err == nil:
			if before := s.client.bucket.divide(nodes); before != nodes {
				s.log.InfoContext(ctx, "the portal's limit is shared", "nodes", nodes)
			}
		case !failing && ctx.Err() == nil:
			s.log.WarnContext(ctx, "it is not known how many nodes share the portal's limit", "error", err)
		}
		failing = err != nil
		if sleep(ctx, shareBeat) != nil {
			break
		}
	}
	if _, err := s.beat(context.WithoutCancel(ctx), false); err != nil {
		s.log.WarnContext(ctx, "the other nodes learn late that this one stopped", "error", err)
	}
	return nil
}

// beat notes that this node lives, or that it does not any more, and counts the
// nodes that live.
func (s *Share) beat(ctx context.Context, alive bool) (nodes int, err error) {
	ctx, cancel := context.WithTimeout(ctx, sharePatience)
	defer cancel()
	for range shareTries {
		beats := map[string]int64{}
		old, err := s.state.Get(ctx, shareKey)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			old = nil
		case err != nil:
			return 0, err
		case json.Unmarshal(old, &beats) != nil:
			clear(beats) // nothing is lost: the others write themselves again
		}
		s.count(beats, time.Now())
		delete(beats, s.node)
		if alive {
			beats[s.node] = s.seen[s.node].beat + 1
		}
		after, err := json.Marshal(beats)
		if err != nil {
			return 0, err
		}
		if ok, err := s.state.CompareAndPut(ctx, shareKey, old, after); err != nil || ok {
			s.seen[s.node] = sign{beats[s.node], time.Now()}
			return len(beats), err
		}
	}
	return 0, fmt.Errorf("writing down the nodes: %w", errClash)
}

var errClash = errors.New("others write all the time")

// count takes out of beats who has not given a sign of life for long.
func (s *Share) count(beats map[string]int64, now time.Time) {
	for node, beat := range beats {
		last, known := s.seen[node]
		if !known || last.beat != beat {
			s.seen[node] = sign{beat, now}
		} else if node != s.node && now.Sub(last.at) > shareLost {
			delete(beats, node)
		}
	}
	for node := range s.seen {
		if _, there := beats[node]; !there && node != s.node {
			delete(s.seen, node)
		}
	}
}

// Collectors are the share's metrics.
func (s *Share) Collectors() []prometheus.Collector {
	return []prometheus.Collector{prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "frontdesk_crm_nodes",
		Help: "Nodes that share the portal's limit, this one included.",
	}, func() float64 { return float64(s.client.bucket.shared()) })}
}
