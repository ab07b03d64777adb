package sip

import gosip "github.com/emiago/sipgo/sip"

// cancel takes a CANCEL (RFC 3261 section 9.2). It is answered with the tag of
// the INVITE it is of, and has an effect while that has no final answer; the
// INVITE then gets its 487 at once, whatever the handler is doing.
func (sh *shard) cancel(m *message) {
	tx := sh.servers[serverKey(m.req, gosip.INVITE)]
	if tx == nil {
		sh.refuse(m, 481, "Call/Transaction Does Not Exist")
		return
	}
	head := newResponseHead(m.req, tx.head.tag, tx.head.call)
	if err := m.flow.send(head.render(response{code: 200, reason: "OK"}, sh.stack.cfg.UserAgent)); err != nil {
		sh.unsent(m.flow, err)
	}
	if tx.canceled != nil {
		tx.canceled()
	}
}
