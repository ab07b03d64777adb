//go:build e2e

package e2e_test

import (
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// process is a peer's program, running until the test's end.
type process struct {
	t    *testing.T
	name string
	cmd  *exec.Cmd
	log  journal
	gone chan struct{} // closed once it is
}

// launch starts a program in dir. At the test's end it is sent SIGTERM; it must
// not have gone before.
func launch(t *testing.T, dir, path string, args ...string) *process {
	t.Helper()
	p := &process{t: t, name: filepath.Base(path), cmd: exec.Command(path, args...), gone: make(chan struct{})}
	p.cmd.Dir = dir
	p.cmd.Stdout, p.cmd.Stderr = &p.log, &p.log
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // as for frontdesk
		defer runtime.UnlockOSThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			_ = p.cmd.Wait() // the test looks at ProcessState
		}
		close(p.gone)
	}()
	if err := <-started; err != nil {
		t.Fatal(err)
	}
	t.Cleanup(p.end)
	return p
}

func (p *process) end() {
	select {
	case <-p.gone:
		p.t.Errorf("%s has ended by itself: %s", p.name, p.cmd.ProcessState)
	default:
	}
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.gone:
	case <-time.After(10 * time.Second):
		p.t.Errorf("%s has not ended 10 s after SIGTERM", p.name)
		_ = p.cmd.Process.Kill()
		<-p.gone
	}
	if p.t.Failed() {
		p.t.Logf("%s in %s:\n%s", p.name, p.cmd.Dir, tail(p.text()))
	}
}

// alive fails the test where the program has ended.
func (p *process) alive() {
	p.t.Helper()
	select {
	case <-p.gone:
		p.t.Fatalf("%s has ended: %s", p.name, p.cmd.ProcessState)
	default:
	}
}

// text is what the program wrote, without the bit rates that baresip draws all
// the time.
func (p *process) text() string {
	lines := strings.FieldsFunc(p.log.String(), func(r rune) bool { return r == '\r' || r == '\n' })
	return strings.Join(slices.DeleteFunc(lines, func(l string) bool { return strings.Contains(l, "(bit/s)") }), "\n")
}
