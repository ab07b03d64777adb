//go:build e2e

package e2e_test

import (
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"frontdesk/call"
	"frontdesk/sip"
	"frontdesk/sip/siptest"
)

// trunkPhone is the carrier's side of a trunk, which places calls.
type trunkPhone struct {
	*siptest.Phone
	s   *server
	ctx context.Context
}

// newTrunkPhone opens a phone at an address of the test's /24, ".11".
func newTrunkPhone(s *server, host string) *trunkPhone {
	s.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	p, err := siptest.NewPhone(ctx, siptest.Config{Listen: "udp://" + s.net + host + ":0"})
	if err != nil {
		cancel()
		s.t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	s.t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			s.t.Error(err)
		}
	})
	return &trunkPhone{Phone: p, s: s, ctx: ctx}
}

// dial places a call that does not follow redirects.
func (p *trunkPhone) dial(from, to string, change ...func(*siptest.Options)) (*siptest.Call, error) {
	o := siptest.Options{To: "sip:" + to + "@" + p.s.sip, From: sip.Address{User: from}, NoFollow: true}
	for _, f := range change {
		f(&o)
	}
	return p.Call(p.ctx, o)
}

// placed is what became of a call.
type placed struct {
	code   int
	target call.Extension // where a 302 sent it
	callID string
	took   time.Duration // from the INVITE's leaving to its final answer, on the wire
	err    error
}

func (a placed) String() string {
	if a.err != nil {
		return a.err.Error()
	}
	return fmt.Sprintf("%d to %q after %v", a.code, a.target, a.took)
}

// place dials and waits for the final answer.
func (p *trunkPhone) place(from, to string, change ...func(*siptest.Options)) (a placed) {
	ctx, cancel := context.WithTimeout(p.ctx, patient)
	defer cancel()
	c, err := p.dial(from, to, change...)
	if err != nil {
		return placed{err: err}
	}
	final, err := c.WaitFinal(ctx)
	if err != nil || final == nil {
		return placed{err: fmt.Errorf("no final answer: %w", err)}
	}
	a = placed{code: final.Code, callID: c.CallIDs()[0]}
	if len(final.Contacts) > 0 {
		user, _, _ := strings.Cut(strings.TrimPrefix(final.Contacts[0], "sip:"), "@")
		a.target = call.Extension(user)
	}
	a.took = wireTime(c.Ladder())
	return a
}

// wireTime is from the first message sent to the first final answer.
func wireTime(steps []siptest.Step) time.Duration {
	for _, s := range steps {
		if !s.Sent && strings.HasPrefix(s.First, "SIP/2.0 ") && s.First[8] > '1' {
			return s.At.Sub(steps[0].At)
		}
	}
	return -1
}

// check wants a 302 to a number, and tells whether it came after the deadline of
// the fault table.
func (a placed) check(t *testing.T, what string, want call.Extension) (late []string) {
	t.Helper()
	switch {
	case a.err == nil && a.code == 302 && a.target == fallback && want != fallback && a.took >= faultDeadline:
		late = append(late, fmt.Sprintf("%s was answered %v: the portal's answer came too late", what, a))
	case a.err != nil || a.code != 302 || a.target != want:
		t.Errorf("%s was answered %v, want 302 to %s", what, a, want)
	case a.took < 0 || a.took > faultDeadline+faultGrace:
		late = append(late, fmt.Sprintf("%s was answered after %v, want %v at most", what, a.took, faultDeadline+faultGrace))
	}
	return late
}

// lagMeter tells how late a goroutine is woken: on a machine that is too busy,
// all times are.
type lagMeter struct {
	quit  chan struct{}
	worst chan time.Duration
}

func newLagMeter() *lagMeter {
	m := &lagMeter{quit: make(chan struct{}), worst: make(chan time.Duration)}
	go func() {
		const every = 5 * time.Millisecond
		worst, last := time.Duration(0), time.Now()
		timer := time.NewTimer(every)
		for {
			select {
			case <-timer.C:
				now := time.Now()
				worst, last = max(worst, now.Sub(last)-every), now
				timer.Reset(every)
			case <-m.quit:
				m.worst <- max(worst, time.Since(last)-every)
				return
			}
		}
	}()
	return m
}

func (m *lagMeter) stop() time.Duration {
	close(m.quit)
	return <-m.worst
}

// released is the program without the race detector, as it is shipped, for
// tests that look at the clock.
var released = sync.OnceValues(func() (string, error) {
	path := filepath.Join(filepath.Dir(binary), "frontdesk-released")
	cmd := exec.Command("go", "build", "-o", path, "frontdesk/cmd/frontdesk")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("building frontdesk: %w\n%s", err, out)
	}
	return path, nil
})

// release runs the program as it is shipped.
func release(t *testing.T) option {
	t.Helper()
	path, err := released()
	if err != nil {
		t.Fatal(err)
	}
	return func(s *setup) { s.program = path }
}
