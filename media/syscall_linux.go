package media

import (
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"
)

// write is write(2) without telling the scheduler: the descriptor never
// blocks, so there is nothing to hand the processor over for.
func write(fd int, b []byte) error {
	if _, _, errno := syscall.RawSyscall(unix.SYS_WRITE, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b))); errno != 0 {
		return errno
	}
	return nil
}

// read is read(2) in the same way.
func read(fd int, b []byte) (int, error) {
	n, _, errno := syscall.RawSyscall(unix.SYS_READ, uintptr(fd), uintptr(unsafe.Pointer(unsafe.SliceData(b))), uintptr(len(b)))
	if errno != 0 {
		return 0, errno
	}
	return int(n), nil
}

// disconnect is connect(2) to no address, which x/sys cannot express.
func disconnect(fd int, unspecified *unix.RawSockaddr) error {
	if _, _, errno := syscall.RawSyscall(unix.SYS_CONNECT, uintptr(fd), uintptr(unsafe.Pointer(unspecified)), unsafe.Sizeof(*unspecified)); errno != 0 {
		return errno
	}
	return nil
}
