package tts_test

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"frontdesk/tts"
)

func TestPromptsFind(t *testing.T) {
	t.Parallel()
	first, second := t.TempDir(), t.TempDir()
	wav := tts.EncodeWAV([]int16{1}, 8000)
	sum := sha256.Sum256([]byte("по хэшу: всё"))
	bySum := hex.EncodeToString(sum[:]) + ".wav"
	write(t, first, "greeting_201.wav", wav)
	write(t, first, "greeting_201.txt", []byte("\ufeffСоединяю вас\r\nс сотрудником  Ольга.\n"))
	write(t, first, "Всего доброго.WAV", wav)
	write(t, first, "lonely.txt", []byte("текст без записи"))
	write(t, first, bySum, wav)
	write(t, second, "всего-доброго.wav", wav)
	write(t, second, "anna-li.wav", wav)
	if err := os.Mkdir(filepath.Join(second, "dir.wav"), 0o755); err != nil {
		t.Fatal(err)
	}
	p, err := tts.OpenPrompts(first, second, filepath.Join(first, "missing"))
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{
		"Соединяю вас с сотрудником Ольга.":     first + "/greeting_201.wav",
		" Соединяю  вас\nс сотрудником Ольга. ": first + "/greeting_201.wav",
		"Всего доброго!":                        first + "/Всего доброго.WAV",
		"по хэшу: всё":                          first + "/" + bySum,
		"Anna Li":                               second + "/anna-li.wav",
		"Greeting, 201":                         first + "/greeting_201.wav",
		"":                                      "",
		"!?":                                    "",
		"dir":                                   "",
		"текст без записи":                      "",
		"../" + filepath.Base(first) + "/anna-li": "",
		"/etc/passwd": "",
	} {
		got, ok := p.Find(text)
		if got != want || ok != (want != "") {
			t.Errorf("%q is spoken by %q, want %q", text, got, want)
		}
	}
	if _, ok := (*tts.Prompts)(nil).Find("a"); ok {
		t.Error("no prompts hold one")
	}
}

func TestPromptsCheck(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	write(t, dir, "good.wav", tts.EncodeWAV([]int16{1}, 8000))
	p, err := tts.OpenPrompts(dir)
	if err != nil || p.Check() != nil {
		t.Fatalf("open: %v, check: %v", err, p.Check())
	}
	write(t, dir, "bad.wav", []byte("ID3"))
	write(t, dir, "worse.wav", nil)
	if p, err = tts.OpenPrompts(dir); err != nil {
		t.Fatal(err)
	}
	err = p.Check()
	if err == nil || !strings.Contains(err.Error(), "bad.wav") || !strings.Contains(err.Error(), "worse.wav") {
		t.Errorf("check says %v, want both bad files", err)
	}
}

func TestSlug(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"Всего доброго!":     "всего-доброго",
		"  --A  b_C/..\\d..": "a-b-c-d",
		"ещё № 5":            "ещё-5",
		"…":                  "",
	} {
		if got := tts.Slug(in); got != want {
			t.Errorf("slug of %q is %q, want %q", in, got, want)
		}
	}
}

// TestShipped holds the promise that the demo speaks without espeak-ng.
func TestShipped(t *testing.T) {
	t.Parallel()
	dir := filepath.Join("..", "testdata", "audio")
	p, err := tts.OpenPrompts(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := p.Check(); err != nil {
		t.Fatal(err)
	}
	for name, file := range map[string]string{
		"Ольга Романова": "greeting_201.wav",
		"Пётр Сидоров":   "greeting_202.wav",
		"Анна Ли":        "greeting_203.wav",
	} {
		path, _ := p.Find("Соединяю вас с сотрудником " + name + ". Вы можете набрать внутренний номер.")
		if filepath.Base(path) != file {
			t.Errorf("greeting of %s is %q, want %s", name, path, file)
		}
		pcm, err := tts.LoadWAV(path)
		if err != nil {
			t.Fatal(err)
		}
		if s := float64(len(pcm)) / 8000; s < 2 || s > 10 || rms(pcm) < 500 {
			t.Errorf("%s: %.1f s with RMS %.0f, want speech", file, s, rms(pcm))
		}
	}
	if pcm, err := tts.LoadWAV(filepath.Join(dir, "welcome.wav")); err != nil || rms(pcm) < 500 {
		t.Errorf("welcome.wav: %v, RMS %.0f", err, rms(pcm))
	}
}
