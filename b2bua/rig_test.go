package b2bua_test

import (
	"context"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"frontdesk/b2bua"
	"frontdesk/call"
	"frontdesk/media"
	"frontdesk/media/sdp"
	"frontdesk/pbx/pbxtest"
	"frontdesk/routing"
	"frontdesk/sip"
	"frontdesk/sip/siptest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// The caller of every test, known to the CRM as a contact of 201.
const (
	caller  = "+79161234567"
	did     = "+74951234567"
	greeted = 1200 // Hz of the greeting
	patient = 30 * time.Second
)

// rig is an agent between a trunk and a PBX, all on loopback.
type rig struct {
	t        *testing.T
	ctx      context.Context
	settings *b2bua.Settings
	agent    *b2bua.Agent
	stack    *sip.Stack
	engine   *media.Engine
	trunk    *siptest.Phone
	pbx      *pbxtest.PBX
	crm      *directory
	mirror   b2bua.Mirror
	tapes    *tapes
	observer b2bua.Observer
	records  *records
}

// option changes what a rig is made of.
type option func(*rig)

func transfers(t ...call.Transfer) option {
	return func(r *rig) {
		trunk := r.settings.Trunks["carrier"]
		trunk.Transfer = t
		r.settings.Trunks["carrier"] = trunk
	}
}

func number(ext string, b pbxtest.Behaviour) option { return func(r *rig) { r.pbx.Set(ext, b) } }

func quiet(r *rig) { r.settings.Greeting.Say = nil }

func setup(t *testing.T, options ...option) *rig {
	t.Helper()
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	r := &rig{t: t, ctx: ctx, crm: &directory{answer: contactOf(17)}, records: &records{added: make(chan struct{}, 100)}}
	var err error
	r.pbx, err = pbxtest.New(ctx, pbxtest.Config{Numbers: map[string]pbxtest.Behaviour{
		"201": {}, "202": {}, "203": {}, "205": {}, "800": {}, "801": {},
	}})
	r.must(err)
	r.trunk, err = siptest.NewPhone(ctx, siptest.Config{})
	r.must(err)
	r.engine, err = media.NewEngine(media.Config{Bind: netip.MustParseAddr("127.0.0.1"), Ports: media.PortRange{First: 30000, Last: 60999}})
	r.must(err)
	r.settings, r.tapes = r.defaults(), &tapes{engine: r.engine}
	for _, o := range options {
		o(r)
	}
	r.agent = b2bua.NewAgent(b2bua.Deps{
		Directory: r.crm, Mirror: r.mirror, Staff: staff{}, Prompts: prompts{}, Log: r.records, Media: r.engine,
		Recorder: r.tapes, Observer: r.observer,
		Logger: slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug})),
	}, r.settings)
	listener, err := sip.Listen(ctx, "udp://127.0.0.1:0", nil)
	r.must(err)
	r.stack, err = sip.New(sip.Config{Listeners: []sip.Listener{listener}, MaxCalls: 100}, r.agent)
	r.must(err)
	r.agent.Attach(r.stack)
	loopback := []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	r.must(r.stack.SetPeers([]sip.Peer{
		{Name: "carrier", Sources: loopback, TrustIdentity: true},
		{Name: "pbx", PBX: true, Sources: loopback, Port: r.pbx.Phone.Addr().Port()},
	}))
	r.run(cancel)
	return r
}

func (r *rig) defaults() *b2bua.Settings {
	plan, problems := routing.Compile(routing.Source{
		Country: "RU", Zone: time.UTC, Trunks: []string{"carrier"},
		Rules:   []routing.RuleSource{{Name: "all", Default: "800"}},
		Numbers: numbers(), Digits: routing.DigitsSource{Max: 4, End: "#"},
	})
	if plan == nil {
		r.t.Fatal(problems)
	}
	return &b2bua.Settings{
		Plan: plan, Country: "RU", Zone: time.UTC, Deadline: 2 * time.Second,
		Trunks: map[string]b2bua.Trunk{"carrier": {Name: "carrier", Transfer: []call.Transfer{call.TransferRedirect}}},
		PBX: b2bua.PBX{
			Nodes: b2bua.NewNodes([]string{strings.Replace(r.pbx.URI(), "@", "", 1)}, slog.New(slog.DiscardHandler)),
			Ring:  20 * time.Second, Failover: time.Second, Numbers: numbers,
		},
		Greeting: b2bua.Greeting{
			Say:  func(e call.Employee) (string, error) { return e.LastName, nil },
			Wait: 300 * time.Millisecond,
		},
		Digits: b2bua.Digits{Next: 400 * time.Millisecond, Max: 4, End: '#'},
		Codecs: []sdp.Codec{sdp.PCMA, sdp.PCMU},
	}
}

func numbers() call.Numbers {
	return call.Numbers{Extensions: call.Ranges{"100-299"}, Queues: call.Ranges{"800-899"}}
}

// run starts everything and, at the test's end, sees that nothing is left.
func (r *rig) run(cancel context.CancelFunc) {
	running, stop := context.WithCancel(context.WithoutCancel(r.ctx))
	var wg sync.WaitGroup
	for _, run := range []func(context.Context) error{r.pbx.Run, r.trunk.Run, r.engine.Run, r.stack.Run} {
		wg.Go(func() {
			if err := run(running); err != nil {
				r.t.Error(err)
			}
		})
	}
	r.t.Cleanup(func() {
		cancel()
		stop()
		wg.Wait()
		if n := r.stack.Active(); n != 0 {
			r.t.Errorf("%d calls left", n)
		}
		if n := r.engine.PortsInUse(); n != 0 {
			r.t.Errorf("%d ports left", n)
		}
	})
}

func (r *rig) must(err error) {
	r.t.Helper()
	if err != nil {
		r.t.Fatal(err)
	}
}

// call places the call that every test is about.
func (r *rig) call(change ...func(*siptest.Options)) *siptest.Call {
	r.t.Helper()
	o := siptest.Options{
		To:   "sip:" + did + "@" + r.stack.Addr("udp").String(),
		From: sip.Address{Display: "Ann", User: caller},
	}
	for _, f := range change {
		f(&o)
	}
	c, err := r.trunk.Call(r.ctx, o)
	r.must(err)
	return c
}

// record waits for the record of the only call.
func (r *rig) record() call.Record {
	r.t.Helper()
	select {
	case <-r.records.added:
	case <-r.ctx.Done():
		r.t.Fatal("no record of the call")
	}
	all := r.records.list()
	return all[len(all)-1]
}

// atPBX waits for the call to reach a number.
func (r *rig) atPBX(ext string) *pbxtest.Call {
	r.t.Helper()
	c, err := r.pbx.WaitCall(r.ctx, ext, 1)
	r.must(err)
	return c
}

// talking proves that sound passes both ways between the caller and ext.
func (r *rig) talking(c *siptest.Call, ext string) *pbxtest.Call {
	r.t.Helper()
	at := r.atPBX(ext)
	r.must(c.Tone(r.ctx, 700))
	r.must(c.WaitTone(r.ctx, pbxtest.ToneOf(ext)))
	r.must(at.WaitTone(r.ctx, 700))
	return at
}

// directory is the CRM of one test.
type directory struct {
	answer call.Answer
	hang   bool // never answers, whatever the context says
	err    error
	free   chan struct{}
}

func (d *directory) Lookup(context.Context, call.Number) (call.Answer, error) {
	if d.hang {
		<-d.free
	}
	return d.answer, d.err
}

func contactOf(employees ...int) call.Answer {
	a := call.Answer{Source: call.SourceLive}
	for i, e := range employees {
		a.Entities = append(a.Entities, call.Entity{Kind: call.KindContact, ID: i + 1, Name: "Ann Lee", Responsible: e})
	}
	return a
}

type staff struct{}

func (staff) Employee(id int) (call.Employee, bool) {
	e, ok := map[int]call.Employee{
		17: {ID: 17, FirstName: "Olga", LastName: "Romanova", Extension: "201"},
		18: {ID: 18, FirstName: "Petr", LastName: "Sidorov", Extension: "202"},
	}[id]
	return e, ok
}

// prompts speak a tone of 1.5 s.
type prompts struct{}

func (prompts) Prompt(ctx context.Context, _ string) (*media.Clip, error) {
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	return media.NewClip(media.Tone(greeted, 1500*time.Millisecond)), nil
}

type records struct {
	mu    sync.Mutex
	all   []call.Record
	added chan struct{}
}

func (r *records) Add(rec call.Record) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.all = append(r.all, rec)
	r.added <- struct{}{}
}

func (r *records) list() []call.Record {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.all)
}

// is compares what a record says of a call's fate.
func (r *rig) is(rec call.Record, target, outcome, transfer, result string) {
	r.t.Helper()
	got := []string{string(rec.Target), string(rec.Outcome), string(rec.Transfer), string(rec.Result)}
	if want := []string{target, outcome, transfer, result}; !slices.Equal(got, want) {
		r.t.Errorf("the record says target, outcome, transfer, result %q, want %q", got, want)
	}
}
