package b2bua

import (
	"context"
	"strings"

	"frontdesk/call"
	"frontdesk/sip"
)

// handover is a leg that the client is to talk with from now on, since the PBX
// has asked for it.
type handover struct {
	leg      *secondLeg
	referral *sip.Referral
}

// refer does what the PBX asks for by REFER: calls somebody else while the two
// talk on, and hands the client over once they have answered. Where they do
// not, the client stays with whom they had; or, where that one has hung up
// meanwhile, goes to the rule's default. The trunk learns nothing of it.
//
// It returns the leg that has answered, or who has ended the call, or neither
// where all is as before.
func (m *meeting) refer(ctx context.Context, r *sip.Request) (next *handover, endedBy string) {
	f, code := m.judge(r)
	if code != 0 {
		m.refused(r, f, code)
		return nil, ""
	}
	to := f.To.User
	m.record.note("asked to refer to " + to)
	if err := f.Accept(); err != nil {
		return nil, "" // the asking side is gone, which talk sees
	}
	a := m.hand(ctx, func(ctx context.Context) (*secondLeg, int) { return m.place(ctx, f) })
	result := "done"
	if a.leg == nil {
		result = "failed"
		f.Report(a.code)
	}
	m.countReferral(result, to)
	gone := m.desk.leg.Err() != nil
	if gone && a.leg == nil && a.endedBy == "" {
		a = m.byDefault(ctx, f)
	}
	switch {
	case a.leg != nil:
		return &handover{a.leg, f}, ""
	case a.endedBy == "" && !gone:
		m.answered()
		return nil, ""
	case a.endedBy == "":
		a.endedBy = m.desk.name
	}
	desk := m.desk
	m.leaving.Go(func() { m.seeOff(ctx, desk, f) })
	m.hangUp(ctx, m.client.leg, "")
	return nil, a.endedBy
}

// byDefault calls the rule's default for a client whom nobody takes.
func (m *meeting) byDefault(ctx context.Context, f *sip.Referral) arrival {
	ext := m.decision.Default
	if ext == "" || string(ext) == f.To.User {
		return arrival{}
	}
	return m.hand(ctx, func(ctx context.Context) (*secondLeg, int) {
		return m.reached(m.reach(ctx, ext, 0, waits(m.client.session, f)))
	})
}

// judge reads a REFER and says with what it is refused, 0 where it is not.
func (m *meeting) judge(r *sip.Request) (*sip.Referral, int) {
	f, err := r.Referral()
	switch {
	case err != nil:
		m.log.Debug("a REFER that cannot be followed", "error", err)
		return nil, 400
	case m.numbers().Has(call.Extension(f.To.User)), m.set.PBX.ReferOutside && f.Replaces == "" && isOutside(f.To.User):
		return f, 0
	}
	return f, 403
}

// isOutside keeps what the PBX may have dialled outside to plain numbers.
func isOutside(user string) bool {
	digits := strings.TrimPrefix(user, "+")
	return 3 <= len(digits) && len(digits) <= 15 && strings.Trim(digits, "0123456789") == ""
}

func (m *meeting) refused(r *sip.Request, f *sip.Referral, code int) {
	to := ""
	if f != nil {
		to = f.To.User
	}
	m.countReferral("refused", to)
	if err := r.Respond(code); err != nil {
		m.log.Debug("cannot refuse a REFER", "error", err)
	}
}

func (m *meeting) countReferral(result, to string) {
	m.agent.metrics.referrals.WithLabelValues(result).Inc()
	m.record.note("referral " + result)
	m.log.Info("referral", "by", m.desk.ext, "target", to, "result", result)
}

// place calls whom a REFER names.
func (m *meeting) place(ctx context.Context, f *sip.Referral) (*secondLeg, int) {
	w := waits(m.client.session, f)
	if f.Replaces != "" { // a dialog of the PBX's own, at the node that speaks of it
		w.nodes = m.nodesOf(m.desk)
		w.headers = append(w.headers, sip.Header{Name: "Replaces", Value: f.Replaces})
		if f.Required {
			w.headers = append(w.headers, sip.Header{Name: "Require", Value: "replaces"})
		}
	}
	if f.By != nil {
		w.headers = append(w.headers, sip.Header{Name: "Referred-By", Value: f.By.String()})
	}
	if ext := call.Extension(f.To.User); m.numbers().Has(ext) {
		return m.reached(m.reach(ctx, ext, m.set.PBX.Ring, w))
	}
	ctx, cancel := context.WithTimeoutCause(ctx, m.set.PBX.Ring, errNoAnswer)
	defer cancel()
	return m.reached(m.outward(ctx, f.To.User, w))
}

// nodesOf is the node of the PBX that a side is at; nil where that is not known.
func (m *meeting) nodesOf(s side) []string {
	if s.placed != nil {
		return []string{s.placed.place.peer}
	}
	for _, node := range m.set.PBX.Nodes.Order() {
		if host(node) == m.invite.Source.Addr().String() {
			return []string{node}
		}
	}
	return nil
}

// reached makes a leg that has answered ready to be joined.
func (m *meeting) reached(leg *secondLeg, code int) (*secondLeg, int) {
	if leg == nil {
		return nil, code
	}
	if err := leg.ready(); err != nil {
		m.log.Warn("cannot join who has answered", "target", leg.place.ext, "error", err)
		m.drop(context.Background(), leg)
		return nil, 488
	}
	return leg, 0
}

// drop hangs up a leg that is not wanted.
func (m *meeting) drop(ctx context.Context, leg *secondLeg) {
	m.hangUp(ctx, leg.out.Leg, "")
	m.release(leg)
}

// arrival is what came of calling somebody else.
type arrival struct {
	leg     *secondLeg
	code    int    // the final status where there is no leg
	endedBy string // who ended the whole call meanwhile
}

// hand waits for a call to somebody else while the two talk on, and gives it up
// where they no longer do.
func (m *meeting) hand(ctx context.Context, place func(context.Context) (*secondLeg, int)) arrival {
	placing, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	arrived := make(chan arrival, 1)
	go func() {
		leg, code := place(placing)
		arrived <- arrival{leg: leg, code: code}
	}()
	desk := m.desk.leg.Done()
	if m.waiting {
		desk = nil
	}
	for {
		select {
		case a := <-arrived:
			return a
		case <-m.client.leg.Done():
			cancel(m.client.leg.Err())
			m.forget(ctx, <-arrived)
			return arrival{code: 487, endedBy: m.client.name}
		case <-desk:
			desk = nil
			m.alone(ctx)
		case r := <-m.refers:
			if err := r.Respond(491); err != nil {
				m.log.Debug("cannot refuse a REFER", "error", err)
			}
		case err := <-m.joint.relayed:
			cancel(err)
			m.forget(ctx, <-arrived)
			m.record.note("media: " + err.Error())
			return arrival{code: 487, endedBy: bySilence}
		}
	}
}

// forget ends a call to somebody else that came too late.
func (m *meeting) forget(ctx context.Context, a arrival) {
	if a.leg != nil {
		m.drop(ctx, a.leg)
	}
}

// alone leaves the client to wait for whom they are handed on to: the desk has
// hung up in the belief that all will be well.
func (m *meeting) alone(ctx context.Context) {
	m.waiting = true
	m.finish()
	m.idle()
	m.idle = func() {}
	if m.client.placed == nil {
		m.idle = m.attending(ctx)
	}
	m.ring(ctx, m.joint, m.client.session)
}
