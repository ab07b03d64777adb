package sip

import (
	"context"
	"time"

	gosip "github.com/emiago/sipgo/sip"
)

// clientKey tells client transactions apart (RFC 3261 section 17.1.3); the
// branch is ours and unique.
type clientKey struct {
	branch string
	method gosip.RequestMethod
}

func clientKeyOf(res *gosip.Response) clientKey {
	var k clientKey
	if via := res.Via(); via != nil {
		k.branch = via.Params.GetOr("branch", "")
	}
	if cseq := res.CSeq(); cseq != nil {
		k.method = cseq.MethodName
	}
	return k
}

type clientState uint8

const (
	calling    clientState = iota // nothing heard
	ringing                       // a provisional came
	answeredTx                    // INVITE: a 2xx came (RFC 6026)
	finished                      // any other final answer came
	gone
)

// clientTx is a client transaction (section 17.1). deliver gets, under the
// shard's lock, every answer that is no retransmission, and nil where no final
// answer came in time or the request could not be sent. Of an INVITE it gets
// every 2xx, repeated and forked ones too.
type clientTx struct {
	sh      *shard
	key     clientKey
	draft   *draft
	flow    flow
	deliver func(*message)

	state    clientState
	canceled bool
	request  []byte // what is sent again; nil once it need not be
	ack      []byte // of an INVITE's final answer that was no 2xx
	interval time.Duration
	retry    timer // A, E
	life     timer // B, F; then D, K, M
}

// newClientTx registers and sends d over f. deliver is not called before it
// returns.
func (sh *shard) newClientTx(d *draft, f flow, branch string, deliver func(*message)) *clientTx {
	tx := &clientTx{sh: sh, key: clientKey{branch, d.method}, draft: d, flow: f, deliver: deliver, interval: t1}
	tx.retry.fire, tx.life.fire = tx.resend, tx.expired
	tx.request = d.render(sh.stack, f, branch)
	sh.clients[tx.key] = tx
	if !f.reliable() {
		sh.after(&tx.retry, t1)
	}
	sh.after(&tx.life, timeout)
	if err := f.send(tx.request); err != nil {
		sh.unsent(f, err)
		if f.reliable() {
			go tx.reconnect(f, tx.request)
		}
	}
	return tx
}

func (tx *clientTx) invite() bool { return tx.key.method == gosip.INVITE }

// reconnect sends the request over a new connection, to where it says that it
// goes if that is a peer: the one it was meant for has gone.
func (tx *clientTx) reconnect(old flow, request []byte) {
	ctx, cancel := context.WithTimeout(context.Background(), t2)
	defer cancel()
	to := old.remote()
	if addr, ok := literal(tx.draft.hop()); ok && tx.sh.stack.peerOf(addr) != nil {
		to = addr
	}
	f, err := tx.sh.stack.flowTo(ctx, old.network(), to)
	if err == nil {
		err = f.send(request)
	}
	tx.sh.mu.Lock()
	defer tx.sh.mu.Unlock()
	if err != nil {
		tx.sh.unsent(old, err)
		tx.fail()
		return
	}
	tx.flow = f
}

// resend is timer A or E.
func (tx *clientTx) resend() {
	tx.sh.stack.stats.retransmitted.Add(1)
	if err := tx.flow.send(tx.request); err != nil {
		tx.sh.unsent(tx.flow, err)
	}
	tx.interval *= 2
	if !tx.invite() {
		tx.interval = min(tx.interval, t2)
	}
	tx.sh.wheel.again(&tx.retry, tx.interval)
}

// expired is timer B or F while no final answer has come, and the end of the
// transaction after that.
func (tx *clientTx) expired() {
	if tx.state == calling || tx.state == ringing {
		tx.fail()
		return
	}
	tx.end()
}

// fail gives up on an answer.
func (tx *clientTx) fail() {
	if tx.state != calling && tx.state != ringing {
		return
	}
	tx.end()
	tx.deliver(nil)
}

// receive takes a response.
func (tx *clientTx) receive(m *message) {
	code := m.res.StatusCode
	switch {
	case tx.state == gone:
	case code < 200:
		tx.provisional(m)
	case !tx.invite():
		tx.final(m, t4) // K
	case code < 300:
		tx.success(m)
	case tx.state == answeredTx:
	case tx.state == finished:
		tx.sendACK()
	default:
		tx.buildACK(m)
		tx.sendACK()
		tx.final(m, timeout) // D
	}
}

func (tx *clientTx) provisional(m *message) {
	if tx.state != calling && tx.state != ringing {
		return
	}
	if tx.invite() {
		tx.sh.wheel.stop(&tx.retry)
		tx.sh.wheel.stop(&tx.life) // a callee may ring for longer; see timer C
		tx.request = nil
	} else {
		tx.interval = t2
	}
	tx.state = ringing
	tx.deliver(m)
}

// success takes a 2xx to INVITE. The transaction stays to see it repeated.
func (tx *clientTx) success(m *message) {
	if tx.state == finished {
		return
	}
	if tx.state != answeredTx {
		tx.state, tx.request = answeredTx, nil
		tx.sh.wheel.stop(&tx.retry)
		tx.sh.after(&tx.life, timeout) // M
	}
	tx.deliver(m)
}

func (tx *clientTx) final(m *message, linger time.Duration) {
	if tx.state == finished {
		return
	}
	tx.state, tx.request = finished, nil
	tx.sh.wheel.stop(&tx.retry)
	if tx.flow.reliable() {
		tx.end()
	} else {
		tx.sh.after(&tx.life, linger)
	}
	tx.deliver(m)
}

// buildACK makes the ACK that is part of the transaction (section 17.1.1.3).
func (tx *clientTx) buildACK(m *message) {
	to := tx.draft.to
	if h := m.res.To(); h != nil {
		to = h.Value()
	}
	tx.ack = tx.draft.followUp(gosip.ACK, to).render(tx.sh.stack, tx.flow, tx.key.branch)
}

func (tx *clientTx) sendACK() {
	if err := tx.flow.send(tx.ack); err != nil {
		tx.sh.unsent(tx.flow, err)
	}
}

// cancel sends the CANCEL of an INVITE that rings, and bounds how long its
// final answer may take (section 9.1).
func (tx *clientTx) cancel(reason string) {
	tx.canceled = true
	d := tx.draft.followUp(gosip.CANCEL, tx.draft.to)
	d.headers = reasonHeader(reason)
	tx.sh.newClientTx(d, tx.flow, tx.key.branch, func(*message) {})
	tx.sh.after(&tx.life, timeout)
}

// end forgets tx.
func (tx *clientTx) end() {
	tx.sh.wheel.stop(&tx.retry)
	tx.sh.wheel.stop(&tx.life)
	tx.state = gone
	delete(tx.sh.clients, tx.key)
}
