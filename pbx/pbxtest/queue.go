package pbxtest

import (
	"cmp"
	"context"
	"time"
)

// queue rings agents in rounds until one of them takes the call.
func (v *visit) queue(ctx context.Context, number string, q Poll, how How) error {
	q.Ring = cmp.Or(q.Ring, ringFor)
	kind := Queue
	if q.Group {
		kind = RingGroup
	}
	v.track.Ring(number, kind, how)
	if err := v.welcome(ctx, number, q); err != nil {
		return err
	}
	for round := 0; q.Rounds == 0 || round < q.Rounds; round++ {
		agent, err := v.round(ctx, q)
		if err != nil {
			return err
		}
		if agent == "" {
			continue
		}
		if err := v.answer(ctx); err != nil {
			return err
		}
		v.track.Leave(number)
		v.track.Answer(agent)
		return v.talk(ctx, agent, v.pbx.behaviour(agent))
	}
	switch {
	case q.Overflow != "":
		return v.forward(ctx, number, q.Overflow)
	case v.answered:
		v.end = TimedOut
		return nil
	}
	return v.refuse(480)
}

// welcome is what a caller gets first: music from a queue, ringing from a
// group.
func (v *visit) welcome(ctx context.Context, number string, q Poll) error {
	switch {
	case q.Group && v.answered:
		return nil
	case q.Group:
		return v.c.Ring()
	}
	if err := v.answer(ctx); err != nil {
		return err
	}
	v.track.Answer(number)
	return v.c.Tone(ctx, ToneOf(number))
}

// round rings every agent once and returns the one who takes the call, who
// still rings; empty if nobody does.
func (v *visit) round(ctx context.Context, q Poll) (string, error) {
	if q.All {
		return v.all(ctx, q)
	}
	rang := false
	for _, a := range q.Agents {
		v.track.Ring(a, Extension, Polled)
		wait, takes := v.agent(a, q.Ring)
		if wait > 0 {
			rang = true
			if err := rest(ctx, wait); err != nil {
				return "", err
			}
		}
		if takes {
			return a, nil
		}
		v.track.Leave(a)
	}
	if !rang { // all are busy: the queue waits in place of them
		return "", rest(ctx, q.Ring)
	}
	return "", nil
}

// all rings all agents at once: the quickest takes the call.
func (v *visit) all(ctx context.Context, q Poll) (string, error) {
	best, wait := "", q.Ring
	for _, a := range q.Agents {
		v.track.Ring(a, Extension, Polled)
		if w, takes := v.agent(a, q.Ring); takes && (best == "" || w < wait) {
			best, wait = a, w
		}
	}
	if best == "" || wait > 0 {
		if err := rest(ctx, wait); err != nil {
			return "", err
		}
	}
	for _, a := range q.Agents {
		if a != best {
			v.track.Leave(a)
		}
	}
	return best, nil
}

// agent is how long a telephone rings, and whether it then takes the call.
func (v *visit) agent(number string, limit time.Duration) (time.Duration, bool) {
	b := v.pbx.behaviour(number)
	switch {
	case b.NoAnswer || b.Silent || b.Ring >= limit:
		return limit, false
	case b.Code != 0:
		return b.Ring, false
	}
	return b.Ring, true
}
