package crm

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
	"unicode"

	"frontdesk/call"
)

// The classes of a look-up that gave no answer, one for each call.Missing.
var (
	// ErrDeadline: the portal did not answer before the caller's context ended.
	ErrDeadline = errors.New("no answer from the portal in time")
	// ErrFailed: the portal refused, failed, or gave an answer that is not understood.
	ErrFailed = errors.New("the portal gave no usable answer")
	// ErrSkipped: the portal is known to be down and was not asked.
	ErrSkipped = errors.New("the portal is down and was not asked")
	// ErrNotAsked: there is no number to ask for.
	ErrNotAsked = errors.New("no number to look up")
)

var (
	errBudget    = errors.New("the portal's rate limit is used up")
	errCrowded   = errors.New("too many look-ups are waiting for the portal")
	errPaused    = errors.New("paused by the portal")
	errTooLarge  = errors.New("the answer is too large")
	errNotJSON   = errors.New("the answer is not JSON")
	errShape     = errors.New("the answer has an unexpected shape")
	errRedirects = errors.New("the portal redirects without end")
)

// MissingOf is the class of a look-up's error, as the trace shows it.
func MissingOf(err error) call.Missing {
	switch {
	case err == nil:
		return ""
	case errors.Is(err, ErrSkipped):
		return call.MissingSkipped
	case errors.Is(err, ErrNotAsked):
		return call.MissingNotAsked
	case errors.Is(err, ErrDeadline), errors.Is(err, context.DeadlineExceeded):
		return call.MissingDeadline
	}
	return call.MissingError
}

// Codes of the portal's errors that call for a particular action.
const (
	CodeQueryLimit    = "QUERY_LIMIT_EXCEEDED" // 503: not executed, may be repeated
	CodeOverload      = "OVERLOAD_LIMIT"       // 503: blocked by the vendor
	CodeOperationTime = "OPERATION_TIME_LIMIT" // 429: the method rests until ResetAt
	CodeNoAuth        = "NO_AUTH_FOUND"        // 401: the webhook is gone
	CodeExpired       = "EXPIRED_TOKEN"        // 401
	CodeScope         = "INSUFFICIENT_SCOPE"   // 403
	CodeWrongAuth     = "WRONG_AUTH_TYPE"      // 403: the method wants an application
	CodeDeleted       = "PORTAL_DELETED"       // 500
)

// Error is a refusal by the portal.
type Error struct {
	Method  string    // the REST method
	Command string    // its key within a batch, if it was part of one
	Status  int       // HTTP status
	Code    string    // in upper case; old methods give none
	Text    string    // the portal's description, bounded, without secrets
	ResetAt time.Time // of OPERATION_TIME_LIMIT: when the method may be used again
}

// Error says what was refused and why.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(e.Method)
	if e.Command != "" {
		b.WriteString(" (" + e.Command + ")")
	}
	b.WriteString(": the portal answered")
	if e.Status != 0 {
		fmt.Fprintf(&b, " %d", e.Status)
	}
	if e.Code != "" {
		b.WriteString(" " + e.Code)
	}
	if e.Text != "" {
		b.WriteString(": " + e.Text)
	}
	return b.String()
}

// Is reports whether target is an *Error with the same code, ignoring case; a
// target with a status wants that too.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && strings.EqualFold(t.Code, e.Code) && (t.Status == 0 || t.Status == e.Status)
}

func hasCode(err error, code string) bool {
	var e *Error
	return errors.As(err, &e) && strings.EqualFold(e.Code, code)
}

// secrets are what must never be shown.
type secrets []string

// secretsOf are the webhook's secret and its path.
func secretsOf(u *url.URL) secrets {
	path := strings.Trim(u.Path, "/")
	parts := strings.Split(path, "/")
	out := secrets{parts[len(parts)-1], url.PathEscape(parts[len(parts)-1])}
	if u.User != nil {
		if p, ok := u.User.Password(); ok && p != "" {
			out = append(out, p)
		}
	}
	return out
}

// maxText bounds what a foreign text may add to an error.
const maxText = 200

// clean makes a foreign text fit to be shown: bounded, on one line, without
// secrets.
func (s secrets) clean(text string) string {
	for _, secret := range s {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "[secret]")
		}
	}
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == unicode.ReplacementChar {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, " "))
	if runes := []rune(text); len(runes) > maxText {
		text = string(runes[:maxText]) + "..."
	}
	return strings.TrimSpace(text)
}
