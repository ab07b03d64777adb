package notify_test

import (
	"bytes"
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
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"frontdesk/call"
	"frontdesk/notify"
	"frontdesk/store"
	"frontdesk/store/storetest"
)

const secret = "canary-0123456789"

// got is a request as a receiver sees it.
type got struct {
	event, id, body, signature string
	call                       call.Record
}

// receiver is another system. answer, which may be nil, says what it does with
// a request; it always notes it.
type receiver struct {
	t      *testing.T
	server *httptest.Server

	mu     sync.Mutex
	seen   []got
	answer http.HandlerFunc
}

func newReceiver(t *testing.T) *receiver {
	r := &receiver{t: t}
	r.server = httptest.NewServer(r)
	t.Cleanup(r.server.Close)
	return r
}

// ServeHTTP checks the signature as a receiver would, and notes the event.
func (r *receiver) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	body, err := io.ReadAll(q.Body)
	if err != nil {
		r.t.Error(err)
	}
	var in struct {
		Event string
		At    time.Time
		Call  call.Record
	}
	if err := json.Unmarshal(body, &in); err != nil || q.Method != http.MethodPost || q.Header.Get("Content-Type") != "application/json" {
		r.t.Errorf("%s %s %q: %v", q.Method, q.Header.Get("Content-Type"), body, err)
	}
	if in.At.IsZero() || bytes.Contains(body, []byte("facts")) || bytes.Contains(body, []byte("trace")) {
		r.t.Errorf("the body is %s", body)
	}
	signature := q.Header.Get("X-Frontdesk-Signature")
	if !signed(signature, body) {
		r.t.Errorf("the signature %q does not fit", signature)
	}
	r.mu.Lock()
	r.seen = append(r.seen, got{in.Event, q.Header.Get("X-Frontdesk-Delivery"), string(body), signature, in.Call})
	answer := r.answer
	r.mu.Unlock()
	if answer != nil {
		answer(w, q)
	}
}

func signed(signature string, body []byte) bool {
	t, rest, _ := strings.Cut(strings.TrimPrefix(signature, "t="), ",v1=")
	unix, err := strconv.ParseInt(t, 10, 64)
	if age := time.Since(time.Unix(unix, 0)); err != nil || age < -time.Minute || age > time.Minute {
		return false
	}
	mac := hmac.New(sha256.New, []byte(secret))
	fmt.Fprintf(mac, "%s.%s", t, body)
	return rest == hex.EncodeToString(mac.Sum(nil))
}

func (r *receiver) does(answer http.HandlerFunc) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = answer
}

func (r *receiver) got() []got {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.seen)
}

// events are the events that came, in their order.
func (r *receiver) events() (out []string) {
	for _, g := range r.got() {
		out = append(out, g.event)
	}
	return out
}

// desk is a notifier over a store.
type desk struct {
	*notify.Notifier
	store *store.Store
	stop  func()
}

func open(t *testing.T, dsn string, hooks ...notify.Hook) desk {
	t.Helper()
	var text bytes.Buffer
	log := slog.New(slog.NewTextHandler(&safe{w: &text}, &slog.HandlerOptions{Level: slog.LevelDebug}))
	st, err := store.Open(t.Context(), dsn, store.Options{Logger: log, Queues: map[string]int{notify.Queue: 4}})
	must(t, err)
	n, err := notify.New(notify.Config{Store: st, Hooks: hooks, Logger: log})
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { must(t, st.Run(ctx)) })
	wg.Go(func() { must(t, n.Run(ctx)) })
	d := desk{n, st, sync.OnceFunc(func() {
		cancel()
		wg.Wait()
		must(t, st.Close())
		if strings.Contains(text.String(), "canary") {
			t.Errorf("the log tells a secret:\n%s", &text)
		}
	})}
	t.Cleanup(d.stop)
	return d
}

// safe lets several write.
type safe struct {
	mu sync.Mutex
	w  io.Writer
}

// Write writes.
func (s *safe) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.w.Write(b)
}

// ended tells that a call ended, in a transaction that may fail.
func (d desk) ended(t *testing.T, r call.Record, fail error) {
	t.Helper()
	err := d.store.InTx(t.Context(), func(tx *store.Tx) error { return errors.Join(d.Ended(t.Context(), tx, r), fail) })
	if !errors.Is(err, fail) {
		t.Fatal(err)
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Error(err)
	}
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	over := time.After(30 * time.Second)
	for !ok() {
		select {
		case <-tick.C:
		case <-over:
			t.Fatalf("not in time: %s", what)
		}
	}
}

func record(id string) call.Record {
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	return call.Record{
		ID: id, Direction: call.In, Parties: call.Parties{Trunk: "carrier", Caller: "+79161234567", DID: "+74951234567"},
		Times: call.Times{Started: at, Ended: at.Add(time.Minute)}, Routed: call.Routed{Target: "201", Digits: "<&>"},
		Facts: call.NewDocument(map[string]int{"facts": 1}), Trace: call.NewDocument([]int{1}),
	}
}

// TestEvents tells one hook all and another only of ends.
func TestEvents(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, dsn string) {
		all, ends := newReceiver(t), newReceiver(t)
		d := open(t, dsn,
			notify.Hook{URL: all.server.URL + "/canary?token=canary", Secret: secret},
			notify.Hook{URL: ends.server.URL, Secret: secret, Events: []string{notify.Ended}})
		d.Answered("unheard of", "201")
		d.Ringing(record("a"))
		eventually(t, "it rings", func() bool { return len(all.got()) == 1 })
		d.Answered("a", "205")
		eventually(t, "it is answered", func() bool { return len(all.got()) == 2 })
		d.ended(t, record("a"), errors.New("the transaction fails"))
		d.ended(t, record("a"), nil)
		again := record("a") // the same once more, as after a crash
		again.Timeline = []call.Event{{At: again.Started, Event: "pbx talk 201"}}
		d.ended(t, again, nil)
		eventually(t, "it ended", func() bool { return len(all.got()) == 3 && len(ends.got()) == 1 })
		better := record("a")
		better.Result = call.ResultAnswered
		d.ended(t, better, nil)
		eventually(t, "it ended better", func() bool { return len(all.got()) == 4 && len(ends.got()) == 2 })
		d.stop()

		if diff := cmp.Diff([]string{"ringing", "answered", "ended", "ended"}, all.events()); diff != "" {
			t.Errorf("events (-want +got):\n%s", diff)
		}
		ids := map[string]bool{}
		for _, g := range append(all.got(), ends.got()...) {
			ids[g.id] = true
		}
		if len(ids) != 6 || ids[""] {
			t.Errorf("%d ids for 6 deliveries: %v", len(ids), ids)
		}
		if r := all.got()[1].call; r.Target != "205" || r.Answered.IsZero() || r.Caller != "+79161234567" || r.Digits != "<&>" {
			t.Errorf("answered tells of %+v", r)
		}
		if r := ends.got()[1].call; r.Result != call.ResultAnswered || !r.Times.Ended.Equal(better.Times.Ended) {
			t.Errorf("ended tells of %+v", r)
		}
	})
}

// TestRestart has a receiver down while frontdesk stops and starts again; what
// was owed arrives once, with the id of the first try.
func TestRestart(t *testing.T) {
	storetest.OnBoth(t, func(t *testing.T, dsn string) {
		r := newReceiver(t)
		hook := notify.Hook{URL: r.server.URL + "/canary", Secret: secret}
		r.does(func(w http.ResponseWriter, q *http.Request) {
			http.Redirect(w, q, "/elsewhere", http.StatusTemporaryRedirect) // not followed, and no success
		})
		d := open(t, dsn, hook)
		d.ended(t, record("a"), nil)
		eventually(t, "it is tried", func() bool { return len(r.got()) > 0 })
		d.stop()
		tried := len(r.got())
		r.does(nil)
		d = open(t, dsn, hook)
		eventually(t, "it is delivered", func() bool { return len(r.got()) > tried })
		d.ended(t, record("a"), nil) // told again after a restart
		d.ended(t, record("b"), nil)
		eventually(t, "the next one is delivered", func() bool { return len(r.got()) > tried+1 })
		d.stop()
		all := r.got()
		for _, g := range all[:tried+1] {
			if g.id != all[0].id || g.body != all[0].body {
				t.Errorf("the delivery %s %s was %s %s at first", g.id, g.body, all[0].id, all[0].body)
			}
		}
		if len(all) != tried+2 || all[tried+1].call.ID != "b" {
			t.Errorf("%d deliveries after the restart, want 2: %+v", len(all)-tried, all[tried:])
		}
	})
}

// TestGone gives up where the receiver wants no more, and where nobody knows it.
func TestGone(t *testing.T) {
	t.Parallel()
	r := newReceiver(t)
	r.does(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusGone) })
	d := open(t, "sqlite:"+filepath.Join(t.TempDir(), "frontdesk.db"), notify.Hook{URL: r.server.URL, Secret: secret})
	args := func(hook string) json.RawMessage {
		return json.RawMessage(fmt.Sprintf(`{"id":"x","hook":%q,"event":"ended","body":%q}`, hook, `{"event":"ended","at":"2026-03-01T12:00:00Z","call":{"id":"a"}}`))
	}
	if err := d.Work(t.Context(), args(notify.Token(r.server.URL))); err == nil || err.Error() != store.GiveUp(errors.New("the receiver answered 410 Gone")).Error() {
		t.Errorf("after 410: %v", err)
	}
	if err := d.Work(t.Context(), args("unheard of")); err != nil {
		t.Errorf("for a hook that is gone: %v", err)
	}
	if err := d.Work(t.Context(), json.RawMessage("{")); err == nil {
		t.Error("nonsense is a delivery")
	}
	d.ended(t, record("a"), nil)
	eventually(t, "it is given up", func() bool { return len(r.got()) == 2 })
	d.stop()
	if n := len(r.got()); n != 2 {
		t.Errorf("%d tries", n)
	}
}

// pipe carries requests to a receiver in memory, so that a bubble can wait for
// them.
type pipe struct {
	to   http.Handler
	hang bool
	down func() bool
	sent atomic.Int64
}

// RoundTrip carries one.
func (p *pipe) RoundTrip(q *http.Request) (*http.Response, error) {
	p.sent.Add(1)
	if p.hang {
		<-q.Context().Done()
		return nil, context.Cause(q.Context())
	}
	if p.down() {
		return nil, errors.New("connection refused")
	}
	w := httptest.NewRecorder()
	p.to.ServeHTTP(w, q)
	return w.Result(), nil
}

// TestDownForADay drives the jobs of a receiver that is away for a day, in
// virtual time and as the store would: every delivery arrives within an hour of
// its return, once, and the receiver is asked little meanwhile.
func TestDownForADay(t *testing.T) {
	t.Parallel()
	const calls, day = 200, 24 * time.Hour
	st, err := store.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "frontdesk.db"), store.Options{Queues: map[string]int{notify.Queue: 1}})
	must(t, err)
	t.Cleanup(func() { must(t, st.Close()) })
	synctest.Test(t, func(t *testing.T) {
		r := &receiver{t: t}
		began := time.Now()
		p := &pipe{to: r, down: func() bool { return time.Since(began) < day }}
		n, err := notify.New(notify.Config{Store: st, Transport: p, Hooks: []notify.Hook{{URL: "http://receiver.test/canary", Secret: secret}}})
		must(t, err)
		var wg sync.WaitGroup
		for i := range calls {
			wg.Go(func() {
				body := fmt.Sprintf(`{"event":"ended","at":"2026-03-01T12:00:00Z","call":{"id":"c%d"}}`, i)
				args := json.RawMessage(fmt.Sprintf(`{"id":"d%d","hook":%q,"event":"ended","body":%q}`, i, notify.Token("http://receiver.test/canary"), body))
				for wait := time.Second; ; wait = min(2*wait, time.Hour) {
					err := n.Work(t.Context(), args)
					if err == nil {
						return
					}
					if strings.Contains(err.Error(), "canary") {
						t.Errorf("an error tells a secret: %v", err)
					}
					time.Sleep(wait + time.Duration(i)*time.Second/10) // in a bubble
				}
			})
		}
		wg.Wait()
		if took := time.Since(began); took < day || took > day+time.Hour+2*time.Minute {
			t.Errorf("all were delivered after %v", took)
		}
		ids := map[string]bool{}
		for _, g := range r.got() {
			ids[g.id] = true
		}
		if len(ids) != calls || len(r.got()) != calls {
			t.Errorf("%d deliveries with %d ids, want %d", len(r.got()), len(ids), calls)
		}
		if failed := p.sent.Load() - calls; failed > 24*60+calls {
			t.Errorf("%d requests to a receiver that is away", failed)
		}
		t.Logf("%d calls, %d requests in vain during the day, all delivered %v after its end", calls, p.sent.Load()-calls, (time.Since(began) - day).Round(time.Second))
	})
}

// TestHanging lets go of a receiver that does not answer, after ten seconds,
// and has it keep one worker busy, not all.
func TestHanging(t *testing.T) {
	t.Parallel()
	st, err := store.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "frontdesk.db"), store.Options{Queues: map[string]int{notify.Queue: 1}})
	must(t, err)
	t.Cleanup(func() { must(t, st.Close()) })
	synctest.Test(t, func(t *testing.T) {
		p := &pipe{hang: true}
		n, err := notify.New(notify.Config{Store: st, Transport: p, Hooks: []notify.Hook{{URL: "http://receiver.test/", Secret: secret}}})
		must(t, err)
		args := json.RawMessage(fmt.Sprintf(`{"id":"d","hook":%q,"event":"ended","body":"{}"}`, notify.Token("http://receiver.test/")))
		try := func() time.Duration {
			start := time.Now()
			if n.Work(t.Context(), args) == nil {
				t.Error("a receiver that hangs took it")
			}
			return time.Since(start)
		}
		if took := try(); took != 10*time.Second {
			t.Errorf("the first took %v", took)
		}
		if took := try(); took != 0 || p.sent.Load() != 1 {
			t.Errorf("the next took %v, %d requests", took, p.sent.Load())
		}
		time.Sleep(notify.Rest)
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() { try() })
		}
		wg.Wait()
		if p.sent.Load() != 2 {
			t.Errorf("%d requests after a rest, want one more", p.sent.Load()-1)
		}
	})
}

// TestNoAddress refuses a hook without one, and does not say it.
func TestNoAddress(t *testing.T) {
	t.Parallel()
	st, err := store.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "frontdesk.db"), store.Options{Queues: map[string]int{notify.Queue: 1}})
	must(t, err)
	t.Cleanup(func() { must(t, st.Close()) })
	for _, u := range []string{"", "canary", "http://%zz/canary"} {
		if _, err := notify.New(notify.Config{Store: st, Hooks: []notify.Hook{{URL: u}}}); err == nil || strings.Contains(err.Error(), "canary") {
			t.Errorf("%q: %v", u, err)
		}
	}
}
