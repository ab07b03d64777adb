package web

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"frontdesk/call"
)

// Ring keeps the records of the calls that started last, in memory. It is safe
// for concurrent use.
type Ring struct {
	most int

	mu   sync.RWMutex
	kept []*call.Record // oldest first, none of them ever changed
	byID map[string]*call.Record
}

// NewRing makes a ring of n records, at least one.
func NewRing(n int) *Ring {
	return &Ring{most: max(n, 1), byID: map[string]*call.Record{}}
}

// Add keeps r, in place of an earlier record with its id. The caller must not
// change what r points to afterwards.
func (g *Ring) Add(r call.Record) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if old, ok := g.byID[r.ID]; ok {
		i, _ := g.find(call.PositionOf(old))
		g.kept = slices.Delete(g.kept, i, i+1)
	}
	i, _ := g.find(call.PositionOf(&r)) // near the end: calls are added in about the order of their start
	g.kept = slices.Insert(g.kept, i, &r)
	g.byID[r.ID] = &r
	if len(g.kept) > g.most {
		delete(g.byID, g.kept[0].ID)
		g.kept[0] = nil // the array lives on
		g.kept = g.kept[1:]
	}
}

// List gives the records that match f, newest first by their start.
func (g *Ring) List(_ context.Context, f Filter) (Page, error) {
	sel, err := f.selection()
	if err != nil {
		return Page{}, err
	}
	sel.Limit++
	return pageOf(g.records(sel), f.Limit), nil
}

// records are those that sel wants, newest first.
func (g *Ring) records(sel call.Selection) []call.Record {
	g.mu.RLock()
	defer g.mu.RUnlock()
	end := len(g.kept)
	if !sel.After.IsZero() {
		end, _ = g.find(sel.After)
	}
	out := []call.Record{}
	for _, r := range slices.Backward(g.kept[:end]) {
		if r.Started.Before(sel.Since) || len(out) == sel.Limit {
			break
		}
		if sel.Matches(r) {
			out = append(out, *r)
		}
	}
	return out
}

// has reports whether a call is in memory.
func (g *Ring) has(id string) bool {
	g.mu.RLock()
	defer g.mu.RUnlock()
	_, ok := g.byID[id]
	return ok
}

// Get gives one record, or ErrNotFound.
func (g *Ring) Get(_ context.Context, id string) (call.Record, error) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	r, ok := g.byID[id]
	if !ok {
		return call.Record{}, ErrNotFound
	}
	return *r, nil
}

// selection reads the cursor of f.
func (f Filter) selection() (call.Selection, error) {
	sel := call.Selection{Limit: f.Limit, Since: f.Since, Until: f.Until, Outcome: f.Outcome, Caller: f.Caller}
	if f.Cursor == "" {
		return sel, nil
	}
	var err error
	if sel.After, err = call.ParseCursor(f.Cursor); err != nil {
		return sel, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return sel, nil
}

// find is where p is, or belongs, in the records.
func (g *Ring) find(p call.Position) (int, bool) {
	return slices.BinarySearchFunc(g.kept, p, func(r *call.Record, p call.Position) int {
		return call.PositionOf(r).Compare(p)
	})
}
