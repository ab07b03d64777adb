package media

import "golang.org/x/net/bpf"

// Offsets seen by a filter on a UDP socket, which begins at the UDP header.
const (
	offFlags   = 8  // version, padding, extension, sources
	offPayload = 9  // marker and payload type
	offSeqLow  = 11 // low byte of the sequence number
)

// passAll is the verdict that keeps the whole datagram.
const passAll = 0xffff

// digitsOnly is the filter of a leg that is only listened to for digits: it
// passes RTP of the telephone-event payload type, and one packet in 64 so
// that a peer that has gone silent is noticed. Shorter packets are dropped.
func digitsOnly(event uint8) []bpf.Instruction {
	return []bpf.Instruction{
		bpf.LoadAbsolute{Off: offFlags, Size: 1},
		bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: 0xc0},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: 0x80, SkipTrue: 7},
		bpf.LoadAbsolute{Off: offPayload, Size: 1},
		bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: 0x7f},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: uint32(event), SkipTrue: 3},
		bpf.LoadAbsolute{Off: offSeqLow, Size: 1},
		bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: 63},
		bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: 0, SkipTrue: 1},
		bpf.RetConstant{Val: passAll},
		bpf.RetConstant{Val: 0},
	}
}

// nothing drops all that comes: the filter of a socket whose peer is not
// known yet, or is just changing.
func nothing() []bpf.Instruction {
	return []bpf.Instruction{bpf.RetConstant{Val: 0}}
}
