package b2bua_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"frontdesk/b2bua"
	"frontdesk/call"
	"frontdesk/media"
	"frontdesk/media/sdp"
	"frontdesk/pbx/pbxtest"
	"frontdesk/sip/siptest"
)

// tapes are the recordings of a rig, in memory.
type tapes struct {
	engine *media.Engine
	fail   error

	mu   sync.Mutex
	kept map[string][]byte
}

func (k *tapes) Record(ctx context.Context, id string, client, employee *media.Session) (string, error) {
	if k.fail != nil {
		return "", k.fail
	}
	var b bytes.Buffer
	if _, err := k.engine.Record(ctx, &b, client, employee); err != nil {
		return "", err
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.kept == nil {
		k.kept = map[string][]byte{}
	}
	name := fmt.Sprintf("file:%s-%d", id, len(k.kept)) // a call may have several
	k.kept[name] = b.Bytes()
	return name, nil
}

// sides are a recording's two channels.
func (k *tapes) sides(name string) (client, employee []int16) {
	k.mu.Lock()
	defer k.mu.Unlock()
	for b := k.kept[name]; len(b) >= 4; b = b[4:] {
		client = append(client, int16(binary.LittleEndian.Uint16(b)))
		employee = append(employee, int16(binary.LittleEndian.Uint16(b[2:])))
	}
	return client, employee
}

func recorded(announce string) option {
	return func(r *rig) { r.settings.Record = b2bua.Recording{On: true, Announce: announce} }
}

// goesOn lets two talk a while longer: a recorder may begin late.
func (r *rig) goesOn(c *siptest.Call) {
	r.t.Helper()
	c.Forget()
	r.must(c.WaitSound(r.ctx, 500*time.Millisecond))
}

// heard reports whether a tone fills some 100 ms of a recording.
func heard(pcm []int16, hz int) bool {
	for ; len(pcm) >= 800; pcm = pcm[400:] {
		if media.Level(pcm[:800]) > -40 && media.Dominant(pcm[:800], float64(hz)) > 0.9 {
			return true
		}
	}
	return false
}

func (r *rig) isRecorded(rec call.Record, clientTone, employeeTone int) {
	r.t.Helper()
	if len(rec.Talks) != 1 || rec.Talks[0].Recording == "" {
		r.t.Fatalf("talks %+v: no recording", rec.Talks)
	}
	client, employee := r.tapes.sides(rec.Talks[0].Recording)
	if !heard(client, clientTone) || !heard(employee, employeeTone) || heard(client, employeeTone) || heard(employee, clientTone) {
		r.t.Errorf("a recording of %.1f s does not have the client's %d Hz on the left and the employee's %d Hz on the right",
			float64(len(client))/8000, clientTone, employeeTone)
	}
}

func TestRecorded(t *testing.T) {
	r := setup(t, quiet, bridged, recorded(""))
	c := r.call()
	r.talking(c, "201")
	r.goesOn(c)
	r.must(c.Hangup(r.ctx))
	r.isRecorded(r.record(), 700, pbxtest.ToneOf("201"))
}

// TestRecordedOutgoing: the client is the one who is called.
func TestRecordedOutgoing(t *testing.T) {
	r := setup(t, recorded("said to callers only"), carrier)
	c := r.callOut("+74957654321")
	r.must(c.WaitAnswer(r.ctx))
	r.must(c.Tone(r.ctx, 900))
	r.must(c.WaitTone(r.ctx, greeted))
	r.goesOn(c)
	r.must(c.Hangup(r.ctx))
	r.isRecorded(r.record(), greeted, 900)
}

// TestAnnounced: the caller is told before the PBX rings, and what is recorded
// is the talk alone.
func TestAnnounced(t *testing.T) {
	r := setup(t, quiet, bridged, recorded("this call is recorded"))
	c := r.call()
	r.must(c.WaitTone(r.ctx, greeted)) // every prompt of a rig
	if n := len(r.pbx.Calls()); n != 0 {
		t.Errorf("the PBX was called %d times before the caller was told", n)
	}
	r.talking(c, "201")
	r.goesOn(c)
	r.must(c.Hangup(r.ctx))
	rec := r.record()
	r.isRecorded(rec, 700, pbxtest.ToneOf("201"))
	if client, employee := r.tapes.sides(rec.Talks[0].Recording); heard(client, greeted) || heard(employee, greeted) {
		t.Error("the announcement is on the recording")
	}
}

// TestNotRecorded: a call is never lost to its recording.
func TestNotRecorded(t *testing.T) {
	for name, c := range map[string]struct {
		option option
		why    string
	}{
		"the recorder fails":            {func(r *rig) { r.tapes.fail = errors.New("no space left on device") }, "recording: no space left on device"},
		"the announcement has no audio": {func(r *rig) { r.settings.Greeting.Wait = 0 }, "not recorded: the announcement"},
		"no codec that we hear":         {func(r *rig) { r.settings.Codecs = []sdp.Codec{"G722"} }, "not recorded: "},
	} {
		t.Run(name, func(t *testing.T) {
			r := setup(t, quiet, bridged, recorded("told"), c.option)
			phone := r.call()
			r.talking(phone, "201")
			r.must(phone.Hangup(r.ctx))
			rec := r.record()
			if rec.Talks[0].Recording != "" || !told(rec, c.why) {
				t.Errorf("recording %q, timeline %v, want %q", rec.Talks[0].Recording, rec.Timeline, c.why)
			}
		})
	}
}

func told(rec call.Record, event string) bool {
	for _, e := range rec.Timeline {
		if strings.HasPrefix(e.Event, event) {
			return true
		}
	}
	return false
}

// TestHangUpDuringAnnouncement: the PBX is never called.
func TestHangUpDuringAnnouncement(t *testing.T) {
	r := setup(t, quiet, bridged, recorded("told"))
	c := r.call()
	r.must(c.WaitTone(r.ctx, greeted))
	r.must(c.Hangup(r.ctx))
	rec := r.record()
	r.is(rec, "201", "responsible", "none", "abandoned")
	if len(r.pbx.Calls()) != 0 {
		t.Errorf("the PBX was called: %v", r.pbx.Calls())
	}
}
