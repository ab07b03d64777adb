package store

import (
	"context"
	"time"

	"frontdesk/call"
)

// SavePhonebook keeps which contacts of the PBX show which entities, each in
// the place of what was kept of the same part of an entity: all or none.
func (s *Store) SavePhonebook(ctx context.Context, listings []call.Listing) error {
	return s.saveAll(ctx, "save_phonebook", len(listings), `INSERT INTO phonebook (kind, id, part, contact_id, fingerprint, seen)
		VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (kind, id, part)
		DO UPDATE SET contact_id = excluded.contact_id, fingerprint = excluded.fingerprint, seen = excluded.seen`,
		func(i int) ([]any, error) {
			l := listings[i]
			return []any{string(l.Kind), l.ID, l.Part, l.Contact, l.Fingerprint, l.Seen.UnixMilli()}, nil
		})
}

// DeletePhonebook forgets parts of entities: all or none.
func (s *Store) DeletePhonebook(ctx context.Context, listings []call.Listing) error {
	return s.saveAll(ctx, "delete_phonebook", len(listings), "DELETE FROM phonebook WHERE kind = $1 AND id = $2 AND part = $3",
		func(i int) ([]any, error) {
			return []any{string(listings[i].Kind), listings[i].ID, listings[i].Part}, nil
		})
}

// LoadPhonebook tells f the parts of one entity, in their order; those of all
// entities, in no order, where kind is empty.
func (s *Store) LoadPhonebook(ctx context.Context, kind call.Kind, id int, f func(call.Listing) error) error {
	query, args := "SELECT kind, id, part, contact_id, fingerprint, seen FROM phonebook", []any(nil)
	if kind != "" {
		query, args = query+" WHERE kind = $1 AND id = $2 ORDER BY part", []any{string(kind), id}
	}
	return s.each(ctx, "load_phonebook", func(scan func(...any) error) error {
		var l call.Listing
		var seen int64
		if err := scan(&l.Kind, &l.ID, &l.Part, &l.Contact, &l.Fingerprint, &seen); err != nil {
			return err
		}
		l.Seen = time.UnixMilli(seen)
		return f(l)
	}, query, args...)
}
