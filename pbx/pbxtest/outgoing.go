package pbxtest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"frontdesk/sip"
	"frontdesk/sip/siptest"
)

// ErrNoRoute is wrapped where no outbound rule, or no trunk that leads
// anywhere, takes a number.
var ErrNoRoute = errors.New("no route for the number")

// Dial has an extension call a number outside of the PBX, as it is dialled: the
// outbound rule with the longest prefix that fits says by which trunk and how
// the number is rewritten. ctx covers the sending only.
func (p *PBX) Dial(ctx context.Context, from, dialled string) (*siptest.Call, error) {
	trunk, number, ok := p.state.route(dialled)
	t := p.state.Begin(Outbound, Party{Number: from}, dialled, trunk)
	p.mu.Lock()
	node := p.trunks[trunk]
	p.mu.Unlock()
	if !ok || node == "" {
		t.Ring(dialled, LineSet, Dialled)
		t.End(NoRoute)
		return nil, fmt.Errorf("%s dials %s: %w", from, dialled, ErrNoRoute)
	}
	t.Ring(number, Line, Dialled)
	c, err := p.Phone.Call(ctx, siptest.Options{
		To: sip.Address{User: number, Host: node}.URI(), From: sip.Address{Display: t.a.Caller.Name, User: from},
	})
	if err != nil {
		t.End(NoRoute)
		return nil, fmt.Errorf("%s dials %s: %w", from, dialled, err)
	}
	p.out.Go(func() { p.follow(c, t, number) })
	return c, nil
}

// follow tells of a call out of the PBX; it ends with the call.
func (p *PBX) follow(c *siptest.Call, t *Track, number string) {
	ctx := context.Background() // the phone ends the call at the latest
	final, err := c.WaitFinal(ctx)
	if err == nil && final != nil && final.Code/100 == 2 {
		t.Answer(number)
		if err := c.Tone(ctx, ToneOf(t.a.Caller.Number)); err != nil {
			p.logger.Debug("sandbox PBX", "number", number, "error", err) // it ended at once
		}
	}
	_ = c.WaitDone(ctx) // it has no end but this
	switch {
	case final == nil || final.Code == 487:
		t.End(Cancelled)
	case final.Code/100 == 2 && errors.Is(c.Err(), sip.ErrHangup):
		t.End(ByDestination)
	case final.Code/100 == 2:
		t.End(BySource)
	case final.Code == 486 || final.Code == 600:
		t.End(Busy)
	case final.Code == 603:
		t.End(Declined)
	case final.Code == 404:
		t.End(NotFound)
	case final.Code == 408 || final.Code == 480:
		t.End(TimedOut)
	default:
		t.End(NoRoute)
	}
}

// route applies the outbound rules.
func (s *State) route(dialled string) (trunk, number string, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	longest := -1
	for _, r := range s.tables["OutboundRules"].rows {
		prefix := r.text("Prefix")
		routes, _ := r["Routes"].([]Row)
		if len(prefix) <= longest || len(routes) == 0 || !strings.HasPrefix(dialled, prefix) {
			continue
		}
		strip, _ := routes[0]["StripDigits"].(int)
		id, _ := routes[0]["TrunkId"].(int)
		longest, ok = len(prefix), true
		trunk = s.tables["Peers"].get(id).text("Number")
		number = routes[0].text("Prepend") + dialled[min(strip, len(dialled)):]
	}
	return trunk, number, ok
}

// originate is a call that a client of the API asks for.
func (p *PBX) originate(dn, destination string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	_, err := p.Dial(ctx, dn, destination)
	return err
}
