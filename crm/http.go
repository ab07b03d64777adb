package crm

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// maxAnswer bounds an answer. The largest are batches of lists, some hundred
// bytes a row; reading far more than that would cost live calls their processor.
const maxAnswer = 2 << 20

// newTransport is a transport for one portal. It speaks HTTP/1.1 alone: a
// connection on which nothing comes any more then costs one request, where
// HTTP/2 would put all of them on it. The bucket bounds the connections.
func newTransport() *http.Transport {
	dialer := &net.Dialer{Timeout: 3 * time.Second, KeepAlive: 15 * time.Second}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            dialer.DialContext,
		Protocols:              protocols,
		TLSHandshakeTimeout:    4 * time.Second,
		MaxIdleConnsPerHost:    16,
		IdleConnTimeout:        45 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
	}
}

// envelope is what every method answers.
type envelope struct {
	Result json.RawMessage `json:"result"`
	Error  json.RawMessage `json:"error"`
	Text   json.RawMessage `json:"error_description"`
	Time   json.RawMessage `json:"time"`
}

func encode(params any) ([]byte, error) {
	if params == nil {
		return []byte("{}"), nil
	}
	body, err := json.Marshal(params)
	if err != nil {
		return nil, fmt.Errorf("encoding parameters: %w", err)
	}
	return body, nil
}

// decode reads a result; its error names the method and not the data.
func decode(method string, data []byte, out any) error {
	if err := json.Unmarshal(data, out); err != nil {
		return fmt.Errorf("%s: %w", method, errShape)
	}
	return nil
}

// request is one POST. repeat: it does no harm to send it twice. as: nil is the
// portal's webhook.
type request struct {
	method string
	body   []byte
	repeat bool
	as     *credential
}

// send waits for the bucket and posts.
func (c *Client) send(ctx context.Context, lane Lane, r request) (envelope, error) {
	if err := c.bucket.wait(ctx, lane); err != nil {
		return envelope{}, fmt.Errorf("%s: %w", r.method, err)
	}
	return c.exchange(ctx, r)
}

// exchange posts, and heeds what the portal says about its limits. The bucket
// has been asked before.
func (c *Client) exchange(ctx context.Context, r request) (envelope, error) {
	if r.as == nil {
		r.as = c.voices.portal
	}
	began := time.Now()
	answer, err := c.fresh(ctx, r)
	c.metrics.request(r.method, err, time.Since(began))
	if err == nil {
		return answer, nil
	}
	switch {
	case hasCode(err, CodeQueryLimit):
		c.bucket.drain()
	case hasCode(err, CodeOperationTime):
		var e *Error
		errors.As(err, &e)
		c.pauses.set(r.as.name+" "+r.method, e.ResetAt, time.Now())
	}
	return envelope{}, err
}

// maxHops bounds the redirects of a renamed portal.
const maxHops = 3

// post sends one method, and tells the application's token that it used. A
// redirect moves the client to the host it names and repeats the POST there.
func (c *Client) post(ctx context.Context, r request) (answer envelope, token string, err error) {
	home, body, token, err := c.signed(ctx, r)
	if err != nil {
		return envelope{}, "", err
	}
	for range maxHops {
		moved := c.moved.Load()
		base := moveTo(home, moved)
		res, err := c.roundTrip(ctx, base, r, body)
		if err != nil {
			if moved != nil && ctx.Err() == nil {
				c.moved.CompareAndSwap(moved, nil) // the next request asks the old address again
			}
			return envelope{}, token, err
		}
		if to, ok := redirected(base, res); ok {
			_ = res.Body.Close() // its content is of no interest
			c.moved.Store(to)
			c.log.WarnContext(ctx, "the portal was renamed", "host", to.Host)
			continue
		}
		answer, err = c.read(r.method, res)
		return answer, token, err
	}
	return envelope{}, token, fmt.Errorf("%s: %w", r.method, errRedirects)
}

// moveTo is home at the host of a renamed portal, if it was renamed.
func moveTo(home, host *url.URL) *url.URL {
	if host == nil {
		return home
	}
	next := *home
	next.Scheme, next.Host = host.Scheme, host.Host
	return &next
}

func (c *Client) roundTrip(ctx context.Context, base *url.URL, r request, body []byte) (*http.Response, error) {
	u := *base
	u.Path += r.method + ".json"
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, u.String(), bytes.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("%s: the request cannot be made", r.method)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", c.cfg.UserAgent)
	if r.repeat {
		// Not sent; lets net/http repeat the request on a connection that the
		// portal closed while it was idle.
		req.Header["Idempotency-Key"] = nil
	}
	return c.do(r.method, req)
}

// do sends a request. Once there was a connection, its error is an unanswered.
func (c *Client) do(method string, req *http.Request) (*http.Response, error) {
	var connected atomic.Bool
	res, err := c.http.Do(req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
		GotConn: func(httptrace.GotConnInfo) { connected.Store(true) },
	})))
	if err == nil {
		return res, nil
	}
	err = fmt.Errorf("%s: %w", method, c.unwrapURL(err))
	if connected.Load() {
		return nil, &unanswered{err}
	}
	return nil, err
}

// readOnly reports whether repeating method does no harm. A batch may hold
// anything.
func readOnly(method string) bool {
	for _, suffix := range []string{".get", ".list", ".current", ".info", "findbycomm", "scope"} {
		if strings.HasSuffix(strings.ToLower(method), suffix) {
			return true
		}
	}
	return false
}

// unwrapURL takes the URL, which holds the secret, out of an error of net/http.
func (c *Client) unwrapURL(err error) error {
	var u *url.Error
	if !errors.As(err, &u) {
		return err
	}
	if clean := c.clean(u.Err.Error()); clean != u.Err.Error() {
		return errors.New(clean) // an error that quotes foreign text
	}
	return u.Err
}

// redirected is the webhook at the host that a redirect names. Only the host is
// taken; https is never left.
func redirected(base *url.URL, res *http.Response) (*url.URL, bool) {
	switch res.StatusCode {
	case http.StatusMovedPermanently, http.StatusFound, http.StatusSeeOther,
		http.StatusTemporaryRedirect, http.StatusPermanentRedirect:
	default:
		return nil, false
	}
	to, err := res.Location()
	if err != nil || to.Host == "" || (to.Host == base.Host && to.Scheme == base.Scheme) {
		return nil, false
	}
	if to.Scheme != "https" && (base.Scheme == "https" || to.Scheme != "http") {
		return nil, false
	}
	next := *base
	next.Scheme, next.Host = to.Scheme, to.Host
	return &next, true
}

// read takes an answer apart. Proxies answer HTML, the portal answers errors
// inside 200: status, code and shape all count.
func (c *Client) read(method string, res *http.Response) (envelope, error) {
	defer func() { _ = res.Body.Close() }() // nothing is lost by a failed close of a read body
	data, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer+1))
	if err != nil {
		return envelope{}, &unanswered{fmt.Errorf("%s: reading the answer: %w", method, c.unwrapURL(err))}
	}
	if len(data) > maxAnswer {
		return envelope{}, fmt.Errorf("%s: %w", method, errTooLarge)
	}
	var answer envelope
	if err := json.Unmarshal(data, &answer); err != nil {
		if res.StatusCode >= 400 {
			return envelope{}, &Error{Method: method, Status: res.StatusCode, Text: errNotJSON.Error()}
		}
		return envelope{}, fmt.Errorf("%s: %w (status %d)", method, errNotJSON, res.StatusCode)
	}
	if res.StatusCode >= 300 || present(answer.Error) {
		return envelope{}, c.refusal(method, res.StatusCode, answer)
	}
	if answer.Result == nil {
		return envelope{}, fmt.Errorf("%s: %w: no result", method, errShape)
	}
	return answer, nil
}

func present(raw json.RawMessage) bool { return len(raw) > 0 && string(raw) != "null" }

func (c *Client) refusal(method string, status int, answer envelope) *Error {
	e := &Error{
		Method: method, Status: status,
		Code: strings.ToUpper(c.clean(text(answer.Error))),
		Text: c.clean(text(answer.Text)),
	}
	if e.Code == CodeOperationTime {
		e.ResetAt = resetAt(answer.Time)
	}
	return e
}

// resetAt reads operating_reset_at, a Unix time or an ISO string.
func resetAt(raw json.RawMessage) time.Time {
	var t struct {
		At json.RawMessage `json:"operating_reset_at"`
	}
	if json.Unmarshal(raw, &t) != nil {
		return time.Time{}
	}
	var unix float64
	if json.Unmarshal(t.At, &unix) == nil && unix > 0 {
		return time.Unix(int64(unix), 0)
	}
	if at, err := parseTime(text(t.At), time.UTC); err == nil {
		return at
	}
	return time.Time{}
}

// pauses are the methods whose execution time is used up, by the credential
// that used it, and until when.
type pauses struct {
	mu      sync.Mutex
	methods map[string]time.Time
}

// The portal counts over ten minutes: longer pauses, and times in the past, are
// not believed.
const (
	shortPause = 30 * time.Second
	longPause  = 10 * time.Minute
)

func (p *pauses) set(method string, until, now time.Time) {
	if !until.After(now) {
		until = now.Add(shortPause)
	}
	if latest := now.Add(longPause); until.After(latest) {
		until = latest
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.methods == nil {
		p.methods = map[string]time.Time{}
	}
	p.methods[method] = until
}

func (p *pauses) until(method string, now time.Time) (time.Time, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	t, ok := p.methods[method]
	if ok && !now.Before(t) {
		delete(p.methods, method)
		return time.Time{}, false
	}
	return t, ok
}
