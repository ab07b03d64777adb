package crm

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"frontdesk/call"
)

const (
	// maxPending bounds the entities waiting to be read again; beyond it the
	// next delta has to find them.
	maxPending = 10000
	// coalesce is for how long changes are gathered before they are read.
	coalesce = time.Second
	// rereadAtOnce are the entities of one batch.
	rereadAtOnce = exportPages * pageRows
	// checkPatience bounds the check of one number.
	checkPatience = 10 * time.Second
)

// pending are the entities that are to be read again, and wishes.
type pending struct {
	mu     sync.Mutex
	refs   map[ref]struct{}
	users  bool // the employees are to be read too
	export bool
	hinder string     // why the export does not go on
	handed *time.Time // the last pass over all ids when another node was asked for the export; nil: none was

	wake  chan struct{} // holds a value when there is something to read
	early chan struct{} // holds a value when the next delta must not wait
}

func newPending() pending {
	return pending{refs: map[ref]struct{}{}, wake: make(chan struct{}, 1), early: make(chan struct{}, 1)}
}

func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// add has an entity read again. It never waits.
func (p *pending) add(refs ...ref) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range refs {
		if len(p.refs) >= maxPending {
			signal(p.early)
			break
		}
		p.refs[r] = struct{}{}
	}
	signal(p.wake)
}

func (p *pending) addUsers() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.users = true
	signal(p.wake)
}

// take gives up to n entities, in order, and whether employees are wanted.
func (p *pending) take(n int) (refs []ref, users bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for r := range p.refs {
		if len(refs) == n {
			break
		}
		refs = append(refs, r)
		delete(p.refs, r)
	}
	users, p.users = p.users, false
	slices.Sort(refs)
	return refs, users
}

func (p *pending) wantExport() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.export = true
	signal(p.early)
}

func (p *pending) exportWanted() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.export
}

func (p *pending) exported() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.export, p.hinder, p.handed = false, "", nil
}

// handOn notes that another node was asked for the export. It is over when all
// ids have been passed since.
func (p *pending) handOn(swept time.Time) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.export, p.handed = false, &swept
}

// hindered notes why an export did not go on.
func (p *pending) hindered(why error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hinder = why.Error()
}

// exporting reports whether an export is asked for that is not over, all ids
// having been passed last at swept.
func (p *pending) exporting(swept time.Time) (wanted bool, hinder string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.handed != nil && !p.handed.Equal(swept) {
		p.handed = nil
	}
	return p.export || p.handed != nil, p.hinder
}

// sighting is a live answer: who carries a number.
type sighting struct {
	number call.Number
	cards  []call.Card
	capped []call.Kind
}

// see is told every live answer. It never waits: a mirror that is busy misses
// one.
func (m *Mirror) see(s sighting) {
	select {
	case m.seen <- s:
	default:
	}
}

// verify has a number looked up live, later.
func (m *Mirror) verify(n call.Number) {
	select {
	case m.checks <- n:
	default:
	}
}

// MirrorFirst answers from the mirror at once, and from the portal only where
// the mirror cannot tell. What the mirror said is verified live afterwards, and
// the mirror set right.
type MirrorFirst struct {
	Mirror *Mirror
}

// Lookup answers who carries n, see Client.Lookup.
func (f MirrorFirst) Lookup(ctx context.Context, n call.Number) (call.Answer, error) {
	if n == "" {
		return f.Mirror.client.Lookup(ctx, n)
	}
	if a, ok := f.Mirror.Lookup(n, time.Now()); ok {
		f.Mirror.verify(n)
		return a, nil
	}
	return f.Mirror.client.Lookup(ctx, n)
}

// tend takes in what is not asked for by the clock, until ctx ends.
func (m *Mirror) tend(ctx context.Context) {
	var wg sync.WaitGroup
	wg.Go(func() { m.rereads(ctx) })
	wg.Go(func() { m.verifies(ctx) })
	wg.Go(func() { m.sights(ctx) })
	wg.Wait()
}

// rereads reads what is pending, many entities in one batch.
func (m *Mirror) rereads(ctx context.Context) {
	for {
		select {
		case <-m.pending.wake:
		case <-ctx.Done():
			return
		}
		if sleep(ctx, coalesce) != nil {
			return
		}
		m.persist(ctx, "changed entities could not be read again", m.rereadAll)
	}
}

func (m *Mirror) rereadAll(ctx context.Context) error {
	for {
		refs, users := m.pending.take(rereadAtOnce)
		if users {
			if err := m.client.LoadEmployees(ctx); err != nil {
				m.pending.addUsers()
				m.pending.add(refs...)
				return err
			}
		}
		if len(refs) == 0 {
			return nil
		}
		if err := m.reread(ctx, refs); err != nil {
			m.pending.add(refs...)
			return err
		}
	}
}

// reread reads entities by id. What the portal does not show is dropped.
func (m *Mirror) reread(ctx context.Context, refs []ref) error {
	m.feeding.Lock()
	defer m.feeding.Unlock()
	ids := map[call.Kind][]int{}
	for _, r := range refs {
		ids[r.kind()] = append(ids[r.kind()], r.id())
	}
	rows, err := m.readIDs(ctx, ids)
	if err != nil {
		return err
	}
	for k, asked := range ids {
		shown := make(map[int]bool, len(asked))
		for _, raw := range rows[k] {
			id, err := raw.id(m.section(k))
			if err != nil {
				return err
			}
			shown[id] = true
		}
		// Rows that were not asked for are as true as others.
		if err := m.takeRows(ctx, m.section(k), rows[k]); err != nil {
			return err
		}
		gone := slices.DeleteFunc(asked, func(id int) bool { return shown[id] })
		if err := m.drop(ctx, k, gone); err != nil {
			return err
		}
	}
	return nil
}

// verifies looks numbers up live, one after the other; what comes of it is a
// sighting.
func (m *Mirror) verifies(ctx context.Context) {
	for {
		select {
		case n := <-m.checks:
			if err := m.client.check(ctx, n); err != nil && ctx.Err() == nil {
				m.log.DebugContext(ctx, "an answer of the mirror could not be verified", "number", n, "error", err)
			}
		case <-ctx.Done():
			return
		}
	}
}

// check looks n up behind callers who wait.
func (c *Client) check(ctx context.Context, n call.Number) error {
	if open, why := c.breaker.state(); open {
		return errors.New(why)
	}
	ctx, cancel := context.WithTimeout(ctx, checkPatience)
	defer cancel()
	if err := c.bucket.wait(ctx, LaneCard); err != nil {
		return err
	}
	_, _, err := c.find(ctx, n)
	return err
}

// sights compares live answers with the copy.
func (m *Mirror) sights(ctx context.Context) {
	for {
		select {
		case s := <-m.seen:
			if err := m.sight(ctx, s); err != nil && ctx.Err() == nil {
				m.metrics.failures.Add(1)
				m.log.WarnContext(ctx, "a live answer could not be kept", "error", err)
			}
		case <-ctx.Done():
			return
		}
	}
}

// sight takes in who carries a number, and has those read again who carry it in
// the copy alone.
func (m *Mirror) sight(ctx context.Context, s sighting) error {
	readable := make([]call.Card, 0, len(s.cards))
	found := map[ref]bool{}
	for _, c := range s.cards {
		found[refOf(c.Kind, c.ID)] = true
		if !c.Unreadable {
			readable = append(readable, c)
		}
	}
	if err := m.take(ctx, readable); err != nil {
		return err
	}
	k, ok := pack(s.number)
	if !ok {
		return nil
	}
	for _, e := range m.index.find(k, m.client.cfg.Zone) {
		if r := refOf(e.Kind, e.ID); !found[r] && !slices.Contains(s.capped, e.Kind) {
			m.pending.add(r)
		}
	}
	return nil
}
