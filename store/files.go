package store

import (
	"context"
	"time"
)

// PortalFile is a recording of ours on the portal's drive.
type PortalFile struct {
	ID   int       // on the drive
	Call string    // whose
	At   time.Time // when the call began
}

// SaveFiles keeps which recordings are on the portal's drive: all or none.
func (s *Store) SaveFiles(ctx context.Context, files ...PortalFile) error {
	return s.saveAll(ctx, "save_files", len(files), `INSERT INTO files (file, call, age) VALUES ($1, $2, $3)
		ON CONFLICT (file) DO UPDATE SET call = excluded.call, age = excluded.age`,
		func(i int) ([]any, error) { return []any{files[i].ID, files[i].Call, files[i].At.UnixMilli()}, nil })
}

// DeleteFiles forgets recordings: all or none.
func (s *Store) DeleteFiles(ctx context.Context, files ...PortalFile) error {
	return s.saveAll(ctx, "delete_files", len(files), "DELETE FROM files WHERE file = $1",
		func(i int) ([]any, error) { return []any{files[i].ID}, nil })
}

// FilesBefore are the recordings of calls that began before a time, the oldest
// first, at most limit and none of those up to the one given as after (the zero
// value: from the start).
func (s *Store) FilesBefore(ctx context.Context, before time.Time, after PortalFile, limit int) ([]PortalFile, error) {
	ctx, cancel := context.WithTimeout(ctx, opLimit)
	defer cancel()
	from := int64(-1 << 62)
	if after.ID != 0 {
		from = after.At.UnixMilli()
	}
	var out []PortalFile
	err := s.each(ctx, "files_before", func(scan func(...any) error) error {
		var f PortalFile
		var at int64
		if err := scan(&f.ID, &f.Call, &at); err != nil {
			return err
		}
		f.At = time.UnixMilli(at)
		out = append(out, f)
		return nil
	}, `SELECT file, call, age FROM files WHERE age < $1 AND (age > $2 OR age = $2 AND file > $3) ORDER BY age, file LIMIT $4`,
		before.UnixMilli(), from, after.ID, limit)
	return out, err
}
