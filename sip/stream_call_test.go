package sip_test

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/textproto"
	"strconv"
	"strings"
	"testing"
	"time"

	"frontdesk/sip"
)

// streamUA is a scripted peer on a TCP connection.
type streamUA struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
}

func (u *streamUA) send(msg string) {
	u.t.Helper()
	if _, err := io.WriteString(u.conn, msg); err != nil {
		u.t.Fatal(err)
	}
}

func (u *streamUA) want(start string) string {
	u.t.Helper()
	if err := u.conn.SetReadDeadline(time.Now().Add(10 * time.Second)); err != nil {
		u.t.Fatal(err)
	}
	var head strings.Builder
	length := 0
	for {
		line, err := u.in.ReadString('\n')
		if err != nil {
			u.t.Fatalf("waiting for %s: %v", start, err)
		}
		head.WriteString(line)
		if line == "\r\n" {
			break
		}
		if v, ok := strings.CutPrefix(textproto.TrimString(line), "Content-Length: "); ok {
			if length, err = strconv.Atoi(v); err != nil {
				u.t.Fatal(err)
			}
		}
	}
	body := make([]byte, length)
	if _, err := io.ReadFull(u.in, body); err != nil {
		u.t.Fatal(err)
	}
	msg := head.String() + string(body)
	if !strings.HasPrefix(msg, start) {
		u.t.Fatalf("got %q, want %s", firstLine(msg), start)
	}
	return msg
}

// A whole call each way over TCP, on the connection that the caller opened
// and on one that we open.
func TestCallsOverTCP(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	l, err := sip.Listen(ctx, "tcp://127.0.0.1:0", nil)
	if err != nil {
		t.Fatal(err)
	}
	pbx, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var s *sip.Stack
	s, err = sip.New(sip.Config{Listeners: []sip.Listener{l}}, handler(func(ctx context.Context, in *sip.Incoming) {
		out, err := s.Dial(ctx, sip.Dial{Call: in.ID(), Target: "sip:201@" + pbx.Addr().String() + ";transport=tcp", Body: []byte(offerSDP)})
		if err != nil {
			t.Errorf("Dial: %v", err)
			return
		}
		for r := range out.Responses() {
			if r.Code == 200 {
				_, _ = in.Answer(ctx, r.Body)
			}
		}
		<-ctx.Done()
		_ = out.Bye(context.WithoutCancel(ctx), "")
	}))
	if err != nil {
		t.Fatal(err)
	}
	if err := s.SetPeers([]sip.Peer{{Name: "local", Sources: prefixes("127.0.0.1/32")}}); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()

	conn, err := net.Dial("tcp", s.Addr("tcp").String())
	if err != nil {
		t.Fatal(err)
	}
	caller := &streamUA{t, conn, bufio.NewReader(conn)}
	c := (&ua{t: t, addr: conn.LocalAddr().String()}).call("tcp")
	c.target = "sip:+74951234567@" + s.Addr("tcp").String()
	onTCP := func(msg string) string { return strings.Replace(msg, "SIP/2.0/UDP", "SIP/2.0/TCP", 1) }
	caller.send(onTCP(c.request("INVITE", offerSDP)))
	caller.want("SIP/2.0 100")

	accepted, err := pbx.Accept()
	if err != nil {
		t.Fatal(err)
	}
	node := &streamUA{t, accepted, bufio.NewReader(accepted)}
	reply := (&ua{t: t}).reply
	inv := node.want("INVITE")
	if !strings.HasPrefix(field(inv, "Via"), "SIP/2.0/TCP "+s.Addr("tcp").String()) || field(inv, "Contact") != fmt.Sprintf("<sip:%s;transport=tcp>", s.Addr("tcp")) {
		t.Errorf("sent\n%s", inv)
	}
	node.send(reply(inv, "200 OK", "b", "Contact: <sip:201@"+pbx.Addr().String()+";transport=tcp>", offerSDP))
	node.want("ACK")
	c.establish(caller.want("SIP/2.0 200"))
	old := c.branch
	c.branch += "-ack"
	caller.send(onTCP(c.again("ACK")))
	c.branch = old
	caller.send(onTCP(c.request("BYE")))
	caller.want("SIP/2.0 200")
	node.send(reply(node.want("BYE"), "200 OK", ""))

	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	for _, c := range []io.Closer{conn, accepted, pbx} {
		_ = c.Close()
	}
}
