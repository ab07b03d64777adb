package crm

import (
	"context"
	"fmt"
	"sync"
	"time"

	"frontdesk/call"
)

// originator marks in the portal what frontdesk made.
const originator = "frontdesk"

// Mode is how the portal works.
type Mode int

// The modes.
const (
	ModeClassic Mode = 1 // with leads
	ModeSimple  Mode = 2 // without leads: contacts and deals at once
)

// modeKept is for how long the mode is believed.
const modeKept = 15 * time.Minute

// modes remembers the mode.
type modes struct {
	mu   sync.Mutex
	mode Mode
	at   time.Time
}

// Mode is how the portal works (crm.settings.mode.get); it is asked now and
// then.
func (c *Client) Mode(ctx context.Context) (Mode, error) {
	m := &c.modes
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.mode != 0 && time.Since(m.at) < modeKept {
		return m.mode, nil
	}
	var n FlexInt
	if err := c.serve(ctx, LaneLog, "crm.settings.mode.get", nil, &n); err != nil {
		return 0, err
	}
	mode := Mode(n)
	if mode != ModeClassic && mode != ModeSimple {
		return 0, fmt.Errorf("crm.settings.mode.get: %w", errShape)
	}
	m.mode, m.at = mode, time.Now()
	return mode, nil
}

// NewLead is a lead for an unknown caller.
type NewLead struct {
	Title       string
	Number      call.Number
	Responsible int
	Source      string // of the portal's list; "": CALL
	Note        string // more about the source, as the number that was called
	Origin      string // unique: FindLead finds it by this
}

// Lead is a lead as the portal has it.
type Lead struct {
	ID          int
	Responsible int
	Closed      bool // converted or junk
}

// Written is what was made in the portal, and as whom.
type Written struct {
	ID       int
	Authored Authored
}

// AddLead makes a lead, new and open, as an author (crm.lead.add). It is not
// idempotent: after an ambiguous failure FindLead tells whether it was done.
func (c *Client) AddLead(ctx context.Context, author int, l NewLead) (Written, error) {
	source := l.Source
	if source == "" {
		source = "CALL"
	}
	fields := map[string]any{
		"TITLE": l.Title, "STATUS_ID": "NEW", "SOURCE_ID": source, "OPENED": "Y", "ASSIGNED_BY_ID": l.Responsible,
		"PHONE": []any{map[string]any{"VALUE": string(l.Number), "VALUE_TYPE": "WORK"}},
	}
	if l.Note != "" {
		fields["SOURCE_DESCRIPTION"] = l.Note
	}
	if l.Origin != "" {
		fields["ORIGINATOR_ID"], fields["ORIGIN_ID"] = originator, l.Origin
	}
	return c.make(ctx, author, "crm.lead.add", map[string]any{"fields": fields, "params": quiet()})
}

// quiet keeps a change out of the feed.
func quiet() map[string]any { return map[string]any{"REGISTER_SONET_EVENT": "N"} }

// make creates something whose id is the result.
func (c *Client) make(ctx context.Context, author int, method string, params any) (Written, error) {
	var id FlexInt
	authored, err := c.As(author).write(ctx, LaneLog, method, params, &id)
	if err == nil && id <= 0 {
		err = fmt.Errorf("%s: %w: %w", method, errShape, errNoID)
	}
	return Written{ID: int(id), Authored: authored}, err
}

// FindLead finds the lead with an origin; of several, the first.
func (c *Client) FindLead(ctx context.Context, origin string) (l Lead, found bool, err error) {
	rows, err := c.byOrigin(ctx, "crm.lead.list", origin, "ASSIGNED_BY_ID", "STATUS_SEMANTIC_ID")
	if err != nil || len(rows) == 0 {
		return Lead{}, false, err
	}
	return leadOf(rows[0]), true, nil
}

// ReadLead reads a lead; found is false where it was deleted.
func (c *Client) ReadLead(ctx context.Context, id int) (l Lead, found bool, err error) {
	var row rawRow
	err = c.serve(ctx, LaneLog, "crm.lead.get", map[string]any{"id": id}, &row)
	switch {
	case gone(err):
		return Lead{}, false, nil
	case err != nil:
		return Lead{}, false, err
	}
	if l = leadOf(row); l.ID != id {
		return Lead{}, false, fmt.Errorf("crm.lead.get: %w: it is about another one", errShape)
	}
	return l, true, nil
}

func leadOf(row rawRow) Lead {
	semantics := word(row["STATUS_SEMANTIC_ID"])
	return Lead{
		ID: whole(row["ID"]), Responsible: whole(row["ASSIGNED_BY_ID"]), Closed: semantics == "S" || semantics == "F",
	}
}

// ReassignLead gives a lead to an employee, as an author (crm.lead.update), if
// it is still with who it is to be taken from: what people changed stays. done
// is false where it was with somebody else, or is gone. It may be repeated.
func (c *Client) ReassignLead(ctx context.Context, author, id, from, to int) (done bool, by Authored, err error) {
	l, found, err := c.ReadLead(ctx, id)
	switch {
	case err != nil || !found:
		return false, "", err
	case l.Responsible == to:
		return true, "", nil
	case l.Responsible != from:
		return false, "", nil
	}
	var ok FlexBool
	by, err = c.As(author).write(ctx, LaneLog, "crm.lead.update", map[string]any{
		"id": id, "fields": map[string]any{"ASSIGNED_BY_ID": to}, "params": quiet(),
	}, &ok)
	if gone(err) {
		return false, by, nil
	}
	if err == nil && !ok {
		err = fmt.Errorf("crm.lead.update: %w: not updated", errShape)
	}
	return err == nil, by, err
}

// byOrigin are the rows of an old list that frontdesk made, by their origin. A
// filter that the portal does not know is dropped by it, so every row is
// looked at.
func (c *Client) byOrigin(ctx context.Context, method, origin string, fields ...string) ([]rawRow, error) {
	if origin == "" {
		return nil, fmt.Errorf("%s: %w: no origin", method, errRefused)
	}
	var rows []rawRow
	err := c.serve(ctx, LaneLog, method, map[string]any{
		"filter": map[string]any{"ORIGINATOR_ID": originator, "ORIGIN_ID": origin}, "order": map[string]any{"ID": "ASC"},
		"select": append([]string{"ID", "ORIGINATOR_ID", "ORIGIN_ID"}, fields...), "start": -1,
	}, &rows)
	if err != nil {
		return nil, err
	}
	var out []rawRow
	for _, r := range rows {
		if word(r["ORIGINATOR_ID"]) == originator && word(r["ORIGIN_ID"]) == origin && whole(r["ID"]) > 0 {
			out = append(out, r)
		}
	}
	return out, nil
}
