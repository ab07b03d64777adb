package pbx

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

const (
	signInWithin = 15 * time.Second
	// A refused sign-in is not tried again for so long: 3CX bans an address
	// that fails too often.
	refusedFor = 10 * time.Second
)

// token is a bearer token and when it is to be replaced.
type token struct {
	value  string
	renew  time.Time // at four fifths of its life
	expire time.Time
}

// tokens keeps the one token of the process. 3CX lets one be active at a time:
// asking for another kills the one before, so nobody asks while another does.
type tokens struct {
	fetch func(context.Context) (token, error)

	mu      sync.Mutex
	current token
	under   *signIn
	refused error // why 3CX refused the last sign-in, until then
	until   time.Time
}

// signIn is a request for a token that is under way.
type signIn struct {
	done  chan struct{}
	token token
	err   error
}

// get is the token, a new one where it is about to end.
func (t *tokens) get(ctx context.Context) (string, error) {
	now := time.Now()
	t.mu.Lock()
	have := t.current
	t.mu.Unlock()
	if have.value != "" && now.Before(have.renew) {
		return have.value, nil
	}
	fresh, err := t.replace(ctx, have.value)
	if err != nil && have.value != "" && now.Before(have.expire) && ctx.Err() == nil {
		return have.value, nil // it is good for a while
	}
	return fresh, err
}

// replace is a token other than spoilt. All who ask at once get the same one.
func (t *tokens) replace(ctx context.Context, spoilt string) (string, error) {
	t.mu.Lock()
	if t.current.value != "" && t.current.value != spoilt {
		defer t.mu.Unlock()
		return t.current.value, nil
	}
	if t.refused != nil && time.Now().Before(t.until) {
		defer t.mu.Unlock()
		return "", t.refused
	}
	s := t.under
	if s == nil {
		s = &signIn{done: make(chan struct{})}
		t.under = s
		// It outlives whoever asked first: others wait for it, and 3CX has
		// killed the old token by then.
		go t.signIn(context.WithoutCancel(ctx), s)
	}
	t.mu.Unlock()
	select {
	case <-s.done:
		return s.token.value, s.err
	case <-ctx.Done():
		return "", fmt.Errorf("signing in: %w", context.Cause(ctx))
	}
}

func (t *tokens) signIn(ctx context.Context, s *signIn) {
	ctx, cancel := context.WithTimeout(ctx, signInWithin)
	defer cancel()
	s.token, s.err = t.fetch(ctx)
	t.mu.Lock()
	t.under, t.refused = nil, nil
	if s.err == nil {
		t.current = s.token
	} else if _, refused := errors.AsType[*Error](s.err); refused {
		t.refused, t.until = s.err, time.Now().Add(refusedFor)
	}
	t.mu.Unlock()
	close(s.done)
}

// fetchToken asks 3CX for a token (OAuth 2.0 client credentials, RFC 6749
// section 4.4).
func (c *Client) fetchToken(ctx context.Context) (token, error) {
	const name = "sign-in"
	form := url.Values{"client_id": {c.cfg.ID}, "client_secret": {c.cfg.Secret}, "grant_type": {"client_credentials"}}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.home.String()+"/connect/token", strings.NewReader(form.Encode()))
	if err != nil {
		return token{}, errors.New("sign-in: the request cannot be made")
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", c.cfg.UserAgent)
	began := time.Now()
	res, err := c.http.Do(req)
	if err != nil {
		err = fmt.Errorf("sign-in: %w", c.bare(err, ""))
		c.metrics.request(name, err, time.Since(began))
		return token{}, err
	}
	defer func() { _ = res.Body.Close() }() // nothing is lost by a failed close of a read body
	t, err := c.readToken(name, res)
	c.metrics.request(name, err, time.Since(began))
	return t, err
}

func (c *Client) readToken(name string, res *http.Response) (token, error) {
	if res.StatusCode >= 300 {
		return token{}, c.refusal(name, res, "")
	}
	data, err := readAll(res.Body, maxRefusal)
	if err != nil {
		return token{}, fmt.Errorf("%s: reading the answer: %w", name, err)
	}
	var answer struct {
		Token   string `json:"access_token"`
		Expires loose  `json:"expires_in"`
	}
	if json.Unmarshal(data, &answer) != nil || answer.Token == "" || strings.ContainsAny(answer.Token, "\r\n ") {
		return token{}, fmt.Errorf("%s: %w", name, errShape)
	}
	now := time.Now()
	life := lifetime(answer.Token, answer.Expires.int(), now)
	return token{value: answer.Token, renew: now.Add(life * 4 / 5), expire: now.Add(life)}, nil
}

// lifetime is how long a token is good for. Its own exp tells best; expires_in
// was in minutes before 3CX 20.0.9 and is in seconds since: 60 is an hour in
// one and 3600 in the other.
func lifetime(jwt string, expires int, now time.Time) time.Duration {
	const (
		usual    = time.Hour
		shortest = 30 * time.Second
		seconds  = 300 // fewer are minutes
	)
	life := time.Duration(expires) * time.Second
	switch {
	case expires <= 0 || expires > 7*24*3600:
		life = usual
	case expires < seconds:
		life = time.Duration(expires) * time.Minute
	}
	if exp, ok := expiry(jwt); ok && exp.After(now) && exp.Before(now.Add(7*24*time.Hour)) {
		life = exp.Sub(now)
	}
	return max(life, shortest)
}

// expiry reads exp out of a JWT (RFC 7519 section 4.1.4), without judging it.
func expiry(jwt string) (time.Time, bool) {
	parts := strings.Split(jwt, ".")
	if len(parts) != 3 {
		return time.Time{}, false
	}
	payload, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(parts[1], "="))
	if err != nil {
		return time.Time{}, false
	}
	var claims struct {
		Exp float64 `json:"exp"`
	}
	if json.Unmarshal(payload, &claims) != nil || claims.Exp < 1 || claims.Exp > 1<<40 {
		return time.Time{}, false
	}
	return time.Unix(int64(claims.Exp), 0), true
}
