package store

import (
	"context"
	"time"

	"frontdesk/call"
)

// SaveSticky binds caller. An older binding than the one that is kept changes
// nothing, unless that one lies in the future, as a clock that jumped made it.
func (s *Store) SaveSticky(ctx context.Context, caller call.Number, b call.Sticky) error {
	now := s.now().UnixMilli()
	_, err := s.exec(ctx, "save_sticky", `INSERT INTO sticky (caller, employee, since, until, changed) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (caller) DO UPDATE SET employee = excluded.employee, since = excluded.since, until = excluded.until, changed = excluded.changed
		WHERE excluded.since >= sticky.since OR sticky.since > $5`,
		string(caller), b.Employee, b.Since.UnixMilli(), b.Until.UnixMilli(), now)
	return err
}

// DeleteSticky takes caller's binding away.
func (s *Store) DeleteSticky(ctx context.Context, caller call.Number) error {
	now := s.now().UnixMilli()
	_, err := s.exec(ctx, "delete_sticky",
		"UPDATE sticky SET employee = 0, since = $2, until = $2, changed = $2 WHERE caller = $1", string(caller), now)
	return err
}

// Stickies tells f the bindings that changed since a time, those of all nodes,
// in no order; all that are kept for the zero time. A binding that was taken
// away has employee 0. A change is told again for half a minute.
func (s *Store) Stickies(ctx context.Context, since time.Time, f func(caller call.Number, b call.Sticky)) error {
	from := int64(0)
	if !since.IsZero() {
		from = since.Add(-changeOverlap).UnixMilli()
	}
	return s.each(ctx, "stickies", func(scan func(...any) error) error {
		var caller string
		var b call.Sticky
		var begin, end int64
		if err := scan(&caller, &b.Employee, &begin, &end); err != nil {
			return err
		}
		b.Since, b.Until = time.UnixMilli(begin), time.UnixMilli(end)
		f(call.Number(caller), b)
		return nil
	}, "SELECT caller, employee, since, until FROM sticky WHERE changed >= $1", from)
}
