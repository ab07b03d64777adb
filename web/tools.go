package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"frontdesk/call"
	"frontdesk/routing"
)

// ErrNotHere marks an error of a tool that this server does not have: its text
// is shown with status 409.
var ErrNotHere = errors.New("not here")

// ErrPortal marks an error of the portal: its text, which must hold no secret,
// is shown with status 502.
var ErrPortal = errors.New("the portal")

// Tools are what the command line asks of a running server, since it holds the
// store, the tokens and the portal's rate limit.
type Tools struct {
	Identifier Identifier
	Portal     Portal
	Mirror     Mirror
	Phonebook  Phonebook
	Recordings Recordings
	Exchange   Exchange
}

// Identifier tells which frontdesk answers.
type Identifier interface {
	Identity() Identity
}

// Identity is by what a command knows the server of its configuration.
type Identity struct {
	Product string `json:"product"` // frontdesk
	Version string `json:"version"`
	Config  string `json:"config"` // absolute path of the configuration file
	Sum     string `json:"sum"`    // SHA-256 of the file as it is in force, in hex
}

// Portal takes care of the portal. Its errors wrap ErrNotHere or ErrPortal.
type Portal interface {
	// Check tries every credential with what the product uses it for.
	Check(ctx context.Context) ([]Check, error)
	// Setup makes the user fields and shows them on the cards.
	Setup(ctx context.Context, o SetupOptions) ([]SetupStep, error)
	// Lint reads the whole portal and tells what will misroute. progress is
	// called by the goroutine that called Lint.
	Lint(ctx context.Context, progress func(Progress)) ([]routing.Finding, error)
}

// Check is one thing that was tried with one credential.
type Check struct {
	Credential string `json:"credential"` // webhook, app, employee 17
	Method     string `json:"method"`
	For        string `json:"for"` // what it is needed for
	OK         bool   `json:"ok"`
	Problem    string `json:"problem,omitempty"`
	Advice     string `json:"advice,omitempty"`
}

// Exchange is the PBX. Its errors wrap ErrNotHere.
type Exchange interface {
	// Probe tries all that is used of the PBX's own interfaces.
	Probe(ctx context.Context) ([]ExchangeCheck, error)
}

// ExchangeCheck is one thing that was tried of the PBX's interfaces.
type ExchangeCheck struct {
	Name   string `json:"name"`
	State  string `json:"state"`            // ok, missing, failed, unlicensed
	Detail string `json:"detail,omitempty"` // what was found
	Advice string `json:"advice,omitempty"` // what to do about it
}

// SetupOptions say how the portal is prepared.
type SetupOptions struct {
	Section string // title of the section on the cards; empty: the usual one
	DryRun  bool   // tell, and change nothing
}

// SetupStep is one thing that setup made sure of.
type SetupStep struct {
	Object string `json:"object"`          // contact, company, lead, repeat lead, user
	Field  string `json:"field,omitempty"` // code of the field; none for the card
	Type   string `json:"type,omitempty"`
	State  string `json:"state"` // create, keep, conflict, failed
	Text   string `json:"text"`
	Advice string `json:"advice,omitempty"`
}

// Mirror is the local copy of the portal. Its errors wrap ErrNotHere.
type Mirror interface {
	Status(ctx context.Context) (MirrorStatus, error)
	// Export has everything read anew, or joins the export under way, and
	// returns when it is complete. One that is asked for goes on when ctx ends.
	// progress is called by the goroutine that called Export.
	Export(ctx context.Context, progress func(Progress)) (MirrorStatus, error)
}

// MirrorStatus is what the mirror holds, and how old it is.
type MirrorStatus struct {
	MirrorSize
	Ready  bool         `json:"ready"`         // it answers
	Why    string       `json:"why,omitempty"` // it does not
	Heard  time.Time    `json:"heard,omitzero"`
	Age    call.Seconds `json:"age"`              // of the copy; 0 before the first export is complete
	Export *Progress    `json:"export,omitempty"` // under way or asked for; none otherwise
}

// MirrorSize is how much the mirror holds.
type MirrorSize struct {
	Contacts  int `json:"contacts"`
	Companies int `json:"companies"`
	Leads     int `json:"leads"`
	Numbers   int `json:"numbers"`
}

// Progress tells how far something long is.
type Progress struct {
	What  string `json:"what"` // is being read
	Done  int    `json:"done"`
	Total int    `json:"total"` // 0: not known yet
	Note  string `json:"note,omitempty"`
}

// explained is a decision with what its text needs besides the contract.
type explained struct {
	routing.Decision
	Default call.Extension `json:"default,omitempty"`
	Reject  int            `json:"reject,omitempty"`
}

func (s *Server) instance(w http.ResponseWriter, _ *http.Request) {
	s.reply(w, http.StatusOK, s.cfg.Tools.Identifier.Identity())
}

func (s *Server) checkPortal(w http.ResponseWriter, r *http.Request) {
	s.tool(w, r, "check the portal", func(ctx context.Context, _ func(Progress)) (any, error) {
		checks, err := s.cfg.Tools.Portal.Check(ctx)
		return map[string][]Check{"checks": orEmpty(checks)}, err
	})
}

func (s *Server) checkExchange(w http.ResponseWriter, r *http.Request) {
	s.tool(w, r, "check the PBX", func(ctx context.Context, _ func(Progress)) (any, error) {
		checks, err := s.cfg.Tools.Exchange.Probe(ctx)
		return map[string][]ExchangeCheck{"checks": orEmpty(checks)}, err
	})
}

func (s *Server) setupPortal(w http.ResponseWriter, r *http.Request) {
	o, err := setupOptions(r.URL.RawQuery)
	if err != nil {
		s.fail(w, http.StatusBadRequest, err.Error())
		return
	}
	s.tool(w, r, "set the portal up", func(ctx context.Context, _ func(Progress)) (any, error) {
		steps, err := s.cfg.Tools.Portal.Setup(ctx, o)
		return map[string][]SetupStep{"steps": orEmpty(steps)}, err
	})
}

func setupOptions(query string) (SetupOptions, error) {
	var o SetupOptions
	q, err := url.ParseQuery(query)
	if err != nil {
		return o, errors.New("the query cannot be read")
	}
	for name, values := range q {
		switch value := values[len(values)-1]; {
		case len(values) > 1:
			return o, fmt.Errorf("%s is given %d times", clip(name), len(values))
		case name == "dry_run":
			if o.DryRun, err = strconv.ParseBool(value); err != nil {
				return o, fmt.Errorf("dry_run: %q is neither true nor false", clip(value))
			}
		case name == "section":
			if len(value) > maxField {
				return o, fmt.Errorf("section is longer than %d bytes", maxField)
			}
			o.Section = value
		default:
			return o, fmt.Errorf("there is no parameter %q; there are dry_run and section", clip(name))
		}
	}
	return o, nil
}

func (s *Server) lintPortal(w http.ResponseWriter, r *http.Request) {
	s.tool(w, r, "lint the portal", func(ctx context.Context, progress func(Progress)) (any, error) {
		findings, err := s.cfg.Tools.Portal.Lint(ctx, progress)
		return map[string][]routing.Finding{"findings": orEmpty(findings)}, err
	})
}

func (s *Server) mirror(w http.ResponseWriter, r *http.Request) {
	status, err := s.cfg.Tools.Mirror.Status(r.Context())
	if err != nil {
		s.failWith(w, "look at the mirror", err)
		return
	}
	s.reply(w, http.StatusOK, status)
}

func (s *Server) exportMirror(w http.ResponseWriter, r *http.Request) {
	s.watch(w, r, "export the portal", func(ctx context.Context, progress func(Progress)) (any, error) {
		return s.cfg.Tools.Mirror.Export(ctx, progress)
	})
}

// orEmpty is a list that JSON does not show as null.
func orEmpty[T any](list []T) []T {
	if list == nil {
		return []T{}
	}
	return list
}
