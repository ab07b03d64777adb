package crm

import (
	"errors"
	"net/http"
	"strings"
	"time"
)

// unanswered marks a request that went out and whose answer never came whole:
// whether the portal executed it is not known.
type unanswered struct{ error }

// Unwrap is what happened.
func (u *unanswered) Unwrap() error { return u.error }

var (
	errRefused = errors.New("not accepted")
	errNoID    = errors.New("no id in the answer")
)

// Ambiguous reports whether what failed with err may have been executed all the
// same: the portal failed inside, or its answer was lost or is not understood.
// Whoever repeats it must look first whether it is done.
func Ambiguous(err error) bool {
	var e *Error
	if errors.As(err, &e) {
		return e.ambiguous()
	}
	var u *unanswered
	return errors.As(err, &u) || errors.Is(err, errShape) || errors.Is(err, errNotJSON) || errors.Is(err, errTooLarge)
}

func (e *Error) ambiguous() bool {
	switch e.Code {
	case CodeQueryLimit, CodeOverload, CodeOperationTime, CodeDeleted:
		return false
	case "INTERNAL_SERVER_ERROR", "ERROR_UNEXPECTED_ANSWER":
		return true
	}
	return e.Status >= 500 || e.Status == http.StatusRequestTimeout || strings.Contains(strings.ToLower(e.Text), "database error")
}

// Denied reports whether err is about the credential, the permissions or the
// portal's plan: the same request succeeds once somebody has mended that.
func Denied(err error) bool {
	if errors.Is(err, errGrant) || errors.Is(err, errNoTokens) {
		return true
	}
	var e *Error
	if !errors.As(err, &e) || e.ambiguous() {
		return false
	}
	switch e.Code {
	case CodeNoAuth, CodeExpired, CodeScope, CodeWrongAuth, CodeDeleted, "INVALID_CREDENTIALS", "ACCESS_DENIED",
		"USER_ACCESS_ERROR", "ERROR_METHOD_NOT_FOUND", "PAYMENT_REQUIRED", "ALLOWED_ONLY_INTRANET_USER":
		return true
	}
	text := strings.ToLower(e.Text)
	return e.Status == http.StatusUnauthorized || e.Status == http.StatusPaymentRequired || e.Status == http.StatusForbidden ||
		strings.Contains(text, "access denied") || strings.Contains(text, "exhausted")
}

// Refused reports whether the portal will never accept the request as it is.
// What only waits for something (see NotYet) or for somebody (see Denied) is not
// refused.
func Refused(err error) bool {
	if errors.Is(err, errRefused) {
		return true
	}
	var e *Error
	if !errors.As(err, &e) || e.ambiguous() || Denied(err) || NotYet(err) {
		return false
	}
	return e.Code != CodeQueryLimit && e.Code != CodeOverload && e.Code != CodeOperationTime && e.Status != http.StatusTooManyRequests
}

// WrongAuth reports whether a method demands the OAuth application and there is
// none: the portal does not let webhooks use it.
func WrongAuth(err error) bool { return hasCode(err, CodeWrongAuth) }

// NotYet reports whether a recording was refused only because the portal does
// not know yet that its call has ended.
func NotYet(err error) bool { return says(err, "statistic table") }

// CallNotFound reports whether a call is not live: it was never registered, or
// it is finished already.
func CallNotFound(err error) bool { return says(err, "call is not found (") }

// EmployeeNotFound reports whether the employee was refused: unknown, or
// dismissed.
func EmployeeNotFound(err error) bool {
	return says(err, "user is not found") || says(err, "assignee") && says(err, "not found")
}

// says reports whether the portal's words hold part, in whatever case.
func says(err error, part string) bool {
	var e *Error
	return errors.As(err, &e) && strings.Contains(strings.ToLower(e.Text), part)
}

// Pauses after refusals that ask for one.
const (
	afterQueryLimit = 5 * time.Second
	afterOverload   = 10 * time.Minute
	afterSkipped    = 15 * time.Second
)

// RetryAfter is for how long it makes no sense to repeat what failed with err;
// 0 where nothing says so.
func RetryAfter(err error) time.Duration {
	var p *pausedError
	if errors.As(err, &p) {
		return max(time.Until(p.until), time.Second)
	}
	if errors.Is(err, ErrSkipped) {
		return afterSkipped
	}
	var e *Error
	if !errors.As(err, &e) {
		return 0
	}
	switch {
	case e.Code == CodeOperationTime:
		return min(max(time.Until(e.ResetAt), shortPause), longPause)
	case e.Code == CodeOverload:
		return afterOverload
	case e.Code == CodeQueryLimit, e.Status == http.StatusTooManyRequests:
		return afterQueryLimit
	}
	return 0
}

// pausedError refuses a method that rests.
type pausedError struct{ until time.Time }

// Error says until when.
func (p *pausedError) Error() string {
	return errPaused.Error() + " until " + p.until.Format(time.TimeOnly)
}

// Unwrap is errPaused.
func (p *pausedError) Unwrap() error { return errPaused }
