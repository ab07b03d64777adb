package store_test

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"frontdesk/store"
	"frontdesk/store/storetest"
)

// childDSN in the environment makes the test binary a node that works jobs
// until it is killed.
const childDSN = "FRONTDESK_STORE_TEST_DSN"

const crashJobs = 24

// child does every third job at once and is at the others for ever. It tells
// on its output what it did and what it began.
func child(dsn string) int {
	ctx := context.Background()
	s, err := store.Open(ctx, dsn, crashOptions("child", slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	s.Handle("crash", func(ctx context.Context, args json.RawMessage) error {
		n, err := strconv.Atoi(string(args))
		if err != nil {
			return err
		}
		if n%3 == 0 {
			fmt.Println("did", n)
			return nil
		}
		fmt.Println("began", n)
		<-ctx.Done()
		select {} // a job that does not even hear that it is over
	})
	if err := s.Run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	return 1
}

// crashOptions shorten what takes minutes: 30 s to the end of a job and 60 s
// until it is taken for dead.
func crashOptions(node string, log *slog.Logger) store.Options {
	o := store.Options{Node: node, Logger: log, Queues: map[string]int{store.DefaultQueue: 6}}
	o.SetTiming(20*time.Second, 21*time.Second)
	if node != "child" {
		o.SetTiming(time.Second, 2*time.Second)
	}
	return o
}

// TestKilled kills a process with jobs in progress: none is lost, and each
// finishes.
func TestKilled(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, dsn string) {
		s, err := store.Open(t.Context(), dsn, crashOptions("parent", quietly(t)))
		must(t, err)
		var owed []store.Job
		for i := range crashJobs {
			owed = append(owed, store.Job{Kind: "crash", Key: strconv.Itoa(i), Args: i})
		}
		must(t, s.Enqueue(t.Context(), owed...))
		must(t, s.Close())

		did := killed(t, dsn)
		t.Logf("the process did %d of %d before it was killed", len(did), crashJobs)
		s = open(t, dsn, crashOptions("parent", quietly(t)))
		if dsn[0] == 'p' { // or wait 15 s until the dead leader's time is over
			must(t, s.Exec(t.Context(), "DELETE FROM river_leader"))
		}
		var mu sync.Mutex
		s.Handle("crash", func(_ context.Context, args json.RawMessage) error {
			mu.Lock()
			defer mu.Unlock()
			did[string(args)]++
			return nil
		})
		running(t, s)
		eventually(t, "all jobs done", func() bool { return count(t, s, "completed") == crashJobs })
		mu.Lock()
		defer mu.Unlock()
		twice := 0
		for i := range crashJobs {
			switch did[strconv.Itoa(i)] {
			case 0:
				t.Errorf("job %d is completed and was never done", i)
			case 1:
			default:
				twice++ // done, and killed before that was written
			}
		}
		t.Logf("%d done twice", twice)
	})
}

// killed runs the child until it is at some jobs, and kills it. It gives what
// the child did.
func killed(t *testing.T, dsn string) map[string]int {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), childDSN+"="+dsn)
	cmd.Stderr = t.Output()
	out, err := cmd.StdoutPipe()
	must(t, err)
	must(t, cmd.Start())
	did, began := map[string]int{}, 0
	for lines := bufio.NewScanner(out); lines.Scan(); {
		var what, n string
		if _, err := fmt.Sscan(lines.Text(), &what, &n); err != nil {
			t.Fatalf("the child says %q: %v", lines.Text(), err)
		}
		if what == "did" {
			did[n]++
			continue
		}
		if began++; began == 4 {
			if dsn[0] == 's' {
				_, err := store.Open(t.Context(), dsn, store.Options{})
				mustHold(t, err, dsn[len("sqlite:"):], "process "+strconv.Itoa(cmd.Process.Pid), "in use by another frontdesk")
			}
			must(t, cmd.Process.Signal(syscall.SIGKILL))
		}
	}
	if err := cmd.Wait(); err == nil || cmd.ProcessState.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
		t.Fatalf("the child ended by itself: %v", err)
	}
	if began < 4 {
		t.Fatalf("killed at %d jobs", began)
	}
	return did
}
