package web

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"
)

// maxField is the longest number or name that is looked at.
const maxField = 256

//go:embed openapi.json
var openAPIText []byte

func (s *Server) openAPI(w http.ResponseWriter, _ *http.Request) {
	s.reply(w, http.StatusOK, json.RawMessage(openAPIText))
}

func (s *Server) healthz(w http.ResponseWriter, _ *http.Request) {
	s.plain(w, http.StatusOK, "ok")
}

func (s *Server) readyz(w http.ResponseWriter, _ *http.Request) {
	if ok, why := s.cfg.Health.Ready(); !ok {
		s.plain(w, http.StatusServiceUnavailable, "not ready: "+why)
		return
	}
	s.plain(w, http.StatusOK, "ready")
}

func (s *Server) plain(w http.ResponseWriter, code int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(code)
	_, _ = io.WriteString(w, text+"\n") // a client that is gone needs no answer
}

// question is the body of explain; at stays text, to be refused in our words.
type question struct {
	From  string `json:"from"`
	To    string `json:"to"`
	Trunk string `json:"trunk"`
	At    string `json:"at"`
}

func (q question) query() (Query, error) {
	for name, value := range map[string]string{"from": q.From, "to": q.To, "trunk": q.Trunk} {
		if len(value) > maxField {
			return Query{}, fmt.Errorf("%s is longer than %d bytes", name, maxField)
		}
	}
	if strings.TrimSpace(q.To) == "" {
		return Query{}, errors.New("to: the called number is needed")
	}
	out := Query{From: q.From, To: q.To, Trunk: q.Trunk}
	if q.At != "" {
		at, err := time.Parse(time.RFC3339, q.At)
		if err != nil {
			return Query{}, fmt.Errorf("at: %q is no RFC 3339 time, such as 2026-03-01T12:00:00+03:00", clip(q.At))
		}
		out.At = at
	}
	return out, nil
}

func (s *Server) explain(w http.ResponseWriter, r *http.Request) {
	var asked question
	if err := decode(r, &asked); err != nil {
		code := http.StatusBadRequest
		if errors.Is(err, errTooLarge) {
			code = http.StatusRequestEntityTooLarge
		}
		s.fail(w, code, err.Error())
		return
	}
	q, err := asked.query()
	if err != nil {
		s.fail(w, http.StatusBadRequest, err.Error())
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), explainTimeout)
	defer cancel()
	d, err := s.cfg.Explainer.Explain(ctx, q)
	if err != nil {
		s.failWith(w, "explain a call", err)
		return
	}
	s.reply(w, http.StatusOK, explained{Decision: d, Default: d.Default, Reject: d.Reject})
}

func (s *Server) reload(w http.ResponseWriter, _ *http.Request) {
	problems, err := s.cfg.Reloader.Reload()
	switch {
	case err != nil:
		s.failWith(w, "reload the configuration", err)
	case problems != "":
		s.reply(w, http.StatusUnprocessableEntity, problem{
			Error: "the new configuration cannot be used; the old one stays in force", Problems: problems,
		})
	default:
		s.reply(w, http.StatusOK, map[string]bool{"reloaded": true})
	}
}
