package storetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"frontdesk/needs"
)

// ErrMissing says that PostgreSQL is not installed.
var ErrMissing = errors.New("PostgreSQL is not installed: on Debian, apt-get install postgresql (or scripts/tools.sh)")

const startLimit = 60 * time.Second // initdb and start, on a busy machine

// shared is the server of the test process, started when the first test wants
// it.
var shared = sync.OnceValues(start)

// OnBoth runs one test on SQLite and on PostgreSQL, each time with the address
// of a fresh, empty database.
func OnBoth(t *testing.T, f func(t *testing.T, dsn string)) {
	t.Helper()
	t.Parallel()
	t.Run("sqlite", func(t *testing.T) {
		t.Parallel()
		f(t, SQLite(t))
	})
	t.Run("postgres", func(t *testing.T) {
		t.Parallel()
		f(t, Postgres(t))
	})
}

// SQLite is the address of a fresh database in a file that ends with the test.
func SQLite(t testing.TB) string { return "sqlite:" + filepath.Join(t.TempDir(), "frontdesk.db") }

// Postgres is the address of a fresh, empty database on a server that all
// tests of the process share. Without PostgreSQL the test is skipped; in CI it
// fails. Short runs leave it out: they come before each commit.
func Postgres(t testing.TB) string {
	t.Helper()
	if testing.Short() {
		t.Skip("PostgreSQL is left to the long run")
	}
	s, err := shared()
	need(t, err)
	return s.Database(t)
}

// Start starts a server of the test's own, which it may stop.
func Start(t testing.TB) *Server {
	t.Helper()
	s, err := start()
	need(t, err)
	t.Cleanup(func() {
		if err := s.end(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func need(t testing.TB, err error) {
	t.Helper()
	switch {
	case errors.Is(err, ErrMissing):
		needs.Missing(t, err.Error())
	case err != nil:
		t.Fatal(err)
	}
}

// Server is a PostgreSQL server.
type Server struct {
	bin, dir string
	port     int
	owner    *syscall.Credential // postgres refuses to run as root
	names    atomic.Int64

	mu      sync.Mutex
	guard   *exec.Cmd // a shell that ends the server when its input ends
	running io.WriteCloser
}

// start makes a cluster and starts it.
func start() (*Server, error) {
	bin, err := binaries()
	if err != nil {
		return nil, err
	}
	s := &Server{bin: bin}
	if s.dir, err = os.MkdirTemp("", "frontdesk-postgres-"); err != nil {
		return nil, err
	}
	if err := s.prepare(); err != nil {
		return nil, errors.Join(fmt.Errorf("prepare PostgreSQL: %w", err), os.RemoveAll(s.dir))
	}
	for range 3 { // another process may take the port in between
		if s.port, err = freePort(); err != nil {
			break
		}
		if err = s.Resume(); err == nil {
			return s, nil
		}
	}
	return nil, errors.Join(fmt.Errorf("start PostgreSQL: %w", err), os.RemoveAll(s.dir))
}

// binaries is the folder of the newest PostgreSQL here.
func binaries() (string, error) {
	if path, err := exec.LookPath("initdb"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil { // the others need not be on the path
			return filepath.Dir(path), nil
		}
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil || len(found) == 0 {
		return "", ErrMissing
	}
	version := func(path string) int {
		n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path)))) // 0 for what is no version
		return n
	}
	return filepath.Dir(slices.MaxFunc(found, func(a, b string) int { return version(a) - version(b) })), nil
}

func (s *Server) prepare() error {
	if os.Getuid() == 0 {
		if err := s.disown(); err != nil {
			return err
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	return s.run(ctx, "initdb", "-D", s.data(), "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync")
}

// disown gives the folder to a user who may run PostgreSQL.
func (s *Server) disown() error {
	u, err := user.Lookup("postgres")
	if err != nil {
		if u, err = user.Lookup("nobody"); err != nil {
			return err
		}
	}
	uid, err := strconv.ParseUint(u.Uid, 10, 32)
	if err != nil {
		return err
	}
	gid, err := strconv.ParseUint(u.Gid, 10, 32)
	if err != nil {
		return err
	}
	s.owner = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return os.Chown(s.dir, int(uid), int(gid))
}

func (s *Server) data() string { return filepath.Join(s.dir, "data") }

// run runs one of PostgreSQL's programs to its end.
func (s *Server) run(ctx context.Context, program string, args ...string) error {
	cmd := exec.CommandContext(ctx, filepath.Join(s.bin, program), args...)
	cmd.Dir = s.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.owner}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", program, err, bytes.TrimSpace(out))
	}
	return nil
}

func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	return l.Addr().(*net.TCPAddr).Port, l.Close()
}

// Resume starts a server that was stopped, on the port it had.
func (s *Server) Resume() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	// The shell ends the server at once (SIGQUIT) when the pipe is closed,
	// which the kernel does at the end of the test process, and cleans up
	// unless it was told otherwise.
	const script = `"$0" "$@" >>log 2>&1 & said=$(cat); kill -QUIT $!; wait $!; [ "$said" = keep ] || rm -rf "$PWD"; exit 0`
	cmd := exec.Command("/bin/sh", "-c", script, filepath.Join(s.bin, "postgres"), "-D", s.data(), "-h", "127.0.0.1", "-p", strconv.Itoa(s.port),
		"-c", "unix_socket_directories=", "-c", "fsync=off", "-c", "max_connections=60", "-c", "shared_buffers=16MB")
	cmd.Dir = s.dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.owner}
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	s.guard, s.running = cmd, in
	ctx, cancel := context.WithTimeout(context.Background(), startLimit)
	defer cancel()
	if err := s.answers(ctx); err != nil {
		log, _ := os.ReadFile(filepath.Join(s.dir, "log")) // best effort, for the message
		return errors.Join(fmt.Errorf("%w\n%s", err, log), s.stop("keep"))
	}
	return nil
}

// answers waits until the server takes connections.
func (s *Server) answers(ctx context.Context) error {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		err := s.run(ctx, "pg_isready", "-q", "-h", "127.0.0.1", "-p", strconv.Itoa(s.port), "-U", "postgres")
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-tick.C:
		}
	}
}

// Stop ends the server at once, as a crash does. Resume starts it again.
func (s *Server) Stop() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.stop("keep")
}

func (s *Server) stop(say string) error {
	if s.guard == nil {
		return nil
	}
	_, err := io.WriteString(s.running, say)
	err = errors.Join(err, s.running.Close(), s.guard.Wait())
	s.guard = nil
	return err
}

// end stops the server and removes its folder.
func (s *Server) end() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return errors.Join(s.stop(""), os.RemoveAll(s.dir))
}

// Database makes an empty database and gives its address.
func (s *Server) Database(t testing.TB) string {
	t.Helper()
	name := "t" + strconv.FormatInt(s.names.Add(1), 10)
	if err := s.run(t.Context(), "createdb", "-h", "127.0.0.1", "-p", strconv.Itoa(s.port), "-U", "postgres", name); err != nil {
		t.Fatal(err)
	}
	return s.DSN(name)
}

// DSN is the address of a database on the server.
func (s *Server) DSN(name string) string {
	return strings.Join([]string{"postgres://postgres@127.0.0.1:", strconv.Itoa(s.port), "/", name, "?sslmode=disable"}, "")
}
