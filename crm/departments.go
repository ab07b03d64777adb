package crm

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"
)

// department is one of the company's.
type department struct{ parent, head int }

// departments are the company's, as last read.
type departments struct {
	mu  sync.Mutex
	all map[int]department
	at  time.Time
}

// Head is the head of a user's department: the nearest one above who is
// somebody else and not dismissed. 0: there is none.
func (c *Client) Head(ctx context.Context, user int) (int, error) {
	all, err := c.structure(ctx)
	if err != nil {
		return 0, err
	}
	at, err := c.departmentsOf(ctx, user)
	if err != nil {
		return 0, err
	}
	for _, id := range at {
		if head := c.above(all, id, user); head != 0 {
			return head, nil
		}
	}
	return 0, nil
}

// above walks from a department to the top, which a circle has none of.
func (c *Client) above(all map[int]department, id, user int) int {
	for range len(all) {
		d, ok := all[id]
		if !ok {
			return 0
		}
		if d.head != 0 && d.head != user && !c.dismissed(d.head) {
			return d.head
		}
		id = d.parent
	}
	return 0
}

func (c *Client) dismissed(user int) bool {
	e, known := c.Employee(user)
	return known && e.Dismissed || !known && len(c.Employees()) > 0
}

// structure are the departments, read anew as often as the employees are.
func (c *Client) structure(ctx context.Context) (map[int]department, error) {
	d := &c.departments
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.all != nil && time.Since(d.at) < c.cfg.Refresh {
		return d.all, nil
	}
	all := map[int]department{}
	for page := range maxPages {
		rows, err := c.departmentPage(ctx, page*pageRows)
		if err != nil {
			return nil, err
		}
		before := len(all)
		for _, r := range rows {
			if id := whole(r.ID); id > 0 {
				all[id] = department{parent: whole(r.Parent), head: whole(r.Head)}
			}
		}
		if len(rows) < pageRows {
			d.all, d.at = all, time.Now()
			return all, nil
		}
		if len(all) == before {
			break
		}
	}
	return nil, fmt.Errorf("department.get: %w: pages without end", errShape)
}

type departmentRow struct {
	ID     json.RawMessage `json:"ID"`
	Parent json.RawMessage `json:"PARENT"`
	Head   json.RawMessage `json:"UF_HEAD"`
}

func (c *Client) departmentPage(ctx context.Context, start int) ([]departmentRow, error) {
	var rows []departmentRow
	err := c.serve(ctx, LaneLog, "department.get", map[string]any{"sort": "ID", "order": "ASC", "START": start}, &rows)
	return rows, err
}

// departmentsOf are the departments that a user is in.
func (c *Client) departmentsOf(ctx context.Context, user int) ([]int, error) {
	rows, err := c.userPage(ctx, LaneLog, userQuery{
		Filter: map[string]any{"ID": user}, Sort: "ID", Order: "ASC", Start: -1, Select: []string{"ID", "UF_DEPARTMENT"},
	})
	if err != nil {
		return nil, err
	}
	for _, r := range rows {
		if whole(r["ID"]) != user {
			continue
		}
		var list []FlexInt
		if raw := r["UF_DEPARTMENT"]; len(raw) > 0 && json.Unmarshal(raw, &list) != nil {
			list = []FlexInt{FlexInt(whole(raw))} // one, or none: not as a list
		}
		var out []int
		for _, id := range list {
			out = append(out, int(id))
		}
		return out, nil
	}
	return nil, nil
}
