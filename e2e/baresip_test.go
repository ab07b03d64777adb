//go:build e2e

package e2e_test

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"frontdesk/call"
	"frontdesk/media"
	"frontdesk/needs"
	"frontdesk/pbx/pbxtest"
	"frontdesk/sip"
	"frontdesk/tts"
)

// The tones of the two softphones.
const (
	callerTone    = 880
	extensionTone = 440
)

// caller is a baresip at the address of one of the default trunks (".11" is
// redirecting, ".12" referring, ".13" bridging).
func (s *server) caller(host, number, params string) *softphone {
	s.t.Helper()
	return newSoftphone(s.t, s.net+host, number, callerTone, ";answermode=manual"+params)
}

// extension is a baresip at .3, where softPBX looks for the PBX.
func (s *server) extension(number string) *softphone {
	s.t.Helper()
	return newSoftphone(s.t, s.net+".3", number, extensionTone, ";answermode=auto")
}

// longGreeting is a greeting of a tone that lasts for so long that whatever the
// test does next happens while it plays.
func longGreeting(t *testing.T, via string) option {
	t.Helper()
	dir := t.TempDir()
	wav := tts.EncodeWAV(media.Tone(greeted, patient), 8000)
	if err := os.WriteFile(filepath.Join(dir, "romanova.wav"), wav, 0o644); err != nil {
		t.Fatal(err)
	}
	return section("greeting", `{engine: none, via: `+via+`, text: "{{"{{.Manager.LastName}}"}}", recorded: "`+dir+`", cache: "{{.Dir}}/cache"}`)
}

// interrupted wants a long greeting to have ended long before its end.
func interrupted(t *testing.T, rec call.Record) {
	t.Helper()
	if took := rec.Times.Ended.Sub(rec.Started); took >= patient {
		t.Errorf("the call took %v: the keys did not interrupt the greeting", took)
	}
}

func softPBX() option { return section("pbx", `{sip: ["sip:{{.Net}}.3:5060"]}`) }

// pbxCall waits for the nth call to a number of the sandbox PBX.
func (s *server) pbxCall(number string, n int) *pbxtest.Call {
	s.t.Helper()
	c, err := s.pbx.WaitCall(patience(s.t), number, n)
	s.must(err)
	return c
}

// last waits for the nth record and wants it to tell of such a fate.
func (s *server) last(n int, want fate) call.Record {
	s.t.Helper()
	rec := s.recorded(n)[n-1]
	if got := fateOf(rec); got != want {
		s.t.Errorf("record %d says %+v, want %+v", n, got, want)
	}
	return rec
}

// talk wants the softphone and the sandbox PBX to hear each other.
func talk(t *testing.T, p *softphone, c *pbxtest.Call) {
	t.Helper()
	p.hears(float64(pbxtest.ToneOf(c.Number)))
	p.must(c.WaitTone(patience(t), callerTone))
}

// TestBaresipHearsGreeting compares what baresip recorded with the prompt that
// frontdesk rendered and cached.
func TestBaresipHearsGreeting(t *testing.T) {
	t.Parallel()
	needs.Program(t, "espeak-ng", "espeak-ng")
	for _, via := range []string{"early", "answer"} {
		t.Run(via, func(t *testing.T) {
			t.Parallel()
			s := start(t,
				section("greeting", `{engine: espeak, via: `+via+`, cache: "{{.Dir}}/cache", language: en-GB, text: '`+olgas+`'}`),
				number("201", pbxtest.Refuse("busy")), number("800", pbxtest.Refuse("busy")))
			host, began := ".11", "CALL_PROGRESS"
			if via == "answer" {
				host, began = ".13", "CALL_ESTABLISHED"
			}
			prompt := cachedPrompt(s)
			p := s.caller(host, callerKnown, "")
			p.dial(s)
			p.await(began, 1)
			p.await("CALL_CLOSED", 1)
			compare(t, p.recording("dec"), prompt, int(s.metrics("frontdesk_media_frames_skipped_total")))
			s.idle()
		})
	}
}

// olgas is a text that is by far longer for Olga Romanova than for anybody else.
const olgas = `{{"{{if eq .Manager.LastName \"Romanova\"}}You are being connected to Olga Romanova{{else}}Hello{{end}}"}}`

// cachedPrompt waits for the prompts of both employees, which are rendered ahead,
// and returns Olga Romanova's, the longer one.
func cachedPrompt(s *server) []int16 {
	s.t.Helper()
	var files []string
	waitFor(s.t, "two cached prompts", func() bool {
		files, _ = filepath.Glob(filepath.Join(s.dir, "cache", "*.wav"))
		return len(files) == 2
	})
	var prompts [][]int16
	for _, f := range files {
		pcm, err := tts.LoadWAV(f)
		s.must(err)
		prompts = append(prompts, pcm)
	}
	return slices.MaxFunc(prompts, func(a, b []int16) int { return len(a) - len(b) })
}

// compare wants heard to be the prompt, frame by frame, but for what A-law makes
// of it and for the frames that frontdesk left out since the machine was too busy
// to send them in time, which it counts.
func compare(t *testing.T, heard, prompt []int16, skipped int) {
	t.Helper()
	const frame = 160
	if len(prompt) < 8000 {
		t.Fatalf("the prompt lasts %v, want a second at least", duration(len(prompt)))
	}
	prompt = append(prompt, make([]int16, (frame-len(prompt)%frame)%frame)...) // the last frame is sent whole
	missing, at := 0, 0
	for i := 0; i+frame <= len(heard); i += frame {
		from := at
		for at+frame <= len(prompt) && !alike(heard[i:i+frame], prompt[at:at+frame]) {
			at += frame
		}
		if at+frame > len(prompt) {
			t.Fatalf("what was heard at %v is not in the prompt behind %v", duration(i), duration(from))
		}
		if n := (at - from) / frame; n > 0 {
			t.Logf("%d frames are missing at %v", n, duration(from))
			missing += n
		}
		at += frame
	}
	missing += (len(prompt) - at) / frame
	t.Logf("heard %v of %v, %d frames missing, %d left out", duration(len(heard)), duration(len(prompt)), missing, skipped)
	if missing > skipped {
		t.Errorf("%d frames of the prompt were not heard, frontdesk left out %d", missing, skipped)
	}
	if d := duration(len(heard)+skipped*frame) - duration(len(prompt)); d.Abs() > 100*time.Millisecond {
		t.Errorf("heard %v, the prompt lasts %v", duration(len(heard)), duration(len(prompt)))
	}
}

func duration(samples int) time.Duration { return time.Duration(samples) * time.Second / 8000 }

// alike reports whether b, sent in A-law, may be heard as a: an error of 20 dB
// below it, or of a quantum of the quietest sounds.
func alike(a, b []int16) bool {
	var wrong, energy float64
	for i := range a {
		d := float64(a[i]) - float64(b[i])
		wrong, energy = wrong+d*d, energy+float64(b[i])*float64(b[i])
	}
	return wrong <= energy/100+float64(len(a))*16*16
}

// TestBaresipDials has baresip dial by RFC 4733 while the greeting plays: it is
// redirected to the number dialled.
func TestBaresipDials(t *testing.T) {
	t.Parallel()
	s := start(t, longGreeting(t, "early"))
	p := s.caller(".11", callerKnown, "")
	p.dial(s)
	p.await("CALL_PROGRESS", 1)
	p.hears(greeted)
	p.press("202")
	p.await("CALL_ESTABLISHED", 1)
	talk(t, p, s.pbxCall("202", 1))
	p.hangUp()
	interrupted(t, s.last(1, redirected("202", call.OutcomeDigits, true, "202")))
	s.idle()
}

// TestBaresipRedirected has baresip follow the 302 to another baresip.
func TestBaresipRedirected(t *testing.T) {
	t.Parallel()
	s := start(t, softPBX())
	ext := s.extension("201")
	p := s.caller(".11", callerKnown, "")
	p.dial(s)
	p.await("CALL_PROGRESS", 1)
	p.hears(greeted)
	p.await("CALL_ESTABLISHED", 1)
	p.hears(extensionTone)
	ext.hears(callerTone)
	s.last(1, redirected("201", call.OutcomeResponsible, true, ""))
	s.idle() // the two talk without us
	p.hangUp()
	ext.await("CALL_CLOSED", 1)
}

// TestBaresipReferred has baresip take a REFER and call the target itself.
func TestBaresipReferred(t *testing.T) {
	t.Parallel()
	s := start(t)
	p := s.caller(".12", callerKnown, "")
	p.dial(s)
	p.await("CALL_ESTABLISHED", 1)
	p.await("TRANSFER", 1)
	p.await("CALL_CLOSED", 1) // ours
	p.await("CALL_ESTABLISHED", 2)
	talk(t, p, s.pbxCall("201", 1))
	s.last(1, fate{"201", call.OutcomeResponsible, call.TransferRefer, "", true, ""})
	s.idle()
	p.hangUp()
	p.must(s.pbxCall("201", 1).WaitDone(patience(t)))
}

// TestBaresipBridged joins two baresips; then either hangs up.
func TestBaresipBridged(t *testing.T) {
	t.Parallel()
	s := start(t, softPBX())
	ext := s.extension("201")
	p := s.caller(".13", callerKnown, "")
	for i, hangUp := range []func(){p.hangUp, ext.hangUp} {
		p.dial(s)
		p.await("CALL_ESTABLISHED", 1)
		p.hears(extensionTone)
		ext.hears(callerTone)
		hangUp()
		p.await("CALL_CLOSED", 1)
		ext.await("CALL_CLOSED", i+1)
		want := fate{"201", call.OutcomeResponsible, call.TransferBridge, call.ResultAnswered, true, ""}
		if rec := s.last(i+1, want); len(rec.Talks) != 1 || rec.Talks[0].Extension != "201" {
			t.Errorf("the record tells of the talks %+v, want one at 201", rec.Talks)
		}
		s.idle()
	}
}

// TestBaresipHolds holds and resumes from either side, twice each. After every
// resumption sound passes both ways: whoever echoes sends back what it hears.
func TestBaresipHolds(t *testing.T) {
	t.Parallel()
	s := start(t, softPBX())
	ext := s.extension("202")
	p := s.caller(".13", callerQuiet, "")
	p.dial(s)
	p.await("CALL_ESTABLISHED", 1)
	p.hears(extensionTone)
	ext.hears(callerTone)
	for round := range 2 {
		for _, side := range [][2]*softphone{{p, ext}, {ext, p}} {
			holder, held := side[0], side[1]
			t.Logf("round %d: %s holds", round+1, holder.aor)
			n := len(held.happened("CALL_REMOTE_SDP"))
			holder.do("hold", "")
			held.await("CALL_REMOTE_SDP", n+1)
			holder.answered("a=recvonly")
			holder.do("resume", "")
			held.await("CALL_REMOTE_SDP", n+2)
			holder.answered("a=sendrecv")
			p.sing()
			ext.echo()
			ext.echoes(callerTone)
			ext.sing()
			p.echo()
			p.echoes(extensionTone)
			p.sing()
		}
	}
	p.hangUp()
	ext.await("CALL_CLOSED", 1)
	s.last(1, bridged("202", call.ResultAnswered))
	s.idle()
}

// answered waits until the last description that baresip got has a line.
func (p *softphone) answered(line string) {
	p.t.Helper()
	waitFor(p.t, line+" in the answer to baresip "+p.aor, func() bool {
		_, last, found := cutLast(p.text(), "SIP/2.0 200 ")
		return found && strings.Contains(last, line)
	})
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

// TestBaresipHangsUp has baresip give up in each phase; a talk's end is in
// TestBaresipBridged.
func TestBaresipHangsUp(t *testing.T) {
	t.Parallel()
	s := start(t, longGreeting(t, "early"), section("digits", `{next: 60s}`), section("crm", `{deadline: 5s, mirror: {enabled: false}, bitrix24: {webhook: "{{.Webhook}}"}}`),
		number("202", pbxtest.Behaviour{Then: pbxtest.Then{NoAnswer: true}}),
		section("trunks", `{carrier: {sources: [{{.Net}}.16/28], transfer: [bridge]}}`))
	known, quiet := s.caller(".17", callerKnown, ""), s.caller(".18", callerQuiet, "")
	by := call.OutcomeResponsible

	slowPortal(s)
	known.dial(s) // during the look-up
	waitFor(t, "the call to come in", func() bool { return s.metrics("frontdesk_calls_active") == 1 })
	known.hangUp()
	known.await("CALL_CLOSED", 1)
	s.last(1, unserved("", "", call.ResultAbandoned, false, ""))
	s.idle()
	s.portal.Heal()

	known.dial(s) // during the greeting
	known.hears(greeted)
	known.hangUp()
	known.await("CALL_CLOSED", 1)
	s.last(2, unserved("201", by, call.ResultAbandoned, true, ""))
	s.idle()

	known.dial(s) // between two digits
	known.hears(greeted)
	known.press("2")
	known.silent()
	known.hangUp()
	known.await("CALL_CLOSED", 1)
	s.last(3, unserved("201", by, call.ResultAbandoned, true, ""))
	s.idle()

	quiet.dial(s) // while it rings
	quiet.await("CALL_RINGING", 1)
	ringing := s.pbxCall("202", 1)
	quiet.hangUp()
	quiet.await("CALL_CLOSED", 1)
	s.must(ringing.WaitDone(patience(t)))
	if err := ringing.Err(); err != sip.ErrCanceled {
		t.Errorf("the call to the extension ended by %v, want CANCEL", err)
	}
	s.last(4, unserved("202", by, call.ResultAbandoned, false, ""))
	s.idle()
	if n := len(s.pbx.Calls()); n != 1 {
		t.Errorf("%d calls reached the PBX, want 1", n)
	}
}

// silent waits until nothing was received for a while.
func (p *softphone) silent() {
	p.t.Helper()
	size, since := -1, time.Now()
	waitFor(p.t, "silence at baresip "+p.aor, func() bool {
		if n := len(p.recording("dec")); n != size {
			size, since = n, time.Now()
		}
		return time.Since(since) > 300*time.Millisecond
	})
}

// TestBaresipDialsTwice is a gateway that tells each key twice: by RFC 4733 and,
// at once, by SIP INFO. It counts once.
func TestBaresipDialsTwice(t *testing.T) {
	t.Parallel()
	s := start(t, longGreeting(t, "answer"))
	p := s.caller(".13", callerKnown, "")
	p.dial(s)
	p.await("CALL_ESTABLISHED", 1)
	p.hears(greeted)
	gateway := p.besides(s)
	for _, key := range "202" {
		gateway.info(key)
		p.press(string(key))
		gateway.accepted()
	}
	c := s.pbxCall("202", 1)
	talk(t, p, c)
	s.must(c.Hangup(patience(t)))
	p.await("CALL_CLOSED", 1)
	s.last(1, fate{"202", call.OutcomeDigits, call.TransferBridge, call.ResultAnswered, true, "202"})
	s.idle()
}

// TestBaresipInfo dials by SIP INFO alone.
func TestBaresipInfo(t *testing.T) {
	t.Parallel()
	s := start(t, longGreeting(t, "answer"))
	p := s.caller(".13", callerKnown, "")
	p.dial(s)
	p.await("CALL_ESTABLISHED", 1)
	p.hears(greeted)
	gateway := p.besides(s)
	for _, key := range "202" {
		gateway.info(key)
		gateway.accepted()
	}
	c := s.pbxCall("202", 1)
	talk(t, p, c)
	s.must(c.Hangup(patience(t)))
	p.await("CALL_CLOSED", 1)
	s.last(1, fate{"202", call.OutcomeDigits, call.TransferBridge, call.ResultAnswered, true, "202"})
	s.idle()
}

// besides sends INFO within a softphone's call, which baresip 1.0 cannot.
type besides struct {
	s      *server
	socket net.Conn
	dialog string // From, To and Call-ID
	cseq   int
}

// besides joins the softphone's call. From then on the other side has to end it:
// the softphone does not know the sequence numbers used up.
func (p *softphone) besides(s *server) *besides {
	p.t.Helper()
	_, ok, found := cutLast(p.text(), "SIP/2.0 200 ")
	if !found {
		p.t.Fatal("baresip's call is not answered")
	}
	ok, _, _ = strings.Cut(ok, "Content-Length")
	var dialog []string
	for line := range strings.Lines(ok) {
		name, _, _ := strings.Cut(line, ":")
		if name == "From" || name == "To" || name == "Call-ID" {
			dialog = append(dialog, strings.TrimSpace(line))
		}
	}
	from, err := net.ResolveUDPAddr("udp", strings.TrimSuffix(strings.SplitN(p.aor, "@", 2)[1], ":5060")+":0")
	p.must(err)
	to, err := net.ResolveUDPAddr("udp", s.sip)
	p.must(err)
	socket, err := net.DialUDP("udp", from, to)
	p.must(err)
	p.t.Cleanup(func() { _ = socket.Close() })
	return &besides{s: s, socket: socket, dialog: strings.Join(dialog, "\r\n"), cseq: 100_000}
}

func (b *besides) info(key rune) {
	b.s.t.Helper()
	b.cseq++
	body := "Signal=" + string(key) + "\r\nDuration=160\r\n"
	_, err := b.socket.Write([]byte(strings.Join([]string{
		"INFO sip:" + did + "@" + b.s.sip + " SIP/2.0",
		"Via: SIP/2.0/UDP " + b.socket.LocalAddr().String() + ";branch=z9hG4bKinfo" + strconv.Itoa(b.cseq),
		"Max-Forwards: 70",
		b.dialog,
		"CSeq: " + strconv.Itoa(b.cseq) + " INFO",
		"Content-Type: application/dtmf-relay",
		"Content-Length: " + strconv.Itoa(len(body)), "", body,
	}, "\r\n")))
	b.s.must(err)
}

// accepted waits for the answer to the last INFO.
func (b *besides) accepted() {
	b.s.t.Helper()
	b.s.must(b.socket.SetReadDeadline(time.Now().Add(patient)))
	buf := make([]byte, 4096)
	n, err := b.socket.Read(buf)
	b.s.must(err)
	if !strings.HasPrefix(string(buf[:n]), "SIP/2.0 200 ") {
		b.s.t.Fatalf("the answer to INFO is %q", buf[:n])
	}
}

// dtmf writes a file of keys in-band.
func dtmf(p *softphone, keys string) (wav string) {
	p.t.Helper()
	pcm := media.Quiet(200 * time.Millisecond)
	for i := range len(keys) {
		pcm = append(append(pcm, media.DTMF(keys[i], 100*time.Millisecond)...), media.Quiet(100*time.Millisecond)...)
	}
	wav = p.file("keys.wav")
	p.must(os.WriteFile(wav, tts.EncodeWAV(append(pcm, media.Quiet(10*time.Second)...), 8000), 0o644))
	return wav
}
