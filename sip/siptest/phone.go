package siptest

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"sync"

	"golang.org/x/sync/errgroup"

	"frontdesk/media"
	"frontdesk/media/sdp"
	"frontdesk/sip"
)

// Config says what a Phone is. The zero value is a phone on a free port of
// 127.0.0.1 that refuses all calls.
type Config struct {
	Listen string                              // "udp://127.0.0.1:0" if empty
	Wrap   func(net.PacketConn) net.PacketConn // put around its SIP socket, to lose packets; may be nil
	Agent  string                              // User-Agent
	Codecs []sdp.Codec                         // PCMA, PCMU if empty
	Ports  media.PortRange                     // any if zero

	// Serve does what this phone does with a call that comes in; the call ends
	// when it returns. ctx ends when the caller goes away. nil refuses with 480.
	Serve func(ctx context.Context, c *Call)
	// Refer says what it does when it is asked to call somebody else.
	Refer Refer

	Logger *slog.Logger
}

// Refer is how a phone takes a REFER. The zero value does as asked: 202, an
// INVITE to the target, NOTIFY with what became of it.
type Refer struct {
	Code   int  // refuses with this code instead, from 300 up
	Silent bool // accepts, and is not heard of again
	Report int  // accepts, calls nobody, and reports this code
	Hangup bool // says BYE in place of the last NOTIFY
}

// Phone is a SIP user agent for tests. It is safe for concurrent use.
type Phone struct {
	cfg    Config
	stack  *sip.Stack
	engine *media.Engine
	ladder *Ladder
	calls  tasks         // goroutines of calls
	done   chan struct{} // closed when the stack has ended
}

// NewPhone opens a phone's port. Nothing is sent or answered before Run.
func NewPhone(ctx context.Context, cfg Config) (*Phone, error) {
	if len(cfg.Codecs) == 0 {
		cfg.Codecs = []sdp.Codec{sdp.PCMA, sdp.PCMU}
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	p := &Phone{cfg: cfg, ladder: &Ladder{}, done: make(chan struct{})}
	l, err := sip.Listen(ctx, cmp.Or(cfg.Listen, "udp://127.0.0.1:0"), nil)
	if err != nil {
		return nil, fmt.Errorf("phone: %w", err)
	}
	if cfg.Wrap != nil {
		l.PacketConn = cfg.Wrap(l.PacketConn)
	}
	if err := p.open(l); err != nil {
		_ = l.PacketConn.Close() // the first error is the one to tell
		return nil, fmt.Errorf("phone: %w", err)
	}
	return p, nil
}

func (p *Phone) open(l sip.Listener) (err error) {
	p.stack, err = sip.New(sip.Config{
		Listeners: []sip.Listener{l}, UserAgent: cmp.Or(p.cfg.Agent, "frontdesk-phone"),
		Logger: p.cfg.Logger, Tap: p.ladder.Tap,
	}, handler{p})
	if err != nil {
		return err
	}
	everybody := []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::/0")}
	if err := p.stack.SetPeers([]sip.Peer{{Name: "anybody", Sources: everybody, TrustIdentity: true}}); err != nil {
		return err
	}
	p.engine, err = media.NewEngine(media.Config{Bind: p.Addr().Addr(), Ports: p.cfg.Ports, Logger: p.cfg.Logger})
	return err
}

// Run makes the phone work until ctx ends; then its calls are hung up.
func (p *Phone) Run(ctx context.Context) error {
	g, gctx := errgroup.WithContext(context.WithoutCancel(ctx))
	stop, cancel := context.WithCancel(gctx)
	g.Go(func() error {
		defer cancel() // sound goes on until the last call has ended
		err := p.stack.Run(ctx)
		close(p.done)
		p.calls.finish()
		return err
	})
	g.Go(func() error { return p.engine.Run(stop) })
	if err := g.Wait(); err != nil && ctx.Err() == nil {
		return fmt.Errorf("phone: %w", err)
	}
	return nil
}

// Addr is where the phone's SIP socket is.
func (p *Phone) Addr() netip.AddrPort { return p.stack.Addr("udp") }

// URI is the SIP address of user at this phone.
func (p *Phone) URI(user string) string {
	return sip.Address{User: user, Host: p.Addr().String()}.URI()
}

// Stack is the phone's SIP stack, for OPTIONS and whatever else a test needs.
func (p *Phone) Stack() *sip.Stack { return p.stack }

// Ladder is every message the phone sent and received.
func (p *Phone) Ladder() *Ladder { return p.ladder }

// PortsInUse is the number of calls that hold an RTP port.
func (p *Phone) PortsInUse() int { return p.engine.PortsInUse() }

// newCall makes a call with its sound, and begins to play.
func (p *Phone) newCall() (*Call, error) {
	session, err := p.engine.Open()
	if err != nil {
		return nil, err
	}
	s, err := newSound(session, p.cfg.Codecs)
	if err != nil {
		_ = session.Close() // the first error is the one to tell
		return nil, err
	}
	p.calls.Go(s.run)
	return &Call{phone: p, sound: s, done: make(chan struct{})}, nil
}

// lasting is a context for what outlives ctx, but not the phone.
func (p *Phone) lasting(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	go func() {
		select {
		case <-p.done:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// handler keeps ServeInvite out of Phone's own methods.
type handler struct{ *Phone }

// ServeInvite takes a call.
func (h handler) ServeInvite(ctx context.Context, in *sip.Incoming) {
	if h.cfg.Serve == nil {
		_ = in.Reject(480, "") // it fails where the caller is gone already
		return
	}
	defer h.calls.enter()() // the stack does not wait for ever, Run does
	quiet, end := h.lasting(ctx)
	defer end()
	c, err := h.newCall()
	if err != nil {
		h.cfg.Logger.Error("no media for a call", "error", err)
		return // answered 500 for us
	}
	c.in, c.invite = in, in.Invite()
	c.leg = in.Leg
	var served sync.WaitGroup
	served.Go(func() { c.serve(quiet, in.Leg) })
	h.cfg.Serve(ctx, c)
	_ = in.Reject(500, "") // nothing happens where there was a final answer
	now, cancel := context.WithCancel(quiet)
	cancel()
	_ = in.Bye(now, "") // nor where the session is over; nobody waits for the other side's word on it
	served.Wait()
	c.end(in.Err())
}
