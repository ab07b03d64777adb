package media

import (
	"context"
	"errors"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"frontdesk/media/sdp"
)

// tape is a conn that notes what it was given, and when. stall, if set, is
// how long the sending of a packet takes.
type tape struct {
	packets []taped
	stall   func(n int) time.Duration
}

type taped struct {
	packet
	at time.Time
}

func (t *tape) send(b []byte) error {
	p, ok := parsePacket(append([]byte(nil), b...))
	if !ok {
		return errors.New("not RTP")
	}
	t.packets = append(t.packets, taped{p, time.Now()})
	if t.stall != nil {
		<-time.After(t.stall(len(t.packets)))
	}
	return nil
}

// bubble runs a pacer in fake time.
func bubble(t *testing.T, test func(t *testing.T, p *pacer)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPacer(&counters{})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { p.run(ctx); close(done) }()
		test(t, p)
		cancel()
		<-done
	})
}

func stream(p *pacer, out conn, ptime time.Duration) *sender {
	s := newSender(p, out)
	peer := sdp.Media{Codec: sdp.PCMA, Payload: 8, TelephoneEvent: 101, Ptime: ptime}
	peer.Addr = loopbackPeer
	s.configure(peer)
	return s
}

func play(t *testing.T, s *sender, d time.Duration) chan error {
	t.Helper()
	done, err := s.start(NewClip(Tone(440, d)))
	if err != nil {
		t.Fatal(err)
	}
	return done
}

func TestPacerKeepsTheSchedule(t *testing.T) {
	for ptime := 10 * time.Millisecond; ptime <= 60*time.Millisecond; ptime += 10 * time.Millisecond {
		t.Run(ptime.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T, p *pacer) {
				out := &tape{}
				s := stream(p, out, ptime)
				<-play(t, s, 3*time.Second)
				if want := int((3*time.Second + ptime - 1) / ptime); len(out.packets) != want {
					t.Fatalf("%d packets, want %d", len(out.packets), want)
				}
				for i, q := range out.packets {
					first := out.packets[0]
					if d := q.at.Sub(first.at); d != time.Duration(i)*ptime {
						t.Fatalf("packet %d at %v", i, d)
					}
					if q.timestamp-first.timestamp != uint32(i*samples(ptime)) || q.seq-first.seq != uint16(i) || len(q.body) != samples(ptime) {
						t.Fatalf("packet %d: %+v", i, q)
					}
				}
			})
		})
	}
}

func TestPacerSpreadsStreams(t *testing.T) {
	bubble(t, func(t *testing.T, p *pacer) {
		tapes := make([]*tape, 40)
		var last chan error
		for i := range tapes {
			tapes[i] = &tape{}
			last = play(t, stream(p, tapes[i], 20*time.Millisecond), time.Second)
		}
		<-last
		<-time.After(60 * time.Millisecond)
		slots := map[time.Duration]int{}
		for _, out := range tapes {
			if len(out.packets) != 50 {
				t.Fatalf("%d packets", len(out.packets))
			}
			slots[out.packets[0].at.Sub(p.epoch)%(20*time.Millisecond)]++
		}
		for slot, n := range slots {
			if n != 10 {
				t.Errorf("%d streams in slot %v", n, slot)
			}
		}
		if _, busy := p.pending(); busy || len(slots) != spread {
			t.Errorf("streams left: %v; %d slots", busy, len(slots))
		}
	})
}

// TestPacerCatchesUp holds the pacer up for 30 ms: the frame missed is sent at
// once, nothing is lost, and the schedule stays.
func TestPacerCatchesUp(t *testing.T) {
	bubble(t, func(t *testing.T, p *pacer) {
		out := &tape{stall: func(n int) time.Duration {
			if n == 10 {
				return 35 * time.Millisecond
			}
			return 0
		}}
		<-play(t, stream(p, out, 20*time.Millisecond), time.Second)
		if len(out.packets) != 50 || p.count.skipped.Load() != 0 || p.count.late.Load() != 1 {
			t.Fatalf("%d packets, %d skipped, %d late", len(out.packets), p.count.skipped.Load(), p.count.late.Load())
		}
		first, end := out.packets[0], out.packets[49]
		if d := end.at.Sub(first.at); d != 49*20*time.Millisecond || end.timestamp-first.timestamp != 49*160 {
			t.Errorf("the end is at %v, timestamp %d", d, end.timestamp-first.timestamp)
		}
	})
}

// TestPacerSkips holds it up for 300 ms: the frames of that time are left out
// and the timestamp tells so.
func TestPacerSkips(t *testing.T) {
	for _, ptime := range []time.Duration{20 * time.Millisecond, 30 * time.Millisecond, 50 * time.Millisecond} {
		t.Run(ptime.String(), func(t *testing.T) {
			bubble(t, func(t *testing.T, p *pacer) {
				out := &tape{stall: func(n int) time.Duration {
					if n == 10 {
						return 300 * time.Millisecond
					}
					return 0
				}}
				other := &tape{}
				more := play(t, stream(p, other, 20*time.Millisecond), 3*time.Second)
				<-play(t, stream(p, out, ptime), 3*time.Second)
				<-more
				if p.count.skipped.Load() == 0 {
					t.Error("nothing skipped")
				}
				for _, tp := range []*tape{out, other} {
					first := tp.packets[0]
					for i, q := range tp.packets {
						behind := q.at.Sub(first.at) - time.Duration(q.timestamp-first.timestamp)*time.Second/sampleRate
						// Sent at its time, but for those caught up.
						if behind < 0 || behind > 300*time.Millisecond || i > 30 && behind != 0 {
							t.Fatalf("packet %d is %v behind its timestamp", i, behind)
						}
						if q.seq-first.seq != uint16(i) {
							t.Fatalf("packet %d has sequence %d", i, q.seq-first.seq)
						}
					}
				}
			})
		})
	}
}

func TestPlayAfterPauseMovesTheTimestamp(t *testing.T) {
	bubble(t, func(t *testing.T, p *pacer) {
		out := &tape{}
		s := stream(p, out, 20*time.Millisecond)
		<-play(t, s, 20*time.Millisecond)
		<-play(t, s, 20*time.Millisecond) // at once: no gap
		<-time.After(5 * time.Second)
		<-play(t, s, 20*time.Millisecond)
		a, b, c := out.packets[0], out.packets[1], out.packets[2]
		if b.timestamp-a.timestamp != 160 || b.marker || b.at.Sub(a.at) != 20*time.Millisecond {
			t.Errorf("the second clip: %+v after %v", b, b.at.Sub(a.at))
		}
		if want := uint32(samples(c.at.Sub(b.at))); c.timestamp-b.timestamp != want || !c.marker || c.seq != b.seq+1 {
			t.Errorf("after the pause: %+v, want %d samples on", c, want)
		}
		if !a.marker || a.ssrc != c.ssrc {
			t.Error("one stream, marked at its begin")
		}
	})
}

func TestCodecChangesWhilePlaying(t *testing.T) {
	bubble(t, func(t *testing.T, p *pacer) {
		out := &tape{}
		s := stream(p, out, 20*time.Millisecond)
		done := play(t, s, time.Second)
		<-time.After(500 * time.Millisecond)
		s.configure(sdp.Media{Addr: loopbackPeer, Codec: sdp.PCMU, Payload: 0, Ptime: 40 * time.Millisecond})
		<-done
		law := map[uint8]sdp.Codec{8: sdp.PCMA, 0: sdp.PCMU}
		var pcm []int16
		for _, q := range out.packets {
			pcm = Decode(pcm, law[q.payload], q.body)
		}
		if share := Dominant(pcm[:8000], 440); share < 0.98 || out.packets[len(out.packets)-1].payload != 0 {
			t.Errorf("440 Hz has %.3f", share)
		}
	})
}

func TestKeyPackets(t *testing.T) {
	bubble(t, func(t *testing.T, p *pacer) {
		out := &tape{}
		s := stream(p, out, 20*time.Millisecond)
		clip := play(t, s, 60*time.Millisecond)
		done, err := s.press(11, 100*time.Millisecond)
		if err != nil {
			t.Fatal(err)
		}
		<-done
		<-clip // it waits for the key
		if len(out.packets) != 7+3 {
			t.Fatalf("%d packets", len(out.packets))
		}
		for i, q := range out.packets[:7] {
			duration := int(q.body[2])<<8 | int(q.body[3])
			if q.payload != 101 || q.body[0] != 11 || q.timestamp != out.packets[0].timestamp || q.marker != (i == 0) ||
				duration != min(i+1, 5)*160 || (q.body[1]&0x80 != 0) != (i >= 4) {
				t.Errorf("packet %d: %+v", i, q)
			}
		}
		if after := out.packets[7]; after.timestamp-out.packets[0].timestamp != 7*160 || after.payload != 8 {
			t.Errorf("audio after the key: %+v", after)
		}
	})
}

func TestClipEnds(t *testing.T) {
	t.Parallel()
	c := NewClip([]int16{math.MinInt16, math.MaxInt16, 0})
	for _, codec := range []sdp.Codec{sdp.PCMA, sdp.PCMU} {
		pcm := Decode(nil, codec, c.encoded(codec))
		if len(pcm) != 3+maxFrame || pcm[0] > -30000 || pcm[1] < 30000 || pcm[2] > 16 {
			t.Errorf("%s: %v", codec, pcm[:3])
		}
		if first, again := c.encoded(codec), c.encoded(codec); &first[0] != &again[0] {
			t.Errorf("%s is encoded twice", codec)
		}
	}
	if c.encoded("G722/8000") != nil || Decode(nil, "G722/8000", []byte{1}) != nil {
		t.Error("G722 is no codec of ours")
	}
}
