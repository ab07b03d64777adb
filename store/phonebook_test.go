package store_test

import (
	"cmp"
	"errors"
	"slices"
	"testing"
	"time"

	"frontdesk/call"
	"frontdesk/store"
	"frontdesk/store/storetest"

	diff "github.com/google/go-cmp/cmp"
)

func TestPhonebook(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, dsn string) {
		s, ctx := open(t, dsn, store.Options{}), t.Context()
		at := time.UnixMilli(1_790_000_000_123)
		want := []call.Listing{
			{Kind: call.KindCompany, ID: 12, Part: 1, Contact: 4, Fingerprint: "d", Seen: at},
			{Kind: call.KindContact, ID: 12, Part: 1, Contact: 1, Fingerprint: "a", Seen: at},
			{Kind: call.KindContact, ID: 12, Part: 2, Contact: 2, Fingerprint: "b", Seen: at},
			{Kind: call.KindContact, ID: 13, Part: 1, Seen: at.Add(time.Hour)},
		}
		must(t, s.SavePhonebook(ctx, want))
		want[3].Contact, want[3].Fingerprint = 3, "c"
		must(t, s.SavePhonebook(ctx, want[3:]))
		must(t, s.SavePhonebook(ctx, nil))
		loaded := func(kind call.Kind, id int) []call.Listing {
			var out []call.Listing
			must(t, s.LoadPhonebook(ctx, kind, id, func(l call.Listing) error { out = append(out, l); return nil }))
			return out
		}
		all := loaded("", 0)
		slices.SortFunc(all, func(a, b call.Listing) int {
			return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.ID, b.ID), cmp.Compare(a.Part, b.Part))
		})
		if d := diff.Diff(want, all); d != "" {
			t.Errorf("all (-want +got):\n%s", d)
		}
		if d := diff.Diff(want[1:3], loaded(call.KindContact, 12)); d != "" {
			t.Errorf("one entity (-want +got):\n%s", d)
		}
		must(t, s.DeletePhonebook(ctx, []call.Listing{{Kind: call.KindContact, ID: 12, Part: 2}, {Kind: call.KindLead, ID: 1, Part: 1}}))
		if d := diff.Diff(want[1:2], loaded(call.KindContact, 12)); d != "" {
			t.Errorf("after a part was deleted (-want +got):\n%s", d)
		}
		boom := errors.New("boom")
		if err := s.LoadPhonebook(ctx, "", 0, func(call.Listing) error { return boom }); !errors.Is(err, boom) {
			t.Errorf("a reader that fails: %v", err)
		}
	})
}
