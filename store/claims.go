package store

import (
	"context"
	"fmt"
	"time"
)

// Claim takes a name that nobody else has, on any node, for as long as lasts,
// and reports whether it did: the name was free, or its time was over, or
// holder or heir had it. Who dies with a name keeps it until then, so lasts is
// longer than what is done under it may go on.
func (s *Store) Claim(ctx context.Context, name, holder, heir string, lasts time.Duration) (bool, error) {
	n, err := bounded(ctx, s, "claim", func(ctx context.Context, d *db) (int64, error) {
		now := s.clock(d)
		var others int // who waits for a name asks often: that is no reason to write
		if err := d.read.QueryRowContext(ctx, "SELECT count(*) FROM claims WHERE name = $1 AND until > "+now+" AND holder NOT IN ($2, $3)",
			name, holder, heir).Scan(&others); err != nil || others > 0 {
			return 0, err
		}
		res, err := d.write.ExecContext(ctx, `INSERT INTO claims (name, holder, until) VALUES ($1, $2, `+now+` + $4)
			ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, until = excluded.until
			WHERE claims.until <= `+now+` OR claims.holder IN ($2, $3)`, name, holder, heir, lasts.Milliseconds())
		if err != nil {
			return 0, err
		}
		return res.RowsAffected()
	})
	return n == 1, err
}

// Release gives up a name that holder has: to heir, who may claim it until its
// time is over, or, where heir is empty, to anybody.
func (s *Store) Release(ctx context.Context, name, holder, heir string) error {
	if heir != "" {
		_, err := s.exec(ctx, "release", "UPDATE claims SET holder = $3 WHERE name = $1 AND holder = $2", name, holder, heir)
		return err
	}
	_, err := s.exec(ctx, "release", "DELETE FROM claims WHERE name = $1 AND holder = $2", name, holder)
	return err
}

// clock is the time in unix milliseconds as SQL. On PostgreSQL it is the
// server's: those of several nodes need not agree.
func (s *Store) clock(d *db) string {
	if d.dialect == postgres && !s.faked {
		return "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)"
	}
	return fmt.Sprint(s.now().UnixMilli())
}
