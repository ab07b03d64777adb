package calllog_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"frontdesk/call"
	"frontdesk/calllog"
	"frontdesk/crm/crmtest"
	"frontdesk/store"
	"frontdesk/store/storetest"
)

// unsaved leaves records in a folder, as a process does that ends before its
// database was opened.
func unsaved(t *testing.T, dir string, records ...call.Record) {
	t.Helper()
	st, err := store.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "missing", "frontdesk.db"), store.Options{Patient: true})
	must(t, err)
	l := calllog.New(calllog.Config{Store: st, Unsaved: dir})
	for _, r := range records {
		l.Ended(r)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	must(t, l.Run(ctx))
	must(t, l.Close())
	must(t, l.Close()) // nothing is left
	must(t, st.Close())
}

// TestUnsaved has calls end while there is no database, and the process too: the
// next one logs them, once, and keeps what it cannot read.
func TestUnsaved(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, dsn string) {
		w := newWorld(t, dsn, newPortal(crmtest.Options{}))
		w.unsaved = filepath.Join(t.TempDir(), "kept")
		unsaved(t, w.unsaved, incoming("a", answered(talk("201", 10, 40))), incoming("b", missed("extension")))
		unsaved(t, w.unsaved, incoming("c", missed("extension")))
		files := func(pattern string) []string {
			found, err := filepath.Glob(filepath.Join(w.unsaved, pattern))
			must(t, err)
			return found
		}
		all := files("*")
		if len(all) != 2 {
			t.Fatalf("files %q", all)
		}
		for _, f := range all {
			if info, err := os.Stat(f); err != nil || info.Mode().Perm() != 0o600 {
				t.Errorf("%s: %v, %v", f, info.Mode(), err)
			}
		}
		text, err := os.ReadFile(all[0])
		must(t, err)
		must(t, os.WriteFile(filepath.Join(w.unsaved, "unsaved-x.jsonl"), append([]byte("{torn\n"), text...), 0o600))
		w.live()
		for _, id := range []string{"a", "b", "c"} {
			w.done(id)
		}
		eventually(t, "the files are gone", func() bool { return len(files("*.jsonl")) == 0 })
		if kept := files("*"); len(kept) != 1 || !strings.HasSuffix(kept[0], "unsaved-x.jsonl.damaged") {
			t.Errorf("kept %q", kept)
		}
		if entries, live := w.entries(); live != 0 || len(entries) != 3 {
			t.Errorf("%d live, finished %q", live, entries)
		}
	})
}

// TestUnsavedLost says what is lost where there is no folder.
func TestUnsavedLost(t *testing.T) {
	t.Parallel()
	st, err := store.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "missing", "frontdesk.db"), store.Options{Patient: true})
	must(t, err)
	l := calllog.New(calllog.Config{Store: st})
	l.Ended(incoming("a"))
	if err := l.Close(); err == nil || !strings.Contains(err.Error(), "1 records of calls are lost") {
		t.Errorf("%v", err)
	}
}
