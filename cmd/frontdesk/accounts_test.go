package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"frontdesk/call"
	"frontdesk/cmd/frontdesk/config"
	"frontdesk/pbx"
	"frontdesk/pbx/pbxtest"
	"frontdesk/staff"
	"frontdesk/store"
)

// TestAccounts has a call handed over wait for the PBX's line, over a restart.
func TestAccounts(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	cfg := &config.Config{}
	cfg.Country, cfg.Zone = "RU", time.UTC
	cfg.PBX.CDR = &config.CDR{Connect: l.Addr().String(), Fields: pbx.CDRFields()}
	dsn := "sqlite:" + filepath.Join(t.TempDir(), "frontdesk.db")
	at := time.Now().UTC().Truncate(time.Second)

	first, stop := accountsAtWork(t, cfg, dsn)
	if !first.own(call.Record{
		ID: "a", Direction: call.In, Parties: call.Parties{Trunk: "carrier", Caller: "+79161234567"},
		Times: call.Times{Started: at, Ended: at}, Routed: call.Routed{Target: "201"}, Ended: call.Ended{Transfer: call.TransferRedirect},
	}) {
		t.Fatal("nobody waits for the PBX")
	}
	conn, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close()
	stop()
	select {
	case r := <-first.settled:
		t.Fatalf("settled before the PBX told: %+v", r)
	default:
	}

	second, stop := accountsAtWork(t, cfg, dsn)
	defer stop()
	if conn, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	const form = "2006/01/02 15:04:05"
	fmt.Fprintf(conn, "Call 1,a_1,00:00:50,%s,%s,%s,TerminatedBySrc,+79161234567,Ext.201,10000,201,201,ReplacedDst,Ext.205,205,,,,,"+
		"Chain: +79161234567;Ext.201;Ext.205;,Line,Extension,Extension,Anna,Ivan,Olga,\r\n",
		at.Format(form), at.Add(5*time.Second).Format(form), at.Add(55*time.Second).Format(form))
	select {
	case r := <-second.settled:
		if r.ID != "a" || r.Result != call.ResultAnswered || len(r.Talks) != 2 || r.Talks[1].Extension != "205" || r.Talks[1].Employee != 17 {
			t.Errorf("settled as %+v", r)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("not settled")
	}
}

// bookkeeping is an accounting at work and what it has settled.
type bookkeeping struct {
	*accounting
	settled chan call.Record
}

func accountsAtWork(t *testing.T, cfg *config.Config, dsn string) (b bookkeeping, stop func()) {
	t.Helper()
	log := slog.New(slog.DiscardHandler)
	st, err := store.Open(t.Context(), dsn, store.Options{Logger: log, Node: "a"})
	if err != nil {
		t.Fatal(err)
	}
	numbers := func() call.Numbers { return call.Numbers{Extensions: call.Ranges{"100-299"}} }
	people := staff.NewDirectory(func() map[int]call.Employee { return map[int]call.Employee{17: {ID: 17, Extension: "205"}} }, numbers)
	ctx, cancel := context.WithCancel(t.Context())
	b.settled = make(chan call.Record, 8)
	b.accounting, err = newAccounting(t.Context(), accountsOf{
		cfg: cfg, store: st, staff: people, numbers: numbers, settled: func(r call.Record, n pbx.Note) {
			if err := n.Save(t.Context(), st); err != nil {
				t.Error(err)
			}
			b.settled <- r
		}, log: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	g, ctx := errgroup.WithContext(ctx)
	b.run(ctx, g)
	return b, func() {
		cancel()
		if err := g.Wait(); err != nil {
			t.Error(err)
		}
		if err := st.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestAccountsWait: a record waits for the PBX only where something will tell of
// the call. Without records and a log that may be read that is call control.
func TestAccountsWait(t *testing.T) {
	t.Parallel()
	s := newPBXSite(t, pbxtest.Licence{}, pbxtest.Client{Role: pbxtest.Admin, Monitored: []string{"301"}})
	cfg, problems := config.Load(s.file, os.LookupEnv)
	if problems.HasErrors() {
		t.Fatal(problems)
	}
	log := slog.New(slog.DiscardHandler)
	xapi, err := newXAPI(cfg, log)
	if err != nil {
		t.Fatal(err)
	}
	st, err := store.Open(t.Context(), cfg.Store.Reveal(), store.Options{Logger: log, Node: "a"})
	if err != nil {
		t.Fatal(err)
	}
	x := newExchange(cfg, log)
	settled := make(chan string, 8)
	a, err := newAccounting(t.Context(), accountsOf{
		cfg: cfg, xapi: xapi, store: st, staff: staff.NewDirectory(func() map[int]call.Employee { return nil }, x.numbers), numbers: x.numbers,
		settled: func(r call.Record, _ pbx.Note) { settled <- r.ID }, log: log,
	})
	if err != nil {
		t.Fatal(err)
	}
	x.connect(xapi, memory{}, a.seen)
	a.watch(watchers{passing: func(call.Number) bool { return false }, follows: x.follows})
	ctx, cancel := context.WithCancel(t.Context())
	g, ctx := errgroup.WithContext(ctx)
	x.run(ctx, g)
	a.run(ctx, g)
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(2 * time.Millisecond)
	defer tick.Stop()
	for !x.follows("301") || a.reconciler.Reading() {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("call control follows: %t, the log is read: %t", x.follows("301"), a.reconciler.Reading())
		}
	}
	for _, target := range []call.Extension{"301", "302"} {
		at := time.Now()
		a.own(call.Record{
			ID: "to " + string(target), Direction: call.In, Parties: call.Parties{Caller: "+79161234567"}, Times: call.Times{Started: at, Ended: at},
			Routed: call.Routed{Target: target}, Ended: call.Ended{Transfer: call.TransferRedirect},
		})
	}
	if id := <-settled; id != "to 302" {
		t.Errorf("%s is settled at once, want what is not monitored", id)
	}
	cancel()
	if err := errors.Join(g.Wait(), st.Close()); err != nil && !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	if len(settled) != 0 {
		t.Errorf("%s is settled though call control will tell of it", <-settled)
	}
}
