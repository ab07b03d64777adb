package tts_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"frontdesk/tts"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func TestStoreRendersOnce(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(t.TempDir(), "greetings")
	e := toneEngine("a", 440)
	s := newStore(t, tts.Config{Engines: []tts.Engine{e}, Dir: dir, Language: "ru-RU"})
	for range 3 {
		pcm, err := s.Prompt(t.Context(), "Ольга  Романова ")
		if err != nil {
			t.Fatal(err)
		}
		hears(t, pcm, 440)
	}
	if n := e.calls.Load(); n != 1 {
		t.Errorf("rendered %d times", n)
	}
	again := newStore(t, tts.Config{Engines: []tts.Engine{e}, Dir: dir, Language: "ru-RU"})
	if pcm, err := again.Prompt(t.Context(), "Ольга Романова"); err != nil {
		t.Fatal(err)
	} else {
		hears(t, pcm, 440)
	}
	if n := e.calls.Load(); n != 1 {
		t.Errorf("rendered again after a restart")
	}
	// Another language, voice or engine is another prompt.
	for _, cfg := range []tts.Config{
		{Engines: []tts.Engine{e}, Dir: dir, Language: "uk-UA"},
		{Engines: []tts.Engine{e}, Dir: dir, Language: "ru-RU", Voice: "v"},
		{Engines: []tts.Engine{toneEngine("b", 440)}, Dir: dir, Language: "ru-RU"},
	} {
		before := files(t, dir)
		if _, err := newStore(t, cfg).Prompt(t.Context(), "Ольга Романова"); err != nil {
			t.Fatal(err)
		}
		if after := files(t, dir); len(after) != len(before)+1 {
			t.Errorf("%v, %q: %d files, had %d", cfg.Language, cfg.Voice, len(after), len(before))
		}
	}
}

func files(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, e := range entries {
		out = append(out, filepath.Join(dir, e.Name()))
	}
	return out
}

func TestStoreSingleFlight(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := slow("a", 440, time.Second)
		s := newStore(t, tts.Config{Engines: []tts.Engine{e}})
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				if _, err := s.Prompt(t.Context(), "one text"); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if n := e.calls.Load(); n != 1 {
			t.Errorf("rendered %d times for 50 calls", n)
		}
	})
}

// slow speaks a tone after a time, unless it is stopped.
func slow(name string, hz float64, d time.Duration) *fakeEngine {
	e := toneEngine(name, hz)
	speak := e.speak
	e.speak = func(ctx context.Context, text, voice string) ([]byte, error) {
		select {
		case <-time.After(d):
			return speak(ctx, text, voice)
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	return e
}

func TestStoreCallerDoesNotWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e := slow("a", 440, 10*time.Second)
		s := newStore(t, tts.Config{Engines: []tts.Engine{e}})
		began := time.Now()
		tooLate := errors.New("300 ms are over")
		ctx, cancel := context.WithTimeoutCause(t.Context(), 300*time.Millisecond, tooLate)
		defer cancel()
		_, err := s.Prompt(ctx, "text")
		if !errors.Is(err, tts.ErrNotReady) || !errors.Is(err, tooLate) {
			t.Errorf("error %v", err)
		}
		if took := time.Since(began); took != 300*time.Millisecond {
			t.Errorf("waited %v", took)
		}
		if _, err := s.Prompt(t.Context(), "text"); err != nil { // joins what goes on
			t.Fatal(err)
		}
		if took := time.Since(began); took != 10*time.Second {
			t.Errorf("ready after %v, want the first rendering's 10 s", took)
		}
		if n := e.calls.Load(); n != 1 {
			t.Errorf("rendered %d times", n)
		}
	})
}

func TestStoreBackgroundIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, tts.Config{Engines: []tts.Engine{slow("a", 440, time.Hour)}})
		began := time.Now()
		if _, err := s.Prompt(t.Context(), "text"); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("error %v", err)
		}
		if took := time.Since(began); took != 30*time.Second {
			t.Errorf("gave up after %v, want 30 s", took)
		}
		s = newStore(t, tts.Config{Engines: []tts.Engine{slow("a", 440, time.Hour), toneEngine("b", 880)}})
		began = time.Now()
		pcm, err := s.Prompt(t.Context(), "text")
		if err != nil {
			t.Fatal(err)
		}
		hears(t, pcm, 880, 440)
		if took := time.Since(began); took != 15*time.Second {
			t.Errorf("fallback after %v, want half of the time", took)
		}
	})
}

func TestStoreCloseStopsRendering(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := newStore(t, tts.Config{Engines: []tts.Engine{slow("a", 440, time.Hour)}})
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		_, _ = s.Prompt(ctx, "text")
		began := time.Now()
		s.Close()
		if took := time.Since(began); took != 0 {
			t.Errorf("closing took %v", took)
		}
	})
}

func TestStoreFallbackIsNotCachedAsPreferred(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		var log bytes.Buffer
		var down atomic.Bool
		down.Store(true)
		preferred := toneEngine("google", 440)
		speak := preferred.speak
		preferred.speak = func(ctx context.Context, text, voice string) ([]byte, error) {
			if voice != "Wavenet" {
				t.Errorf("preferred engine got voice %q", voice)
			}
			if down.Load() {
				return nil, errors.New("503")
			}
			return speak(ctx, text, voice)
		}
		fallback := toneEngine("espeak", 880)
		fallback.speak = checkVoice(t, fallback.speak)
		cfg := tts.Config{
			Engines: []tts.Engine{preferred, fallback}, Dir: dir, Voice: "Wavenet", Rest: 10 * time.Second,
			Logger: slog.New(slog.NewTextHandler(&log, nil)),
		}
		s := newStore(t, cfg)
		for _, text := range []string{"one", "one", "two", "one"} {
			pcm, err := s.Prompt(t.Context(), text)
			if err != nil {
				t.Fatal(err)
			}
			hears(t, pcm, 880, 440)
		}
		if n := preferred.calls.Load(); n != 1 {
			t.Errorf("the engine that failed was asked %d times while it rests", n)
		}
		if n := fallback.calls.Load(); n != 2 {
			t.Errorf("the fallback rendered %d times, want once a text", n)
		}
		if n := strings.Count(log.String(), "speech engine failed"); n != 1 {
			t.Errorf("the failure is logged %d times:\n%s", n, &log)
		}

		down.Store(false)
		<-time.After(10 * time.Second) // virtual
		for _, s := range []*tts.Store[[]int16]{s, newStore(t, cfg)} {
			pcm, err := s.Prompt(t.Context(), "one")
			if err != nil {
				t.Fatal(err)
			}
			hears(t, pcm, 440, 880)
		}
		if !strings.Contains(log.String(), "works again") {
			t.Error("the engine's return is not logged")
		}
		if n := len(files(t, dir)); n != 3 { // two by the fallback, one by the preferred
			t.Errorf("%d files in the cache", n)
		}
	})
}

func checkVoice(t *testing.T, speak func(context.Context, string, string) ([]byte, error)) func(context.Context, string, string) ([]byte, error) {
	return func(ctx context.Context, text, voice string) ([]byte, error) {
		if voice != "" {
			t.Errorf("fallback got the preferred engine's voice %q", voice)
		}
		return speak(ctx, text, voice)
	}
}

func TestStoreLateCallerGetsFallbackAtHand(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		preferred := slow("google", 440, time.Hour)
		s := newStore(t, tts.Config{Engines: []tts.Engine{preferred, toneEngine("espeak", 880)}, Rest: time.Second})
		if _, err := s.Prompt(t.Context(), "text"); err != nil {
			t.Fatal(err)
		}
		<-time.After(2 * time.Second) // virtual: the preferred engine is asked again, in vain
		ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
		defer cancel()
		pcm, err := s.Prompt(ctx, "text")
		if err != nil {
			t.Fatal(err)
		}
		hears(t, pcm, 880, 440)
	})
}

func TestStoreRefusedTextDoesNotRestTheEngine(t *testing.T) {
	t.Parallel()
	e := toneEngine("a", 440)
	speak := e.speak
	e.speak = func(ctx context.Context, text, voice string) ([]byte, error) {
		if text == "bad" {
			return nil, fmt.Errorf("a: %w", tts.ErrText)
		}
		return speak(ctx, text, voice)
	}
	s := newStore(t, tts.Config{Engines: []tts.Engine{e}})
	for _, text := range []string{"bad", "", "  "} {
		if _, err := s.Prompt(t.Context(), text); !errors.Is(err, tts.ErrText) {
			t.Errorf("%q: error %v", text, err)
		}
	}
	if _, err := s.Prompt(t.Context(), "good"); err != nil {
		t.Error(err)
	}
}

func TestStoreBadEngines(t *testing.T) {
	t.Parallel()
	for name, speak := range map[string]func(context.Context, string, string) ([]byte, error){
		"no WAV":   func(context.Context, string, string) ([]byte, error) { return []byte("<html>"), nil },
		"no audio": func(context.Context, string, string) ([]byte, error) { return tts.EncodeWAV(nil, 8000), nil },
		"panics":   func(context.Context, string, string) ([]byte, error) { panic("engine") },
	} {
		s := newStore(t, tts.Config{Engines: []tts.Engine{&fakeEngine{name: "a", speak: speak}}, Dir: t.TempDir()})
		if _, err := s.Prompt(t.Context(), "text"); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
	if _, err := newStore(t, tts.Config{}).Prompt(t.Context(), "text"); !errors.Is(err, tts.ErrNoEngine) {
		t.Errorf("no engine: %v", err)
	}
	if _, err := tts.NewStore(tts.Config{Memory: -1}, same); err == nil {
		t.Error("a negative size is taken")
	}
}

func TestStoreDamagedCache(t *testing.T) {
	t.Parallel()
	whole := tts.EncodeWAV(tone(880, 8000, 800, 8000), 8000)
	for name, content := range map[string][]byte{
		"empty":        {},
		"garbage":      []byte("not audio at all, but long enough to have a header"),
		"cut short":    whole[:len(whole)-100],
		"header only":  whole[:44],
		"another rate": tts.EncodeWAV(tone(880, 16000, 800, 8000), 16000),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			cfg := tts.Config{Engines: []tts.Engine{toneEngine("a", 440)}, Dir: dir}
			if _, err := newStore(t, cfg).Prompt(t.Context(), "text"); err != nil {
				t.Fatal(err)
			}
			made := files(t, dir)
			good, _ := os.ReadFile(made[0])
			write(t, dir, filepath.Base(made[0]), content)
			pcm, err := newStore(t, cfg).Prompt(t.Context(), "text")
			if err != nil {
				t.Fatal(err)
			}
			hears(t, pcm, 440, 880)
			if now, _ := os.ReadFile(made[0]); !bytes.Equal(now, good) {
				t.Error("the damaged file is still there")
			}
		})
	}
}

func TestStoreCacheCannotBeUsed(t *testing.T) {
	t.Parallel()
	base := t.TempDir()
	gone := filepath.Join(base, "gone")
	for name, dir := range map[string]string{
		"a file stands in its way": filepath.Join(write(t, base, "file", nil), "greetings"),
		"removed while running":    gone,
	} {
		var log bytes.Buffer
		e := toneEngine("a", 440)
		s := newStore(t, tts.Config{Engines: []tts.Engine{e}, Dir: dir, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		_ = os.RemoveAll(gone)
		for _, text := range []string{"one", "two", "one"} {
			if _, err := s.Prompt(t.Context(), text); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if n := e.calls.Load(); n != 2 {
			t.Errorf("%s: rendered %d times: memory does not help", name, n)
		}
		if n := strings.Count(log.String(), "prompt cache cannot be used"); n != 1 {
			t.Errorf("%s: logged %d times", name, n)
		}
	}
}

func TestStoreRecordedPromptWins(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "hello-olga.wav", tts.EncodeWAV(tone(660, 44100, 4410, 8000), 44100))
	write(t, dir, "broken.wav", []byte("RIFF"))
	p, err := tts.OpenPrompts(dir)
	if err != nil {
		t.Fatal(err)
	}
	before := tone(300, 8000, 800, 8000)
	e := toneEngine("a", 440)
	s := newStore(t, tts.Config{Engines: []tts.Engine{e}, Prompts: p, Before: before})
	pcm, err := s.Prompt(t.Context(), "Hello, Olga!")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(pcm[:800], before) {
		t.Error("the audio put before is not there")
	}
	hears(t, pcm[800:], 660, 440)
	if n := e.calls.Load(); n != 0 {
		t.Error("the engine spoke although there is a recording")
	}
	if pcm, err = s.Prompt(t.Context(), "Broken"); err != nil {
		t.Fatal(err)
	}
	hears(t, pcm[800:], 440)
}

func TestPrerender(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var now, most atomic.Int32
		e := slow("a", 440, time.Second)
		speak := e.speak
		e.speak = func(ctx context.Context, text, voice string) ([]byte, error) {
			if text == "bad" {
				return nil, fmt.Errorf("a: %w", tts.ErrText)
			}
			n := now.Add(1)
			defer now.Add(-1)
			for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
			}
			return speak(ctx, text, voice)
		}
		s := newStore(t, tts.Config{Engines: []tts.Engine{e}, Renders: 3})
		var texts []string
		for i := range 20 {
			texts = append(texts, fmt.Sprintf("text %d", i), fmt.Sprintf(" text  %d", i))
		}
		var seen []int
		go func() { // a live call finds a slot
			<-time.After(1500 * time.Millisecond)
			began := time.Now()
			if _, err := s.Prompt(t.Context(), "live"); err != nil || time.Since(began) != time.Second {
				t.Errorf("a live call waited %v: %v", time.Since(began), err)
			}
		}()
		err := s.Prerender(t.Context(), append(texts, "bad"), func(done, total int) {
			if total != 21 {
				t.Errorf("total %d, want 21 distinct texts", total)
			}
			seen = append(seen, done)
		})
		if !errors.Is(err, tts.ErrText) || !strings.Contains(err.Error(), "1 of 21 failed") {
			t.Errorf("error %v", err)
		}
		if len(seen) != 21 || !slices.IsSorted(seen) || seen[20] != 21 {
			t.Errorf("progress %v", seen)
		}
		if m := most.Load(); m > 3 {
			t.Errorf("%d rendered at a time, want at most 3", m)
		}
		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()
		err = s.Prerender(ctx, []string{"a", "b", "c", "d", "e", "f"}, nil)
		if !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("stopped in between: %v", err)
		}
	})
}

func TestStoreMetrics(t *testing.T) {
	t.Parallel()
	s := newStore(t, tts.Config{Engines: []tts.Engine{toneEngine("espeak", 440)}})
	for range 2 {
		if _, err := s.Prompt(t.Context(), "text"); err != nil {
			t.Fatal(err)
		}
	}
	reg := prometheus.NewPedanticRegistry()
	reg.MustRegister(s.Collectors()...)
	want := `# HELP frontdesk_tts_prompts_total Prompts asked for, by where they came from.
# TYPE frontdesk_tts_prompts_total counter
frontdesk_tts_prompts_total{source="memory"} 1
frontdesk_tts_prompts_total{source="rendered"} 1
# HELP frontdesk_tts_requests_total Texts given to a speech engine, by engine and result.
# TYPE frontdesk_tts_requests_total counter
frontdesk_tts_requests_total{engine="espeak",result="ok"} 1
`
	if err := testutil.GatherAndCompare(reg, strings.NewReader(want), "frontdesk_tts_prompts_total", "frontdesk_tts_requests_total"); err != nil {
		t.Error(err)
	}
}

func BenchmarkPromptFromMemory(b *testing.B) {
	s, err := tts.NewStore(tts.Config{Engines: []tts.Engine{toneEngine("a", 440)}}, same)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if _, err := s.Prompt(b.Context(), "Соединяю вас с сотрудником Ольга Романова."); err != nil {
			b.Fatal(err)
		}
	}
}

func TestStoreCloseWaitsForRendering(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		const parting = time.Second // what an engine needs to stop
		stopped := false
		s := newStore(t, tts.Config{Engines: []tts.Engine{&fakeEngine{name: "a",
			speak: func(ctx context.Context, _, _ string) ([]byte, error) {
				<-ctx.Done()
				time.Sleep(parting)
				stopped = true
				return nil, ctx.Err()
			}}}})
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		_, _ = s.Prompt(ctx, "text")
		s.Close()
		if !stopped {
			t.Error("the store is closed while an engine still renders")
		}
		if _, err := s.Prompt(t.Context(), "other"); !errors.Is(err, tts.ErrNotReady) {
			t.Errorf("a closed store says %v, want %v", err, tts.ErrNotReady)
		}
	})
}

// TestStoreClosesDuringPrompts is for the race detector: a call may ask in the
// moment the store is closed.
func TestStoreClosesDuringPrompts(t *testing.T) {
	t.Parallel()
	for range 20 {
		s := newStore(t, tts.Config{Engines: []tts.Engine{toneEngine("a", 440)}})
		var asked sync.WaitGroup
		for i := range 8 {
			asked.Go(func() {
				if _, err := s.Prompt(t.Context(), strconv.Itoa(i)); err != nil && !errors.Is(err, tts.ErrNotReady) && !errors.Is(err, context.Canceled) {
					t.Error(err)
				}
			})
		}
		s.Close()
		asked.Wait()
	}
}
