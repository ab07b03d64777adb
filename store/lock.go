package store

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"syscall"
)

// lock is a lock file beside a SQLite file. The lock is the kernel's and ends
// with the process; the text in it, the process's id, is for people, and says
// after a crash that there was one.
type lock struct {
	f       *os.File
	crashed bool // Close leaves the text, as a crash does
}

// lockFile takes the lock of file. crashed reports that its last owner did not
// give it back.
func lockFile(file string) (l *lock, crashed bool, err error) {
	f, err := os.OpenFile(file+".lock", os.O_CREATE|os.O_RDWR, filesMode)
	if err != nil {
		return nil, false, err
	}
	text, err := io.ReadAll(io.LimitReader(f, 32))
	if err != nil {
		return nil, false, errors.Join(err, f.Close())
	}
	owner := strings.TrimSpace(string(text))
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = fmt.Errorf("%s is %w (process %s, lock %s): end it, or give this one another file", file, ErrInUse, orUnknown(owner), f.Name())
		} else {
			err = fmt.Errorf("lock %s: %w", f.Name(), err)
		}
		return nil, false, errors.Join(err, f.Close())
	}
	l = &lock{f: f}
	if err := l.write(strconv.Itoa(os.Getpid()) + "\n"); err != nil {
		return nil, false, errors.Join(fmt.Errorf("lock %s: %w", f.Name(), err), f.Close())
	}
	return l, owner != "", nil
}

func orUnknown(owner string) string {
	if owner == "" {
		return "unknown"
	}
	return owner
}

func (l *lock) write(text string) error {
	if err := l.f.Truncate(0); err != nil {
		return err
	}
	_, err := l.f.WriteAt([]byte(text), 0)
	return err
}

// Close gives the lock back. The file stays: removing it would let two
// processes lock two files of one name.
func (l *lock) Close() error {
	if l.crashed {
		return l.f.Close()
	}
	return errors.Join(l.write(""), l.f.Close())
}
