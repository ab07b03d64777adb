package sip_test

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"syscall"
	"testing"
	"time"

	"frontdesk/sip"
)

// BenchmarkRedirectedCall is INVITE, 100, 302, ACK over loopback UDP, a few
// calls at a time. cpu-us/call is the CPU time of the whole process, the
// scripted caller included (it builds and scans text only).
func BenchmarkRedirectedCall(b *testing.B) {
	ctx, cancel := context.WithCancel(b.Context())
	defer cancel()
	l, err := sip.Listen(ctx, "udp://127.0.0.1:0", nil)
	if err != nil {
		b.Fatal(err)
	}
	s, err := sip.New(sip.Config{Listeners: []sip.Listener{l}}, handler(redirecting))
	if err != nil {
		b.Fatal(err)
	}
	if err := s.SetPeers([]sip.Peer{{Name: "carrier", Sources: prefixes("127.0.0.1/32")}}); err != nil {
		b.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Run(ctx) }()
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(s.Addr("udp")))
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = conn.Close() }()
	caller := newBenchCaller(conn, s.Addr("udp"))
	b.ReportAllocs()
	start := cpuTime(b)
	for b.Loop() {
		if err := caller.call(); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64((cpuTime(b)-start).Microseconds())/float64(b.N), "cpu-us/call")
	cancel()
	if err := <-ended; err != nil {
		b.Fatal(err)
	}
}

func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// benchCaller keeps a window of calls open.
type benchCaller struct {
	conn     *net.UDPConn
	template []string // an INVITE, cut where the call's number goes
	ack      []string
	sent     int
	open     int
	buf      []byte
}

const benchWindow = 16

func newBenchCaller(conn *net.UDPConn, desk netip.AddrPort) *benchCaller {
	u := &ua{addr: conn.LocalAddr().String()}
	c := u.call("%N%")
	c.target = "sip:+74951234567@" + desk.String()
	invite := c.request("INVITE",
		"Allow: INVITE, ACK, BYE, CANCEL, OPTIONS, PRACK, UPDATE, INFO, REFER", "Supported: timer, replaces",
		"User-Agent: carrier SBC 7.4", "P-Asserted-Identity: <sip:+79161234567@192.0.2.10>", "Privacy: none",
		offerSDP+strings.Repeat("a=rtpmap:8 PCMA/8000\r\n", 15))
	return &benchCaller{
		conn: conn, template: strings.Split(invite, "%N%"), ack: strings.Split(c.again("ACK"), "%N%"), buf: make([]byte, 65536),
	}
}

func (c *benchCaller) write(template []string, n string) error {
	_, err := c.conn.Write([]byte(strings.Join(template, n)))
	return err
}

// call keeps the window full and completes one call.
func (c *benchCaller) call() error {
	for c.open < benchWindow {
		c.sent++
		c.open++
		if err := c.write(c.template, fmt.Sprint(c.sent)); err != nil {
			return err
		}
	}
	for {
		if err := c.conn.SetReadDeadline(time.Now().Add(5 * time.Second)); err != nil {
			return err
		}
		n, err := c.conn.Read(c.buf)
		if err != nil {
			return fmt.Errorf("a call was lost: %w", err)
		}
		msg := string(c.buf[:n])
		if strings.HasPrefix(msg, "SIP/2.0 302") {
			c.open--
			return c.write(c.ack, field(msg, "Call-ID"))
		}
	}
}
