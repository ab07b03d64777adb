package web

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/net/netutil"

	"frontdesk/call"
	"frontdesk/routing"
)

// Limits of what a client may ask of the server.
const (
	headerTimeout = 5 * time.Second
	readTimeout   = 10 * time.Second
	writeTimeout  = 30 * time.Second
	idleTimeout   = 60 * time.Second
	closeTimeout  = 5 * time.Second // for requests in progress when Run ends

	explainTimeout = 15 * time.Second // an explanation may ask the CRM

	maxBody        = 1 << 20
	maxHeader      = 16 << 10
	maxConnections = 256
	maxScrapes     = 4
)

// ErrNotFound is what Calls.Get answers for an id that is not kept.
var ErrNotFound = errors.New("no such call")

// ErrInvalid marks an error that is the client's: an Explainer or Calls wraps
// it, and its text is shown with status 400. Other errors are logged and
// answered with 500 and without their text.
var ErrInvalid = errors.New("invalid request")

// Calls gives the records of calls.
type Calls interface {
	// List gives the records that match f, newest first by their start.
	List(ctx context.Context, f Filter) (Page, error)
	// Get gives one record, or ErrNotFound.
	Get(ctx context.Context, id string) (call.Record, error)
}

// Retrier has steps of logging a call in the CRM tried again, at once.
type Retrier interface {
	// Retry gives how many steps of a call are tried again: those named step that
	// are not done, or all of them for "". ErrNotFound: there is no such call.
	Retry(ctx context.Context, id, step string) (int, error)
}

// Filter says which records are wanted. Its zero fields ask for nothing.
type Filter struct {
	Limit   int       // how many at most, above 0
	Since   time.Time // started then or later
	Until   time.Time // started before
	Outcome call.Outcome
	Caller  call.Number // compared without the plus
	Cursor  string      // Next of the page before
}

// Page is a part of a list; Next is the cursor of the part that follows, empty
// at the end.
type Page struct {
	Calls []call.Record `json:"calls"`
	Next  string        `json:"next"`
}

// Explainer decides a call that is not made.
type Explainer interface {
	// Explain decides q. Its context ends with the request, or after 15 s.
	Explain(ctx context.Context, q Query) (routing.Decision, error)
}

// Query is a call to be explained, its numbers as the client wrote them.
type Query struct {
	From  string    `json:"from"` // empty: anonymous
	To    string    `json:"to"`
	Trunk string    `json:"trunk"` // empty: any
	At    time.Time `json:"at"`    // zero: now
}

// Reloader reads the configuration again. problems is the report for people
// where the new one cannot be used and the old one stays; err is set where it
// could not be read at all.
type Reloader interface {
	Reload() (problems string, err error)
}

// Health tells whether calls are taken, and if not, why.
type Health interface {
	Ready() (ok bool, why string)
}

// Config is what a Server is made of. The services are required.
type Config struct {
	Listener net.Listener // owned and closed by Run
	Token    string       // bearer token, see SetToken; empty: loopback only
	Version  string       // shown on the page
	Logger   *slog.Logger
	Metrics  prometheus.Gatherer // what /metrics shows

	Calls     Calls
	Explainer Explainer
	Reloader  Reloader
	Health    Health
	Tools     Tools
	Retrier   Retrier // nil: nothing is owed to the CRM
	Foreign
}

// Foreign are handlers of others, which go without the token.
type Foreign struct {
	// Hooks are handlers of others by their path. They take POST from
	// everywhere and know by themselves whom to believe.
	Hooks map[string]http.Handler
	// Linked serves recordings under /recordings/ to whoever has an address that
	// it made; nil: there are none.
	Linked http.Handler
}

// Server answers HTTP. Make it with New.
type Server struct {
	cfg     Config
	handler http.Handler
	metrics metrics
	token   atomic.Pointer[[sha256.Size]byte] // its sum; nil: none is needed
	busy    chan struct{}                     // held while a tool is used
	ending  chan struct{}                     // closed when Run ends
}

// New makes a server; nothing is served before Run.
func New(cfg Config) (*Server, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	t := cfg.Tools
	if cfg.Calls == nil || cfg.Explainer == nil || cfg.Reloader == nil || cfg.Health == nil || cfg.Metrics == nil ||
		t.Identifier == nil || t.Portal == nil || t.Mirror == nil || t.Phonebook == nil || t.Recordings == nil || t.Exchange == nil {
		return nil, errors.New("web: a service is missing in the configuration")
	}
	s := &Server{cfg: cfg, metrics: newMetrics(), busy: make(chan struct{}, 1), ending: make(chan struct{})}
	s.SetToken(cfg.Token)
	s.cfg.Token = "" // only its sum is kept
	s.handler = s.protect(s.mux())
	return s, nil
}

// Handler is the whole of the server without its listener.
func (s *Server) Handler() http.Handler { return s.handler }

// Run serves until ctx ends, then lets requests in progress finish for up to
// five seconds; the long ones of the tools end at once. It may be called once. End it last: /readyz should tell of draining while calls do.
func (s *Server) Run(ctx context.Context) error {
	srv := &http.Server{
		Handler:           s.handler,
		ReadHeaderTimeout: headerTimeout,
		ReadTimeout:       readTimeout,
		WriteTimeout:      writeTimeout,
		IdleTimeout:       idleTimeout,
		MaxHeaderBytes:    maxHeader,
		ErrorLog:          slog.NewLogLogger(s.cfg.Logger.Handler(), slog.LevelDebug),
	}
	served := make(chan error, 1)
	go func() { served <- srv.Serve(netutil.LimitListener(s.cfg.Listener, maxConnections)) }()
	select {
	case err := <-served:
		return fmt.Errorf("serve http: %w", err)
	case <-ctx.Done():
	}
	close(s.ending)
	grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), closeTimeout)
	defer cancel()
	err := srv.Shutdown(grace)
	if err != nil {
		err = errors.Join(fmt.Errorf("end http: %w", err), srv.Close())
	}
	<-served // http.ErrServerClosed: Shutdown or Close ended it
	return err
}

// route is one method of one path; open ones answer everybody.
type route struct {
	method, path string
	open         bool
	handler      http.HandlerFunc
}

func (s *Server) routes() []route {
	metrics := promhttp.HandlerFor(s.cfg.Metrics, promhttp.HandlerOpts{
		ErrorHandling:       promhttp.ContinueOnError,
		ErrorLog:            slog.NewLogLogger(s.cfg.Logger.Handler(), slog.LevelWarn),
		MaxRequestsInFlight: maxScrapes,
		EnableOpenMetrics:   true,
	})
	return []route{
		{"GET", "/{$}", false, s.page},
		{"GET", "/healthz", true, s.healthz},
		{"GET", "/readyz", true, s.readyz},
		{"GET", "/metrics", false, metrics.ServeHTTP},
		{"GET", "/api/v1/calls", false, s.listCalls},
		{"GET", "/api/v1/calls/{id}", false, s.getCall},
		{"POST", "/api/v1/calls/{id}/retry", false, s.retryCall},
		{"POST", "/api/v1/explain", false, s.explain},
		{"POST", "/api/v1/reload", false, s.reload},
		{"GET", "/api/v1/instance", false, s.instance},
		{"POST", "/api/v1/bitrix24/check", false, s.checkPortal},
		{"POST", "/api/v1/bitrix24/setup", false, s.setupPortal},
		{"POST", "/api/v1/bitrix24/lint", false, s.lintPortal},
		{"POST", "/api/v1/3cx/check", false, s.checkExchange},
		{"GET", "/api/v1/mirror", false, s.mirror},
		{"POST", "/api/v1/mirror/export", false, s.exportMirror},
		{"POST", "/api/v1/phonebook/sync", false, s.syncPhonebook},
		{"POST", "/api/v1/recordings/expire", false, s.expireRecordings},
		{"GET", "/api/v1/openapi.json", false, s.openAPI},
	}
}

func (s *Server) mux() http.Handler {
	mux := http.NewServeMux()
	for _, r := range s.routes() {
		h, refuse := s.counted(r.path, r.handler), s.counted(r.path, s.notAllowed(r.method))
		if !r.open {
			h, refuse = s.guarded(h), s.guarded(refuse)
		}
		mux.Handle(r.method+" "+r.path, h)
		mux.Handle(r.path, refuse)
	}
	for path, h := range s.cfg.Hooks {
		mux.Handle("POST "+path, s.counted("hook", h.ServeHTTP))
	}
	if s.cfg.Linked != nil {
		mux.Handle("/recordings/", s.counted("/recordings/", s.cfg.Linked.ServeHTTP))
	}
	mux.Handle("/", s.guarded(s.counted("other", func(w http.ResponseWriter, _ *http.Request) {
		s.fail(w, http.StatusNotFound, "no such path; GET /api/v1/openapi.json lists what there is")
	})))
	return mux
}

func (s *Server) notAllowed(method string) http.HandlerFunc {
	if method == http.MethodGet {
		method = "GET, HEAD"
	}
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Allow", method)
		s.fail(w, http.StatusMethodNotAllowed, "this path takes "+method)
	}
}
