package tts

import (
	"context"
	"errors"
)

// SampleRate is the rate of all audio that leaves this package, in Hz.
const SampleRate = 8000

// Engine speaks a text.
type Engine interface {
	// Name is the engine's name in cache keys, metrics and logs.
	Name() string
	// Synthesize returns a WAV file that speaks text. Language is a BCP 47 tag
	// ("ru-RU"); voice is one of the engine's own voices, empty for its default
	// one in that language.
	Synthesize(ctx context.Context, text, language, voice string) ([]byte, error)
}

// Errors that say what kind of failure it was.
var (
	// ErrText is wrapped by an engine that is well but will not speak this text.
	ErrText = errors.New("text refused")
	// ErrNotReady is returned for a prompt that could not be had in time.
	ErrNotReady = errors.New("prompt is not ready")
	// ErrNoEngine is returned for a prompt that is not recorded and that no
	// engine is there to render.
	ErrNoEngine = errors.New("no recording of the prompt and no engine to render it")
	// ErrWAV is wrapped by every error about the content of a WAV file.
	ErrWAV = errors.New("not a usable WAV file")
)
