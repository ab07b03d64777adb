package tts_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"frontdesk/tts"
	"github.com/google/go-cmp/cmp"
	"google.golang.org/api/option"
)

// googleRequest is the part of the REST body that we send, as protojson writes
// it: camel case, enums as numbers.
type googleRequest struct {
	Input struct{ Text string }
	Voice struct{ LanguageCode, Name string }
	Audio struct {
		AudioEncoding    int
		SampleRateHertz  int
		EffectsProfileID []string `json:"effectsProfileId"`
	} `json:"audioConfig"`
}

// fakeGoogle answers as the real service does: the statuses first, in order,
// then audio.
type fakeGoogle struct {
	audio    []byte
	statuses []int

	mu       sync.Mutex
	requests []googleRequest
	problems []string
}

func (g *fakeGoogle) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if r.Method != "POST" || r.URL.Path != "/v1/text:synthesize" || r.URL.Query().Get("$alt") != "json;enum-encoding=int" {
		g.problems = append(g.problems, r.Method+" "+r.URL.String())
	}
	var req googleRequest
	body, _ := io.ReadAll(r.Body)
	if err := json.Unmarshal(body, &req); err != nil {
		g.problems = append(g.problems, err.Error())
	}
	g.requests = append(g.requests, req)
	w.Header().Set("Content-Type", "application/json; charset=UTF-8")
	if n := len(g.requests); n <= len(g.statuses) {
		code := g.statuses[n-1]
		w.WriteHeader(code)
		_ = json.NewEncoder(w).Encode(map[string]any{"error": map[string]any{"code": code, "message": "try another time", "status": "X"}})
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"audioContent": g.audio})
}

func newGoogle(t *testing.T, h http.Handler, cfg tts.GoogleConfig) *tts.Google {
	t.Helper()
	srv := httptest.NewServer(h)
	t.Cleanup(srv.Close)
	client := &http.Client{Transport: &http.Transport{}}
	t.Cleanup(client.CloseIdleConnections)
	cfg.Options = []option.ClientOption{option.WithEndpoint(srv.URL), option.WithoutAuthentication(), option.WithHTTPClient(client)}
	g, err := tts.NewGoogle(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { g.Close() })
	return g
}

func TestGoogleRequestAndAnswer(t *testing.T) {
	t.Parallel()
	fake := &fakeGoogle{audio: tts.EncodeWAV(tone(440, 8000, 800, 9000), 8000)}
	wav, err := newGoogle(t, fake, tts.GoogleConfig{}).Synthesize(t.Context(), `Ольга "О" <b>`, "ru-RU", "ru-RU-Wavenet-D")
	if err != nil {
		t.Fatal(err)
	}
	a, err := tts.DecodeWAV(wav)
	if err != nil {
		t.Fatal(err)
	}
	hears(t, a.PCM, 440)
	var want googleRequest
	want.Input.Text = `Ольга "О" <b>`
	want.Voice.LanguageCode, want.Voice.Name = "ru-RU", "ru-RU-Wavenet-D"
	want.Audio.AudioEncoding, want.Audio.SampleRateHertz = 1, 8000 // LINEAR16
	want.Audio.EffectsProfileID = []string{"telephony-class-application"}
	if d := cmp.Diff([]googleRequest{want}, fake.requests); d != "" {
		t.Error(d)
	}
	if len(fake.problems) > 0 {
		t.Error(fake.problems)
	}
}

func TestGoogleRetries(t *testing.T) {
	t.Parallel()
	fake := &fakeGoogle{audio: []byte("RIFF"), statuses: []int{429, 503}}
	if _, err := newGoogle(t, fake, tts.GoogleConfig{}).Synthesize(t.Context(), "a", "ru-RU", ""); err != nil {
		t.Fatal(err)
	}
	if len(fake.requests) != 3 {
		t.Errorf("%d requests, want 3", len(fake.requests))
	}
}

func TestGoogleFailures(t *testing.T) {
	t.Parallel()
	silent := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.Copy(io.Discard, r.Body) // the server sees the client go only once the body is read
		<-r.Context().Done()
	})
	tests := []struct {
		name    string
		handler http.Handler
		refused bool
		want    string
	}{
		{"bad request is the text's fault and not retried", &fakeGoogle{statuses: []int{400, 400}}, true, "400"},
		{"forbidden is not", &fakeGoogle{statuses: []int{403, 403}}, false, "403"},
		{"no audio", &fakeGoogle{}, false, "without audio"},
		{"HTML", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "<html>") }), false, "google: "},
		{"429 for ever ends at the deadline", &fakeGoogle{statuses: make429(100)}, false, "google: "},
		{"silence ends at the deadline", silent, false, "deadline"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := newGoogle(t, tt.handler, tts.GoogleConfig{Timeout: 500 * time.Millisecond}).Synthesize(t.Context(), "a", "ru-RU", "")
			if err == nil || errors.Is(err, tts.ErrText) != tt.refused || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v", err)
			}
		})
	}
}

func TestGoogleKeyIsSentAndNeverTold(t *testing.T) {
	t.Parallel()
	const key = "AIza-secret-key"
	var got []string
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = append(got, r.Header.Get("X-Goog-Api-Key")+r.URL.Query().Get("key"))
		w.WriteHeader(http.StatusForbidden)
	}))
	g, err := tts.NewGoogle(t.Context(), tts.GoogleConfig{
		APIKey: key, Timeout: time.Second, Options: []option.ClientOption{option.WithEndpoint(srv.URL)},
	})
	if err != nil {
		t.Fatal(err)
	}
	_, refused := g.Synthesize(t.Context(), "a", "ru-RU", "")
	srv.Close()
	_, unreachable := g.Synthesize(t.Context(), "a", "ru-RU", "")
	for _, err := range []error{refused, unreachable} {
		if err == nil || strings.Contains(err.Error(), "secret") {
			t.Errorf("error %v", err)
		}
	}
	if len(got) != 1 || got[0] != key {
		t.Errorf("the key arrives as %q", got)
	}
	if s := fmt.Sprintf("%v %+v", tts.GoogleConfig{APIKey: key}, tts.GoogleConfig{APIKey: key}); strings.Contains(s, "secret") {
		t.Errorf("printed as %s", s)
	}
	if err := g.Close(); err != nil {
		t.Error(err)
	}
}

func make429(n int) []int {
	out := make([]int, n)
	for i := range out {
		out[i] = 429
	}
	return out
}

func TestGoogleNoCredentials(t *testing.T) { // changes the environment: not parallel
	home := t.TempDir()
	t.Setenv("HOME", home)
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", "")
	t.Setenv("GCE_METADATA_HOST", "127.0.0.1:1")
	_, err := tts.NewGoogle(t.Context(), tts.GoogleConfig{ServiceAccount: home + "/missing.json"})
	if !errors.Is(err, tts.ErrNoCredentials) {
		t.Errorf("missing service account: %v", err)
	}
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", home+"/missing.json")
	_, err = tts.NewGoogle(t.Context(), tts.GoogleConfig{})
	if !errors.Is(err, tts.ErrNoCredentials) {
		t.Errorf("missing default credentials: %v", err)
	}
}
