//go:build e2e

package e2e_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"frontdesk/call"
	"frontdesk/crm/crmtest"
	"frontdesk/pbx/pbxtest"
	"frontdesk/sip/siptest"
)

// interfaces are 3CX's own besides SIP, of a server's PBX.
type interfaces struct {
	api  *pbxtest.API
	feed *pbxtest.Feed
}

// accounted gives the PBX its configuration API, call control and call detail
// records, and has frontdesk use them. feed is the PBX's end of the socket, cdr
// is frontdesk's.
func accounted(feed pbxtest.FeedConfig, cdr string) (option, *interfaces) {
	x := &interfaces{}
	return func(s *setup) {
		section("pbx", `{sip: ["sip:{{.PBX}}"], ring: 3s, cdr: `+cdr+`,`+
			` xapi: {url: "http://{{.Net}}.3:8000", client_id: frontdesk, client_secret: secret, rate: 1000, refresh: 1s}}`)(s)
		section("phonebook", `{sync: true}`)(s)
		s.beside = append(s.beside, func(s *server) { x.open(s, feed) })
	}, x
}

// active has the PBX connect, as 3CX does unless told otherwise, and passive
// has it listen.
func active() (option, *interfaces) {
	return accounted(pbxtest.FeedConfig{Dial: ".1:5015", Retry: 50 * time.Millisecond}, `{listen: "{{.Net}}.1:5015"}`)
}

func passive() (option, *interfaces) {
	return accounted(pbxtest.FeedConfig{Listen: ".2:5015"}, `{connect: "{{.Net}}.2:5015"}`)
}

func (x *interfaces) open(s *server, cfg pbxtest.FeedConfig) {
	s.t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	s.t.Cleanup(stop)
	x.api = pbxtest.NewAPI(s.pbx.State())
	l, err := net.Listen("tcp", s.net+".3:8000")
	s.must(err)
	server := httptest.NewUnstartedServer(x.api)
	s.must(server.Listener.Close())
	server.Listener = l
	server.Start()
	s.t.Cleanup(func() {
		x.api.Close()
		server.Close()
	})
	if cfg.Dial != "" {
		cfg.Dial = s.net + cfg.Dial
	} else {
		cfg.Listen = s.net + cfg.Listen
	}
	x.feed, err = pbxtest.NewFeed(ctx, s.pbx.State(), cfg)
	s.must(err)
	done := make(chan error, 1)
	go func() { done <- x.feed.Run(ctx) }()
	s.t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			s.t.Error(err)
		}
	})
}

// connected waits until frontdesk hears of calls by all ways, and keeps them.
func (s *server) connected(x *interfaces) {
	s.t.Helper()
	s.must(x.feed.WaitConnected(patience(s.t), 1))
	s.must(s.pbx.State().WaitListeners(patience(s.t), 1))
	waitFor(s.t, "frontdesk to follow the PBX's calls", func() bool {
		// Call control reads its state again once events are certain to come.
		return s.metrics("frontdesk_pbx_control_resyncs_total") >= 2 && s.metrics("frontdesk_pbx_cdr_connected") == 1 && s.metrics("frontdesk_pbx_refreshes_total") > 0 && s.metrics("frontdesk_store_up") == 1
	})
}

// record is one record as the API gives it.
func (s *server) recordNamed(id string) (rec call.Record) {
	s.t.Helper()
	code, body, ok := s.get("/api/v1/calls/" + id)
	if !ok || code != http.StatusOK {
		s.t.Fatalf("GET /api/v1/calls/%s: %d %s", id, code, body)
	}
	s.must(json.Unmarshal(body, &rec))
	return rec
}

// becomes waits until the record of a SIP call is so.
func (s *server) becomes(callID, what string, so func(call.Record) bool) (rec call.Record) {
	s.t.Helper()
	id := s.recordOf(callID).ID
	if !poll(patient, func() bool { rec = s.recordNamed(id); return so(rec) }) {
		s.t.Fatalf("the record of %s never has %s:\n%s %s, talks %+v", callID, what, rec.Result, rec.MissedIn, rec.Talks)
	}
	return rec
}

// talkers are who talked, in order.
func talkers(rec call.Record) string {
	var out []string
	for _, t := range rec.Talks {
		out = append(out, string(t.Extension))
	}
	return strings.Join(out, " ")
}

// way is how a call comes to the PBX.
type way struct {
	trunk    string // the host of its phone
	transfer call.Transfer
}

// circle calls frontdesk by a way, talks with 201, who passes the call on to
// 205, and hangs up there. It gives the first dialog's Call-ID.
func (w way) circle(s *server, from string) string {
	s.t.Helper()
	ctx := patience(s.t)
	first, err := newTrunkPhone(s, w.trunk).dial(from, did, func(o *siptest.Options) { o.NoFollow = false })
	s.must(err)
	c := first
	if w.transfer == call.TransferRefer {
		c, err = first.WaitMoved(ctx)
		s.must(err)
	}
	s.must(c.WaitAnswer(ctx))
	s.must(c.WaitTone(ctx, pbxtest.ToneOf("201")))
	s.must(c.WaitTone(ctx, pbxtest.ToneOf("205")))
	c.Forget()
	s.must(c.WaitSound(ctx, 4*time.Second))
	s.must(c.Hangup(ctx))
	return first.CallIDs()[0]
}

// TestCircle is the whole life of a call by every way to the PBX: frontdesk
// sends it to 201, who passes it on to 205. The record says who talked how long,
// the caller comes back to 205, and the PBX's address book knows the caller.
func TestCircle(t *testing.T) {
	t.Parallel()
	ways := map[string]way{
		"redirect": {".11", call.TransferRedirect}, "refer": {".12", call.TransferRefer}, "bridge": {".13", call.TransferBridge},
	}
	for database, on := range map[string][]string{"sqlite": {"redirect", "refer", "bridge"}, "postgres": {"redirect"}} {
		t.Run(database, func(t *testing.T) {
			t.Parallel()
			three, x := active()
			cards := map[string]int{}
			s := start(t, staffed(append(stores[database](t), three, section("sticky", `{time: 15m}`),
				section("trunks", `{redirecting: {sources: [{{.Net}}.11], transfer: [redirect]},`+
					` referring: {sources: [{{.Net}}.12], transfer: [refer]}, bridging: {sources: [{{.Net}}.13], transfer: [bridge]}}`),
				number("201", pbxtest.Behaviour{Ring: 200 * time.Millisecond, Then: pbxtest.Then{Move: &pbxtest.Move{To: "205", After: 3 * time.Second}}}),
				portal(func(p *crmtest.Portal) {
					for i, name := range on {
						cards[name] = contactOf(olga, nil).add(p, client(970+i))
					}
				}))...)...)
			s.connected(x)
			s.post("/api/v1/phonebook/sync", struct{}{}, nil)
			var ids []string
			for i, name := range on {
				ids = append(ids, ways[name].comesRound(s, client(970+i), cards[name]))
			}
			s.throughTheLog(ids)
			s.idle()
		})
	}
}

// comesRound sees one call round, and gives its id.
func (w way) comesRound(s *server, from string, card int) string {
	s.t.Helper()
	tag := fmt.Sprintf("B24:C:%d", card)
	if got := names(s.pbx.State())[tag]; got != "Contact" {
		s.t.Errorf("before the call %s is in the address book as %q", tag, got)
	}
	s.portal.SetField(call.KindContact, card, "NAME", "Renamed")
	callID := w.circle(s, from)
	rec := s.becomes(callID, "both talks with their seconds", func(r call.Record) bool {
		return talkers(r) == "201 205" && r.Talks[0].Seconds >= 2
	})
	if rec.Transfer != w.transfer || rec.Result != call.ResultAnswered || rec.Target != "201" || rec.Caller != call.Number(from) ||
		rec.Talks[0].Seconds > 8 || rec.Talks[1].Seconds < 3 || rec.Talks[0].Employee != olga || rec.Talks[1].Employee != vera {
		s.t.Errorf("%s: %s to %s, %s, talks %+v", w.transfer, rec.Transfer, rec.Target, rec.Result, rec.Talks)
	}
	if d := s.explain("redirecting", from, did); d.Target != "205" || d.Outcome != call.OutcomeSticky {
		s.t.Errorf("%s: the next call would go to %s by %s, want 205 by sticky", w.transfer, d.Target, d.Outcome)
	}
	s.returns(newTrunkPhone(s, ".11"), from, bound("205", false), vera, 7*time.Minute)
	waitFor(s.t, "the address book to hear of "+tag, func() bool { return names(s.pbx.State())[tag] == "Renamed" })
	return rec.ID
}

// throughTheLog restarts the server, which then reads the PBX's call log: the
// records get the recordings that it lists.
func (s *server) throughTheLog(ids []string) {
	s.t.Helper()
	s.restart()
	for _, id := range ids {
		waitFor(s.t, "the recordings of "+id, func() bool {
			rec := s.recordNamed(id)
			return talkers(rec) == "201 205" && rec.Talks[0].Recording != "" && rec.Talks[1].Recording != "" && rec.Talks[0].Seconds >= 2
		})
	}
}

// account is a server whose calls are accounted for, where whoever calls is not
// searched.
func account(t *testing.T, with func() (option, *interfaces), more ...option) (*server, *interfaces) {
	t.Helper()
	three, x := with()
	s := start(t, staffed(append([]option{three,
		section("rules", `[{name: first, did: "`+did+`", lookup: false, default: "201", on_unavailable: "800"},`+
			` {name: second, did: "`+nightD+`", lookup: false, default: "206"}, {name: rest, lookup: false, default: "800"}]`),
		number("201", pbxtest.Behaviour{Then: pbxtest.Then{Move: &pbxtest.Move{To: "205", After: time.Second}}}),
		number("207", pbxtest.Behaviour{Then: pbxtest.Then{NoAnswer: true}}),
		number("800", pbxtest.Behaviour{Poll: &pbxtest.Poll{Agents: []string{"207"}, Ring: 500 * time.Millisecond, Rounds: 1}}),
	}, more...)...)...)
	s.connected(x)
	return s, x
}

// answered places a call that goes where it is redirected to, and waits for an
// answer.
func (s *server) answered(host, from, to string) *siptest.Call {
	s.t.Helper()
	c, err := newTrunkPhone(s, host).dial(from, to, func(o *siptest.Options) { o.NoFollow = false })
	s.must(err)
	s.must(c.WaitAnswer(patience(s.t)))
	return c
}

// talksTo is answered, and waits for the tone of who talks there.
func (s *server) talksTo(host, from, to, ext string) *siptest.Call {
	s.t.Helper()
	c := s.answered(host, from, to)
	s.must(c.WaitTone(patience(s.t), pbxtest.ToneOf(ext)))
	return c
}

// TestTwoCallsOfOneNumber: who calls twice at once, to different people and by
// different ways, gets two records, each with its own talks. The second call
// ends first.
func TestTwoCallsOfOneNumber(t *testing.T) {
	t.Parallel()
	s, _ := account(t, passive)
	for _, hosts := range [][2]string{{".11", ".13"}, {".13", ".11"}, {".11", ".11"}, {".13", ".13"}} {
		from := client(980)
		first := s.talksTo(hosts[0], from, did, "205")
		second := s.talksTo(hosts[1], from, nightD, "206")
		s.must(second.Hangup(patience(t)))
		s.must(first.WaitTone(patience(t), pbxtest.ToneOf("205")))
		s.must(first.Hangup(patience(t)))
		for c, want := range map[*siptest.Call]string{first: "201 205", second: "206"} {
			rec := s.becomes(c.CallIDs()[0], "its own talks", func(r call.Record) bool { return talkers(r) == want })
			if rec.Result != call.ResultAnswered {
				t.Errorf("%v: the call to %s is %q", hosts, rec.Target, rec.Result)
			}
		}
	}
	if joined, alone := s.metrics("frontdesk_pbx_joined_total"), s.metrics("frontdesk_pbx_alone_total"); joined != 8 || alone != 0 {
		t.Errorf("%v accounts were joined with records, %v stand alone, want 8 and 0", joined, alone)
	}
	s.recorded(8)
	s.idle()
}

// TestAccountBeforeTheEnd: the PBX has accounted for a bridged call while the
// call goes on here, since its BYE is lost on the way; and for another long
// after its end.
func TestAccountBeforeTheEnd(t *testing.T) {
	t.Parallel()
	s, x := account(t, active, number("206", pbxtest.Behaviour{Then: pbxtest.Then{HangUp: 3 * time.Second}}))
	early := s.answered(".13", client(981), nightD)
	s.pbx.SetDead(true)
	s.must(x.feed.WaitDone(patience(t), 1))
	waitFor(t, "the account to be read", func() bool { return s.metrics("frontdesk_pbx_accounts_total") == 1 })
	if n, joined := s.metrics("frontdesk_calls_active"), s.metrics("frontdesk_pbx_joined_total"); n != 1 || joined != 0 {
		t.Errorf("%v calls go on, %v accounts are joined: the account did not come before the end", n, joined)
	}
	s.pbx.SetDead(false)
	s.must(early.WaitDone(patience(t)))
	rec := s.becomes(early.CallIDs()[0], "206's talk", func(r call.Record) bool { return talkers(r) == "206" && s.metrics("frontdesk_pbx_joined_total") == 1 })
	if rec.Result != call.ResultAnswered || rec.Talks[0].Seconds < 1 {
		t.Errorf("%s, talks %+v", rec.Result, rec.Talks)
	}

	x.feed.Set(pbxtest.FeedKnobs{Late: 3 * time.Second})
	late := s.talksTo(".13", client(982), did, "205")
	s.must(late.Hangup(patience(t)))
	if rec := s.recordOf(late.CallIDs()[0]); talkers(rec) != "201" {
		t.Errorf("before the PBX has told the talks are %+v", rec.Talks)
	}
	s.becomes(late.CallIDs()[0], "both talks", func(r call.Record) bool { return talkers(r) == "201 205" })
	s.recorded(2)
	s.idle()
}

// TestMissedInQueue: a queue picks up and nobody takes the call, which our own
// signalling takes for an answer. The store believes the PBX.
func TestMissedInQueue(t *testing.T) {
	t.Parallel()
	for name, options := range stores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, _ := account(t, active, options(t)...)
			c := s.answered(".13", client(983), strayDID)
			s.must(c.WaitDone(patience(t)))
			rec := s.becomes(c.CallIDs()[0], "missed it in the queue", func(r call.Record) bool { return r.MissedIn == "queue" })
			s.restart() // from here on the API reads the store
			for _, r := range []call.Record{rec, s.recordNamed(rec.ID)} {
				if r.Result == call.ResultAnswered || r.MissedIn != "queue" || len(r.Talks) != 0 {
					t.Errorf("%q in %q, talks %+v", r.Result, r.MissedIn, r.Talks)
				}
			}
			s.idle()
		})
	}
}

// TestOnUnavailable: whose telephone is not registered is not rung, and the
// trace says so.
func TestOnUnavailable(t *testing.T) {
	t.Parallel()
	s, _ := account(t, active)
	trunk := newTrunkPhone(s, ".11")
	s.redirects(trunk, client(984), did, redirected("201", call.OutcomeLookupOff, false, ""))
	s.must(s.pbx.State().Change("Users", "201", pbxtest.Row{"IsRegistered": false}))
	waitFor(t, "frontdesk to hear of it", func() bool { return s.explain("redirecting", client(984), did).Target == "800" })
	rec := s.redirects(trunk, client(984), did, redirected("800", call.OutcomeLookupOff, false, ""))
	if trace := traceOf(rec); !strings.Contains(trace, "extension 201 takes no calls: not registered") {
		t.Errorf("the trace does not say that 201 takes no calls:\n%s", trace)
	}
	s.idle()
}
