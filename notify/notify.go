package notify

import (
	"context"
	"crypto/sha256"
	"encoding/base32"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"

	"frontdesk/call"
	"frontdesk/store"
)

// The events.
const (
	Ringing  = "ringing"  // an incoming call goes to a number; again where it goes to another
	Answered = "answered" // an employee talks with the caller of a bridged call
	Ended    = "ended"    // the record of a call is final; again where a better account of it came
)

// Events lists the events.
func Events() []string { return []string{Ringing, Answered, Ended} }

// Hook is a receiver of events.
type Hook struct {
	URL    string // a secret, as is whatever identifies its owner to the receiver
	Secret string
	Events []string // empty: all
}

// Config is what a Notifier needs.
type Config struct {
	Store     *store.Store // opened with Queue
	Hooks     []Hook
	Transport http.RoundTripper // nil: one of its own
	Logger    *slog.Logger
	Now       func() time.Time // nil: the real clock
}

// Queue is the store's queue of the deliveries.
const Queue = "webhooks"

// jobKind names the deliveries among the store's jobs.
const jobKind = "webhook"

const (
	mostWaiting = 1024 // events of calls in progress that wait for the database
	mostCalls   = 4096 // in progress, remembered for their answers
	flushLimit  = 3 * time.Second
)

// Notifier tells of calls. Make it with New. What a call tells it never waits.
type Notifier struct {
	store   *store.Store
	hooks   []*hook
	client  *http.Client
	log     *slog.Logger
	now     func() time.Time
	ringing *lru.Cache[string, call.Record]
	waiting chan []store.Job
	metrics *metrics
}

// New makes a notifier and says to the store's jobs that it delivers: call it
// before they are run.
func New(cfg Config) (*Notifier, error) {
	n := &Notifier{store: cfg.Store, log: cfg.Logger, now: cfg.Now, waiting: make(chan []store.Job, mostWaiting), metrics: newMetrics()}
	if n.log == nil {
		n.log = slog.New(slog.DiscardHandler)
	}
	if n.now == nil {
		n.now = time.Now
	}
	var err error
	if n.ringing, err = lru.New[string, call.Record](mostCalls); err != nil {
		return nil, fmt.Errorf("notify: %w", err)
	}
	for i, h := range cfg.Hooks {
		u, err := url.Parse(h.URL)
		if err != nil || u.Host == "" {
			return nil, fmt.Errorf("notify: webhook %d has no address", i) // not err: it holds the address
		}
		n.hooks = append(n.hooks, &hook{Hook: h, id: token(h.URL), host: u.Host})
	}
	n.client = &http.Client{
		Transport:     cfg.Transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	if n.client.Transport == nil {
		n.client.Transport = newTransport()
	}
	n.store.Handle(jobKind, n.work)
	return n, nil
}

// newTransport keeps few connections, and none for long: events are rare.
func newTransport() http.RoundTripper {
	const connect, idle = 5 * time.Second, 30 * time.Second
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment, DialContext: (&net.Dialer{Timeout: connect}).DialContext,
		TLSHandshakeTimeout: connect, IdleConnTimeout: idle, MaxIdleConnsPerHost: 2, ForceAttemptHTTP2: true,
	}
}

// token is the short name of a text, the same whenever it is asked for.
func token(parts ...string) string {
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return strings.ToLower(base32.StdEncoding.EncodeToString(sum[:10]))
}

// event is what a receiver gets.
type event struct {
	Event string      `json:"event"`
	At    time.Time   `json:"at"`
	Call  call.Record `json:"call"`
}

// bare is a record without what only explains it.
func bare(r call.Record) call.Record {
	r.Facts, r.Trace, r.Ledger = call.Document{}, call.Document{}, nil
	return r
}

// wanted reports whether any hook wants an event.
func (n *Notifier) wanted(events ...string) bool {
	return slices.ContainsFunc(n.hooks, func(h *hook) bool { return slices.ContainsFunc(events, h.wants) })
}

// jobs are the deliveries of an event.
func (n *Notifier) jobs(e event) ([]store.Job, error) {
	var out []store.Job
	body, err := json.Marshal(e)
	gist := e
	gist.Call.Timeline = nil // what happened when explains the rest, and is no news by itself
	news, err2 := json.Marshal(gist)
	if err := errors.Join(err, err2); err != nil {
		return nil, fmt.Errorf("notify: the event %s of call %s: %w", e.Event, e.Call.ID, err)
	}
	for _, h := range n.hooks {
		if !h.wants(e.Event) {
			continue
		}
		d := delivery{Hook: h.id, Event: e.Event, Body: string(body)}
		if d.ID = call.NewID(); e.Event == Ended { // told again without news it is the same
			d.ID = token(h.URL, string(news))
		}
		out = append(out, store.Job{Kind: jobKind, Key: d.ID, Args: d, Queue: Queue, Once: e.Event == Ended})
	}
	return out, nil
}

// Ringing tells that a call goes to the record's target. It does not block.
func (n *Notifier) Ringing(r call.Record) {
	if !n.wanted(Ringing, Answered) {
		return
	}
	r = bare(r)
	n.ringing.Add(r.ID, r)
	n.tell(event{Ringing, n.now(), r})
}

// Answered tells that ext talks with the caller of a call that rang. It does
// not block.
func (n *Notifier) Answered(id string, ext call.Extension) {
	r, known := n.ringing.Get(id)
	if !known {
		return
	}
	at := n.now()
	r.Target = ext
	if r.Times.Answered.IsZero() {
		r.Times.Answered = at
	}
	n.tell(event{Answered, at, r})
}

// tell hands an event over to Run.
func (n *Notifier) tell(e event) {
	jobs, err := n.jobs(e)
	if err != nil || len(jobs) == 0 {
		return // a record that cannot be written is told of by who keeps it
	}
	select {
	case n.waiting <- jobs:
	default:
		n.metrics.lost.Add(int64(len(jobs)))
	}
}

// Ended owes the deliveries that tell of a record that is final, if tx is
// committed. Told again without news it owes nothing.
func (n *Notifier) Ended(ctx context.Context, tx *store.Tx, r call.Record) error {
	if !n.wanted(Ended) {
		return nil
	}
	at := r.Times.Ended
	if at.IsZero() {
		at = r.Times.Started
	}
	jobs, err := n.jobs(event{Ended, at, bare(r)})
	return errors.Join(err, tx.Enqueue(ctx, jobs...))
}

// Run owes the deliveries of calls in progress until ctx ends; then those that
// are left.
func (n *Notifier) Run(ctx context.Context) error {
	defer n.client.CloseIdleConnections()
	for {
		select {
		case jobs := <-n.waiting:
			n.owe(ctx, jobs)
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), flushLimit)
			defer cancel()
			for len(n.waiting) > 0 {
				n.owe(last, <-n.waiting)
			}
			return nil
		}
	}
}

func (n *Notifier) owe(ctx context.Context, jobs []store.Job) {
	if err := n.store.Enqueue(context.WithoutCancel(ctx), jobs...); err != nil { // the store bounds its time
		n.metrics.lost.Add(int64(len(jobs)))
		n.log.WarnContext(ctx, "webhooks are not told of a call in progress", "events", len(jobs), "error", err)
	}
}
