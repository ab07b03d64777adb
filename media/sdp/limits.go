package sdp

import (
	"errors"
	"fmt"
	"net/netip"
	"time"
)

// The limits of a body. Beyond them it is refused unread: what a person's
// telephone sends is far below.
const (
	MaxBody    = 16 << 10 // bytes
	MaxLines   = 300
	MaxStreams = 20
	MaxFormats = 64 // payload types of one stream
)

// Bounds of the packet time; what a peer asks for is moved into them.
const (
	MinPtime     = 10 * time.Millisecond
	MaxPtime     = 60 * time.Millisecond
	DefaultPtime = 20 * time.Millisecond
)

// What may be wrong with a body. ErrSyntax, ErrLimit and ErrAddress are the
// sender's mistakes (SIP 400 or 488); the others mean that there is nothing
// both sides can talk (488).
var (
	ErrSyntax        = errors.New("malformed session description")
	ErrLimit         = errors.New("session description over the limits")
	ErrAddress       = errors.New("address that media is never sent to")
	ErrNoAudio       = errors.New("no usable audio stream")
	ErrNoCommonCodec = errors.New("no common codec")
)

// checkAddr refuses what must never be sent to. The unspecified address is
// fine: it is the old way to say hold (RFC 2543, appendix B.5).
func checkAddr(a netip.Addr) error {
	if a.IsMulticast() || a == netip.AddrFrom4([4]byte{255, 255, 255, 255}) || a.Zone() != "" {
		return fmt.Errorf("%w: %s", ErrAddress, a)
	}
	return nil
}

// clampPtime moves a packet time into the bounds and onto a multiple of 10 ms.
func clampPtime(d time.Duration) time.Duration {
	if d <= 0 {
		return DefaultPtime
	}
	return min(max(d, MinPtime), MaxPtime).Truncate(MinPtime)
}
