package store_test

import (
	"fmt"
	"maps"
	"testing"

	"frontdesk/store"
	"frontdesk/store/storetest"
)

func TestPending(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, dsn string) {
		s, ctx := open(t, dsn, store.Options{Node: "a"}), t.Context()
		want := map[string]string{}
		var ids []string
		for i := range 250 {
			id := fmt.Sprintf("call%d", i)
			ids = append(ids, id)
			want[id] = fmt.Sprintf(`{"n":%d}`, i)
			must(t, s.SavePending(ctx, id, []byte("old")))
			must(t, s.SavePending(ctx, id, []byte(want[id])))
		}
		loaded := func() map[string]string {
			got := map[string]string{}
			must(t, s.LoadPending(ctx, func(id string, doc []byte) { got[id] = string(doc) }))
			return got
		}
		if got := loaded(); !maps.Equal(got, want) {
			t.Errorf("%d documents came back, want %d as they were", len(got), len(want))
		}
		must(t, s.DeletePending(ctx, append(ids[1:], "never kept")...))
		must(t, s.DeletePending(ctx))
		if got := loaded(); len(got) != 1 || got[ids[0]] != want[ids[0]] {
			t.Errorf("%v is left", got)
		}
	})
}
