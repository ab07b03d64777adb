package pbxtest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"frontdesk/sip"
	"frontdesk/sip/siptest"
)

// Config says what a PBX is.
type Config struct {
	Listen  string               // "udp://127.0.0.1:0" if empty
	Numbers map[string]Behaviour // extensions and queues; others are refused with 404
	Default *Behaviour           // what numbers that are not listed do; nil: 404
	Logger  *slog.Logger

	State  *State            // what it knows and accounts for; nil: one of its own. Numbers that it lacks are added
	Trunk  string            // from which calls come in; "10000" if empty
	Trunks map[string]string // where trunks lead, host:port by number; see Dial
}

// PBX is a SIP endpoint with numbers. It is safe for concurrent use.
type PBX struct {
	Phone  *siptest.Phone // its user agent: calls out of the PBX, ladder, ports
	state  *State
	logger *slog.Logger
	dead   *atomic.Bool
	trunk  string
	out    sync.WaitGroup // calls out of the PBX

	mu      sync.Mutex
	trunks  map[string]string
	numbers map[string]Behaviour
	other   Behaviour
	calls   []*Call
	changed chan struct{} // closed and replaced with every call
}

// Call is a call that a PBX got.
type Call struct {
	At     time.Time
	Number string     // the user of the request URI
	Invite sip.Invite // as it came: From, P-Asserted-Identity, headers
	*siptest.Call
}

// FrontdeskCall is the value of X-Frontdesk-Call.
func (c *Call) FrontdeskCall() string { return c.Invite.Header("X-Frontdesk-Call") }

// New opens a PBX's port. Nothing is answered before Run.
func New(ctx context.Context, cfg Config) (*PBX, error) {
	p := &PBX{
		logger: cfg.Logger, dead: &atomic.Bool{}, numbers: maps.Clone(cfg.Numbers), trunks: maps.Clone(cfg.Trunks),
		other: Refuse("unknown"), changed: make(chan struct{}), state: cfg.State, trunk: cmp.Or(cfg.Trunk, "10000"),
	}
	if p.logger == nil {
		p.logger = slog.New(slog.DiscardHandler)
	}
	if p.numbers == nil {
		p.numbers = map[string]Behaviour{}
	}
	if cfg.Default != nil {
		p.other = *cfg.Default
	}
	phone, err := siptest.NewPhone(ctx, siptest.Config{
		Listen: cfg.Listen, Agent: "sandbox PBX", Serve: p.serve, Logger: cfg.Logger,
		Wrap: func(c net.PacketConn) net.PacketConn { return &mortal{PacketConn: c, dead: p.dead} },
	})
	if err != nil {
		return nil, fmt.Errorf("sandbox PBX: %w", err)
	}
	p.Phone = phone
	if p.state == nil {
		p.state = NewState(StateConfig{})
	}
	p.state.know(p.trunk, p.numbers)
	p.state.serveCalls(p.originate)
	return p, nil
}

// Run makes the PBX work until ctx ends.
func (p *PBX) Run(ctx context.Context) error {
	err := p.Phone.Run(ctx)
	p.out.Wait()
	return err
}

// State is what the PBX knows and has accounted for.
func (p *PBX) State() *State { return p.state }

// SetTrunk says where a trunk leads: host:port.
func (p *PBX) SetTrunk(number, node string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.trunks == nil {
		p.trunks = map[string]string{}
	}
	p.trunks[number] = node
}

// URI is the node's SIP address, as frontdesk's configuration wants it.
func (p *PBX) URI() string { return p.Phone.URI("") }

// Set gives a number a behaviour, from the next call on.
func (p *PBX) Set(number string, b Behaviour) {
	p.state.know(p.trunk, map[string]Behaviour{number: b})
	p.mu.Lock()
	defer p.mu.Unlock()
	p.numbers[number] = b
}

// SetDead makes the node lose every SIP message in and out, or work again.
// Sound already flowing is not touched.
func (p *PBX) SetDead(dead bool) { p.dead.Store(dead) }

// Calls are all calls so far, in order.
func (p *PBX) Calls() []*Call {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.calls)
}

// WaitCall waits for the nth call to a number, counted from 1, or to any number
// where it is empty.
func (p *PBX) WaitCall(ctx context.Context, number string, n int) (*Call, error) {
	for {
		p.mu.Lock()
		found, changed := nth(p.calls, number, n), p.changed
		p.mu.Unlock()
		if found != nil {
			return found, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, fmt.Errorf("waiting for call %d to %q: %w", n, number, context.Cause(ctx))
		}
	}
}

func nth(calls []*Call, number string, n int) *Call {
	for _, c := range calls {
		if number == "" || c.Number == number {
			if n--; n == 0 {
				return c
			}
		}
	}
	return nil
}

// serve is the goroutine of a call.
func (p *PBX) serve(ctx context.Context, in *siptest.Call) {
	c := &Call{At: time.Now(), Invite: in.Invite(), Call: in}
	c.Number = c.Invite.RequestURI.User
	p.note(c)
	if err := p.visit(ctx, c); err != nil && !normal(err) {
		p.logger.Warn("sandbox PBX", "number", c.Number, "error", err)
	}
}

// note keeps a call.
func (p *PBX) note(c *Call) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.calls = append(p.calls, c)
	close(p.changed)
	p.changed = make(chan struct{})
}

// behaviour is what a number does.
func (p *PBX) behaviour(number string) Behaviour {
	p.mu.Lock()
	defer p.mu.Unlock()
	b, ok := p.numbers[number]
	if !ok {
		b = p.other
	}
	if b.Tone == 0 {
		b.Tone = ToneOf(number)
	}
	return b
}

// normal reports whether a call merely ended while a number was doing
// something.
func normal(err error) bool {
	for _, end := range []error{sip.ErrCanceled, sip.ErrHangup, sip.ErrShutdown, sip.ErrEnded, siptest.ErrOver} {
		if errors.Is(err, end) {
			return true
		}
	}
	return false
}

// mortal is a socket that can be struck dead: it then loses everything.
type mortal struct {
	net.PacketConn
	dead *atomic.Bool
}

// ReadFrom passes over what arrives while dead.
func (m *mortal) ReadFrom(b []byte) (int, net.Addr, error) {
	for {
		n, from, err := m.PacketConn.ReadFrom(b)
		if err != nil || !m.dead.Load() {
			return n, from, err
		}
	}
}

// WriteTo swallows what is sent while dead.
func (m *mortal) WriteTo(b []byte, to net.Addr) (int, error) {
	if m.dead.Load() {
		return len(b), nil
	}
	return m.PacketConn.WriteTo(b, to)
}
