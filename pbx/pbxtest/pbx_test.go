package pbxtest_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"frontdesk/pbx/pbxtest"
	"frontdesk/sip"
	"frontdesk/sip/siptest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// runner is what both ends have in common.
type runner interface {
	Run(ctx context.Context) error
}

// run runs r until the test ends.
func run(t *testing.T, r runner, ports func() int) {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- r.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if n := ports(); n != 0 {
			t.Errorf("%d RTP ports are still in use", n)
		}
	})
}

func newPBX(t *testing.T, numbers map[string]pbxtest.Behaviour) *pbxtest.PBX {
	t.Helper()
	p, err := pbxtest.New(t.Context(), pbxtest.Config{Numbers: numbers})
	must(t, err)
	run(t, p, p.Phone.PortsInUse)
	return p
}

func newTrunk(t *testing.T, cfg siptest.Config) *siptest.Phone {
	t.Helper()
	p, err := siptest.NewPhone(t.Context(), cfg)
	must(t, err)
	run(t, p, p.PortsInUse)
	return p
}

func limit(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// call places a call to a number.
func call(t *testing.T, trunk *siptest.Phone, p *pbxtest.PBX, number string, o siptest.Options) *siptest.Call {
	t.Helper()
	o.To = p.Phone.URI(number)
	c, err := trunk.Call(limit(t), o)
	must(t, err)
	return c
}

func TestEachNumberHasItsTone(t *testing.T) {
	t.Parallel()
	p := newPBX(t, map[string]pbxtest.Behaviour{"201": {}, "202": {Ring: 10 * time.Millisecond}, "800": {Tone: 1000}})
	trunk := newTrunk(t, siptest.Config{})
	ctx := limit(t)
	for number, hz := range map[string]int{"201": 440, "202": 520, "800": 1000} {
		c := call(t, trunk, p, number, siptest.Options{
			From: sip.Address{User: "+79161234567"}, Asserted: &sip.Address{User: "+79161234567", Host: "carrier"},
			Headers: []sip.Header{{Name: "X-Test", Value: number}},
		})
		must(t, c.WaitAnswer(ctx))
		must(t, c.Tone(ctx, 660))
		must(t, c.WaitTone(ctx, hz))
		got, err := p.WaitCall(ctx, number, 1)
		must(t, err)
		must(t, got.WaitTone(ctx, 660))
		if got.Number != number || got.Invite.From.User != "+79161234567" || got.Invite.Asserted[0].User != "+79161234567" ||
			got.Invite.Header("X-Test") != number || got.FrontdeskCall() == "" {
			t.Errorf("call %+v", got.Invite)
		}
		must(t, c.Dial(ctx, "42"))
		if d, err := got.WaitDigits(ctx, 2); err != nil || d != "42" {
			t.Errorf("digits %q, %v", d, err)
		}
		must(t, c.Hangup(ctx))
		must(t, got.WaitDone(ctx))
	}
	if n := len(p.Calls()); n != 3 {
		t.Errorf("%d calls", n)
	}
	if a, b := pbxtest.ToneOf("201"), pbxtest.ToneOf("sales"); a != 440 || b != 440 {
		t.Errorf("tones %d, %d", a, b)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	p := newPBX(t, map[string]pbxtest.Behaviour{
		"1": pbxtest.Refuse("busy"), "2": pbxtest.Refuse("decline"), "3": pbxtest.Refuse("unregistered"),
		"4": pbxtest.Refuse("unavailable"), "5": {Ring: time.Millisecond, Then: pbxtest.Then{Code: 486}},
	})
	trunk := newTrunk(t, siptest.Config{})
	ctx := limit(t)
	for number, want := range map[string][]int{"1": {486}, "2": {603}, "3": {480}, "4": {503}, "5": {180, 486}, "unknown": {404}} {
		c := call(t, trunk, p, number, siptest.Options{})
		must(t, c.WaitDone(ctx))
		if got := c.Codes(); !slices.Equal(got, want) {
			t.Errorf("%s answers %v, want %v", number, got, want)
		}
	}
}

func TestNoAnswerAndSilence(t *testing.T) {
	t.Parallel()
	p := newPBX(t, map[string]pbxtest.Behaviour{
		"rings": {Then: pbxtest.Then{NoAnswer: true}}, "silent": {Then: pbxtest.Then{Silent: true}},
	})
	trunk := newTrunk(t, siptest.Config{})
	ctx := limit(t)
	c := call(t, trunk, p, "rings", siptest.Options{})
	must(t, c.WaitCode(ctx, 180))
	must(t, c.Hangup(ctx))
	c = call(t, trunk, p, "silent", siptest.Options{})
	_, err := p.WaitCall(ctx, "silent", 1)
	must(t, err)
	must(t, c.Hangup(ctx))
	if got := c.Codes(); !slices.Equal(got, []int{487}) {
		t.Errorf("answers %v", got)
	}
}

func TestEarlyMedia(t *testing.T) {
	t.Parallel()
	p := newPBX(t, map[string]pbxtest.Behaviour{"201": {Early: true, Then: pbxtest.Then{NoAnswer: true}}})
	ctx := limit(t)
	c := call(t, newTrunk(t, siptest.Config{}), p, "201", siptest.Options{})
	must(t, c.WaitTone(ctx, 440))
	if got := c.Codes(); !slices.Equal(got, []int{183}) {
		t.Errorf("answers %v", got)
	}
	must(t, c.Hangup(ctx))
}

func TestRedirect(t *testing.T) {
	t.Parallel()
	p := newPBX(t, map[string]pbxtest.Behaviour{
		"201": {Then: pbxtest.Then{Redirect: "202"}}, "202": {}, "300": {Then: pbxtest.Then{Redirect: "300"}},
	})
	trunk := newTrunk(t, siptest.Config{})
	ctx := limit(t)
	c := call(t, trunk, p, "201", siptest.Options{})
	must(t, c.WaitTone(ctx, 520))
	if got := c.Codes(); !slices.Equal(got, []int{302, 200}) || len(c.CallIDs()) != 2 {
		t.Errorf("answers %v in %v", got, c.CallIDs())
	}
	must(t, c.Hangup(ctx))

	c = call(t, trunk, p, "201", siptest.Options{NoFollow: true})
	r, err := c.WaitFinal(ctx)
	must(t, err)
	if r.Code != 302 || !slices.Equal(r.Contacts, []string{p.Phone.URI("202")}) {
		t.Errorf("answer %d, contacts %v", r.Code, r.Contacts)
	}
	must(t, c.WaitDone(ctx))

	c = call(t, trunk, p, "300", siptest.Options{})
	must(t, c.WaitDone(ctx)) // a loop ends
	if n := len(c.Codes()); n != 6 {
		t.Errorf("%d redirects followed", n)
	}
}

func TestRefer(t *testing.T) {
	t.Parallel()
	p := newPBX(t, map[string]pbxtest.Behaviour{"201": {Then: pbxtest.Then{Refer: "202"}}, "202": {}})
	trunk := newTrunk(t, siptest.Config{})
	ctx := limit(t)
	c := call(t, trunk, p, "201", siptest.Options{From: sip.Address{User: "+7916"}})
	moved, err := c.WaitMoved(ctx)
	must(t, err)
	must(t, moved.WaitTone(ctx, 520))
	must(t, c.WaitDone(ctx)) // 201 is out of it
	got, err := p.WaitCall(ctx, "202", 1)
	must(t, err)
	if got.Invite.From.User != "+7916" {
		t.Errorf("202 is called by %v", got.Invite.From)
	}
	var seen []string
	for _, s := range c.Ladder() {
		if strings.HasPrefix(s.First, "REFER") || strings.HasPrefix(s.First, "NOTIFY") || strings.Contains(s.First, " 202 ") {
			seen = append(seen, s.String()[:9])
		}
	}
	if want := []string{"<- REFER ", "-> SIP/2.", "-> NOTIFY", "-> NOTIFY"}; !slices.Equal(seen, want) {
		t.Errorf("transfer went %q", seen)
	}
	must(t, moved.Hangup(ctx))
}

func TestReferRefused(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		refer siptest.Refer
		code  int
	}{
		"refused":          {siptest.Refer{Code: 603}, 603},
		"fails":            {siptest.Refer{Report: 486}, 486},
		"hangs up instead": {siptest.Refer{Report: 200, Hangup: true}, 200},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got := make(chan int, 1)
			trunk := newTrunk(t, siptest.Config{Refer: tt.refer})
			callee := newTrunk(t, siptest.Config{Serve: func(ctx context.Context, c *siptest.Call) {
				if err := c.Answer(ctx); err != nil {
					t.Error(err)
				}
				code, err := c.Transfer(limit(t), "sip:202@127.0.0.1:1")
				if err != nil {
					t.Logf("transfer: %v", err)
				}
				got <- code
			}})
			c, err := trunk.Call(limit(t), siptest.Options{To: callee.URI("201")})
			must(t, err)
			if code := <-got; code != tt.code {
				t.Errorf("transfer ended with %d, want %d", code, tt.code)
			}
			must(t, c.WaitDone(limit(t)))
		})
	}
}

func TestHangUpAndLateOffer(t *testing.T) {
	t.Parallel()
	p := newPBX(t, map[string]pbxtest.Behaviour{
		"201": {Then: pbxtest.Then{HangUp: time.Millisecond}}, "202": {Late: true},
	})
	trunk := newTrunk(t, siptest.Config{})
	ctx := limit(t)
	c := call(t, trunk, p, "201", siptest.Options{})
	must(t, c.WaitDone(ctx))
	if !errors.Is(c.Err(), sip.ErrHangup) {
		t.Errorf("ended with %v", c.Err())
	}
	c = call(t, trunk, p, "202", siptest.Options{})
	must(t, c.WaitTone(ctx, 520))
	must(t, c.Hold(ctx))
	must(t, c.Resume(ctx))
	c.Forget()
	must(t, c.WaitTone(ctx, 520))
	must(t, c.Hangup(ctx))
}

func TestDeadNode(t *testing.T) {
	t.Parallel()
	p := newPBX(t, map[string]pbxtest.Behaviour{"201": {}})
	trunk := newTrunk(t, siptest.Config{})
	ctx := limit(t)
	if r, err := trunk.Stack().Options(ctx, p.URI()); err != nil || r.Code != 200 {
		t.Fatalf("OPTIONS: %v, %v", r, err)
	}
	p.SetDead(true)
	short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	if r, err := trunk.Stack().Options(short, p.URI()); err == nil && !r.MadeUp {
		t.Errorf("a dead node answers %d", r.Code)
	}
	c := call(t, trunk, p, "201", siptest.Options{})
	short, cancel = context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	if err := c.WaitCode(short, 200); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a dead node: %v", err)
	}
	p.SetDead(false) // the INVITE is sent again and arrives
	must(t, c.WaitAnswer(ctx))
	must(t, c.Hangup(ctx))
}

func TestCallOutOfThePBX(t *testing.T) {
	t.Parallel()
	p := newPBX(t, nil)
	calls := make(chan *siptest.Call, 1)
	trunk := newTrunk(t, siptest.Config{Serve: func(ctx context.Context, c *siptest.Call) {
		calls <- c
		if err := c.Answer(ctx); err != nil && ctx.Err() == nil { // the caller may hang up at once
			t.Error(err)
		}
		<-ctx.Done()
	}})
	ctx := limit(t)
	c, err := p.Phone.Call(ctx, siptest.Options{To: trunk.URI("+74951234567"), From: sip.Address{User: "201"}})
	must(t, err)
	must(t, c.WaitAnswer(ctx))
	if inv := (<-calls).Invite(); inv.From.User != "201" || inv.RequestURI.User != "+74951234567" {
		t.Errorf("invite %+v", inv)
	}
	must(t, c.Hangup(ctx))
}
