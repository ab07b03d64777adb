package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"

	"frontdesk/pbx/pbxtest"
	"frontdesk/sip/siptest"
)

// sandboxTrunk is the number of the sandbox PBX's only trunk.
const sandboxTrunk = "10000"

// office is all of the sandbox PBX but its telephones: its configuration API,
// call control and call detail records.
type office struct {
	state *pbxtest.State
	api   *pbxtest.API
	feed  *pbxtest.Feed
	http  net.Listener
}

// officeConfig says where an office listens; empty is a free port of loopback.
// Where dial is set it connects there with call detail records, unless listen
// is set too.
type officeConfig struct {
	api, dial, listen string
	build             int
}

func newOffice(ctx context.Context, c officeConfig) (*office, error) {
	o := &office{state: pbxtest.NewState(pbxtest.StateConfig{Build: pbxtest.Build(c.build), RecordingDelay: time.Second, RecordingGrowing: time.Second})}
	staffOffice(o.state)
	o.api = pbxtest.NewAPI(o.state)
	if c.listen != "" {
		c.dial = ""
	}
	var err error
	if o.feed, err = pbxtest.NewFeed(ctx, o.state, pbxtest.FeedConfig{Dial: c.dial, Listen: c.listen}); err != nil {
		return nil, err
	}
	o.api.ShowKnobs(o.feed)
	o.state.SetCDR(func(s *pbxtest.CDRSettings) {
		if c.dial == "" {
			s.LogType = "PassiveSocket"
		}
	})
	var lc net.ListenConfig
	if o.http, err = lc.Listen(ctx, "tcp", cmp.Or(c.api, "127.0.0.1:0")); err != nil {
		return nil, fmt.Errorf("listening for the PBX's API: %w", err)
	}
	return o, nil
}

// staffOffice makes the people and queues of the sandbox's company; what is left of
// sandboxNumbers gets its number for a name.
func staffOffice(s *pbxtest.State) {
	s.AddUser(pbxtest.User{Number: "201", FirstName: "Ольга", LastName: "Романова", Email: "olga@example.com"})
	s.AddUser(pbxtest.User{Number: "202", FirstName: "Пётр", LastName: "Сидоров", Email: "petr@example.com"})
	s.AddUser(pbxtest.User{Number: "203", FirstName: "Анна", LastName: "Ли", Email: "anna@example.com"})
	s.AddUser(pbxtest.User{Number: "206", FirstName: "206", Unregistered: true})
	s.AddUser(pbxtest.User{Number: "207", FirstName: "207"})
	s.AddQueue(pbxtest.Group{Number: "800", Name: "Поддержка", Members: []string{"207", "203"}})
	s.AddQueue(pbxtest.Group{Number: "801", Name: "Продажи", Members: []string{"207", "202"}})
	s.AddTrunk(pbxtest.Trunk{Number: sandboxTrunk, Name: "frontdesk", External: "74951234567", Host: "127.0.0.1", Port: 5060})
	s.AddOutboundRule(pbxtest.Rule{Name: "outside", Prefix: "9", Trunk: sandboxTrunk, Strip: 1})
}

// sandboxNumbers are the PBX's: 201 to 203 and two queues answer, the others
// show what an employee's phone may do.
func sandboxNumbers() map[string]pbxtest.Behaviour {
	rings := func(t pbxtest.Then) pbxtest.Behaviour {
		return pbxtest.Behaviour{Ring: 300 * time.Millisecond, Then: t}
	}
	polls := func(agents ...string) pbxtest.Behaviour {
		return pbxtest.Behaviour{Poll: &pbxtest.Poll{Agents: agents, Ring: 5 * time.Second}}
	}
	return map[string]pbxtest.Behaviour{
		"201": rings(pbxtest.Then{}), "202": rings(pbxtest.Then{}), "203": rings(pbxtest.Then{}), "800": polls("207", "203"), "801": polls("207", "202"),
		"204": pbxtest.Refuse("busy"), "205": pbxtest.Refuse("decline"), "206": pbxtest.Refuse("unregistered"),
		"207": {Then: pbxtest.Then{NoAnswer: true}}, "208": {Then: pbxtest.Then{Redirect: "203"}},
		"209": rings(pbxtest.Then{Move: &pbxtest.Move{To: "202", After: 3 * time.Second}}),
		"210": rings(pbxtest.Then{Move: &pbxtest.Move{To: "202", After: 3 * time.Second, Attended: true, Talk: 2 * time.Second}}),
		"211": {Ring: 3 * time.Second, Then: pbxtest.Then{NoAnswer: true, Forward: pbxtest.Mailbox}},
		"802": {Poll: &pbxtest.Poll{Agents: []string{"207"}, Ring: 2 * time.Second, Rounds: 2, Overflow: "201"}},
		"803": {Menu: &pbxtest.Menu{Keys: map[string]string{"1": "201", "2": "800"}}},
	}
}

// sandboxDoes tells what sandboxNumbers do.
func sandboxDoes() []struct{ numbers, does string } {
	return []struct{ numbers, does string }{
		{"201 202 203", "answer"}, {"204", "busy"}, {"205", "declines"}, {"206", "unregistered"}, {"207", "never answers"},
		{"208", "redirects to 203"}, {"209", "transfers to 202 inside the PBX after 3 s"}, {"210", "the same, after asking"},
		{"211", "voicemail after 3 s"}, {"800 801", "queues: 207 does not take the call, after 5 s another does"},
		{"802", "a queue that gives up after 4 s: 201"}, {"803", "a menu: 1 is 201, 2 is 800"},
	}
}

// Run serves the API and the records until ctx ends.
func (o *office) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	srv := &http.Server{Handler: o.api, ReadHeaderTimeout: 5 * time.Second}
	g.Go(func() error { return o.feed.Run(ctx) })
	g.Go(func() error {
		if err := srv.Serve(o.http); err != nil && ctx.Err() == nil {
			return fmt.Errorf("the PBX's API: %w", err)
		}
		return nil
	})
	g.Go(func() error {
		<-ctx.Done()
		o.api.Close()
		return srv.Close()
	})
	return g.Wait()
}

func (o *office) url() string { return "http://" + o.http.Addr().String() }

// cdr is how frontdesk's configuration gets at the records.
func (o *office) cdr() string {
	if o.state.CDR().LogType == "PassiveSocket" {
		return "{connect: " + o.feed.Addr() + "}"
	}
	return "{listen: " + o.feed.Addr() + "}"
}

func (o *office) describe(w io.Writer) {
	fmt.Fprintf(w, "xapi     %s   (client id frontdesk, secret secret; call control beside it)\n", o.url())
	fmt.Fprintf(w, "cdr      pbx.cdr: %s\n", o.cdr())
	fmt.Fprintf(w, "faults   curl -X PUT %s/_sandbox/fault -d '{\"kind\":\"unauthorized\",\"times\":1}'   (GET shows, DELETE heals)\n", o.url())
	fmt.Fprintf(w, "         curl -X PUT %s/_sandbox/cdr -d '{\"chunk\":7,\"repeat\":1,\"late\":\"3s\"}'   ({} heals)\n", o.url())
	fmt.Fprintf(w, "         curl -X PUT %s/_sandbox/callcontrol -d '{\"lose_gone\":1,\"repeat\":1}'   ({} heals)\n", o.url())
	fmt.Fprintf(w, "         curl %s/_sandbox/calls   (what the PBX has accounted for)\n", o.url())
}

// snippet is what frontdesk's configuration needs of the sandbox.
func (s *sandbox) snippet(w io.Writer) {
	fmt.Fprintf(w, `
# for frontdesk.yaml
trunks:
  carrier: {sources: [127.0.0.1], transfer: [redirect, refer, bridge]}
pbx:
  sip: [%q]
  xapi: {url: %q, client_id: frontdesk, client_secret: secret}
  cdr: %s
crm: {bitrix24: {webhook: %q}}
`, s.node(), s.office.url(), s.office.cdr(), s.server.Webhook())
}

// dial lets one of the PBX's telephones be driven by curl.
func (s *sandbox) dial(w http.ResponseWriter, r *http.Request) {
	var o struct{ From, To string }
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<16)).Decode(&o); err != nil {
		http.Error(w, "want {\"from\":\"201\",\"to\":\"97...\"}: "+err.Error(), http.StatusBadRequest)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), time.Minute)
	defer cancel()
	c, err := s.pbx.Dial(ctx, o.From, o.To)
	if err == nil {
		err = c.WaitDone(ctx)
	}
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_ = siptest.WriteLadder(w, c.Ladder()) // it fails where nobody reads any more
}

// outside is whoever is called through the trunk: answers, talks for two
// seconds and hangs up.
func outside(ctx context.Context, c *siptest.Call) {
	if c.Ring() != nil || c.Answer(ctx) != nil || c.Tone(ctx, callerTone) != nil {
		return // the caller has gone
	}
	t := time.NewTimer(2 * time.Second)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}
