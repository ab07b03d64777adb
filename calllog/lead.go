package calllog

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"frontdesk/call"
	"frontdesk/crm"
)

// makeLead makes the lead of an unknown caller, unless the CRM has come to know
// them meanwhile. The step stays open while the lead is to be given to somebody.
func (j *job) makeLead(ctx context.Context, r *row) error {
	if r.d.Lead == nil {
		return fmt.Errorf("%w: the ledger does not say what lead is to be made", errNever)
	}
	if r.d.Lead.Create != nil && r.d.ID == 0 {
		if err := j.l.newLead(ctx, r, func() (bool, error) { return j.attempt(ctx, r) }); err != nil {
			return err
		}
	}
	if r.d.Lead.To != 0 {
		if err := j.save(ctx, r); err != nil {
			return err
		}
		return errUnfinished // giveLead goes on once the call is in the portal
	}
	return nil
}

// newLead makes a lead, one at a time for a number, of all nodes. attempt notes
// that it is about to.
func (l *Log) newLead(ctx context.Context, r *row, attempt func() (before bool, err error)) error {
	in := r.d.Lead.Create
	done, err := l.claim(ctx, "lead/"+string(in.Number), r.Call)
	if err != nil {
		return err
	}
	defer func() { done(r.d.Sent) }()
	if r.d.Sent {
		found, ok, err := l.cfg.CRM.FindLead(ctx, in.Origin)
		if err != nil {
			return err
		}
		if ok {
			r.d.ID, r.d.Sent = found.ID, false
			return nil
		}
	}
	there, err := l.known(ctx, in.Number)
	if err != nil {
		return err
	}
	if there.ID != 0 { // a card made meanwhile, or the lead of the call before
		r.d.ID, r.d.Owner, r.d.Sent = there.ID, there, false
		r.d.Known = there.Kind != call.KindLead
		return nil
	}
	before, err := attempt()
	if err != nil {
		return err
	}
	made, err := l.cfg.CRM.AddLead(ctx, 0, crm.NewLead{
		Title: title(in), Number: in.Number, Responsible: r.d.Lead.From, Note: note(in), Origin: in.Origin,
	})
	if answered(r, before, err); err == nil {
		r.d.ID, r.d.Authored, r.d.Sent = made.ID, made.Authored, false
	}
	return err
}

func title(l *NewLead) string {
	if name := strings.TrimSpace(l.Name); name != "" && call.ParseNumber(name, "") == "" {
		return "Call " + string(l.Number) + " " + name
	}
	return "Call " + string(l.Number)
}

func note(l *NewLead) string {
	if l.DID == "" {
		return ""
	}
	return "DID " + string(l.DID)
}

// giveLead gives the lead to who talked, if the placeholder has it still.
func (j *job) giveLead(ctx context.Context, r *row) error {
	to, id := r.d.Lead.To, r.d.ID
	if id == 0 {
		id = r.d.Lead.ID
	}
	if id == 0 {
		return errUnfinished // it is not there yet
	}
	if to == 0 || r.d.Known {
		return nil
	}
	r.Tries++
	done, by, err := j.l.cfg.CRM.ReassignLead(ctx, to, id, r.d.Lead.From, to)
	if err != nil {
		return err
	}
	r.Error = flag(by, to)
	if !done {
		r.Error = "the lead was not the placeholder's any more"
	}
	r.d.ID = id
	return nil
}

// known searches by a number, beside the calls that are looked up: it waits for
// them. Zero: nobody carries it, or closed leads do.
func (l *Log) known(ctx context.Context, n call.Number) (crm.EntityID, error) {
	var found struct {
		Contacts  []crm.FlexInt `json:"CONTACT"`
		Companies []crm.FlexInt `json:"COMPANY"`
		Leads     []crm.FlexInt `json:"LEAD"`
	}
	var raw json.RawMessage
	values := n.Spellings("")
	if err := l.cfg.CRM.Call(ctx, crm.LaneLog, "crm.duplicate.findbycomm", map[string]any{"type": "PHONE", "values": values}, &raw); err != nil {
		return crm.EntityID{}, err
	}
	if len(raw) > 0 && raw[0] == '{' { // [] is nobody
		if err := json.Unmarshal(raw, &found); err != nil {
			return crm.EntityID{}, fmt.Errorf("crm.duplicate.findbycomm: %w", err)
		}
	}
	switch {
	case len(found.Contacts) > 0:
		return crm.EntityID{Kind: call.KindContact, ID: int(found.Contacts[0])}, nil
	case len(found.Companies) > 0:
		return crm.EntityID{Kind: call.KindCompany, ID: int(found.Companies[0])}, nil
	}
	for _, id := range found.Leads {
		lead, ok, err := l.cfg.CRM.ReadLead(ctx, int(id))
		if err != nil {
			return crm.EntityID{}, err
		}
		if ok && !lead.Closed {
			return crm.EntityID{Kind: call.KindLead, ID: lead.ID}, nil
		}
	}
	return crm.EntityID{}, nil
}

const (
	claimHeld = time.Minute // longer than any request may be under way
	claimWait = 5 * time.Second
	claimPoll = 100 * time.Millisecond
)

// errClaimed says that another call is about what one wants to do.
var errClaimed = errors.New("another call of the number is making it")

// claim waits a while until no other call has a name. done gives it back; what
// was asked under it and not answered keeps the others waiting, since it may
// still arrive, but not the call itself, which looks for it.
func (l *Log) claim(ctx context.Context, name, id string) (done func(unanswered bool), err error) {
	holder := id + "#" + rand.Text()
	poll := time.NewTicker(claimPoll)
	defer poll.Stop()
	for over := time.Now().Add(claimWait); ; {
		switch ok, err := l.cfg.Store.Claim(ctx, name, holder, id, claimHeld); {
		case err != nil:
			return nil, &storeError{err}
		case ok:
			return func(unanswered bool) { l.release(ctx, name, holder, id, unanswered) }, nil
		case time.Now().After(over):
			return nil, errClaimed
		}
		select {
		case <-poll.C:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// release gives a name back. Where it cannot, its time ends by itself.
func (l *Log) release(ctx context.Context, name, holder, id string, unanswered bool) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushLimit)
	defer cancel()
	heir := ""
	if unanswered {
		heir = id
	}
	if err := l.cfg.Store.Release(ctx, name, holder, heir); err != nil {
		l.log.DebugContext(ctx, "others wait in vain for a call", "call", id, "error", err)
	}
}

// turns lets one at a time go for each name.
type turns struct {
	mu   sync.Mutex
	busy map[string]chan struct{} // closed when it is free
}

// take waits for a name; done gives it back.
func (t *turns) take(ctx context.Context, n string) (done func(), err error) {
	for {
		done, free := t.try(n)
		if done != nil {
			return done, nil
		}
		select {
		case <-free:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// try takes a name that is free; free is closed when one that is not may be.
func (t *turns) try(n string) (done func(), free <-chan struct{}) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if busy, ok := t.busy[n]; ok {
		return nil, busy
	}
	if t.busy == nil {
		t.busy = map[string]chan struct{}{}
	}
	mine := make(chan struct{})
	t.busy[n] = mine
	return func() {
		t.mu.Lock()
		delete(t.busy, n)
		t.mu.Unlock()
		close(mine)
	}, nil
}
