package rig

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Process is a program under test.
type Process struct {
	cmd  *exec.Cmd
	out  *os.File // what it writes
	gone chan error
}

// Start runs a program, on CPU number cpu alone, or on all where cpu is
// negative (taskset is of the package util-linux).
func Start(cpu int, name string, args ...string) (*Process, error) {
	if cpu >= 0 {
		args = append([]string{"-c", strconv.Itoa(cpu), name}, args...)
		name = "taskset"
	}
	out, err := os.CreateTemp("", "frontdesk-bench-*.log")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(out.Name()); err != nil { // it lives as long as it is open
		return nil, errors.Join(err, out.Close())
	}
	p := &Process{cmd: exec.Command(name, args...), out: out, gone: make(chan error, 1)}
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		return nil, errors.Join(fmt.Errorf("starting %s: %w", name, err), out.Close())
	}
	go func() { p.gone <- p.cmd.Wait() }()
	return p, nil
}

// Stop ends the process and its children by SIGTERM, after ten seconds by
// SIGKILL.
func (p *Process) Stop() (err error) {
	defer func() { err = errors.Join(err, p.out.Close()) }()
	group := -p.cmd.Process.Pid
	_ = syscall.Kill(group, syscall.SIGTERM) // it may have ended by itself, which Wait tells
	select {
	case err := <-p.gone:
		if err != nil {
			return fmt.Errorf("%w: %s", err, p.Output())
		}
		return nil
	case <-time.After(10 * time.Second):
		_ = syscall.Kill(group, syscall.SIGKILL)
		return errors.Join(errors.New("the program had to be killed"), <-p.gone)
	}
}

// Output is the last of what the process has written.
func (p *Process) Output() string {
	const most = 2000
	end, err := p.out.Seek(0, io.SeekEnd)
	if err != nil {
		return ""
	}
	b := make([]byte, min(end, most))
	n, _ := p.out.ReadAt(b, end-int64(len(b))) // what could be read
	return string(b[:n])
}

// Usage is what a process and its children have used so far.
type Usage struct {
	CPU time.Duration // user and system time
	RSS int64         // bytes, now
}

// Usage reads /proc.
func (p *Process) Usage() (Usage, error) {
	var u Usage
	pids, err := family(p.cmd.Process.Pid)
	if err != nil {
		return u, err
	}
	for _, pid := range pids {
		stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
		if err != nil {
			return u, fmt.Errorf("the program is not there any more: %w", err)
		}
		f := strings.Fields(string(stat[bytes.LastIndexByte(stat, ')')+1:]))
		user, _ := strconv.Atoi(f[11]) // the kernel's own format: fields 14, 15 and 24 of proc(5)
		system, _ := strconv.Atoi(f[12])
		pages, _ := strconv.Atoi(f[21])
		u.CPU += time.Duration(user+system) * 10 * time.Millisecond
		u.RSS += int64(pages) * int64(os.Getpagesize())
	}
	return u, nil
}

// family is a process and its children; deeper descent does not occur here.
func family(pid int) ([]int, error) {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", pid, pid))
	if err != nil {
		return nil, fmt.Errorf("the program is not there any more: %w", err)
	}
	pids := []int{pid}
	for _, f := range strings.Fields(string(b)) {
		child, err := strconv.Atoi(f)
		if err != nil {
			return nil, err
		}
		pids = append(pids, child)
	}
	return pids, nil
}

// Build gives the path of the frontdesk program: binary, where one is given,
// else one built into dir as `go build` does.
func Build(ctx context.Context, binary, dir string) (string, error) {
	if binary != "" {
		return binary, nil
	}
	path := filepath.Join(dir, "frontdesk")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", path, "frontdesk/cmd/frontdesk").CombinedOutput(); err != nil {
		return "", fmt.Errorf("building frontdesk: %w\n%s", err, out)
	}
	return path, nil
}

// Frontdesk writes a configuration into dir and runs it.
func Frontdesk(ctx context.Context, cpu int, binary, dir, config, http string) (*Process, error) {
	path := filepath.Join(dir, "frontdesk.yaml")
	if err := os.WriteFile(path, []byte(config), 0o600); err != nil {
		return nil, err
	}
	p, err := Start(cpu, binary, "serve", "--config", path, "--drain", "1s")
	if err != nil {
		return nil, err
	}
	if err := ready(ctx, "http://"+http+"/readyz"); err != nil {
		return nil, errors.Join(err, errors.New(p.Output()), p.Stop())
	}
	return p, nil
}

// ready waits until url answers 200, ten seconds at most.
func ready(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	for {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		res, err := http.DefaultClient.Do(req)
		if err == nil {
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return nil
			}
		}
		if err := Rest(ctx, 50*time.Millisecond); err != nil {
			return fmt.Errorf("frontdesk is not ready: %w", err)
		}
	}
}

// Rest waits for d, or less where ctx ends, which is the error then.
func Rest(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
