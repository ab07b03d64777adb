//go:build e2e

package e2e_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"frontdesk/media"
	"frontdesk/needs"
	"frontdesk/tts"
)

// softphone is a baresip without a sound card. What it says comes from a file
// or from what it hears; baresip keeps both ways in files while the call goes on.
type softphone struct {
	t   *testing.T
	aor string // "+79161234567@127.70.3.12:5060"
	dir string
	*process

	control net.Conn
	bridges int // echo devices made so far

	mu     sync.Mutex
	events []event
	answer chan answer // to the last command
}

// event is one of those that baresip tells about.
type event struct {
	Type      string `json:"type"`
	Direction string `json:"direction"`
	Peer      string `json:"peeruri"`
	ID        string `json:"id"`
	Param     string `json:"param"`
}

type answer struct {
	OK   bool   `json:"ok"`
	Data string `json:"data"`
}

// softphoneConfig is told the SIP and control addresses, the directory and the
// file to play.
//
// The media is on 127.0.0.1 whatever address SIP has: baresip binds its RTP to
// all addresses, and what it sends to loopback comes from there. A player
// without a sound card is needed, since nothing is decoded without one. The
// jitter buffer would keep the last frames of a call to itself.
const softphoneConfig = `sip_listen %[1]s:5060
ctrl_tcp_listen %[1]s:4444
rtp_ports 10024-19998
jitter_buffer_delay 0-0
audio_source aufile,%[3]s
audio_player aubridge,sink
audio_alert aubridge,alert
ausrc_srate 8000
auplay_srate 8000
ausrc_channels 1
auplay_channels 1
snd_path %[2]s
module_path %[4]s
module g711.so
module aufile.so
module aubridge.so
module sndfile.so
module_tmp account.so
module_tmp uuid.so
module_app menu.so
module_app ctrl_tcp.so
`

// newSoftphone starts a baresip at host:5060, registered nowhere, as user. In a
// call it plays a tone of hz. params are account parameters, as
// ";answermode=auto". It runs until the test's end.
func newSoftphone(t *testing.T, host, user string, hz float64, params string) *softphone {
	t.Helper()
	p := &softphone{
		t: t, aor: user + "@" + host + ":5060", dir: t.TempDir(), answer: make(chan answer, 1),
	}
	p.must(os.WriteFile(p.file("tone.wav"), tts.EncodeWAV(media.Tone(hz, 2*time.Minute), 8000), 0o644))
	config := fmt.Sprintf(softphoneConfig, host, p.dir, p.file("tone.wav"), baresipModules(t))
	account := fmt.Sprintf("<sip:%s;transport=udp>;regint=0;audio_codecs=PCMA/8000/1%s\n", p.aor, params)
	p.must(os.WriteFile(p.file("config"), []byte(config), 0o644))
	p.must(os.WriteFile(p.file("accounts"), []byte(account), 0o644))
	p.process = launch(t, p.dir, needs.Program(t, "baresip", "baresip-core"), "-n", "127.0.0.1", "-f", p.dir, "-s", "-t", "300")
	waitFor(t, "baresip's control port", func() bool {
		p.alive()
		var err error
		p.control, err = net.Dial("tcp", host+":4444")
		return err == nil
	})
	t.Cleanup(func() { _ = p.control.Close() })
	go p.read()
	return p
}

// baresipModules is where Debian keeps baresip's modules.
func baresipModules(t *testing.T) string {
	t.Helper()
	for _, pattern := range []string{"/usr/lib/baresip/modules", "/usr/lib/*/baresip/modules"} {
		if dirs, err := filepath.Glob(pattern); err == nil && len(dirs) > 0 {
			return dirs[0]
		}
	}
	needs.Missing(t, "baresip's modules are not installed: run scripts/tools.sh, or apt-get install baresip-core")
	return ""
}

func (p *softphone) file(name string) string { return filepath.Join(p.dir, name) }

func (p *softphone) must(err error) {
	p.t.Helper()
	if err != nil {
		p.t.Fatal(err)
	}
}

// read takes what baresip tells on its control connection, until it is closed.
func (p *softphone) read() {
	in := bufio.NewReader(p.control)
	for {
		b, err := netstring(in)
		if err != nil {
			return
		}
		var m struct {
			Event    bool `json:"event"`
			Response bool `json:"response"`
			event
			answer
		}
		if err := json.Unmarshal(b, &m); err != nil {
			p.t.Errorf("baresip says %q: %v", b, err)
			return
		}
		if m.Response {
			p.answer <- m.answer
			continue
		}
		p.mu.Lock()
		p.events = append(p.events, m.event)
		p.mu.Unlock()
	}
}

// netstring reads one "length:bytes,".
func netstring(in *bufio.Reader) ([]byte, error) {
	length, err := in.ReadString(':')
	if err != nil {
		return nil, err
	}
	n, err := strconv.Atoi(strings.TrimSuffix(length, ":"))
	if err != nil || n > 1<<20 {
		return nil, fmt.Errorf("length %q of a netstring", length)
	}
	b := make([]byte, n+1)
	if _, err := io.ReadFull(in, b); err != nil {
		return nil, err
	}
	if b[n] != ',' {
		return nil, errors.New("a netstring does not end with a comma")
	}
	return b[:n], nil
}

// do has baresip execute a command.
func (p *softphone) do(command, params string) {
	p.t.Helper()
	b, err := json.Marshal(map[string]string{"command": command, "params": params})
	p.must(err)
	_, err = fmt.Fprintf(p.control, "%d:%s,", len(b), b)
	p.must(err)
	select {
	case a := <-p.answer:
		if !a.OK {
			p.t.Fatalf("baresip's answer to %s %s: %s", command, params, a.Data)
		}
	case <-p.gone:
		p.alive()
	case <-time.After(patient):
		p.t.Fatalf("baresip does not answer %s %s", command, params)
	}
}

// dial calls frontdesk and forgets the events of calls before.
func (p *softphone) dial(s *server) {
	p.t.Helper()
	p.mu.Lock()
	p.events = nil
	p.mu.Unlock()
	p.do("dial", "sip:"+did+"@"+s.sip)
}

func (p *softphone) hangUp() { p.t.Helper(); p.do("hangup", "") }

// press dials keys, each held for a moment.
func (p *softphone) press(keys string) {
	p.t.Helper()
	for _, k := range keys {
		p.do("sndcode", string(k))
	}
}

// happened is the events of one type since the last dial.
func (p *softphone) happened(kind string) (found []event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, e := range p.events {
		if e.Type == kind {
			found = append(found, e)
		}
	}
	return found
}

// await waits for the nth event of a type since the last dial, from 1.
func (p *softphone) await(kind string, n int) event {
	p.t.Helper()
	waitFor(p.t, fmt.Sprintf("event %d of type %s at baresip %s", n, kind, p.aor), func() bool {
		p.alive()
		return len(p.happened(kind)) >= n
	})
	return p.happened(kind)[n-1]
}

// recording is what was received ("dec") or sent ("enc") in the last call that
// had media. baresip writes the length into the header only at the call's end.
func (p *softphone) recording(way string) []int16 {
	p.t.Helper()
	files, err := filepath.Glob(p.file("dump-*-" + way + ".wav"))
	p.must(err)
	if len(files) == 0 {
		return nil
	}
	slices.Sort(files) // named by their second
	b, err := os.ReadFile(files[len(files)-1])
	p.must(err)
	const header = 44
	if len(b) < header {
		return nil
	}
	b = b[header:]
	pcm := make([]int16, len(b)/2)
	for i := range pcm {
		pcm[i] = int16(b[2*i]) | int16(b[2*i+1])<<8
	}
	return pcm
}

// waitTone waits until the last 300 ms of a recording are a tone of hz as loud
// as our tones are.
func (p *softphone) waitTone(way string, hz float64) {
	p.t.Helper()
	var level, share float64
	waitFor(p.t, fmt.Sprintf("baresip %s to have %g Hz in its %s recording", p.aor, hz, way), func() bool {
		p.alive()
		pcm := p.recording(way)
		pcm = pcm[max(0, len(pcm)-2400):]
		level, share = media.Level(pcm), media.Dominant(pcm, hz)
		return len(pcm) == 2400 && share > 0.9 && -13 < level && level < -11 // a tone is -12 dBFS
	})
}

// hears waits until a tone is received, in a call that nobody ever held.
func (p *softphone) hears(hz float64) { p.t.Helper(); p.waitTone("dec", hz) }

// echo makes baresip send what it hears, so that its recording of what it sends
// tells what it hears. baresip 1.0 stops recording what it receives once a call
// was held; and it needs another device each time, since closing either end of
// one stops both.
func (p *softphone) echo() {
	p.t.Helper()
	p.bridges++
	device := fmt.Sprintf("aubridge,echo%d", p.bridges)
	p.do("ausrc", device)
	p.do("auplay", device)
}

// echoes waits until a tone comes back, that is, is heard.
func (p *softphone) echoes(hz float64) { p.t.Helper(); p.waitTone("enc", hz) }

// sing makes baresip send its tone again after echo.
func (p *softphone) sing() { p.t.Helper(); p.play(p.file("tone.wav")) }

// play makes baresip send a file.
func (p *softphone) play(wav string) { p.t.Helper(); p.do("ausrc", "aufile,"+wav) }
