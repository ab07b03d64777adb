package pbx

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"frontdesk/call"

	"github.com/coder/websocket"
	"github.com/prometheus/client_golang/prometheus"
)

// Beats of call control.
const (
	pingEvery      = 5 * time.Second // or 3CX closes the websocket
	pingWithin     = 10 * time.Second
	reconcileEvery = 30 * time.Second // events that say something is over get lost
	recoverAfter   = 2 * time.Second  // between two readings because of a gap: some PBXs count events that are not for us
	settleEvery    = time.Second
	firstPause     = time.Second
	longestPause   = time.Minute
	deniedPause    = 10 * time.Minute // not licensed, or not ticked: that may change
)

const (
	maxEvent  = 1 << 20
	eventRoom = 1024 // events that may wait; more, and everything is read anew
	fewEvents = 16   // more participants at once than that are read by one snapshot
)

// CallControlConfig is what CallControl needs; Client must be set.
type CallControlConfig struct {
	Client    *Client
	Country   string        // ISO 3166 alpha-2, for numbers
	Ended     func(Call)    // called from Run with every call that is over; must not block; may be nil
	Reconcile time.Duration // how often everything is read anew; 0: half a minute
	Grace     time.Duration // how long a call without anybody may come back, as in a transfer; 0: 3 s
	Logger    *slog.Logger  // nil: discarded
}

// CallControl follows the calls of the extensions that 3CX lets the API client
// monitor: by events on a websocket, made whole by snapshots.
type CallControl struct {
	cfg CallControlConfig
	log *slog.Logger

	mu     sync.Mutex
	board  *board
	online bool

	stats controlStats
}

type controlStats struct {
	events, resyncs, sessions atomic.Int64
}

// NewCallControl makes a follower; Run connects it.
func NewCallControl(cfg CallControlConfig) *CallControl {
	if cfg.Reconcile <= 0 {
		cfg.Reconcile = reconcileEvery
	}
	if cfg.Grace <= 0 {
		cfg.Grace = 3 * time.Second
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &CallControl{cfg: cfg, log: cfg.Logger, board: newBoard(cfg.Country, cfg.Grace)}
}

// Follows tells whether the calls of a number are seen: it is monitored, and
// there is a connection.
func (c *CallControl) Follows(n call.Extension) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.online && c.board.follows(n)
}

// Live are the extensions in calls at this moment, in the order of their calls;
// none while there is no connection.
func (c *CallControl) Live() []Participant {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.online {
		return nil
	}
	return c.board.live()
}

// Run follows the calls until ctx ends, over lost connections. Where call
// control is not licensed or not allowed it asks again from time to time.
func (c *CallControl) Run(ctx context.Context) error {
	var said string
	pause := firstPause
	for {
		began := time.Now()
		err := c.session(ctx)
		c.set(false)
		if ctx.Err() != nil {
			return nil
		}
		if time.Since(began) > longestPause {
			pause, said = firstPause, ""
		}
		if errors.Is(err, ErrForbidden) || errors.Is(err, ErrNotFound) {
			pause = deniedPause
		}
		if text := err.Error(); text != said {
			c.log.WarnContext(ctx, "call control is not connected", "error", err, "again_in", pause)
			said = text
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(pause):
		}
		pause = min(pause*2, max(pause, longestPause))
	}
}

func (c *CallControl) set(online bool) {
	c.mu.Lock()
	c.online = online
	c.mu.Unlock()
}

// session is one websocket from its opening to its loss. It is open before the
// snapshot is taken, so that nothing falls between them.
func (c *CallControl) session(ctx context.Context) error {
	conn, err := c.cfg.Client.dialControl(ctx)
	if err != nil {
		return err
	}
	conn.SetReadLimit(maxEvent)
	c.stats.sessions.Add(1)
	ctx, end := context.WithCancelCause(ctx)
	f := feed{events: make(chan controlEvent, eventRoom)}
	var wg sync.WaitGroup
	wg.Go(func() { end(f.read(ctx, conn)) })
	wg.Go(func() { end(ping(ctx, conn)) })
	end(c.follow(ctx, &f))
	_ = conn.CloseNow() // it is broken, or nobody reads it any more
	wg.Wait()
	return context.Cause(ctx)
}

// follow keeps the board by the events of one session.
func (c *CallControl) follow(ctx context.Context, f *feed) error {
	if err := c.resync(ctx); err != nil {
		return err
	}
	c.set(true)
	c.log.InfoContext(ctx, "call control is connected")
	reconcile := time.NewTicker(c.cfg.Reconcile)
	defer reconcile.Stop()
	settle := time.NewTicker(min(settleEvery, c.cfg.Grace))
	defer settle.Stop()
	synced := time.Now()
	f.lost.Store(true) // 3CX may begin to tell events only some time after it opened the websocket
	for {
		var err error
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case e := <-f.events:
			err = c.take(ctx, f, e)
		case <-reconcile.C:
			f.lost.Store(true)
		case <-settle.C:
		}
		if err == nil && f.lost.Load() && time.Since(synced) >= min(recoverAfter, c.cfg.Reconcile) {
			f.lost.Store(false)
			synced = time.Now()
			err = c.resync(ctx)
		}
		c.settle()
		if err != nil {
			return err
		}
	}
}

// settle gives on the calls that are over.
func (c *CallControl) settle() {
	c.mu.Lock()
	over := c.board.over(time.Now())
	c.mu.Unlock()
	if c.cfg.Ended == nil {
		return
	}
	for _, ended := range over {
		c.cfg.Ended(ended)
	}
}

// resync reads everything.
func (c *CallControl) resync(ctx context.Context) error {
	c.stats.resyncs.Add(1)
	dns, err := c.cfg.Client.snapshot(ctx)
	if err != nil {
		return err
	}
	c.mu.Lock()
	c.board.reset(dns, time.Now())
	c.mu.Unlock()
	return nil
}

// take works off an event and those that wait behind it, each participant once.
func (c *CallControl) take(ctx context.Context, f *feed, e controlEvent) error {
	pending := newPending()
	pending.add(e)
	for range len(f.events) {
		pending.add(<-f.events)
	}
	c.stats.events.Add(int64(pending.count))
	c.mu.Lock()
	for _, e := range pending.events {
		if e.removed {
			c.board.remove(e.entity, e.at)
		}
	}
	c.mu.Unlock()
	if len(pending.events) > fewEvents {
		return c.resync(ctx)
	}
	for _, e := range pending.events {
		if e.removed {
			continue
		}
		if err := c.upsert(ctx, e); err != nil {
			return err
		}
	}
	return nil
}

// upsert brings one participant up to date. Events mostly come without it, and
// who cannot be found any more has gone.
func (c *CallControl) upsert(ctx context.Context, e controlEvent) error {
	p := e.attached
	if p == nil {
		var got participantWire
		err := c.cfg.Client.call(ctx, request{name: "participant", path: e.entity}, &got)
		switch {
		case errors.Is(err, ErrNotFound):
			c.mu.Lock()
			c.board.remove(e.entity, e.at)
			c.mu.Unlock()
			return nil
		case err != nil:
			return err
		}
		p = &got
	}
	c.mu.Lock()
	known := c.board.upsert(e.entity, *p, e.at)
	c.mu.Unlock()
	if !known { // a number that was not there at the last snapshot
		return c.resync(ctx)
	}
	return nil
}

// dialControl opens the websocket.
func (c *Client) dialControl(ctx context.Context) (*websocket.Conn, error) {
	token, err := c.tokens.get(ctx)
	if err != nil {
		return nil, err
	}
	conn, err := c.upgrade(ctx, token)
	if errors.Is(err, ErrUnauthorized) {
		c.metrics.spoilt.Add(1)
		if token, err = c.tokens.replace(ctx, token); err != nil {
			return nil, err
		}
		conn, err = c.upgrade(ctx, token)
	}
	return conn, err
}

func (c *Client) upgrade(ctx context.Context, token string) (*websocket.Conn, error) {
	const name = "call control"
	ctx, cancel := context.WithTimeout(ctx, answerWithin)
	defer cancel()
	began := time.Now()
	conn, res, err := websocket.Dial(ctx, c.home.String()+"/callcontrol/ws", &websocket.DialOptions{
		HTTPClient: c.http, HTTPHeader: http.Header{"Authorization": {"Bearer " + token}, "User-Agent": {c.cfg.UserAgent}},
	})
	switch {
	case err != nil && res != nil && res.StatusCode != http.StatusSwitchingProtocols:
		err = c.refusal(name, res, token)
	case err != nil:
		err = fmt.Errorf("%s: %w", name, c.bare(err, token))
	}
	c.metrics.request(name, err, time.Since(began))
	return conn, err
}

// snapshot reads everything that the API client may see.
func (c *Client) snapshot(ctx context.Context) ([]controlDN, error) {
	var out []controlDN
	err := c.call(ctx, request{name: "call control", path: "/callcontrol"}, &out)
	return out, err
}

// ping keeps the websocket alive, and finds out that it is not.
func ping(ctx context.Context, conn *websocket.Conn) error {
	tick := time.NewTicker(pingEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
		waiting, cancel := context.WithTimeout(ctx, pingWithin)
		err := conn.Ping(waiting)
		cancel()
		if err != nil {
			return fmt.Errorf("call control: ping: %w", err)
		}
	}
}

// controlEvent is a change to a participant.
type controlEvent struct {
	entity   string // "/callcontrol/101/participants/8106"
	removed  bool
	at       time.Time
	attached *participantWire // nil: to be asked for
}

// feed is what comes by one websocket.
type feed struct {
	events chan controlEvent
	lost   atomic.Bool // some events did: read everything
	last   int         // sequence, of read alone
}

// read takes events off the websocket until it ends. It never waits for who
// works them off.
func (f *feed) read(ctx context.Context, conn *websocket.Conn) error {
	for {
		_, data, err := conn.Read(ctx)
		if err != nil {
			return fmt.Errorf("call control: %w", err)
		}
		e, ok := f.parse(data)
		if !ok {
			continue
		}
		select {
		case f.events <- e:
		default:
			f.lost.Store(true)
		}
	}
}

// Kinds of events; the others are of no interest.
const (
	eventUpsert = 0
	eventRemove = 1
)

// parse reads a message; ok is false where there is nothing to be done. What
// comes twice has the same sequence, a gap in it means that something is lost.
func (f *feed) parse(data []byte) (controlEvent, bool) {
	var w struct {
		Sequence loose
		Event    struct {
			Type     loose `json:"event_type"`
			Entity   loose
			Attached json.RawMessage `json:"attached_data"`
		}
	}
	if json.Unmarshal(data, &w) != nil {
		return controlEvent{}, false
	}
	if n := w.Sequence.int(); n > 0 {
		if n == f.last {
			return controlEvent{}, false
		}
		if f.last > 0 && n > f.last+1 {
			f.lost.Store(true)
		}
		f.last = max(f.last, n)
	}
	kind := w.Event.Type.int()
	e := controlEvent{entity: string(w.Event.Entity), at: time.Now(), removed: kind == eventRemove}
	if kind != eventUpsert && kind != eventRemove || w.Event.Type == "" {
		return controlEvent{}, false
	}
	if _, ok := entityDN(e.entity); !ok {
		return controlEvent{}, false
	}
	var p participantWire
	if kind == eventUpsert && json.Unmarshal(w.Event.Attached, &p) == nil && p.ID != "" && p.Status != "" {
		e.attached = &p
	}
	return e, true
}

// entityDN is the number that a participant's path names. The path is asked
// for again: it is believed only where it looks like one.
func entityDN(entity string) (call.Extension, bool) {
	parts := strings.Split(entity, "/")
	if len(parts) != 5 || parts[0] != "" || parts[1] != "callcontrol" || parts[3] != "participants" {
		return "", false
	}
	for _, s := range []string{parts[2], parts[4]} {
		if s == "" || len(s) > 64 || strings.ContainsFunc(s, func(r rune) bool {
			return r != '_' && r != '-' && (r < '0' || r > '9') && (r < 'A' || r > 'Z') && (r < 'a' || r > 'z')
		}) {
			return "", false
		}
	}
	return call.Extension(parts[2]), true
}

// pending are events to work off, one for each participant: the last one.
type pending struct {
	events []controlEvent
	index  map[string]int
	count  int
}

func newPending() *pending { return &pending{index: map[string]int{}} }

func (p *pending) add(e controlEvent) {
	p.count++
	if i, ok := p.index[e.entity]; ok {
		e.removed = e.removed || p.events[i].removed // ids are not used twice
		p.events[i] = e
		return
	}
	p.index[e.entity] = len(p.events)
	p.events = append(p.events, e)
}

// Collectors are call control's metrics.
func (c *CallControl) Collectors() []prometheus.Collector {
	counter := func(name, help string, v *atomic.Int64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, func() float64 { return float64(v.Load()) })
	}
	return []prometheus.Collector{
		counter("frontdesk_pbx_control_events_total", "Events of call control.", &c.stats.events),
		counter("frontdesk_pbx_control_resyncs_total", "Times that call control's whole state was read.", &c.stats.resyncs),
		counter("frontdesk_pbx_control_sessions_total", "Websockets of call control opened.", &c.stats.sessions),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "frontdesk_pbx_control_busy", Help: "Extensions in calls, as call control sees them.",
		}, func() float64 {
			busy := map[call.Extension]bool{}
			for _, p := range c.Live() {
				busy[p.Extension] = true
			}
			return float64(len(busy))
		}),
	}
}
