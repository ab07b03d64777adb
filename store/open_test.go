package store_test

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	"frontdesk/store"
	"frontdesk/store/storetest"
)

func TestMigrationsAreIdempotent(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, dsn string) {
		for i := range 3 {
			s := open(t, dsn, store.Options{})
			v, err := s.Get(t.Context(), "kept")
			if i > 0 && (err != nil || string(v) != strconv.Itoa(i-1)) {
				t.Errorf("opening %d: %q, %v", i, v, err)
			}
			must(t, s.Put(t.Context(), "kept", []byte(strconv.Itoa(i))))
			if n, err := s.Query(t.Context(), "SELECT count(*) FROM frontdesk_migration WHERE version_id > 0"); err != nil || n != countMigrations(t) {
				t.Errorf("%d migrations are noted, %v", n, err)
			}
			must(t, s.Close())
		}
	})
}

func TestNodesMigrateTogether(t *testing.T) {
	t.Parallel()
	dsn := storetest.Postgres(t)
	var wg sync.WaitGroup
	for i := range 3 {
		wg.Go(func() {
			s, err := store.Open(t.Context(), dsn, store.Options{Node: strconv.Itoa(i)})
			if err != nil {
				t.Error(err)
				return
			}
			if err := errors.Join(s.Put(t.Context(), strconv.Itoa(i), nil), s.Close()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestNewerDatabaseIsRefused(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, dsn string) {
		s := open(t, dsn, store.Options{})
		must(t, s.Exec(t.Context(), "INSERT INTO frontdesk_migration (version_id, is_applied) VALUES (9999, TRUE)"))
		must(t, s.Close())
		_, err := store.Open(t.Context(), dsn, store.Options{})
		mustHold(t, err, "newer frontdesk", "9999")
	})
}

func TestBadAddresses(t *testing.T) {
	t.Parallel()
	for dsn, want := range map[string]string{
		"":                      "begins with sqlite: or postgres://",
		"mysql://root@db":       "begins with sqlite: or postgres://",
		"sqlite:":               "names no file",
		"sqlite:/no/such/db":    "/no/such/db",
		"sqlite:" + t.TempDir(): "is a directory",
		"postgres://desk:canary@db:port/frontdesk":                     "cannot be read",
		"postgres://desk:canary@127.0.0.1:1/frontdesk?sslmode=disable": "refused",
	} {
		s, err := store.Open(t.Context(), dsn, store.Options{})
		mustHold(t, err, want)
		if s != nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%s: store %v, error %v", dsn, s, err)
		}
	}
}

func TestOneProcessPerFile(t *testing.T) {
	t.Parallel()
	dsn := storetest.SQLite(t)
	s := open(t, dsn, store.Options{})
	_, err := store.Open(t.Context(), dsn, store.Options{})
	mustHold(t, err, dsn[len("sqlite:"):]+" is in use", "process "+strconv.Itoa(os.Getpid()))
	must(t, s.Put(t.Context(), "still", nil)) // the refused one broke nothing
	must(t, s.Close())
	must(t, open(t, dsn, store.Options{}).Put(t.Context(), "again", nil))
}

func TestFileNamesAndModes(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "ä b?c#d%41&e.db")
	s := open(t, "sqlite:"+file, store.Options{})
	must(t, s.Put(t.Context(), "x", []byte("y")))
	entries, err := os.ReadDir(filepath.Dir(file))
	must(t, err)
	for _, e := range entries {
		info, err := e.Info()
		must(t, err)
		if !strings.HasPrefix(e.Name(), filepath.Base(file)) || info.Mode().Perm() != 0o600 {
			t.Errorf("%s has mode %v", e.Name(), info.Mode())
		}
	}
}

// TestDamageIsFound after a process died: a page in the middle of the file is
// overwritten.
func TestDamageIsFound(t *testing.T) {
	t.Parallel()
	dsn := storetest.SQLite(t)
	file := dsn[len("sqlite:"):]
	s := open(t, dsn, store.Options{})
	must(t, s.Put(t.Context(), "big", bytes.Repeat([]byte{1}, 200_000)))
	must(t, s.Close())
	b, err := os.ReadFile(file)
	must(t, err)
	for i := 4096; i < 12*4096; i++ { // not the first page: that would be no database at all
		b[i] ^= 0x5a
	}
	must(t, os.WriteFile(file, b, 0o600))
	must(t, os.WriteFile(file+".lock", []byte("123456\n"), 0o600)) // as kill -9 leaves it
	_, err = store.Open(t.Context(), dsn, store.Options{})
	mustHold(t, err, file, "damaged")
}

func TestBackup(t *testing.T) {
	t.Parallel()
	dsn := storetest.SQLite(t)
	s, ctx := open(t, dsn, store.Options{}), t.Context()
	must(t, s.Put(ctx, "token", []byte("secret")))
	writing, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { // and goes on being written
		defer close(done)
		for i := 0; writing.Err() == nil; i++ {
			if err := s.Put(ctx, "n"+strconv.Itoa(i%50), bytes.Repeat([]byte{byte(i)}, 1000)); err != nil {
				t.Error(err)
				return
			}
		}
	}()
	to := filepath.Join(t.TempDir(), "a 'quoted' backup.db")
	must(t, s.Backup(ctx, to))
	second := to + "2"
	must(t, store.Backup(ctx, dsn, second)) // as another process does
	stop()
	<-done
	if err := s.Backup(ctx, to); !errors.Is(err, fs.ErrExist) {
		t.Errorf("over a file that exists: %v", err)
	}
	for _, file := range []string{to, second} {
		info, err := os.Stat(file)
		must(t, err)
		if info.Mode().Perm() != 0o600 {
			t.Errorf("the backup has mode %v", info.Mode())
		}
		restored := open(t, "sqlite:"+file, store.Options{})
		if v, err := restored.Get(ctx, "token"); err != nil || string(v) != "secret" {
			t.Errorf("restored %q, %v", v, err)
		}
		must(t, restored.Close())
	}
	left, err := filepath.Glob(filepath.Join(filepath.Dir(to), ".*"))
	if err != nil || len(left) > 0 {
		t.Errorf("left behind: %q %v", left, err)
	}
}

func TestBackupRefused(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for dsn, want := range map[string]string{
		"postgres://desk:canary@db/frontdesk":        "pg_dump",
		"sqlite:" + filepath.Join(dir, "missing.db"): "no such file",
		"mysql:x": "names no SQLite file",
	} {
		err := store.Backup(t.Context(), dsn, filepath.Join(dir, "to"))
		mustHold(t, err, want)
		if strings.Contains(err.Error(), "canary") {
			t.Errorf("the password is in %q", err)
		}
	}
	s := open(t, storetest.SQLite(t), store.Options{Logger: slog.New(slog.DiscardHandler)})
	mustHold(t, s.Backup(t.Context(), filepath.Join(dir, "no", "folder")), "no such file")
}

// countMigrations is how many migrations there are.
func countMigrations(t testing.TB) int {
	t.Helper()
	files, err := filepath.Glob("migrations/*.sql")
	must(t, err)
	return len(files)
}
