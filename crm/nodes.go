package crm

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sync"
	"time"

	"frontdesk/call"
)

const (
	// followEvery is how often a node takes in what others wrote.
	followEvery = 2 * time.Second
	// noticed is after which time a node whose lease was taken knows it.
	noticed = leaseRenew + time.Second
)

// errMoved means that another node feeds the mirror.
var errMoved = errors.New("another node feeds the mirror")

// Run loads the stored copy and feeds the mirror until ctx ends, or has another
// node feed it. A portal or a store in trouble is tried again, ever less often,
// and never ends it.
func (m *Mirror) Run(ctx context.Context) error {
	var loaded time.Time
	m.persist(ctx, "the mirror could not be loaded", func(ctx context.Context) error {
		loaded = time.Now()
		return m.Load(ctx)
	})
	var wg sync.WaitGroup
	wg.Go(func() { m.tend(ctx) })
	if m.cfg.Shared {
		wg.Go(func() { m.follow(ctx, loaded) })
		m.lease.run(ctx, m.lead)
	} else {
		m.lead(ctx)
	}
	wg.Wait()
	return nil
}

// Alone loads the stored copy and runs f, while no other node feeds the mirror:
// the one that does is told to stop. Run does not run.
func (m *Mirror) Alone(ctx context.Context, f func(context.Context) error) (err error) {
	load := func(ctx context.Context) error {
		if err := m.Load(ctx); err != nil {
			return err
		}
		return f(ctx)
	}
	if !m.cfg.Shared {
		return load(ctx)
	}
	mine, held, err := m.lease.seize(ctx)
	if err != nil {
		return fmt.Errorf("telling the other nodes: %w", err)
	}
	m.lease.hold(ctx, mine, func(ctx context.Context) {
		if held {
			err = sleep(ctx, noticed)
		}
		if err == nil {
			err = load(ctx)
		}
	})
	return err
}

// lead feeds the mirror until ctx ends, or another node does.
func (m *Mirror) lead(ctx context.Context) {
	m.metrics.feeds.Store(true)
	defer m.metrics.feeds.Store(false)
	ctx, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer stop()
	if app, ok := m.client.App(); ok && m.cfg.Offline > 0 {
		wg.Go(func() { m.offline(ctx, app) })
	}
	for moved := false; ctx.Err() == nil && !moved; {
		m.persist(ctx, "the mirror is not fed", func(ctx context.Context) error {
			err := m.feed(ctx)
			if moved = errors.Is(err, errMoved); moved {
				return nil
			}
			return err
		})
		if !moved {
			m.rest(ctx)
		}
	}
}

// follow takes in what other nodes wrote, from a time on.
func (m *Mirror) follow(ctx context.Context, since time.Time) {
	for sleep(ctx, followEvery) == nil {
		m.persist(ctx, "what other nodes wrote could not be read", func(ctx context.Context) error {
			asked := time.Now()
			if err := m.catchUp(ctx, since); err != nil {
				return err
			}
			since = asked
			return nil
		})
	}
}

// catchUp takes in what was written since a time, and how far the mirror is
// with that: what the stored cursor promises has been written before it.
func (m *Mirror) catchUp(ctx context.Context, since time.Time) error {
	before := m.known.Load()
	at, err := m.loadCursor(ctx)
	if err != nil {
		return err
	}
	if err := m.learn(ctx, since); err != nil {
		return err
	}
	m.known.CompareAndSwap(before, &at) // unless this node went on meanwhile
	return m.wishes(ctx)
}

// learn takes the cards into memory that the store has of a time on.
func (m *Mirror) learn(ctx context.Context, since time.Time) error {
	dropped := map[ref]bool{}
	err := m.cfg.Cards.LoadEntities(ctx, since, func(c call.Card, gone bool) error {
		r, p, err := m.pack(c)
		switch {
		case err != nil:
			return fmt.Errorf("%s %d: %w", c.Kind, c.ID, err)
		case gone:
			dropped[r] = true
			return nil
		}
		delete(dropped, r) // it came back
		if _, same := m.index.has(r, p); !same {
			m.index.put(r, p)
		}
		return nil
	})
	if err != nil {
		return err
	}
	for r := range dropped {
		m.index.remove(r)
	}
	return nil
}

// wishes hands a wish for an export on to the node that feeds.
func (m *Mirror) wishes(ctx context.Context) error {
	if !m.metrics.feeds.Load() {
		if !m.pending.exportWanted() {
			return nil
		}
		if err := m.cfg.State.Put(ctx, wishKey, []byte("wanted")); err != nil {
			return err
		}
		m.pending.handOn(m.known.Load().Swept)
		return nil
	}
	wish, err := m.cfg.State.Get(ctx, wishKey)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(wish) == 0 {
		return nil
	}
	if err == nil {
		m.pending.wantExport()
		err = m.cfg.State.Put(ctx, wishKey, []byte{})
	}
	return err
}
