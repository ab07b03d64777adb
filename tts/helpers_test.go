package tts_test

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"frontdesk/tts"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// tone is a sine of hz at the rate, with the amplitude given.
func tone(hz float64, rate, n int, amplitude float64) []int16 {
	pcm := make([]int16, n)
	for i := range pcm {
		pcm[i] = int16(math.Round(amplitude * math.Sin(2*math.Pi*hz*float64(i)/float64(rate))))
	}
	return pcm
}

// level is the amplitude of the hz component of pcm (Goertzel).
func level(pcm []int16, hz float64, rate int) float64 {
	w := 2 * math.Pi * hz / float64(rate)
	var s1, s2 float64
	for _, v := range pcm {
		s1, s2 = float64(v)+2*math.Cos(w)*s1-s2, s1
	}
	power := s1*s1 + s2*s2 - 2*math.Cos(w)*s1*s2
	return 2 * math.Sqrt(max(0, power)) / float64(len(pcm))
}

func rms(pcm []int16) float64 {
	var sum float64
	for _, v := range pcm {
		sum += float64(v) * float64(v)
	}
	return math.Sqrt(sum / float64(max(1, len(pcm))))
}

// fakeEngine speaks a tone, or whatever its function says.
type fakeEngine struct {
	name  string
	calls atomic.Int32
	speak func(ctx context.Context, text, voice string) ([]byte, error)
}

func (e *fakeEngine) Name() string { return e.name }

func (e *fakeEngine) Synthesize(ctx context.Context, text, _, voice string) ([]byte, error) {
	e.calls.Add(1)
	return e.speak(ctx, text, voice)
}

// toneEngine speaks 100 ms of a tone for every text.
func toneEngine(name string, hz float64) *fakeEngine {
	wav := tts.EncodeWAV(tone(hz, 8000, 800, 8000), 8000)
	return &fakeEngine{name: name, speak: func(context.Context, string, string) ([]byte, error) { return wav, nil }}
}

func same(pcm []int16) []int16 { return pcm }

func newStore(t *testing.T, cfg tts.Config) *tts.Store[[]int16] {
	t.Helper()
	s, err := tts.NewStore(cfg, same)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// hears says which of the frequencies is in pcm.
func hears(t *testing.T, pcm []int16, want float64, others ...float64) {
	t.Helper()
	if got := level(pcm, want, 8000); got < 5000 {
		t.Errorf("level at %v Hz is %.0f, want the tone", want, got)
	}
	for _, hz := range others {
		if got := level(pcm, hz, 8000); got > 500 {
			t.Errorf("level at %v Hz is %.0f, want none", hz, got)
		}
	}
}

func write(t *testing.T, dir, name string, b []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}
