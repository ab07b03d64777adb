//go:build e2e

package e2e_test

import (
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"frontdesk/call"
	"frontdesk/crm/crmtest"
	"frontdesk/pbx/pbxtest"
)

// TestPortalDown is scenario 33: calls are answered while the portal is down,
// and are there afterwards, once, with their real times and recordings. What an
// employee is to be the author of falls to the portal's user where their own
// webhook is revoked, and the ledger says so.
func TestPortalDown(t *testing.T) {
	t.Parallel()
	for name, options := range stores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := startDesk(t, append(options(t), portal(func(p *crmtest.Portal) { p.AddWebhook(vera, "vera") }),
				section("crm", `{placeholder: `+strconv.Itoa(fake)+`, leads: {create: true}, mirror: {enabled: false}, bitrix24: {webhook: "{{.Webhook}}",`+
					` employees: {`+strconv.Itoa(vera)+`: "{{.Portal}}/rest/`+strconv.Itoa(vera)+`/vera/"}, rate: {per_second: 1000, burst: 10000}}}`))...)
			d.outage()
			d.counts(3, 2, 1)
			d.deliveredTapes()
			d.revoked()
			d.quiet()
		})
	}
}

// outage has a call go on when the portal dies, and others come while it is
// down, until each was tried in vain several times.
func (d *desk) outage() {
	d.t.Helper()
	before, during, missed := client(1400), client(1401), client(1402)
	first := d.calling(before, direct("205"))
	waitFor(d.t, "the first call to be registered", func() bool { return len(d.portal.Calls()) == 1 && len(d.portal.Calls()[0].Shown) == 1 })
	d.portal.SetFault(crmtest.Fault{Kind: crmtest.Refuse})
	d.hears(first, "205", talkFor)
	d.must(first.Hangup(patience(d.t)))
	second := d.calling(during, direct("205"))
	d.hears(second, "205", talkFor)
	d.must(second.Hangup(patience(d.t)))
	third := d.rings(missed, direct("207"))
	d.must(third.WaitCode(patience(d.t), 180))
	d.must(third.Hangup(patience(d.t)))

	var ids []string
	for _, c := range []string{first.CallIDs()[0], second.CallIDs()[0], third.CallIDs()[0]} {
		ids = append(ids, d.recordOf(c).ID)
	}
	for _, id := range ids {
		waitLong(d.t, "a call to be tried in vain again and again", owed, func() bool { return triedInVain(d.record(id), 3) })
	}
	healed := time.Now()
	if all := d.portal.Calls(); len(all) != 1 || all[0].Finished {
		d.t.Errorf("the portal that was down has %+v", all)
	}
	d.portal.Heal()
	recs := make([]call.Record, len(ids))
	for i, id := range ids {
		recs[i] = d.settled(id)
	}
	for i, from := range []string{before, during} {
		e := d.has(recs[i], talkedTo(vera))
		d.sounds(e[0], recs[i].Talks[0], exact, clientTone, pbxtest.ToneOf("205"))
		d.hasLeads(from, owned(fake, vera))
	}
	e := d.has(recs[2], missedBy(fake))
	d.hasLeads(missed, owned(fake))
	for _, c := range append(e, d.entries(ids[1])...) {
		if c.Registered.Before(healed) || healed.Sub(c.Started) < 5*time.Second {
			d.t.Errorf("%s began at %v and was registered at %v, the portal was well at %v", c.ExternalID, c.Started, c.Registered, healed)
		}
	}
}

// triedInVain reports whether a step of a call waits that failed so often.
func triedInVain(r call.Record, tries int) bool {
	return slices.ContainsFunc(r.Ledger, func(e call.Entry) bool {
		return e.State == call.StepWaiting && e.Tries >= tries && e.Error != "" && !e.Next.IsZero()
	})
}

// revoked has the portal refuse telephony, so that activities stand for calls,
// and then the employee's own webhook.
func (d *desk) revoked() {
	d.t.Helper()
	d.portal.RequireApp("telephony.externalcall.register", "telephony.externalcall.finish")
	d.authored(client(1403), vera, "")
	d.portal.RevokeWebhook("vera")
	d.authored(client(1404), 1, "the webhook of employee "+strconv.Itoa(vera)+" is refused")
}

// authored has a client talk with vera, and wants an activity of hers and the
// lead given to her by an author, with a flag in the ledger.
func (d *desk) authored(from string, author int, flag string) {
	d.t.Helper()
	c := d.calling(from, direct("205"))
	d.hears(c, "205", talkFor)
	d.must(c.Hangup(patience(d.t)))
	rec := d.settled(d.recordOf(c.CallIDs()[0]).ID)
	var got []crmtest.Activity
	for _, a := range d.portal.Activities() {
		if a.Origin == rec.ID+"-0" {
			got = append(got, a)
		}
	}
	if len(got) != 1 || got[0].Responsible != vera || got[0].Author != author {
		d.t.Errorf("the activities of %s are %+v, want one of %d by %d", rec.ID, got, vera, author)
	}
	d.hasLeads(from, owned(fake, vera))
	for _, e := range rec.Ledger {
		if e.Step != "finish" && e.Step != "lead" {
			continue
		}
		if e.State != call.StepDone || flag == "" && e.Error != "" || !strings.Contains(e.Error, flag) {
			d.t.Errorf("step %s is %s: %q, want it flagged %q", e.Step, e.State, e.Error, flag)
		}
	}
}
