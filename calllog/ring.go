package calllog

import (
	"context"
	"errors"
	"hash/maphash"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"frontdesk/call"
	"frontdesk/store"
)

const (
	ringQueues = 4                // calls told of at once; what is told of one call stays in order
	ringDepth  = 64               // that wait in each
	ringFresh  = 10 * time.Second // what waited longer is left to the end of the call
	ringLimit  = 10 * time.Second // for the portal's answers
	ringKept   = 1024             // live calls remembered by each queue
)

// ringing is what is told to the portal while calls ring.
type ringing struct {
	seed   maphash.Seed
	queues []chan moment
}

func newRinging() ringing {
	out := ringing{seed: maphash.MakeSeed()}
	for range ringQueues {
		out.queues = append(out.queues, make(chan moment, ringDepth))
	}
	return out
}

// moment is a call that rings somewhere, or is answered there.
type moment struct {
	at       time.Time
	record   call.Record // of a call that rings
	id       string
	answered call.Extension // "": it rings
}

// Ringing has the call registered and its card shown to whom the record's
// target belongs, and a lead made for an unknown caller. It may come again with
// another target. It does not block: what cannot be done soon is left to the
// end of the call.
func (l *Log) Ringing(r call.Record) { l.tell(moment{record: r, id: r.ID}) }

// Answered has the card moved to who answered. It does not block.
func (l *Log) Answered(id string, ext call.Extension) { l.tell(moment{id: id, answered: ext}) }

func (l *Log) tell(m moment) {
	if l.cfg.CRM == nil {
		return
	}
	m.at = time.Now()
	select {
	case l.queues[maphash.String(l.seed, m.id)%ringQueues] <- m:
	default:
		l.metrics.ring.WithLabelValues(ringDropped).Inc()
	}
}

// card is a live call in the portal, and who sees its card.
type card struct {
	callID string
	shown  int
}

// ring tells the portal of calls, those of one queue one after the other.
func (l *Log) ring(ctx context.Context, queue <-chan moment) {
	cards, err := lru.New[string, card](ringKept)
	if err != nil {
		l.log.ErrorContext(ctx, "no cards are shown", "error", err)
		return
	}
	for {
		select {
		case m := <-queue:
			l.during(ctx, m, cards)
		case <-ctx.Done():
			return
		}
	}
}

func (l *Log) during(ctx context.Context, m moment, cards *lru.Cache[string, card]) {
	if time.Since(m.at) > ringFresh {
		l.metrics.ring.WithLabelValues(ringDropped).Inc()
		return
	}
	ctx, cancel := context.WithTimeout(ctx, ringLimit)
	defer cancel()
	live, known := cards.Get(m.id)
	policy, err := l.people(ctx)
	switch {
	case err != nil:
	case known:
		ext := m.answered
		if ext == "" {
			ext = m.record.Target
		}
		live, err = l.move(ctx, m.id, live, policy.active(policy.sits(ext)))
	case m.answered == "":
		live, err = l.begin(ctx, m.record, policy)
	default:
		return // it was not registered while it rang
	}
	if live.callID != "" {
		cards.Add(m.id, live)
	}
	if err != nil {
		l.metrics.ring.WithLabelValues(ringFailed).Inc()
		l.log.DebugContext(ctx, "the portal was not told of a call that rings", "call", m.id, "error", err)
		return
	}
	l.metrics.ring.WithLabelValues(ringDone).Inc()
}

// move shows the card to who is rung or has answered, and hides it from who is
// not rung any more.
func (l *Log) move(ctx context.Context, id string, live card, to int) (card, error) {
	if to == live.shown {
		return live, nil
	}
	var failed error
	if live.shown != 0 {
		_, err := l.cfg.CRM.Hide(ctx, live.callID, live.shown)
		failed = err
	}
	if to != 0 {
		_, err := l.cfg.CRM.Show(ctx, live.callID, to)
		failed = errors.Join(failed, err)
	}
	live.shown = to
	return live, errors.Join(failed, l.showed(ctx, id, failed))
}

// showed notes what became of a card; nobody can tell whether it was seen.
func (l *Log) showed(ctx context.Context, id string, err error) error {
	r := newRow(id, StepShow, 0, detail{}, l.now())
	r.State, r.Tries = call.StepDone, 1
	if err != nil {
		r.State, r.Error = call.StepFailed, clip(err)
	}
	return save(ctx, l.cfg.Store.SaveLedger, r)
}

// begin writes down what it is about to do, then makes the lead and registers
// the call. A call that has ended before is left to its job; the job of one
// that ends meanwhile waits for it.
func (l *Log) begin(ctx context.Context, r call.Record, policy Policy) (card, error) {
	e, lead, ok := Ring(r, policy)
	if !ok || !policy.Log && (lead == nil || lead.Create == nil) {
		return card{}, nil
	}
	done, _ := l.working.try(r.ID)
	if done == nil {
		return card{}, nil
	}
	defer done()
	var rows []*row
	now := l.now()
	if policy.Log && e.Owner.Employee != 0 {
		rows = append(rows, newRow(r.ID, StepRegister, 0, detail{Entry: &e, Sent: true}, now))
		rows[0].Tries = 1
	}
	var leadRow *row
	if lead != nil && lead.Create != nil {
		leadRow = newRow(r.ID, StepLead, 0, detail{Lead: lead}, now)
		rows = append(rows, leadRow)
	}
	over := false
	err := l.cfg.Store.InTx(ctx, func(tx *store.Tx) error {
		kept, err := tx.SaveRecord(ctx, r, store.RecordWaiting)
		if over = !kept; err != nil || over {
			return err
		}
		return save(ctx, tx.SaveLedger, rows...)
	})
	if err != nil || over {
		return card{}, err
	}
	var failed error
	if leadRow != nil {
		failed = l.leadNow(ctx, leadRow)
		if e.Entity.ID == 0 {
			e.Entity = leadRow.entity()
		}
	}
	if !policy.Log || e.Owner.Employee == 0 {
		return card{}, failed
	}
	if failed != nil && !hopeless(failed) { // the entry would belong to nobody: the end of the call has both
		rows[0].Tries, rows[0].d.Sent = 0, false
		return card{}, errors.Join(failed, l.note(ctx, rows[0]))
	}
	live, err := l.registerNow(ctx, r.ID, e, policy)
	return live, errors.Join(failed, err)
}

// leadNow makes the lead of a call that rings.
func (l *Log) leadNow(ctx context.Context, r *row) error {
	err := l.newLead(ctx, r, func() (bool, error) {
		r.Tries, r.d.Asked = r.Tries+1, r.d.Asked+1
		r.d.Sent = true
		return false, l.note(ctx, r)
	})
	if err != nil {
		r.Error = clip(err)
	} else {
		r.State = call.StepDone
	}
	return errors.Join(err, l.note(ctx, r))
}

// registerNow registers a call that rings and shows its card.
func (l *Log) registerNow(ctx context.Context, id string, e Entry, policy Policy) (card, error) {
	who := e.Owner.Employee
	in := e.registration(who, e.Entity)
	in.Show = who != policy.nobody()
	r := newRow(id, StepRegister, 0, detail{Entry: &e, Sent: true}, l.now())
	r.Tries = 1
	out, err := l.cfg.CRM.Register(ctx, in)
	if answered(r, false, err); err != nil {
		r.Error = clip(err)
		return card{}, errors.Join(err, l.note(ctx, r))
	}
	r.State, r.d.CallID = call.StepDone, out.CallID
	live := card{callID: out.CallID}
	if err := l.note(ctx, r); err != nil {
		return live, err
	}
	if !in.Show {
		return live, nil
	}
	live.shown = who
	return live, l.showed(ctx, id, nil)
}

// note writes what a step came to while its call rang, into the row that the
// end of the call may have changed meanwhile.
func (l *Log) note(ctx context.Context, r *row) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushLimit)
	defer cancel()
	return l.cfg.Store.InTx(ctx, func(tx *store.Tx) error {
		kept, err := tx.Ledger(ctx, r.Call)
		if err != nil {
			return err
		}
		all, err := decodeRows(kept)
		if err != nil {
			return err
		}
		if there := all.get(r.Step, r.Leg); there != nil {
			switch {
			case there.done() || there.d.CallID != "" || r.Step == StepLead && there.d.ID != 0:
				return nil // its job was quicker
			case r.Step == StepLead && there.d.Lead != nil && there.d.Lead.To != 0:
				r.d.Lead, r.State = there.d.Lead, call.StepWaiting // it is to be given to who talked
			case r.Step == StepRegister:
				r.d.Since = there.d.Since
			}
		}
		return save(ctx, tx.SaveLedger, r)
	})
}
