//go:build e2e

package e2e_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"frontdesk/call"
	"frontdesk/crm/crmtest"
	"frontdesk/media"
	"frontdesk/tts"
)

// sounds wants an entry to have a recording as long as its talk, in which all
// tones are heard.
func (d *desk) sounds(e crmtest.Call, talk call.Talk, tones ...int) {
	d.t.Helper()
	if !strings.HasSuffix(e.Record, ".mp3") {
		d.t.Errorf("%s has the recording %q, want an mp3", e.ExternalID, e.Record)
		return
	}
	d.sound(e.Audio, talk, tones...)
}

// sound wants an mp3 to last as long as a talk and to have all tones.
func (d *desk) sound(mp3 []byte, talk call.Talk, tones ...int) {
	d.t.Helper()
	pcm := d.decode(mp3)
	lasts, want := time.Duration(len(pcm))*time.Second/8000, time.Duration(talk.Seconds)*time.Second
	if (lasts - want).Abs() > 1200*time.Millisecond {
		d.t.Errorf("the recording of a talk of %v lasts %v", want, lasts)
	}
	for _, hz := range tones {
		if share := strongest(pcm, hz); share < 0.3 {
			d.t.Errorf("the recording with %s has no %d Hz: %.2f of its loudest second", talk.Extension, hz, share)
		}
	}
}

// strongest is the greatest share that a tone has of half a second.
func strongest(pcm []int16, hz int) (best float64) {
	const window = 4000
	for ; len(pcm) >= window; pcm = pcm[window/2:] {
		if media.Level(pcm[:window]) > -50 {
			best = max(best, media.Dominant(pcm[:window], float64(hz)))
		}
	}
	return best
}

// decode turns an mp3 into samples.
func (s *server) decode(mp3 []byte) []int16 {
	s.t.Helper()
	dir := s.t.TempDir()
	in, out := filepath.Join(dir, "in.mp3"), filepath.Join(dir, "out.wav")
	s.must(os.WriteFile(in, mp3, 0o600))
	if said, err := exec.Command(need(s.t, "lame", "lame"), "--quiet", "--decode", in, out).CombinedOutput(); err != nil {
		s.t.Fatalf("lame: %v: %s", err, said)
	}
	pcm, err := tts.LoadWAV(out)
	s.must(err)
	return pcm
}

// tapes are the files that lie in the folder of recordings.
func (s *server) tapes() (names []string) {
	s.t.Helper()
	entries, err := os.ReadDir(filepath.Join(s.dir, "recordings"))
	s.must(err)
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") {
			names = append(names, e.Name())
		}
	}
	return names
}
