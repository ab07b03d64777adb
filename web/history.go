package web

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"slices"

	"frontdesk/call"
)

// Archive keeps the records that memory has forgotten.
type Archive interface {
	// Records are those that sel wants, newest first.
	Records(ctx context.Context, sel call.Selection) ([]call.Record, error)
	// Record is one with its ledger, or fs.ErrNotExist.
	Record(ctx context.Context, id string) (call.Record, error)
}

// History is the calls in memory and, behind them, those in an archive: what
// just ended is there at once, and what is older survives a restart. An archive
// that fails leaves what is in memory.
type History struct {
	ring    *Ring
	archive Archive
	log     *slog.Logger
}

// NewHistory joins the two.
func NewHistory(ring *Ring, archive Archive, log *slog.Logger) *History {
	return &History{ring: ring, archive: archive, log: log}
}

// List gives the records that match f, newest first by their start.
func (h *History) List(ctx context.Context, f Filter) (Page, error) {
	sel, err := f.selection()
	if err != nil {
		return Page{}, err
	}
	sel.Limit++ // one more tells whether there is a next page
	all := h.ring.records(sel)
	kept, err := h.archive.Records(ctx, sel)
	if err != nil {
		h.log.WarnContext(ctx, "older calls cannot be listed", "error", err)
	}
	inMemory := make(map[string]bool, len(all))
	for i := range all {
		inMemory[all[i].ID] = true
	}
	for _, r := range kept {
		if !inMemory[r.ID] && !h.ring.has(r.ID) {
			all = append(all, r)
		}
	}
	slices.SortFunc(all, func(a, b call.Record) int { return call.PositionOf(&b).Compare(call.PositionOf(&a)) })
	return pageOf(all, f.Limit), nil
}

// pageOf cuts a list.
func pageOf(all []call.Record, limit int) Page {
	page := Page{Calls: all[:min(limit, len(all))]}
	if len(all) > limit {
		page.Next = call.PositionOf(&all[limit-1]).Cursor()
	}
	return page
}

// Get gives one record with its ledger, or ErrNotFound.
func (h *History) Get(ctx context.Context, id string) (call.Record, error) {
	r, missing := h.ring.Get(ctx, id)
	kept, err := h.archive.Record(ctx, id)
	switch {
	case err == nil && missing != nil:
		return kept, nil
	case err == nil:
		r.Ledger = kept.Ledger
	case missing == nil:
		if !errors.Is(err, fs.ErrNotExist) {
			h.log.WarnContext(ctx, "the ledger of a call cannot be read", "call", id, "error", err)
		}
	case errors.Is(err, fs.ErrNotExist):
		return call.Record{}, ErrNotFound
	default:
		return call.Record{}, err
	}
	return r, nil
}
