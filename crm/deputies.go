package crm

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"frontdesk/call"
)

// Deputies are the temporary managers that the portal's entities carry: those
// whose time has passed are found, read again, and taken away.
type Deputies struct{ client *Client }

// NewDeputies are the temporary managers of c's portal.
func NewDeputies(c *Client) *Deputies { return &Deputies{client: c} }

const (
	// zones is how far apart two wall clocks may be: the portal may compare the
	// filter's date in a time zone of its own, so the list is asked for more
	// and every limit is judged here.
	zones = 27 * time.Hour
	// endedRounds bounds the requests of one search: 10,000 entities a kind.
	endedRounds = 200
)

// Ended are the entities whose temporary manager's limit is at or before now,
// those with a limit and nobody in it too.
func (d *Deputies) Ended(ctx context.Context, now time.Time) ([]call.Entity, error) {
	c := d.client
	if c.cfg.Fields.Until == "" {
		return nil, nil
	}
	var out []call.Entity
	pages := make(map[call.Kind]int, len(c.sections)) // sections not read to their end, and the last id read
	for _, s := range c.sections {
		pages[s.kind] = 0
	}
	for range endedRounds {
		found, err := d.round(ctx, now, pages)
		if err != nil {
			return nil, fmt.Errorf("looking for temporary managers whose time has passed: %w", err)
		}
		out = append(out, found...)
		if len(pages) == 0 {
			return out, nil
		}
	}
	return nil, fmt.Errorf("looking for temporary managers whose time has passed: %w: pages without end", errShape)
}

// round reads one page of every section that pages holds, in one request, and
// moves pages on.
func (d *Deputies) round(ctx context.Context, now time.Time, pages map[call.Kind]int) ([]call.Entity, error) {
	var commands []command
	for _, s := range d.client.sections {
		if after, ok := pages[s.kind]; ok {
			commands = append(commands, d.search(s, now, after))
		}
	}
	results, err := d.client.whole(ctx, LaneSync, commands)
	if err != nil {
		return nil, err
	}
	var out []call.Entity
	for _, s := range d.client.sections {
		if _, ok := pages[s.kind]; !ok {
			continue
		}
		rows, err := d.client.rows(s, results[s.list])
		if err != nil {
			return nil, err
		}
		found, err := d.page(s, now, rows, pages)
		if err != nil {
			return nil, err
		}
		out = append(out, found...)
	}
	return out, nil
}

func (d *Deputies) search(s section, now time.Time, after int) command {
	until := s.names.Until
	params := copyValues(s.fields)
	params.Set("filter[<="+until+"]", now.Add(zones).In(d.client.cfg.Zone).Format(time.RFC3339))
	params.Set("filter[!"+until+"]", "")
	params.Set("filter[>ID]", strconv.Itoa(after))
	params.Set("order[ID]", "ASC")
	return newCommand(s.list, s.method, params)
}

// page keeps the rows whose limit has passed. A full page without a single date
// that was asked for means that the portal does not filter by the field: it
// must not be read to its end, which is the end of the CRM.
func (d *Deputies) page(s section, now time.Time, rows []rawRow, pages map[call.Kind]int) ([]call.Entity, error) {
	var out []call.Entity
	last, asked := pages[s.kind], false
	for _, raw := range rows {
		id, err := raw.id(s)
		if err != nil {
			return nil, err
		}
		r, err := d.client.row(s, id, raw)
		if err != nil {
			return nil, err
		}
		last = max(last, id)
		until := r.entity.Until
		asked = asked || !until.IsZero() && !until.After(now.Add(zones))
		if !until.IsZero() && !until.After(now) {
			out = append(out, r.entity)
		}
	}
	switch {
	case len(rows) < pageRows:
		delete(pages, s.kind)
	case !asked || last == pages[s.kind]:
		return nil, fmt.Errorf("%s: %w: the list is not filtered by %s", s.method, errShape, s.names.Until)
	default:
		pages[s.kind] = last
	}
	return out, nil
}

// Entity reads an entity as it is now; found is false where it was deleted.
func (d *Deputies) Entity(ctx context.Context, k call.Kind, id int) (e call.Entity, found bool, err error) {
	s, err := d.section(k)
	if err != nil {
		return call.Entity{}, false, err
	}
	var raw rawRow
	err = d.client.Call(ctx, LaneLog, "crm."+string(k)+".get", map[string]any{"id": id}, &raw)
	if gone(err) {
		return call.Entity{}, false, nil
	}
	if err != nil {
		return call.Entity{}, false, fmt.Errorf("reading %s %d: %w", k, id, err)
	}
	e, err = d.read(s, id, raw)
	return e, err == nil, err
}

// Clear empties both fields of e, the temporary manager and its limit, and gives
// the entity as the portal has it afterwards. The portal knows no conditional
// update, so what it overwrote comes back with it: where somebody had changed
// the fields since e was read, theirs are put back and returned.
func (d *Deputies) Clear(ctx context.Context, e call.Entity) (call.Entity, error) {
	s, err := d.section(e.Kind)
	if err != nil {
		return call.Entity{}, err
	}
	before, after, err := d.write(ctx, s, e.ID, call.Entity{})
	if err == nil && (before.Temporary != e.Temporary || !before.Until.Equal(e.Until)) {
		_, after, err = d.write(ctx, s, e.ID, before)
	}
	if err != nil {
		return call.Entity{}, fmt.Errorf("clearing the temporary manager of %s %d: %w", e.Kind, e.ID, err)
	}
	return after, nil
}

// write puts the fields of want into an entity and reads it before and after,
// all in one request.
func (d *Deputies) write(ctx context.Context, s section, id int, want call.Entity) (before, after call.Entity, err error) {
	manager, until := "", ""
	if want.Temporary != 0 {
		manager = strconv.Itoa(want.Temporary)
	}
	if !want.Until.IsZero() {
		until = want.Until.Format(time.RFC3339)
	}
	params := url.Values{
		"id": {strconv.Itoa(id)}, "params[REGISTER_SONET_EVENT]": {"N"},
		"fields[" + s.names.Until + "]": {until},
	}
	if f := s.names.Temporary; f != "" {
		params.Set("fields["+f+"]", manager)
	}
	get := "crm." + string(s.kind) + ".get"
	one := url.Values{"id": {strconv.Itoa(id)}}
	commands := []command{
		newCommand("before", get, one),
		newCommand("update", "crm."+string(s.kind)+".update", params),
		newCommand("after", get, one),
	}
	answer, err := d.client.send(ctx, LaneLog, request{method: "batch", body: encodeBatch(commands)})
	if err != nil {
		return before, after, err
	}
	results, err := d.client.results(commands, answer.Result)
	if err != nil {
		return before, after, err
	}
	for key, e := range map[string]*call.Entity{"before": &before, "after": &after} {
		var raw rawRow
		if err := decode(get+" ("+key+")", results[key], &raw); err != nil {
			return before, after, err
		}
		if *e, err = d.read(s, id, raw); err != nil {
			return before, after, err
		}
	}
	return before, after, nil
}

// read makes sure that a row is the entity that was asked for.
func (d *Deputies) read(s section, id int, raw rawRow) (call.Entity, error) {
	got, err := raw.id(s)
	if err != nil {
		return call.Entity{}, err
	}
	if got != id {
		return call.Entity{}, fmt.Errorf("crm.%s.get: %w: it is about another one", s.kind, errShape)
	}
	r, err := d.client.row(s, id, raw)
	return r.entity, err
}

// Employee reads a user and the address of their mailbox, both empty where there
// is none. The address needs the scope user or user_basic.
func (d *Deputies) Employee(ctx context.Context, id int) (e call.Employee, address string, err error) {
	q := userQuery{
		Filter: map[string]any{"ID": id}, Sort: "ID", Order: "ASC", Start: -1,
		Select: []string{"ID", "ACTIVE", "NAME", "LAST_NAME", "UF_PHONE_INNER", "EMAIL"},
	}
	rows, err := d.client.userPage(ctx, LaneLog, q)
	if err != nil {
		return call.Employee{}, "", fmt.Errorf("reading user %d: %w", id, err)
	}
	for _, raw := range rows {
		e, err := d.client.employee(raw)
		if err != nil {
			return call.Employee{}, "", fmt.Errorf("reading user %d: %w", id, err)
		}
		if e.ID == id {
			return e, plain(text(raw["EMAIL"])), nil
		}
	}
	return call.Employee{}, "", nil
}

func (d *Deputies) section(k call.Kind) (section, error) {
	for _, s := range d.client.sections {
		if s.kind == k {
			return s, nil
		}
	}
	return section{}, fmt.Errorf("there are no entities of kind %q", k)
}

// gone reports whether the portal says that an entity does not exist. Old
// methods say so in words alone.
func gone(err error) bool {
	var e *Error
	if !errors.As(err, &e) {
		return false
	}
	return e.Code == "NOT_FOUND" || e.Code == "ERROR_NOT_FOUND" || strings.EqualFold(strings.TrimSuffix(e.Text, "."), "not found")
}
