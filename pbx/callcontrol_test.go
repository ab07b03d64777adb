package pbx_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"frontdesk/call"
	"frontdesk/pbx"
	"frontdesk/pbx/pbxtest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

// watch is call control that runs, and the calls that it has seen end.
type watch struct {
	*testing.T
	*pbx.CallControl
	state *pbxtest.State
	api   *pbxtest.API

	mu    sync.Mutex
	ended []pbx.Call
}

func newWatch(t *testing.T, reconcile time.Duration, who pbxtest.Client) *watch {
	t.Helper()
	s, api, c := sandbox(t, pbxtest.StateConfig{}, who)
	w := &watch{T: t, state: s, api: api}
	w.CallControl = pbx.NewCallControl(pbx.CallControlConfig{
		Client: c, Country: "RU", Reconcile: reconcile, Grace: 20 * time.Millisecond,
		Ended: func(c pbx.Call) {
			w.mu.Lock()
			w.ended = append(w.ended, c)
			w.mu.Unlock()
		},
	})
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- w.CallControl.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return w
}

// connected waits for the first snapshot.
func (w *watch) connected() {
	w.Helper()
	eventually(w.T, "a connection", func() bool { return w.Follows("101") })
}

// shows waits for the live state, given as call, extension, status, ...
func (w *watch) shows(want ...pbx.Participant) {
	w.Helper()
	ignore := cmpopts.IgnoreFields(pbx.Participant{}, "Since", "Call")
	eventually(w.T, "the live state", func() bool {
		for _, p := range want {
			if !w.Follows(p.Extension) {
				return false
			}
		}
		return cmp.Equal(want, w.Live(), ignore, cmpopts.EquateEmpty())
	})
}

// ends waits for n calls to have ended.
func (w *watch) ends(n int) []pbx.Call {
	w.Helper()
	eventually(w.T, "an ended call", func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return len(w.ended) >= n
	})
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.ended
}

const anna = "+79161234567"

func seat(ext call.Extension, status string) pbx.Participant {
	return pbx.Participant{Extension: ext, Status: status, Party: anna, PartyDN: "10000"}
}

func talks(c pbx.Call) []call.Extension {
	var out []call.Extension
	for _, t := range c.Talks {
		out = append(out, t.Extension)
	}
	return out
}

// TestCallControl follows a call from a queue to an agent and by transfer to
// another employee, under every quirk of the events.
func TestCallControl(t *testing.T) {
	t.Parallel()
	for name, quirks := range map[string]pbxtest.Quirks{
		"as documented":          {},
		"with attached data":     {Filled: true},
		"everything twice":       {Repeat: 2},
		"and out of order":       {Repeat: 3, Swap: true},
		"removals are lost":      {LoseAll: true},
		"the connection is lost": {DropAfter: 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWatch(t, 50*time.Millisecond, pbxtest.Client{})
			w.connected()
			w.state.SetQuirks(quirks)
			tr := w.state.Begin(pbxtest.Inbound, pbxtest.Party{Number: anna, Name: "Anna"}, "800", "10000")
			tr.Ring("800", pbxtest.Queue, "")
			tr.Answer("800")
			tr.Ring("101", pbxtest.Extension, pbxtest.Polled)
			w.shows(seat("101", "Ringing"))
			tr.Answer("101")
			w.shows(seat("101", "Connected"))
			tr.Ring("105", pbxtest.Extension, pbxtest.Blind)
			tr.Leave("101")
			tr.Answer("105")
			w.shows(seat("105", "Connected"))
			tr.End("")
			w.shows()
			got := w.ends(1)[0]
			if d := cmp.Diff([]call.Extension{"101", "105"}, talks(got)); d != "" {
				t.Errorf("who talked: %s", d)
			}
			got.Talks, got.Times = nil, call.Times{}
			want := pbx.Call{ID: got.ID, Account: pbx.AccountControl, Direction: pbx.In,
				Ends: pbx.Ends{Caller: anna, Trunk: "10000", First: "800"}, Result: call.ResultAnswered}
			if d := cmp.Diff(want, got, cmpopts.EquateEmpty()); d != "" {
				t.Error(d)
			}
		})
	}
}

func TestCallControlMissed(t *testing.T) {
	t.Parallel()
	w := newWatch(t, time.Minute, pbxtest.Client{Monitored: []string{"101", "102", "105"}})
	w.connected()
	tr := w.state.Begin(pbxtest.Inbound, pbxtest.Party{Number: anna}, "800", "10000")
	tr.Ring("800", pbxtest.Queue, "")
	tr.Answer("800")
	for _, ext := range []string{"101", "102"} {
		tr.Ring(ext, pbxtest.Extension, pbxtest.Polled)
		w.shows(seat(call.Extension(ext), "Ringing"))
		tr.Leave(ext)
		w.shows()
	}
	tr.End("")
	calls := w.ends(1)
	last := calls[len(calls)-1]
	if last.Result != call.ResultMissed || last.MissedIn != "queue" || last.Caller != anna || len(last.Talks) != 0 || len(last.Rang) == 0 {
		t.Errorf("%+v", last)
	}
	if w.Follows("800") {
		t.Error("a queue that is not monitored is known")
	}
}

// TestCallControlDenied is call control without its licence: nothing is known,
// and nothing fails.
func TestCallControlDenied(t *testing.T) {
	t.Parallel()
	w := newWatch(t, time.Minute, pbxtest.Client{NoCallControl: true})
	eventually(t, "an attempt", func() bool { return w.api.Total() > 1 })
	if w.Follows("101") || w.Live() != nil {
		t.Error("something is known")
	}
}

// TestCallControlToken survives another program taking the token.
func TestCallControlToken(t *testing.T) {
	t.Parallel()
	w := newWatch(t, time.Minute, pbxtest.Client{})
	w.connected()
	w.api.Revoke()
	tr := w.state.Begin(pbxtest.Inbound, pbxtest.Party{Number: anna}, "101", "10000")
	tr.Ring("101", pbxtest.Extension, "")
	w.shows(seat("101", "Ringing"))
	w.state.Cut()
	if err := w.state.WaitListeners(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	w.shows(seat("101", "Ringing")) // after a connection of its own
	tr.End("")
	w.ends(1)
}
