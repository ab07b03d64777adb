package crmtest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"mime"
	"mime/multipart"
	"net"
	"net/http"
	"slices"
	"strings"
	"time"
)

// maxBody bounds a request: recordings come as base64.
const maxBody = 512 << 20

// ServeHTTP answers REST under /rest/USER/SECRET/METHOD, and the sandbox's own
// knobs under /_sandbox/.
func (p *Portal) ServeHTTP(w http.ResponseWriter, r *http.Request) { p.serve(w, r, false) }

// serve answers a request; renamed is the portal's second address, to which
// Moved redirects and where it does not hold.
func (p *Portal) serve(w http.ResponseWriter, r *http.Request, renamed bool) {
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return // the client went away or sends too much; the connection ends
	}
	if strings.HasPrefix(r.URL.Path, "/_sandbox/") {
		p.control(w, r, body)
		return
	}
	if strings.HasPrefix(r.URL.Path, "/oauth/token") {
		p.token(w, r, body)
		return
	}
	c := parameters(r, body)
	name, denied := p.sender(r.URL.Path, &c)
	c.base = baseOf(r)
	req := Request{
		At: p.now(), HTTP: r.Method, Method: name, User: c.user, App: c.app, UserAgent: r.UserAgent(), Body: body, Commands: c.commands(),
	}
	p.record(req)
	f := p.fault(req)
	if renamed && f.Kind == Moved {
		f = Fault{}
	}
	if f.Latency > 0 && !p.hold(r, f.Latency) {
		return
	}
	if f.Executed && denied == nil && p.admit(r.RemoteAddr) {
		_, _ = p.call(name, c, Fault{}) // what came of it the client does not learn
	}
	if p.misbehave(w, r, f) {
		return
	}
	p.answer(w, r, f, name, denied, c)
}

// answer runs the method and writes what comes of it, as far as f lets it.
func (p *Portal) answer(w http.ResponseWriter, r *http.Request, f Fault, name string, denied *Failure, c invocation) {
	fail := f.failure()
	switch {
	case fail != nil:
	case !p.admit(r.RemoteAddr):
		fail = Fault{Kind: QueryLimit}.failure()
	default:
		fail = denied
	}
	var a answer
	if fail == nil && !f.Executed {
		a, fail = p.call(name, c, f)
	}
	if f.Kind == EmptyResult {
		a = answer{result: []any{}}
	}
	data := p.encode(a, fail)
	switch f.Kind {
	case Truncated:
		p.writeRaw(w, data, len(data)/2)
		return
	case Drip:
		p.drip(w, r, f, data)
		return
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	if fail != nil {
		w.WriteHeader(fail.Status)
	}
	_, _ = w.Write(data) // a client that has gone needs no answer
}

func (p *Portal) call(name string, c invocation, f Fault) (answer, *Failure) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if strings.EqualFold(name, "batch") {
		return p.batch(c, f.broken(c.order))
	}
	return p.invoke(name, c)
}

// encode writes the envelope. mu must be free: results are copies by now, or
// never change.
func (p *Portal) encode(a answer, fail *Failure) []byte {
	now := float64(p.now().UnixMilli()) / 1000
	clock := map[string]any{
		"start": now, "finish": now, "duration": 0.01, "processing": 0.01,
		"date_start": p.now().Format(time.RFC3339), "date_finish": p.now().Format(time.RFC3339),
		"operating": 0, "operating_reset_at": p.now().Add(10 * time.Minute).Unix(),
	}
	out := map[string]any{"result": a.result, "time": clock}
	if a.list {
		out["total"] = a.total
		if a.next > 0 {
			out["next"] = a.next
		}
	}
	if fail != nil {
		out = map[string]any{"error": fail.Code, "error_description": fail.Text}
		if fail.Code == "OPERATION_TIME_LIMIT" {
			out["time"] = clock
		}
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(out); err != nil {
		return []byte(`{"error":"ERROR_UNEXPECTED_ANSWER","error_description":"Server returned an unexpected response."}`)
	}
	return b.Bytes()
}

// sender finds out who calls which method: a webhook's path names it, an
// application sends its access token.
func (p *Portal) sender(path string, c *invocation) (name string, denied *Failure) {
	if strings.TrimRight(path, "/") == "/rest/"+uploadMethod+".json" {
		u, denied := p.uploaded(c.text("token"))
		c.user = u.user
		return uploadMethod, denied
	}
	if parts := strings.Split(strings.Trim(path, "/"), "/"); len(parts) == 2 && parts[0] == "rest" {
		c.user, c.app, denied = p.bearer(c.text("auth"))
		return strings.TrimSuffix(parts[1], ".json"), denied
	}
	name, user, ok := p.address(path)
	if !ok {
		return name, &Failure{401, "NO_AUTH_FOUND", "Wrong authorization data"}
	}
	c.user = user
	return name, nil
}

// address takes /rest/USER/SECRET/METHOD.json apart.
func (p *Portal) address(path string) (name string, user int, ok bool) {
	parts := strings.Split(strings.Trim(path, "/"), "/")
	if len(parts) < 4 || parts[0] != "rest" {
		return strings.TrimSuffix(parts[len(parts)-1], ".json"), 0, false
	}
	name = strings.TrimSuffix(parts[3], ".json")
	p.mu.Lock()
	defer p.mu.Unlock()
	user, ok = p.webhooks[parts[2]]
	if !ok || num(parts[1]) != user || p.users[user].Dismissed {
		return name, 0, false
	}
	return name, user, true
}

// parameters reads the query and, except on GET, the body: JSON sent with GET is
// ignored.
func parameters(r *http.Request, body []byte) invocation {
	params, order := parseQuery(r.URL.RawQuery)
	c := invocation{params: params, order: order}
	if r.Method == http.MethodGet || len(body) == 0 {
		return c
	}
	if strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
		var m map[string]any
		dec := json.NewDecoder(bytes.NewReader(body))
		dec.UseNumber()
		if dec.Decode(&m) == nil {
			maps.Copy(c.params, m)
			c.order = append(c.order, orderOf(body)...)
		}
		return c
	}
	if c.files = formFiles(r.Header.Get("Content-Type"), body); c.files != nil {
		return c
	}
	params, order = parseQuery(string(body))
	maps.Copy(c.params, params)
	c.order = append(c.order, order...)
	return c
}

// formFiles are the files of a multipart form by the names of their parts; nil
// for bodies of other kinds.
func formFiles(contentType string, body []byte) map[string][]byte {
	kind, params, err := mime.ParseMediaType(contentType)
	if err != nil || kind != "multipart/form-data" {
		return nil
	}
	out := map[string][]byte{}
	for r := multipart.NewReader(bytes.NewReader(body), params["boundary"]); ; {
		part, err := r.NextPart()
		if err != nil {
			return out
		}
		if data, err := io.ReadAll(part); err == nil && part.FileName() != "" {
			out[part.FormName()] = data
		}
	}
}

// orderOf are the keys of the object cmd in the order in which JSON has them.
func orderOf(body []byte) []string {
	var outer struct {
		Cmd json.RawMessage `json:"cmd"`
	}
	if json.Unmarshal(body, &outer) != nil {
		return nil
	}
	dec := json.NewDecoder(bytes.NewReader(outer.Cmd))
	if t, err := dec.Token(); err != nil || t != json.Delim('{') {
		return nil
	}
	var keys []string
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return keys
		}
		var skip json.RawMessage
		if dec.Decode(&skip) != nil {
			return keys
		}
		if s, ok := key.(string); ok && !slices.Contains(keys, s) {
			keys = append(keys, s)
		}
	}
	return keys
}

// hold waits for d; it is false when the client or the portal went away.
func (p *Portal) hold(r *http.Request, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-r.Context().Done():
	case <-p.closed:
	}
	return false
}

// misbehave does what faults do instead of answering, and reports whether it
// did.
func (p *Portal) misbehave(w http.ResponseWriter, r *http.Request, f Fault) bool {
	switch f.Kind {
	case Silence, TLSStall:
		select {
		case <-r.Context().Done():
		case <-p.closed:
		}
		hangUp(w)
	case Refuse, Reset:
		hangUp(w)
	case HTML:
		writePage(w, 200, "text/html", "<!DOCTYPE html><html><body><h1>Bad gateway</h1>"+r.URL.Path+"</body></html>")
	case Junk:
		writePage(w, 200, "application/json", `{"result":{"result":[{]`)
	case WrongShape:
		writePage(w, 200, "application/json", `{"result":{"result":{"dc":{"CONTACT":"x"},"c":7},"result_error":"none"}}`)
	case Moved:
		w.Header().Set("Location", strings.TrimSuffix(f.Location, "/")+r.URL.Path)
		writePage(w, http.StatusFound, "text/html", "<html>moved</html>")
	case Huge:
		p.huge(w, f)
	default:
		return false
	}
	return true
}

func writePage(w http.ResponseWriter, status int, kind, text string) {
	w.Header().Set("Content-Type", kind)
	w.WriteHeader(status)
	_, _ = io.WriteString(w, text) // a client that has gone needs no answer
}

// huge is JSON with a great deal of white space.
func (p *Portal) huge(w http.ResponseWriter, f Fault) {
	size := f.Size
	if size == 0 {
		size = 50 << 20
	}
	w.Header().Set("Content-Type", "application/json")
	chunk := bytes.Repeat([]byte{' '}, 64<<10)
	_, err := io.WriteString(w, `{"result":`)
	for sent := 0; sent < size && err == nil; sent += len(chunk) {
		_, err = w.Write(chunk)
	}
	if err == nil {
		_, _ = io.WriteString(w, "[]}") // see writePage
	}
}

// drip sends the answer a byte at a time.
func (p *Portal) drip(w http.ResponseWriter, r *http.Request, f Fault, data []byte) {
	every := f.Every
	if every == 0 {
		every = time.Second
	}
	w.Header().Set("Content-Type", "application/json")
	flusher := http.NewResponseController(w)
	for _, b := range data {
		if !p.hold(r, every) {
			return
		}
		if _, err := w.Write([]byte{b}); err != nil || flusher.Flush() != nil {
			return
		}
	}
}

// writeRaw announces all of data, sends n bytes of it and hangs up.
func (p *Portal) writeRaw(w http.ResponseWriter, data []byte, n int) {
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	_, _ = fmt.Fprintf(rw, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(data), data[:n])
	_ = rw.Flush() // a client that has gone needs no answer
	_ = conn.Close()
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

// control is what /_sandbox/ offers: fault (GET, PUT or POST, DELETE),
// requests, calls, activities, leads, tasks and files.
func (p *Portal) control(w http.ResponseWriter, r *http.Request, body []byte) {
	switch path := strings.TrimPrefix(r.URL.Path, "/_sandbox/"); {
	case path == "fault" && (r.Method == http.MethodPost || r.Method == http.MethodPut):
		f, err := parseFault(r, body)
		if err != nil {
			writePage(w, http.StatusBadRequest, "text/plain; charset=utf-8", err.Error()+"\n")
			return
		}
		p.SetFault(f)
		writeJSON(w, p.Fault())
	case path == "fault" && r.Method == http.MethodDelete:
		p.Heal()
		writeJSON(w, p.Fault())
	case path == "fault":
		writeJSON(w, map[string]any{"fault": p.Fault(), "kinds": Kinds()})
	case path == "requests":
		writeJSON(w, map[string]any{"total": p.Total()})
	case path == "calls":
		writeJSON(w, p.Calls())
	case path == "activities":
		writeJSON(w, p.Activities())
	case path == "leads":
		writeJSON(w, p.Leads())
	case path == "tasks":
		writeJSON(w, p.Tasks())
	case path == "files":
		writeJSON(w, map[string]any{"files": p.Files(), "deleted": p.Deleted()})
	default:
		http.NotFound(w, r)
	}
}

func writeJSON(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v) // a client that has gone needs no answer
}
