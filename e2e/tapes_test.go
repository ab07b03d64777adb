//go:build e2e

package e2e_test

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"frontdesk/call"
	"frontdesk/crm/crmtest"
	"frontdesk/media"
	"frontdesk/needs"
	"frontdesk/pbx/pbxtest"
	"frontdesk/tts"
)

// exact is how near the length of a recording comes to what the record says, in
// whole seconds, and coarse where only the PBX knows when the talk was.
const (
	exact  = 1200 * time.Millisecond
	coarse = 2500 * time.Millisecond
)

// sounds wants an entry to have a recording as long as its talk, in which all
// tones are heard.
func (d *desk) sounds(e crmtest.Call, talk call.Talk, near time.Duration, tones ...int) {
	d.t.Helper()
	if !strings.HasSuffix(e.Record, ".mp3") {
		d.t.Errorf("%s has the recording %q, want an mp3", e.ExternalID, e.Record)
		return
	}
	d.sound(e.Audio, talk, near, tones...)
}

// sound wants an mp3 to be whole, to last as long as a talk, and to have all
// tones.
func (d *desk) sound(mp3 []byte, talk call.Talk, near time.Duration, tones ...int) {
	d.t.Helper()
	if says := mp3Size(mp3); says != len(mp3) {
		d.t.Errorf("the recording with %s has %d bytes of %d", talk.Extension, len(mp3), says)
	}
	pcm := d.decode(mp3)
	lasts, want := time.Duration(len(pcm))*time.Second/8000, time.Duration(talk.Seconds)*time.Second
	if (lasts - want).Abs() > near {
		d.t.Errorf("the recording of a talk of %v lasts %v", want, lasts)
	}
	for _, hz := range tones {
		if share := strongest(pcm, hz); share < 0.3 {
			d.t.Errorf("the recording with %s has no %d Hz: %.2f of its loudest second", talk.Extension, hz, share)
		}
	}
}

// brittleTapes are calls whose recordings are easily broken.
func brittleTapes() []logCase {
	return []logCase{
		{"34_the_employee_is_silent", func(d *desk, from string) {
			c := d.calling(from, direct("203"))
			d.must(c.WaitDone(patience(d.t))) // the employee hangs up
			rec := d.logged(c.CallIDs()[0])
			e := d.has(rec, talkedTo(anna))
			d.sounds(e[0], rec.Talks[0], exact, clientTone)
			client, employee := d.sides(e[0].Audio)
			if level := media.Level(client); level < -40 {
				d.t.Errorf("the client is recorded at %.0f dB", level)
			}
			if level := media.Level(employee); level > -60 || len(employee) != len(client) {
				d.t.Errorf("the silent employee is recorded at %.0f dB, %d samples beside the client's %d", level, len(employee), len(client))
			}
		}, 1, 1},
		{"34_hung_up_at_once", func(d *desk, from string) {
			c := d.rings(from, direct("205"))
			d.must(c.WaitAnswer(patience(d.t)))
			d.must(c.Hangup(patience(d.t)))
			rec := d.logged(c.CallIDs()[0])
			e := d.entries(rec.ID)
			if len(e) != 1 || !e[0].Finished || e[0].Status != "200" || e[0].FinishedBy != vera || e[0].Duration != max(rec.Talks[0].Seconds, 1) {
				d.t.Fatalf("a call of %v is entered as %+v", rec.Talks, e)
			}
			d.sounds(e[0], rec.Talks[0], exact)
		}, 1, 1},
	}
}

// mortalEncoder has the server find a lame that is killed half way through the
// first recording: half an mp3 is left.
func mortalEncoder(t *testing.T) (opt option, died func() bool) {
	t.Helper()
	dir, lame := t.TempDir(), needs.Program(t, "lame", "lame")
	mark := filepath.Join(dir, "died")
	script := fmt.Sprintf(`#!/bin/sh -e
if mkdir %[1]q 2>/dev/null; then
	%[2]q "$@"
	for out; do :; done
	truncate -s $(($(wc -c <"$out") / 2)) "$out"
	kill -KILL $$
fi
exec %[2]q "$@"
`, mark, lame)
	if err := os.WriteFile(filepath.Join(dir, "lame"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	opt = func(s *setup) { s.env = append(s.env, "PATH="+dir+":"+os.Getenv("PATH")) }
	return opt, func() bool { _, err := os.Stat(mark); return err == nil }
}

// wholeTapes wants every recording that the portal has to be whole, and as long
// as its entry says.
func (d *desk) wholeTapes() {
	d.t.Helper()
	for _, c := range d.portal.Calls() {
		if c.Attached > 0 {
			d.sounds(c, call.Talk{Seconds: c.Duration}, coarse)
		}
	}
}

// mp3Size is how many bytes an mp3 should have, as lame writes into its first
// frame when it is done; 0 where it does not say.
func mp3Size(mp3 []byte) int {
	_, tag, found := bytes.Cut(mp3[:min(len(mp3), 256)], []byte("Info"))
	if !found || len(tag) < 12 {
		return 0
	}
	b := tag[8:] // after the flags and the number of frames
	return int(b[0])<<24 | int(b[1])<<16 | int(b[2])<<8 | int(b[3])
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

// decode turns an mp3 into samples, its sides mixed.
func (s *server) decode(mp3 []byte) []int16 {
	s.t.Helper()
	a, err := tts.DecodeWAV(s.wav(mp3))
	s.must(err)
	return a.At8k()
}

// sides are the samples of the two channels of an mp3.
func (s *server) sides(mp3 []byte) (left, right []int16) {
	s.t.Helper()
	const header = 44
	wav := s.wav(mp3)
	if len(wav) < header || wav[22] != 2 {
		s.t.Fatal("the recording has not two channels")
	}
	for b := wav[header:]; len(b) >= 4; b = b[4:] {
		left = append(left, int16(b[0])|int16(b[1])<<8)
		right = append(right, int16(b[2])|int16(b[3])<<8)
	}
	return left, right
}

// wav turns an mp3 into a WAV file.
func (s *server) wav(mp3 []byte) []byte {
	s.t.Helper()
	dir := s.t.TempDir()
	in, out := filepath.Join(dir, "in.mp3"), filepath.Join(dir, "out.wav")
	s.must(os.WriteFile(in, mp3, 0o600))
	if said, err := exec.Command(needs.Program(s.t, "lame", "lame"), "--quiet", "--decode", in, out).CombinedOutput(); err != nil {
		s.t.Fatalf("lame: %v: %s", err, said)
	}
	b, err := os.ReadFile(out)
	s.must(err)
	return b
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

// TestLinkedRecordings announces and records a call, and writes a link into its
// entry: it serves the recording, and nothing when it is changed, or when the
// recording is gone. A missed call is owned by the head of the department.
func TestLinkedRecordings(t *testing.T) {
	t.Parallel()
	for name, options := range stores {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := startDesk(t, append(options(t), section("http", `{listen: "{{.HTTP}}", public_url: "http://{{.HTTP}}"}`),
				section("calllog", `{enabled: true, missed_owner: head}`),
				section("recordings", `{mode: link, announce: "sidorov", dir: "{{.Dir}}/recordings"}`))...)
			c := d.rings(client(1300), direct("205"))
			d.must(c.WaitTone(patience(t), greeted)) // the announcement
			d.must(c.Tone(patience(t), clientTone))
			d.hears(c, "205", talkFor)
			d.must(c.Hangup(patience(t)))
			rec := d.logged(c.CallIDs()[0])
			e := d.has(rec, talkedTo(vera))
			if e[0].Record != "" || len(d.portal.Files()) != 0 {
				t.Errorf("the portal has a file %q", e[0].Record)
			}
			link := d.linkOf(e[0].Activity)
			code, mp3 := d.fetch(link)
			if code != http.StatusOK {
				t.Fatalf("GET %s: %d", link, code)
			}
			d.sound(mp3, rec.Talks[0], exact, clientTone, pbxtest.ToneOf("205"))
			for what, changed := range map[string]string{
				"a longer life": link + "z", "another signature": strings.Replace(link, "/recordings/", "/recordings/x", 1), "no signature": "http://" + d.http + "/recordings/" + link[strings.LastIndex(link, "/")+1:],
			} {
				if code, _ := d.fetch(changed); code != http.StatusNotFound {
					t.Errorf("with %s the answer is %d, want 404", what, code)
				}
			}
			for _, name := range d.tapes() {
				d.must(os.Remove(filepath.Join(d.dir, "recordings", name)))
			}
			if code, _ := d.fetch(link); code != http.StatusGone {
				t.Errorf("a recording that is gone: %d, want 410", code)
			}

			a := d.trunk.place(client(1301), direct("206")) // declines
			d.has(d.logged(a.callID), missedBy(boris))
			d.idle()
		})
	}
}

// linkOf is the link in the text of an activity.
func (s *server) linkOf(activity int) string {
	s.t.Helper()
	for _, a := range s.portal.Activities() {
		if a.ID == activity {
			return strings.TrimPrefix(a.Text, "Recording: ")
		}
	}
	s.t.Fatalf("there is no activity %d", activity)
	return ""
}

// fetch reads what an address serves.
func (s *server) fetch(url string) (code int, body []byte) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, url, nil)
	s.must(err)
	res, err := http.DefaultClient.Do(req)
	s.must(err)
	defer res.Body.Close()
	body, err = io.ReadAll(res.Body)
	s.must(err)
	return res.StatusCode, body
}
