package web

import (
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"frontdesk/call"
)

const (
	defaultLimit = 50
	maxLimit     = 500
	maxID        = 128
)

func (s *Server) listCalls(w http.ResponseWriter, r *http.Request) {
	q, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		s.fail(w, http.StatusBadRequest, "the query cannot be read")
		return
	}
	f, err := filter(q)
	if err != nil {
		s.fail(w, http.StatusBadRequest, err.Error())
		return
	}
	page, err := s.cfg.Calls.List(r.Context(), f)
	if err != nil {
		s.failWith(w, "list calls", err)
		return
	}
	if page.Calls == nil {
		page.Calls = []call.Record{}
	}
	s.reply(w, http.StatusOK, page)
}

func (s *Server) getCall(w http.ResponseWriter, r *http.Request) {
	id := r.PathValue("id")
	if len(id) > maxID {
		s.fail(w, http.StatusNotFound, ErrNotFound.Error())
		return
	}
	rec, err := s.cfg.Calls.Get(r.Context(), id)
	if err != nil {
		s.failWith(w, "get a call", err)
		return
	}
	s.reply(w, http.StatusOK, rec)
}

func (s *Server) retryCall(w http.ResponseWriter, r *http.Request) {
	id, step := r.PathValue("id"), r.URL.Query().Get("step")
	switch {
	case len(id) > maxID:
		s.fail(w, http.StatusNotFound, ErrNotFound.Error())
		return
	case len(step) > maxField:
		s.fail(w, http.StatusBadRequest, "step: there is no such step")
		return
	case s.cfg.Retrier == nil:
		s.fail(w, http.StatusBadRequest, "calls are not logged in a CRM")
		return
	}
	n, err := s.cfg.Retrier.Retry(r.Context(), id, step)
	if err != nil {
		s.failWith(w, "retry the steps of a call", err)
		return
	}
	s.reply(w, http.StatusOK, map[string]int{"retried": n})
}

// filter reads the parameters of a list. A parameter that does not exist is an
// error: a misspelt filter would show everything.
func filter(q url.Values) (Filter, error) {
	f := Filter{Limit: defaultLimit}
	for name, values := range q {
		if len(values) > 1 {
			return f, fmt.Errorf("%s is given %d times", clip(name), len(values))
		}
		if err := f.set(name, values[0]); err != nil {
			return f, err
		}
	}
	return f, nil
}

func (f *Filter) set(name, value string) error {
	var err error
	switch name {
	case "limit":
		f.Limit, err = strconv.Atoi(value)
		if err != nil || f.Limit < 1 || f.Limit > maxLimit {
			return fmt.Errorf("limit: %q is not between 1 and %d", clip(value), maxLimit)
		}
	case "since":
		f.Since, err = moment(value)
		if err != nil {
			return fmt.Errorf("since: %q is no RFC 3339 time, such as 2026-03-01T12:00:00+03:00", clip(value))
		}
	case "until":
		f.Until, err = moment(value)
		if err != nil {
			return fmt.Errorf("until: %q is no RFC 3339 time, such as 2026-03-01T12:00:00+03:00", clip(value))
		}
	case "outcome":
		f.Outcome = call.Outcome(value)
		if !f.Outcome.Valid() {
			return fmt.Errorf("outcome: %q is none of %s", clip(value), outcomes())
		}
	case "caller":
		digits := strings.TrimLeft(value, "+ ")
		if digits == "" || strings.Trim(digits, "0123456789*#") != "" {
			return fmt.Errorf("caller: %q is no number", clip(value))
		}
		f.Caller = call.Number(digits)
	case "cursor":
		f.Cursor = value
	default:
		return fmt.Errorf("there is no parameter %q; there are limit, since, until, outcome, caller and cursor", clip(name))
	}
	return nil
}

// moment reads a time. A plus that was not escaped has become a space.
func moment(value string) (time.Time, error) {
	return time.Parse(time.RFC3339, strings.ReplaceAll(value, " ", "+"))
}

// clip shortens what a client sent before it is shown back.
func clip(s string) string {
	const most = 64
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "..."
}

func outcomes() string {
	var names []string
	for _, o := range call.Outcomes() {
		names = append(names, string(o))
	}
	return strings.Join(names, ", ")
}
