package sip

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"
)

// decliner answers every call 486.
type decliner struct{ t *testing.T }

func (d decliner) ServeInvite(_ context.Context, in *Incoming) {
	if err := in.Reject(486, ""); err != nil {
		d.t.Errorf("rejecting: %v", err)
	}
}

// Every torture message against a running server on a real socket: the verdict
// arrives, once, with 100 before it where a call was begun, and the server
// answers a ping after each.
func TestTortureLive(t *testing.T) {
	t.Parallel()
	l, err := Listen(t.Context(), "udp://127.0.0.1:0", nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(Config{Listeners: []Listener{l}, UserAgent: "frontdesk"}, decliner{t})
	if err != nil {
		t.Fatal(err)
	}
	if err := s.SetPeers([]Peer{anybody()}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	for i, c := range torture {
		want := c.code
		if c.live != 0 {
			want = c.live
		}
		phone := phone(t, "127.0.0.1:0", s.Addr("udp"))
		say(t, phone, tortureMessage(t, c.file))
		trying := false
		if want != silent {
			answer := hear(t, phone, 10*time.Second)
			if strings.HasPrefix(answer, "SIP/2.0 100 ") {
				trying, answer = true, hear(t, phone, 10*time.Second)
			}
			if answer == "" {
				t.Errorf("%s: no answer, want %d: %s", c.file, want, c.why)
				continue
			}
			checkAnswer(t, []byte(answer), want, c.header)
		}
		if trying != (want == 486) {
			t.Errorf("%s: 100 Trying %v", c.file, trying)
		}
		ping := strings.ReplaceAll(string(request("OPTIONS")), "z9hG4bK1", fmt.Sprintf("z9hG4bKping%d", i))
		ping = strings.Replace(ping, "Call-ID: 1", fmt.Sprintf("Call-ID: ping%d", i), 1)
		say(t, phone, []byte(ping))
		for answer := ""; !strings.Contains(answer, "ping"); {
			if answer = hear(t, phone, 10*time.Second); answer == "" {
				t.Fatalf("%s: the server does not answer a ping", c.file)
			} else if !strings.Contains(answer, "ping") && want != 486 {
				t.Errorf("%s: a second answer:\n%s", c.file, answer)
			}
		}
	}
}
