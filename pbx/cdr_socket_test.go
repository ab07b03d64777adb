package pbx_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"frontdesk/pbx"
)

const (
	goodLine = "Call 1,a_1,00:00:50,2026/03/02 09:15:00,2026/03/02 09:15:10,2026/03/02 09:16:00,TerminatedBySrc,+79161234567,Ext.201,10000,201,201,,,,,,,,Chain: +79161234567;Ext.201;,Line,Extension,,Anna,Ivan,,"
	pause    = 5 * time.Second
)

func cdrConfig() pbx.CDRConfig {
	return pbx.CDRConfig{Fields: pbx.CDRFields, Logger: slog.New(slog.DiscardHandler)}
}

// listening is a server at work and what came in.
func listening(t *testing.T, cfg pbx.CDRConfig) (address string, lines <-chan pbx.CDR, server *pbx.CDRServer) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := pbx.NewCDRServer(l, cfg)
	return l.Addr().String(), running(t, s.Run), s
}

// running runs a source of lines until the test's end.
func running(t *testing.T, run func(context.Context, func(pbx.CDR)) error) <-chan pbx.CDR {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	got, done := make(chan pbx.CDR, 64), make(chan error, 1)
	go func() { done <- run(ctx, func(c pbx.CDR) { got <- c }) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; !errors.Is(err, context.Canceled) {
			t.Errorf("it ended with %v", err)
		}
	})
	return got
}

func next(t *testing.T, lines <-chan pbx.CDR) pbx.CDR {
	t.Helper()
	select {
	case c := <-lines:
		return c
	case <-time.After(pause):
		t.Fatal("no line came")
		return pbx.CDR{}
	}
}

func connect(t *testing.T, address string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

func send(t *testing.T, c net.Conn, chunks ...string) {
	t.Helper()
	for _, s := range chunks {
		if _, err := io.WriteString(c, s); err != nil {
			t.Fatal(err)
		}
	}
}

func numbered(n int) string { return strings.Replace(goodLine, "a_1", fmt.Sprintf("a_%d", n), 1) }

func TestSocketFraming(t *testing.T) {
	t.Parallel()
	address, lines, _ := listening(t, cdrConfig())
	c := connect(t, address)
	send(t, c, numbered(1)+"\r\n"+numbered(2)+"\n\r\n", numbered(3)[:40], numbered(3)[40:]+"\r", "\n")
	send(t, c, strings.Repeat("x", 200<<10)+"\n", "no record at all\n", numbered(4)+"\n")
	send(t, c, strings.Replace(numbered(5), "Anna", "An\xffna", 1)+"\n", numbered(6)) // the last without its end
	_ = c.Close()
	for n := 1; n <= 6; n++ {
		got := next(t, lines)
		if want := fmt.Sprintf("a_%d", n); got.CallID != want || got.From.Number != "+79161234567" || got.Partial {
			t.Errorf("line %d: %+v, want %s", n, got, want)
		}
		if !utf8.ValidString(got.From.Name) {
			t.Errorf("line %d: name %q", n, got.From.Name)
		}
	}
	again := connect(t, address)
	send(t, again, numbered(7)+"\n")
	if got := next(t, lines); got.CallID != "a_7" {
		t.Errorf("after a new connection: %+v", got)
	}
}

func TestSocketFieldsKnownLater(t *testing.T) {
	t.Parallel()
	fields := make(chan []string, 1)
	fields <- nil
	cfg := cdrConfig()
	cfg.Fields = func() []string { f := <-fields; fields <- pbx.CDRFields(); return f }
	address, lines, _ := listening(t, cfg)
	send(t, connect(t, address), numbered(1)+"\n"+numbered(2)+"\n")
	if got := next(t, lines); got.CallID != "a_2" {
		t.Errorf("%+v", got)
	}
}

// alien is a listener whose clients come from elsewhere.
type alien struct{ net.Listener }

type alienConn struct{ net.Conn }

func (alienConn) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 9} }

func (a alien) Accept() (net.Conn, error) {
	c, err := a.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return alienConn{c}, nil
}

func TestSocketSources(t *testing.T) {
	t.Parallel()
	for name, allowed := range map[string]func(netip.Addr) bool{
		"nobody":   nil,
		"others":   func(a netip.Addr) bool { return a == netip.MustParseAddr("192.0.2.8") },
		"this one": func(a netip.Addr) bool { return a == netip.MustParseAddr("192.0.2.7") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			cfg := cdrConfig()
			cfg.Allowed = allowed
			lines := running(t, pbx.NewCDRServer(alien{l}, cfg).Run)
			c := connect(t, l.Addr().String())
			if name == "this one" {
				send(t, c, numbered(1)+"\n")
				next(t, lines)
				return
			}
			_ = c.SetReadDeadline(time.Now().Add(pause))
			if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("the connection stays: %v", err)
			}
		})
	}
}

func TestSocketBounded(t *testing.T) {
	t.Parallel()
	address, lines, _ := listening(t, cdrConfig())
	var conns []net.Conn
	for n := range 16 {
		conns = append(conns, connect(t, address))
		send(t, conns[n], numbered(n)+"\n")
		next(t, lines)
	}
	c := connect(t, address)
	_ = c.SetReadDeadline(time.Now().Add(pause))
	if _, err := c.Read(make([]byte, 1)); err == nil {
		t.Error("a seventeenth connection stays")
	}
	_ = conns[0].Close()
}

func TestDialerComesBack(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	lines := running(t, pbx.NewCDRDialer(l.Addr().String(), cdrConfig()).Run)
	for n := range 2 {
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		send(t, c, numbered(n)+"\r\n")
		if got := next(t, lines); got.CallID != fmt.Sprintf("a_%d", n) {
			t.Errorf("%+v", got)
		}
		_ = c.Close()
	}
}

func FuzzParseCDR(f *testing.F) {
	f.Add(strings.Join(pbx.CDRFields(), " "), goodLine)
	f.Add("time-start from-no", "2026/03/02 09:15:00,101,,,,,")
	f.Add("from-dispname time-start from-no to-dispname", `"a ""b"", c",2026-03-02 09:15:00, x, y, z`)
	f.Add("TIME_START fromno chain", "2026.03.02 09:15:00,\"unclosed,Chain: ;;Ext.;")
	f.Fuzz(func(t *testing.T, fields, line string) {
		c, err := pbx.ParseCDR(strings.Fields(fields), line)
		if err != nil {
			return
		}
		call := reader().Call(c)
		if call.Ended.Before(call.Started) {
			t.Errorf("a call ends before it begins: %+v", call)
		}
		for _, talk := range call.Talks {
			if talk.Until.Before(talk.From) || talk.Seconds < 0 {
				t.Errorf("talk %+v", talk)
			}
		}
		for _, s := range []string{c.HistoryID, c.CallID, c.From.Name, c.From.Number, c.Final.Name} {
			if !utf8.ValidString(s) || strings.ContainsAny(s, "\x00\n\r\x1b") || len(s) > 300 {
				t.Errorf("kept as it came: %q", s)
			}
		}
	})
}
