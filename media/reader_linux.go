package media

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// maxDatagram is more than any RTP packet has; a longer one is cut and then
// most likely refused as junk.
const maxDatagram = 2048

// reader takes what arrives on all sockets of a shard. It keeps its own epoll
// set, which in turn is watched by Go's poller: one goroutine and one buffer
// serve every leg, and no thread is parked in a system call.
type reader struct {
	set *os.File
	raw syscall.RawConn

	mu     sync.Mutex
	closed bool
	by     map[int32]*receiver
	ready  []*receiver // of one round; the reader's own
}

func newReader() (*reader, error) {
	fd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("making an epoll set: %w", err)
	}
	if err := unix.SetNonblock(fd, true); err != nil {
		return nil, errors.Join(fmt.Errorf("making an epoll set: %w", err), unix.Close(fd))
	}
	set := os.NewFile(uintptr(fd), "epoll")
	raw, err := set.SyscallConn()
	if err != nil {
		return nil, errors.Join(fmt.Errorf("making an epoll set: %w", err), set.Close())
	}
	return &reader{set: set, raw: raw, by: map[int32]*receiver{}}, nil
}

// add watches a receiver's socket.
func (d *reader) add(r *receiver, fd int) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.control(unix.EPOLL_CTL_ADD, fd, func() { d.by[int32(fd)] = r })
}

// remove ends that; the socket is still open.
func (d *reader) remove(fd int) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.control(unix.EPOLL_CTL_DEL, fd, func() { delete(d.by, int32(fd)) })
}

func (d *reader) control(op, fd int, then func()) error {
	if d.closed {
		return ErrClosed
	}
	var failed error
	err := d.raw.Control(func(set uintptr) {
		failed = unix.EpollCtl(int(set), op, fd, &unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(fd)})
	})
	if err := errors.Join(err, failed); err != nil {
		return fmt.Errorf("watching a socket: %w", err)
	}
	then()
	return nil
}

// close ends the set, and with it the sockets' being watched. It can only fail
// by being closed already.
func (d *reader) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.closed = true
	_ = d.set.Close()
}

// run reads until ctx ends; then the set is closed.
func (d *reader) run(ctx context.Context) error {
	defer d.close()
	defer context.AfterFunc(ctx, d.close)()
	var (
		events [128]unix.EpollEvent
		buffer = make([]byte, maxDatagram)
		n      int
		failed error
	)
	poll := func(set uintptr) bool {
		n, failed = unix.EpollWait(int(set), events[:], 0)
		return n != 0
	}
	for {
		if err := d.raw.Read(poll); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("reading media: %w", err)
		}
		if failed != nil && failed != unix.EINTR {
			return fmt.Errorf("reading media: %w", failed)
		}
		now := time.Now()
		for _, r := range d.resolve(events[:max(n, 0)]) {
			r.read(buffer, now)
		}
	}
}

// resolve finds the receivers of a round of events.
func (d *reader) resolve(events []unix.EpollEvent) []*receiver {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ready = d.ready[:0]
	for i := range events {
		if r := d.by[events[i].Fd]; r != nil {
			d.ready = append(d.ready, r)
		}
	}
	return d.ready
}
