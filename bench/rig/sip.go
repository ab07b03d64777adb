package rig

import (
	"bytes"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// Caller is the side of a SIP user agent that only knows texts: what it sends
// is made from a template, what it receives is searched. One socket serves all
// calls, told apart by the number that begins the Call-ID.
type Caller struct {
	Conn   *net.UDPConn
	Addr   string // its own
	From   string // user
	To     string // user
	Target netip.AddrPort
	run    string // makes the Call-IDs of one run unlike those of another
}

// NewCaller opens a socket that sends to target.
func NewCaller(target netip.AddrPort, run, from, to string) (*Caller, error) {
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(target))
	if err != nil {
		return nil, err
	}
	if err := conn.SetReadBuffer(4 << 20); err != nil {
		return nil, err
	}
	return &Caller{Conn: conn, Addr: conn.LocalAddr().String(), From: from, To: to, Target: target, run: run}, nil
}

// Invite is the INVITE of call number n, with an offer whose audio goes to
// media.
func (c *Caller) Invite(n int, media netip.AddrPort) []byte {
	return c.request("INVITE", n, "INVITE", "", "<sip:"+c.To+"@"+c.Target.String()+">", Description(media))
}

// ACK acknowledges res, the final answer to call number n: one that is no 2xx
// in its transaction, a 2xx in its own.
func (c *Caller) ACK(n int, res []byte) []byte {
	branch := ""
	if Code(res)/100 == 2 {
		branch = "a"
	}
	return c.request("ACK", n, "ACK", branch, string(Field(res, "To")), "")
}

// Bye ends call number n, that res answered.
func (c *Caller) Bye(n int, res []byte) []byte {
	return c.request("BYE", n, "BYE", "b", string(Field(res, "To")), "")
}

func (c *Caller) request(method string, n int, cseq, branch, to, body string) []byte {
	seq, kind := 1, ""
	if method == "BYE" {
		seq = 2
	}
	if body != "" {
		kind = "Content-Type: application/sdp\r\n"
	}
	return fmt.Appendf(nil, "%[1]s sip:%[2]s@%[3]s SIP/2.0\r\nVia: SIP/2.0/UDP %[4]s;branch=z9hG4bK%[5]d%[6]s-%[7]s\r\n"+
		"From: \"Caller\" <sip:%[8]s@%[4]s>;tag=%[5]dt\r\nTo: %[9]s\r\nCall-ID: %[5]d-%[7]s\r\nCSeq: %[10]d %[11]s\r\n"+
		"Contact: <sip:c@%[4]s>\r\nMax-Forwards: 70\r\nUser-Agent: bench\r\n%[12]sContent-Length: %[13]d\r\n\r\n%[14]s",
		method, c.To, c.Target, c.Addr, n, branch, c.run, c.From, to, seq, cseq, kind, len(body), body)
}

// Description is a session description that offers or answers PCMA and
// telephone-event at addr.
func Description(addr netip.AddrPort) string {
	return fmt.Sprintf("v=0\r\no=bench 1 1 IN IP4 %[1]s\r\ns=-\r\nc=IN IP4 %[1]s\r\nt=0 0\r\nm=audio %[2]d RTP/AVP 8 101\r\n"+
		"a=rtpmap:8 PCMA/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-15\r\na=ptime:20\r\na=sendrecv\r\n", addr.Addr(), addr.Port())
}

// Code is the status of a response, 0 of anything else.
func Code(b []byte) int {
	if len(b) < 12 || !bytes.HasPrefix(b, []byte("SIP/2.0 ")) {
		return 0
	}
	code, err := strconv.Atoi(string(b[8:11]))
	if err != nil {
		return 0
	}
	return code
}

// Field is the first header of that name.
func Field(b []byte, name string) []byte {
	_, rest, ok := bytes.Cut(b, []byte("\r\n"+name+": "))
	if !ok {
		return nil
	}
	value, _, _ := bytes.Cut(rest, []byte("\r\n"))
	return value
}

// Number is the call's number, negative where b belongs to another run.
func (c *Caller) Number(b []byte) int {
	number, run, ok := strings.Cut(string(Field(b, "Call-ID")), "-")
	n, err := strconv.Atoi(number)
	if !ok || err != nil || run != c.run {
		return -1
	}
	return n
}

// MediaPort is the port of the audio in a message's session description, 0 if
// there is none.
func MediaPort(b []byte) uint16 {
	_, rest, ok := bytes.Cut(b, []byte("\r\nm=audio "))
	if !ok {
		return 0
	}
	number, _, _ := bytes.Cut(rest, []byte(" "))
	port, err := strconv.ParseUint(string(number), 10, 16)
	if err != nil {
		return 0
	}
	return uint16(port)
}

// FreePort is a port of loopback that no socket holds, UDP or TCP; it may be
// taken before it is used, which hardly happens on a machine that measures.
func FreePort() (netip.AddrPort, error) {
	for {
		c, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
		if err != nil {
			return netip.AddrPort{}, err
		}
		addr := c.LocalAddr().(*net.UDPAddr).AddrPort()
		l, taken := net.ListenTCP("tcp4", net.TCPAddrFromAddrPort(addr))
		if taken == nil {
			taken = l.Close()
		}
		if err := c.Close(); err != nil {
			return netip.AddrPort{}, err
		}
		if taken == nil {
			return addr, nil
		}
	}
}
