package sip

import (
	"bytes"
	"strconv"
	"strings"
	"time"

	gosip "github.com/emiago/sipgo/sip"
)

// txKey tells server transactions apart (RFC 3261 section 17.2.3). The Call-ID
// is part of it: unrelated messages that share a branch stay unrelated.
type txKey struct {
	callID, branch, host string
	port                 int
	method               gosip.RequestMethod
}

// serverKey is the key of the transaction that req belongs to as method: an
// ACK and a CANCEL are looked up as INVITE.
func serverKey(req *gosip.Request, method gosip.RequestMethod) txKey {
	k := txKey{method: method}
	if id := req.CallID(); id != nil {
		k.callID = string(*id)
	}
	via := req.Via()
	if via == nil {
		return k
	}
	k.host, k.port = via.Host, via.Port
	k.branch = via.Params.GetOr("branch", "")
	if !strings.HasPrefix(k.branch, gosip.RFC3261BranchMagicCookie) { // RFC 2543
		k.branch += "|" + strconv.Itoa(int(sequence(req))) + "|" + tagOf(req.From())
	}
	return k
}

// mergeKey tells requests apart that came by several ways (section 8.2.2.2).
type mergeKey struct {
	callID, fromTag string
	cseq            uint32
	method          gosip.RequestMethod
}

func mergeKeyOf(req *gosip.Request) mergeKey {
	k := mergeKey{fromTag: tagOf(req.From()), cseq: sequence(req), method: req.Method}
	if id := req.CallID(); id != nil {
		k.callID = string(*id)
	}
	return k
}

func sequence(req *gosip.Request) uint32 {
	if h := req.CSeq(); h != nil {
		return h.SeqNo
	}
	return 0
}

type serverState uint8

const (
	proceeding serverState = iota
	completed              // a final answer is sent, for INVITE no 2xx
	confirmed              // and acknowledged
	accepted               // INVITE: a 2xx is sent (RFC 6026)
)

// serverTx is a server transaction (section 17.2). Final answers are kept as
// bytes and sent again by the wheel, without waking the call.
type serverTx struct {
	sh    *shard
	key   txKey
	merge mergeKey // zero within a dialog
	flow  flow
	head  responseHead

	state    serverState
	last     []byte // what a retransmitted request is answered with
	interval time.Duration
	retry    timer  // G
	life     timer  // H, I, J, L
	canceled func() // of an INVITE without a final answer
}

// responseHead is what the responses to one request have in common.
type responseHead struct {
	common []byte // Via, From, Call-ID, CSeq and our call id, with line ends
	to     string // the To line up to where a tag of ours goes
	tag    string // that tag; empty where the request had one
	call   string // our call id; may be empty
	routes []byte // Record-Route lines, for responses that make a dialog
}

// newResponseHead takes from req what its responses carry (section 8.2.6).
// tag is given to requests that have no To tag.
func newResponseHead(req *gosip.Request, tag, call string) responseHead {
	var common, routes bytes.Buffer
	common.Grow(512)
	h := responseHead{call: call}
	for _, header := range req.Headers() {
		switch v := header.(type) {
		case *gosip.ViaHeader, *gosip.FromHeader, *gosip.CallIDHeader, *gosip.CSeqHeader:
			v.StringWrite(&common)
			common.WriteString("\r\n")
		case *gosip.ToHeader:
			h.to = v.String()
			if tagOf(v) == "" {
				h.tag = tag
			}
		case *gosip.RecordRouteHeader:
			v.StringWrite(&routes)
			routes.WriteString("\r\n")
		}
	}
	if call != "" {
		writeHeader(&common, callHeader, call)
	}
	h.common, h.routes = common.Bytes(), routes.Bytes()
	return h
}

// response is one response before it is rendered.
type response struct {
	code        int
	reason      string
	contact     string // a dialog's responses carry it
	headers     []Header
	contentType string
	body        []byte
}

// render writes r. Only a 100 goes without our tag.
func (h *responseHead) render(r response, agent string) []byte {
	var b bytes.Buffer
	b.Grow(len(h.common) + len(h.to) + len(h.routes) + len(r.body) + 512)
	b.WriteString("SIP/2.0 ")
	b.WriteString(strconv.Itoa(r.code))
	b.WriteByte(' ')
	b.WriteString(clean(r.reason))
	b.WriteString("\r\n")
	b.Write(h.common)
	b.WriteString(h.to)
	if h.tag != "" && r.code > 100 {
		b.WriteString(";tag=")
		b.WriteString(h.tag)
	}
	b.WriteString("\r\n")
	if r.contact != "" {
		b.Write(h.routes)
		writeHeader(&b, "Contact", r.contact)
	}
	if agent != "" {
		writeHeader(&b, "Server", agent)
	}
	for _, x := range r.headers {
		writeHeader(&b, x.Name, x.Value)
	}
	writeBody(&b, r.contentType, r.body)
	return b.Bytes()
}

// newServerTx begins the transaction of m.
func (sh *shard) newServerTx(m *message, key txKey, tag, call string) *serverTx {
	tx := &serverTx{sh: sh, key: key, flow: m.flow, head: newResponseHead(m.req, tag, call)}
	sh.servers[key] = tx
	if tagOf(m.req.To()) == "" {
		tx.merge = mergeKeyOf(m.req)
		sh.merging[tx.merge] = tx
	}
	return tx
}

// respond sends r and moves the transaction on. After a final answer there is
// nothing more to send, and it reports false.
func (tx *serverTx) respond(r response) bool {
	if tx.state != proceeding {
		return false
	}
	tx.last = tx.head.render(r, tx.sh.stack.cfg.UserAgent)
	tx.send(tx.last)
	if r.code >= 200 { // what is kept for retransmissions is last alone
		tx.canceled, tx.head = nil, responseHead{tag: tx.head.tag, call: tx.head.call}
	}
	switch {
	case r.code < 200:
	case tx.key.method != gosip.INVITE:
		tx.state = completed
		tx.expire(timeout) // J
	case r.code < 300:
		tx.state = accepted
		tx.sh.after(tx.lifeTimer(), timeout) // L
	default:
		tx.state = completed
		tx.sh.after(tx.lifeTimer(), timeout) // H
		if !tx.flow.reliable() {
			tx.interval = t1
			tx.retry.fire = tx.resend
			tx.sh.after(&tx.retry, t1) // G
		}
	}
	return true
}

func (tx *serverTx) lifeTimer() *timer {
	tx.life.fire = tx.end
	return &tx.life
}

// expire ends tx after d, on a reliable transport at once.
func (tx *serverTx) expire(d time.Duration) {
	if tx.flow.reliable() {
		tx.end()
		return
	}
	tx.sh.after(tx.lifeTimer(), d)
}

// resend is timer G.
func (tx *serverTx) resend() {
	tx.sh.stack.stats.retransmitted.Add(1)
	tx.send(tx.last)
	tx.interval = min(2*tx.interval, t2)
	tx.sh.wheel.again(&tx.retry, tx.interval)
}

// replay answers a retransmitted request with what it was answered with.
func (tx *serverTx) replay() {
	if tx.state != confirmed && tx.last != nil {
		tx.send(tx.last)
	}
}

// acknowledge takes the ACK to a final answer that was no 2xx.
func (tx *serverTx) acknowledge() {
	if tx.state != completed {
		return
	}
	tx.state, tx.last = confirmed, nil
	tx.sh.wheel.stop(&tx.retry)
	tx.expire(t4) // I
}

// answered stops repeating a 2xx to retransmitted INVITEs: its ACK has come.
func (tx *serverTx) answered() { tx.last = nil }

func (tx *serverTx) send(b []byte) {
	if err := tx.flow.send(b); err != nil {
		tx.sh.unsent(tx.flow, err)
	}
}

// end forgets tx.
func (tx *serverTx) end() {
	tx.sh.wheel.stop(&tx.retry)
	tx.sh.wheel.stop(&tx.life)
	delete(tx.sh.servers, tx.key)
	if tx.merge.callID != "" {
		delete(tx.sh.merging, tx.merge)
	}
}

// unsent tells of a message that did not leave. Its transaction goes on: over
// UDP the next retransmission may pass, and its last timer ends it in any case.
func (sh *shard) unsent(f flow, err error) {
	sh.stack.log.Debug("message not sent", "network", f.network(), "to", f.remote(), "error", err)
}
