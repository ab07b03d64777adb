package store_test

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"frontdesk/call"
	"frontdesk/store"
	"frontdesk/store/storetest"
)

// patiently opens a store whose database cannot be opened.
func patiently(t *testing.T, dsn string) *store.Store {
	t.Helper()
	s := open(t, dsn, store.Options{Patient: true, Logger: slog.New(slog.DiscardHandler)})
	ctx := t.Context()
	mustHold(t, s.Put(ctx, "x", nil), "store: put: the database is not open yet")
	_, err := s.Get(ctx, "x")
	mustHold(t, err, "not open yet")
	mustHold(t, s.Enqueue(ctx, store.Job{Kind: "note"}), "not open yet")
	mustHold(t, s.InTx(ctx, func(*store.Tx) error { return nil }), "not open yet")
	mustHold(t, s.Stickies(ctx, time.Time{}, func(call.Number, call.Sticky) {}), "not open yet")
	if errors.Is(err, store.ErrNotFound) {
		t.Error("a database that is not open says that nothing is there")
	}
	if ok, why := s.Ready(); ok || why == "" {
		t.Errorf("ready without a database: %v %q", ok, why)
	}
	if n := metric(t, s, `frontdesk_store_up`); n != 0 {
		t.Errorf("up is %v without a database", n)
	}
	if n := metric(t, s, `frontdesk_store_errors_total{class="gone",op="put"}`); n != 1 {
		t.Errorf("counted %v puts into a database that is gone", n)
	}
	return s
}

// comesBack sees s, which runs, take its database in use.
func comesBack(t *testing.T, s *store.Store, got chan string) {
	t.Helper()
	eventually(t, "the database is taken in use", func() bool { return s.Put(t.Context(), "x", nil) == nil })
	must(t, s.Enqueue(t.Context(), store.Job{Kind: "note", Args: "after"}))
	receive(t, got)
	if ok, why := s.Ready(); !ok || metric(t, s, `frontdesk_store_up`) != 1 {
		t.Errorf("not ready with a database: %s", why)
	}
}

// TestOpenedLater has stores run before there is a database.
func TestOpenedLater(t *testing.T) {
	t.Parallel()
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		server := storetest.Start(t)
		dsn := server.Database(t)
		must(t, server.Stop())
		s := patiently(t, dsn)
		work, got := collector(1)
		s.Handle("note", work)
		running(t, s)
		must(t, server.Resume())
		comesBack(t, s, got)
	})
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		dir := filepath.Join(t.TempDir(), "mounted", "later")
		s := patiently(t, "sqlite:"+filepath.Join(dir, "frontdesk.db"))
		work, got := collector(1)
		s.Handle("note", work)
		running(t, s)
		must(t, os.MkdirAll(dir, 0o700))
		comesBack(t, s, got)
	})
	t.Run("never", func(t *testing.T) {
		t.Parallel()
		running(t, patiently(t, "sqlite:"+t.TempDir()))() // ends all the same
	})
}

// TestDamageIsFoundAgain lets a store wait for a file that was damaged in a
// crash: it is not taken at the second try either, but a good one is.
func TestDamageIsFoundAgain(t *testing.T) {
	t.Parallel()
	dsn := storetest.SQLite(t)
	file := dsn[len("sqlite:"):]
	must(t, open(t, dsn, store.Options{}).Close())
	good, err := os.ReadFile(file)
	must(t, err)
	bad := append([]byte(nil), good...)
	for i := 4096; i < len(bad); i++ {
		bad[i] ^= 0x5a
	}
	must(t, os.WriteFile(file, bad, 0o600))
	must(t, os.WriteFile(file+".lock", []byte("123456\n"), 0o600)) // as kill -9 leaves it
	for range 2 {
		_, err = store.Open(t.Context(), dsn, store.Options{})
		mustHold(t, err, file, "malformed")
	}
	s := patiently(t, dsn)
	must(t, os.WriteFile(file, good, 0o600))
	running(t, s)
	eventually(t, "the good file is taken in use", func() bool { return s.Put(t.Context(), "x", nil) == nil })
}

// TestPatienceHasItsEnd sees what waiting does not change refused at once.
func TestPatienceHasItsEnd(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, dsn string) {
		patient := store.Options{Patient: true}
		for _, bad := range []string{"mysql://root@db", "sqlite:", "postgres://desk@db:port/frontdesk"} {
			if _, err := store.Open(t.Context(), bad, patient); !errors.Is(err, store.ErrAddress) {
				t.Errorf("%s: %v", bad, err)
			}
		}
		s := open(t, dsn, store.Options{})
		if dsn[:6] == "sqlite" {
			if _, err := store.Open(t.Context(), dsn, patient); !errors.Is(err, store.ErrInUse) {
				t.Errorf("a file in use: %v", err)
			}
		}
		must(t, s.Exec(t.Context(), "INSERT INTO river_migration (line, version) VALUES ('main', 9999)"))
		must(t, s.Close())
		_, err := store.Open(t.Context(), dsn, patient)
		mustHold(t, err, "newer frontdesk", "jobs", "9999")
		if !errors.Is(err, store.ErrNewer) {
			t.Errorf("jobs of a newer version: %v", err)
		}
	})
}
