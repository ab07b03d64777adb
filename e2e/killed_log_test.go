//go:build e2e

package e2e_test

import (
	"strings"
	"testing"
	"time"

	"frontdesk/crm/crmtest"
	"frontdesk/pbx/pbxtest"
)

// killPoint is a request during which the process is killed: before the portal
// does it, or after.
type killPoint struct {
	method   string
	executed bool
}

// TestKilledWhileLogging kills the process with SIGKILL at several points of
// logging, and while a call rings: after a restart each call is in the portal
// exactly once, with its recording.
func TestKilledWhileLogging(t *testing.T) {
	t.Parallel()
	points := []killPoint{
		{"telephony.externalcall.finish", false}, {"telephony.externalcall.finish", true},
		{"telephony.externalcall.attachrecord", false}, {"telephony.externalcall.attachrecord", true},
	}
	for name, options := range stores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := startDesk(t, append(options(t), number("209", pbxtest.Behaviour{Ring: 6 * time.Second, Then: pbxtest.Then{Code: 480}}),
				section("rules", `[{name: talks, did: "`+direct("205")+`", default: "205"}, {name: rings, default: "209"}]`))...)
			var ids []string
			for i, p := range points {
				ids = append(ids, d.killedIn(p, client(1200+i)))
			}
			ringing := d.killedWhileItRings(client(1210))
			for i, id := range ids {
				rec := d.settled(id)
				if len(rec.Talks) != 1 {
					t.Fatalf("after %+v the record is %+v, the ledger %+v", points[i], rec, rec.Ledger)
				}
				e := d.has(rec, talkedTo(vera))
				d.sounds(e[0], rec.Talks[0], coarse, clientTone, pbxtest.ToneOf("205"))
				d.hasLeads(client(1200+i), owned(fake, vera))
			}
			d.has(d.settled(ringing), missedBy(fake))
			d.hasLeads(client(1210), owned(fake))
			attached, files := 0, d.portal.Files()
			for _, c := range d.portal.Calls() {
				attached += c.Attached
			}
			if n := len(d.portal.Calls()); n != len(points)+1 || attached < len(points) || len(files) != len(points) {
				t.Errorf("%d entries with %d files, want %d with %d: %+v", n, len(files), len(points)+1, len(points), d.portal.Calls())
			}
			d.deliveredTapes()
			d.quiet()
		})
	}
}

// killedIn has a client talk, kills the process in a request about the call,
// and starts it again. It gives the id of the call.
func (d *desk) killedIn(p killPoint, from string) string {
	d.t.Helper()
	asked := d.requests(p.method)
	d.portal.SetFault(crmtest.Fault{Kind: crmtest.Slow, Latency: time.Hour, Method: p.method, Executed: p.executed})
	c := d.calling(from, direct("205"))
	d.hears(c, "205", talkFor)
	d.must(c.Hangup(patience(d.t)))
	id := d.recordOf(c.CallIDs()[0]).ID
	waitFor(d.t, "the portal to be asked for "+p.method, func() bool { return d.requests(p.method) > asked })
	d.kill()
	d.portal.Heal()
	d.revive()
	return id
}

// killedWhileItRings kills the process while a call rings that the portal knows
// already, and starts it again.
func (d *desk) killedWhileItRings(from string) (id string) {
	d.t.Helper()
	c := d.rings(from, direct("209"))
	d.must(c.WaitCode(patience(d.t), 180))
	waitFor(d.t, "the call to be registered", func() bool {
		for _, r := range d.portal.Calls() {
			if r.Number == from {
				id = strings.TrimSuffix(r.ExternalID, "-0")
			}
		}
		return id != ""
	})
	d.kill()
	d.revive()
	return id
}
