package staff_test

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"frontdesk/call"
	"frontdesk/staff"
	"frontdesk/store"
)

var errDown = errors.New("down")

// office is a portal in memory.
type office struct {
	mu       sync.Mutex
	entities map[int]call.Entity // contacts
	clears   int
	down     bool
	deaf     bool // keeps what it is told to clear
	read     hook // runs before a reading
	meddle   hook // runs between a reading and a clearing
}

// hook is something that happens once.
type hook struct {
	mu sync.Mutex
	f  func()
}

func (h *hook) set(f func()) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.f = f
}

func (h *hook) run() {
	h.mu.Lock()
	f := h.f
	h.f = nil
	h.mu.Unlock()
	if f != nil {
		f()
	}
}

func (h *hook) waits() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.f != nil
}

func newOffice(entities ...call.Entity) *office {
	o := &office{entities: map[int]call.Entity{}}
	for _, e := range entities {
		e.Kind = call.KindContact
		o.entities[e.ID] = e
	}
	return o
}

func (o *office) Ended(_ context.Context, now time.Time) ([]call.Entity, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.down {
		return nil, errDown
	}
	var out []call.Entity
	for _, e := range o.entities {
		if !e.Until.IsZero() && !e.Until.After(now) {
			out = append(out, e)
		}
	}
	return out, nil
}

func (o *office) Entity(_ context.Context, _ call.Kind, id int) (call.Entity, bool, error) {
	o.read.run()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.down {
		return call.Entity{}, false, errDown
	}
	e, ok := o.entities[id]
	return e, ok, nil
}

func (o *office) Clear(_ context.Context, e call.Entity) (call.Entity, error) {
	o.meddle.run()
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.down {
		return call.Entity{}, errDown
	}
	now := o.entities[e.ID]
	if o.deaf || now.Temporary != e.Temporary || !now.Until.Equal(e.Until) {
		return now, nil
	}
	now.Temporary, now.Until = 0, time.Time{}
	o.entities[e.ID] = now
	o.clears++
	return now, nil
}

func (o *office) Employee(_ context.Context, id int) (call.Employee, string, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.down {
		return call.Employee{}, "", errDown
	}
	e := people()[id]
	if e.Extension == "" {
		return e, "", nil
	}
	return e, "e" + string(e.Extension) + "@example.com", nil
}

func (o *office) set(f func(o *office)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	f(o)
}

// cleared is how often fields were cleared.
func (o *office) cleared() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.clears
}

func (o *office) entity(id int) call.Entity {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.entities[id]
}

// postbox takes mails, unless it is told to fail.
type postbox struct {
	mu    sync.Mutex
	mails []staff.Message
	at    []time.Time
	fail  func(m staff.Message) error
}

func (p *postbox) Send(_ context.Context, m staff.Message) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.fail != nil {
		if err := p.fail(m); err != nil {
			return err
		}
	}
	p.mails, p.at = append(p.mails, m), append(p.at, time.Now())
	return nil
}

// fails makes sending fail as f says.
func (p *postbox) fails(f func(m staff.Message) error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fail = f
}

// all are the mails and when they were sent.
func (p *postbox) all() ([]staff.Message, []time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.mails), slices.Clone(p.at)
}

// to are the addresses of the mails, sorted.
func (p *postbox) to() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := []string{}
	for _, m := range p.mails {
		out = append(out, m.To.Address)
	}
	return slices.Sorted(slices.Values(out))
}

// bureau is the database of several nodes in memory: jobs and notes. It lives
// in a bubble, where SQLite does not.
type bureau struct {
	mu    sync.Mutex
	owed  map[string]*owed
	notes map[string][]byte
	nodes []*node
	down  bool
	ends  []string // of jobs
}

type owed struct {
	job      store.Job
	args     json.RawMessage
	tries    int
	due      time.Time
	underWay bool
}

// node is the bureau as one process sees it. A dead one does nothing any more,
// and what it was at is found by others.
type node struct {
	*bureau
	work store.Work
	dead bool
	die  int // after so many further operations
}

func newBureau() *bureau { return &bureau{owed: map[string]*owed{}, notes: map[string][]byte{}} }

func (b *bureau) node() *node {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := &node{bureau: b, die: 1 << 30}
	b.nodes = append(b.nodes, n)
	return n
}

// step is one operation of a process that may die before it.
func (n *node) step() error {
	n.die--
	n.dead = n.dead || n.die < 0
	if n.dead || n.down {
		return errDown
	}
	return nil
}

func (n *node) Handle(_ string, work store.Work) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.work = work
}

func (n *node) Enqueue(_ context.Context, jobs ...store.Job) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.step(); err != nil {
		return err
	}
	for _, j := range jobs {
		if n.owed[j.Key] != nil {
			continue
		}
		args, err := json.Marshal(j.Args)
		if err != nil {
			return err
		}
		n.owed[j.Key] = &owed{job: j, args: args, due: time.Now()}
	}
	return nil
}

func (n *node) Get(_ context.Context, key string) ([]byte, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.step(); err != nil {
		return nil, err
	}
	v, ok := n.notes[key]
	if !ok {
		return nil, store.ErrNotFound
	}
	return v, nil
}

func (n *node) Put(_ context.Context, key string, value []byte) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.step(); err != nil {
		return err
	}
	n.notes[key] = value
	return nil
}

func (n *node) Delete(_ context.Context, key string) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := n.step(); err != nil {
		return err
	}
	delete(n.notes, key)
	return nil
}

// run works the jobs until ctx ends, each by whichever node is next.
func (b *bureau) run(ctx context.Context) {
	for i := 0; ; i++ {
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Second):
		}
		b.mu.Lock()
		var next *owed
		for _, key := range slices.Sorted(maps.Keys(b.owed)) {
			if o := b.owed[key]; next == nil && !o.underWay && !o.due.After(time.Now()) {
				next = o
			}
		}
		n := b.nodes[i%len(b.nodes)]
		if next == nil || b.down || n.dead || n.work == nil {
			b.mu.Unlock()
			continue
		}
		next.underWay = true
		b.mu.Unlock()
		err := n.work(ctx, next.args)
		b.mu.Lock()
		next.underWay = false
		switch {
		case err != nil || n.dead:
			next.tries++
			next.due = time.Now().Add(min(time.Second<<min(next.tries, 20), time.Hour))
		default:
			delete(b.owed, next.job.Key)
			b.ends = append(b.ends, next.job.Key)
		}
		b.mu.Unlock()
	}
}

func (b *bureau) set(down bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.down = down
}

func (b *bureau) left() (jobs, notes int) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.owed), len(b.notes)
}

// firm is an office, a postbox and expirers on nodes of one bureau.
type firm struct {
	*office
	*bureau
	post *postbox
}

func newFirm(t testing.TB, entities ...call.Entity) *firm {
	t.Helper()
	f := &firm{office: newOffice(entities...), bureau: newBureau(), post: &postbox{}}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); f.bureau.run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return f
}

// hire starts an expirer on a node of its own.
func (f *firm) hire(t testing.TB, change ...func(*staff.ExpirerConfig)) *node {
	t.Helper()
	n := f.bureau.node()
	cfg := staff.ExpirerConfig{Deputies: f.office, Desk: f.office, Post: f.post, Jobs: n, Notes: n, Language: "ru-RU", Zone: berlin(t)}
	for _, c := range change {
		c(&cfg)
	}
	x, err := staff.NewExpirer(cfg)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = x.Run(ctx) }()
	t.Cleanup(func() { cancel(); <-done })
	return n
}

func berlin(t testing.TB) *time.Location {
	t.Helper()
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	return zone
}
