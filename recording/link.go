package recording

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"mime"
	"net/http"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// LinkPath is where Links serves recordings.
const LinkPath = "/recordings/"

// Links gives recordings addresses under which they are served until a time.
// An address is its own authority: it is signed, so that nobody can make one or
// prolong one, and it names one file.
//
// They are signed with a key that lies with the recordings, so that whoever has
// it has them anyway. It is made at the first start.
type Links struct {
	keeper *Keeper
	base   string

	mu  sync.Mutex
	key []byte // nil until it could be read
}

// keyFile is the name of the key in the keeper's folder.
const keyFile = ".linkkey"

// NewLinks makes links that begin with base ("https://desk.example.com").
func NewLinks(k *Keeper, base string) *Links {
	return &Links{keeper: k, base: strings.TrimSuffix(base, "/")}
}

// URL is the address of a file until a time.
func (l *Links) URL(f File, until time.Time) (string, error) {
	key, err := l.secret()
	if err != nil {
		return "", err
	}
	what := f.Name + "/" + strconv.FormatInt(until.Unix(), 36)
	return l.base + LinkPath + sign(key, what) + "/" + what, nil
}

// secret is the key, read or made where it is not known yet.
func (l *Links) secret() ([]byte, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.key != nil {
		return l.key, nil
	}
	path := l.keeper.path(keyFile)
	key, err := os.ReadFile(path)
	if err == nil && len(key) < sha256.Size || errors.Is(err, fs.ErrNotExist) {
		key, err = makeKey(path)
	}
	if err != nil {
		return nil, fmt.Errorf("the key of recordings' links: %w", err)
	}
	l.key = key
	return key, nil
}

// makeKey writes a new key, whole or not at all.
func makeKey(path string) ([]byte, error) {
	key := make([]byte, sha256.Size)
	_, _ = rand.Read(key) // never fails since Go 1.24
	f, err := os.OpenFile(path+partEnd, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	_, err = f.Write(key)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Rename(path+partEnd, path)
	}
	return key, err
}

func sign(key []byte, what string) string {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(what))
	return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// ServeHTTP serves a recording: 404 for an address that was never made, 410
// where its time is over or its file gone.
func (l *Links) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "only GET", http.StatusMethodNotAllowed)
		return
	}
	signature, what, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, LinkPath), "/")
	name, limit, _ := strings.Cut(what, "/")
	until, err := strconv.ParseInt(limit, 36, 64)
	if err != nil || !ours(name) || strings.HasSuffix(name, partEnd) {
		http.NotFound(w, r)
		return
	}
	key, err := l.secret()
	if err != nil {
		l.keeper.cfg.Logger.Error("cannot serve a recording", "recording", name, "error", err)
		http.Error(w, "recordings cannot be read just now", http.StatusInternalServerError)
		return
	}
	if !hmac.Equal([]byte(signature), []byte(sign(key, what))) {
		http.NotFound(w, r)
		return
	}
	if l.keeper.cfg.Now().After(time.Unix(until, 0)) {
		http.Error(w, "this link has expired", http.StatusGone)
		return
	}
	l.serve(w, r, name)
}

func (l *Links) serve(w http.ResponseWriter, r *http.Request, name string) {
	f, err := os.Open(l.keeper.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		http.Error(w, "this recording has been deleted", http.StatusGone)
		return
	}
	if err != nil {
		l.keeper.cfg.Logger.Error("cannot serve a recording", "recording", name, "error", err)
		http.Error(w, "the recording cannot be read", http.StatusInternalServerError)
		return
	}
	defer f.Close()
	h := w.Header()
	h.Set("Content-Type", map[bool]string{true: "audio/mpeg", false: "audio/wav"}[strings.HasSuffix(name, mp3End)])
	h.Set("Content-Disposition", mime.FormatMediaType("inline", map[string]string{"filename": name}))
	h.Set("Cache-Control", "private, no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	http.ServeContent(w, r, name, time.Time{}, f)
}
