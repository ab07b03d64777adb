package pbx_test

import (
	"testing"
	"testing/synctest"
	"time"

	"frontdesk/call"
	"frontdesk/pbx"
)

// TestReferred: the PBX had the client handed on by REFER, and so has a call of
// its own for each who talked; whoever placed the first one.
func TestReferred(t *testing.T) {
	t.Parallel()
	const node = "sip:127.0.0.1:5060"
	for name, test := range map[string]struct {
		direction call.Direction
		legs      func(at time.Time) []call.Leg
	}{
		"a call that came in": {call.In, func(at time.Time) []call.Leg {
			return []call.Leg{
				{Peer: "carrier", Began: at}, {Peer: node, Target: "sip:201@127.0.0.1:5060", Began: at, Code: 200},
				{Peer: node, Target: "sip:202@127.0.0.1:5060", Began: at.Add(50 * time.Second), Code: 486}, // it was busy
				{Peer: node, Target: "sip:205@127.0.0.1:5060", Began: at.Add(55 * time.Second), Code: 200},
				{Peer: node, Target: "sip:203@127.0.0.1:5060", Began: at.Add(80 * time.Second), Code: 486},
			}
		}},
		"a call of the PBX": {call.Out, func(at time.Time) []call.Leg {
			return []call.Leg{
				{Peer: "pbx", Began: at}, {Peer: "carrier", Target: "sip:+79161234567@carrier", Began: at, Code: 200},
				{Peer: node, Target: "sip:205@127.0.0.1:5060", Began: at.Add(55 * time.Second), Code: 200},
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d := newDesk(t, nil)
				at := time.Now()
				answered, moved, ended := at.Add(8300*time.Millisecond), at.Add(60600*time.Millisecond), at.Add(262*time.Second)
				own := call.Record{
					ID: "a", Direction: test.direction, Parties: call.Parties{Trunk: "carrier", Caller: orlova, DID: "+74950000000"},
					Times: call.Times{Started: at, Answered: answered, Ended: ended}, Routed: call.Routed{Target: "201"},
					Ended: call.Ended{Transfer: call.TransferBridge, Result: call.ResultAnswered}, Legs: test.legs(at),
					Talks: []call.Talk{
						{Extension: "201", From: answered, Until: moved, Seconds: 52, Recording: "file:1"},
						{Extension: "205", From: moved, Until: ended, Seconds: 201, Recording: "file:2"},
					},
				}
				first := account("x", orlova, "201", at, moved.Add(time.Second), talked("201", answered, moved.Add(time.Second)))
				if test.direction == call.Out {
					own.Parties.Caller, own.Parties.DID = "201", orlova
					first.Direction, first.Caller, first.Callee = pbx.Out, "201", orlova
				}
				d.Own(own)
				d.PBX(first)
				d.PBX(account("y", orlova, "205", at.Add(55*time.Second), ended, talked("205", moved, ended)))
				after(7 * time.Hour)
				r, _ := d.last("a")
				if told(r) != "answered 201 205" || len(d.ids()) != 1 {
					t.Fatalf("told %s; records %v", told(r), d.ids())
				}
				for i, o := range own.Talks {
					if got := r.Talks[i]; !got.From.Equal(o.From) || !got.Until.Equal(o.Until) || got.Seconds != o.Seconds || got.Recording != o.Recording {
						t.Errorf("talk %+v, ours %+v", got, o)
					}
				}
			})
		})
	}
}

// TestReferredOnInside: whom the client was handed to by REFER handed them on
// inside the PBX, where each talk has its part of our recordings.
func TestReferredOnInside(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, nil)
		at := time.Now()
		moved, inside, ended := at.Add(time.Minute), at.Add(2*time.Minute), at.Add(4*time.Minute)
		own := bridged("a", orlova, []stop{{"201", at}, {"205", moved}}, moved, ended)
		own.Legs[1].Code = 200
		own.Talks = []call.Talk{
			{Extension: "201", From: at, Until: moved, Seconds: 60, Recording: "file:1"},
			{Extension: "205", From: moved, Until: ended, Seconds: 180, Recording: "file:2"},
		}
		d.Own(own)
		d.PBX(account("x", orlova, "201", at, moved, talked("201", at, moved)))
		d.PBX(account("y", orlova, "205", moved, ended, talked("205", moved, inside), talked("203", inside, ended)))
		after(time.Hour)
		r, _ := d.last("a")
		if told(r) != "answered 201 205 203" || len(d.ids()) != 1 {
			t.Fatalf("told %s; records %v", told(r), d.ids())
		}
		for i, want := range []string{"file:1", "file:2", "file:2"} {
			if got := r.Talks[i].Recording; got != want {
				t.Errorf("the recording of talk %d is %q, want %q", i, got, want)
			}
		}
	})
}
