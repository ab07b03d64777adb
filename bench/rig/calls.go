package rig

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"sync"
	"time"
)

// Call is what a caller knows of one of its calls.
type Call struct {
	Invited   time.Time
	Described time.Time // the first response with a description
	Final     time.Time
	Code      int // of the final response
	Response  []byte
	Media     netip.AddrPort // where to send
}

// Calls are those of one Caller.
type Calls struct {
	*Caller
	media netip.AddrPort

	mu    sync.Mutex
	calls []Call
	woken chan struct{} // something has changed
}

// NewCalls takes what Caller receives; the audio of every call goes to media.
// It reads until the socket is closed.
func NewCalls(c *Caller, media netip.AddrPort) *Calls {
	k := &Calls{Caller: c, media: media, woken: make(chan struct{}, 1)}
	go k.read()
	return k
}

// Place begins the next call.
func (k *Calls) Place() error {
	k.mu.Lock()
	n := len(k.calls)
	k.calls = append(k.calls, Call{Invited: time.Now()})
	k.mu.Unlock()
	_, err := k.Conn.Write(k.Invite(n, k.media))
	return err
}

// All is a copy of the calls as they are.
func (k *Calls) All() []Call {
	k.mu.Lock()
	defer k.mu.Unlock()
	return slices.Clone(k.calls)
}

// Await waits until ready says so of all calls, but no longer than d.
func (k *Calls) Await(ctx context.Context, what string, d time.Duration, ready func(c Call) bool) error {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	for {
		waiting := 0
		for _, c := range k.All() {
			if !ready(c) {
				waiting++
			}
		}
		if waiting == 0 {
			return nil
		}
		select {
		case <-k.woken:
		case <-ctx.Done():
			return fmt.Errorf("%d calls of %d have no %s", waiting, len(k.All()), what)
		}
	}
}

// Hangup sends BYE on every call that was answered.
func (k *Calls) Hangup() error {
	for n, c := range k.All() {
		if c.Code/100 != 2 {
			continue
		}
		if _, err := k.Conn.Write(k.Bye(n, c.Response)); err != nil {
			return err
		}
	}
	return nil
}

func (k *Calls) read() {
	buf := make([]byte, 65536)
	for {
		n, err := k.Conn.Read(buf)
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			continue // ICMP: the program is not there yet
		}
		k.take(bytes.Clone(buf[:n]), time.Now())
		select {
		case k.woken <- struct{}{}:
		default:
		}
	}
}

func (k *Calls) take(b []byte, at time.Time) {
	code, n := Code(b), k.Number(b)
	switch {
	case code == 0 && bytes.HasPrefix(b, []byte("BYE ")):
		_, _ = k.Conn.Write(Answer(b, 200, "OK", "", "")) // what is lost is asked for again
		return
	case n < 0, code <= 100, !bytes.HasSuffix(Field(b, "CSeq"), []byte(" INVITE")):
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	c := &k.calls[n]
	if port := MediaPort(b); port != 0 && c.Described.IsZero() {
		c.Described, c.Media = at, netip.AddrPortFrom(k.Target.Addr(), port)
	}
	if code < 200 {
		return
	}
	if c.Final.IsZero() {
		c.Final, c.Code, c.Response = at, code, b
	}
	_, _ = k.Conn.Write(k.ACK(n, b)) // as above
}

// Answer is a response to req, with a To tag of ours where it has none.
func Answer(req []byte, code int, reason, contact, body string) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "SIP/2.0 %d %s\r\n", code, reason)
	for line := range bytes.SplitSeq(req, []byte("\r\n")) {
		if bytes.HasPrefix(line, []byte("Via: ")) {
			b.Write(line)
			b.WriteString("\r\n")
		}
	}
	to := Field(req, "To")
	if !bytes.Contains(to, []byte(";tag=")) {
		to = append(bytes.Clone(to), ";tag=answering"...)
	}
	fmt.Fprintf(&b, "From: %s\r\nTo: %s\r\nCall-ID: %s\r\nCSeq: %s\r\n", Field(req, "From"), to, Field(req, "Call-ID"), Field(req, "CSeq"))
	if contact != "" {
		fmt.Fprintf(&b, "Contact: <%s>\r\n", contact)
	}
	if body != "" {
		b.WriteString("Content-Type: application/sdp\r\n")
	}
	fmt.Fprintf(&b, "Content-Length: %d\r\n\r\n%s", len(body), body)
	return b.Bytes()
}

// Phone answers every call, its audio going to media, until its socket is
// closed.
func Phone(conn *net.UDPConn, media netip.AddrPort) {
	contact := "sip:phone@" + conn.LocalAddr().String()
	buf := make([]byte, 65536)
	for {
		n, from, err := conn.ReadFromUDPAddrPort(buf)
		switch {
		case errors.Is(err, net.ErrClosed):
			return
		case err != nil:
			continue
		}
		req := buf[:n]
		switch method, _, _ := bytes.Cut(req, []byte(" ")); string(method) {
		case "INVITE":
			_, _ = conn.WriteToUDPAddrPort(Answer(req, 200, "OK", contact, Description(media)), from) // what is lost is asked for again
		case "BYE", "OPTIONS", "CANCEL":
			_, _ = conn.WriteToUDPAddrPort(Answer(req, 200, "OK", "", ""), from) // as above
		}
	}
}

// Senders sends 50 packets a second on every stream until ctx ends, spread
// over the 20 ms.
type Senders struct {
	media   *Media
	mu      sync.Mutex
	streams []*Stream
}

// NewSenders sends from one socket.
func NewSenders(m *Media) *Senders { return &Senders{media: m} }

// Add adds a stream.
func (s *Senders) Add(x *Stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.streams = append(s.streams, x)
}

// Press dials a key on stream number i.
func (s *Senders) Press(i int, event byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.streams[i].Press(s.media, event)
}

// Run sends until ctx ends. A turn that comes late is made up for.
func (s *Senders) Run(ctx context.Context) {
	const slots = 20
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	start := time.Now()
	for slot := 0; ctx.Err() == nil; {
		<-tick.C
		for due := int(time.Since(start) / time.Millisecond); slot < due; slot++ {
			s.mu.Lock()
			for i := slot % slots; i < len(s.streams); i += slots {
				s.streams[i].Send(s.media)
			}
			s.mu.Unlock()
		}
	}
}
