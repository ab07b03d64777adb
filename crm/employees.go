package crm

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"frontdesk/call"
)

// staff are the employees in memory.
type staff struct {
	all atomic.Pointer[map[int]call.Employee]

	mu     sync.Mutex        // held to change all
	absent map[int]time.Time // ids that the portal did not know, and when it said so
}

// Employees are the portal's users by id, dismissed ones too, from memory: nil
// before the portal has answered for the first time. Not to be changed.
func (c *Client) Employees() map[int]call.Employee {
	if m := c.staff.all.Load(); m != nil {
		return *m
	}
	return nil
}

// Employee is one user from memory.
func (c *Client) Employee(id int) (call.Employee, bool) {
	e, ok := c.Employees()[id]
	return e, ok
}

// The pauses after a failed refresh: the first and the longest.
const (
	firstRetry  = time.Second
	longestWait = 30 * time.Second
)

// refresh reads the employees at the start and then regularly.
func (c *Client) refresh(ctx context.Context) {
	retry := firstRetry
	for failing := false; ; {
		err := c.LoadEmployees(ctx)
		pause := c.cfg.Refresh
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			if !failing {
				c.log.WarnContext(ctx, "the employees could not be read, the last known ones stay",
					"known", len(c.Employees()), "error", err)
			}
			pause = min(retry, c.cfg.Refresh)
			retry = min(2*retry, longestWait)
		default:
			if failing {
				c.log.InfoContext(ctx, "the employees are read again", "known", len(c.Employees()))
			}
			retry = firstRetry
		}
		failing = err != nil
		if sleep(ctx, pause) != nil {
			return
		}
	}
}

// reloadTimeout bounds one page of employees.
const reloadTimeout = 20 * time.Second

// LoadEmployees reads the employees now; Run does so regularly. What is known
// is replaced by what the portal says, unless that is nothing.
func (c *Client) LoadEmployees(ctx context.Context) error {
	users, err := c.users(ctx, LaneLog, map[string]any{"USER_TYPE": "employee"})
	if err != nil {
		return err
	}
	if len(users) == 0 {
		return fmt.Errorf("user.get: %w: no employees at all", errShape)
	}
	c.staff.mu.Lock()
	defer c.staff.mu.Unlock()
	c.staff.all.Store(&users)
	c.staff.absent = nil
	return nil
}

// meet makes sure that the employees of entities are in memory: one who is new
// since the last refresh is asked for.
func (c *Client) meet(ctx context.Context, entities []call.Entity) error {
	ids := c.strangers(entities)
	if len(ids) == 0 {
		return nil
	}
	users, err := c.users(ctx, LaneLookup, map[string]any{"ID": ids})
	if err != nil {
		return err
	}
	c.staff.mu.Lock()
	defer c.staff.mu.Unlock()
	all := maps.Clone(c.Employees())
	if all == nil {
		all = map[int]call.Employee{}
	}
	now := time.Now()
	for _, id := range ids {
		if e, ok := users[id]; ok {
			all[id] = e
			continue
		}
		if c.staff.absent == nil {
			c.staff.absent = map[int]time.Time{}
		}
		c.staff.absent[id] = now
	}
	c.staff.all.Store(&all)
	return nil
}

// strangers are the employees of entities who are not in memory and were not
// asked for within the last refresh, in order.
func (c *Client) strangers(entities []call.Entity) []int {
	known := c.Employees()
	c.staff.mu.Lock()
	defer c.staff.mu.Unlock()
	var ids []int
	for _, e := range entities {
		for _, id := range []int{e.Responsible, e.Manager, e.Temporary} {
			if _, ok := known[id]; ok || id == 0 {
				continue
			}
			if at, ok := c.staff.absent[id]; ok && time.Since(at) < c.cfg.Refresh {
				continue
			}
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// userQuery are the parameters of user.get.
type userQuery struct {
	Filter map[string]any `json:"FILTER"`
	Sort   string         `json:"sort"`
	Order  string         `json:"order"`
	Select []string       `json:"select"`
	Start  int            `json:"start"`
}

// maxPages bounds the pages of employees: 100,000 of them.
const maxPages = 2000

// users reads all users that filter lets through, page by page.
func (c *Client) users(ctx context.Context, lane Lane, filter map[string]any) (map[int]call.Employee, error) {
	q := userQuery{
		Sort: "ID", Order: "ASC", Start: -1,
		Select: []string{"ID", "ACTIVE", "NAME", "LAST_NAME", "UF_PHONE_INNER", "PERSONAL_MOBILE", "PERSONAL_PHONE", "WORK_PHONE"},
	}
	if f := c.cfg.Fields.Sticky; f != "" {
		q.Select = append(q.Select, f)
	}
	out := map[int]call.Employee{}
	for last, page := 0, 0; page < maxPages; page++ {
		q.Filter = maps.Clone(filter)
		q.Filter[">ID"] = last
		rows, err := c.userPage(ctx, lane, q)
		if err != nil {
			return nil, err
		}
		before := last
		for _, raw := range rows {
			e, err := c.employee(raw)
			if err != nil {
				return nil, err
			}
			out[e.ID] = e
			last = max(last, e.ID)
		}
		if len(rows) < pageRows {
			return out, nil
		}
		if last == before {
			break
		}
	}
	return nil, fmt.Errorf("user.get: %w: pages without end", errShape)
}

func (c *Client) userPage(ctx context.Context, lane Lane, q userQuery) ([]rawRow, error) {
	ctx, cancel := context.WithTimeout(ctx, reloadTimeout)
	defer cancel()
	var rows []rawRow
	err := c.Call(ctx, lane, "user.get", q, &rows)
	return rows, err
}

// employee reads a row of user.get; fields that are empty are missing there.
func (c *Client) employee(raw rawRow) (call.Employee, error) {
	r := fieldReader{raw: raw, where: "user"}
	e := call.Employee{
		ID:        r.employee("ID"),
		FirstName: plain(r.text("NAME")),
		LastName:  plain(r.text("LAST_NAME")),
	}
	if e.ID == 0 {
		return e, fmt.Errorf("user.get: %w: a user without ID", errShape)
	}
	r.where = fmt.Sprintf("user %d", e.ID)
	if _, ok := raw["ACTIVE"]; ok {
		e.Dismissed = !r.boolean("ACTIVE")
	}
	e.Extension = call.Extension(plain(text(raw["UF_PHONE_INNER"])))
	for _, field := range []string{"PERSONAL_MOBILE", "PERSONAL_PHONE", "WORK_PHONE"} {
		if n := call.ParseNumber(plain(text(raw[field])), c.cfg.Country); n.E164() && !slices.Contains(e.Phones, n) {
			e.Phones = append(e.Phones, n)
		}
	}
	if f := c.cfg.Fields.Sticky; f != "" {
		e.StickyMinutes = r.minutes(f)
	}
	return e, r.err
}

// minutes reads an integer field that may be empty.
func (r *fieldReader) minutes(field string) *int {
	raw, ok := r.raw[field]
	if !ok || text(raw) == "" || string(raw) == "false" {
		return nil
	}
	var n FlexInt
	if err := json.Unmarshal(raw, &n); err != nil {
		r.fail(field, err)
		return nil
	}
	v := max(int(n), 0)
	return &v
}
