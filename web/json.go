package web

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// reply writes v as JSON. It is encoded before the status is sent, so that a
// value that cannot be encoded is a clean 500.
func (s *Server) reply(w http.ResponseWriter, code int, v any) {
	b, err := json.Marshal(v)
	if err != nil {
		s.cfg.Logger.Error("encode an HTTP answer", "error", err)
		code, b = http.StatusInternalServerError, []byte(`{"error":"internal error"}`)
	}
	h := w.Header()
	h.Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(code)
	_, _ = w.Write(append(b, '\n')) // a client that is gone needs no answer
}

// problem is the body of every error.
type problem struct {
	Error    string `json:"error"`
	Problems string `json:"problems,omitempty"`
}

func (s *Server) fail(w http.ResponseWriter, code int, why string) {
	s.reply(w, code, problem{Error: why})
}

// failWith answers an error of a service.
func (s *Server) failWith(w http.ResponseWriter, doing string, err error) {
	code, why := s.judge(doing, err)
	s.fail(w, code, why)
}

// judge gives the status and the text for an error of a service: those that are
// meant for the client with their text, any other as 500 and with a line in the
// log.
func (s *Server) judge(doing string, err error) (code int, why string) {
	switch {
	case errors.Is(err, ErrNotFound):
		return http.StatusNotFound, ErrNotFound.Error()
	case errors.Is(err, ErrInvalid):
		return http.StatusBadRequest, strings.TrimPrefix(err.Error(), ErrInvalid.Error()+": ")
	case errors.Is(err, ErrNotHere):
		return http.StatusConflict, strings.TrimPrefix(err.Error(), ErrNotHere.Error()+": ")
	case errors.Is(err, ErrPortal):
		return http.StatusBadGateway, strings.TrimPrefix(err.Error(), ErrPortal.Error()+": ")
	case errors.Is(err, errEnding):
		return http.StatusServiceUnavailable, err.Error()
	}
	s.cfg.Logger.Error(doing, "error", err)
	return http.StatusInternalServerError, doing + " failed; see the log"
}

// errTooLarge is a body above the limit.
var errTooLarge = fmt.Errorf("the body is larger than %d bytes", maxBody)

// decode reads one JSON object into v and refuses fields that v does not have.
// Its errors are for the client.
func decode(r *http.Request, v any) error {
	body, err := io.ReadAll(r.Body)
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return errTooLarge
	case err != nil:
		return errors.New("the body could not be read")
	case len(bytes.TrimSpace(body)) == 0:
		return errors.New("a JSON object is needed")
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return clearer(err)
	}
	if _, err := d.Token(); err != io.EOF {
		return errors.New("something follows the JSON object")
	}
	return nil
}

// clearer says what is wrong with JSON in the client's words.
func clearer(err error) error {
	var syntax *json.SyntaxError
	var typ *json.UnmarshalTypeError
	switch {
	case errors.As(err, &syntax):
		return fmt.Errorf("bad JSON at byte %d: %w", syntax.Offset, err)
	case errors.As(err, &typ) && typ.Field == "":
		return fmt.Errorf("a JSON object is needed, not a %s", typ.Value)
	case errors.As(err, &typ):
		return fmt.Errorf("%s: a %s is needed, not a %s", typ.Field, typ.Type, typ.Value)
	case errors.Is(err, io.ErrUnexpectedEOF):
		return errors.New("bad JSON: it ends too early")
	}
	return errors.New(strings.TrimPrefix(err.Error(), "json: "))
}
