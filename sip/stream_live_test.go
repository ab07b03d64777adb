package sip

import (
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// startStack serves TCP on loopback; every call is declined.
func startStack(t *testing.T) *Stack {
	t.Helper()
	l, err := Listen(t.Context(), "tcp://127.0.0.1:0", nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := New(Config{Listeners: []Listener{l}}, decliner{t})
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
	return s
}

func callNumber(i int) string {
	invite := streamed("INVITE", "")
	invite = strings.Replace(invite, "Call-ID: 1", fmt.Sprintf("Call-ID: c%d", i), 1)
	return strings.Replace(invite, "z9hG4bK1", fmt.Sprintf("z9hG4bKc%d", i), 1)
}

func TestStackOverTCP(t *testing.T) {
	t.Parallel()
	s := startStack(t)
	c := dial(t, "127.0.0.1", s.Addr("tcp"))
	say(t, c, []byte(callNumber(0)))
	if got := fmt.Sprint(statusLines(t, c, 2)); got != "[SIP/2.0 100 Trying SIP/2.0 486 Busy Here]" {
		t.Errorf("answers %s", got)
	}
	say(t, c, []byte(streamed("OPTIONS", "")+streamed("BYE", "")))
	if got := fmt.Sprint(statusLines(t, c, 2)); got != "[SIP/2.0 200 OK SIP/2.0 481 Call/Transaction Does Not Exist]" {
		t.Errorf("answers %s", got)
	}
}

// E4: connections reset between request and answer leave nothing behind.
func TestStackSurvivesResets(t *testing.T) {
	t.Parallel()
	s := startStack(t)
	for i := range 200 {
		conn, err := net.DialTCP("tcp", nil, net.TCPAddrFromAddrPort(s.Addr("tcp")))
		if err != nil {
			t.Fatal(err)
		}
		if err := conn.SetLinger(0); err != nil {
			t.Fatal(err)
		}
		if _, err := conn.Write([]byte(callNumber(i))); err != nil {
			t.Fatal(err)
		}
		_ = conn.Close()
	}
	tick, late := time.NewTicker(time.Millisecond), time.After(10*time.Second)
	defer tick.Stop()
	for s.Active() > 0 || s.wire.streams.len() > 0 {
		select {
		case <-tick.C:
		case <-late:
			t.Fatalf("%d calls and %d connections are left", s.Active(), s.wire.streams.len())
		}
	}
	for { // the cap of connections of one address frees up with the readers
		c := dial(t, "127.0.0.1", s.Addr("tcp"))
		say(t, c, []byte(streamed("OPTIONS", "")))
		if strings.HasPrefix(hear(t, c, 5*time.Second), "SIP/2.0 200 OK") {
			return
		}
		select {
		case <-late:
			t.Fatal("the server does not answer")
		default:
		}
	}
}

// The names and labels of all metrics fit together, and are read while calls
// come in.
func TestStackCollectors(t *testing.T) {
	t.Parallel()
	s := startStack(t)
	r := prometheus.NewPedanticRegistry()
	for _, c := range s.Collectors() {
		if err := r.Register(c); err != nil {
			t.Fatal(err)
		}
	}
	c := dial(t, "127.0.0.1", s.Addr("tcp"))
	say(t, c, []byte(callNumber(0)))
	statusLines(t, c, 2)
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "frontdesk_sip_requests_total" && m.GetLabel()[0].GetValue() == "INVITE" && m.GetCounter().GetValue() == 1 {
				return
			}
		}
	}
	t.Error("the INVITE is not counted")
}
