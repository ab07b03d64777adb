package crmtest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// Kind is what a fault does.
type Kind string

// The faults. Heal ends whatever was set.
const (
	Heal           Kind = "heal"
	Slow           Kind = "latency"          // answers after Latency
	Silence        Kind = "silence"          // accepts and never answers
	Drip           Kind = "drip"             // a byte a second (Every)
	Refuse         Kind = "refuse"           // no connections at all; a reset without a Server
	Reset          Kind = "reset"            // connections are reset
	TLSStall       Kind = "tls"              // connections are accepted and no byte is ever read or sent
	HTML           Kind = "html"             // 200 with a page
	QueryLimit     Kind = "query_limit"      // 503 QUERY_LIMIT_EXCEEDED
	Overload       Kind = "overload"         // 503 OVERLOAD_LIMIT
	OperationTime  Kind = "operation_time"   // 429 OPERATION_TIME_LIMIT
	Expired        Kind = "expired"          // 401 expired_token
	NoAuth         Kind = "no_auth"          // 401 NO_AUTH_FOUND
	ErrorInside    Kind = "error_inside"     // an error within a 200
	ServerError    Kind = "error"            // 500 INTERNAL_SERVER_ERROR
	Deleted        Kind = "deleted"          // 500 PORTAL_DELETED
	Partial        Kind = "partial"          // one command of a batch fails (Command)
	Truncated      Kind = "truncated"        // half an answer
	Huge           Kind = "huge"             // an answer of Size bytes
	Junk           Kind = "junk"             // broken JSON
	WrongShape     Kind = "wrong_shape"      // JSON of another shape
	EmptyResult    Kind = "empty"            // an empty result
	Moved          Kind = "moved"            // 302 to Location
	DeadAfterFirst Kind = "dead_after_first" // the first request is answered, all others are silent
)

// Kinds lists all faults.
func Kinds() []Kind {
	return []Kind{
		Slow, Silence, Drip, Refuse, Reset, TLSStall, HTML, QueryLimit, Overload, OperationTime, Expired, NoAuth,
		ErrorInside, ServerError, Deleted, Partial, Truncated, Huge, Junk, WrongShape, EmptyResult, Moved, DeadAfterFirst,
	}
}

// Fault is a fault with its details; the zero value is a healthy portal.
// Latency comes before whatever Kind does.
type Fault struct {
	Kind     Kind          `json:"kind"`
	Latency  time.Duration `json:"latency,omitempty"`
	Method   string        `json:"method,omitempty"`   // only requests of this REST method
	After    int           `json:"after,omitempty"`    // this many requests are answered first
	Times    int           `json:"times,omitempty"`    // this many requests are hit, then the portal is well; 0: all
	Executed bool          `json:"executed,omitempty"` // the request is executed before the fault befalls its answer
	Command  string        `json:"command,omitempty"`  // Partial: key or method of what fails; "": the last
	Code     string        `json:"code,omitempty"`     // Partial, ErrorInside: error code
	Location string        `json:"location,omitempty"` // Moved: base URL of the new address; "": the Server's second address
	Size     int           `json:"size,omitempty"`     // Huge: bytes; 0: 50 MB
	Every    time.Duration `json:"every,omitempty"`    // Drip: between bytes; 0: a second
}

// MarshalJSON writes durations the way the knobs read them.
func (f Fault) MarshalJSON() ([]byte, error) {
	type plain Fault
	shown := struct {
		plain
		Latency string `json:"latency,omitempty"`
		Every   string `json:"every,omitempty"`
	}{plain: plain(f)}
	if f.Latency > 0 {
		shown.Latency = f.Latency.String()
	}
	if f.Every > 0 {
		shown.Every = f.Every.String()
	}
	return json.Marshal(shown)
}

// faults is the fault that is set, and what listens for changes.
type faults struct {
	current atomic.Pointer[Fault]
	script  atomic.Pointer[func(Request) Fault]
	passed  atomic.Int64
	changed func(Fault) // the Server's; called without Portal.mu
}

// SetFault replaces the fault of the portal. Requests that an older fault holds
// stay held, as they would be by a real portal.
func (p *Portal) SetFault(f Fault) {
	if f.Kind == DeadAfterFirst {
		f.Kind, f.After = Silence, max(f.After, 1)
	}
	if f.Kind == Heal {
		f = Fault{}
	}
	p.faults.passed.Store(0)
	p.faults.current.Store(&f)
	p.mu.Lock()
	changed := p.faults.changed
	p.mu.Unlock()
	if changed != nil {
		changed(f)
	}
}

// Heal makes the portal healthy.
func (p *Portal) Heal() { p.SetFault(Fault{}) }

// Fault is the fault that is set.
func (p *Portal) Fault() Fault {
	if f := p.faults.current.Load(); f != nil {
		return *f
	}
	return Fault{}
}

// Script has f decide what befalls each request, in the place of the fault that
// is set; nil ends it. It is called for several requests at once, and must not
// use the portal.
func (p *Portal) Script(f func(Request) Fault) {
	if f == nil {
		p.faults.script.Store(nil)
		return
	}
	p.faults.script.Store(&f)
}

// fault is what befalls one request.
func (p *Portal) fault(r Request) Fault {
	if script := p.faults.script.Load(); script != nil {
		return (*script)(r)
	}
	f, method := p.Fault(), r.Method
	if f.Kind == "" && f.Latency == 0 || f.Method != "" && !strings.EqualFold(f.Method, method) {
		return Fault{}
	}
	n := p.faults.passed.Add(1) - int64(f.After)
	if n <= 0 || f.Times > 0 && n > int64(f.Times) {
		return Fault{}
	}
	return f
}

// failure is the refusal that a fault answers with, if it does.
func (f Fault) failure() *Failure {
	switch f.Kind {
	case QueryLimit:
		return &Failure{503, "QUERY_LIMIT_EXCEEDED", "Too many requests"}
	case Overload:
		return &Failure{503, "OVERLOAD_LIMIT", "REST API is blocked due to overload."}
	case OperationTime:
		return &Failure{429, "OPERATION_TIME_LIMIT", "Method is blocked due to operation time limit."}
	case Expired:
		return &Failure{401, "expired_token", "The access token provided has expired."}
	case NoAuth:
		return &Failure{401, "NO_AUTH_FOUND", "Wrong authorization data"}
	case ServerError:
		return &Failure{500, "INTERNAL_SERVER_ERROR", "Internal server error"}
	case Deleted:
		return &Failure{500, "PORTAL_DELETED", "Portal was deleted."}
	case ErrorInside:
		return &Failure{200, f.code(), "something went wrong"}
	}
	return nil
}

func (f Fault) code() string {
	if f.Code != "" {
		return f.Code
	}
	return "INTERNAL_SERVER_ERROR"
}

// broken tells which command of a batch fails under Partial.
func (f Fault) broken(keys []string) func(key, method string) *Failure {
	return func(key, method string) *Failure {
		if f.Kind != Partial {
			return nil
		}
		last := len(keys) > 0 && key == keys[len(keys)-1]
		if f.Command == key || strings.EqualFold(f.Command, method) || f.Command == "" && last {
			return &Failure{Code: f.code(), Text: "this part failed"}
		}
		return nil
	}
}

// parseFault reads a fault from a request: a JSON body, or the parameters kind,
// latency, method, after, times, command, code, location, size, every. Durations are
// written as 250ms or 3s.
func parseFault(r *http.Request, body []byte) (Fault, error) {
	values := map[string]string{}
	for k, v := range r.URL.Query() {
		values[k] = v[0]
	}
	if len(body) > 0 && body[0] == '{' {
		var m map[string]any
		if err := json.Unmarshal(body, &m); err != nil {
			return Fault{}, fmt.Errorf("the body is no JSON object: %w", err)
		}
		for k, v := range m {
			values[k] = str(v)
		}
	} else if params, _ := parseQuery(string(body)); len(body) > 0 {
		for k, v := range params {
			values[k] = str(v)
		}
	}
	return faultOf(values)
}

func faultOf(values map[string]string) (Fault, error) {
	f := Fault{
		Kind: Kind(values["kind"]), Method: values["method"], Command: values["command"],
		Code: values["code"], Location: values["location"], Executed: yes(values["executed"]),
	}
	if f.Kind != "" && f.Kind != Heal && !slices.Contains(Kinds(), f.Kind) {
		return Fault{}, fmt.Errorf("no fault is named %q; there are %v", f.Kind, Kinds())
	}
	for name, to := range map[string]*time.Duration{"latency": &f.Latency, "every": &f.Every} {
		if values[name] == "" {
			continue
		}
		d, err := time.ParseDuration(values[name])
		if err != nil {
			return Fault{}, fmt.Errorf("%s: %w", name, err)
		}
		*to = d
	}
	for name, to := range map[string]*int{"after": &f.After, "times": &f.Times, "size": &f.Size} {
		if values[name] == "" {
			continue
		}
		n, err := strconv.Atoi(values[name])
		if err != nil {
			return Fault{}, fmt.Errorf("%s: %w", name, err)
		}
		*to = n
	}
	if f.Kind == "" && f.Latency > 0 {
		f.Kind = Slow
	}
	return f, nil
}
