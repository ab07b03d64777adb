package media

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"frontdesk/media/sdp"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// said is a packet of a leg: when it arrived, and which frame of the clip
// it carries.
type said struct {
	after time.Duration
	ssrc  uint32
	frame int // its timestamp is 160 times that
	level int16
}

// batchOf makes a batch of what was said, each packet a frame of one level.
func batchOf(heard ...said) batch {
	t := &track{}
	for _, s := range heard {
		payload := bytes.Repeat([]byte{NewClip([]int16{s.level}).encoded(sdp.PCMA)[0]}, 160)
		t.take(packet{ssrc: s.ssrc, timestamp: uint32(s.frame) * 160, body: payload}, sdp.PCMA, noon.Add(s.after))
	}
	return t.drain(batch{})
}

// mixed writes batches, all there is until end, and returns the two channels,
// one value for each frame of 20 ms.
func mixed(t *testing.T, end time.Duration, batches ...[2]batch) (m *mixdown, left, right []int16) {
	t.Helper()
	var out bytes.Buffer
	m = &mixdown{w: &out, start: noon}
	for _, b := range batches {
		if err := m.merge(b[0], b[1]); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.flush(m.frames(noon.Add(end))); err != nil {
		t.Fatal(err)
	}
	for b := out.Bytes(); len(b) > 0; b = b[160*frameBytes:] {
		left = append(left, int16(binary.LittleEndian.Uint16(b[80*frameBytes:])))
		right = append(right, int16(binary.LittleEndian.Uint16(b[80*frameBytes+2:])))
	}
	return m, left, right
}

// A and B are levels that A-law keeps as they are.
const levelA, levelB = 1008, -2016

func TestMixdownPlacesByTimestamp(t *testing.T) {
	t.Parallel()
	ms := time.Millisecond
	a := func(after time.Duration, frame int) said { return said{after, 1, frame, levelA} }
	b := func(after time.Duration, frame int) said { return said{after, 2, frame, levelB} }
	for name, c := range map[string]struct {
		left, right []said
		wantL       []int16
		wantR       []int16
		late        int
	}{
		"one speaks, the other is silent": {
			left:  []said{a(0, 0), a(20*ms, 1), a(40*ms, 2)},
			wantL: []int16{levelA, levelA, levelA, 0, 0},
		},
		"a gap is silence, and what follows is in its place": {
			left:  []said{a(0, 0), a(60*ms, 3)},
			wantL: []int16{levelA, 0, 0, levelA, 0},
		},
		"out of order and jittered": {
			left:  []said{a(0, 0), a(45*ms, 2), a(46*ms, 1), a(61*ms, 3)},
			wantL: []int16{levelA, levelA, levelA, levelA, 0},
		},
		"the second to speak begins where it arrives": {
			left:  []said{a(0, 0)},
			right: []said{b(40*ms, 7000), b(60*ms, 7001)},
			wantL: []int16{levelA, 0, 0, 0, 0},
			wantR: []int16{0, 0, levelB, levelB, 0},
		},
		"another source begins anew": {
			left:  []said{a(0, 0), {60 * ms, 9, 123456, levelB}},
			wantL: []int16{levelA, 0, 0, levelB, 0},
		},
		"a clock that jumps begins anew": {
			left:  []said{a(0, 0), a(40*ms, 1000000)},
			wantL: []int16{levelA, 0, levelA, 0, 0},
		},
		"before the start is too late": {
			left: []said{a(0, 10), a(5*ms, 9)}, wantL: []int16{levelA, 0, 0, 0, 0}, late: 160,
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m, left, right := mixed(t, 100*ms, [2]batch{batchOf(c.left...), batchOf(c.right...)})
			if c.wantR == nil {
				c.wantR = make([]int16, 5)
			}
			if !slices.Equal(left, c.wantL) || !slices.Equal(right, c.wantR) || m.late != c.late {
				t.Errorf("left %v, right %v, late %d\nwant %v, %v, %d", left, right, m.late, c.wantL, c.wantR, c.late)
			}
		})
	}
}

// TestMixdownStall: a writer that had no time for seconds loses nothing of what
// the tracks kept, and both channels stay in step.
func TestMixdownStall(t *testing.T) {
	t.Parallel()
	var left, right []said
	const frames = 390
	for i := range frames {
		at := time.Duration(i) * 20 * time.Millisecond
		left = append(left, said{at, 1, i, int16(levelA)})
		if i%2 == 0 {
			right = append(right, said{at + 3*time.Millisecond, 2, 500 + i, levelB})
		}
	}
	m, l, r := mixed(t, frames*20*time.Millisecond, [2]batch{batchOf(left...), batchOf(right...)})
	for i := range frames {
		if want := []int16{0, levelB}[1-i%2]; l[i] != levelA || r[i] != want {
			t.Fatalf("frame %d is %d and %d, want %d and %d", i, l[i], r[i], levelA, want)
		}
	}
	if len(l) != frames || m.late != 0 {
		t.Errorf("%d frames, %d samples late", len(l), m.late)
	}
}

func TestTrackIsBounded(t *testing.T) {
	t.Parallel()
	tr := &track{}
	for range trackLimit + 7 {
		tr.take(packet{body: make([]byte, 160)}, sdp.PCMU, noon)
	}
	if b := tr.drain(batch{}); len(b.packets) != trackLimit || tr.missed() != 7 {
		t.Errorf("%d kept, %d missed", len(b.packets), tr.missed())
	}
}

// TestMixdownAnything: whatever numbers a peer sends, what is written is as
// long as the call, and nothing panics.
func TestMixdownAnything(t *testing.T) {
	t.Parallel()
	for seed := range uint64(30) {
		g := rand.New(rand.NewPCG(seed, 0))
		var both [2][]said
		for i := range both {
			at := time.Duration(0)
			for range g.IntN(60) {
				at += time.Duration(g.IntN(150)) * time.Millisecond
				both[i] = append(both[i], said{at, g.Uint32N(2), int(g.Uint32() >> g.UintN(32)), levelA})
			}
		}
		_, left, _ := mixed(t, 9*time.Second, [2]batch{batchOf(both[0]...), batchOf(both[1]...)})
		if len(left) < 9*50 || len(left) > 10*50 {
			t.Fatalf("seed %d: %d frames for 9 s", seed, len(left))
		}
	}
}

type full struct{}

func (full) Write([]byte) (int, error) { return 0, errors.New("no space left on device") }

func TestMixdownTellsOfAFullDisk(t *testing.T) {
	t.Parallel()
	m := &mixdown{w: full{}, start: noon}
	if err := m.flush(1); err == nil {
		t.Error("nothing was said of the disk")
	}
}

// counter counts what is written.
type counter struct{ n int64 }

func (c *counter) Write(b []byte) (int, error) {
	c.n += int64(len(b))
	return len(b), nil
}

// TestTwoHours records two sides for two hours, whose clocks are a little fast
// and slow, and one of which is silent for a while: the audio lasts as long,
// nothing is lost, and memory does not grow. It is not parallel, to measure that.
func TestTwoHours(t *testing.T) {
	const frame = 20 * time.Millisecond
	length := 2 * time.Hour
	if testing.Short() {
		length = 20 * time.Minute
	}
	synctest.Test(t, func(t *testing.T) {
		var out counter
		m := &mixdown{w: &out, start: time.Now()}
		tracks := [2]*track{{}, {}}
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- m.follow(ctx, tracks) }()

		began, early := time.Now(), uint64(0)
		body := bytes.Repeat([]byte{0x55}, 160)
		for i := 0; time.Since(began) < length; i++ {
			now := time.Now()
			quick := packet{ssrc: 1, timestamp: uint32(i) * 160, body: body}
			tracks[0].take(quick, sdp.PCMA, now)
			if slow := i - i/20_000; i%(30*50*60) > 50*60 && i%20_000 != 0 { // 50 ppm; a minute of silence each half an hour
				tracks[1].take(packet{ssrc: 2, timestamp: uint32(slow) * 160, body: body}, sdp.PCMU, now)
			}
			if time.Sleep(frame); i == 10*60*50 {
				early = heap()
			}
		}
		grown := int64(heap()) - int64(early)
		cancel()
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		if want := int64(length/time.Second) * sampleRate * frameBytes; out.n < want || out.n > want+sampleRate*frameBytes/50 {
			t.Errorf("%d bytes were written, want %d", out.n, want)
		}
		if lost := tracks[0].missed() + tracks[1].missed(); lost != 0 || m.late != 0 {
			t.Errorf("%d packets and %d samples are lost", lost, m.late)
		}
		if grown > 256<<10 {
			t.Errorf("after %v %d bytes more are in use than after ten minutes", length, grown)
		}
		t.Logf("%d MB written, memory grown by %d bytes since the tenth minute", out.n/1e6, grown)
	})
}

// heap is the memory that is in use.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func BenchmarkRecord(b *testing.B) {
	tr := &track{}
	p := packet{body: make([]byte, 160)}
	m := &mixdown{w: discard{}, start: noon}
	var spare batch
	i := 0
	b.ReportAllocs()
	for b.Loop() { // one packet of one leg, with its share of the writing
		p.timestamp += 160
		now := noon.Add(time.Duration(i) * 20 * time.Millisecond)
		tr.take(p, sdp.PCMA, now)
		if i++; i%25 == 0 {
			spare = tr.drain(spare)
			if err := m.merge(spare, batch{}); err != nil {
				b.Fatal(err)
			}
			if err := m.flush(m.frames(now) - drift); err != nil {
				b.Fatal(err)
			}
		}
	}
}

type discard struct{}

func (discard) Write(b []byte) (int, error) { return len(b), nil }
