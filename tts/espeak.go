package tts

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strings"
	"time"
	"unicode"
)

// ErrNotInstalled is returned where the espeak-ng program is missing.
var ErrNotInstalled = errors.New("espeak-ng is not installed (Debian package espeak-ng)")

// Espeak speaks by the program espeak-ng, one process a text.
type Espeak struct {
	path string
}

// NewEspeak finds the program: path, or "espeak-ng" on the PATH where it is
// empty.
func NewEspeak(path string) (*Espeak, error) {
	if path == "" {
		path = "espeak-ng"
	}
	found, err := exec.LookPath(path)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotInstalled, err)
	}
	return &Espeak{path: found}, nil
}

// Name is "espeak".
func (e *Espeak) Name() string { return "espeak" }

// espeakVoice is what a voice's name may look like: "ru", "en-us+f3".
var espeakVoice = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9+_-]*$`)

// maxText keeps one prompt from becoming a book.
const maxText = 5000

// Synthesize runs the program with the text on its standard input, so that no
// text can be taken for an option. The program ends with ctx.
func (e *Espeak) Synthesize(ctx context.Context, text, language, voice string) ([]byte, error) {
	text = plain(text)
	if text == "" || len(text) > maxText {
		return nil, fmt.Errorf("espeak-ng: %w: %d bytes", ErrText, len(text))
	}
	if voice == "" {
		voice = voiceFor(language)
	}
	if !espeakVoice.MatchString(voice) {
		return nil, fmt.Errorf("espeak-ng: bad voice %q", voice)
	}
	var stderr bytes.Buffer
	stdout := limitedBuffer{limit: maxWAVBytes}
	cmd := exec.CommandContext(ctx, e.path, "-v", voice, "-b", "1", "--stdin", "--stdout")
	cmd.Stdin = strings.NewReader(text)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.WaitDelay = time.Second // where a child of it keeps the pipes open
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		return nil, fmt.Errorf("espeak-ng: %w%s", err, said(stderr.String()))
	}
	if stdout.Len() == 0 {
		return nil, fmt.Errorf("espeak-ng: no audio%s", said(stderr.String()))
	}
	return stdout.Bytes(), nil
}

// voiceFor is the voice of a language: "ru-RU" is "ru", where a region has a
// voice of its own it is kept ("en-US" is "en-us").
func voiceFor(language string) string {
	tag := strings.ToLower(language)
	switch tag {
	case "":
		return "en"
	case "en-us", "en-gb", "pt-br", "es-419", "fr-be", "fr-ch":
		return tag
	}
	base, _, _ := strings.Cut(tag, "-")
	return base
}

// plain is text as it is to be spoken: valid UTF-8 without control characters,
// and without the [[ that starts espeak-ng's phoneme notation.
func plain(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == unicode.ReplacementChar {
			return ' '
		}
		return r
	}, text)
	for strings.Contains(text, "[[") {
		text = strings.ReplaceAll(text, "[[", "[ [")
	}
	return strings.TrimSpace(text)
}

// said is the first line of what the program complained about.
func said(stderr string) string {
	line, _, _ := strings.Cut(strings.TrimSpace(stderr), "\n")
	if line == "" {
		return ""
	}
	return ": " + line
}

// limitedBuffer collects up to limit bytes and then fails the writer.
type limitedBuffer struct {
	bytes.Buffer
	limit int
}

func (b *limitedBuffer) Write(p []byte) (int, error) {
	if b.Len()+len(p) > b.limit {
		return 0, fmt.Errorf("more than %d bytes of audio", b.limit)
	}
	return b.Buffer.Write(p)
}
