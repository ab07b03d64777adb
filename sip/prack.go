package sip

import (
	"context"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"

	gosip "github.com/emiago/sipgo/sip"
)

// reliable sends provisionals until they are acknowledged (RFC 3262): one at a
// time, the others wait.
type reliable struct {
	required bool
	seq      uint32 // RSeq of the last one sent; 0: none yet
	pending  []byte // it, while unacknowledged
	answers  bool   // it holds a session description
	queue    []response
	next     func(response) // sends one of them
	idle     chan struct{}  // closed once nothing is pending; nil when nobody waits

	interval     time.Duration
	retry, limit timer
}

// sendReliably sends r, or has it wait for the one before.
func (in *Incoming) sendReliably(r response) {
	rel := &in.rel
	if rel.pending != nil {
		rel.queue = append(rel.queue, r)
		return
	}
	if rel.seq == 0 {
		rel.seq = rand.Uint32N(1<<30) + 1
	} else {
		rel.seq++
	}
	r.headers = append(r.headers, Header{"Require", "100rel"}, Header{"RSeq", strconv.FormatUint(uint64(rel.seq), 10)})
	in.tx.respond(r)
	rel.pending, rel.answers, rel.interval = in.tx.last, len(r.body) > 0, t1
	rel.retry.fire, rel.limit.fire = in.resendReliably, in.unacknowledged
	in.sh.after(&rel.retry, t1)
	in.sh.after(&rel.limit, timeout)
}

func (in *Incoming) resendReliably() {
	in.sh.stack.stats.retransmitted.Add(1)
	in.tx.send(in.rel.pending)
	in.rel.interval *= 2
	in.sh.wheel.again(&in.rel.retry, in.rel.interval)
}

// unacknowledged refuses a call whose provisional was never acknowledged
// (section 3).
func (in *Incoming) unacknowledged() {
	_ = in.refuse(response{code: 504, reason: "Server Time-out"}, ErrNoACK) // nothing to refuse where it fails
}

// acknowledged takes the PRACK of the pending provisional.
func (rel *reliable) acknowledged(sh *shard) {
	sh.wheel.stop(&rel.retry)
	sh.wheel.stop(&rel.limit)
	rel.pending = nil
	if rel.idle != nil {
		close(rel.idle)
		rel.idle = nil
	}
}

// stop gives up on provisionals: the final answer goes out.
func (rel *reliable) stop(sh *shard) {
	rel.queue = nil
	rel.acknowledged(sh)
}

// settled waits until no description of ours is unacknowledged: a 2xx may not
// overtake it (section 3).
func (in *Incoming) settled(ctx context.Context) error {
	in.sh.mu.Lock()
	if in.rel.pending == nil || !in.rel.answers {
		in.sh.mu.Unlock()
		return nil
	}
	if in.rel.idle == nil {
		in.rel.idle = make(chan struct{})
	}
	idle := in.rel.idle
	in.sh.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// prack takes a PRACK. Its RAck names the provisional and the INVITE.
func (l *Leg) prack(tx *serverTx, m *message) {
	rel := l.reliable
	fields := strings.Fields(value(m.req.Headers(), "RAck"))
	if rel == nil || rel.pending == nil || len(fields) != 3 || fields[0] != strconv.FormatUint(uint64(rel.seq), 10) {
		tx.respond(response{code: 481, reason: "Call/Transaction Does Not Exist"})
		return
	}
	tx.respond(response{code: 200, reason: "OK"})
	rel.acknowledged(l.sh)
	if len(rel.queue) > 0 {
		next := rel.queue[0]
		rel.queue = rel.queue[1:]
		rel.next(next)
	}
}

// acknowledge sends the PRACK of a reliable provisional of the other side
// (section 4). It reports whether the provisional is new and in order.
func (o *Outgoing) acknowledge(res *gosip.Response) bool {
	seq, err := strconv.ParseUint(value(res.Headers(), "RSeq"), 10, 32)
	if err != nil || !hasOption(strings.Join(values(res.Headers(), "Require"), ","), "100rel") {
		return true // an ordinary one
	}
	if o.rseq != 0 && uint32(seq) != o.rseq+1 {
		return false // sent again, or one before it is missing
	}
	o.rseq = uint32(seq)
	d := o.draft(gosip.PRACK)
	d.headers = []Header{{"RAck", strconv.FormatUint(seq, 10) + " " + strconv.FormatUint(uint64(o.inviteSeq), 10) + " INVITE"}}
	o.sh.newClientTx(d, o.way(d), newBranch(), func(*message) {})
	return true
}
