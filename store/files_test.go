package store_test

import (
	"testing"
	"time"

	"frontdesk/store"
	"frontdesk/store/storetest"

	diff "github.com/google/go-cmp/cmp"
)

func TestFiles(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, dsn string) {
		s, ctx := open(t, dsn, store.Options{}), t.Context()
		at := time.UnixMilli(1_790_000_000_123)
		want := []store.PortalFile{
			{ID: 9, Call: "a", At: at}, {ID: 4, Call: "b", At: at.Add(time.Hour)}, {ID: 7, Call: "b", At: at.Add(time.Hour)},
			{ID: 1, Call: "c", At: at.Add(2 * time.Hour)},
		}
		must(t, s.SaveFiles(ctx, want...))
		must(t, s.SaveFiles(ctx, want[0])) // told twice
		is := func(what string, want []store.PortalFile, before time.Time, after store.PortalFile, limit int) {
			t.Helper()
			got, err := s.FilesBefore(ctx, before, after, limit)
			must(t, err)
			if d := diff.Diff(want, got); d != "" {
				t.Errorf("%s (-want +got):\n%s", what, d)
			}
		}
		is("all", want, at.Add(24*time.Hour), store.PortalFile{}, 10)
		is("the age itself is not reached", want[:1], at.Add(time.Hour), store.PortalFile{}, 10)
		is("a page", want[:2], at.Add(24*time.Hour), store.PortalFile{}, 2)
		is("the next page", want[2:], at.Add(24*time.Hour), want[1], 10)
		must(t, s.DeleteFiles(ctx, want[1], store.PortalFile{ID: 999}))
		is("after one was deleted", want[2:], at.Add(24*time.Hour), want[0], 10)
	})
}
