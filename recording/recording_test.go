package recording_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"io/fs"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"frontdesk/call"
	"frontdesk/needs"
	"frontdesk/recording"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const patience = 20 * time.Second

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// desk is a keeper at work.
type desk struct {
	*recording.Keeper
	t   *testing.T
	dir string
	mu  sync.Mutex
	now time.Time
}

func (d *desk) clock() time.Time { d.mu.Lock(); defer d.mu.Unlock(); return d.now }
func (d *desk) pass(by time.Duration) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.now = d.now.Add(by)
}

func open(t *testing.T, dir string, cfg recording.Config) *desk {
	t.Helper()
	d := &desk{t: t, dir: dir, now: noon}
	cfg.Dir, cfg.Now = dir, d.clock
	k := recording.New(cfg)
	d.Keeper = k
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- k.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return d
}

// frames are both sides of a talk: 440 Hz on the left, 880 on the right.
func frames(seconds float64) []byte {
	var b []byte
	for i := range int(seconds * 8000) {
		at := 2 * math.Pi * float64(i) / 8000
		b = binary.LittleEndian.AppendUint16(b, uint16(int16(8000*math.Sin(440*at))))
		b = binary.LittleEndian.AppendUint16(b, uint16(int16(8000*math.Sin(880*at))))
	}
	return b
}

// taped records a call whole.
func (d *desk) taped(id string, audio []byte) string {
	d.t.Helper()
	tape, err := d.Begin(id)
	if err != nil {
		d.t.Fatal(err)
	}
	if _, err := tape.Write(audio); err != nil {
		d.t.Fatal(err)
	}
	name, err := tape.Keep()
	if err != nil {
		d.t.Fatal(err)
	}
	return name
}

// wait asks until a recording is ready or there is another word.
func (d *desk) wait(w recording.Wanted) (recording.File, error) {
	d.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for {
		f, err := d.Open(ctx, w)
		if !errors.Is(err, recording.ErrNotReady) {
			return f, err
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			d.t.Fatal("the recording never gets ready")
		}
	}
}

// heard is how long an mp3 lasts and how many channels it has.
func heard(t testing.TB, path string) (seconds float64, channels int) {
	t.Helper()
	decoded := filepath.Join(t.TempDir(), "decoded.wav")
	out, err := exec.Command("lame", "--quiet", "--decode", path, decoded).CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	b, err := os.ReadFile(decoded)
	if err != nil {
		t.Fatal(err)
	}
	channels = int(binary.LittleEndian.Uint16(b[22:]))
	return float64(len(b)-44) / float64(2*channels*8000), channels
}

func TestTapeBecomesMP3(t *testing.T) {
	t.Parallel()
	needs.Program(t, "lame", "lame")
	for _, stereo := range []bool{false, true} {
		d := open(t, t.TempDir(), recording.Config{Stereo: stereo})
		name := d.taped("abc", frames(5))
		f, err := d.wait(recording.Wanted{Call: "abc", Talk: call.Talk{Recording: name, From: noon, Seconds: 5}})
		if err != nil {
			t.Fatal(err)
		}
		want := map[bool]int{false: 5 * 3000, true: 5 * 4000}[stereo] // 24 or 32 kbit/s
		if filepath.Ext(f.Name) != ".mp3" || f.Duration != 5*time.Second || int(f.Size) < want*9/10 || int(f.Size) > want*13/10 {
			t.Errorf("stereo %v: %+v", stereo, f)
		}
		seconds, channels := heard(t, f.Path)
		if math.Abs(seconds-5) > 0.4 || channels != map[bool]int{false: 1, true: 2}[stereo] {
			t.Errorf("stereo %v: heard %.2f s on %d channels", stereo, seconds, channels)
		}
	}
}

// TestTransferredTalks: two talks of one tape are delivered as two recordings,
// each as long as its talk.
func TestTransferredTalks(t *testing.T) {
	t.Parallel()
	needs.Program(t, "lame", "lame")
	d := open(t, t.TempDir(), recording.Config{})
	name := d.taped("abc", frames(12))
	one := call.Talk{Recording: name, From: noon, Until: noon.Add(4 * time.Second)}
	two := call.Talk{Recording: name, From: noon.Add(4 * time.Second), Until: noon.Add(12 * time.Second)}
	for _, c := range []struct {
		talk call.Talk
		want float64
	}{{one, 4}, {two, 8}} {
		f, err := d.wait(recording.Wanted{Call: "abc", Talk: c.talk})
		if err != nil {
			t.Fatal(err)
		}
		if s, _ := heard(t, f.Path); math.Abs(s-c.want) > 0.4 || math.Abs(f.Duration.Seconds()-c.want) > 0.01 {
			t.Errorf("%s lasts %.2f s, want %v", f.Name, s, c.want)
		}
	}
	if err := d.Delivered("abc", []call.Talk{one, two}); err != nil {
		t.Fatal(err)
	}
	if left := mustGlob(t, d.dir, "*"); len(left) != 0 {
		t.Errorf("after the delivery there is still %v", left)
	}
	if _, err := d.Open(t.Context(), recording.Wanted{Call: "abc", Talk: one}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Open after the delivery: %v", err)
	}
}

func mustGlob(t *testing.T, dir, pattern string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, pattern))
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestCrash: a tape that was being written when the process died is kept as far
// as it goes; half an mp3 is not.
func TestCrash(t *testing.T) {
	t.Parallel()
	needs.Program(t, "lame", "lame")
	dir := t.TempDir()
	d := open(t, dir, recording.Config{})
	tape, err := d.Begin("abc")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tape.Write(append(frames(3), 1, 2, 3)); err != nil {
		t.Fatal(err)
	}
	name := "file:" + strings.TrimSuffix(filepath.Base(tape.Name()), ".wav.part")
	if _, err := d.Open(t.Context(), recording.Wanted{Talk: call.Talk{Recording: name}}); !errors.Is(err, recording.ErrNotReady) {
		t.Errorf("of a tape in the making: %v", err)
	}
	if err := tape.Close(); err != nil { // the process is gone
		t.Fatal(err)
	}
	half := filepath.Join(dir, "old.mp3.part")
	if err := os.WriteFile(half, []byte{0xff, 0xf3}, 0o600); err != nil {
		t.Fatal(err)
	}
	again := open(t, dir, recording.Config{})
	f, err := again.wait(recording.Wanted{Call: "abc", Talk: call.Talk{Recording: name}})
	if err != nil || f.Duration != 3*time.Second {
		t.Errorf("after the crash: %+v, %v", f, err)
	}
	if _, err := os.Stat(half); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("half an mp3 is still there: %v", err)
	}
}

func TestDiscard(t *testing.T) {
	t.Parallel()
	d := open(t, t.TempDir(), recording.Config{})
	tape, err := d.Begin("abc")
	if err != nil {
		t.Fatal(err)
	}
	if err := tape.Discard(); err != nil {
		t.Fatal(err)
	}
	if left := mustGlob(t, d.dir, "*"); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestNames: what stands in a record cannot lead out of the folder.
func TestNames(t *testing.T) {
	t.Parallel()
	d := open(t, t.TempDir(), recording.Config{})
	for _, name := range []string{"", "file:", "file:../../etc/passwd", "file:a/b", "file:.hidden", "pbx:../x", "pbx:1", "http://x/y.mp3"} {
		if _, err := d.Open(t.Context(), recording.Wanted{Call: "abc", Talk: call.Talk{Recording: name}}); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%q: %v", name, err)
		}
	}
	for _, id := range []string{"../x", "a/b", ""} {
		if _, err := d.Begin(id); err == nil {
			t.Errorf("a tape for call %q was made", id)
		}
	}
}

// pbxSource is a PBX with one recording, which grows.
type pbxSource struct {
	mu    sync.Mutex
	found []recording.Found
	audio [][]byte // of one download after the other; the last one stays
	err   error
	asked []recording.Query
}

func (s *pbxSource) Find(_ context.Context, q recording.Query) ([]recording.Found, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked = append(s.asked, q)
	return s.found, s.err
}

func (s *pbxSource) Download(_ context.Context, _ int, w io.Writer) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b := s.audio[0]
	if len(s.audio) > 1 {
		s.audio = s.audio[1:]
	}
	return io.Copy(w, bytes.NewReader(b))
}

// monoWAV is a recording as 3CX writes it.
func monoWAV(seconds int) []byte {
	le := binary.LittleEndian
	size := seconds * 8000 * 2
	b := append([]byte("RIFF"), le.AppendUint32(nil, uint32(36+size))...)
	b = append(b, "WAVEfmt \x10\x00\x00\x00\x01\x00\x01\x00"...)
	b = le.AppendUint32(b, 8000)
	b = le.AppendUint32(b, 16000)
	b = append(b, 2, 0, 16, 0)
	b = append(b, "data"...)
	b = le.AppendUint32(b, uint32(size))
	return append(b, make([]byte, size)...)
}

// TestFromPBX: a recording of the PBX is taken when it is whole: not cut, and as
// long as the PBX says.
func TestFromPBX(t *testing.T) {
	t.Parallel()
	needs.Program(t, "lame", "lame")
	whole := monoWAV(10)
	src := &pbxSource{
		found: []recording.Found{{ID: 17, Began: noon, Ended: noon.Add(10 * time.Second)}},
		audio: [][]byte{whole[:3000], monoWAV(4), whole},
	}
	d := open(t, t.TempDir(), recording.Config{PBX: src})
	talk := call.Talk{Extension: "205", Recording: recording.FromPBX, From: noon, Until: noon.Add(10 * time.Second)}
	f, err := d.wait(recording.Wanted{Call: "abc", Talk: talk, Number: "+79161234567"})
	if err != nil || f.Duration != 10*time.Second {
		t.Fatalf("%+v, %v", f, err)
	}
	if q := src.asked[0]; q.Extension != "205" || q.Number != "+79161234567" || !q.From.Equal(noon) || len(src.asked) != 3 {
		t.Errorf("the PBX was asked %d times, for %+v", len(src.asked), q)
	}
	if err := d.Delivered("abc", []call.Talk{talk}); err != nil {
		t.Fatal(err)
	}
	if left := mustGlob(t, d.dir, "*"); len(left) != 0 {
		t.Errorf("left behind: %v", left)
	}
}

// TestNoneOnPBX: what the PBX does not show is waited for, then given up.
func TestNoneOnPBX(t *testing.T) {
	t.Parallel()
	src := &pbxSource{}
	d := open(t, t.TempDir(), recording.Config{PBX: src, Patience: time.Minute})
	w := recording.Wanted{Call: "abc", Talk: call.Talk{Extension: "205", Recording: "pbx:9", From: noon, Seconds: 10}}
	asked := func() int { src.mu.Lock(); defer src.mu.Unlock(); return len(src.asked) }
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for asked() == 0 {
		if _, err := d.Open(t.Context(), w); !errors.Is(err, recording.ErrNotReady) {
			t.Fatalf("at first: %v", err)
		}
		<-tick.C
	}
	d.pass(2 * time.Minute)
	if _, err := d.wait(w); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after its time: %v", err)
	}
	if src.asked[0].ID != 9 {
		t.Errorf("asked for %+v", src.asked[0])
	}
}

func TestExpire(t *testing.T) {
	t.Parallel()
	d := open(t, t.TempDir(), recording.Config{})
	d.taped("old", frames(0.1))
	other := filepath.Join(d.dir, "notes.txt")
	if err := os.WriteFile(other, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	past := noon.Add(-31 * 24 * time.Hour)
	for _, f := range mustGlob(t, d.dir, "*") {
		if err := os.Chtimes(f, past, past); err != nil {
			t.Fatal(err)
		}
	}
	d.taped("new", frames(0.1))
	for _, f := range mustGlob(t, d.dir, "new*") {
		if err := os.Chtimes(f, noon, noon); err != nil {
			t.Fatal(err)
		}
	}
	removed, err := d.Expire(30 * 24 * time.Hour)
	if err != nil || len(removed) != 1 || !strings.HasPrefix(removed[0], "old-") {
		t.Errorf("removed %v, %v", removed, err)
	}
	if left := mustGlob(t, d.dir, "*"); len(left) != 2 {
		t.Errorf("left: %v", left)
	}
}

// TestLinks: an address serves its file until its time, whole or in part; one
// that was changed serves nothing.
func TestLinks(t *testing.T) {
	t.Parallel()
	d := open(t, t.TempDir(), recording.Config{})
	d.taped("abc", frames(0.5))
	path := mustGlob(t, d.dir, "abc-*.wav")[0]
	links := recording.NewLinks(d.Keeper, "")
	address := func(f recording.File, until time.Time) string {
		t.Helper()
		url, err := links.URL(f, until)
		if err != nil {
			t.Fatal(err)
		}
		return url
	}
	server := httptest.NewServer(links)
	defer server.Close()
	get := func(url string, header ...string) (int, []byte) {
		t.Helper()
		r, err := http.NewRequest(http.MethodGet, server.URL+url, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i+1 < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		res, err := server.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		b, err := io.ReadAll(res.Body)
		if err != nil {
			t.Fatal(err)
		}
		return res.StatusCode, b
	}
	url := address(recording.File{Name: filepath.Base(path)}, noon.Add(time.Hour))
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if code, b := get(url); code != 200 || !bytes.Equal(b, want) {
		t.Errorf("%d, %d bytes of %d", code, len(b), len(want))
	}
	if code, b := get(url, "Range", "bytes=0-3"); code != 206 || string(b) != "RIFF" {
		t.Errorf("a part: %d, %q", code, b)
	}
	later := address(recording.File{Name: filepath.Base(path)}, noon.Add(2*time.Hour))
	forged := url[:strings.LastIndexByte(url, '/')] + later[strings.LastIndexByte(later, '/'):]
	for _, bad := range []string{forged, url + "0", "/recordings/", "/recordings/x/" + filepath.Base(path), "/recordings/x/../" + filepath.Base(path) + "/zz"} {
		if code, _ := get(bad); code != 404 && code != 301 {
			t.Errorf("%s: %d", bad, code)
		}
	}
	if res, err := server.Client().Post(server.URL+url, "text/plain", nil); err != nil || res.StatusCode != 405 {
		t.Errorf("POST: %v, %v", res, err)
	} else {
		res.Body.Close()
	}
	d.pass(2 * time.Hour)
	if code, _ := get(url); code != 410 {
		t.Errorf("after its time: %d", code)
	}
}

// TestKeyOfLinks: the key outlives a restart; one that a full disk cut off is
// made anew, and a folder that cannot be used gives no address until it can.
func TestKeyOfLinks(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "later")
	if err := os.WriteFile(dir, nil, 0o600); err != nil { // no folder can be made here
		t.Fatal(err)
	}
	f := recording.File{Name: "abc-20260302T090000000.wav"}
	until := noon.Add(time.Hour)
	url := func() (string, error) {
		return recording.NewLinks(open(t, dir, recording.Config{}).Keeper, "").URL(f, until)
	}
	broken := open(t, dir, recording.Config{})
	if _, err := broken.Begin("abc"); err == nil {
		t.Error("a tape began where there is no folder")
	}
	links := recording.NewLinks(broken.Keeper, "")
	if _, err := links.URL(f, until); err == nil {
		t.Error("an address without a key")
	}
	if err := os.Remove(dir); err != nil {
		t.Fatal(err)
	}
	tape, err := broken.Begin("abc")
	if err != nil {
		t.Fatal("the folder can be made now: ", err)
	}
	if err := tape.Discard(); err != nil {
		t.Fatal(err)
	}
	first, err := links.URL(f, until)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := url(); err != nil || again != first {
		t.Errorf("after a restart %q, %v", again, err)
	}
	key := filepath.Join(dir, ".linkkey")
	if info, err := os.Stat(key); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	if err := os.WriteFile(key, []byte("cut"), 0o600); err != nil {
		t.Fatal(err)
	}
	if fresh, err := url(); err != nil || fresh == first {
		t.Errorf("with a key that was cut off %q, %v", fresh, err)
	}
}

// TestNothingOfTheTalk: where the disk was full before an employee answered, no
// empty file is delivered.
func TestNothingOfTheTalk(t *testing.T) {
	t.Parallel()
	d := open(t, t.TempDir(), recording.Config{})
	name := d.taped("abc", frames(2))
	talk := call.Talk{Extension: "201", Recording: name, From: noon.Add(4 * time.Second), Until: noon.Add(9 * time.Second), Seconds: 5}
	if f, err := d.Open(t.Context(), recording.Wanted{Call: "abc", Talk: talk}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%+v, %v", f, err)
	}
}
