package pbx

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// DefaultRate is how many requests a second a Client makes.
const DefaultRate = 10

const (
	concurrency  = 2                // requests under way at once: 3CX documents no limit, and serves its own console by the same door
	answerWithin = 20 * time.Second // of all but downloads
	maxAnswer    = 8 << 20          // a page of a hundred rows is some hundred kB
	maxRefusal   = 64 << 10
	xapi         = "/xapi/v1"
)

// Config is what a Client needs: URL, ID and Secret must be set.
type Config struct {
	URL       string            // of the PBX, "https://pbx.example.com:5001"; http:// on loopback only
	ID        string            // the client id of the API integration
	Secret    string            // its key; printed nowhere
	Rate      int               // requests a second; 0: DefaultRate
	Transport http.RoundTripper // nil: a transport of its own
	UserAgent string            // "": frontdesk
	Logger    *slog.Logger      // nil: discarded
}

// String names the PBX and hides the secret.
func (c Config) String() string { return c.URL + " as " + c.ID }

// GoString hides the secret under %#v too.
func (c Config) GoString() string { return "pbx.Config(" + c.String() + ")" }

// LogValue hides the secret in logs.
func (c Config) LogValue() slog.Value { return slog.StringValue(c.String()) }

// Client speaks 3CX's configuration API (XAPI), and carries the token that call
// control uses too: 3CX lets one token live at a time. It is safe for
// concurrent use, and one process needs one.
type Client struct {
	home    *url.URL
	cfg     Config
	log     *slog.Logger
	http    *http.Client
	limit   *rate.Limiter
	slots   chan struct{}
	tokens  *tokens
	forms   forms
	version atomic.Pointer[string] // of 3CX, as its last answer told it
	metrics *metrics
}

// NewClient makes a client. It does not reach for the PBX.
func NewClient(cfg Config) (*Client, error) {
	home, err := parseHome(cfg.URL)
	if err != nil {
		return nil, err
	}
	if cfg.ID == "" || cfg.Secret == "" {
		return nil, errors.New("the API integration needs a client id and its secret")
	}
	if cfg.Rate <= 0 {
		cfg.Rate = DefaultRate
	}
	if cfg.Transport == nil {
		cfg.Transport = newTransport()
	}
	if cfg.UserAgent == "" {
		cfg.UserAgent = "frontdesk"
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	c := &Client{
		home: home, cfg: cfg, log: cfg.Logger,
		http: &http.Client{
			Transport: cfg.Transport,
			// The token goes nowhere else.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		limit:   rate.NewLimiter(rate.Limit(cfg.Rate), max(cfg.Rate, concurrency)),
		slots:   make(chan struct{}, concurrency),
		metrics: newMetrics(),
	}
	c.tokens = &tokens{fetch: c.fetchToken}
	return c, nil
}

// parseHome checks the PBX's address.
func parseHome(address string) (*url.URL, error) {
	u, err := url.Parse(strings.TrimRight(strings.TrimSpace(address), "/"))
	switch {
	case err != nil || u.Host == "":
		return nil, errors.New("the PBX's address must read https://HOST or https://HOST:PORT")
	case u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.HasSuffix(u.Path, xapi):
		return nil, errors.New("the PBX's address holds the host and the port alone")
	case u.Scheme == "http" && !loopback(u.Hostname()):
		return nil, errors.New("http:// would show the secret on the way: write https://")
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, errors.New("the PBX's address must begin with https://")
	}
	return u, nil
}

func loopback(host string) bool {
	ip, err := netip.ParseAddr(host)
	return host == "localhost" || err == nil && ip.IsLoopback()
}

// newTransport speaks HTTP/1.1 alone: a connection on which nothing comes any
// more then costs one request, and a websocket wants it.
func newTransport() *http.Transport {
	dialer := &net.Dialer{Timeout: 4 * time.Second, KeepAlive: 15 * time.Second}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            dialer.DialContext,
		Protocols:              protocols,
		TLSHandshakeTimeout:    5 * time.Second,
		ResponseHeaderTimeout:  answerWithin,
		MaxIdleConnsPerHost:    concurrency + 1,
		IdleConnTimeout:        45 * time.Second,
		MaxResponseHeaderBytes: 64 << 10,
	}
}

// Version is the PBX's version as its answers tell it; "" before the first one.
func (c *Client) Version() string {
	if v := c.version.Load(); v != nil {
		return *v
	}
	return ""
}

// Close closes idle connections.
func (c *Client) Close() { c.http.CloseIdleConnections() }

// request is one HTTP request to the PBX.
type request struct {
	name   string // in errors and metrics, of a closed list
	method string // "" is GET
	path   string // below the PBX's address, escaped, with its query
	body   any    // becomes JSON
}

// call makes a request and decodes its answer into out, if out is not nil.
func (c *Client) call(ctx context.Context, r request, out any) error {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	return c.exchange(ctx, r, func(res *http.Response) error {
		data, err := readAll(res.Body, maxAnswer)
		switch {
		case err != nil:
			return fmt.Errorf("%s: reading the answer: %w", r.name, err)
		case out == nil:
			return nil
		}
		if err := json.Unmarshal(data, out); err != nil {
			return fmt.Errorf("%s: %w", r.name, errShape)
		}
		return nil
	})
}

// exchange makes a request, within the rate, and gives a good answer to read. A
// token that 3CX does not take any more is replaced once.
func (c *Client) exchange(ctx context.Context, r request, read func(*http.Response) error) error {
	if err := c.enter(ctx); err != nil {
		return fmt.Errorf("%s: %w", r.name, err)
	}
	defer func() { <-c.slots }()
	began := time.Now()
	token, err := c.tokens.get(ctx)
	if err == nil {
		err = c.attempt(ctx, r, token, read)
		if errors.Is(err, ErrUnauthorized) {
			c.metrics.spoilt.Add(1)
			if token, err = c.tokens.replace(ctx, token); err == nil {
				err = c.attempt(ctx, r, token, read)
			}
		}
	}
	c.metrics.request(r.name, err, time.Since(began))
	return err
}

// enter waits for the rate and for a place.
func (c *Client) enter(ctx context.Context) error {
	if err := c.limit.Wait(ctx); err != nil {
		return cmpCause(ctx, err)
	}
	select {
	case c.slots <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// cmpCause prefers what ended the context to the limiter's own words.
func cmpCause(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	return err
}

func (c *Client) attempt(ctx context.Context, r request, token string, read func(*http.Response) error) error {
	req, err := c.newRequest(ctx, r)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token)
	res, err := c.http.Do(req)
	if err != nil {
		return fmt.Errorf("%s: %w", r.name, c.bare(err, token))
	}
	defer func() { _ = res.Body.Close() }() // nothing is lost by a failed close of a read body
	if v := res.Header.Get("X-3CX-Version"); v != "" && len(v) < 64 && v != c.Version() {
		c.version.Store(&v)
	}
	if res.StatusCode >= 300 {
		return c.refusal(r.name, res, token)
	}
	return read(res)
}

func (c *Client) newRequest(ctx context.Context, r request) (*http.Request, error) {
	if r.method == "" {
		r.method = http.MethodGet
	}
	var body io.Reader
	if r.body != nil {
		b, err := json.Marshal(r.body)
		if err != nil {
			return nil, fmt.Errorf("%s: encoding the request: %w", r.name, err)
		}
		body = bytes.NewReader(b)
	}
	req, err := http.NewRequestWithContext(ctx, r.method, c.home.String()+r.path, body)
	if err != nil {
		return nil, fmt.Errorf("%s: the request cannot be made", r.name)
	}
	if r.body != nil {
		req.Header.Set("Content-Type", "application/json")
	}
	req.Header.Set("Accept", "application/json, */*;q=0.5")
	req.Header.Set("User-Agent", c.cfg.UserAgent)
	return req, nil
}

// bare is an error of net/http without its URL and without secrets.
func (c *Client) bare(err error, token string) error {
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	if text := err.Error(); c.clean(text, token) != text {
		return errors.New(c.clean(text, token)) // it quotes what it should not
	}
	return err
}

// readAll reads a body of bounded size.
func readAll(r io.Reader, most int64) ([]byte, error) {
	data, err := io.ReadAll(io.LimitReader(r, most+1))
	if err == nil && int64(len(data)) > most {
		return nil, errTooLarge
	}
	return data, err
}
