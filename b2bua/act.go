package b2bua

import (
	"context"
	"errors"
	"net"
	"strings"
	"time"

	"frontdesk/call"
	"frontdesk/media/sdp"
	"frontdesk/sip"
)

// handOver takes the call where the decision says, by the first method of the
// trunk's list that works.
func (c *conversation) handOver(ctx context.Context) {
	failure := 503
	for _, t := range c.trunk.Transfer {
		code := c.transfer(ctx, t)
		if t != call.TransferRedirect || code == 0 {
			c.countTransfer(t, code)
		}
		if code == 0 || ctx.Err() != nil {
			return
		}
		c.record.note(string(t) + " failed")
		c.log.Warn("transfer failed", "method", t, "target", c.decision.Target, "code", code)
		failure = code
	}
	c.reject(failure, "")
}

func (c *conversation) countTransfer(t call.Transfer, code int) {
	result := "done"
	if code != 0 {
		result = "failed"
	}
	c.agent.metrics.transfers.WithLabelValues(string(t), result).Inc()
}

// transfer tries one method. It returns 0 once the call is out of our hands,
// or over; else the SIP status that tells the caller best what went wrong.
func (c *conversation) transfer(ctx context.Context, t call.Transfer) int {
	switch t {
	case call.TransferRedirect:
		return c.redirect()
	case call.TransferRefer:
		return c.refer(ctx)
	default:
		return c.bridge(ctx)
	}
}

// redirect answers 302 with the PBX's address and the target as user, so that
// the trunk needs nothing else. It works while the call is unanswered, also
// after early media.
func (c *conversation) redirect() int {
	node := c.set.PBX.Nodes.First()
	if c.voice.answered || node == "" {
		return 503
	}
	if err := c.in.Redirect(targetURI(node, string(c.decision.Target))); err != nil {
		c.log.Warn("cannot redirect", "error", err)
		return 503
	}
	c.record.handed(call.TransferRedirect, c.decision.Target)
	c.rings(c.decision.Target)
	return 0
}

// refer answers the call if nobody did, asks the trunk to call the target
// itself, and hangs up once it has.
func (c *conversation) refer(ctx context.Context) int {
	node := c.set.PBX.Nodes.First()
	if node == "" {
		return 503
	}
	if err := c.connect(ctx, true); err != nil {
		c.log.Info("cannot answer for REFER", "error", err)
		if errors.Is(err, sdp.ErrNoCommonCodec) || errors.Is(err, sdp.ErrNoAudio) {
			return 488
		}
		return 503
	}
	if err := c.answer(ctx); err != nil {
		return 503
	}
	stop := c.attending(ctx)
	code, err := c.in.Refer(ctx, targetURI(node, string(c.decision.Target)))
	stop()
	switch {
	case err != nil:
		c.record.note("refer: " + err.Error())
		return 503
	case code/100 != 2:
		c.record.note("refer refused")
		return code
	}
	c.record.handed(call.TransferRefer, c.decision.Target)
	c.rings(c.decision.Target)
	c.hangUp(ctx, c.in.Leg, "")
	return 0
}

// attending answers the caller's requests beside a step that waits for
// something else, until stop is called.
func (c *conversation) attending(ctx context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case r, ok := <-c.in.Requests():
				if !ok {
					return
				}
				c.attend(r)
			case <-ctx.Done():
				return
			}
		}
	}()
	return func() {
		cancel()
		<-done
	}
}

// goodbye bounds how long a leg's end is waited for. The call's own context
// may be over by then, and the BYE is owed all the same.
const goodbye = 5 * time.Second

func (c *conversation) hangUp(ctx context.Context, l *sip.Leg, reason string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), goodbye)
	defer cancel()
	if err := l.Bye(ctx, reason); err != nil && !errors.Is(err, sip.ErrEnded) && !errors.Is(err, sip.ErrHangup) {
		c.log.Debug("leg ended without an answer to its BYE", "error", err)
	}
}

// targetURI puts a user, which may be dialled text such as *72#, into a node's
// URI.
func targetURI(node, user string) string {
	host, params, _ := strings.Cut(hostPort(node), ";")
	return sip.Address{User: user, Host: host, Params: params}.URI()
}

// hostPort is a URI's host, port and parameters.
func hostPort(uri string) string {
	rest := strings.TrimPrefix(strings.TrimPrefix(uri, "sips:"), "sip:")
	if i := strings.LastIndexByte(rest, '@'); i >= 0 {
		rest = rest[i+1:]
	}
	return rest
}

// sameHost reports whether two URIs name one host, whatever their ports.
func sameHost(a, b string) bool {
	return strings.EqualFold(host(a), host(b))
}

func host(uri string) string {
	hp, _, _ := strings.Cut(hostPort(uri), ";")
	if h, _, err := net.SplitHostPort(hp); err == nil {
		return h
	}
	return strings.Trim(hp, "[]")
}
