package crm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"time"

	"frontdesk/call"
)

const (
	// exportPages are the pages of one batch: 500 cards, far from the 60 s that
	// a request may run.
	exportPages = 10
	// sweepPages are those of a pass that reads ids alone.
	sweepPages = 20
	// batchPatience bounds one batch; the portal gives up after 60 s.
	batchPatience = 70 * time.Second
	// longestRest is over when the portal's ten minutes are.
	longestRest = 10 * time.Minute
	// doubtful is how many entities may be gone at the end of a list before
	// the list is asked again.
	doubtful = 20
)

var errVanished = errors.New("the portal shows far fewer entities than before, which is not believed; " +
	"if it is true, have all read by frontdesk mirror export --full")

// walk goes through the entities of one kind by id, upwards.
type walk struct {
	section section
	params  url.Values // of the list: what to read, and further filters
	after   int        // the last id read
	pages   int        // in one batch
	end     bool       // there are no more
}

// cards is a walk that reads what routing needs.
func (s section) cards(after int) *walk {
	return &walk{section: s, params: s.fields, after: after, pages: exportPages}
}

// bare is a walk that reads ids alone.
func (s section) bare() *walk {
	return &walk{section: s, params: url.Values{"select[0]": {"ID"}, "start": {"-1"}}, pages: sweepPages}
}

// commands are the next pages, each beginning behind the last row of the one
// before.
func (w *walk) commands() []command {
	out := make([]command, w.pages)
	after := strconv.Itoa(w.after)
	for i := range out {
		params := copyValues(w.params)
		params.Set("filter[>ID]", after)
		params.Set("order[ID]", "ASC")
		key := "p" + strconv.Itoa(i)
		out[i] = newCommand(key, w.section.method, params)
		after = "$result[" + key + "][" + strconv.Itoa(pageRows-1) + "][ID]"
	}
	return out
}

// rows takes the pages in order, up to the first short one: behind it the
// reference leads nowhere, and the pages begin again from the start.
func (w *walk) rows(c *Client, commands []command, results FlexObject) ([]rawRow, error) {
	var out []rawRow
	for _, cmd := range commands {
		page, err := c.rows(w.section, results[cmd.key])
		if err != nil {
			return nil, err
		}
		for _, raw := range page {
			id, err := raw.id(w.section)
			if err != nil {
				return nil, err
			}
			if id <= w.after {
				return nil, fmt.Errorf("%s: %w: ids do not rise", w.section.method, errShape)
			}
			w.after = id
		}
		out = append(out, page...)
		if len(page) > pageRows {
			return nil, fmt.Errorf("%s: %w: a page of %d rows", w.section.method, errShape, len(page))
		}
		if w.end = len(page) < pageRows; w.end {
			break
		}
	}
	return out, nil
}

// next reads the next pages of w.
func (m *Mirror) next(ctx context.Context, w *walk) ([]rawRow, error) {
	return w.next(ctx, m.client, func(commands []command) (FlexObject, error) {
		results, _, err := m.batch(ctx, commands)
		return results, err
	})
}

// batch sends commands that read, when callers leave room, and tells the
// portal's time of it.
func (m *Mirror) batch(ctx context.Context, commands []command) (FlexObject, time.Time, error) {
	return m.client.politely(ctx, &m.metrics.resting, m.cfg.Operating, commands)
}

// portalTime is the portal's clock in an answer, which its dates go by; ours
// where it does not tell.
func portalTime(answer envelope) time.Time {
	var t struct {
		Start float64 `json:"start"`
	}
	if json.Unmarshal(answer.Time, &t) != nil || t.Start <= 0 {
		return time.Now()
	}
	return time.UnixMilli(int64(t.Start * 1000))
}

// Export reads all contacts, companies and leads, from where an export before
// it stopped, and the employees. A copy that was complete goes on answering.
// It may be repeated after an error.
func (m *Mirror) Export(ctx context.Context) error {
	if err := m.client.LoadEmployees(ctx); err != nil {
		return fmt.Errorf("export: %w", err)
	}
	if err := m.saveEmployees(ctx); err != nil {
		return err
	}
	at := *m.known.Load()
	if at.Kind == "" {
		_, now, err := m.batch(ctx, []command{newCommand("now", "crm.settings.mode.get", nil)})
		if err != nil {
			return fmt.Errorf("export: %w", err)
		}
		at.Kind, at.After, at.Began, at.Since = kindOrder[0], 0, time.Now(), now
	}
	for at.Kind != "" {
		if err := m.exportKind(ctx, &at); err != nil {
			return fmt.Errorf("exporting %s: %w", at.Kind, err)
		}
		at.Kind, at.After = following(at.Kind), 0
	}
	m.force.Store(false)
	at.Complete, at.Heard, at.Swept, at.Modified = true, at.Began, at.Began, at.Since
	at.Began, at.Since, at.Replace = time.Time{}, time.Time{}, false
	m.log.InfoContext(ctx, "mirror exported", "contacts", m.index.count(call.KindContact),
		"companies", m.index.count(call.KindCompany), "leads", m.index.count(call.KindLead))
	return m.save(ctx, &at)
}

// Replace exports everything anew and believes what it sees, also where the
// portal shows no entities of a kind any more, which Export and Sweep refuse.
func (m *Mirror) Replace(ctx context.Context) error {
	at := *m.known.Load()
	at.Kind, at.After, at.Replace = "", 0, true
	m.known.Store(&at)
	return m.Export(ctx)
}

// following is the kind after k; none after the last.
func following(k call.Kind) call.Kind {
	if i := slices.Index(kindOrder[:], k) + 1; i < len(kindOrder) {
		return kindOrder[i]
	}
	return ""
}

func (m *Mirror) section(k call.Kind) section {
	return m.client.sections[slices.IndexFunc(m.client.sections, func(s section) bool { return s.kind == k })]
}

// exportKind reads the cards of at.Kind from at.After on, and saves how far it
// is after every batch.
func (m *Mirror) exportKind(ctx context.Context, at *cursor) error {
	s := m.section(at.Kind)
	last, err := m.highest(ctx, s)
	if err != nil {
		return err
	}
	w, old := s.cards(at.After), m.sweeping(at.Kind, at.After)
	progress := Progress{Kind: at.Kind, Last: last, At: at.After}
	for !w.end {
		n, err := m.exportPages(ctx, w, old)
		if err != nil {
			return err
		}
		at.After = w.after
		if err := m.save(ctx, at); err != nil {
			return err
		}
		progress.Cards += n
		progress.At, progress.Last = w.after, max(last, w.after)
		m.report(progress)
	}
	return nil
}

func (m *Mirror) exportPages(ctx context.Context, w *walk, old *sweep) (int, error) {
	m.feeding.Lock()
	defer m.feeding.Unlock()
	rows, err := m.next(ctx, w)
	if err != nil {
		return 0, err
	}
	if err := m.takeRows(ctx, w.section, rows); err != nil {
		return 0, err
	}
	_, err = m.settle(ctx, w, rows, old)
	return len(rows), err
}

// takeRows takes in what a list shows.
func (m *Mirror) takeRows(ctx context.Context, s section, rows []rawRow) error {
	cards := make([]call.Card, 0, len(rows))
	for _, raw := range rows {
		id, err := raw.id(s)
		if err != nil {
			return err
		}
		r, err := m.client.row(s, id, raw)
		if err != nil {
			return err
		}
		cards = append(cards, call.Card{Entity: r.entity, Phones: r.phones})
	}
	return m.take(ctx, cards)
}

// highest is the highest id of a section, for the progress alone.
func (m *Mirror) highest(ctx context.Context, s section) (int, error) {
	params := url.Values{"select[0]": {"ID"}, "start": {"-1"}, "order[ID]": {"DESC"}}
	results, _, err := m.batch(ctx, []command{newCommand("last", s.method, params)})
	if err != nil {
		return 0, err
	}
	rows, err := m.client.rows(s, results["last"])
	if err != nil || len(rows) == 0 {
		return 0, err
	}
	return rows[0].id(s)
}

func (m *Mirror) report(p Progress) {
	m.metrics.progress.Store(&p)
	if m.cfg.Progress != nil {
		m.cfg.Progress(p)
	}
}

// sweep are the entities of a kind that were known when a walk began and that
// it has not come by yet.
type sweep struct {
	kind call.Kind
	ids  []int // rising
}

func (m *Mirror) sweeping(k call.Kind, after int) *sweep {
	ids := m.index.ids(k)
	at, _ := slices.BinarySearch(ids, after+1)
	return &sweep{kind: k, ids: ids[at:]}
}

// pass goes on to the id upto, and tells which known entities were not among
// the present ones, and which present ones were not known.
func (s *sweep) pass(upto int, present []int) (missing, strange []int) {
	for _, id := range present {
		for len(s.ids) > 0 && s.ids[0] < id {
			missing, s.ids = append(missing, s.ids[0]), s.ids[1:]
		}
		if len(s.ids) > 0 && s.ids[0] == id {
			s.ids = s.ids[1:]
		} else {
			strange = append(strange, id)
		}
	}
	for len(s.ids) > 0 && s.ids[0] <= upto {
		missing, s.ids = append(missing, s.ids[0]), s.ids[1:]
	}
	return missing, strange
}

// settle drops what a walk that has just read rows did not come by, and tells
// which rows were not known. Full pages prove their gaps; an end before its
// time has to be confirmed.
func (m *Mirror) settle(ctx context.Context, w *walk, rows []rawRow, old *sweep) (strange []int, err error) {
	present := make([]int, len(rows))
	for i, raw := range rows {
		if present[i], err = raw.id(w.section); err != nil {
			return nil, err
		}
	}
	missing, strange := old.pass(w.after, present)
	if w.end {
		if len(old.ids) > doubtful && len(rows) == 0 && !m.known.Load().Replace {
			if err := m.confirm(ctx, w); err != nil {
				return nil, err
			}
		}
		missing = append(missing, old.ids...)
		old.ids = nil
	}
	return strange, m.drop(ctx, old.kind, missing)
}

// confirm wants the portal to show the last entity of a walk again: it may
// have answered nothing at all instead of nothing more.
func (m *Mirror) confirm(ctx context.Context, w *walk) error {
	if w.after == 0 {
		return errVanished
	}
	rows, err := m.readIDs(ctx, map[call.Kind][]int{w.section.kind: {w.after}})
	if err != nil {
		return err
	}
	if len(rows[w.section.kind]) == 0 {
		return errVanished
	}
	return nil
}

// readIDs reads entities by id, each kind in lists of a page's size. Those that
// the portal does not show are gone, or may not be read.
func (m *Mirror) readIDs(ctx context.Context, ids map[call.Kind][]int) (map[call.Kind][]rawRow, error) {
	var commands []command
	var of []section
	for _, k := range kindOrder {
		for part := range slices.Chunk(ids[k], pageRows) {
			s := m.section(k)
			params := copyValues(s.fields)
			for i, id := range part {
				params.Set("filter[@ID]["+strconv.Itoa(i)+"]", strconv.Itoa(id))
			}
			commands = append(commands, newCommand("r"+strconv.Itoa(len(commands)), s.method, params))
			of = append(of, s)
		}
	}
	if len(commands) == 0 {
		return nil, nil
	}
	results, _, err := m.batch(ctx, commands)
	if err != nil {
		return nil, err
	}
	out := map[call.Kind][]rawRow{}
	for i, cmd := range commands {
		rows, err := m.client.rows(of[i], results[cmd.key])
		if err != nil {
			return nil, err
		}
		out[of[i].kind] = append(out[of[i].kind], rows...)
	}
	return out, nil
}
