package tts_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"frontdesk/needs"
	"frontdesk/tts"
)

// realEspeak is the installed program.
func realEspeak(t testing.TB) *tts.Espeak {
	t.Helper()
	e, err := tts.NewEspeak(needs.Program(t, "espeak-ng", "espeak-ng"))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestEspeakSpeaks(t *testing.T) {
	t.Parallel()
	e := realEspeak(t)
	for _, tt := range []struct{ text, language, voice string }{
		{"Соединяю вас с сотрудником Ольга Романова.", "ru-RU", ""},
		{"Connecting you to Olga Romanova.", "en-US", ""},
		{"З'єдную вас із співробітником.", "uk-UA", ""},
		{"Соединяю вас с сотрудником.", "ru-RU", "ru+f3"},
	} {
		wav, err := e.Synthesize(t.Context(), tt.text, tt.language, tt.voice)
		if err != nil {
			t.Fatalf("%s: %v", tt.language, err)
		}
		a, err := tts.DecodeWAV(wav)
		if err != nil {
			t.Fatalf("%s: %v", tt.language, err)
		}
		pcm := a.At8k()
		if s := float64(len(pcm)) / 8000; s < 1 || s > 8 {
			t.Errorf("%s: %.1f s of speech", tt.language, s)
		}
		if got := rms(pcm); got < 500 {
			t.Errorf("%s: RMS %.0f, want speech", tt.language, got)
		}
	}
}

func TestEspeakHostileText(t *testing.T) {
	t.Parallel()
	e := realEspeak(t)
	trap := filepath.Join(t.TempDir(), "trap.wav")
	for _, text := range []string{
		"-w" + trap, "--path=/nonexistent", "-f /etc/passwd", "--help", "-", "; touch " + trap, "$(touch " + trap + ")",
		"<script>alert(1)</script>", "[[h@'loU", "\xff\xfe bad UTF-8", "a\x00b", "\x1b[31m", "<audio src=\"/etc/passwd\"/>", "Иван\r\nX-Header: 1",
	} {
		wav, err := e.Synthesize(t.Context(), text, "ru-RU", "")
		if err != nil {
			t.Errorf("%q: %v", text, err)
			continue
		}
		if _, err := tts.DecodeWAV(wav); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
	if _, err := os.Stat(trap); err == nil {
		t.Error("a text made the program write a file")
	}
}

func TestEspeakRefuses(t *testing.T) {
	t.Parallel()
	e := realEspeak(t)
	for _, text := range []string{"", " \n", "\x00", strings.Repeat("слово ", 1000)} {
		if _, err := e.Synthesize(t.Context(), text, "ru-RU", ""); !errors.Is(err, tts.ErrText) {
			t.Errorf("text of %d bytes: %v, want ErrText", len(text), err)
		}
	}
	if _, err := e.Synthesize(t.Context(), "слово", "ru-RU", "--help"); err == nil || !strings.Contains(err.Error(), "bad voice") {
		t.Errorf("voice that is an option: %v", err)
	}
	_, err := e.Synthesize(t.Context(), "слово", "xx-XX", "")
	if err == nil || errors.Is(err, tts.ErrText) || !strings.Contains(err.Error(), "voice does not exist") {
		t.Errorf("unknown language: %v, want the program's own words", err)
	}
}

func TestEspeakNotInstalled(t *testing.T) {
	t.Parallel()
	_, err := tts.NewEspeak("/nonexistent/espeak-ng")
	if !errors.Is(err, tts.ErrNotInstalled) || !strings.Contains(err.Error(), "espeak-ng is not installed") {
		t.Errorf("error %v", err)
	}
}

// script is a stand-in for the program.
func script(t *testing.T, body string) *tts.Espeak {
	t.Helper()
	path := filepath.Join(t.TempDir(), "espeak-ng")
	// A process forked meanwhile by another test would hold the file open for
	// writing, and then it cannot be run (ETXTBSY).
	syscall.ForkLock.RLock()
	err := os.WriteFile(path, []byte("#!/bin/sh\n"+body), 0o755)
	syscall.ForkLock.RUnlock()
	if err != nil {
		t.Fatal(err)
	}
	e, err := tts.NewEspeak(path)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func TestEspeakProgram(t *testing.T) {
	t.Parallel()
	t.Run("gets the text on standard input alone", func(t *testing.T) {
		t.Parallel()
		wav, err := script(t, `echo "$@"; cat`).Synthesize(t.Context(), "--version", "ru-RU", "")
		if err != nil {
			t.Fatal(err)
		}
		if got, want := string(wav), "-v ru -b 1 --stdin --stdout\n--version"; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	})
	t.Run("is killed with the context", func(t *testing.T) {
		t.Parallel()
		started := filepath.Join(t.TempDir(), "started")
		if err := syscall.Mkfifo(started, 0o600); err != nil {
			t.Fatal(err)
		}
		e := script(t, "echo > "+started+"\nexec tail -f /dev/null\n")
		ctx, cancel := context.WithCancelCause(t.Context())
		gone := errors.New("caller is gone")
		go func() {
			_, _ = os.ReadFile(started) // returns once the program runs
			cancel(gone)
		}()
		if _, err := e.Synthesize(ctx, "слово", "ru-RU", ""); !errors.Is(err, gone) {
			t.Errorf("error %v, want the cause", err)
		}
	})
	t.Run("fails with its own words", func(t *testing.T) {
		t.Parallel()
		_, err := script(t, "echo no data here >&2; exit 3").Synthesize(t.Context(), "слово", "ru-RU", "")
		if err == nil || !strings.Contains(err.Error(), "exit status 3: no data here") {
			t.Errorf("error %v", err)
		}
	})
	t.Run("says nothing", func(t *testing.T) {
		t.Parallel()
		if _, err := script(t, "exit 0").Synthesize(t.Context(), "слово", "ru-RU", ""); err == nil {
			t.Error("no error without audio")
		}
	})
}

func BenchmarkEspeak(b *testing.B) {
	e := realEspeak(b)
	for b.Loop() {
		if _, err := e.Synthesize(b.Context(), "Соединяю вас с сотрудником Ольга Романова. Вы можете набрать внутренний номер.", "ru-RU", ""); err != nil {
			b.Fatal(err)
		}
	}
}
