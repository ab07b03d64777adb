package web

import (
	"context"
	"encoding/json"
	"errors"
	"mime"
	"net/http"
	"strings"
	"time"
)

const (
	// toolTimeout ends what a client of the tools waits for: reading a million
	// cards takes half an hour, and the portal may be slow.
	toolTimeout = 6 * time.Hour
	// progressEvery is the least time between two lines of progress, and
	// pulseEvery the most without one: it shows that the client is there.
	progressEvery = 100 * time.Millisecond
	pulseEvery    = 10 * time.Second

	lines = "application/x-ndjson"
)

var (
	errEnding = errors.New("the server is ending")
	errLost   = errors.New("the client is lost")
)

// job is something long. Its answer is what the client gets.
type job func(ctx context.Context, progress func(Progress)) (answer any, err error)

// tool runs a job that only one client at a time may have run: each uses up
// the portal's limits.
func (s *Server) tool(w http.ResponseWriter, r *http.Request, doing string, do job) {
	select {
	case s.busy <- struct{}{}:
		defer func() { <-s.busy }()
	default:
		s.fail(w, http.StatusConflict, "another check, setup, lint or deletion is under way")
		return
	}
	s.watch(w, r, doing, do)
}

// watch runs a job until its end, or until the client or the server goes. A
// client that accepts lines of JSON gets a line for each progress and one for
// the end; others get the answer alone.
func (s *Server) watch(w http.ResponseWriter, r *http.Request, doing string, do job) {
	ctx, cancel := context.WithTimeout(r.Context(), toolTimeout)
	defer cancel()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	go func() {
		select {
		case <-s.ending:
			stop(errEnding)
		case <-ctx.Done():
		}
	}()
	l := &liner{w: w, control: http.NewResponseController(w), lost: func() { stop(errLost) }}
	// The server's patience is for requests that are answered at once. Where a
	// deadline cannot be moved the request ends earlier.
	_ = l.control.SetReadDeadline(time.Time{})
	_ = l.control.SetWriteDeadline(time.Time{})
	progress := func(Progress) {}
	if accepts(r, lines) {
		progress = l.progress
	}
	answer, err := do(ctx, progress)
	_ = l.control.SetWriteDeadline(time.Now().Add(writeTimeout))
	switch {
	case err != nil && errors.Is(context.Cause(ctx), errEnding):
		err = errEnding
	case err == nil && !l.begun:
		s.reply(w, http.StatusOK, answer)
		return
	case err == nil:
		l.line(map[string]any{"result": answer})
		return
	}
	if !l.begun {
		s.failWith(w, doing, err)
		return
	}
	code, why := s.judge(doing, err)
	l.line(map[string]any{"error": why, "status": code})
}

// liner writes lines of JSON.
type liner struct {
	w       http.ResponseWriter
	control *http.ResponseController
	lost    func()
	begun   bool
	last    Progress
	at      time.Time
}

// progress writes a line, unless there was one just now that says about the
// same.
func (l *liner) progress(p Progress) {
	now := time.Now()
	since := now.Sub(l.at)
	news := p.What != l.last.What || p.Note != l.last.Note
	switch {
	case !l.begun, news, p != l.last && since >= progressEvery, since >= pulseEvery:
		l.last, l.at = p, now
		l.line(map[string]Progress{"progress": p})
	}
}

// line writes one line. A client that does not take it in time is lost.
func (l *liner) line(v any) {
	if !l.begun {
		l.w.Header().Set("Content-Type", lines)
	}
	l.begun = true
	_ = l.control.SetWriteDeadline(time.Now().Add(writeTimeout)) // see watch
	b, err := json.Marshal(v)
	if err == nil {
		_, err = l.w.Write(append(b, '\n'))
	}
	if err == nil {
		err = l.control.Flush()
	}
	if err != nil {
		l.lost()
	}
}

// accepts reports whether the client names a media type in Accept.
func accepts(r *http.Request, want string) bool {
	for _, header := range r.Header.Values("Accept") {
		for one := range strings.SplitSeq(header, ",") {
			if typ, _, err := mime.ParseMediaType(one); err == nil && typ == want {
				return true
			}
		}
	}
	return false
}
