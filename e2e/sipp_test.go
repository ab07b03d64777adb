//go:build e2e

package e2e_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"frontdesk/needs"
)

// TestEveryScenarioIsPlayed wants no file of testdata/sipp left over.
func TestEveryScenarioIsPlayed(t *testing.T) {
	t.Parallel()
	var tests strings.Builder
	sources, err := filepath.Glob("*_test.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range sources {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		tests.Write(b)
	}
	files, err := filepath.Glob("../testdata/sipp/*.xml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no scenarios: %v", err)
	}
	for _, f := range files {
		name := strings.TrimSuffix(filepath.Base(f), ".xml")
		if !strings.Contains(tests.String(), strconv.Quote(name)) {
			t.Errorf("no test plays %s", f)
		}
	}
}

// party is a running SIPp.
type party struct {
	t        *testing.T
	scenario string
	callID   string // of its first call, where it calls
	dir      string
	cmd      *exec.Cmd
	out      journal
	done     chan error
}

// sippCall places the calls of a scenario, one where args say nothing else, from
// an address with port 5060 to frontdesk.
func sippCall(t *testing.T, scenario, from, to string, args ...string) *party {
	t.Helper()
	cid := fmt.Sprintf("%s@%s", scenario, strings.ReplaceAll(from, ":", "."))
	p := newParty(t, scenario, append([]string{
		"-i", from, "-mi", from, "-ci", from, "-bind_local", "-m", "1", "-l", "1", "-d", "500",
		"-s", did, "-cid_str", "%u-" + cid, "-recv_timeout", "30000", "-timeout", "100s", "-timeout_error",
	}, append(args, to)...))
	p.callID = "1-" + cid
	return p
}

// sippServe answers calls as the PBX until its scenario fails or the test ends.
func sippServe(t *testing.T, scenario, at string) *party {
	t.Helper()
	host, port, err := net.SplitHostPort(at)
	if err != nil {
		t.Fatal(err)
	}
	p := newParty(t, scenario, []string{"-i", host, "-p", port, "-mi", host, "-ci", host, "-bind_local", "-deadcall_wait", "0"})
	waitFor(t, "SIPp to listen", func() bool {
		select {
		case err := <-p.done:
			t.Fatalf("SIPp as the PBX has ended: %v\n%s", err, p.text())
		default:
		}
		return taken(t, at)
	})
	return p
}

// taken reports whether some process has the UDP address, as the kernel lists
// it: to try and bind it would take it from a SIPp that is about to.
func taken(t *testing.T, at string) bool {
	t.Helper()
	addr, err := netip.ParseAddrPort(at)
	if err != nil {
		t.Fatal(err)
	}
	table, ip := "/proc/net/udp", addr.Addr().AsSlice()
	if addr.Addr().Is6() {
		table = "/proc/net/udp6"
	}
	for word := ip; len(word) > 0; word = word[4:] { // each four bytes in the machine's order
		word[0], word[1], word[2], word[3] = word[3], word[2], word[1], word[0]
	}
	list, err := os.ReadFile(table)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Contains(string(list), fmt.Sprintf(" %X:%04X ", ip, addr.Port()))
}

func newParty(t *testing.T, scenario string, args []string) *party {
	t.Helper()
	file, err := filepath.Abs("../testdata/sipp/" + scenario + ".xml")
	if err != nil {
		t.Fatal(err)
	}
	p := &party{t: t, scenario: scenario, dir: t.TempDir(), done: make(chan error, 1)}
	p.cmd = exec.Command(needs.Program(t, "sipp", "sip-tester"), append([]string{
		"-sf", file, "-nostdin", "-trace_msg", "-message_file", p.file("messages"), "-trace_err", "-error_file", p.file("errors"),
	}, args...)...)
	p.cmd.Dir, p.cmd.Env = p.dir, append(os.Environ(), "TERM=dumb")
	p.cmd.Stdout, p.cmd.Stderr = &p.out, &p.out
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { p.done <- p.cmd.Wait() }()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill() // it has ended unless the test failed
		if t.Failed() {
			t.Log(p.text())
		}
	})
	return p
}

func (p *party) file(name string) string { return filepath.Join(p.dir, name+".log") }

func (p *party) read(name string) string {
	b, err := os.ReadFile(p.file(name))
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		p.t.Error(err)
	}
	return string(b)
}

// text is all that SIPp said, for who has to find out what went wrong.
func (p *party) text() string {
	return fmt.Sprintf("SIPp %s, errors:\n%s\nmessages:\n%s\nlast screen:\n%s",
		p.scenario, tail(p.read("errors")), tail(p.read("messages")), lastScreen(p.out.String()))
}

func lastScreen(text string) string {
	if i := strings.LastIndex(text, "Scenario Screen"); i >= 0 {
		return text[i:]
	}
	return tail(text)
}

// wait waits for SIPp to have placed all its calls, and wants each as its
// scenario says.
func (p *party) wait() {
	p.t.Helper()
	select {
	case err := <-p.done:
		if err != nil {
			p.t.Fatalf("SIPp's scenario %s failed: %v", p.scenario, err)
		}
	case <-time.After(2 * time.Minute):
		p.t.Fatalf("SIPp's scenario %s has not ended", p.scenario)
	}
	p.oneTag()
}

// leave ends a serving SIPp once its calls are over and wants each as its
// scenario says.
func (p *party) leave() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGUSR1); err != nil { // no new calls, and the end after the last one
		p.t.Fatal(err)
	}
	p.wait()
}

// message is a SIP message as SIPp logged it.
type message struct {
	sent  bool
	start string // start line
	lines []string
}

func (m message) header(name string) string {
	for _, l := range m.lines {
		if k, v, ok := strings.Cut(l, ":"); ok && strings.EqualFold(k, name) {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// messages reads SIPp's message log.
func (p *party) messages() (all []message) {
	for _, part := range strings.Split(p.read("messages"), "-----------------------------------------------") {
		head, body, ok := strings.Cut(part, ":\n\n")
		if !ok || !strings.Contains(head, "message") {
			continue
		}
		lines := strings.Split(strings.ReplaceAll(body, "\r", ""), "\n")
		all = append(all, message{sent: strings.Contains(head, "message sent"), start: lines[0], lines: lines[1:]})
	}
	return all
}

// received are the messages that came with such a beginning.
func (p *party) received(start string) (all []message) {
	for _, m := range p.messages() {
		if !m.sent && strings.HasPrefix(m.start, start) {
			all = append(all, m)
		}
	}
	return all
}

// oneTag wants one To tag in all responses of a call (RFC 3261 section
// 12.1.1): carriers take another one for a fork.
func (p *party) oneTag() {
	p.t.Helper()
	tags := map[string]string{}
	for _, m := range p.received("SIP/2.0 ") {
		_, tag, _ := strings.Cut(m.header("To"), ";tag=")
		id := m.header("Call-ID")
		if strings.HasPrefix(m.start, "SIP/2.0 100") && tag == "" {
			continue
		}
		if was := tags[id]; tag == "" || was != "" && was != tag {
			p.t.Errorf("%s: the To tag of %s is %q, it was %q", id, m.start, tag, was)
		}
		tags[id] = tag
	}
	if len(tags) == 0 && strings.Contains(p.read("messages"), "message received") && len(p.messages()) == 0 {
		p.t.Error("SIPp's message log cannot be read")
	}
}

// patience is a context for what the sandbox's own phones must see.
func patience(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patient)
	t.Cleanup(cancel)
	return ctx
}
