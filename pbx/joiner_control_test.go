package pbx_test

import (
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"frontdesk/call"
	"frontdesk/pbx"
)

// watched is what call control saw of a call: its times are ours.
func watched(id string, from call.Number, first call.Extension, start, end time.Time, talks ...call.Talk) pbx.Call {
	c := account(id, from, first, start, end, talks...)
	c.Account, c.Started, c.Ended = pbx.AccountControl, start, end
	if len(talks) == 0 {
		c.Result = call.ResultMissed
	}
	return c
}

// TestControlBesideTheLine: who talked is the line's to tell, how long each of
// them call control knows better. It comes before or after.
func TestControlBesideTheLine(t *testing.T) {
	t.Parallel()
	for _, first := range []pbx.Account{pbx.AccountControl, pbx.AccountCDR} {
		synctest.Test(t, func(t *testing.T) {
			d := newDesk(t, nil)
			at := time.Now()
			end := at.Add(60 * time.Second)
			line := account("x", orlova, "201", at, end, talked("201", at.Add(5*time.Second), at.Add(5*time.Second)), talked("205", at.Add(5*time.Second), end))
			control := watched("7", orlova, "201", at.Add(200*time.Millisecond), end.Add(300*time.Millisecond),
				talked("201", at.Add(5*time.Second), at.Add(25*time.Second)), talked("205", at.Add(26*time.Second), end))
			d.Own(redirected("a", call.TransferRedirect, orlova, "201", at))
			after(time.Minute)
			one, other := control, line
			if first == pbx.AccountCDR {
				one, other = line, control
			}
			d.PBX(one)
			after(3 * time.Second)
			if _, n := d.last("a"); n == 1 && first == pbx.AccountControl {
				t.Error("settled by what call control saw alone, though the line may come")
			}
			d.PBX(other)
			synctest.Wait()
			if r, _ := d.last("a"); told(r) != "answered 201 205" || r.Talks[0].Seconds != 20 {
				t.Errorf("%s first: %s, %+v", first, told(r), r.Talks)
			}
			after(10 * time.Minute)
			if ids := d.ids(); !slices.Equal(ids, []string{"a"}) {
				t.Errorf("records %v", ids)
			}
		})
	}
}

// TestControlSeesNoAnswer: an extension that is not monitored may have answered,
// so a miss that call control saw is no more than a guess.
func TestControlSeesNoAnswer(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, nil)
		at := time.Now()
		d.Own(redirected("a", call.TransferRedirect, orlova, "800", at))
		after(30 * time.Second)
		d.PBX(watched("7", orlova, "800", at, at.Add(30*time.Second)))
		after(5 * time.Second)
		if _, n := d.last("a"); n != 0 {
			t.Fatal("a miss is believed")
		}
		d.PBX(account("x", orlova, "800", at, at.Add(30*time.Second), talked("203", at.Add(9*time.Second), at.Add(30*time.Second))))
		after(10 * time.Minute)
		if r, n := d.last("a"); n != 1 || told(r) != "answered 203" {
			t.Errorf("told %d times, %s", n, told(r))
		}
	})
}

// TestControlAlone: where nothing else tells, what call control saw completes
// our records, and makes none of its own.
func TestControlAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		kept := newCupboard()
		d := newDesk(t, kept)
		at := time.Now()
		end := at.Add(time.Minute)
		talks := []call.Talk{talked("201", at.Add(5*time.Second), at.Add(20*time.Second)), talked("205", at.Add(21*time.Second), end)}
		d.Own(redirected("handed", call.TransferRefer, orlova, "201", at))
		d.Own(redirected("missed", call.TransferRedirect, "+74957654321", "203", at))
		after(time.Minute)
		d.Own(bridged("bridged", "+78125550000", []stop{{"201", at}}, at.Add(5*time.Second), end))
		after(3 * time.Second)
		d.PBX(watched("7", orlova, "201", at, end, talks...))
		d.PBX(watched("8", "+74957654321", "203", at, end))
		d.PBX(watched("9", "+78125550000", "201", at, end, talks...))
		d.PBX(watched("10", "+74959999999", "201", at, end, talks...)) // it never passed us
		after(21 * time.Second)
		for id, want := range map[string]string{"handed": "answered 201 205", "bridged": "answered 201 205", "missed": "missed in extension"} {
			if r, n := d.last(id); n != 1 || told(r) != want {
				t.Errorf("%s is told %d times, %s", id, n, told(r))
			}
		}
		if len(d.ids()) != 3 {
			t.Errorf("records %v", d.ids())
		}
		again := time.Now() // after the PBX has begun to count anew
		d.Own(redirected("again", call.TransferRedirect, orlova, "202", again))
		d.PBX(watched("7", orlova, "202", again, again.Add(time.Minute), talked("202", again.Add(2*time.Second), again.Add(time.Minute))))
		after(2 * time.Minute)
		if r, n := d.last("again"); n != 1 || told(r) != "answered 202" {
			t.Errorf("another call of the same number is told %d times, %s", n, told(r))
		}
		if r, _ := d.last("handed"); told(r) != "answered 201 205" {
			t.Errorf("the first is overwritten: %s", told(r))
		}
		d.PBX(watched("11", "+74959999999", "201", time.Now(), time.Now(), talked("201", time.Now(), time.Now())))
		synctest.Wait()
		d.stop()
		after(time.Hour)
		d = newDesk(t, kept)
		after(7 * time.Hour)
		if len(d.ids()) != 0 || kept.count() != 0 {
			t.Errorf("after a restart: %v, %d kept", d.ids(), kept.count())
		}
	})
}
