package recording

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"io/fs"
	"mime"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"
)

// LinkPath is where Links serves recordings.
const LinkPath = "/recordings/"

// Links gives recordings addresses under which they are served until a time.
// An address is its own authority: it is signed, so that nobody can make one or
// prolong one, and it names one file.
type Links struct {
	keeper *Keeper
	key    []byte
	base   string
}

// NewLinks makes links that begin with base ("https://desk.example.com") and
// are signed with a key of 32 bytes or more.
func NewLinks(k *Keeper, base string, key []byte) (*Links, error) {
	if len(key) < sha256.Size {
		return nil, errors.New("recordings: the key of the links is too short")
	}
	return &Links{keeper: k, key: key, base: strings.TrimSuffix(base, "/")}, nil
}

// URL is the address of a file until a time.
func (l *Links) URL(f File, until time.Time) string {
	what := f.Name + "/" + strconv.FormatInt(until.Unix(), 36)
	return l.base + LinkPath + l.sign(what) + "/" + what
}

func (l *Links) sign(what string) string {
	mac := hmac.New(sha256.New, l.key)
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
	if err != nil || !hmac.Equal([]byte(signature), []byte(l.sign(what))) || !ours(name) || strings.HasSuffix(name, partEnd) {
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
