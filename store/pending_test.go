package store_test

import (
	"errors"
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
			must(t, s.SavePending(ctx, map[string][]byte{id: []byte("old")}))
			must(t, s.SavePending(ctx, map[string][]byte{id: []byte(want[id])}))
		}
		loaded := func() map[string]string {
			got := map[string]string{}
			must(t, s.LoadPending(ctx, func(id string, doc []byte) { got[id] = string(doc) }))
			return got
		}
		if got := loaded(); !maps.Equal(got, want) {
			t.Errorf("%d documents came back, want %d as they were", len(got), len(want))
		}
		failed := errors.New("a test's")
		if err := s.InTx(ctx, func(tx *store.Tx) error {
			must(t, tx.SavePending(ctx, map[string][]byte{ids[0]: []byte("half")}, ids...))
			return failed
		}); !errors.Is(err, failed) {
			t.Errorf("a transaction that fails: %v", err)
		}
		if got := loaded(); !maps.Equal(got, want) {
			t.Errorf("after a transaction that failed, %d documents", len(got))
		}
		must(t, s.SavePending(ctx, map[string][]byte{ids[1]: []byte("new")}, append(ids[1:], "never kept")...))
		must(t, s.SavePending(ctx, nil))
		if got := loaded(); len(got) != 2 || got[ids[0]] != want[ids[0]] || got[ids[1]] != "new" {
			t.Errorf("%v is left", got)
		}
	})
}
