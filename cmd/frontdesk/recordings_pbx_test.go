package main

import (
	"context"
	"fmt"
	"log/slog"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"frontdesk/call"
	"frontdesk/calllog"
	"frontdesk/cmd/frontdesk/config"
	"frontdesk/crm"
	"frontdesk/crm/crmtest"
	"frontdesk/pbx"
	"frontdesk/pbx/pbxtest"
	"frontdesk/recording"
	"frontdesk/store"
	"frontdesk/store/storetest"
)

// studio is a call log whose recordings come from a PBX, by a clock that both
// share.
type studio struct {
	*calllog.Log
	t      testing.TB
	portal *crmtest.Portal
	pbx    *pbxtest.State
	store  *store.Store
	tapes  *tapes
	dir    string

	mu  sync.Mutex
	now time.Time
}

func (s *studio) clock() time.Time { s.mu.Lock(); defer s.mu.Unlock(); return s.now }

// pass lets time pass on the PBX and for the recordings.
func (s *studio) pass(by time.Duration) { s.mu.Lock(); defer s.mu.Unlock(); s.now = s.now.Add(by) }

func newStudio(t testing.TB, dsn string) *studio {
	t.Helper()
	s := &studio{t: t, now: time.Now().UTC().Truncate(time.Second).Add(-time.Hour)}
	s.pbx = pbxtest.NewState(pbxtest.StateConfig{Now: s.clock, RecordingDelay: 30 * time.Second, RecordingGrowing: time.Minute})
	for _, n := range []string{"201", "202", "203"} {
		s.pbx.AddUser(pbxtest.User{Number: n, FirstName: n})
	}
	if err := s.pbx.Change("Users", "203", pbxtest.Row{"RecordCalls": false}); err != nil {
		t.Fatal(err)
	}
	api := pbxtest.NewAPI(s.pbx)
	server := httptest.NewServer(api)
	log := slog.New(slog.DiscardHandler)
	xapi, err := pbx.NewClient(pbx.Config{URL: server.URL, ID: "frontdesk", Secret: "secret", Rate: 1000, Logger: log})
	wanted(t, err)
	s.portal = crmtest.New(crmtest.Options{})
	for id, ext := range map[int]string{61: "201", 62: "202", 63: "203"} {
		s.portal.AddUser(crmtest.User{ID: id, FirstName: ext, Extension: ext})
	}
	front, err := crmtest.Start(s.portal, crmtest.ServerConfig{})
	wanted(t, err)
	client, err := crm.New(crm.Config{Webhook: crm.Webhook(front.Webhook()), Country: "RU", Rate: crm.Rate{PerSecond: 1000, Burst: 1000}, Logger: log})
	wanted(t, err)
	s.store, err = store.Open(t.Context(), dsn, store.Options{Logger: log, Queues: map[string]int{calllog.Queue: 2}})
	wanted(t, err)
	cfg := config.Defaults()
	s.dir = t.TempDir()
	cfg.Recordings.Mode, cfg.Recordings.Dir = "upload", s.dir
	s.tapes = newTapes(cfg, s.store, xapi, log)
	s.tapes.Keeper = recording.New(recording.Config{Dir: cfg.Recordings.Dir, PBX: pbxRecordings{xapi, "RU"}, Logger: log, Now: s.clock})
	s.Log = calllog.New(calllog.Config{Store: s.store, CRM: client, Recordings: s.tapes, Logger: log, Policy: func() calllog.Policy {
		return calllog.Policy{Log: true, Missed: calllog.OwnerPlaceholder, Placeholder: 61}
	}})
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for _, run := range []func(context.Context) error{s.store.Run, s.Log.Run, s.tapes.Run} {
		wg.Go(func() { wanted(t, run(ctx)) })
	}
	t.Cleanup(func() {
		cancel()
		wg.Wait()
		client.Close()
		api.Close()
		server.Close()
		wanted(t, s.store.Close())
		wanted(t, front.Close())
	})
	return s
}

func wanted(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

// redirected is a call that was handed over and has ended on the PBX just now,
// after a talk of so many seconds; recording is what the call log says of one.
func (s *studio) redirected(id, ext string, number call.Number, seconds int, known bool) {
	from := s.clock().Add(-time.Duration(seconds) * time.Second)
	a := s.pbx.Account(pbxtest.Account{
		Direction: pbxtest.Inbound, Caller: pbxtest.Party{Number: string(number)}, Dialled: ext, Trunk: "10000", Started: from, Ended: s.clock(), End: pbxtest.BySource,
		Legs: []pbxtest.Leg{{Party: pbxtest.Party{Number: ext}, Kind: pbxtest.Extension, How: pbxtest.Dialled, Rang: from, Answered: from, Ended: s.clock()}},
	})
	r := call.Record{
		ID: id, Direction: call.In, Parties: call.Parties{Trunk: "carrier", Caller: number}, Times: call.Times{Started: from, Answered: from, Ended: s.clock()},
		Routed: call.Routed{Target: call.Extension(ext)}, Ended: call.Ended{Transfer: call.TransferRedirect, Result: call.ResultAnswered},
		Talks: []call.Talk{{Extension: call.Extension(ext), Employee: 60 + int(ext[2]-'0'), From: from, Until: s.clock(), Seconds: seconds}},
	}
	if known {
		r.Talks[0].Recording = fmt.Sprintf("pbx:%d", a.Legs[0].Recording)
	}
	s.Ended(s.tapes.named(r))
}

// steps are the states of a call's steps, by name.
func (s *studio) steps(id string) map[string]call.Entry {
	out := map[string]call.Entry{}
	r, _, err := s.store.Record(s.t.Context(), id)
	if err == nil {
		for _, e := range r.Ledger {
			out[e.Step] = e
		}
	}
	return out
}

// until has the recordings of calls asked for again and again, until ok.
func (s *studio) until(what string, ok func() bool, ids ...string) {
	s.t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	over := time.After(10 * time.Minute) // of benchmarks
	for !ok() {
		for _, id := range ids {
			if s.steps(id)[calllog.StepAttach].State == call.StepWaiting {
				_, err := s.Retry(s.t.Context(), id, calllog.StepAttach)
				wanted(s.t, err)
			}
		}
		select {
		case <-tick.C:
		case <-over:
			s.t.Fatalf("not in time: %s; %v", what, ids)
		}
	}
}

// entry is a call in the portal.
func (s *studio) entry(id string) crmtest.Call {
	for _, c := range s.portal.Calls() {
		if c.ExternalID == id+"-0" {
			return c
		}
	}
	return crmtest.Call{}
}

// TestRecordingsOfThePBX has recordings of redirected calls found on the PBX, by
// time and numbers or by the id in its call log, attached when they are whole,
// and given up where there are none.
func TestRecordingsOfThePBX(t *testing.T) {
	storetest.OnBoth(t, recordingsOfThePBX)
}

func recordingsOfThePBX(t *testing.T, dsn string) {
	const found, named, none = "found", "named", "none"
	s := newStudio(t, dsn)
	s.redirected(found, "201", "+79161234567", 60, false)
	s.redirected(named, "202", "+79161234568", 20, true)
	s.redirected(none, "203", "+79161234569", 40, false)
	ids := []string{found, named, none}
	waiting := func(least int) func() bool {
		return func() bool {
			for _, id := range ids {
				e := s.steps(id)
				if e[calllog.StepFinish].State != call.StepDone || e[calllog.StepAttach].Tries < least {
					return false
				}
			}
			return true
		}
	}
	s.until("all are in the portal, their recordings are asked for", waiting(3), ids...)
	s.pass(time.Minute) // the files are half there
	tries := s.steps(found)[calllog.StepAttach].Tries
	s.until("they are asked for while they grow", waiting(tries+3), ids...)
	for _, id := range ids {
		if e := s.entry(id); e.Attached != 0 {
			t.Errorf("%s has a recording that is not whole: %+v", id, e.Recorded)
		}
	}
	s.pass(2 * time.Minute)
	s.until("those that are there are attached", func() bool { return s.entry(found).Attached > 0 && s.entry(named).Attached > 0 }, ids...)
	for id, seconds := range map[string]int{found: 60, named: 20} {
		e := s.entry(id)
		size := seconds * 24_000 / 8 // mono, 24 kbit/s
		if !strings.HasSuffix(e.Record, ".mp3") {
			size = seconds * 16_000
		}
		if e.Attached != 1 || e.AudioSize < size*98/100 || e.AudioSize > size*104/100+2000 {
			t.Errorf("%s has %d bytes of %s, attached %d times, want some %d", id, e.AudioSize, e.Record, e.Attached, size)
		}
	}
	if e := s.steps(none)[calllog.StepAttach]; e.State != call.StepWaiting {
		t.Errorf("a recording that may yet come is %+v", e)
	}
	s.pass(time.Hour)
	s.until("the one that is not there is given up", func() bool { return s.steps(none)[calllog.StepAttach].State == call.StepFailed }, ids...)
	if e := s.entry(none); !e.Finished || e.Duration != 40 || e.Attached != 0 || !strings.Contains(s.steps(none)[calllog.StepAttach].Error, "PBX") {
		t.Errorf("the call without a recording is %+v, %+v", e, s.steps(none))
	}
	s.until("nothing is left on the disk", func() bool {
		left, err := filepath.Glob(filepath.Join(s.dir, "*"))
		return err == nil && len(left) == 0
	}, ids...)
}
