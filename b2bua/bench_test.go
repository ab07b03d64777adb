package b2bua_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"frontdesk/b2bua"
	"frontdesk/call"
	"frontdesk/media"
	"frontdesk/media/sdp"
	"frontdesk/routing"
	"frontdesk/sip"
)

// BenchmarkRedirectedCall is INVITE, 100, decision from memory, 302, ACK over
// loopback, with a caller that only copies bytes. cpu-us/call is user and
// system time of the whole process, caller included.
func BenchmarkRedirectedCall(b *testing.B) {
	addr := serveRedirects(b)
	const callers = 8
	b.ReportAllocs()
	b.ResetTimer()
	before := cpu(b)
	var wg sync.WaitGroup
	for i := range callers {
		wg.Go(func() { placeCalls(b, addr, i, (b.N+callers-1)/callers) })
	}
	wg.Wait()
	b.ReportMetric(float64((cpu(b)-before).Microseconds())/float64(b.N), "cpu-us/call")
}

func cpu(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// serveRedirects runs an agent that redirects whatever comes.
func serveRedirects(b *testing.B) netip.AddrPort {
	b.Helper()
	plan, problems := routing.Compile(routing.Source{
		Country: "RU", Zone: time.UTC, Trunks: []string{"carrier"}, Numbers: numbers(),
		Rules: []routing.RuleSource{{Name: "all", Default: "800"}},
	})
	if plan == nil {
		b.Fatal(problems)
	}
	quiet := slog.New(slog.DiscardHandler)
	engine, err := media.NewEngine(media.Config{Bind: netip.MustParseAddr("127.0.0.1"), Ports: media.PortRange{First: 30000, Last: 40000}})
	if err != nil {
		b.Fatal(err)
	}
	agent := b2bua.NewAgent(b2bua.Deps{
		Directory: &directory{answer: contactOf(17)}, Staff: staff{}, Media: engine, Logger: quiet,
	}, &b2bua.Settings{
		Plan: plan, Country: "RU", Zone: time.UTC, Deadline: time.Second, Codecs: []sdp.Codec{sdp.PCMA},
		Trunks: map[string]b2bua.Trunk{"carrier": {Name: "carrier", Transfer: []call.Transfer{call.TransferRedirect}}},
		PBX:    b2bua.PBX{Nodes: b2bua.NewNodes([]string{"sip:127.0.0.1:5070"}, quiet), Numbers: numbers},
	})
	listener, err := sip.Listen(b.Context(), "udp://127.0.0.1:0", nil)
	if err != nil {
		b.Fatal(err)
	}
	stack, err := sip.New(sip.Config{Listeners: []sip.Listener{listener}}, agent)
	if err != nil {
		b.Fatal(err)
	}
	agent.Attach(stack)
	if err := stack.SetPeers([]sip.Peer{{Name: "carrier", Sources: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}}}); err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- stack.Run(ctx) }()
	b.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			b.Error(err)
		}
	})
	return stack.Addr("udp")
}

// placeCalls makes n calls one after the other.
func placeCalls(b *testing.B, addr netip.AddrPort, caller, n int) {
	conn, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(addr))
	if err != nil {
		b.Error(err)
		return
	}
	defer func() { _ = conn.Close() }()
	buf := make([]byte, 4096)
	for i := range n {
		id := fmt.Sprintf("%d-%d", caller, i)
		if _, err := conn.Write(invite(id, conn.LocalAddr().String())); err != nil {
			b.Error(err)
			return
		}
		for {
			m, err := conn.Read(buf)
			if err != nil {
				b.Error(err)
				return
			}
			if bytes.HasPrefix(buf[:m], []byte("SIP/2.0 302")) {
				break
			}
		}
		if _, err := conn.Write(ack(id, string(buf[:]))); err != nil {
			b.Error(err)
			return
		}
	}
}

func invite(id, local string) []byte {
	return fmt.Appendf(nil, "INVITE sip:+74951234567@127.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP %[2]s;branch=z9hG4bK%[1]s\r\n"+
		"From: \"Ann\" <sip:+79161234567@127.0.0.1>;tag=%[1]s\r\nTo: <sip:+74951234567@127.0.0.1>\r\nCall-ID: %[1]s\r\nCSeq: 1 INVITE\r\n"+
		"Contact: <sip:%[2]s>\r\nMax-Forwards: 70\r\nContent-Type: application/sdp\r\nContent-Length: %[3]d\r\n\r\n%[4]s",
		id, local, len(offer), offer)
}

const offer = "v=0\r\no=x 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 40000 RTP/AVP 8 101\r\na=rtpmap:101 telephone-event/8000\r\n"

func ack(id, response string) []byte {
	_, rest, _ := strings.Cut(response, "\r\nTo: ")
	to, _, _ := strings.Cut(rest, "\r\n")
	_, rest, _ = strings.Cut(response, "\r\nVia: ")
	via, _, _ := strings.Cut(rest, "\r\n")
	return fmt.Appendf(nil, "ACK sip:+74951234567@127.0.0.1 SIP/2.0\r\nVia: %s\r\nFrom: \"Ann\" <sip:+79161234567@127.0.0.1>;tag=%s\r\nTo: %s\r\nCall-ID: %s\r\nCSeq: 1 ACK\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n", via, id, to, id)
}
