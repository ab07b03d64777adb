package web_test

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"frontdesk/call"
	"frontdesk/web"
)

// shelf is an archive in memory.
type shelf struct {
	all    []call.Record
	broken error
}

func (s *shelf) Records(_ context.Context, sel call.Selection) (out []call.Record, err error) {
	if s.broken != nil {
		return nil, s.broken
	}
	sorted := slices.Clone(s.all)
	slices.SortFunc(sorted, func(a, b call.Record) int { return call.PositionOf(&b).Compare(call.PositionOf(&a)) })
	for _, r := range sorted {
		if sel.Matches(&r) && (sel.After.IsZero() || call.PositionOf(&r).Compare(sel.After) < 0) && len(out) < sel.Limit {
			out = append(out, r)
		}
	}
	return out, nil
}

func (s *shelf) Record(_ context.Context, id string) (call.Record, error) {
	if s.broken != nil {
		return call.Record{}, s.broken
	}
	for _, r := range s.all {
		if r.ID == id {
			r.Ledger = []call.Entry{{Step: "finish"}}
			return r, nil
		}
	}
	return call.Record{}, fs.ErrNotExist
}

// TestHistory lists what is in memory, in the archive, or in both, page by page.
func TestHistory(t *testing.T) {
	t.Parallel()
	ring, archive := web.NewRing(5), &shelf{}
	h := web.NewHistory(ring, archive, slog.New(slog.DiscardHandler))
	var want []string
	for i := range 12 {
		if i < 11 { // the last one is not written yet
			archive.all = append(archive.all, record(i))
		}
		ring.Add(record(i))
		want = append([]string{record(i).ID}, want...)
	}
	for _, limit := range []int{1, 3, 5, 12, 50} {
		var got []string
		f := web.Filter{Limit: limit}
		for {
			page, err := h.List(t.Context(), f)
			if err != nil {
				t.Fatal(err)
			}
			for _, r := range page.Calls {
				got = append(got, r.ID)
			}
			if f.Cursor = page.Next; f.Cursor == "" {
				break
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("by %d (-want +got):\n%s", limit, diff)
		}
	}
	for id, ledger := range map[string]int{record(0).ID: 1, record(10).ID: 1, record(11).ID: 0} {
		if r, err := h.Get(t.Context(), id); err != nil || r.ID != id || len(r.Ledger) != ledger {
			t.Errorf("%s: %v, %d steps, %v", id, r.ID, len(r.Ledger), err)
		}
	}
	if _, err := h.Get(t.Context(), "nobody"); !errors.Is(err, web.ErrNotFound) {
		t.Errorf("no such call: %v", err)
	}

	archive.broken = errors.New("down")
	if page, err := h.List(t.Context(), web.Filter{Limit: 50}); err != nil || len(page.Calls) != 5 {
		t.Errorf("without the archive: %d calls, %v", len(page.Calls), err)
	}
	if _, err := h.Get(t.Context(), record(11).ID); err != nil {
		t.Errorf("in memory, without the archive: %v", err)
	}
	if _, err := h.Get(t.Context(), record(0).ID); !errors.Is(err, archive.broken) {
		t.Errorf("without the archive: %v", err)
	}
}
