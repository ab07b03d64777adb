package siptest

import (
	"bytes"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"frontdesk/sip"
)

// Step is one message of a ladder.
type Step struct {
	At     time.Time
	Sent   bool // else received
	Remote netip.AddrPort
	First  string // its request or status line
	CallID string
	Data   []byte // the whole message
}

// String is the step on one line: "-> INVITE sip:201@127.0.0.1:5070 SIP/2.0".
func (s Step) String() string {
	arrow := "<-"
	if s.Sent {
		arrow = "->"
	}
	return arrow + " " + s.First
}

// Header is the first header called name in the message.
func (s Step) Header(name string) string {
	head, _, _ := bytes.Cut(s.Data, []byte("\r\n\r\n"))
	return header(string(head), name)
}

func header(head, name string) string {
	for line := range strings.SplitSeq(head, "\r\n") {
		if n, v, ok := strings.Cut(line, ":"); ok && strings.EqualFold(strings.TrimSpace(n), name) {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// maxLadder is how many messages a ladder keeps; a load test needs none.
const maxLadder = 10000

// Ladder is every message a stack sent and received, in order.
type Ladder struct {
	mu    sync.Mutex
	steps []Step
}

// Tap notes a packet; it is meant for sip.Config.
func (l *Ladder) Tap(p sip.Packet) {
	s := Step{At: p.At, Sent: p.Sent, Remote: p.Remote, Data: bytes.Clone(p.Data)}
	head, _, _ := strings.Cut(string(s.Data), "\r\n\r\n")
	s.First, _, _ = strings.Cut(head, "\r\n")
	if s.CallID = header(head, "Call-ID"); s.CallID == "" {
		s.CallID = header(head, "i")
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if len(l.steps) < maxLadder {
		l.steps = append(l.steps, s)
	}
}

// Steps are the messages of these Call-IDs, or all without any.
func (l *Ladder) Steps(callIDs ...string) []Step {
	l.mu.Lock()
	defer l.mu.Unlock()
	var out []Step
	for _, s := range l.steps {
		if len(callIDs) == 0 || slices.Contains(callIDs, s.CallID) {
			out = append(out, s)
		}
	}
	return out
}

// WriteLadder draws steps for people, a line each with the time since the
// first.
func WriteLadder(w io.Writer, steps []Step) error {
	for _, s := range steps {
		if _, err := fmt.Fprintf(w, "%8.1f ms  %s  %s\n", s.At.Sub(steps[0].At).Seconds()*1000, s.Remote, s); err != nil {
			return err
		}
	}
	return nil
}
