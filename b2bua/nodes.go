package b2bua

import (
	"context"
	"log/slog"
	"slices"
	"sync"
	"time"

	"frontdesk/sip"
)

// Prober asks a SIP peer for its options.
type Prober interface {
	Options(ctx context.Context, target string) (*sip.Response, error)
}

// Nodes are the PBX's nodes in order of preference, with what is known of
// their health. A node is down once it kept silent, by an OPTIONS probe or in
// a call, and up again by the next probe it answers.
type Nodes struct {
	targets []string
	log     *slog.Logger

	mu   sync.RWMutex
	down map[string]bool
}

// Probe intervals: a node that is down is asked more often, so that calls
// return to it soon.
const (
	probeEvery     = 15 * time.Second
	probeDownEvery = 5 * time.Second
	probeTimeout   = 3 * time.Second
)

// NewNodes makes a list of nodes, all taken to be up. Targets are SIP URIs
// without a user, as "sip:192.0.2.1:5060".
func NewNodes(targets []string, log *slog.Logger) *Nodes {
	return &Nodes{targets: targets, log: log, down: make(map[string]bool)}
}

// Order is the nodes to try: those that are up in order of preference, then
// the others, since a probe may be wrong and a caller has nothing to lose.
func (n *Nodes) Order() []string {
	n.mu.RLock()
	defer n.mu.RUnlock()
	var up, down []string
	for _, t := range n.targets {
		if n.down[t] {
			down = append(down, t)
		} else {
			up = append(up, t)
		}
	}
	return append(up, down...)
}

// First is the node that a caller is redirected to.
func (n *Nodes) First() string {
	if order := n.Order(); len(order) > 0 {
		return order[0]
	}
	return ""
}

// Up tells how many nodes answer.
func (n *Nodes) Up() int {
	n.mu.RLock()
	defer n.mu.RUnlock()
	return len(n.targets) - len(n.down)
}

// Failed marks a node that kept silent or refused as broken in a call.
func (n *Nodes) Failed(target string, why string) { n.set(target, false, why) }

func (n *Nodes) set(target string, up bool, why string) {
	if !slices.Contains(n.targets, target) {
		return
	}
	n.mu.Lock()
	was := !n.down[target]
	if up {
		delete(n.down, target)
	} else {
		n.down[target] = true
	}
	n.mu.Unlock()
	if was != up {
		n.log.Warn("pbx node changed", "node", target, "up", up, "why", why)
	}
}

// Run probes the nodes until ctx ends.
func (n *Nodes) Run(ctx context.Context, p Prober) error {
	var wg sync.WaitGroup
	for _, t := range n.targets {
		wg.Go(func() { n.watch(ctx, p, t) })
	}
	wg.Wait()
	return context.Cause(ctx)
}

func (n *Nodes) watch(ctx context.Context, p Prober, target string) {
	for {
		wait := probeEvery
		if err := n.probe(ctx, p, target); err != nil && ctx.Err() == nil {
			wait = probeDownEvery
			n.set(target, false, err.Error())
		} else if err == nil {
			n.set(target, true, "answers OPTIONS")
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
			return
		}
	}
}

// probe counts every answer but 503 as life: a node that refuses OPTIONS is
// there all the same.
func (n *Nodes) probe(ctx context.Context, p Prober, target string) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	res, err := p.Options(ctx, target)
	if err != nil {
		return err
	}
	if res.Code == 503 || res.Code == 408 {
		return &statusError{res.Code}
	}
	return nil
}
