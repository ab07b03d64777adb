package media

import (
	"encoding/binary"
	"math"
	"math/rand/v2"
	"net/netip"
	"testing"
	"time"

	"frontdesk/media/sdp"
)

var loopbackPeer = netip.MustParseAddrPort("127.0.0.1:9")

// arrival is one event packet, ms after the test's begin.
type arrival struct {
	ms        int
	timestamp uint32
	code      uint8
	duration  uint16
	end       bool
}

func (a arrival) packet() packet {
	b := []byte{a.code, 10, 0, 0}
	if a.end {
		b[1] |= 0x80
	}
	binary.BigEndian.PutUint16(b[2:], a.duration)
	return packet{payload: 101, ssrc: 7, timestamp: a.timestamp, body: b}
}

// key is a whole press: begin, a packet each 20 ms, three ends.
func key(ms int, timestamp uint32, code uint8, frames int) []arrival {
	var k []arrival
	for i := range frames {
		k = append(k, arrival{ms + 20*i, timestamp, code, uint16(160 * (i + 1)), false})
	}
	for i := range 3 {
		k = append(k, arrival{ms + 20*(frames+i), timestamp, code, uint16(160 * (frames + 1)), true})
	}
	return k
}

func pick(k []arrival, indices ...int) []arrival {
	var out []arrival
	for _, i := range indices {
		out = append(out, k[i])
	}
	return out
}

func join(keys ...[]arrival) []arrival {
	var out []arrival
	for _, k := range keys {
		out = append(out, k...)
	}
	return out
}

// held is a key of 20 s: each 65535 samples the sender begins a new segment
// without an end (RFC 4733, section 2.5.1.3).
func held(code uint8, frames int) []arrival {
	var k []arrival
	var timestamp, duration uint32 = 1000, 0
	for i := range frames {
		duration += 160
		if duration > 0xffff {
			k[len(k)-1].duration = 0xffff
			timestamp, duration = timestamp+0xffff, 160
		}
		k = append(k, arrival{20 * i, timestamp, code, uint16(duration), i == frames-1})
	}
	return k
}

func TestEvents(t *testing.T) {
	t.Parallel()
	one := key(0, 1000, 1, 5) // 8 packets
	tests := []struct {
		name string
		in   []arrival
		want string
	}{
		{"a key", one, "1"},
		{"end lost", one[:5], "1"},
		{"begin lost", one[3:], "1"},
		{"only an end", one[7:], "1"},
		{"only a begin", one[:1], "1"},
		{"every packet twice", join(one[:1], one[:1], one[1:4], one[1:4], one[4:], one[4:]), "1"},
		{"reordered", pick(one, 2, 0, 1, 4, 3, 7, 5, 6), "1"},
		{"an end before the begin", pick(one, 7, 0, 1, 2), "1"},
		{"same key again", join(one, key(400, 4000, 1, 5)), "11"},
		{"50 ms apart", join(one, key(210, 2680, 2, 5)), "12"},
		{"same key 50 ms apart, first end lost", join(one[:5], key(150, 2200, 1, 5)), "11"},
		{"late packets behind the next key", join(one[:4], key(100, 2000, 2, 3)[:2], one[4:], key(100, 2000, 2, 3)[2:]), "12"},
		{"timestamp used again after a pause", join(one, key(400, 1000, 1, 5)), "11"},
		{"timestamp used again, end lost", join(one[:5], key(600, 1000, 1, 5)), "11"},
		{"timestamp used again for another key", join(one, key(400, 1000, 2, 5)), "12"},
		{"last packets late, same timestamp", join(one[:6], []arrival{{260, 1000, 1, 960, true}}), "1"},
		{"timestamp backwards", join(one, key(400, 500, 3, 5)), "13"},
		{"all keys", join(key(0, 1, 0, 2), key(200, 2000, 9, 2), key(400, 4000, 10, 2), key(600, 6000, 11, 2), key(800, 8000, 12, 2), key(1000, 10000, 15, 2)), "09*#AD"},
		{"no keys", join(key(0, 1, 16, 3), key(200, 2000, 64, 3), key(400, 4000, 255, 3)), ""},
		{"duration 0", []arrival{{0, 1, 5, 0, true}, {1, 1, 5, 0, true}}, "5"},
		{"duration 65535", []arrival{{0, 1, 5, 0xffff, false}, {20, 1, 5, 0xffff, true}}, "5"},
		{"held 5 s", held(5, 250), "5"},
		{"held 20 s in segments", held(5, 1000), "5"},
		{"held, then pressed again", join(held(5, 410), key(8500, 200000, 5, 3)), "55"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var r eventReceiver
			var got []byte
			begin := time.Now()
			for _, a := range tt.in {
				if d, fresh := r.take(a.packet(), begin.Add(time.Duration(a.ms)*time.Millisecond)); fresh {
					got = append(got, d)
				}
			}
			if string(got) != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func TestDigitsFromSeveralWays(t *testing.T) {
	t.Parallel()
	type step struct {
		ms   int
		by   way
		what byte
		held bool
	}
	tests := []struct {
		name  string
		steps []step
		want  string
	}{
		{"event, then INFO", []step{{0, byEvent, '1', false}, {250, bySignal, '1', false}}, "1"},
		{"INFO, then event", []step{{0, bySignal, '1', false}, {250, byEvent, '1', false}}, "1"},
		{"INFO at the release of a long key", []step{{0, byEvent, '1', false}, {2000, byEvent, '1', true}, {4900, byEvent, '1', true}, {5100, bySignal, '1', false}}, "1"},
		{"too late to be the same", []step{{0, byEvent, '1', false}, {301, bySignal, '1', false}}, "11"},
		{"twice by INFO alone", []step{{0, bySignal, '1', false}, {100, bySignal, '1', false}}, "11"},
		{"double press, both ways", []step{{0, byEvent, '1', false}, {50, bySignal, '1', false}, {150, byEvent, '1', false}, {200, bySignal, '1', false}}, "11"},
		{"double press, INFO behind", []step{{0, byEvent, '1', false}, {150, byEvent, '1', false}, {200, bySignal, '1', false}, {260, bySignal, '1', false}}, "11"},
		{"others between", []step{{0, byEvent, '1', false}, {50, byEvent, '2', false}, {100, bySignal, '1', false}, {150, bySignal, '2', false}}, "12"},
		{"tone and INFO", []step{{0, byTone, '1', false}, {100, bySignal, '1', false}}, "1"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			d := newDigits(&counters{})
			begin := time.Now()
			for _, s := range tt.steps {
				at := begin.Add(time.Duration(s.ms) * time.Millisecond)
				if s.held {
					d.held(s.what, s.by, at)
				} else {
					d.pressed(s.what, s.by, at)
				}
			}
			if got := drain(d); got != tt.want {
				t.Errorf("got %q, want %q", got, tt.want)
			}
		})
	}
}

func drain(d *digits) string {
	var got []byte
	for {
		select {
		case c := <-d.out:
			got = append(got, c)
		default:
			return string(got)
		}
	}
}

func TestUnreadDigitsAreCounted(t *testing.T) {
	t.Parallel()
	d := newDigits(&counters{})
	for range cap(d.out) + 5 {
		d.pressed('1', byEvent, time.Now())
	}
	if n := d.count.lost.Load(); n != 5 {
		t.Errorf("%d lost", n)
	}
}

// detect returns the digits heard in samples, fed frame by frame.
func detect(pcm []int16, frame int) string {
	d := newDetector()
	var got []byte
	for len(pcm) > 0 {
		n := min(frame, len(pcm))
		d.feed(pcm[:n], func(digit byte) { got = append(got, digit) })
		pcm = pcm[n:]
	}
	return string(got)
}

func TestTones(t *testing.T) {
	t.Parallel()
	const ms = time.Millisecond
	all := func(tone, pause time.Duration, scale float64) []int16 {
		pcm := Quiet(33 * ms)
		for i := range keypad {
			for _, s := range DTMF(keypad[i], tone) {
				pcm = append(pcm, int16(float64(s)*scale))
			}
			pcm = append(pcm, Quiet(pause)...)
		}
		return pcm
	}
	law := func(codec sdp.Codec, pcm []int16) []int16 {
		return Decode(nil, codec, NewClip(pcm).encoded(codec))
	}
	noisy := func(pcm []int16, amplitude float64) []int16 {
		r := rand.New(rand.NewPCG(1, 2))
		for i := range pcm {
			pcm[i] = int16(math.Max(-32768, math.Min(32767, float64(pcm[i])+amplitude*r.NormFloat64())))
		}
		return pcm
	}
	twisted := func(rowDB, colDB float64) []int16 {
		pcm := Quiet(50 * ms)
		for i := range samples(60 * ms) {
			v := 8000*math.Pow(10, rowDB/20)*math.Sin(2*math.Pi*770*float64(i)/sampleRate) + 8000*math.Pow(10, colDB/20)*math.Sin(2*math.Pi*1336*float64(i)/sampleRate)
			pcm = append(pcm, int16(v))
		}
		return append(pcm, Quiet(50*ms)...)
	}
	tests := []struct {
		name string
		pcm  []int16
		want string
	}{
		{"40 ms on, 40 off", all(40*ms, 40*ms, 1), keypad},
		{"100 ms on, 50 off", all(100*ms, 50*ms, 1), keypad},
		{"quiet, 30 dB down", all(50*ms, 50*ms, 0.03), keypad},
		{"through PCMA", law(sdp.PCMA, all(50*ms, 50*ms, 0.5)), keypad},
		{"through PCMU", law(sdp.PCMU, all(50*ms, 50*ms, 0.5)), keypad},
		{"with noise 20 dB down", noisy(all(60*ms, 60*ms, 0.7), 800), keypad},
		{"20 ms is too short", all(20*ms, 60*ms, 1), ""},
		{"held a second", append(DTMF('5', time.Second), Quiet(50*ms)...), "5"},
		{"broken for 10 ms", join16(DTMF('5', 100*ms), Quiet(10*ms), DTMF('5', 100*ms)), "5"},
		{"one tone only", Tone(770, time.Second), ""},
		{"column 6 dB over row", twisted(-6, 0), "5"},
		{"column 12 dB over row", twisted(-12, 0), ""},
		{"row 8 dB over column", twisted(0, -8), ""},
		{"silence", Quiet(time.Second), ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			for _, frame := range []int{160, 80, 480} {
				if got := detect(tt.pcm, frame); got != tt.want {
					t.Errorf("frames of %d: got %q, want %q", frame, got, tt.want)
				}
			}
		})
	}
}

func join16(parts ...[]int16) []int16 {
	var pcm []int16
	for _, p := range parts {
		pcm = append(pcm, p...)
	}
	return pcm
}

// TestNoTalkOff: minutes of something like speech, of chords and of noise are
// no digits.
func TestNoTalkOff(t *testing.T) {
	t.Parallel()
	sounds := 20 // of five seconds
	if testing.Short() {
		sounds = 4
	}
	for name, sound := range map[string]func(*rand.Rand) []int16{"speech": speech, "chords": chords, "noise": noise} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := rand.New(rand.NewPCG(3, 4))
			for range sounds {
				if got := detect(sound(r), 160); got != "" {
					t.Fatalf("heard %q", got)
				}
			}
		})
	}
}

// speech makes five seconds of syllables: a gliding pitch whose harmonics are
// shaped by two or three formants, with pauses and hisses.
func speech(r *rand.Rand) []int16 {
	var pcm []int16
	for len(pcm) < 5*sampleRate {
		n := sampleRate/20 + r.IntN(sampleRate/5)
		if r.IntN(5) == 0 {
			for range n {
				pcm = append(pcm, int16(1500*r.NormFloat64()))
			}
			continue
		}
		pitch, glide := 80+200*r.Float64(), 0.8+0.4*r.Float64()
		formants := [3]float64{300 + 600*r.Float64(), 900 + 1400*r.Float64(), 2300 + 900*r.Float64()}
		var phase float64
		for i := range n {
			x := float64(i) / float64(n)
			f := pitch * (1 + (glide-1)*x)
			phase += 2 * math.Pi * f / sampleRate
			var v float64
			for h := 1.0; h*f < 3600; h++ {
				var gain float64
				for k, c := range formants {
					gain += 1 / math.Hypot(1, (h*f-c)/80) / float64(k+1) // a resonance 160 Hz wide
				}
				v += gain * math.Sin(h*phase)
			}
			pcm = append(pcm, int16(4000*v*math.Sin(math.Pi*x)))
		}
		pcm = append(pcm, Quiet(time.Duration(r.IntN(80))*time.Millisecond)...)
	}
	return pcm
}

// chords makes five seconds of three notes of the piano at a time.
func chords(r *rand.Rand) []int16 {
	var pcm []int16
	for len(pcm) < 5*sampleRate {
		var notes [3]float64
		for i := range notes {
			notes[i] = 220 * math.Pow(2, float64(r.IntN(36))/12)
		}
		for i := range sampleRate / 5 {
			var v float64
			for _, f := range notes {
				v += math.Sin(2*math.Pi*f*float64(i)/sampleRate) + 0.4*math.Sin(4*math.Pi*f*float64(i)/sampleRate)
			}
			pcm = append(pcm, int16(4000*v))
		}
	}
	return pcm
}

func noise(r *rand.Rand) []int16 {
	pcm := make([]int16, 5*sampleRate)
	for i := range pcm {
		pcm[i] = int16(8000 * (2*r.Float64() - 1))
	}
	return pcm
}
