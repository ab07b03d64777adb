package crm

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"
)

// Authored is as whom the portal was written to.
type Authored string

// The ways of writing.
const (
	AuthoredSelf     Authored = "employee" // with the credential of the employee, or of the application asked for
	AuthoredPortal   Authored = "portal"   // with the portal's: the employee has none of their own
	AuthoredFallback Authored = "fallback" // with the portal's: the employee's own was refused
)

// authorRest is for how long an employee's credential that was refused is not
// tried again.
const authorRest = time.Hour

// refusals are what a credential was refused for, and until when it rests: ""
// for everything, or the family of methods (crm, tasks) whose scope is missing.
type refusals struct {
	mu    sync.Mutex
	until map[string]time.Time
}

func family(method string) string {
	head, _, _ := strings.Cut(strings.ToLower(method), ".")
	return head
}

// refused notes a refusal, and reports whether it is news.
func (r *refusals) refused(what string, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.until == nil {
		r.until = map[string]time.Time{}
	}
	_, known := r.until[what]
	r.until[what] = now.Add(authorRest)
	return !known
}

// rests reports whether a method is not to be tried.
func (r *refusals) rests(method string, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return now.Before(r.until[""]) || now.Before(r.until[family(method)])
}

// accepted forgets the refusals that a success of a method disproves, and
// reports whether there were any.
func (r *refusals) accepted(method string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	before := len(r.until)
	delete(r.until, "")
	delete(r.until, family(method))
	return len(r.until) < before
}

func (r *refusals) any() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.until) > 0
}

// Voice speaks to the portal as somebody: Bitrix24 writes down the owner of a
// webhook or token as the author of what is done with it. Only the methods of
// telephony take the employee as a parameter, whoever calls. All voices share
// the client's one bucket: the portal counts by source address.
type Voice struct {
	client   *Client
	as       *credential
	authored Authored
}

// As speaks as an employee, by the webhook that they made; for those without
// one, and for 0, it speaks as the portal's credential does.
func (c *Client) As(employee int) Voice {
	if own, ok := c.voices.employees[employee]; ok {
		return Voice{client: c, as: own, authored: AuthoredSelf}
	}
	return Voice{client: c, as: c.voices.portal, authored: AuthoredPortal}
}

// Call is Client.Call as this voice. own is false where the portal's credential
// had to speak instead: the employee has none, or it is refused. A refused one
// is tried again after an hour.
func (v Voice) Call(ctx context.Context, lane Lane, method string, params, out any) (own bool, err error) {
	authored, err := v.call(ctx, lane, method, params, out)
	return authored == AuthoredSelf, err
}

func (v Voice) call(ctx context.Context, lane Lane, method string, params, out any) (Authored, error) {
	c := v.client
	if v.as == c.voices.portal || v.as.app != nil {
		return v.authored, c.call(ctx, v.as, lane, method, params, out)
	}
	why := "resting"
	if !v.as.rests(method, time.Now()) {
		err := c.call(ctx, v.as, lane, method, params, out)
		if why = v.fault(ctx, method, err); why == "" {
			return AuthoredSelf, err
		}
	}
	c.metrics.fallbacks.WithLabelValues(why).Inc()
	return AuthoredFallback, c.call(ctx, c.voices.portal, lane, method, params, out)
}

// fault is why an employee's credential cannot do what was tried with it: it is
// not known any more, lacks a scope, or its owner lacks a right to this one
// thing. "": it could, or what failed has nothing to do with it.
func (v Voice) fault(ctx context.Context, method string, err error) string {
	if err == nil && v.as.accepted(method) {
		v.client.log.InfoContext(ctx, "an employee's webhook is accepted again", "employee", v.as.name)
	}
	var e *Error
	if !errors.As(err, &e) || !Denied(err) || e.Code == CodeDeleted || e.Code == "ERROR_METHOD_NOT_FOUND" {
		return ""
	}
	what, why := "", "revoked"
	switch {
	case e.Code == CodeScope:
		what, why = family(method), "scope"
	case e.Code == "USER_ACCESS_ERROR", e.Status == http.StatusUnauthorized:
	default:
		return "rights"
	}
	if v.as.refused(what, time.Now()) {
		v.client.log.ErrorContext(ctx, "an employee's webhook is refused; the portal's is used instead",
			"employee", v.as.name, "reason", why, "error", err, "again in", authorRest.String())
	}
	return why
}

// refusedAuthors is how many employees' credentials are refused.
func (v *voices) refusedAuthors() (n int) {
	for _, e := range v.employees {
		if e.any() {
			n++
		}
	}
	return n
}

// writePatience bounds a request that nobody waits for: the portal gives up after a
// minute itself.
const writePatience = 65 * time.Second

// write sends what changes the portal, as an author. A portal that is down is
// not asked.
func (v Voice) write(ctx context.Context, lane Lane, method string, params, out any) (Authored, error) {
	if open, _ := v.client.breaker.state(); open {
		return v.authored, fmt.Errorf("%s: %w", method, ErrSkipped)
	}
	ctx, cancel := context.WithTimeout(ctx, writePatience)
	defer cancel()
	return v.call(ctx, lane, method, params, out)
}

// serve sends what the portal's own credential does, or the application where
// a method demands it.
func (c *Client) serve(ctx context.Context, lane Lane, method string, params, out any) error {
	_, err := Voice{client: c, as: c.voices.portal}.write(ctx, lane, method, params, out)
	return err
}
