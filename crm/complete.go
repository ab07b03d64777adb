package crm

import (
	"context"
	"slices"
	"strconv"
	"strings"

	"frontdesk/call"
)

// The bounds of one completion; beyond them the section stays capped.
const (
	maxRounds  = 40 // requests
	maxTexts   = 40 // spellings searched
	maxMatched = 2000
)

// page is one page of a list filtered by the exact text of a number.
type page struct {
	text  string
	after int // the last id of the page before
}

// complete finds the rest of a section whose search was cut. Lists filter by
// the exact text stored, so it searches for the usual spellings and for each
// spelling that it meets on the way, page by page. It is whole if all that the
// cut search found, and that may be read, came up again, and if no unusual
// spelling stood alone: where one does, there are likely others never met.
func (c *Client) complete(ctx context.Context, n call.Number, s section, m *matches) (whole bool, err error) {
	w := &widening{client: c, section: s, number: n, matches: m, again: map[int]bool{}, texts: map[string]bool{}}
	found := append([]int(nil), m.ids...)
	usual := n.Spellings(c.cfg.Country)
	for _, spelling := range usual {
		w.search(spelling)
	}
	for _, id := range found {
		w.meet(m.rows[id].phones)
	}
	for range maxRounds {
		if len(w.next) == 0 {
			break
		}
		if err := w.round(ctx); err != nil {
			return false, err
		}
	}
	if len(w.next) > 0 || w.over {
		return false, nil
	}
	for _, id := range found {
		if !m.rows[id].entity.Unreadable && !w.again[id] {
			return false, nil
		}
	}
	return !w.alone(usual), nil
}

// alone reports whether a spelling that is none of the usual ones was met on one
// entity only.
func (w *widening) alone(usual []string) bool {
	carriers := map[string]int{}
	for _, r := range w.matches.rows {
		for _, p := range r.phones {
			if w.texts[p] && !slices.Contains(usual, p) {
				carriers[p]++
			}
		}
	}
	for _, n := range carriers {
		if n == 1 {
			return true
		}
	}
	return false
}

// widening is the state of one completion.
type widening struct {
	client  *Client
	section section
	number  call.Number
	matches *matches
	again   map[int]bool    // ids that came up
	texts   map[string]bool // spellings searched or to be searched
	next    []page
	over    bool // a bound was reached
}

func (w *widening) search(text string) {
	switch {
	case w.texts[text], strings.Contains(text, "$"):
	case len(w.texts) >= maxTexts:
		w.over = true
	default:
		w.texts[text] = true
		w.next = append(w.next, page{text: text})
	}
}

// meet adds the spellings of the number among stored ones.
func (w *widening) meet(phones []string) {
	for _, p := range phones {
		if w.client.sameNumber(p, w.number) {
			w.search(p)
		}
	}
}

// round asks for all pages that are due, in one batch.
func (w *widening) round(ctx context.Context) error {
	pages := w.next[:min(len(w.next), maxCommands)]
	w.next = append([]page(nil), w.next[len(pages):]...)
	commands := make([]command, len(pages))
	for i, p := range pages {
		commands[i] = w.section.page("p"+strconv.Itoa(i), p)
	}
	results, err := w.client.whole(ctx, LaneLookup, commands)
	if err != nil {
		return err
	}
	for i, p := range pages {
		rows, err := w.client.rows(w.section, results[commands[i].key])
		if err != nil {
			return err
		}
		if err := w.take(p, rows); err != nil {
			return err
		}
	}
	return nil
}

// page is the command for one page.
func (s section) page(key string, p page) command {
	params := copyValues(s.fields)
	params.Set("filter[PHONE]", p.text)
	params.Set("filter[>ID]", strconv.Itoa(p.after))
	params.Set("order[ID]", "ASC")
	return newCommand(key, s.method, params)
}

// take keeps the rows of a page that truly carry the number.
func (w *widening) take(p page, rows []rawRow) error {
	last := p.after
	for _, raw := range rows {
		id, err := raw.id(w.section)
		if err != nil {
			return err
		}
		last = max(last, id)
		r, err := w.client.row(w.section, id, raw)
		if err != nil {
			return err
		}
		if !w.carries(r) {
			continue
		}
		w.again[id] = true
		w.matches.add(r)
		w.meet(r.phones)
	}
	switch {
	case len(w.matches.ids) > maxMatched:
		w.over = true
	case len(rows) >= pageRows && last > p.after:
		w.next = append(w.next, page{text: p.text, after: last})
	}
	return nil
}

func (w *widening) carries(r row) bool {
	for _, p := range r.phones {
		if w.client.sameNumber(p, w.number) {
			return true
		}
	}
	return false
}
