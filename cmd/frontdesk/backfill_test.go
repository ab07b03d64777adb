package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"frontdesk/call"
	"frontdesk/pbx/pbxtest"
	"frontdesk/store/storetest"
)

// outage is a frontdesk that is stopped and started, between a portal and a PBX
// that go on.
type outage struct {
	*desk
	t    *testing.T
	pbx  *pbxtest.State
	base time.Time // of the calls

	mu   sync.Mutex
	told map[string]int // ends of calls, by the id of their delivery
}

func newOutage(t *testing.T, dsn string) *outage {
	t.Helper()
	o := &outage{t: t, pbx: pbxtest.NewState(pbxtest.StateConfig{}), told: map[string]int{}, base: time.Now().UTC().Truncate(time.Second).Add(-10 * time.Minute)}
	for _, number := range []string{"201", "202"} {
		o.pbx.AddUser(pbxtest.User{Number: number, FirstName: number})
		if err := o.pbx.Change("Users", number, pbxtest.Row{"RecordCalls": false}); err != nil { // a recording would be news
			t.Fatal(err)
		}
	}
	o.pbx.AddQueue(pbxtest.Group{Number: "800", Name: "Sales", Members: []string{"201"}})
	o.pbx.AddTrunk(pbxtest.Trunk{Number: "10000", Name: "carrier"})
	api := pbxtest.NewAPI(o.pbx)
	server, hooks := httptest.NewServer(api), httptest.NewServer(http.HandlerFunc(o.hook))
	t.Cleanup(func() {
		api.Close()
		server.Close()
		hooks.Close()
	})
	o.desk = newDeskOf(t, func(portal string) string {
		return fmt.Sprintf("sip: {listen: [\"udp://127.0.0.1:0\"]}\nhttp: {listen: \"127.0.0.1:0\"}\nstore: %q\ngreeting: {engine: none}\ntimezone: UTC\n"+
			"calllog: {enabled: true}\nwebhooks: [{url: %q, secret: 0123456789abcdef, events: ended}]\ncrm: {placeholder: 18, bitrix24: {%s, webhook: \"%s/rest/1/%s/\"}}\n",
			dsn, hooks.URL, fast, portal, secret)
	})
	o.edit(t, "queues: [800-899]}", fmt.Sprintf("queues: [800-899], xapi: {url: %q, client_id: frontdesk, client_secret: secret, rate: 1000}}", server.URL))
	tidyCompany(o.portal)
	return o
}

// hook counts the ends of calls.
func (o *outage) hook(_ http.ResponseWriter, r *http.Request) {
	var e struct {
		Event string
		Call  call.Record
	}
	if err := json.NewDecoder(r.Body).Decode(&e); err != nil || e.Event != "ended" {
		o.t.Errorf("the webhook is told %+v: %v", e, err)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.told[r.Header.Get("X-Frontdesk-Delivery")]++
}

// heard is how many deliveries came, and whether one came twice.
func (o *outage) heard() (n int, twice bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for _, times := range o.told {
		twice = twice || times > 1
	}
	return len(o.told), twice
}

// at is a moment of the calls.
func (o *outage) at(seconds int) time.Time { return o.base.Add(time.Duration(seconds) * time.Second) }

// came has the PBX account for an incoming call. It begins at a second, and
// each of the legs so many seconds later.
func (o *outage) came(from string, begin, end int, legs ...pbxtest.Leg) {
	for i := range legs {
		legs[i].Rang = o.at(begin + i*30)
		if legs[i].Ended = o.at(begin + i*30 + 30); i == len(legs)-1 {
			legs[i].Ended = o.at(end)
		}
		if legs[i].Kind == pbxtest.Extension && legs[i].Name != "rang" {
			legs[i].Answered = legs[i].Rang.Add(5 * time.Second)
		}
	}
	o.pbx.Account(pbxtest.Account{
		Direction: pbxtest.Inbound, Caller: pbxtest.Party{Number: from}, Dialled: legs[0].Number, Trunk: "10000",
		Started: o.at(begin), Ended: o.at(end), End: pbxtest.BySource, Legs: legs,
	})
}

func (o *outage) leg(number string, kind pbxtest.Kind, how pbxtest.How) pbxtest.Leg {
	return pbxtest.Leg{Party: pbxtest.Party{Number: number}, Kind: kind, How: how}
}

// logged are the portal's entries in words, in the order of their times.
func (o *outage) logged() []string {
	var out []string
	for _, c := range o.portal.Calls() {
		if c.Finished {
			out = append(out, fmt.Sprintf("%3.0f %s type %d line %q: %s %ds by %d", c.Started.Sub(o.base).Seconds(), c.Number, c.Type, c.Line, c.Status, c.Duration, c.FinishedBy))
		}
	}
	slices.Sort(out)
	return out
}

// until waits.
func (o *outage) until(what string, ok func() bool) {
	o.t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	over := time.After(4 * time.Minute)
	for !ok() {
		select {
		case <-tick.C:
		case <-over:
			o.t.Fatalf("not in time: %s; the portal has\n%s", what, strings.Join(o.logged(), "\n"))
		}
	}
}

// wants waits until the portal has as many entries, and compares them.
func (o *outage) wants(what string, want ...string) {
	o.t.Helper()
	o.until(what, func() bool { return len(o.logged()) >= len(want) })
	if diff := cmp.Diff(want, o.logged()); diff != "" {
		o.t.Fatalf("%s (-want +got):\n%s", what, diff)
	}
}

// TestBackfill stops frontdesk, has the PBX handle calls meanwhile, and wants
// each of them in the CRM once with its real times after the start, whatever was
// logged before, and nothing new after one more.
func TestBackfill(t *testing.T) {
	if testing.Short() {
		t.Skip("calls of the PBX alone are settled after 20 seconds, twice")
	}
	storetest.OnBoth(t, backfill)
}

func backfill(t *testing.T, dsn string) {
	o := newOutage(t, dsn)
	sys, stop := o.serve(t)
	o.until("the call log is read", sys.accounting.reconciler.Reading)
	ended{sys.state}.Add(o.bridged())
	ended{sys.state}.Add(o.redirected())
	before := "  0 +79160000001 type 2 line \"carrier\": 200 60s by 17"
	o.wants("before the outage", before)
	stop()

	o.came("79160000001", 1, 65, o.leg("201", pbxtest.Extension, pbxtest.Dialled)) // the bridged one
	o.came("79160000002", 71, 130, o.leg("202", pbxtest.Extension, pbxtest.Dialled))
	o.came("79160000003", 140, 230, o.leg("201", pbxtest.Extension, pbxtest.Dialled), o.leg("202", pbxtest.Extension, pbxtest.Blind))
	o.came("79160000004", 240, 270, o.leg("800", pbxtest.Queue, pbxtest.Dialled))
	o.pbx.Account(pbxtest.Account{
		Direction: pbxtest.Outbound, Caller: pbxtest.Party{Number: "201"}, Dialled: "974951112233", Trunk: "10000", Started: o.at(280), Ended: o.at(340), End: pbxtest.BySource,
		Legs: []pbxtest.Leg{{Party: pbxtest.Party{Number: "74951112233"}, Kind: pbxtest.Line, How: pbxtest.Dialled, Rang: o.at(280), Answered: o.at(287), Ended: o.at(340)}},
	})
	o.pbx.Account(pbxtest.Account{
		Direction: pbxtest.Internal, Caller: pbxtest.Party{Number: "201"}, Dialled: "202", Started: o.at(300), Ended: o.at(340), End: pbxtest.BySource,
		Legs: []pbxtest.Leg{{Party: pbxtest.Party{Number: "202"}, Kind: pbxtest.Extension, How: pbxtest.Dialled, Rang: o.at(300), Answered: o.at(307), Ended: o.at(340)}},
	})
	_, stop = o.serve(t)
	all := []string{
		before,
		" 70 +79160000002 type 2 line \"carrier\": 200 54s by 18",
		"140 +79160000003 type 2 line \"carrier\": 200 25s by 17",
		"175 +79160000003 type 3 line \"carrier\": 200 55s by 18",
		"240 +79160000004 type 2 line \"carrier\": 304 0s by 18",
		"280 +74951112233 type 1 line \"carrier\": 200 53s by 17",
	}
	o.wants("after the outage", all...)
	stop()

	o.came("79160000005", 400, 460, o.leg("201", pbxtest.Extension, pbxtest.Dialled))
	_, stop = o.serve(t)
	all = append(all, "400 +79160000005 type 2 line \"carrier\": 200 55s by 17")
	o.wants("after another one", all...)
	stop()
	o.wants("at the end", all...)
	if n, twice := o.heard(); n != 6 || twice {
		t.Errorf("%d ends of calls were told to the webhook, want 6; one twice: %t", n, twice)
	}
}

// bridged is a call that frontdesk has seen to its end.
func (o *outage) bridged() call.Record {
	return call.Record{
		ID: "bridged", Direction: call.In, Parties: call.Parties{Trunk: "carrier", Caller: "+79160000001", DID: "+74951234567"},
		Times: call.Times{Started: o.at(0), Answered: o.at(5), Ended: o.at(65)}, Routed: call.Routed{Target: "201", Outcome: call.OutcomeResponsible},
		Ended: call.Ended{Transfer: call.TransferBridge, Result: call.ResultAnswered},
		Legs:  []call.Leg{{Peer: "carrier", Began: o.at(0)}, {Peer: "sip:127.0.0.1:5070", Target: "sip:201@127.0.0.1:5070", Began: o.at(1), Code: 200}},
		Talks: []call.Talk{{Extension: "201", Employee: 17, From: o.at(5), Until: o.at(65), Seconds: 60}},
	}
}

// redirected is a call of which only the PBX knows the rest.
func (o *outage) redirected() call.Record {
	return call.Record{
		ID: "redirected", Direction: call.In, Parties: call.Parties{Trunk: "carrier", Caller: "+79160000002", DID: "+74951234567"},
		Times: call.Times{Started: o.at(70), Ended: o.at(71)}, Routed: call.Routed{Target: "202", Outcome: call.OutcomeResponsible},
		Ended: call.Ended{Transfer: call.TransferRedirect}, Legs: []call.Leg{{Peer: "carrier", Began: o.at(70)}},
	}
}
