package notify

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"frontdesk/store"
)

const (
	answerWithin = 10 * time.Second
	answerMost   = 64 << 10 // bytes that are read, so that the connection may serve again

	restFirst = time.Second // of a receiver in trouble, doubling
	restMost  = time.Minute
)

// The headers of a delivery.
const (
	signatureHeader = "X-Frontdesk-Signature"
	deliveryHeader  = "X-Frontdesk-Delivery"
)

// delivery is the argument of a job: an event on its way to a hook.
type delivery struct {
	ID    string `json:"id"`
	Hook  string `json:"hook"` // its id
	Event string `json:"event"`
	Body  string `json:"body"` // a text, which a database leaves as it is
}

// hook is a receiver and how it fares.
type hook struct {
	Hook
	id   string
	host string // what of the address may be told

	mu       sync.Mutex
	failures int // in a row
	rests    time.Time
	trying   bool // somebody finds out whether it is well again
}

func (h *hook) wants(event string) bool {
	return len(h.Events) == 0 || slices.Contains(h.Events, event)
}

// errResting: a receiver is in trouble and is not asked just now.
var errResting = errors.New("the receiver is in trouble and is left alone for a while")

// admit reports whether a receiver is to be tried now. Of one in trouble one
// delivery at a time finds out.
func (h *hook) admit(now time.Time) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.failures == 0 {
		return true
	}
	if h.trying || now.Before(h.rests) {
		return false
	}
	h.trying = true
	return true
}

// fared notes how a try ended, and reports whether that is news.
func (h *hook) fared(well bool, now time.Time) (news bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.trying = false
	if well {
		news, h.failures = h.failures > 0, 0
		return news
	}
	const doublings = 6
	h.rests = now.Add(min(restFirst<<min(h.failures, doublings), restMost))
	h.failures++
	return h.failures == 1
}

// work makes one try at a delivery.
func (n *Notifier) work(ctx context.Context, args json.RawMessage) error {
	var d delivery
	if err := json.Unmarshal(args, &d); err != nil {
		return store.GiveUp(fmt.Errorf("a delivery that cannot be read: %w", err))
	}
	i := slices.IndexFunc(n.hooks, func(h *hook) bool { return h.id == d.Hook })
	if i < 0 {
		n.metrics.tried(d.Event, resultDropped)
		n.log.InfoContext(ctx, "an event is not delivered: its webhook is not configured any more", "event", d.Event, "delivery", d.ID)
		return nil
	}
	h := n.hooks[i]
	if !h.admit(n.now()) {
		n.metrics.tried(d.Event, resultResting)
		return errResting
	}
	code, err := n.post(ctx, h, d)
	return n.judge(ctx, h, d, code, err)
}

// judge sorts the end of a try.
func (n *Notifier) judge(ctx context.Context, h *hook, d delivery, code int, err error) error {
	log := n.log.With("host", h.host, "event", d.Event, "delivery", d.ID)
	switch {
	case err == nil && code/100 == 2:
		n.metrics.tried(d.Event, resultDone)
		if h.fared(true, n.now()) {
			n.log.InfoContext(ctx, "a webhook's receiver takes events again", "host", h.host)
		}
		return nil
	case err == nil && code == http.StatusGone:
		h.fared(true, n.now()) // it is alive, and does not want this
		n.metrics.tried(d.Event, resultGone)
		log.WarnContext(ctx, "a webhook's receiver does not want an event any more")
		return store.GiveUp(errors.New("the receiver answered 410 Gone"))
	case err == nil:
		err = fmt.Errorf("the receiver answered %d", code)
	}
	n.metrics.tried(d.Event, resultFailed)
	level := slog.LevelDebug
	if h.fared(false, n.now()) && ctx.Err() == nil {
		level = slog.LevelWarn
	}
	log.Log(ctx, level, "a webhook's receiver did not take an event, trying on", "error", err)
	return err
}

// post sends a delivery and gives the status of the answer. Its error never
// holds the address.
func (n *Notifier) post(ctx context.Context, h *hook, d delivery) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, h.URL, strings.NewReader(d.Body))
	if err != nil {
		return 0, plain(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("User-Agent", "frontdesk")
	req.Header.Set(deliveryHeader, d.ID)
	req.Header.Set(signatureHeader, sign(h.Secret, n.now(), d.Body))
	start := time.Now()
	res, err := n.client.Do(req)
	n.metrics.seconds.Observe(time.Since(start).Seconds())
	if err != nil {
		return 0, plain(err)
	}
	_, _ = io.Copy(io.Discard, io.LimitReader(res.Body, answerMost)) // only the status counts
	return res.StatusCode, plain(res.Body.Close())
}

// plain is a client's error without the address that it names.
func plain(err error) error {
	var u *url.Error
	if errors.As(err, &u) {
		return u.Err
	}
	return err
}

// sign is the signature of a body sent at a time: t=UNIX,v1=HEX, where HEX is
// the HMAC-SHA256 of "UNIX.BODY".
func sign(secret string, at time.Time, body string) string {
	t := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(t + "." + body))
	return "t=" + t + ",v1=" + hex.EncodeToString(mac.Sum(nil))
}
