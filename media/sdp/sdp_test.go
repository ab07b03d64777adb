package sdp_test

import (
	"bytes"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"frontdesk/media/sdp"
)

const head = "v=0\r\no=- 1 1 IN IP4 192.0.2.1\r\ns=-\r\nc=IN IP4 192.0.2.1\r\nt=0 0\r\n"

var both = []sdp.Codec{sdp.PCMA, sdp.PCMU}

func local() sdp.Local {
	return sdp.Local{Addr: netip.MustParseAddrPort("198.51.100.7:20000"), ID: 7, Version: 3}
}

func parse(t testing.TB, body string) *sdp.Session {
	t.Helper()
	s, err := sdp.ParseOffer([]byte(body))
	if err != nil {
		t.Fatalf("ParseOffer: %v", err)
	}
	return s
}

func TestAnswer(t *testing.T) {
	t.Parallel()
	const rfc4733 = "a=rtpmap:96 telephone-event/8000\r\n"
	tests := []struct {
		name, offer string
		codecs      []sdp.Codec
		want        sdp.Media // Addr, Codec, Payload, TelephoneEvent, Ptime, Direction are compared
		has         []string
	}{
		{"both laws, ours first", "m=audio 4000 RTP/AVP 0 8 96\r\n" + rfc4733, both,
			sdp.Media{Codec: sdp.PCMA, Payload: 8, TelephoneEvent: 96}, []string{"m=audio 20000 RTP/AVP 8 96\r\n", "a=fmtp:96 0-15\r\n", "a=ptime:20\r\n", "a=sendrecv\r\n"}},
		{"only ulaw, no events", "m=audio 4000 RTP/AVP 18 0\r\n", both,
			sdp.Media{Codec: sdp.PCMU, Payload: 0}, []string{"m=audio 20000 RTP/AVP 0\r\n"}},
		{"alaw under a dynamic type", "m=audio 4000 RTP/AVP 97\r\na=rtpmap:97 pcma/8000/1\r\n", both,
			sdp.Media{Codec: sdp.PCMA, Payload: 97}, []string{"a=rtpmap:97 PCMA/8000\r\n"}},
		{"events at the codec's rate only", "m=audio 4000 RTP/AVP 8 100 101\r\na=rtpmap:100 telephone-event/48000\r\na=rtpmap:101 telephone-event/8000\r\n", both,
			sdp.Media{Codec: sdp.PCMA, Payload: 8, TelephoneEvent: 101}, []string{"m=audio 20000 RTP/AVP 8 101\r\n"}},
		{"hold", "m=audio 4000 RTP/AVP 8\r\na=sendonly\r\n", both,
			sdp.Media{Codec: sdp.PCMA, Payload: 8, Direction: sdp.RecvOnly}, []string{"a=recvonly\r\n"}},
		{"hold for the whole session", "a=inactive\r\nm=audio 4000 RTP/AVP 8\r\n", both,
			sdp.Media{Codec: sdp.PCMA, Payload: 8, Direction: sdp.Inactive}, []string{"a=inactive\r\n"}},
		{"ptime 30", "m=audio 4000 RTP/AVP 8\r\na=ptime:30\r\n", both,
			sdp.Media{Codec: sdp.PCMA, Payload: 8, Ptime: 30 * time.Millisecond}, []string{"a=ptime:30\r\n"}},
		{"ptime 25.0 goes onto 20", "m=audio 4000 RTP/AVP 8\r\na=ptime:25.0\r\n", both, sdp.Media{Codec: sdp.PCMA, Payload: 8}, nil},
		{"ptime huge", "m=audio 4000 RTP/AVP 8\r\na=ptime:4294967295\r\n", both,
			sdp.Media{Codec: sdp.PCMA, Payload: 8, Ptime: 60 * time.Millisecond}, nil},
		{"ptime 1", "m=audio 4000 RTP/AVP 8\r\na=ptime:1\r\n", both, sdp.Media{Codec: sdp.PCMA, Payload: 8, Ptime: 10 * time.Millisecond}, nil},
		{"ptime nonsense", "m=audio 4000 RTP/AVP 8\r\na=ptime:NaN\r\na=ptime:-5\r\n", both, sdp.Media{Codec: sdp.PCMA, Payload: 8}, nil},
		{"maxptime below ptime", "m=audio 4000 RTP/AVP 8\r\na=ptime:40\r\na=maxptime:30\r\n", both,
			sdp.Media{Codec: sdp.PCMA, Payload: 8, Ptime: 30 * time.Millisecond}, nil},
		{"video and encrypted audio refused in place", "m=video 5000 RTP/AVP 99\r\nm=audio 5002 RTP/SAVP 8\r\nm=audio 4000 RTP/AVP 8\r\nm=application 5004 UDP/BFCP *\r\n", both,
			sdp.Media{Codec: sdp.PCMA, Payload: 8}, []string{"t=0 0\r\nm=video 0 RTP/AVP 99\r\nm=audio 0 RTP/SAVP 8\r\nm=audio 20000 RTP/AVP 8\r\n", "m=application 0 UDP/BFCP *\r\n"}},
		{"first stream without our codec", "m=audio 5000 RTP/AVP 18\r\nm=audio 4000 RTP/AVP 8\r\n", both,
			sdp.Media{Codec: sdp.PCMA, Payload: 8}, []string{"m=audio 0 RTP/AVP 18\r\nm=audio 20000 RTP/AVP 8\r\n"}},
		{"no last newline, bare LF", "m=audio 4000 RTP/AVP 8 96\na=rtpmap:96 telephone-event/8000", both,
			sdp.Media{Codec: sdp.PCMA, Payload: 8, TelephoneEvent: 96}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			body, m, err := sdp.Answer(parse(t, head+tt.offer), local(), tt.codecs)
			if err != nil {
				t.Fatal(err)
			}
			want := tt.want
			if want.Ptime == 0 {
				want.Ptime = 20 * time.Millisecond
			}
			if m.Codec != want.Codec || m.Payload != want.Payload || m.TelephoneEvent != want.TelephoneEvent || m.Ptime != want.Ptime || m.Direction != want.Direction {
				t.Errorf("media = %+v, want %+v", m, want)
			}
			if got := m.Addr.String(); got != "192.0.2.1:4000" {
				t.Errorf("address = %s", got)
			}
			for _, h := range tt.has {
				if !strings.Contains(string(body), h) {
					t.Errorf("no %q in\n%s", h, body)
				}
			}
			if _, err := sdp.ParseAnswer(body); err != nil {
				t.Errorf("our own answer: %v", err)
			}
		})
	}
}

func TestAnswerRefusals(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, offer string
		want        error
	}{
		{"no common codec", head + "m=audio 4000 RTP/AVP 18 9\r\n", sdp.ErrNoCommonCodec},
		{"only video", head + "m=video 4000 RTP/AVP 99\r\n", sdp.ErrNoAudio},
		{"audio switched off", head + "m=audio 0 RTP/AVP 8\r\n", sdp.ErrNoAudio},
		{"encrypted only", head + "m=audio 4000 RTP/SAVP 8\r\n", sdp.ErrNoAudio},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if _, _, err := sdp.Answer(parse(t, tt.offer), local(), both); !errors.Is(err, tt.want) {
				t.Errorf("err = %v, want %v", err, tt.want)
			}
		})
	}
}

// TestParseRefuses holds the bombs of reliability.md A7: each is refused, and
// quickly.
func TestParseRefuses(t *testing.T) {
	t.Parallel()
	audio := "m=audio 4000 RTP/AVP 8\r\n"
	tests := []struct {
		name, body string
		want       error
	}{
		{"empty", "", sdp.ErrSyntax},
		{"not SDP", "hello", sdp.ErrSyntax},
		{"no m=", head, sdp.ErrNoAudio},
		{"500 streams", head + strings.Repeat(audio, 500), sdp.ErrLimit},
		{"21 streams", head + strings.Repeat(audio, 21), sdp.ErrLimit},
		{"1000 attributes", head + audio + strings.Repeat("a=x\r\n", 1000), sdp.ErrLimit},
		{"5000 formats", head + "m=audio 4000 RTP/AVP" + strings.Repeat(" 8", 5000) + "\r\n", sdp.ErrLimit},
		{"17 kB", head + audio + "a=x:" + strings.Repeat("x", 17<<10), sdp.ErrLimit},
		{"port -1", head + "m=audio -1 RTP/AVP 8\r\n", sdp.ErrSyntax},
		{"port 70000", head + "m=audio 70000 RTP/AVP 8\r\n", sdp.ErrSyntax},
		{"payload 200", head + "m=audio 4000 RTP/AVP 200\r\n", sdp.ErrSyntax},
		{"NUL", head + audio + "a=fmtp:8 \x00\r\n", sdp.ErrSyntax},
		{"bare CR inside", head + audio + "a=fmtp:8 x\rm=audio 1 RTP/AVP 8\r\n", sdp.ErrSyntax},
		{"no c=", "v=0\r\n" + audio, sdp.ErrSyntax},
		{"host name", "v=0\r\nc=IN IP4 example.com\r\n" + audio, sdp.ErrSyntax},
		{"multicast", "v=0\r\nc=IN IP4 224.2.36.42/127\r\n" + audio, sdp.ErrAddress},
		{"broadcast", "v=0\r\nc=IN IP4 255.255.255.255\r\n" + audio, sdp.ErrAddress},
		{"multicast 6", "v=0\r\nc=IN IP6 ff02::1\r\n" + audio, sdp.ErrAddress},
		{"multicast mapped", "v=0\r\nc=IN IP6 ::ffff:224.0.0.1\r\n" + audio, sdp.ErrAddress},
		{"multicast rtcp", head + audio + "a=rtcp:4001 IN IP4 224.0.0.1\r\n", sdp.ErrAddress},
		{"family mixed up", "v=0\r\nc=IN IP6 192.0.2.1\r\n" + audio, sdp.ErrSyntax},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			start := time.Now()
			if _, err := sdp.ParseOffer([]byte(tt.body)); !errors.Is(err, tt.want) {
				t.Errorf("err = %v, want %v", err, tt.want)
			}
			if d := time.Since(start); d > 100*time.Millisecond {
				t.Errorf("took %v", d)
			}
		})
	}
}

func TestHoldWithoutAddress(t *testing.T) {
	t.Parallel()
	offer := parse(t, "v=0\r\nc=IN IP4 0.0.0.0\r\nm=audio 4000 RTP/AVP 8\r\n")
	body, m, err := sdp.Answer(offer, local(), both)
	if err != nil {
		t.Fatal(err)
	}
	if m.Addr.IsValid() || m.Direction.Sends() || !m.Held() {
		t.Errorf("media = %+v: must send nothing", m)
	}
	if !strings.Contains(string(body), "a=recvonly") {
		t.Errorf("answer:\n%s", body)
	}
}

func TestIPv6(t *testing.T) {
	t.Parallel()
	l := local()
	l.Addr = netip.MustParseAddrPort("[2001:db8::7]:20000")
	body, m, err := sdp.Answer(parse(t, "v=0\r\nc=IN IP6 2001:db8::1\r\nm=audio 4000 RTP/AVP 8\r\na=rtcp:4009\r\n"), l, both)
	if err != nil {
		t.Fatal(err)
	}
	if m.Addr.String() != "[2001:db8::1]:4000" || m.RTCP.String() != "[2001:db8::1]:4009" {
		t.Errorf("media = %+v", m)
	}
	if !strings.Contains(string(body), "c=IN IP6 2001:db8::7\r\n") {
		t.Errorf("answer:\n%s", body)
	}
}

// TestLateOffer is our offer in a 200 and the peer's answer in the ACK.
func TestLateOffer(t *testing.T) {
	t.Parallel()
	offer := sdp.Offer(local(), both)
	for _, want := range []string{"m=audio 20000 RTP/AVP 8 0 101\r\n", "a=rtpmap:101 telephone-event/8000\r\n", "o=frontdesk 7 3 IN IP4 198.51.100.7\r\n"} {
		if !bytes.Contains(offer, []byte(want)) {
			t.Errorf("no %q in\n%s", want, offer)
		}
	}
	peer := sdp.Local{Addr: netip.MustParseAddrPort("192.0.2.1:4000")}
	body, _, err := sdp.Answer(parse(t, string(offer)), peer, []sdp.Codec{sdp.PCMU})
	if err != nil {
		t.Fatal(err)
	}
	answer, err := sdp.ParseAnswer(body)
	if err != nil {
		t.Fatal(err)
	}
	m, err := sdp.Accept(answer, both...)
	if err != nil || m.Codec != sdp.PCMU || m.Payload != 0 || m.TelephoneEvent != 101 || m.Addr != peer.Addr {
		t.Errorf("Accept = %+v, %v", m, err)
	}
	if _, err := sdp.Accept(answer, sdp.PCMA); !errors.Is(err, sdp.ErrNoCommonCodec) {
		t.Errorf("Accept of another codec: %v", err)
	}
}

// TestRewriteAndAgree passes an offer and its answer through us.
func TestRewriteAndAgree(t *testing.T) {
	t.Parallel()
	caller := head + "a=group:BUNDLE 0\r\na=ice-lite\r\nb=AS:64\r\n" +
		"m=audio 4000 RTP/AVP 9 8 101\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:30\r\n" +
		"a=candidate:1 1 UDP 1 10.0.0.1 4000 typ host\r\na=crypto:1 AES x\r\na=rtcp:4001\r\na=sendonly\r\n" +
		"m=video 5000 RTP/AVP 99\r\na=rtpmap:99 H264/90000\r\n"
	out, err := sdp.Rewrite([]byte(caller), local())
	if err != nil {
		t.Fatal(err)
	}
	want := "v=0\r\no=frontdesk 7 3 IN IP4 198.51.100.7\r\ns=frontdesk\r\nc=IN IP4 198.51.100.7\r\nt=0 0\r\n" +
		"m=audio 20000 RTP/AVP 9 8 101\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\na=ptime:30\r\na=sendonly\r\n" +
		"m=video 0 RTP/AVP 99\r\n"
	if string(out) != want {
		t.Errorf("rewritten:\n%s\nwant:\n%s", out, want)
	}
	answer := parse(t, head+"m=audio 6000 RTP/AVP 9 101\r\na=rtpmap:101 telephone-event/8000\r\na=recvonly\r\nm=video 0 RTP/AVP 99\r\n")
	m, err := sdp.Agree(parse(t, caller), answer)
	if err != nil {
		t.Fatal(err)
	}
	if m.Codec != "G722/8000" || m.TelephoneEvent != 101 || m.Addr.Port() != 4000 || m.Direction != sdp.RecvOnly || len(m.Formats) != 2 {
		t.Errorf("the offering leg = %+v", m)
	}
	b, err := sdp.Accept(answer)
	if err != nil || b.Codec != "G722/8000" || b.Addr.Port() != 6000 || b.Direction != sdp.SendOnly {
		t.Errorf("the answering leg = %+v, %v", b, err)
	}
}

func TestRewriteOldHold(t *testing.T) {
	t.Parallel()
	out, err := sdp.Rewrite([]byte("v=0\r\nc=IN IP4 0.0.0.0\r\nm=audio 4000 RTP/AVP 8\r\na=sendrecv\r\n"), local())
	if err != nil || !strings.HasSuffix(string(out), "m=audio 20000 RTP/AVP 8\r\na=sendonly\r\n") {
		t.Errorf("%s %v", out, err)
	}
	if _, err := sdp.Rewrite([]byte(head+"m=audio 0 RTP/AVP 8\r\n"), local()); !errors.Is(err, sdp.ErrNoAudio) {
		t.Errorf("switched off: %v", err)
	}
}

func TestDirection(t *testing.T) {
	t.Parallel()
	if sdp.SendOnly.Mirror() != sdp.RecvOnly || sdp.SendRecv.Mirror() != sdp.SendRecv || sdp.Inactive.Mirror() != sdp.Inactive {
		t.Error("Mirror")
	}
	if !sdp.SendOnly.Sends() || sdp.RecvOnly.Sends() || sdp.Inactive.Sends() {
		t.Error("Sends")
	}
}

func TestParseCodec(t *testing.T) {
	t.Parallel()
	if c, ok := sdp.ParseCodec("pcmu"); !ok || c != sdp.PCMU {
		t.Error(c, ok)
	}
	if _, ok := sdp.ParseCodec("G729"); ok {
		t.Error("G729 cannot be played")
	}
	if r := sdp.Codec("OPUS/48000/2").Rate(); r != 48000 {
		t.Error(r)
	}
}

func FuzzParseOffer(f *testing.F) {
	f.Add([]byte(head + "m=audio 4000 RTP/AVP 0 8 101\r\na=rtpmap:101 telephone-event/8000\r\na=ptime:20\r\na=sendonly\r\n"))
	f.Add([]byte("v=0\nc=IN IP6 ::1\nm=audio 1 RTP/AVP 8\na=rtcp:1 IN IP4 0.0.0.0"))
	f.Add([]byte("v=0\r\nm=video 1/2 x *\r\nm=audio 65535 RTP/AVPF 0\r\nc=IN IP4 127.0.0.1\r\na=maxptime:0x1\r\n"))
	f.Fuzz(func(t *testing.T, body []byte) {
		s, err := sdp.ParseOffer(body)
		if err != nil {
			return
		}
		answer, m, err := sdp.Answer(s, local(), both)
		if err == nil {
			if m.Ptime < sdp.MinPtime || m.Ptime > sdp.MaxPtime || m.Addr.Addr().IsMulticast() {
				t.Errorf("media = %+v", m)
			}
			again, err := sdp.ParseAnswer(answer)
			if err != nil {
				t.Fatalf("our answer %q: %v", answer, err)
			}
			if len(again.Streams) != len(s.Streams) {
				t.Errorf("%d streams answered with %d", len(s.Streams), len(again.Streams))
			}
		}
		if out, err := sdp.Rewrite(body, local()); err == nil {
			if _, err := sdp.ParseOffer(out); err != nil {
				t.Fatalf("rewritten %q: %v", out, err)
			}
		}
	})
}

func BenchmarkAnswer(b *testing.B) {
	offer := []byte(head + "m=audio 4000 RTP/AVP 0 8 101\r\na=rtpmap:101 telephone-event/8000\r\na=ptime:20\r\n")
	b.ReportAllocs()
	for b.Loop() {
		s, err := sdp.ParseOffer(offer)
		if err != nil {
			b.Fatal(err)
		}
		if _, _, err := sdp.Answer(s, local(), both); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkParseBomb is the costliest body that the limits let in.
func BenchmarkParseBomb(b *testing.B) {
	var s strings.Builder
	s.WriteString(head + "m=audio 4000 RTP/AVP")
	for i := range 64 {
		fmt.Fprintf(&s, " %d", 64+i%64)
	}
	s.WriteString("\r\n" + strings.Repeat("a=rtpmap:1 "+strings.Repeat("x", 34)+"/8000\r\n", 290))
	body := []byte(s.String())
	for b.Loop() {
		if _, err := sdp.ParseOffer(body); err != nil {
			b.Fatal(err)
		}
	}
}
