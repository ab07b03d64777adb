package media

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

func TestPortsRest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p, err := newPorts(PortRange{First: 20000, Last: 20003}, 5*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		fine := func(uint16) error { return nil }
		a, errA := p.take(fine)
		b, errB := p.take(fine)
		if err := errors.Join(errA, errB); err != nil || a == b {
			t.Fatal(a, b, err)
		}
		p.put(a)
		<-time.After(4 * time.Second)
		if port, err := p.take(fine); !errors.Is(err, ErrNoPorts) {
			t.Errorf("%d after 4 s: %v", port, err)
		}
		p.put(b)
		<-time.After(time.Second)
		if port, err := p.take(fine); err != nil || port != a {
			t.Errorf("%d, %v, want %d", port, err, a)
		}
		if n := p.inUse(); n != 1 {
			t.Errorf("%d in use", n)
		}
	})
}

// TestPortsOfOthers: a port that another program holds is passed over; any
// other failure is told.
func TestPortsOfOthers(t *testing.T) {
	t.Parallel()
	p, err := newPorts(PortRange{First: 20000, Last: 20007}, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	held := p.free[0].port
	port, err := p.take(func(port uint16) error {
		if port == held {
			return unix.EADDRINUSE
		}
		return nil
	})
	if err != nil || port == held {
		t.Errorf("%d, %v", port, err)
	}
	if _, err := p.take(func(uint16) error { return unix.EADDRINUSE }); !errors.Is(err, ErrNoPorts) {
		t.Error(err)
	}
	p.free = append(p.free, freePort{port: 20008})
	if _, err := p.take(func(uint16) error { return unix.EMFILE }); p.inUse() != 1 {
		t.Error(err, p.inUse())
	}
}

// TestDigitsOnly runs the filter in the package's own machine.
func TestDigitsOnly(t *testing.T) {
	t.Parallel()
	vm, err := bpf.NewVM(digitsOnly(101))
	if err != nil {
		t.Fatal(err)
	}
	packet := func(flags, payload, seqLow byte, size int) []byte {
		b := make([]byte, 8+size)
		copy(b[8:], []byte{flags, payload, 0, seqLow})
		return b
	}
	tests := []struct {
		name string
		in   []byte
		pass bool
	}{
		{"event", packet(0x80, 101, 7, 16), true},
		{"event with marker", packet(0x80, 101|0x80, 7, 16), true},
		{"audio", packet(0x80, 8, 7, 172), false},
		{"every 64th", packet(0x80, 8, 64, 172), true},
		{"STUN", packet(0x00, 101, 0, 20), false},
		{"DTLS", packet(22, 0xfe, 0, 60), false},
		{"empty", packet(0, 0, 0, 0)[:8], false},
		{"one byte", packet(0x80, 0, 0, 4)[:9], false},
	}
	for _, tt := range tests {
		if n, err := vm.Run(tt.in); err != nil || (n > 0) != tt.pass {
			t.Errorf("%s: %d, %v", tt.name, n, err)
		}
	}
}
