package media_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"frontdesk/media"
	"frontdesk/media/sdp"
)

// recording is a recorder at work on a bridge.
type recording struct {
	path  string
	stop  context.CancelFunc
	begun chan struct{}
	done  chan error
	got   media.Recorded
}

// starting is a file that tells of its first write.
type starting struct {
	*os.File
	once  sync.Once
	begun chan struct{}
}

func (s *starting) Write(b []byte) (int, error) {
	s.once.Do(func() { close(s.begun) })
	return s.File.Write(b)
}

func record(t *testing.T, e *media.Engine, a, b *media.Session) *recording {
	t.Helper()
	r := &recording{path: filepath.Join(t.TempDir(), "call.raw"), begun: make(chan struct{}), done: make(chan error, 1)}
	f, err := os.Create(r.path)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	r.stop = stop
	go func() {
		var err error
		r.got, err = e.Record(ctx, &starting{File: f, begun: r.begun}, a, b)
		r.done <- errors.Join(err, f.Close())
	}()
	t.Cleanup(stop)
	return r
}

// mulaw is PCMU without events, towards addr.
func mulaw(addr netip.AddrPort) sdp.Media {
	return sdp.Media{Addr: addr, Codec: sdp.PCMU, Ptime: 20 * time.Millisecond, Formats: []sdp.Format{{Codec: sdp.PCMU}}}
}

// samples reads a file of two channels.
func samples(t *testing.T, path string) (left, right []int16) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for ; len(b) >= 4; b = b[4:] {
		left = append(left, int16(binary.LittleEndian.Uint16(b)))
		right = append(right, int16(binary.LittleEndian.Uint16(b[2:])))
	}
	return left, right
}

// TestRecord: two phones talk through a relay; each is heard on its channel,
// whichever law it speaks.
func TestRecord(t *testing.T) {
	t.Parallel()
	e := run(t, media.Config{})
	caller, a, b, callee := open(t, e), open(t, e), open(t, e), open(t, e)
	start(t, caller, alaw(a.Local()), media.Options{})
	start(t, a, alaw(caller.Local()), media.Options{})
	start(t, b, mulaw(callee.Local()), media.Options{})
	start(t, callee, mulaw(b.Local()), media.Options{})
	ctx, hangUp := context.WithCancel(within(t))
	defer hangUp()
	relayed := make(chan error, 1)
	go func() { relayed <- e.Relay(ctx, a, b) }()
	r := record(t, e, a, b)
	const talk = 1500 * time.Millisecond
	const low, high = 450.0, 900.0 // whole waves in 20 ms: a frame that a busy machine leaves out moves no phase
	spoken := make(chan error, 2)
	go func() { spoken <- caller.Play(ctx, media.NewClip(media.Tone(low, talk))) }()
	go func() { spoken <- callee.Play(ctx, media.NewClip(media.Tone(high, talk))) }()
	for range 2 {
		if err := <-spoken; err != nil {
			t.Fatal(err)
		}
	}
	r.stop()
	if err := <-r.done; err != nil {
		t.Fatal(err)
	}
	hangUp()
	if err := <-relayed; !errors.Is(err, context.Canceled) {
		t.Error(err)
	}
	left, right := samples(t, r.path)
	if len(left) != int(r.got.Duration*8000/time.Second) || r.got.Duration < talk-50*time.Millisecond || r.got.Lost != 0 {
		t.Errorf("%d samples of %+v", len(left), r.got)
	}
	middle, share := len(left)/2, 0.7
	if metric(t, e, "frames_skipped_total") > 5 {
		share = 0.1 // a machine so busy that little was sent: gaps weaken a tone
	}
	for i, c := range []struct {
		pcm         []int16
		freq, other float64
	}{{left, low, high}, {right, high, low}} {
		part := c.pcm[middle-2000 : middle+2000]
		if d, o := media.Dominant(part, c.freq), media.Dominant(part, c.other); d < share || o > min(0.1, d/5) {
			t.Errorf("channel %d: %.2f of its energy at %.0f Hz, %.2f at %.0f Hz", i, d, c.freq, o, c.other)
		}
	}
}

// TestRecordOnce: a leg has one recorder, and may have another after it.
func TestRecordOnce(t *testing.T) {
	t.Parallel()
	br := relay(t, media.Config{}, alaw(netip.AddrPort{}), callee96())
	e := br.engine
	first := record(t, e, br.a, br.b)
	<-first.begun
	if err := busy(e, br.a, br.b); !errors.Is(err, media.ErrBusy) {
		t.Errorf("a second recorder got %v", err)
	}
	br.caller.audio(8, []byte{1, 2, 3})
	if got := br.callee.receive(); string(got.Payload) != "\x01\x02\x03" {
		t.Errorf("a recorded packet was passed on as %v", got)
	}
	first.stop()
	if err := <-first.done; err != nil {
		t.Fatal(err)
	}
	if err := busy(e, br.a, br.b); err != nil {
		t.Errorf("after the first recorder ended: %v", err)
	}
	br.end(t)
}

// TestRecordNothing: a talk that is over when its recorder begins is a moment of
// silence, and no file without sound.
func TestRecordNothing(t *testing.T) {
	t.Parallel()
	br := relay(t, media.Config{}, alaw(netip.AddrPort{}), callee96())
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var file bytes.Buffer
	got, err := br.engine.Record(ctx, &file, br.a, br.b)
	const frame = 20 * time.Millisecond
	if err != nil || got.Duration < frame || got.Lost != 0 || file.Len() != 4*int((got.Duration*8000+time.Second/2)/time.Second) || len(bytes.Trim(file.Bytes(), "\x00")) != 0 {
		t.Errorf("%+v, %v, %d bytes", got, err, file.Len())
	}
	br.end(t)
}

// busy records for no time at all.
func busy(e *media.Engine, a, b *media.Session) error {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err := e.Record(ctx, disk{}, a, b)
	return err
}

// disk keeps nothing, and may have no room for it.
type disk struct{ full bool }

func (d disk) Write(b []byte) (int, error) {
	if d.full {
		return 0, errors.New("no space left on device")
	}
	return len(b), nil
}

// TestRecordOnAFullDisk: the recording ends, the call does not.
func TestRecordOnAFullDisk(t *testing.T) {
	t.Parallel()
	br := relay(t, media.Config{}, alaw(netip.AddrPort{}), callee96())
	ctx := within(t)
	if _, err := br.engine.Record(ctx, disk{full: true}, br.a, br.b); err == nil || ctx.Err() != nil {
		t.Errorf("Record = %v on a full disk", err)
	}
	br.caller.audio(8, []byte{1})
	if got := br.callee.receive(); string(got.Payload) != "\x01" {
		t.Errorf("heard %v", got)
	}
	br.end(t)
}
