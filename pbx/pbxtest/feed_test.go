package pbxtest_test

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"frontdesk/pbx/pbxtest"
)

// short is a state whose lines are the callid alone.
func short() *pbxtest.State {
	s := company(pbxtest.StateConfig{})
	s.SetCDR(func(c *pbxtest.CDRSettings) { c.Fields = []string{"historyid", "callid"} })
	return s
}

func newFeed(t *testing.T, s *pbxtest.State, cfg pbxtest.FeedConfig) *pbxtest.Feed {
	t.Helper()
	cfg.Retry = time.Millisecond
	f, err := pbxtest.NewFeed(t.Context(), s, cfg)
	must(t, err)
	run(t, f, func() int { return 0 })
	return f
}

// connect reads from a passive feed.
func connect(t *testing.T, f *pbxtest.Feed, n int) net.Conn {
	t.Helper()
	var d net.Dialer
	conn, err := d.DialContext(limit(t), "tcp", f.Addr())
	must(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	must(t, conn.SetDeadline(time.Now().Add(time.Minute)))
	must(t, f.WaitConnected(limit(t), n))
	return conn
}

const (
	line9001 = "Call 9001,00000D1A2B3C4D5E_71\r\n"
	line9002 = "Call 9002,00000D1A2B3C4D60_72\r\n"
)

// readOut reads what is as long as want.
func readOut(t *testing.T, r io.Reader, want string) {
	t.Helper()
	got := make([]byte, len(want))
	n, err := io.ReadFull(r, got)
	if string(got[:n]) != want {
		t.Errorf("read %q, %v, want %q", got[:n], err, want)
	}
}

func TestPassiveFeed(t *testing.T) {
	t.Parallel()
	s := short()
	f := newFeed(t, s, pbxtest.FeedConfig{})
	s.Account(answeredInQueue()) // nobody reads
	must(t, f.WaitDone(limit(t), 1))
	one, two := connect(t, f, 1), connect(t, f, 2)
	s.Account(missedInQueue())
	readOut(t, one, line9002)
	readOut(t, two, line9002)
	if f.Lost() != 1 {
		t.Errorf("%d lines are lost", f.Lost())
	}
	must(t, one.Close())
	must(t, f.WaitConnected(limit(t), 1))
	s.Account(answeredInQueue())
	readOut(t, two, line9001)
}

func TestFeedKnobs(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		knobs pbxtest.FeedKnobs
		want  string // then the connection ends where the knobs say so
	}{
		"in pieces": {pbxtest.FeedKnobs{Chunk: 7}, line9001 + line9002},
		"repeated":  {pbxtest.FeedKnobs{Repeat: 1}, line9001 + line9001 + line9002 + line9002},
		"joined":    {pbxtest.FeedKnobs{Join: 2}, line9001 + line9002},
		"late":      {pbxtest.FeedKnobs{Late: 30 * time.Millisecond}, line9001 + line9002},
		"LF":        {pbxtest.FeedKnobs{LF: true}, strings.ReplaceAll(line9001+line9002, "\r", "")},
		"dropped":   {pbxtest.FeedKnobs{DropAfter: 1}, line9001},
		"cut":       {pbxtest.FeedKnobs{DropAfter: 2, DropInside: true}, line9001 + line9002[:len(line9002)/2]},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := short()
			f := newFeed(t, s, pbxtest.FeedConfig{})
			f.Set(tt.knobs)
			conn := connect(t, f, 1)
			began := time.Now()
			s.Account(answeredInQueue())
			s.Account(missedInQueue())
			readOut(t, conn, tt.want)
			if took := time.Since(began); took < tt.knobs.Late {
				t.Errorf("took %v", took)
			}
			must(t, f.WaitDone(limit(t), 2))
			if tt.knobs.DropAfter > 0 {
				if n, err := conn.Read(make([]byte, 100)); n != 0 || !errors.Is(err, io.EOF) {
					t.Errorf("after the drop: %d bytes, %v", n, err)
				}
			}
		})
	}
}

func TestJoinedLinesComeInOnePiece(t *testing.T) {
	t.Parallel()
	s := short()
	f := newFeed(t, s, pbxtest.FeedConfig{})
	f.Set(pbxtest.FeedKnobs{Join: 2})
	conn := connect(t, f, 1)
	s.Account(answeredInQueue())
	s.Account(missedInQueue())
	data := make([]byte, 1000)
	n, err := conn.Read(data)
	must(t, err)
	if got := string(data[:n]); got != line9001+line9002 {
		t.Errorf("one read gives %q", got)
	}
}

func TestHalfOpenFeed(t *testing.T) {
	t.Parallel()
	s := short()
	f := newFeed(t, s, pbxtest.FeedConfig{})
	conn := connect(t, f, 1)
	f.Set(pbxtest.FeedKnobs{HalfOpen: true})
	s.Account(answeredInQueue())
	must(t, f.WaitDone(limit(t), 1))
	f.Set(pbxtest.FeedKnobs{})
	s.Account(missedInQueue())
	readOut(t, conn, line9002)
	if f.Lost() != 1 {
		t.Errorf("%d lines are lost", f.Lost())
	}
}

func TestActiveFeed(t *testing.T) {
	t.Parallel()
	s := short()
	var lc net.ListenConfig
	l, err := lc.Listen(limit(t), "tcp", "127.0.0.1:0")
	must(t, err)
	t.Cleanup(func() { _ = l.Close() })
	f := newFeed(t, s, pbxtest.FeedConfig{Dial: l.Addr().String()})
	accept := func() net.Conn {
		conn, err := l.Accept()
		must(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		must(t, conn.SetDeadline(time.Now().Add(time.Minute)))
		return conn
	}
	first := accept()
	must(t, f.WaitConnected(limit(t), 1))
	s.Account(answeredInQueue())
	readOut(t, first, line9001)
	must(t, first.Close()) // it comes back
	second := accept()
	must(t, f.WaitConnected(limit(t), 1))
	f.Set(pbxtest.FeedKnobs{PerCall: true})
	must(t, second.Close())
	must(t, f.WaitConnected(limit(t), 0))
	for range 2 {
		s.Account(missedInQueue())
		third := accept()
		got, err := bufio.NewReader(third).ReadString('\n')
		if err != nil || got != line9002 {
			t.Errorf("a connection of its own brings %q, %v", got, err)
		}
		if _, err := third.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Errorf("then %v", err)
		}
	}
}

func TestDisabledCDR(t *testing.T) {
	t.Parallel()
	s := short()
	f := newFeed(t, s, pbxtest.FeedConfig{})
	conn := connect(t, f, 1)
	s.SetCDR(func(c *pbxtest.CDRSettings) { c.Disabled = true })
	s.Account(answeredInQueue())
	must(t, conn.SetReadDeadline(time.Now().Add(50*time.Millisecond)))
	var timeout net.Error
	if n, err := conn.Read(make([]byte, 1)); n != 0 || !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("%d bytes, %v", n, err)
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.WaitDone(gone, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("waiting: %v", err)
	}
}
