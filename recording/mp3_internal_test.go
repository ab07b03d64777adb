package recording

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"frontdesk/needs"
)

// TestCutMP3: an mp3 whose encoder was killed is never taken for whole.
func TestCutMP3(t *testing.T) {
	t.Parallel()
	lame := needs.Program(t, "lame", "lame")
	dir := t.TempDir()
	source, path := filepath.Join(dir, "a.wav"), filepath.Join(dir, "a.mp3")
	const seconds = 10
	if err := os.WriteFile(source, append(header(seconds*frameRate*frameBytes), make([]byte, seconds*frameRate*frameBytes)...), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(lame, "--quiet", "-m", "m", "-b", "24", source, path).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	got, err := mp3Duration(path)
	if err != nil || (got-seconds*time.Second).Abs() > slack {
		t.Fatalf("mp3Duration = %v, %v", got, err)
	}
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, 1, 3, 5, len(whole) / 2, len(whole) - 1} {
		if err := os.WriteFile(path, whole[:n], 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := mp3Duration(path); err == nil && (got-seconds*time.Second).Abs() <= slack {
			t.Errorf("the first %d of %d bytes last %v", n, len(whole), got)
		}
	}
	if err := os.WriteFile(path, append(whole, "RIFF"...), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := mp3Duration(path); err == nil {
		t.Error("bytes that are no frame were taken")
	}
}

func FuzzReadWAV(f *testing.F) {
	f.Add(header(8))
	f.Add([]byte("RIFF\x00\x00\x00\x00WAVEfmt \xff\xff\xff\xff"))
	f.Fuzz(func(t *testing.T, b []byte) {
		path := filepath.Join(t.TempDir(), "x.wav")
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if w, err := readWAV(path); err == nil && (w.data+w.size > int64(len(b)) || w.duration() < 0) {
			t.Errorf("%d bytes are read as %+v", len(b), w)
		}
	})
}
