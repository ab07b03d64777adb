package recording

import (
	"context"
	"fmt"
	"io/fs"
	"testing"
	"time"
)

// TestFailuresAreForgotten: a PBX that records nothing costs no memory in the
// long run.
func TestFailuresAreForgotten(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	k := New(Config{Dir: t.TempDir(), Now: func() time.Time { return now }})
	none := func(context.Context) error { return fs.ErrNotExist }
	for i := range 30 {
		out := fmt.Sprint("fetch ", i)
		k.work(t.Context(), task{out, none})
		now = now.Add(40 * time.Minute)
		k.work(t.Context(), task{out, none})
		if !k.failure(out).final {
			t.Fatalf("%s: not given up", out)
		}
		now = now.Add(5 * time.Hour)
	}
	if n := len(k.failed); n > 6 {
		t.Errorf("%d failures are remembered", n)
	}
}
