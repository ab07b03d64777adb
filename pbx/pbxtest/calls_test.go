package pbxtest_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"frontdesk/pbx/pbxtest"
	"frontdesk/sip"
	"frontdesk/sip/siptest"
)

// soon is how long telephones ring and talk here.
const soon = 40 * time.Millisecond

// story writes an account in short: where the call was, and how it ended.
func story(a pbxtest.Account) string {
	var b strings.Builder
	for _, l := range a.Legs {
		state := "-"
		if !l.Answered.IsZero() {
			state = "+"
		}
		fmt.Fprintf(&b, "%s%s %s %s, ", state, l.Kind, l.Number, l.How)
	}
	return b.String() + string(a.End)
}

// accounts waits until n calls are accounted for.
func accounts(t *testing.T, p *pbxtest.PBX, n int) []pbxtest.Account {
	t.Helper()
	all, err := p.State().WaitAccounts(limit(t), n)
	must(t, err)
	return all
}

// sound waits for the tone of a number.
func sound(t *testing.T, c *siptest.Call, number string) {
	t.Helper()
	must(t, c.WaitTone(limit(t), pbxtest.ToneOf(number)))
}

// numbers are telephones that all take part in one test or another.
func numbers() map[string]pbxtest.Behaviour {
	then := func(t pbxtest.Then) pbxtest.Behaviour { return pbxtest.Behaviour{Ring: soon, Then: t} }
	return map[string]pbxtest.Behaviour{
		"205": {Ring: soon}, "206": pbxtest.Refuse("busy"), "207": then(pbxtest.Then{NoAnswer: true}),
		"201": {Then: pbxtest.Then{Move: &pbxtest.Move{To: "205", After: soon}}},
		"202": {Then: pbxtest.Then{Move: &pbxtest.Move{To: "205", After: soon, Attended: true, Talk: soon}}},
		"203": {Then: pbxtest.Then{HangUp: soon, Move: &pbxtest.Move{To: "206", After: soon}}},
		"204": {Then: pbxtest.Then{HangUp: soon, Move: &pbxtest.Move{To: "206", After: soon, Attended: true}}},
		"208": then(pbxtest.Then{NoAnswer: true, Forward: pbxtest.Mailbox}),
		"209": {Then: pbxtest.Then{Code: 486, Forward: "205"}},
		"210": {Then: pbxtest.Then{Move: &pbxtest.Move{To: "800"}}},
		"211": {Then: pbxtest.Then{HangUp: soon, Move: &pbxtest.Move{To: "207", Patience: soon}}},
		"212": {Then: pbxtest.Then{HangUp: soon}},
		"800": {Poll: &pbxtest.Poll{Agents: []string{"206", "207", "205"}, Ring: 2 * soon}},
		"801": {Poll: &pbxtest.Poll{Agents: []string{"206", "207"}, Ring: soon}},
		"802": {Poll: &pbxtest.Poll{Agents: []string{"207"}, Ring: soon, Rounds: 2, Overflow: "212"}},
		"803": {Poll: &pbxtest.Poll{Agents: []string{"207", "205", "206"}, Ring: 2 * soon, All: true}},
		"804": {Poll: &pbxtest.Poll{Agents: []string{"206"}, Ring: soon, Rounds: 1}},
		"810": {Poll: &pbxtest.Poll{Agents: []string{"205"}, Group: true}},
		"811": {Poll: &pbxtest.Poll{Agents: []string{"207"}, Ring: soon, Group: true, Rounds: 1}},
		"820": {Menu: &pbxtest.Menu{Keys: map[string]string{"2": "205"}}},
		"821": {Menu: &pbxtest.Menu{Wait: soon, Else: "212"}},
	}
}

// TestCallsAreAccountedFor calls each number; the caller hangs up once the last
// of those named is heard, if any.
func TestCallsAreAccountedFor(t *testing.T) {
	t.Parallel()
	for number, tt := range map[string]struct {
		hears []string
		want  string // the caller's call
		also  string // another one, before it
	}{
		"205": {[]string{"205"}, "+Extension 205 dialled, source", ""},
		"206": {nil, "-Extension 206 dialled, busy", ""},
		"201": {[]string{"205"}, "+Extension 201 dialled, +Extension 205 blind, source", ""},
		"202": {[]string{"205"}, "+Extension 202 dialled, +Extension 205 attended, source", "+Extension 205 dialled, redirected"},
		"203": {nil, "+Extension 203 dialled, -Extension 206 failed, +Extension 203 forwarded, destination", ""},
		"204": {nil, "+Extension 204 dialled, destination", "-Extension 206 dialled, busy"},
		"208": {[]string{"208"}, "-Extension 208 dialled, +VMail 208 forwarded, source", ""},
		"209": {[]string{"205"}, "-Extension 209 dialled, +Extension 205 forwarded, source", ""},
		"210": {[]string{"205"}, "+Extension 210 dialled, +Queue 800 blind, -Extension 206 polled, -Extension 207 polled, +Extension 205 polled, source", ""},
		"211": {nil, "+Extension 211 dialled, -Extension 207 failed, +Extension 211 forwarded, destination", ""},
		"212": {nil, "+Extension 212 dialled, destination", ""},
		"800": {[]string{"205"}, "+Queue 800 dialled, -Extension 206 polled, -Extension 207 polled, +Extension 205 polled, source", ""},
		"802": {nil, "+Queue 802 dialled, -Extension 207 polled, -Extension 207 polled, +Extension 212 forwarded, destination", ""},
		"803": {[]string{"205"}, "+Queue 803 dialled, -Extension 207 polled, +Extension 205 polled, -Extension 206 polled, source", ""},
		"804": {nil, "+Queue 804 dialled, -Extension 206 polled, timeout", ""},
		"810": {[]string{"205"}, "-RingGroup 810 dialled, +Extension 205 polled, source", ""},
		"811": {nil, "-RingGroup 811 dialled, -Extension 207 polled, timeout", ""},
		"821": {nil, "+Ivr 821 dialled, +Extension 212 forwarded, destination", ""},
		"999": {nil, "-Extension 999 dialled, not found", ""},
	} {
		t.Run(number, func(t *testing.T) {
			t.Parallel()
			p := newPBX(t, numbers())
			c := call(t, newTrunk(t, siptest.Config{}), p, number, siptest.Options{From: sip.Address{User: "+7916", Display: "Anna"}})
			for _, n := range tt.hears {
				hz := pbxtest.ToneOf(n)
				if n == "208" {
					hz = pbxtest.MailboxTone
				}
				must(t, c.WaitTone(limit(t), hz))
			}
			if len(tt.hears) > 0 {
				must(t, c.Hangup(limit(t)))
			}
			must(t, c.WaitDone(limit(t)))
			n := 1
			if tt.also != "" {
				n = 2
			}
			all := accounts(t, p, n)
			a := all[n-1]
			if got := story(a); got != tt.want || a.Direction != pbxtest.Inbound || a.Trunk != "10000" || a.Dialled != number {
				t.Errorf("%+v\n%s, want\n%s", a, got, tt.want)
			}
			if a.Caller != (pbxtest.Party{Number: "+7916", Name: "Anna"}) || len(c.CallIDs()) != 1 {
				t.Errorf("caller %+v, dialogs %v", a.Caller, c.CallIDs())
			}
			if tt.also != "" {
				if got := story(all[0]); got != tt.also || all[0].Direction != pbxtest.Internal || all[0].Caller.Number != number {
					t.Errorf("also %s, want %s", got, tt.also)
				}
			}
			for i, l := range a.Legs {
				if l.Rang.Before(a.Started) || l.Ended.After(a.Ended) || l.Ended.Before(l.Rang) || !l.Answered.IsZero() && l.Answered.Before(l.Rang) {
					t.Errorf("leg %d: %+v", i, l)
				}
				if (l.Recording != 0) != (l.Kind == pbxtest.Extension && !l.Answered.IsZero()) {
					t.Errorf("leg %d has recording %d", i, l.Recording)
				}
			}
			if p.State().Live() != 0 {
				t.Errorf("%d calls go on", p.State().Live())
			}
		})
	}
}

func TestCallersWhoGiveUp(t *testing.T) {
	t.Parallel()
	for number, tt := range map[string]struct {
		when func(ctx context.Context, c *siptest.Call) error
		want string
	}{
		"207": {func(ctx context.Context, c *siptest.Call) error { return c.WaitCode(ctx, 180) }, "-Extension 207 dialled, cancelled"},
		"801": {func(ctx context.Context, c *siptest.Call) error { return c.WaitTone(ctx, pbxtest.ToneOf("801")) }, "+Queue 801 dialled, -Extension 206 polled, "},
		"820": {func(ctx context.Context, c *siptest.Call) error { return c.WaitTone(ctx, pbxtest.ToneOf("820")) }, "+Ivr 820 dialled, source"},
	} {
		t.Run(number, func(t *testing.T) {
			t.Parallel()
			p := newPBX(t, numbers())
			c := call(t, newTrunk(t, siptest.Config{}), p, number, siptest.Options{})
			must(t, tt.when(limit(t), c))
			must(t, c.Hangup(limit(t)))
			if got := story(accounts(t, p, 1)[0]); !strings.HasPrefix(got, tt.want) || number == "801" && !strings.HasSuffix(got, ", source") {
				t.Errorf("%s, want %s", got, tt.want)
			}
		})
	}
}

func TestKeysLeadOutOfAMenu(t *testing.T) {
	t.Parallel()
	p := newPBX(t, numbers())
	c := call(t, newTrunk(t, siptest.Config{}), p, "820", siptest.Options{})
	sound(t, c, "820")
	must(t, c.Dial(limit(t), "7")) // leads nowhere
	must(t, c.Dial(limit(t), "2"))
	sound(t, c, "205")
	must(t, c.Hangup(limit(t)))
	if got := story(accounts(t, p, 1)[0]); got != "+Ivr 820 dialled, +Extension 205 chosen, source" {
		t.Error(got)
	}
}

// TestEveryInterfaceTellsTheSame follows a transferred call through all of
// them.
func TestEveryInterfaceTellsTheSame(t *testing.T) {
	t.Parallel()
	s := newSite(t, pbxtest.StateConfig{})
	p, err := pbxtest.New(t.Context(), pbxtest.Config{State: s.State, Numbers: numbers()})
	must(t, err)
	run(t, p, p.Phone.PortsInUse)
	f := newFeed(t, s.State, pbxtest.FeedConfig{})
	s.SetCDR(func(c *pbxtest.CDRSettings) { c.Fields = strings.Fields("callid final-dn chain final-type dial-no") })
	reader, ws := connect(t, f, 1), s.socket()
	now := make(chan struct{})
	p.Set("201", pbxtest.Behaviour{Then: pbxtest.Then{Move: &pbxtest.Move{To: "205", When: now}}})

	c := call(t, newTrunk(t, siptest.Config{}), p, "201", siptest.Options{From: sip.Address{User: "+74951234567"}})
	sound(t, c, "201")
	close(now)
	sound(t, c, "205")
	_, live := s.do("GET", "ActiveCalls", nil)
	if !strings.HasPrefix(values(live, "Callee"), "205") || values(live, "Status") != "Talking" {
		t.Errorf("active calls %v", live)
	}
	must(t, c.Hangup(limit(t)))
	a := accounts(t, p, 1)[0]
	readOut(t, reader, a.CallID+",205,Chain: +74951234567;Ext.201;Ext.205;,extension,201\r\n")
	ws.want("0 /callcontrol/10000/", "0 /callcontrol/201/", "0 /callcontrol/201/", "0 /callcontrol/10000/", "1 /callcontrol/201/",
		"0 /callcontrol/205/", "0 /callcontrol/205/", "1 /callcontrol/205/", "1 /callcontrol/10000/")
	day := time.Now().UTC()
	_, log := s.do("GET", fmt.Sprintf("ReportCallLogData/Pbx.GetCallLogData(periodFrom=%s,periodTo=%s,sourceType=0,sourceFilter='',destinationType=0,"+
		"destinationFilter='',callsType=0,callTimeFilterType=0,callTimeFilterFrom='0:00:0',callTimeFilterTo='0:00:0',hidePcalls=true)",
		day.Add(-time.Hour).Format("2006-01-02T15:04:05Z"), day.Add(time.Minute).Format("2006-01-02T15:04:05Z")), nil)
	if values(log, "DestinationDn") != "205 201" || values(log, "SourceCallerId") != "+74951234567 +74951234567" {
		t.Errorf("call log %v", log)
	}
	_, files := s.do("GET", "Recordings?$orderby=Id desc", nil)
	if values(files, "ToDn") != "205 201" || values(files, "Id") != values(log, "DstRecId") {
		t.Errorf("recordings %v, in the log %s", values(files, "Id"), values(log, "DstRecId"))
	}
}

func TestOutgoingCalls(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		serve func(ctx context.Context, c *siptest.Call) error
		want  string
	}{
		"answered": {func(ctx context.Context, c *siptest.Call) error {
			if err := c.Answer(ctx); err != nil {
				return err
			}
			return c.WaitTone(ctx, pbxtest.ToneOf("101")) // and hangs up
		}, "+Line 74951112233 dialled, destination"},
		"busy":     {func(_ context.Context, c *siptest.Call) error { return c.Reject(486) }, "-Line 74951112233 dialled, busy"},
		"no route": {func(_ context.Context, c *siptest.Call) error { return c.Reject(503) }, "-Line 74951112233 dialled, no route"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p, err := pbxtest.New(t.Context(), pbxtest.Config{State: company(pbxtest.StateConfig{})})
			must(t, err)
			run(t, p, p.Phone.PortsInUse)
			from := make(chan sip.Invite, 1)
			trunk := newTrunk(t, siptest.Config{Serve: func(ctx context.Context, c *siptest.Call) {
				from <- c.Invite()
				if err := tt.serve(ctx, c); err != nil {
					t.Error(err)
				}
			}})
			p.SetTrunk("10000", trunk.Addr().String())
			c, err := p.Dial(limit(t), "101", "974951112233")
			must(t, err)
			if inv := <-from; inv.RequestURI.User != "74951112233" || inv.From.User != "101" {
				t.Errorf("invite %+v", inv)
			}
			must(t, c.WaitDone(limit(t)))
			a := accounts(t, p, 1)[0]
			if got := story(a); got != tt.want || a.Direction != pbxtest.Outbound || a.Dialled != "974951112233" || a.Caller.Name != "Ivan Petrov" {
				t.Errorf("%s (%+v), want %s", got, a, tt.want)
			}
		})
	}
}

func TestOutgoingCallsThatWeEnd(t *testing.T) {
	t.Parallel()
	p, err := pbxtest.New(t.Context(), pbxtest.Config{State: company(pbxtest.StateConfig{})})
	must(t, err)
	run(t, p, p.Phone.PortsInUse)
	answers := make(chan bool, 2)
	trunk := newTrunk(t, siptest.Config{Serve: func(ctx context.Context, c *siptest.Call) {
		if <-answers {
			if err := c.Answer(ctx); err != nil {
				t.Error(err)
			}
		} else if err := c.Ring(); err != nil {
			t.Error(err)
		}
		<-ctx.Done()
	}})
	p.SetTrunk("10000", trunk.Addr().String())
	for i, tt := range []struct {
		answer bool
		code   int
		want   string
	}{{true, 200, "+Line 7495 dialled, source"}, {false, 180, "-Line 7495 dialled, cancelled"}} {
		answers <- tt.answer
		c, err := p.Dial(limit(t), "101", "97495")
		must(t, err)
		must(t, c.WaitCode(limit(t), tt.code))
		if tt.answer {
			must(t, c.WaitSound(limit(t), 100*time.Millisecond))
		}
		must(t, c.Hangup(limit(t)))
		if got := story(accounts(t, p, i+1)[i]); got != tt.want {
			t.Errorf("%s, want %s", got, tt.want)
		}
	}
}
