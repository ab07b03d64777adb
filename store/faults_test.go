package store_test

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"frontdesk/store"
	"frontdesk/store/storetest"
)

// TestFullDisk lets SQLite believe that the disk is full.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	s, ctx := open(t, storetest.SQLite(t), store.Options{Logger: slog.New(slog.DiscardHandler)}), t.Context()
	work, got := collector(1)
	s.Handle("note", work)
	running(t, s)
	big := bytes.Repeat([]byte{1}, 1<<20)
	var err error
	var took time.Duration
	for i := 0; i < 10 && err == nil; i++ { // the limit is a connection's, which a busy machine may have lost
		must(t, s.Exec(ctx, "PRAGMA max_page_count = 1")) // SQLite takes as much as there is
		start := time.Now()
		err = s.Put(ctx, fmt.Sprint("big", i), big)
		took = time.Since(start)
	}
	if mustHold(t, err, "full"); took > 2*time.Second {
		t.Errorf("the error came after %v", took)
	}
	if n := metric(t, s, `frontdesk_store_errors_total{class="full",op="put"}`); n != 1 {
		t.Errorf("counted %v full disks", n)
	}
	must(t, s.Exec(ctx, "PRAGMA max_page_count = 1000000"))
	must(t, s.Put(ctx, "big", big))
	must(t, s.Enqueue(ctx, store.Job{Kind: "note", Args: "after"}))
	receive(t, got)
}

// TestLockedFile lets somebody else hold the file's lock, as an administrator
// with sqlite3 may: who asks waits no longer than they want to.
func TestLockedFile(t *testing.T) {
	t.Parallel()
	dsn := storetest.SQLite(t)
	s := open(t, dsn, store.Options{Logger: slog.New(slog.DiscardHandler)})
	must(t, s.Put(t.Context(), "x", []byte("1")))
	db, err := sql.Open("sqlite", "file:"+dsn[len("sqlite:"):]+"?_txlock=immediate")
	must(t, err)
	defer db.Close() //nolint:errcheck // a test's
	tx, err := db.BeginTx(t.Context(), nil)
	must(t, err)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	mustHold(t, s.Put(ctx, "x", []byte("2")), "deadline")
	if took := time.Since(start); took > 2*time.Second {
		t.Errorf("a write waited %v for a lock, want 50 ms", took)
	}
	if v, err := s.Get(t.Context(), "x"); err != nil || string(v) != "1" {
		t.Errorf("reading while the file is locked: %q, %v", v, err)
	}
	must(t, tx.Rollback())
	must(t, s.Put(t.Context(), "x", []byte("3")))
}

// TestServerGone stops PostgreSQL under a running store, and before one runs.
func TestServerGone(t *testing.T) {
	t.Parallel()
	server := storetest.Start(t)
	dsn, ctx := server.Database(t), t.Context()
	log := slog.New(slog.DiscardHandler)
	early, late := open(t, dsn, store.Options{Node: "early", Logger: log}), open(t, dsn, store.Options{Node: "late", Logger: log})
	work, got := collector(10)
	early.Handle("early", work)
	late.Handle("late", work)
	running(t, early)
	must(t, early.Enqueue(ctx, store.Job{Kind: "early", Args: "before"}))
	receive(t, got)

	must(t, server.Stop())
	for range 3 {
		start := time.Now()
		mustHold(t, early.Put(ctx, "x", nil), "store: put")
		if took := time.Since(start); took > 4*time.Second {
			t.Errorf("the error came after %v", took)
		}
	}
	running(t, late) // starts while there is no server
	early.Look(ctx)
	if ok, why := early.Ready(); ok || why == "" || strings.Contains(why, "password") {
		t.Errorf("ready without a server: %v %q", ok, why)
	}
	if n := metric(t, early, `frontdesk_store_up`); n != 0 {
		t.Errorf("up is %v without a server", n)
	}

	must(t, server.Resume())
	eventually(t, "writes work again", func() bool { return early.Put(ctx, "x", nil) == nil })
	early.Look(ctx)
	if ok, why := early.Ready(); !ok {
		t.Errorf("not ready with a server: %s", why)
	}
	must(t, early.Enqueue(ctx, store.Job{Kind: "early", Args: "after"}, store.Job{Kind: "late", Args: "after"}))
	for range 2 {
		if v := receive(t, got); v != "after" {
			t.Errorf("did %q", v)
		}
	}
}

func TestLimitsOfTime(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, dsn string) {
		s := open(t, dsn, store.Options{})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		mustHold(t, s.Put(ctx, "x", nil), "canceled")
		mustHold(t, s.Enqueue(ctx, store.Job{Kind: "note"}), "canceled")
		_, err := s.Get(ctx, "x")
		mustHold(t, err, "canceled")
		mustHold(t, s.InTx(ctx, func(*store.Tx) error { return nil }), "canceled")
		must(t, s.Put(t.Context(), "x", nil))
	})
}
