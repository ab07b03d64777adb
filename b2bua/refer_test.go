package b2bua_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"frontdesk/call"
	"frontdesk/pbx/pbxtest"
	"frontdesk/sip"
	"frontdesk/sip/siptest"
)

// refers has somebody transfer the caller to a number, and wants the last
// NOTIFY to say code.
func (r *rig) refers(at *pbxtest.Call, to string, code int) {
	r.t.Helper()
	got, err := at.Transfer(r.ctx, r.pbx.Phone.URI(to))
	r.must(err)
	if got != code {
		r.t.Errorf("transferring to %s: %d, want %d", to, got, code)
	}
}

// again proves that sound passes both ways anew.
func (r *rig) again(c *siptest.Call, at *pbxtest.Call, ext string) {
	r.t.Helper()
	c.Forget()
	at.Forget()
	r.talking(c, ext)
}

// talked wants a record to tell of talks with these, one after the other.
func (r *rig) talked(rec call.Record, exts ...call.Extension) {
	r.t.Helper()
	var got []call.Extension
	for i, t := range rec.Talks {
		got = append(got, t.Extension)
		if t.Until.Before(t.From) || i > 0 && t.From.Before(rec.Talks[i-1].Until) {
			r.t.Errorf("talks %+v overlap", rec.Talks)
		}
	}
	if !slices.Equal(got, exts) || rec.Result != call.ResultAnswered {
		r.t.Errorf("the record says %s, talks with %q, want %q", rec.Result, got, exts)
	}
}

// nothingSeen wants the trunk to have seen nothing of a transfer.
func (r *rig) nothingSeen(c *siptest.Call) {
	r.t.Helper()
	for _, s := range c.Ladder() {
		if method, _, _ := strings.Cut(s.First, " "); !s.Sent && method != "SIP/2.0" && method != "BYE" {
			r.t.Errorf("the trunk was sent %s", s.First)
		}
	}
}

func TestReferOfThePBX(t *testing.T) {
	o := &observer{}
	r := setup(t, quiet, bridged, recorded(""), number("205", pbxtest.Behaviour{Ring: 100 * time.Millisecond}), func(r *rig) { r.observer = o })
	c := r.call()
	at := r.talking(c, "201")
	r.goesOn(c)
	r.refers(at, "205", 200)
	r.must(at.WaitDone(r.ctx))
	next := r.talking(c, "205")
	r.goesOn(c)
	if from := next.Invite.From; from.User != caller || from.Display != "Ann Lee" || next.FrontdeskCall() != at.FrontdeskCall() {
		t.Errorf("205 is called by %+v for call %q, want %s for %q", from, next.FrontdeskCall(), caller, at.FrontdeskCall())
	}
	if got := next.Invite.Header("Replaces"); got != "" {
		t.Errorf("a blind transfer replaces %q", got)
	}
	r.must(c.Hangup(r.ctx))
	r.must(next.WaitDone(r.ctx))
	r.nothingSeen(c)
	rec := r.record()
	r.is(rec, "201", "responsible", "bridge", "answered")
	r.talked(rec, "201", "205")
	if len(rec.Legs) != 3 || rec.Legs[2].Code != 200 || !told(rec, "referral done") {
		t.Errorf("legs %+v, timeline %v", rec.Legs, rec.Timeline)
	}
	for i, tone := range []int{pbxtest.ToneOf("201"), pbxtest.ToneOf("205")} {
		alone := rec
		alone.Talks = rec.Talks[i : i+1]
		r.isRecorded(alone, 700, tone)
	}
	if told, _ := o.all(); !slices.Equal(told, []string{"rings at 201", "answered by 201", "rings at 205", "answered by 205"}) {
		t.Errorf("the observer was told %q", told)
	}
}

// TestReferRefusedByTarget: the caller is back with whom they had.
func TestReferRefusedByTarget(t *testing.T) {
	for name, test := range map[string]struct {
		is   pbxtest.Behaviour
		code int
	}{
		"busy":      {pbxtest.Refuse("busy"), 486},
		"declined":  {pbxtest.Refuse("decline"), 603},
		"no answer": {pbxtest.Behaviour{Then: pbxtest.Then{NoAnswer: true}}, 480},
	} {
		t.Run(name, func(t *testing.T) {
			o := &observer{}
			r := setup(t, quiet, bridged, recorded(""), number("205", test.is), func(r *rig) { r.settings.PBX.Ring, r.observer = 500*time.Millisecond, o })
			c := r.call()
			at := r.talking(c, "201")
			r.refers(at, "205", test.code)
			r.again(c, at, "201")
			r.refers(at, "205", test.code) // and once more in the same dialog
			r.again(c, at, "201")
			r.must(c.Hangup(r.ctx))
			r.nothingSeen(c)
			rec := r.record()
			r.talked(rec, "201")
			r.isRecorded(rec, 700, pbxtest.ToneOf("201"))
			if told, _ := o.all(); told[len(told)-1] != "answered by 201" {
				t.Errorf("the observer was told %q", told)
			}
		})
	}
}

// TestReferAttended: the dialog that is to be replaced is the PBX's own.
func TestReferAttended(t *testing.T) {
	r := setup(t, quiet, bridged, number("205", pbxtest.Behaviour{}))
	c := r.call()
	at := r.talking(c, "201")
	r.must(at.Hold(r.ctx))
	code, err := at.Leg().Refer(r.ctx, "<"+r.pbx.Phone.URI("205")+"?Replaces=a%40b%3Bto-tag%3Dt1%3Bfrom-tag%3Df1%0d%0a>",
		sip.Header{Name: "Referred-By", Value: "<sip:201@pbx.example>"})
	if err != nil || code != 400 {
		t.Errorf("a line break was answered %d, %v", code, err)
	}
	code, err = at.Leg().Refer(r.ctx, "<"+r.pbx.Phone.URI("205")+"?Replaces=a%40b%3Bto-tag%3Dt1%3Bfrom-tag%3Df1>",
		sip.Header{Name: "Referred-By", Value: "<sip:201@pbx.example>"})
	if err != nil || code != 200 {
		t.Errorf("the transfer ended with %d, %v", code, err)
	}
	next := r.talking(c, "205") // the hold was taken back
	if got := next.Invite.Header("Replaces"); got != "a@b;to-tag=t1;from-tag=f1" {
		t.Errorf("Replaces %q", got)
	}
	if got := next.Invite.Header("Referred-By"); got != "<sip:201@pbx.example>" {
		t.Errorf("Referred-By %q", got)
	}
	r.must(c.Hangup(r.ctx))
	r.talked(r.record(), "201", "205")
}

// TestReferAttendedUnknown: a PBX that must know Replaces, and does not, says
// so, and the caller is back.
func TestReferAttendedUnknown(t *testing.T) {
	r := setup(t, quiet, bridged, number("205", pbxtest.Behaviour{}))
	c := r.call()
	at := r.talking(c, "201")
	code, err := at.Leg().Refer(r.ctx, "<"+r.pbx.Phone.URI("205")+"?Replaces=a%3Bto-tag%3Dt1%3Bfrom-tag%3Df1&Require=replaces>")
	if err != nil || code != 420 {
		t.Errorf("the transfer ended with %d, %v", code, err)
	}
	r.again(c, at, "201")
	r.must(c.Hangup(r.ctx))
	r.talked(r.record(), "201")
}

// TestReferFollowsRedirect: what the PBX answers with 302 is followed as ever.
func TestReferFollowsRedirect(t *testing.T) {
	r := setup(t, quiet, bridged, number("205", pbxtest.Behaviour{Then: pbxtest.Then{Redirect: "203"}}))
	c := r.call()
	at := r.talking(c, "201")
	r.refers(at, "205", 200)
	r.talking(c, "203")
	r.must(c.Hangup(r.ctx))
	r.talked(r.record(), "201", "203")
}

// TestReferOnAndOn: whoever the caller was handed to may hand them on, back too.
func TestReferOnAndOn(t *testing.T) {
	r := setup(t, quiet, bridged)
	c := r.call()
	at := r.talking(c, "201")
	r.refers(at, "202", 200)
	at = r.talking(c, "202")
	r.refers(at, "203", 200)
	at = r.talking(c, "203")
	r.must(at.Hangup(r.ctx))
	r.must(c.WaitDone(r.ctx))
	r.talked(r.record(), "201", "202", "203")
}

func TestReferNowhere(t *testing.T) {
	r := setup(t, quiet, bridged)
	c := r.call()
	at := r.talking(c, "201")
	for to, want := range map[string]int{
		"sip:+74957654321@" + r.pbx.Phone.Addr().String(): 403, // outside
		"sip:0081312345678@198.51.100.9":                  403,
		"sip:205;x@127.0.0.1":                             403,
		"sip:999@127.0.0.1":                               403, // no such number
		"sip:127.0.0.1":                                   403,
		"sip:202@127.0.0.1;method=BYE":                    400,
		"202":                                             400,
	} {
		code, err := at.Transfer(r.ctx, to)
		if err != nil || code != want {
			t.Errorf("REFER to %s: %d, %v, want %d", to, code, err, want)
		}
	}
	r.again(c, at, "201")
	r.must(c.Hangup(r.ctx))
	r.talked(r.record(), "201")
	if n := len(r.pbx.Calls()); n != 1 {
		t.Errorf("%d calls at the PBX, want one", n)
	}
}

// TestReferOutside: where it is allowed the carrier is called, by one of our
// numbers.
func TestReferOutside(t *testing.T) {
	r := setup(t, quiet, bridged, carrier, func(r *rig) { r.settings.PBX.ReferOutside = true })
	c := r.call()
	at := r.talking(c, "201")
	r.refers(at, "+74957654321", 200)
	r.must(c.WaitTone(r.ctx, greeted))
	if !slices.ContainsFunc(r.trunk.Ladder().Steps(), func(s siptest.Step) bool {
		return strings.HasPrefix(s.First, "INVITE sip:+74957654321@") && strings.Contains(s.Header("From"), did)
	}) {
		t.Errorf("the carrier was not called by %s", did)
	}
	code, err := c.Transfer(r.ctx, r.pbx.Phone.URI("202"))
	if err != nil || code != 403 {
		t.Errorf("a REFER of the trunk was answered %d, %v", code, err)
	}
	r.must(c.Hangup(r.ctx))
	r.talked(r.record(), "201")
}

// TestReferTwice: one at a time.
func TestReferTwice(t *testing.T) {
	r := setup(t, quiet, bridged, number("205", pbxtest.Behaviour{Then: pbxtest.Then{NoAnswer: true}}))
	c := r.call()
	at := r.talking(c, "201")
	first := make(chan int, 1)
	go func() {
		code, err := at.Transfer(r.ctx, r.pbx.Phone.URI("205"))
		if err != nil {
			t.Error(err)
		}
		first <- code
	}()
	ringing := r.atPBX("205")
	res, err := at.Leg().Do(r.ctx, sip.Message{Method: "REFER", Headers: []sip.Header{{Name: "Refer-To", Value: "<" + r.pbx.Phone.URI("202") + ">"}}})
	r.must(err)
	if res.Code != 491 {
		t.Errorf("a second REFER was answered %d, want 491", res.Code)
	}
	r.must(c.Hangup(r.ctx))
	if code := <-first; code != 487 {
		t.Errorf("a transfer of a caller who hung up ended with %d, want 487", code)
	}
	r.must(ringing.WaitDone(r.ctx))
	r.talked(r.record(), "201")
}

// TestReferCallerHangsUp: all legs end.
func TestReferCallerHangsUp(t *testing.T) {
	r := setup(t, quiet, bridged, number("205", pbxtest.Behaviour{Then: pbxtest.Then{NoAnswer: true}}))
	c := r.call()
	at := r.talking(c, "201")
	r.notWaiting(at, "205", "")
	ringing := r.atPBX("205")
	r.must(c.Hangup(r.ctx))
	r.must(ringing.WaitDone(r.ctx))
	r.must(at.WaitDone(r.ctx))
	rec := r.record()
	r.is(rec, "201", "responsible", "bridge", "answered")
	r.talked(rec, "201")
}

// notWaiting sends a REFER whose NOTIFYs nobody wants.
func (r *rig) notWaiting(at *pbxtest.Call, to, sub string) {
	r.t.Helper()
	headers := []sip.Header{{Name: "Refer-To", Value: "<" + r.pbx.Phone.URI(to) + ">"}}
	if sub != "" {
		headers = append(headers, sip.Header{Name: "Refer-Sub", Value: sub})
	}
	res, err := at.Leg().Do(r.ctx, sip.Message{Method: "REFER", Headers: headers})
	r.must(err)
	if res.Code != 202 {
		r.t.Errorf("REFER was answered %d", res.Code)
	}
}

func TestReferWithoutNews(t *testing.T) {
	r := setup(t, quiet, bridged)
	c := r.call()
	at := r.talking(c, "201")
	r.notWaiting(at, "202", "false")
	r.must(at.WaitDone(r.ctx))
	r.talking(c, "202")
	r.must(c.Hangup(r.ctx))
	r.talked(r.record(), "201", "202")
	for _, s := range at.Ladder() {
		if strings.HasPrefix(s.First, "NOTIFY") {
			t.Error("there was a NOTIFY")
		}
	}
}

// TestReferAndHangUp: the employee does not stay to see what becomes of it. The
// caller hears ringing, and is lost neither where it goes well nor where not.
func TestReferAndHangUp(t *testing.T) {
	for name, test := range map[string]struct {
		is  pbxtest.Behaviour
		ext call.Extension
	}{
		"answered": {pbxtest.Behaviour{Ring: 1500 * time.Millisecond}, "205"},
		"declined": {pbxtest.Behaviour{Ring: 1500 * time.Millisecond, Then: pbxtest.Then{Code: 603}}, "800"},
	} {
		t.Run(name, func(t *testing.T) {
			r := setup(t, quiet, bridged, recorded(""), number("205", test.is))
			c := r.call()
			at := r.talking(c, "201")
			r.notWaiting(at, "205", "")
			r.must(at.Leg().Bye(r.ctx, ""))
			r.must(c.WaitTone(r.ctx, 425))
			r.must(c.Reinvite(r.ctx)) // there is somebody who answers
			r.talking(c, string(test.ext))
			r.must(c.Hangup(r.ctx))
			r.talked(r.record(), "201", test.ext)
		})
	}
}

// TestReferAndHangUpInVain: without anybody else the caller is hung up on.
func TestReferAndHangUpInVain(t *testing.T) {
	r := setup(t, quiet, bridged, number("205", pbxtest.Refuse("busy")), number("800", pbxtest.Refuse("busy")))
	c := r.call()
	at := r.talking(c, "201")
	r.pbx.Set("205", pbxtest.Behaviour{Ring: time.Second, Then: pbxtest.Then{Code: 486}})
	r.notWaiting(at, "205", "")
	r.must(at.Leg().Bye(r.ctx, ""))
	r.must(c.WaitDone(r.ctx))
	r.talked(r.record(), "201")
}

// TestReferOnHold: a client whom the employee has put on hold talks again.
func TestReferOnHold(t *testing.T) {
	r := setup(t, quiet, bridged)
	c := r.call()
	at := r.talking(c, "201")
	r.must(at.Hold(r.ctx))
	r.refers(at, "202", 200)
	r.talking(c, "202")
	reinvites := 0
	for _, s := range c.Ladder() {
		if !s.Sent && strings.HasPrefix(s.First, "INVITE") {
			reinvites++
			if resumed := strings.Contains(string(s.Data), "a=sendrecv"); resumed != (reinvites == 2) {
				t.Errorf("re-INVITE %d to the trunk\n%s", reinvites, s.Data)
			}
		}
	}
	if reinvites != 2 {
		t.Errorf("%d re-INVITEs to the trunk, want the hold and its end", reinvites)
	}
	r.must(c.Hangup(r.ctx))
	r.talked(r.record(), "201", "202")
}

// TestReferOfAnOutgoingCall: who called the client hands them on.
func TestReferOfAnOutgoingCall(t *testing.T) {
	const client = "+74957654321"
	r := setup(t, recorded(""), carrier, number("205", pbxtest.Behaviour{Ring: 100 * time.Millisecond}))
	c := r.callOut(client)
	r.must(c.WaitAnswer(r.ctx))
	r.must(c.WaitTone(r.ctx, greeted))
	r.must(c.Tone(r.ctx, 900))
	code, err := c.Leg().Refer(r.ctx, r.pbx.Phone.URI("205"))
	if err != nil || code != 200 {
		t.Errorf("the transfer ended with %d, %v", code, err)
	}
	r.must(c.WaitDone(r.ctx))
	next := r.atPBX("205")
	r.must(next.WaitTone(r.ctx, greeted))
	if next.Invite.From.User != client {
		t.Errorf("205 is called by %+v, want the client", next.Invite.From)
	}
	if !r.agent.Passing(client) {
		t.Error("the call is forgotten while it goes on")
	}
	r.must(next.Hangup(r.ctx))
	rec := r.record()
	r.talked(rec, "201", "205")
	if rec.Direction != call.Out || rec.Talks[1].Recording == "" || rec.Talks[0].Recording == rec.Talks[1].Recording {
		t.Errorf("direction %s, talks %+v", rec.Direction, rec.Talks)
	}
}
