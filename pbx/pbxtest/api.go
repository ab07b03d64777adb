package pbxtest

import (
	"cmp"
	"crypto/rand"
	"encoding/json"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// API is the HTTP side of a PBX: /connect/token, /xapi/v1/, /callcontrol, and
// the sandbox's own knobs under /_sandbox/. It is an http.Handler, safe for
// concurrent use.
type API struct {
	state  *State
	routes map[string]route
	key    []byte // signs tokens
	feed   *Feed  // whose knobs are shown; may be nil

	mu      sync.Mutex
	clients map[string]*session
	log     requests
	fault   armed
	closed  chan struct{}
	once    sync.Once
}

// NewAPI shows s to clients; without any, to one with the id "frontdesk" and
// the secret "secret".
func NewAPI(s *State, clients ...Client) *API {
	a := &API{state: s, clients: map[string]*session{}, key: []byte(rand.Text()), routes: map[string]route{}, closed: make(chan struct{})}
	if len(clients) == 0 {
		clients = []Client{{ID: "frontdesk", Secret: "secret"}}
	}
	for _, c := range clients {
		c.Role = cmp.Or(c.Role, Owner)
		c.Lifetime = cmp.Or(c.Lifetime, time.Hour)
		a.clients[c.ID] = &session{Client: c}
	}
	for _, r := range routes() {
		if s.cfg.Build >= r.since && (r.until == 0 || s.cfg.Build < r.until) {
			a.routes[r.shape] = r
		}
	}
	return a
}

// Close lets go of the requests and connections that are held. The API is of no
// use afterwards.
func (a *API) Close() { a.once.Do(func() { close(a.closed) }) }

// ShowKnobs shows the knobs of a CDR socket at /_sandbox/cdr. It is called
// before the API serves.
func (a *API) ShowKnobs(f *Feed) { a.feed = f }

// route is one operation of the API.
type route struct {
	shape        string // "GET Users", "PATCH Users()", "POST Contacts/Pbx.DeleteContactsById"
	right        right
	do           func(a *API, q *request) (any, *failure)
	since, until Build // builds that have it, until excluded; 0: all
}

// request is one call of an operation.
type request struct {
	path  []segment
	query url.Values
	body  []byte
}

// set is the entity set that a request is about.
func (q *request) set() string { return q.path[0].name }

// last is the last part of the path: the function or key that is called.
func (q *request) last() segment { return q.path[len(q.path)-1] }

// fields reads the body as an object.
func (q *request) fields() (Row, *failure) {
	var r Row
	if err := json.Unmarshal(q.body, &r); err != nil {
		return nil, invalid("The request body is not a JSON object: %v", err)
	}
	return r, nil
}

// created is a row that a POST made; file is no JSON at all.
type (
	created struct{ row Row }
	file    struct {
		name, kind string
		data       []byte
	}
)

const maxBody = 16 << 20

// ServeHTTP answers whatever a PBX answers.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body := []byte(nil)
	if r.URL.Path != "/connect/token" {
		var err error
		if body, err = io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody)); err != nil {
			return // the client went away or sends too much; the connection ends
		}
	}
	if strings.HasPrefix(r.URL.Path, "/_sandbox/") {
		a.control(w, r, body)
		return
	}
	a.record(r, body)
	w.Header().Set("X-3CX-Version", a.state.cfg.Build.String())
	f := a.befalls(r)
	if f.Latency > 0 && !a.hold(r, f.Latency) {
		return
	}
	if a.misbehave(w, r, f) {
		return
	}
	if f.Kind == Truncated {
		t := &truncating{header: http.Header{}}
		a.answer(t, r, body)
		t.send(w)
		return
	}
	a.answer(w, r, body)
}

// answer answers as a healthy PBX.
func (a *API) answer(w http.ResponseWriter, r *http.Request, body []byte) {
	switch path := r.URL.Path; {
	case path == "/connect/token":
		a.serveToken(w, r)
	case strings.HasPrefix(path, "/xapi/v1/"):
		a.serveXAPI(w, r, body)
	case path == "/callcontrol" || strings.HasPrefix(path, "/callcontrol/"):
		a.serveCallControl(w, r, body)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

// serveXAPI finds the operation of a request and runs it.
func (a *API) serveXAPI(w http.ResponseWriter, r *http.Request, body []byte) {
	client := a.bearer(r)
	if client == nil {
		w.Header().Set("WWW-Authenticate", "Bearer")
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	path, ok := parsePath(strings.TrimPrefix(r.URL.Path, "/xapi/v1/"))
	if !ok || len(path) == 0 {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	op, ok := a.routes[r.Method+" "+shape(path)]
	switch {
	case client.NoXAPI || a.state.cfg.Licence.NoEnterprise || ok && !client.Role.may(op.right):
		w.WriteHeader(http.StatusForbidden)
		return
	case !ok: // the build has no such endpoint: no body
		w.WriteHeader(http.StatusNotFound)
		return
	}
	out, fail := op.do(a, &request{path: path, query: r.URL.Query(), body: body})
	a.write(w, r, out, fail)
}

// shape is a path without keys and arguments.
func shape(path []segment) string {
	var b strings.Builder
	for i, s := range path {
		if i > 0 {
			b.WriteByte('/')
		}
		b.WriteString(s.name)
		if s.call {
			b.WriteString("()")
		}
	}
	return b.String()
}

// write writes the result of an operation. State's mu must be free: rows are
// not changed once given out.
func (a *API) write(w http.ResponseWriter, r *http.Request, out any, fail *failure) {
	switch {
	case fail != nil && fail.text == "":
		w.WriteHeader(fail.status)
		return
	case fail != nil:
		writeJSON(w, fail.status, fail.body())
		return
	}
	switch out := out.(type) {
	case nil:
		w.WriteHeader(http.StatusNoContent)
	case file:
		w.Header().Set("Content-Type", out.kind)
		w.Header().Set("Content-Disposition", `attachment; filename="`+out.name+`"`)
		_, _ = w.Write(out.data) // a client that has gone needs no answer
	case created:
		writeJSON(w, http.StatusCreated, out.row)
	case Row:
		if skip, ok := out["@odata.nextLink"].(int); ok {
			out["@odata.nextLink"] = nextLink(r, skip)
		}
		out["@odata.context"] = "https://" + r.Host + "/xapi/v1/$metadata#" + strings.TrimPrefix(r.URL.Path, "/xapi/v1/")
		writeJSON(w, http.StatusOK, out)
	}
}

func nextLink(r *http.Request, skip int) string {
	q := r.URL.Query()
	q.Set("$skip", itoa(skip))
	return "https://" + r.Host + r.URL.Path + "?" + q.Encode()
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; odata.metadata=minimal; odata.streaming=true; charset=utf-8")
	w.WriteHeader(status)
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(v) // a client that has gone needs no answer
}

// Request is one HTTP request that reached the API.
type Request struct {
	At     time.Time
	Method string
	Path   string // without the query
	Query  string // unescaped where it can be
	Body   []byte // not of token requests
}

// requests keeps the last requests.
type requests struct {
	kept  []Request
	total int
}

// keep bounds the recorded requests.
const keep = 10000

func (a *API) record(r *http.Request, body []byte) {
	query, err := url.QueryUnescape(r.URL.RawQuery)
	if err != nil {
		query = r.URL.RawQuery
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.log.total++; len(a.log.kept) >= keep {
		a.log.kept = append(a.log.kept[:0], a.log.kept[keep/2:]...)
	}
	a.log.kept = append(a.log.kept, Request{At: time.Now(), Method: r.Method, Path: r.URL.Path, Query: query, Body: body})
}

// Requests are the last requests, oldest first.
func (a *API) Requests() []Request {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]Request(nil), a.log.kept...)
}

// Total is the number of requests that ever reached the API.
func (a *API) Total() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.log.total
}
