package tts

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	texttospeech "cloud.google.com/go/texttospeech/apiv1"
	"cloud.google.com/go/texttospeech/apiv1/texttospeechpb"
	gax "github.com/googleapis/gax-go/v2"
	"github.com/googleapis/gax-go/v2/apierror"
	"google.golang.org/api/option"
)

// ErrNoCredentials is wrapped by NewGoogle's error where Google would not know
// who is asking.
var ErrNoCredentials = errors.New("no credentials for Google Text-to-Speech: give an API key, a service account file, or application default credentials")

// GoogleConfig says how to reach Google Text-to-Speech. The zero value uses the
// machine's application default credentials.
type GoogleConfig struct {
	APIKey         string        // an API key restricted to Text-to-Speech
	ServiceAccount string        // path of a service account's JSON file
	Timeout        time.Duration // the longest one text may take with its retries; 10 s if 0

	Options []option.ClientOption // added last: tests put their endpoint here
}

// String hides the key.
func (c GoogleConfig) String() string {
	return fmt.Sprintf("google (key given: %t, service account %q)", c.APIKey != "", c.ServiceAccount)
}

// GoString hides the key.
func (c GoogleConfig) GoString() string { return c.String() }

// LogValue hides the key.
func (c GoogleConfig) LogValue() slog.Value { return slog.StringValue(c.String()) }

// Google speaks by Google Cloud Text-to-Speech over REST.
type Google struct {
	client  *texttospeech.Client
	timeout time.Duration
}

// NewGoogle makes the client. Nothing is sent yet, but credentials are looked
// for.
func NewGoogle(ctx context.Context, cfg GoogleConfig) (*Google, error) {
	var opts []option.ClientOption
	if cfg.APIKey != "" {
		opts = append(opts, option.WithHTTPClient(keyClient(cfg.APIKey)))
	}
	if cfg.ServiceAccount != "" {
		opts = append(opts, option.WithAuthCredentialsFile(option.ServiceAccount, cfg.ServiceAccount))
	}
	client, err := texttospeech.NewRESTClient(ctx, append(opts, cfg.Options...)...)
	if err != nil {
		return nil, fmt.Errorf("%w (%w)", ErrNoCredentials, err)
	}
	g := &Google{client: client, timeout: cfg.Timeout}
	if g.timeout == 0 {
		g.timeout = 10 * time.Second
	}
	return g, nil
}

// keyClient sends an API key in a header. option.WithAPIKey would put it into
// the URL, and with it into every error of the transport.
func keyClient(key string) *http.Client {
	return &http.Client{
		Transport: keyTransport{key: key, base: http.DefaultTransport},
		CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse // the key goes nowhere else
		},
	}
}

type keyTransport struct {
	key  string
	base http.RoundTripper
}

// RoundTrip adds the key.
func (t keyTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("X-Goog-Api-Key", t.key)
	return t.base.RoundTrip(r)
}

// Name is "google".
func (g *Google) Name() string { return "google" }

// Close lets the client's connections go.
func (g *Google) Close() error { return g.client.Close() }

// Synthesize asks for telephone audio: 16-bit samples at 8 kHz, which come as a
// WAV file. It retries what Google asks to try again (429, 503, 504) until ctx
// or the configured timeout ends.
func (g *Google) Synthesize(ctx context.Context, text, language, voice string) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, g.timeout)
	defer cancel()
	retry := gax.WithRetry(func() gax.Retryer {
		return gax.OnHTTPCodes(gax.Backoff{Initial: 200 * time.Millisecond, Max: 3 * time.Second, Multiplier: 2},
			http.StatusTooManyRequests, http.StatusServiceUnavailable, http.StatusGatewayTimeout)
	})
	answer, err := g.client.SynthesizeSpeech(ctx, speechRequest(text, language, voice), retry)
	if err != nil {
		return nil, googleError(err)
	}
	if len(answer.GetAudioContent()) == 0 {
		return nil, errors.New("google: answer without audio")
	}
	return answer.GetAudioContent(), nil
}

func speechRequest(text, language, voice string) *texttospeechpb.SynthesizeSpeechRequest {
	return &texttospeechpb.SynthesizeSpeechRequest{
		Input: &texttospeechpb.SynthesisInput{
			InputSource: &texttospeechpb.SynthesisInput_Text{Text: text},
		},
		Voice: &texttospeechpb.VoiceSelectionParams{LanguageCode: language, Name: voice},
		AudioConfig: &texttospeechpb.AudioConfig{
			AudioEncoding:    texttospeechpb.AudioEncoding_LINEAR16,
			SampleRateHertz:  SampleRate,
			EffectsProfileId: []string{"telephony-class-application"},
		},
	}
}

// googleError tells a refused text (400) from an engine in trouble.
func googleError(err error) error {
	var api *apierror.APIError
	if errors.As(err, &api) && api.HTTPCode() == http.StatusBadRequest {
		return fmt.Errorf("google: %w: %w", ErrText, err)
	}
	return fmt.Errorf("google: %w", err)
}
