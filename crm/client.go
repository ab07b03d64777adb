// Package crm asks Bitrix24 who is calling, within the portal's rate limits.
//
// A Client speaks for one portal. Lookup finds everybody who carries a number:
// one HTTP request holds a batch that searches contacts, companies and leads
// and reads their cards; further requests follow only where the portal cut a
// search at its cap, or where an employee is new. What the portal answers is
// taken for hostile: ids are intersected here, shapes are checked, sizes are
// bounded, and an answer that is not whole is an error and never a part of one.
//
// Three things stand between a call and a portal in trouble. The bucket keeps
// all requests under the portal's limit and lets look-ups go before everything
// else. The breaker skips a portal that failed repeatedly, until a probe in the
// background is answered. And a look-up ends with its caller's context, while
// the request goes on for a few seconds, so that a late answer still sets the
// mirror right.
//
// What is written, calls above all, is written once by whoever heeds the verdicts
// on errors: an ambiguous one may have been executed and is looked for first, a
// refused one never will be, a denied one waits for somebody. As whom it is
// written is a Voice's matter. Nodes that share a store share the limit.
//
// Employees are kept in memory and refreshed by Run; an empty or broken answer
// never replaces them. The webhook's secret is in no error, log or metric.
package crm

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"frontdesk/call"
)

// Defaults of Config.
const (
	DefaultRate    = 2.0             // requests a second, of every plan but Enterprise
	DefaultBurst   = 40              // the portal allows 50: a fifth is left for look-ups to borrow
	DefaultRefresh = 5 * time.Minute // of the employees
	DefaultProbe   = time.Second     // between probes of a portal that is skipped
)

// Webhook is the URL of an inbound webhook, "https://PORTAL/rest/USER/SECRET/".
// It prints without its path.
type Webhook string

// String names the portal and hides the secret.
func (w Webhook) String() string {
	u, err := url.Parse(string(w))
	if err != nil || u.Host == "" {
		return "[webhook]"
	}
	return u.Scheme + "://" + u.Host + "/[webhook]"
}

// GoString hides the secret under %#v too.
func (w Webhook) GoString() string { return `"` + w.String() + `"` }

// LogValue hides the secret in logs.
func (w Webhook) LogValue() slog.Value { return slog.StringValue(w.String()) }

// MarshalText hides the secret in JSON.
func (w Webhook) MarshalText() ([]byte, error) { return []byte(w.String()), nil }

// Fields are the codes of the user fields that routing reads, as
// "UF_CRM_FD_MANAGER". An empty code is not read.
type Fields struct {
	Manager   string // employee
	Temporary string // employee
	Until     string // datetime
	Direct    string // boolean
	NoSticky  string // boolean
	Sticky    string // integer, minutes, on the user's profile

	Extra []string // further fields of entities, given on in Entity.Fields
}

// Rate is the share of the portal's limit that frontdesk uses. The limit is
// counted per portal and source address, whatever the number of webhooks.
type Rate struct {
	PerSecond float64 // 0: DefaultRate
	Burst     int     // 0: DefaultBurst; look-ups may borrow a quarter more
}

// Voices are what a Client speaks with besides the portal's webhook.
type Voices struct {
	Employees map[int]Webhook // by user id, for what an employee is to be the author of
	App       *App            // for what refuses webhooks, and for offline events; may be nil
}

// Config is what a Client needs. Only Webhook must be set, or Voices.App, which
// then does everything.
type Config struct {
	Webhook   Webhook
	Voices    Voices
	Country   string         // ISO 3166 alpha-2, for national spellings of numbers
	Zone      *time.Location // of dates the portal gives without a zone; nil: UTC
	Fields    Fields
	Rate      Rate
	Refresh   time.Duration     // of the employees; 0: DefaultRefresh
	Probe     time.Duration     // between probes while the portal is skipped; 0: DefaultProbe
	Transport http.RoundTripper // nil: a transport of its own
	UserAgent string            // "": frontdesk
	Logger    *slog.Logger      // nil: discarded
}

// Client asks one portal. It is safe for concurrent use. Run keeps it healthy.
type Client struct {
	cfg    Config
	log    *slog.Logger
	http   *http.Client
	voices *voices
	moved  atomic.Pointer[url.URL] // where a renamed portal's 302 pointed: scheme and host
	names  secrets

	sections []section
	bucket   *bucket
	breaker  *breaker
	pauses   pauses
	known
	flights
}

// known is what the client remembers of the portal.
type known struct {
	staff       staff
	modes       modes
	departments departments
}

// answered is told live answers; see Mirror.
type answered struct {
	feed atomic.Pointer[func(sighting)]
}

// flights are the look-ups under way.
type flights struct {
	mu      sync.Mutex
	under   map[call.Number]*flight
	cancels map[*flight]context.CancelFunc // of all not yet ended, also those that a younger one replaced
	wait    sync.WaitGroup
	metrics *metrics
	answered
}

// New makes a client. It does not reach for the portal.
func New(cfg Config) (*Client, error) {
	voices, err := newVoices(cfg)
	if err != nil {
		return nil, err
	}
	fill(&cfg)
	c := &Client{
		cfg: cfg, log: cfg.Logger, voices: voices, names: voices.secrets(),
		http: &http.Client{
			Transport: cfg.Transport,
			// A 302 would turn the POST into a GET; see post.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		bucket:  newBucket(cfg.Rate.PerSecond, cfg.Rate.Burst),
		breaker: newBreaker(),
		flights: flights{
			under: map[call.Number]*flight{}, cancels: map[*flight]context.CancelFunc{},
			metrics: newMetrics(),
		},
	}
	c.sections = sections(cfg.Fields)
	return c, nil
}

func fill(cfg *Config) {
	if cfg.Zone == nil {
		cfg.Zone = time.UTC
	}
	if cfg.Rate.PerSecond <= 0 {
		cfg.Rate.PerSecond = DefaultRate
	}
	if cfg.Rate.Burst <= 0 {
		cfg.Rate.Burst = DefaultBurst
	}
	if cfg.Refresh <= 0 {
		cfg.Refresh = DefaultRefresh
	}
	if cfg.Probe <= 0 {
		cfg.Probe = DefaultProbe
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
}

// parseWebhook checks a webhook's URL. Its errors never quote it.
func parseWebhook(w Webhook) (*url.URL, error) {
	u, err := url.Parse(strings.TrimSpace(string(w)))
	switch {
	case err != nil:
		return nil, errors.New("the webhook is no URL")
	case u.Scheme != "https" && u.Scheme != "http":
		return nil, errors.New("the webhook must begin with https:// or http://")
	case u.Host == "":
		return nil, errors.New("the webhook names no host")
	case u.RawQuery != "" || u.Fragment != "":
		return nil, errors.New("the webhook must end with its secret, without a query")
	}
	parts := strings.Split(strings.Trim(u.Path, "/"), "/")
	if len(parts) < 3 || parts[len(parts)-3] != "rest" {
		return nil, errors.New("the webhook's path must read /rest/USER/SECRET/")
	}
	if !strings.HasSuffix(u.Path, "/") {
		u.Path += "/"
	}
	return u, nil
}

// Call sends one method and decodes its result into out, if out is not nil.
// params is anything that becomes a JSON object. A method is repeated only
// where the portal says that it was not executed. An *Error tells what the
// portal answered.
func (c *Client) Call(ctx context.Context, lane Lane, method string, params, out any) error {
	return c.call(ctx, c.voices.portal, lane, method, params, out)
}

// Run refreshes the employees and probes a portal that is skipped, until ctx
// ends. A portal that is dead at the start is asked again, ever less often.
func (c *Client) Run(ctx context.Context) error {
	var wg sync.WaitGroup
	wg.Go(func() { c.probe(ctx) })
	wg.Go(func() { c.refresh(ctx) })
	wg.Wait()
	c.Close()
	return nil
}

// Close gives up the look-ups whose answers nobody waits for any more and
// closes idle connections. Run does so at its end.
func (c *Client) Close() {
	c.mu.Lock()
	for _, cancel := range c.cancels {
		cancel()
	}
	c.mu.Unlock()
	c.wait.Wait()
	c.http.CloseIdleConnections()
}

// Ready reports whether the portal answers and the employees are known; why
// says what is missing.
func (c *Client) Ready() (ok bool, why string) {
	if open, why := c.breaker.state(); open {
		return false, "the portal does not answer: " + why
	}
	if len(c.Employees()) == 0 {
		return false, "the employees are not known yet"
	}
	return true, ""
}
