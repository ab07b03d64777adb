package sip_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"frontdesk/sip"
	"frontdesk/sip/siptest"
)

// The addresses of the test network.
const (
	deskAddr  = "192.0.2.1:5060"
	trunkAddr = "192.0.2.10:5060"
	pbxAddr   = "192.0.2.20:5060"
	offerSDP  = "v=0\r\no=- 1 1 IN IP4 192.0.2.10\r\ns=-\r\nc=IN IP4 192.0.2.10\r\nt=0 0\r\nm=audio 30000 RTP/AVP 8\r\n"
)

// handler makes a Handler of a function.
type handler func(ctx context.Context, in *sip.Incoming)

func (h handler) ServeInvite(ctx context.Context, in *sip.Incoming) { h(ctx, in) }

// desk is a stack on a network in memory.
type desk struct {
	*sip.Stack
	t    *testing.T
	net  *siptest.Net
	stop context.CancelFunc

	ended bool // the test has stopped the stack itself
}

// bubble runs test with a stack of its own on a fake clock, and checks at the
// end that nothing is left of its calls once all timers have run out.
func bubble(t *testing.T, h handler, test func(d *desk), options ...func(*sip.Config)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t, h, options...)
		test(d)
		if d.ended {
			return
		}
		<-time.After(200 * time.Second) // fake: beyond every transaction's timer
		synctest.Wait()
		if got := d.Held(); got != (sip.Held{}) {
			t.Errorf("left over: %+v", got)
		}
		d.stop()
	})
}

func newDesk(t *testing.T, h handler, options ...func(*sip.Config)) *desk {
	t.Helper()
	n := siptest.NewNet(siptest.Faults{})
	conn, err := n.Listen(deskAddr)
	if err != nil {
		t.Fatal(err)
	}
	cfg := sip.Config{Listeners: []sip.Listener{{Network: "udp", PacketConn: conn}}, UserAgent: "frontdesk"}
	for _, o := range options {
		o(&cfg)
	}
	s, err := sip.New(cfg, h)
	if err != nil {
		t.Fatal(err)
	}
	err = s.SetPeers([]sip.Peer{
		{Name: "carrier", Sources: prefixes("192.0.2.10/32", "192.0.2.11/32")},
		{Name: "pbx", PBX: true, Sources: prefixes("192.0.2.20/32"), Credentials: &sip.Credentials{User: "desk", Password: "secret", Realm: "pbx"}},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	d := &desk{Stack: s, t: t, net: n}
	d.stop = func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Run: %v", err)
		}
	}
	return d
}

func prefixes(ss ...string) []netip.Prefix {
	var out []netip.Prefix
	for _, s := range ss {
		out = append(out, netip.MustParsePrefix(s))
	}
	return out
}

// ua is a scripted peer that sends and reads text.
type ua struct {
	t    *testing.T
	conn net.PacketConn
	addr string
	desk net.Addr
}

func (d *desk) ua(addr string) *ua {
	d.t.Helper()
	c, err := d.net.Listen(addr)
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { _ = c.Close() })
	return &ua{d.t, c, addr, net.UDPAddrFromAddrPort(netip.MustParseAddrPort(deskAddr))}
}

func (u *ua) send(msg string) {
	u.t.Helper()
	if _, err := u.conn.WriteTo([]byte(msg), u.desk); err != nil {
		u.t.Fatal(err)
	}
}

// next is the next message, empty if there is none for d.
func (u *ua) next(d time.Duration) string {
	u.t.Helper()
	if err := u.conn.SetReadDeadline(time.Now().Add(d)); err != nil {
		u.t.Fatal(err)
	}
	buf := make([]byte, 65536)
	n, _, err := u.conn.ReadFrom(buf)
	if err != nil {
		return ""
	}
	return string(buf[:n])
}

// want is the next message, whose first line must begin with start: "SIP/2.0
// 200" or "BYE".
func (u *ua) want(start string) string {
	u.t.Helper()
	msg := u.next(100 * time.Second)
	if !strings.HasPrefix(msg, start) {
		u.t.Fatalf("%s got %q, want %s", u.addr, firstLine(msg), start)
	}
	return msg
}

// silent fails if anything comes within d.
func (u *ua) silent(d time.Duration) {
	u.t.Helper()
	if msg := u.next(d); msg != "" {
		u.t.Fatalf("%s got %q, want silence", u.addr, firstLine(msg))
	}
}

func firstLine(msg string) string {
	line, _, _ := strings.Cut(msg, "\r\n")
	return line
}

// field is the first header called name.
func field(msg, name string) string {
	head, _, _ := strings.Cut(msg, "\r\n\r\n")
	for _, line := range strings.Split(head, "\r\n")[1:] {
		if n, v, _ := strings.Cut(line, ":"); strings.EqualFold(n, name) {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

func fields(msg, name string) []string {
	var out []string
	head, _, _ := strings.Cut(msg, "\r\n\r\n")
	for _, line := range strings.Split(head, "\r\n")[1:] {
		if n, v, _ := strings.Cut(line, ":"); strings.EqualFold(n, name) {
			out = append(out, strings.TrimSpace(v))
		}
	}
	return out
}

func tag(value string) string {
	_, after, _ := strings.Cut(value, ";tag=")
	after, _, _ = strings.Cut(after, ";")
	return after
}

func bodyOf(msg string) string {
	_, body, _ := strings.Cut(msg, "\r\n\r\n")
	return body
}

// message joins lines; the last one is the body.
func message(body string, lines ...string) string {
	if body != "" {
		lines = append(lines, "Content-Type: application/sdp")
	}
	return strings.Join(lines, "\r\n") + "\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n\r\n" + body
}

// script is one dialog as a scripted peer sees it.
type script struct {
	*ua
	callID string
	target string // request URI
	local  string // From of requests
	remote string // To of requests
	cseq   int
	branch string // of the last request
}

// call is a dialog that u is about to begin.
func (u *ua) call(id string) *script {
	return &script{
		ua: u, callID: id, target: "sip:+74951234567@" + deskAddr,
		local: `"Client" <sip:+79161234567@` + u.addr + ">;tag=from-" + id, remote: "<sip:+74951234567@" + deskAddr + ">",
	}
}

// request is a new request of the dialog, with headers and, for lines that
// begin with "v=", a body.
func (c *script) request(method string, headers ...string) string {
	if method != "ACK" && method != "CANCEL" {
		c.cseq++
		c.branch = fmt.Sprintf("z9hG4bK-%s-%d", c.callID, c.cseq)
	}
	return c.again(method, headers...)
}

// again is a request with the branch and sequence number of the last one.
func (c *script) again(method string, headers ...string) string {
	body := ""
	lines := []string{
		method + " " + c.target + " SIP/2.0",
		"Via: SIP/2.0/UDP " + c.addr + ";rport;branch=" + c.branch,
		"Max-Forwards: 70", "From: " + c.local, "To: " + c.remote, "Call-ID: " + c.callID,
		fmt.Sprintf("CSeq: %d %s", c.cseq, method), "Contact: <sip:ua@" + c.addr + ">",
	}
	for _, h := range headers {
		if strings.HasPrefix(h, "v=") {
			body = h
		} else {
			lines = append(lines, h)
		}
	}
	return message(body, lines...)
}

// invite sends an INVITE and takes its 100.
func (c *script) invite(headers ...string) {
	c.t.Helper()
	c.send(c.request("INVITE", append(headers, offerSDP)...))
	c.want("SIP/2.0 100")
}

// establish takes the dialog from a response.
func (c *script) establish(res string) {
	c.t.Helper()
	c.remote = field(res, "To")
	if v := field(res, "Contact"); v != "" {
		c.target = strings.Trim(v, "<>")
	}
}

// ack sends the ACK of a 2xx, with a branch of its own.
func (c *script) ack(headers ...string) {
	old := c.branch
	c.branch += "-ack"
	c.send(c.again("ACK", headers...))
	c.branch = old
}

// reply is a response to req, with our tag in it.
func (u *ua) reply(req string, status, ourTag string, headers ...string) string {
	body := ""
	to := field(req, "To")
	if ourTag != "" && !strings.Contains(to, ";tag=") {
		to += ";tag=" + ourTag
	}
	lines := []string{"SIP/2.0 " + status}
	for _, v := range fields(req, "Via") {
		lines = append(lines, "Via: "+v)
	}
	lines = append(lines, "From: "+field(req, "From"), "To: "+to, "Call-ID: "+field(req, "Call-ID"), "CSeq: "+field(req, "CSeq"))
	for _, h := range headers {
		if strings.HasPrefix(h, "v=") {
			body = h
		} else {
			lines = append(lines, h)
		}
	}
	return message(body, lines...)
}

// splitHead are the lines of msg before its body.
func splitHead(msg string) []string {
	head, _, _ := strings.Cut(msg, "\r\n\r\n")
	return strings.Split(head, "\r\n")
}

// faults lose, double and delay this share of the datagrams.
func faults(share float64) siptest.Faults {
	return siptest.Faults{Loss: share, Duplicate: share, Reorder: share, Seed: 7}
}
