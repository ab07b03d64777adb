package siptest_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"frontdesk/media"
	"frontdesk/media/sdp"
	"frontdesk/sip"
	"frontdesk/sip/siptest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// start runs a phone until the test ends, and checks that nothing is left.
func start(t *testing.T, cfg siptest.Config) *siptest.Phone {
	t.Helper()
	p, err := siptest.NewPhone(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if n := p.PortsInUse(); n != 0 {
			t.Errorf("%d RTP ports are still in use", n)
		}
	})
	return p
}

// limit is a context that ends long after everything should have happened.
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

// answering is a phone that answers with a tone, gives each call to the
// channel, and talks until the caller hangs up.
func answering(t *testing.T, cfg siptest.Config, hz int) (*siptest.Phone, <-chan *siptest.Call) {
	t.Helper()
	calls := make(chan *siptest.Call, 10)
	cfg.Serve = func(ctx context.Context, c *siptest.Call) {
		calls <- c
		if err := errors.Join(c.Ring(), c.Answer(ctx), c.Tone(ctx, hz)); err != nil && ctx.Err() == nil {
			t.Error(err)
		}
		<-ctx.Done()
	}
	return start(t, cfg), calls
}

// dial places a call and waits for the answer.
func dial(t *testing.T, from, to *siptest.Phone, o siptest.Options) *siptest.Call {
	t.Helper()
	ctx := limit(t)
	if o.To == "" {
		o.To = to.URI("201")
	}
	c, err := from.Call(ctx, o)
	must(t, err)
	must(t, c.WaitAnswer(ctx))
	return c
}

func TestCallWithTonesBothWays(t *testing.T) {
	t.Parallel()
	for _, codec := range []sdp.Codec{sdp.PCMA, sdp.PCMU} {
		t.Run(string(codec), func(t *testing.T) {
			t.Parallel()
			callee, calls := answering(t, siptest.Config{}, 440)
			caller := start(t, siptest.Config{Codecs: []sdp.Codec{codec}})
			ctx := limit(t)
			c := dial(t, caller, callee, siptest.Options{From: sip.Address{Display: "Ольга", User: "+79161234567"}})
			must(t, c.Tone(ctx, 880))
			must(t, c.WaitTone(ctx, 440))
			other := <-calls
			must(t, other.WaitTone(ctx, 880))
			if from := other.Invite().From; from.User != "+79161234567" || from.Display != "Ольга" {
				t.Errorf("callee sees %v", from)
			}
			if got := c.Codes(); !slices.Equal(got, []int{180, 200}) {
				t.Errorf("answers %v", got)
			}
			if level := media.Level(tail(c.Heard())); level < -13 || level > -11 { // a sine of -9 dBFS
				t.Errorf("tone of %.1f dBFS", level)
			}
			must(t, c.Hangup(ctx))
			must(t, other.WaitDone(ctx))
			if err := other.Err(); !errors.Is(err, sip.ErrHangup) {
				t.Errorf("callee's call ended with %v", err)
			}
		})
	}
}

func tail(pcm []int16) []int16 { return pcm[max(0, len(pcm)-1600):] }

func TestDigits(t *testing.T) {
	t.Parallel()
	callee, calls := answering(t, siptest.Config{}, 440)
	caller := start(t, siptest.Config{})
	ctx := limit(t)
	c := dial(t, caller, callee, siptest.Options{})
	other := <-calls
	must(t, c.Dial(ctx, "2022*#"))
	if got, err := other.WaitDigits(ctx, 6); err != nil || got != "2022*#" {
		t.Errorf("RFC 4733: %q, %v", got, err)
	}
	other.Forget()
	must(t, c.DialINFO(ctx, "1339"))
	if got, err := other.WaitDigits(ctx, 4); err != nil || got != "1339" {
		t.Errorf("INFO: %q, %v", got, err)
	}
	must(t, other.Dial(ctx, "7")) // the other way too
	if got, err := c.WaitDigits(ctx, 1); err != nil || got != "7" {
		t.Errorf("from the callee: %q, %v", got, err)
	}
	must(t, c.Hangup(ctx))
}

func TestHoldAndResume(t *testing.T) {
	t.Parallel()
	callee, calls := answering(t, siptest.Config{}, 440)
	caller := start(t, siptest.Config{})
	ctx := limit(t)
	c := dial(t, caller, callee, siptest.Options{})
	other := <-calls
	must(t, c.Tone(ctx, 880))
	for range 2 {
		must(t, c.WaitTone(ctx, 440))
		must(t, c.Hold(ctx))
		c.Forget()
		other.Forget()
		must(t, other.WaitTone(ctx, 880))   // held: the holder's music goes on
		if n := len(c.Heard()); n > 2*160 { // what was under way
			t.Errorf("%d samples heard on hold", n)
		}
		must(t, c.Resume(ctx))
		must(t, c.WaitTone(ctx, 440))
	}
	must(t, c.ReinviteLate(ctx))
	c.Forget()
	other.Forget()
	must(t, c.WaitTone(ctx, 440))
	must(t, other.WaitTone(ctx, 880))
	must(t, c.Hangup(ctx))
}

func TestHangupAtEachPhase(t *testing.T) {
	t.Parallel()
	for _, phase := range []struct {
		name  string
		wait  func(ctx context.Context, c *siptest.Call) error
		cause error
	}{
		{"before 180", func(context.Context, *siptest.Call) error { return nil }, sip.ErrCanceled},
		{"while ringing", func(ctx context.Context, c *siptest.Call) error { return c.WaitCode(ctx, 180) }, sip.ErrCanceled},
	} {
		t.Run(phase.name, func(t *testing.T) {
			t.Parallel()
			causes := make(chan error, 1)
			callee := start(t, siptest.Config{Serve: func(ctx context.Context, c *siptest.Call) {
				_ = c.Ring() // the caller may be gone
				<-ctx.Done()
				causes <- context.Cause(ctx)
			}})
			caller := start(t, siptest.Config{})
			ctx := limit(t)
			c, err := caller.Call(ctx, siptest.Options{To: callee.URI("201")})
			must(t, err)
			must(t, phase.wait(ctx, c))
			must(t, c.Hangup(ctx))
			if cause := <-causes; !errors.Is(cause, phase.cause) {
				t.Errorf("callee's cause is %v", cause)
			}
			r, err := c.WaitFinal(ctx)
			if err != nil || r == nil || r.Code != 487 {
				t.Errorf("final answer %v, %v", r, err)
			}
			if err := c.WaitCode(ctx, 200); !errors.Is(err, siptest.ErrOver) {
				t.Errorf("waiting for an answer that cannot come: %v", err)
			}
		})
	}
}

func TestCalleeHangsUp(t *testing.T) {
	t.Parallel()
	callee := start(t, siptest.Config{Serve: func(ctx context.Context, c *siptest.Call) {
		if err := c.Answer(ctx); err != nil {
			t.Error(err)
		}
	}})
	c := dial(t, start(t, siptest.Config{}), callee, siptest.Options{})
	must(t, c.WaitDone(limit(t)))
	if !errors.Is(c.Err(), sip.ErrHangup) {
		t.Errorf("ended with %v", c.Err())
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	caller := start(t, siptest.Config{})
	ctx := limit(t)
	codec := start(t, siptest.Config{Codecs: []sdp.Codec{sdp.PCMA}, Serve: func(ctx context.Context, c *siptest.Call) { _ = c.Answer(ctx) }})
	silent := start(t, siptest.Config{})
	lazy := start(t, siptest.Config{Serve: func(context.Context, *siptest.Call) {}})
	only := strings.ReplaceAll("v=0\no=- 1 1 IN IP4 127.0.0.1\ns=-\nc=IN IP4 127.0.0.1\nt=0 0\nm=audio 4000 RTP/AVP 18\n", "\n", "\r\n")
	for _, tt := range []struct {
		to    *siptest.Phone
		offer string
		want  int
	}{{silent, "", 480}, {lazy, "", 500}, {codec, only, 488}} {
		c, err := caller.Call(ctx, siptest.Options{To: tt.to.URI("1"), Offer: []byte(tt.offer)})
		must(t, err)
		if r, err := c.WaitFinal(ctx); err != nil || r == nil || r.Code != tt.want {
			t.Errorf("answered %+v, %v, want %d", r, err, tt.want)
		}
		must(t, c.WaitDone(ctx))
	}
}

func TestIdentityHeaders(t *testing.T) {
	t.Parallel()
	callee, calls := answering(t, siptest.Config{}, 440)
	c := dial(t, start(t, siptest.Config{}), callee, siptest.Options{
		From:     sip.Address{Display: "Anonymous", User: "anonymous", Host: "anonymous.invalid"},
		Asserted: &sip.Address{User: "+74951234567", Host: "carrier.example"},
		Privacy:  "id",
		Headers:  []sip.Header{{Name: "X-Test", Value: "a\r\nInjected: b"}},
	})
	inv := (<-calls).Invite()
	if inv.From.Host != "anonymous.invalid" || len(inv.Asserted) != 1 || inv.Asserted[0].User != "+74951234567" || !slices.Equal(inv.Privacy, []string{"id"}) {
		t.Errorf("invite %+v", inv)
	}
	if inv.Header("Injected") != "" {
		t.Error("a header was injected")
	}
	must(t, c.Hangup(limit(t)))
}

func TestLadder(t *testing.T) {
	t.Parallel()
	callee, _ := answering(t, siptest.Config{}, 440)
	caller := start(t, siptest.Config{})
	ctx := limit(t)
	c := dial(t, caller, callee, siptest.Options{To: callee.URI("201")})
	must(t, c.Hangup(ctx))
	var got []string
	for _, s := range c.Ladder() {
		got = append(got, s.String())
		if s.CallID != c.CallIDs()[0] || s.Header("call-id") != s.CallID || s.Remote != callee.Addr() {
			t.Errorf("step %v of %q at %v", s, s.CallID, s.Remote)
		}
	}
	uri := callee.URI("201")
	want := []string{"-> INVITE " + uri + " SIP/2.0", "<- SIP/2.0 100 Trying", "<- SIP/2.0 180 Ringing", "<- SIP/2.0 200 OK", "-> ACK", "-> BYE", "<- SIP/2.0 200 OK"}
	if len(got) != len(want) {
		t.Fatalf("ladder %q", got)
	}
	for i := range want {
		if !strings.HasPrefix(got[i], want[i]) {
			t.Errorf("step %d is %q, want %q", i, got[i], want[i])
		}
	}
	var drawn strings.Builder
	must(t, siptest.WriteLadder(&drawn, c.Ladder()))
	if lines := strings.Count(drawn.String(), "\n"); lines != len(want) || !strings.HasPrefix(drawn.String(), "     0.0 ms  127.0.0.1:") {
		t.Errorf("drawn as:\n%s", drawn.String())
	}
}

func TestPhoneStopsWithCallsUp(t *testing.T) {
	t.Parallel()
	for name, answer := range map[string]bool{"talking": true, "ringing": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			callee := start(t, siptest.Config{Serve: func(ctx context.Context, c *siptest.Call) {
				err := c.Ring()
				if answer {
					err = errors.Join(err, c.Answer(ctx))
				}
				if err != nil && ctx.Err() == nil {
					t.Error(err)
				}
				<-ctx.Done()
			}})
			caller, err := siptest.NewPhone(t.Context(), siptest.Config{})
			must(t, err)
			ctx, stop := context.WithCancel(context.Background())
			done := make(chan error, 1)
			go func() { done <- caller.Run(ctx) }()
			c, err := caller.Call(limit(t), siptest.Options{To: callee.URI("201")})
			must(t, err)
			code := 180
			if answer {
				code = 200
			}
			must(t, c.WaitCode(limit(t), code))
			stop()
			must(t, <-done)
			must(t, c.WaitDone(limit(t)))
			if n := caller.PortsInUse(); n != 0 {
				t.Errorf("%d RTP ports are still in use", n)
			}
		})
	}
}
