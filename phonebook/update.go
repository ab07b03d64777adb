package phonebook

import (
	"context"
	"errors"
	"maps"
	"slices"

	"frontdesk/call"
)

// Update brings the contacts of one entity in step with the CRM. What has not
// changed since it was written costs the PBX no request. An error means that it
// is to be tried later.
func (s *Sync) Update(ctx context.Context, kind call.Kind, id int) error {
	done, err := s.turn(ctx, Key{Kind: kind, ID: id})
	if err != nil {
		return err
	}
	defer done()
	u, err := s.read(ctx, kind, id)
	if err != nil {
		return err
	}
	var have []Contact
	var want []Entry
	var known []call.Listing
	for _, k := range slices.SortedFunc(maps.Keys(u), compare) {
		p := u[k]
		if p.same() {
			continue
		}
		found, err := s.cfg.Book.Find(ctx, p.listing.Contact, k.Tag())
		if err != nil {
			return err
		}
		have = append(have, own(found, k)...)
		if p.wanted {
			want = append(want, p.entry)
		}
		if p.listed {
			known = append(known, p.listing)
		}
	}
	return s.carryOut(ctx, Diff(slices.Values(want), have, known))
}

// part is a contact of an entity: as it is wanted, and as it is known.
type part struct {
	wanted, listed bool
	entry          Entry
	listing        call.Listing
}

// same reports whether there is nothing to be done: what is wanted was written,
// or people took the contact over.
func (p part) same() bool {
	return p.wanted && p.listed && p.listing.Contact > 0 &&
		(p.listing.Fingerprint == theirs || p.listing.Fingerprint == p.entry.Values.Fingerprint())
}

func (s *Sync) read(ctx context.Context, kind call.Kind, id int) (map[Key]part, error) {
	addresses, err := s.cfg.Source.AddressesOf(ctx, kind, id)
	if err != nil {
		return nil, err
	}
	out := map[Key]part{}
	for _, a := range addresses {
		entries, loss := Entries(a)
		s.lost(ctx, a, loss)
		for _, e := range entries {
			out[e.Key] = part{wanted: true, entry: e}
		}
	}
	err = s.cfg.Links.LoadPhonebook(ctx, kind, id, func(l call.Listing) error {
		p := out[keyOf(l)]
		p.listed, p.listing = true, l
		out[keyOf(l)] = p
		return nil
	})
	return out, err
}

// own are contacts as seen by whoever looks for k: one with the Tag of another
// entity is none of his.
func own(contacts []Contact, k Key) []Contact {
	for i := range contacts {
		if contacts[i].Values[Tag] != k.Tag() {
			contacts[i].Values[Tag] = ""
		}
	}
	return contacts
}

// carryOut does what the plan of one entity says. What the PBX does not take is
// told in the log, and not tried again before the next full sync.
func (s *Sync) carryOut(ctx context.Context, p Plan) error {
	var failed error
	note := func(_ operation, err error) {
		if !errors.Is(err, ErrRefused) {
			failed = errors.Join(failed, err)
		}
	}
	for _, l := range p.Keep {
		note(opNone, s.save(ctx, l))
	}
	for _, u := range p.Updates {
		note(s.update(ctx, u))
	}
	for _, c := range p.Creates {
		note(s.create(ctx, c))
	}
	if len(p.Deletes) > 0 {
		note(opDelete, s.delete(ctx, p.Deletes))
	}
	if len(p.Forget) > 0 {
		note(opNone, s.cfg.Links.DeletePhonebook(ctx, p.Forget))
	}
	return failed
}
