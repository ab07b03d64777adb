package web

import (
	"cmp"
	"context"
	"encoding/base64"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"frontdesk/call"
)

// Ring keeps the records of the calls that started last, in memory. It is safe
// for concurrent use.
type Ring struct {
	most int

	mu      sync.RWMutex
	records []*call.Record // oldest first, none of them ever changed
	byID    map[string]*call.Record
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
		i, _ := g.find(positionOf(old))
		g.records = slices.Delete(g.records, i, i+1)
	}
	i, _ := g.find(positionOf(&r)) // near the end: calls are added in about the order of their start
	g.records = slices.Insert(g.records, i, &r)
	g.byID[r.ID] = &r
	if len(g.records) > g.most {
		delete(g.byID, g.records[0].ID)
		g.records[0] = nil // the array lives on
		g.records = g.records[1:]
	}
}

// List gives the records that match f, newest first by their start.
func (g *Ring) List(_ context.Context, f Filter) (Page, error) {
	g.mu.RLock()
	defer g.mu.RUnlock()
	end := len(g.records)
	if f.Cursor != "" {
		p, err := parseCursor(f.Cursor)
		if err != nil {
			return Page{}, err
		}
		end, _ = g.find(p)
	}
	page := Page{Calls: []call.Record{}}
	for _, r := range slices.Backward(g.records[:end]) {
		if r.Started.Before(f.Since) {
			break
		}
		if !f.matches(r) {
			continue
		}
		if len(page.Calls) == f.Limit { // one more is there
			page.Next = positionOf(&page.Calls[len(page.Calls)-1]).cursor()
			break
		}
		page.Calls = append(page.Calls, *r)
	}
	return page, nil
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

func (f Filter) matches(r *call.Record) bool {
	return (f.Outcome == "" || f.Outcome == r.Outcome) &&
		(f.Caller == "" || f.Caller.Digits() == r.Caller.Digits())
}

// find is where p is, or belongs, in the records.
func (g *Ring) find(p position) (int, bool) {
	return slices.BinarySearchFunc(g.records, p, func(r *call.Record, p position) int {
		return positionOf(r).compare(p)
	})
}

// position is a record's place in the order of calls. A cursor is a position,
// so that it holds while calls come and go.
type position struct {
	started time.Time
	id      string
}

// positionOf leaves the monotonic clock out, which a cursor cannot carry.
func positionOf(r *call.Record) position { return position{r.Started.Round(0), r.ID} }

func (p position) compare(o position) int {
	return cmp.Or(p.started.Compare(o.started), cmp.Compare(p.id, o.id))
}

func (p position) cursor() string {
	return base64.RawURLEncoding.EncodeToString([]byte(p.started.Format(time.RFC3339Nano) + " " + p.id))
}

func parseCursor(s string) (position, error) {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		return position{}, fmt.Errorf("%w: cursor: it is none of ours", ErrInvalid)
	}
	stamp, id, _ := strings.Cut(string(b), " ")
	at, err := time.Parse(time.RFC3339Nano, stamp)
	if err != nil {
		return position{}, fmt.Errorf("%w: cursor: it is none of ours", ErrInvalid)
	}
	return position{at, id}, nil
}
