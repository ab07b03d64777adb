package pbx

import (
	"context"
	"encoding/json"
	"time"
)

// afterStart is how long what waited when the process ended waits on at least:
// the accounts of the time between are yet to be read.
const afterStart = time.Minute

// load reads what was waited for before a restart, once. What came meanwhile
// stands.
func (j *Joiner) load(ctx context.Context) {
	if j.loaded {
		return
	}
	if j.cfg.Pending == nil {
		j.loaded = true
		return
	}
	err := j.cfg.Pending.LoadPending(ctx, j.restore)
	j.report(ctx, "read", err)
	if j.loaded = err == nil; j.loaded {
		j.drain() // what was held
	}
}

func (j *Joiner) restore(id string, doc []byte) {
	a := &affair{}
	if err := json.Unmarshal(doc, a); err != nil || a.Own == nil && len(a.Calls) == 0 {
		j.cfg.Logger.Error("joiner: a kept call cannot be read and is forgotten", "id", id, "error", err)
		j.dirty[id] = true
		return
	}
	if j.affairs[id] != nil {
		return
	}
	for i := range a.Calls {
		if len(a.Calls[i].ids()) == 0 {
			a.Calls = nil
			break
		}
	}
	if a.ID = id; a.Own != nil {
		a.slots = slotsOf(a.Own)
		for _, c := range a.Calls {
			if c.Slot < len(a.slots) {
				a.slots[c.Slot].taken = true
			}
		}
	}
	if a.Own == nil && len(a.Calls) == 0 {
		j.dirty[id] = true
		return
	}
	j.file(a)
	delete(j.dirty, id)
	now := time.Now()
	switch {
	case a.Settled:
		j.old = append(j.old, a)
		told := j.record(a)
		a.told = &told
		j.plan(a, now.Add(j.cfg.Patience.Handed))
	case a.Own != nil:
		j.plan(a, later(a.Own.Times.Ended.Add(j.patience(a.Own)), now.Add(afterStart)))
	default:
		j.plan(a, now.Add(afterStart))
	}
	j.match(a.key)
}

// atOnce is how many documents are saved in one transaction.
const atOnce = 100

// save writes what changed. What cannot be written is tried again.
func (j *Joiner) save(ctx context.Context) {
	if j.cfg.Pending == nil {
		clear(j.dirty)
		return
	}
	if !j.loaded {
		return
	}
	for len(j.dirty) > 0 {
		docs, gone := j.batch()
		if err := j.cfg.Pending.SavePending(ctx, docs, gone...); err != nil {
			j.report(ctx, "write", err)
			return
		}
		for id := range docs {
			j.affairs[id].gone = nil
			delete(j.dirty, id)
		}
		for _, id := range gone {
			delete(j.dirty, id)
		}
	}
	j.report(ctx, "write", nil)
}

// batch is a part of what is to be saved. An affair that became part of another
// goes together with it: both would be the same call twice.
func (j *Joiner) batch() (docs map[string][]byte, gone []string) {
	docs = map[string][]byte{}
	for id := range j.dirty {
		a := j.affairs[id]
		if a == nil {
			continue
		}
		if len(docs) == atOnce {
			return docs, gone
		}
		n := j.encode(a)
		if n.Doc == nil {
			delete(j.dirty, id)
			continue
		}
		docs[id], gone = n.Doc, append(gone, n.Gone...)
	}
	for id := range j.dirty {
		if j.affairs[id] == nil && len(gone) < 2*atOnce {
			gone = append(gone, id)
		}
	}
	return docs, gone
}

// encode is what is kept of an affair.
func (j *Joiner) encode(a *affair) Note {
	doc, err := json.Marshal(a)
	if err != nil {
		j.cfg.Logger.Error("joiner: a call cannot be kept", "id", a.ID, "error", err)
		return Note{}
	}
	return Note{a.ID, doc, a.gone}
}

// note hands what is kept of a settled affair to who keeps its record.
func (j *Joiner) note(a *affair) Note {
	if j.cfg.Pending == nil {
		return Note{}
	}
	n := j.encode(a)
	a.gone = nil
	delete(j.dirty, a.ID)
	for _, id := range n.Gone {
		delete(j.dirty, id)
	}
	return n
}

// report says once that the store fails, and once that it works again.
func (j *Joiner) report(ctx context.Context, what string, err error) {
	failing := err != nil
	switch {
	case failing && !j.trouble && ctx.Err() == nil:
		j.cfg.Logger.Error("joiner: cannot "+what+" what waits for the PBX, trying on", "error", err)
	case !failing && j.trouble:
		j.cfg.Logger.Info("joiner: the store answers again")
	}
	j.trouble = failing && (j.trouble || ctx.Err() == nil) // at the end of a run nothing is tried on
}

// leave ends a run: what waits is kept, or settled where nothing keeps it.
func (j *Joiner) leave(ctx context.Context) {
	const patience = 5 * time.Second
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
	defer cancel()
	j.load(ctx) // the end may have come before the beginning was done
	if j.save(ctx); j.cfg.Pending != nil && len(j.dirty) == 0 {
		return
	}
	for _, a := range j.affairs {
		if !a.Settled && !a.hearsay() && (j.cfg.Pending == nil || j.dirty[a.ID]) {
			j.settle(a)
		}
	}
}
