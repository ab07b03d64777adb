package pbx

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"unicode"
)

// The classes of a refusal: errors.Is of an *Error tells them by its status.
var (
	// ErrUnauthorized: 401, the secret is wrong, or another program with the
	// same API client took the token.
	ErrUnauthorized = errors.New("3CX does not take the credentials")
	// ErrForbidden: 403, the role or the licence does not allow it.
	ErrForbidden = errors.New("the role or the licence does not allow it")
	// ErrNotFound: 404, there is no such thing, or this version has no such
	// function.
	ErrNotFound = errors.New("3CX does not have it")
	// ErrBusy: 429 or 5xx, it may work later.
	ErrBusy = errors.New("3CX is in trouble or busy")
)

var (
	errTooLarge   = errors.New("the answer is too large")
	errShape      = errors.New("the answer has an unexpected shape")
	errNoProgress = errors.New("3CX gives the same page again and again")
	errElsewhere  = errors.New("the next page is at another address")
)

// warnNotFound is 3CX's word for an object that is not there, where another
// 404 is about the function.
const warnNotFound = "WARNINGS.XAPI.NOT_FOUND"

// Error is a refusal by the PBX.
type Error struct {
	Op     string // what was asked
	Status int    // HTTP status
	Code   string // "WARNINGS.…", or the OAuth error; empty where none was given
	Field  string // the property that is meant; may be empty
	Text   string // 3CX's words, bounded, without secrets
}

// Error says what was refused and why.
func (e *Error) Error() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s: 3CX answered %d", e.Op, e.Status)
	if e.Code != "" {
		b.WriteString(" " + e.Code)
	}
	if e.Field != "" {
		b.WriteString(" (" + e.Field + ")")
	}
	if e.Text != "" && e.Text != e.Code {
		b.WriteString(": " + e.Text)
	}
	return b.String()
}

// Is reports whether e is of a class.
func (e *Error) Is(target error) bool {
	switch target {
	case ErrUnauthorized:
		return e.Status == http.StatusUnauthorized
	case ErrForbidden:
		return e.Status == http.StatusForbidden
	case ErrNotFound:
		return e.Status == http.StatusNotFound
	case ErrBusy:
		return e.Status == http.StatusTooManyRequests || e.Status >= 500
	}
	return false
}

// refusal reads the answer of a request that failed: OData's error, OAuth's
// error, or none of them.
func (c *Client) refusal(name string, res *http.Response, token string) error {
	e := &Error{Op: name, Status: res.StatusCode}
	if res.StatusCode < 400 {
		e.Text = "a redirect; the PBX's address is another"
		return e
	}
	data, err := readAll(res.Body, maxRefusal)
	if err != nil {
		return e // the status says enough
	}
	var answer struct {
		Error json.RawMessage `json:"error"`
		Text  loose           `json:"error_description"`
	}
	if json.Unmarshal(data, &answer) != nil || len(answer.Error) == 0 {
		return e
	}
	var odata struct {
		Code, Message, Target loose
		Details               []struct{ Code, Message, Target loose }
	}
	if json.Unmarshal(answer.Error, &odata) != nil {
		var code loose
		_ = code.UnmarshalJSON(answer.Error) // it takes anything
		e.Code, e.Text = c.clean(string(code), token), c.clean(string(answer.Text), token)
		return e
	}
	text := string(odata.Message)
	for _, d := range odata.Details {
		text += " " + string(d.Message)
	}
	e.Code = warning(string(odata.Code) + " " + text)
	e.Field, e.Text = c.clean(string(odata.Target), token), c.clean(text, token)
	return e
}

// warning finds 3CX's word for what is wrong: how the text around it is laid
// out differs.
func warning(text string) string {
	for word := range strings.FieldsFuncSeq(text, func(r rune) bool {
		return r != '.' && r != '_' && !unicode.IsUpper(r) && !unicode.IsDigit(r)
	}) {
		if strings.HasPrefix(word, "WARNINGS.") {
			return strings.TrimRight(word, ".")
		}
	}
	return ""
}

// maxText bounds what a foreign text may add to an error.
const maxText = 200

// clean makes a foreign text fit to be shown: bounded, on one line, without
// secrets.
func (c *Client) clean(text, token string) string {
	for _, secret := range []string{c.cfg.Secret, url.QueryEscape(c.cfg.Secret), token} {
		if secret != "" {
			text = strings.ReplaceAll(text, secret, "[secret]")
		}
	}
	text = strings.Join(strings.FieldsFunc(strings.ToValidUTF8(text, " "), func(r rune) bool {
		return unicode.IsControl(r) || r == ' '
	}), " ")
	if runes := []rune(text); len(runes) > maxText {
		text = string(runes[:maxText]) + "..."
	}
	return text
}
