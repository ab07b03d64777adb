package rig

import (
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
	"sync/atomic"
	"time"
	"unsafe"

	"golang.org/x/net/ipv4"
	"golang.org/x/sys/unix"
)

// Media is one UDP socket that is the media of many calls, told apart by the
// port that their packets come from.
type Media struct {
	conn   *net.UDPConn
	packet *ipv4.PacketConn
	addr   netip.AddrPort
	lost   atomic.Uint32 // dropped by the kernel, for want of a reader
}

// Arrival is one RTP packet. Its time is the kernel's.
type Arrival struct {
	At      time.Time
	Port    uint16 // where it came from
	Seq     uint16
	Type    uint8
	Payload []byte // valid during the call only
}

// OpenMedia binds a port of loopback.
func OpenMedia() (*Media, error) {
	conn, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1)})
	if err != nil {
		return nil, err
	}
	raw, err := conn.SyscallConn()
	if err != nil {
		return nil, err
	}
	var failed error
	err = raw.Control(func(fd uintptr) {
		if failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1); failed == nil {
			failed = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RXQ_OVFL, 1)
		}
	})
	if err == nil {
		err = failed
	}
	if err == nil {
		err = conn.SetReadBuffer(4 << 20)
	}
	if err != nil {
		return nil, fmt.Errorf("preparing the media socket: %w", err)
	}
	return &Media{conn: conn, packet: ipv4.NewPacketConn(conn), addr: conn.LocalAddr().(*net.UDPAddr).AddrPort()}, nil
}

// Addr is where calls are to send.
func (m *Media) Addr() netip.AddrPort { return m.addr }

// Overrun is how many packets the kernel dropped since this process did not
// read them in time.
func (m *Media) Overrun() int { return int(m.lost.Load()) }

// Close ends Read.
func (m *Media) Close() error { return m.conn.Close() }

// Read hands every packet to got until the socket is closed.
func (m *Media) Read(got func(Arrival)) {
	const batch = 64
	messages := make([]ipv4.Message, batch)
	for i := range messages {
		messages[i].Buffers = [][]byte{make([]byte, 2048)}
		messages[i].OOB = make([]byte, 128)
	}
	for {
		n, err := m.packet.ReadBatch(messages, 0)
		if err != nil {
			return
		}
		for _, msg := range messages[:n] {
			b := msg.Buffers[0][:msg.N]
			from, ok := msg.Addr.(*net.UDPAddr)
			if !ok || len(b) < 12 {
				continue
			}
			got(Arrival{
				At: m.stamp(msg.OOB[:msg.NN]), Port: uint16(from.Port),
				Seq: binary.BigEndian.Uint16(b[2:]), Type: b[1] & 0x7f, Payload: b[12:],
			})
		}
	}
}

// stamp finds the time of arrival among the control messages, and the count of
// drops.
func (m *Media) stamp(oob []byte) (at time.Time) {
	controls, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return at
	}
	for _, c := range controls {
		switch {
		case c.Header.Type == unix.SO_TIMESTAMPNS && len(c.Data) >= int(unsafe.Sizeof(unix.Timespec{})):
			at = time.Unix(int64(binary.NativeEndian.Uint64(c.Data)), int64(binary.NativeEndian.Uint64(c.Data[8:])))
		case c.Header.Type == unix.SO_RXQ_OVFL && len(c.Data) >= 4:
			m.lost.Store(binary.NativeEndian.Uint32(c.Data))
		}
	}
	return at
}

// At is a port of loopback.
func At(port int) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(port))
}

// Stream is the sending side of one call.
type Stream struct {
	To     netip.AddrPort
	packet [12 + 160]byte
	seq    uint16
	stamp  uint32
}

// NewStream makes a stream of G.711 silence.
func NewStream(to netip.AddrPort, ssrc uint32) *Stream {
	s := &Stream{To: to}
	s.packet[0] = 0x80
	binary.BigEndian.PutUint32(s.packet[8:], ssrc)
	for i := range s.packet[12:] {
		s.packet[12+i] = 0xd5
	}
	return s
}

// Send sends the next 20 ms; the payload begins with the time of sending.
func (s *Stream) Send(m *Media) {
	s.packet[1] = 8
	binary.BigEndian.PutUint16(s.packet[2:], s.seq)
	binary.BigEndian.PutUint32(s.packet[4:], s.stamp)
	binary.BigEndian.PutUint64(s.packet[12:], uint64(time.Now().UnixNano()))
	_, _ = m.conn.WriteToUDPAddrPort(s.packet[:], s.To) // what is lost is missing at the other end
	s.seq++
	s.stamp += 160
}

// SentAt reads the time that Send wrote; false for other payloads.
func SentAt(payload []byte) (time.Time, bool) {
	if len(payload) < 8 {
		return time.Time{}, false
	}
	return time.Unix(0, int64(binary.BigEndian.Uint64(payload))), true
}

// Press sends one key as telephone-event, from its first packet to its last,
// at once: three packets and three ends (RFC 4733 section 2.5.1).
func (s *Stream) Press(m *Media, event byte) {
	b := append([]byte(nil), s.packet[:16]...)
	for i := range 6 {
		b[1] = 101
		if i == 0 {
			b[1] |= 0x80
		}
		binary.BigEndian.PutUint16(b[2:], s.seq)
		binary.BigEndian.PutUint32(b[4:], s.stamp)
		b[12], b[13] = event, 10
		if i >= 3 {
			b[13] |= 0x80
		}
		binary.BigEndian.PutUint16(b[14:], uint16(160*(min(i, 3)+1)))
		_, _ = m.conn.WriteToUDPAddrPort(b, s.To) // as above
		s.seq++
	}
	s.stamp += 960
}
