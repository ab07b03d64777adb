package pbxtest

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// Fault is what goes wrong with the API; the zero value is a healthy one.
// Latency comes before whatever Kind does.
type Fault struct {
	Kind    FaultKind     `json:"kind"`
	Latency time.Duration `json:"-"`                // in JSON "latency": "3s"
	Path    string        `json:"path,omitempty"`   // only requests whose path has this in it
	Method  string        `json:"method,omitempty"` // only of this HTTP method
	After   int           `json:"after,omitempty"`  // so many requests are answered first
	Times   int           `json:"times,omitempty"`  // so many are hit, then the API is well; 0: all
}

// FaultKind is what a fault does.
type FaultKind string

// The faults. Heal ends whatever was set.
const (
	Heal         FaultKind = "heal"
	Slow         FaultKind = "latency"      // answers after Latency
	Unauthorized FaultKind = "unauthorized" // 401, though the token is good
	Forbidden    FaultKind = "forbidden"    // 403
	Missing      FaultKind = "missing"      // 404 without a body, as of an action that moved
	TopRefused   FaultKind = "top"          // 400 wherever $top is given
	Invalid      FaultKind = "invalid"      // 400 WARNINGS.XAPI.REQUIRED
	ServerError  FaultKind = "error"        // 500
	Unavailable  FaultKind = "unavailable"  // 503
	Silence      FaultKind = "silence"      // accepts and never answers
	Reset        FaultKind = "reset"        // the connection is reset
	Truncated    FaultKind = "truncated"    // half an answer
	HTML         FaultKind = "html"         // 200 with a page
	Junk         FaultKind = "junk"         // broken JSON
)

// FaultKinds lists all faults.
func FaultKinds() []FaultKind {
	return []FaultKind{
		Slow, Unauthorized, Forbidden, Missing, TopRefused, Invalid, ServerError, Unavailable, Silence, Reset, Truncated, HTML, Junk,
	}
}

// armed is the fault that is set, and how many requests it has seen.
type armed struct {
	Fault
	passed int
}

// SetFault replaces the fault of the API.
func (a *API) SetFault(f Fault) {
	if f.Kind == Heal {
		f = Fault{}
	}
	if f.Kind == "" && f.Latency > 0 {
		f.Kind = Slow
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.fault = armed{Fault: f}
}

// Heal makes the API healthy.
func (a *API) Heal() { a.SetFault(Fault{}) }

// Fault is the fault that is set.
func (a *API) Fault() Fault {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.fault.Fault
}

// befalls is what befalls one request.
func (a *API) befalls(r *http.Request) Fault {
	a.mu.Lock()
	defer a.mu.Unlock()
	f := &a.fault
	switch {
	case f.Kind == "", f.Method != "" && !strings.EqualFold(f.Method, r.Method), !strings.Contains(r.URL.Path, f.Path),
		f.Kind == TopRefused && !r.URL.Query().Has("$top"):
		return Fault{}
	}
	f.passed++
	if n := f.passed - f.After; n <= 0 || f.Times > 0 && n > f.Times {
		return Fault{}
	}
	return f.Fault
}

// hold waits for d; it is false when the client or the API went away.
func (a *API) hold(r *http.Request, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-r.Context().Done():
	case <-a.closed:
	}
	return false
}

// misbehave does what a fault does in place of answering, and reports whether
// it did.
func (a *API) misbehave(w http.ResponseWriter, r *http.Request, f Fault) bool {
	switch f.Kind {
	case Unauthorized:
		w.WriteHeader(http.StatusUnauthorized)
	case Forbidden:
		w.WriteHeader(http.StatusForbidden)
	case Missing:
		w.WriteHeader(http.StatusNotFound)
	case TopRefused:
		writeJSON(w, http.StatusBadRequest, invalid("The limit for Top query has been exceeded.").body())
	case Invalid:
		writeJSON(w, http.StatusBadRequest, warning("Number", "XAPI.REQUIRED").body())
	case ServerError:
		writeJSON(w, http.StatusInternalServerError, (&failure{text: "An error has occurred."}).body())
	case Unavailable:
		w.Header().Set("Retry-After", "1")
		w.WriteHeader(http.StatusServiceUnavailable)
	case Silence:
		select {
		case <-r.Context().Done():
		case <-a.closed:
		}
		hangUp(w)
	case Reset:
		hangUp(w)
	case HTML:
		w.Header().Set("Content-Type", "text/html")
		_, _ = io.WriteString(w, "<!DOCTYPE html><html><body><h1>3CX Webclient</h1></body></html>") // a client that has gone needs no answer
	case Junk:
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"value":[{"Id":21,]`) // as above
	default:
		return false
	}
	return true
}

// hangUp resets the connection.
func hangUp(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // best effort: else it is a plain close
	}
	_ = conn.Close()
}

// truncating keeps an answer, to send half of it.
type truncating struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// Header is http.ResponseWriter's.
func (t *truncating) Header() http.Header { return t.header }

// WriteHeader keeps the status.
func (t *truncating) WriteHeader(status int) { t.status = status }

// Write keeps the body.
func (t *truncating) Write(b []byte) (int, error) { return t.body.Write(b) }

// send announces all of the answer, sends half of it and hangs up.
func (t *truncating) send(w http.ResponseWriter) {
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	_, _ = fmt.Fprintf(rw, "HTTP/1.1 %d OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s",
		max(t.status, 200), t.header.Get("Content-Type"), t.body.Len(), t.body.Bytes()[:t.body.Len()/2])
	_ = rw.Flush() // a client that has gone needs no answer
	_ = conn.Close()
}
