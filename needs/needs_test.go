package needs_test

import (
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"frontdesk/needs"
)

// verdict is a test that remembers how it was ended.
type verdict struct {
	testing.TB
	failed, skipped string
}

func (*verdict) Helper() {}

func (v *verdict) Fatal(args ...any) {
	v.failed = args[0].(string)
	runtime.Goexit()
}

func (v *verdict) Skip(args ...any) {
	v.skipped = args[0].(string)
	runtime.Goexit()
}

// asked wants a program for a test of its own.
func asked(t *testing.T, program string) (path string, v *verdict) {
	t.Helper()
	v = &verdict{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		path = needs.Program(v, program, "some-package")
	}()
	<-done
	return path, v
}

func TestProgram(t *testing.T) {
	t.Setenv("CI", "")
	if path, v := asked(t, "sh"); filepath.Base(path) != "sh" || v.failed+v.skipped != "" {
		t.Errorf("sh: %q, %+v", path, v)
	}
	if _, v := asked(t, "no-such-program"); v.failed != "" || !strings.Contains(v.skipped, "apt-get install some-package") {
		t.Errorf("a missing program: failed %q, skipped %q", v.failed, v.skipped)
	}
	t.Setenv("CI", "true")
	if _, v := asked(t, "no-such-program"); v.skipped != "" || !strings.Contains(v.failed, "no-such-program is not installed") {
		t.Errorf("a missing program in CI: failed %q, skipped %q", v.failed, v.skipped)
	}
}
