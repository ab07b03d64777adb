package b2bua

import (
	"context"
	"log/slog"
	"sync/atomic"
	"time"

	"frontdesk/call"
	"frontdesk/media"
	"frontdesk/media/sdp"
	"frontdesk/routing"
	"frontdesk/sip"
)

// Directory says who carries a number in the CRM. It returns by the end of
// ctx; what it learns later is its own to keep.
type Directory interface {
	Lookup(ctx context.Context, n call.Number) (call.Answer, error)
}

// Mirror answers for the CRM when it cannot, from memory; ok is false where the
// copy is too old, or does not exist.
type Mirror interface {
	Lookup(n call.Number, at time.Time) (answer call.Answer, ok bool)
}

// Staff knows the employees, from memory.
type Staff interface {
	Employee(id int) (call.Employee, bool)
}

// Prompts gives the audio of a text, waiting no longer than ctx.
type Prompts interface {
	Prompt(ctx context.Context, text string) (*media.Clip, error)
}

// StickyBook knows whom a caller is bound to, from memory; nil where nobody.
type StickyBook interface {
	Sticky(caller call.Number, at time.Time) *call.Sticky
}

// Log takes the record of every call at its end. It must not block.
type Log interface {
	Add(r call.Record)
}

// Observer is told of an incoming call while it lasts, by the call's own
// goroutine: it must not block, and rather loses what it cannot take.
type Observer interface {
	// Ringing: the call goes to the record's target. It comes again where another
	// one is rung.
	Ringing(r call.Record)
	// Answered: ext talks with the caller. It comes again where another one does,
	// or where the one before goes on.
	Answered(id string, ext call.Extension)
}

// Deps are the parts a call reaches. Directory, Mirror, Staff, Prompts and
// Sticky may be nil: a call then goes on without them.
type Deps struct {
	Directory Directory
	Mirror    Mirror
	Staff     Staff
	Prompts   Prompts
	Sticky    StickyBook
	Log       Log
	Observer  Observer // nil: nobody is told while a call lasts
	Recorder  Recorder // nil: nothing is recorded
	Media     *media.Engine
	Logger    *slog.Logger
}

// Settings are what a reload may change. They are replaced whole; a call keeps
// to its end those it began with.
type Settings struct {
	Plan     *routing.Plan
	Trunks   map[string]Trunk
	PBX      PBX
	Country  string         // ISO 3166 alpha-2: how national numbers are read
	Zone     *time.Location // of opening hours and records
	Deadline time.Duration  // from the INVITE's arrival to the decision
	Greeting Greeting
	Digits   Digits
	Record   Recording
	Codecs   []sdp.Codec // what frontdesk itself plays, in order of preference
}

// Trunk is how one carrier is to be treated.
type Trunk struct {
	Name        string
	Transfer    []call.Transfer // what it honours, in order of preference
	NAT         bool            // its media may come from elsewhere than its SDP says
	DIDFromTo   bool            // the called number is the To user, not the Request-URI's
	Identity    Identity        // where the caller's number is taken from
	Target      string          // SIP URI of outgoing calls, empty for none
	Credentials *sip.Credentials
}

// Identity names the header that carries the caller's number.
type Identity string

// The identities. Auto is P-Asserted-Identity, else Remote-Party-ID, else From.
const (
	IdentityAuto Identity = "auto"
	IdentityFrom Identity = "from"
	IdentityPAI  Identity = "pai"
	IdentityRPID Identity = "rpid"
)

// PBX is the telephone system behind frontdesk.
type PBX struct {
	Nodes    *Nodes
	Ring     time.Duration // no answer after this: the rule's default
	Failover time.Duration // silence of a node for this long: the next one
	Numbers  func() call.Numbers

	ReferOutside bool // a REFER of the PBX may lead to a number outside, by the trunks with a Target

	// The extensions that take no calls now, and why; may be nil. What it gives
	// must not change any more.
	Unavailable func() map[call.Extension]string
}

// Greeting is what a caller hears before being handed over.
type Greeting struct {
	Say    func(call.Employee) (string, error) // the text that announces an employee; nil: no greeting
	Answer bool                                // answer the call first instead of early media
	Wait   time.Duration                       // for audio that is not rendered yet
}

// Digits is how dialled digits are collected.
type Digits struct {
	First time.Duration // after the greeting, for a first digit
	Next  time.Duration // between digits
	Max   int           // digits at most
	End   byte          // ends entry; 0 for none
}

// Agent serves calls. It implements sip.Handler.
type Agent struct {
	Deps
	stack    *sip.Stack
	settings atomic.Pointer[Settings]
	metrics  *metrics
	ringing  *media.Clip // what a caller hears who is already listening
	passing  passing
}

// NewAgent makes an agent; Attach it to its stack before calls arrive.
func NewAgent(deps Deps, settings *Settings) *Agent {
	a := &Agent{Deps: deps, metrics: newMetrics(settings.Deadline), ringing: ringbackTone()}
	a.settings.Store(settings)
	return a
}

// Attach gives the agent the stack over which it places its own legs.
func (a *Agent) Attach(s *sip.Stack) { a.stack = s }

// Reload replaces the settings for the calls to come.
func (a *Agent) Reload(s *Settings) { a.settings.Store(s) }

// ServeInvite runs one call to its end.
func (a *Agent) ServeInvite(ctx context.Context, in *sip.Incoming) {
	set := a.settings.Load()
	a.metrics.active.Add(1)
	defer a.metrics.active.Add(-1)

	c := &conversation{
		agent: a, set: set, in: in, invite: in.Invite(),
		log: a.Logger.With("call", in.ID()),
	}
	c.run(ctx)
}
