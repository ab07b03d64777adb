package crm

import (
	"context"
	"fmt"
	"time"
)

// overlap is by how much a delta reaches behind the one before it: the portal
// writes dates before it commits, and its servers' clocks differ.
const overlap = 5 * time.Minute

// Delta reads what was modified since the last delta or export. It does not
// see deletions.
func (m *Mirror) Delta(ctx context.Context) error {
	at := *m.known.Load()
	began := time.Now()
	since := at.Modified.Add(-overlap).In(m.client.cfg.Zone).Format(time.RFC3339)
	now, walks, err := m.deltaFirst(ctx, since)
	if err != nil {
		return fmt.Errorf("delta: %w", err)
	}
	for _, w := range walks {
		for !w.end {
			if err := m.deltaNext(ctx, w); err != nil {
				return fmt.Errorf("delta: %w", err)
			}
		}
	}
	if err := m.saveEmployees(ctx); err != nil {
		return err
	}
	m.force.Store(false)
	at.Modified, at.Heard = now, began
	return m.save(ctx, &at)
}

// deltaFirst takes in the first page of every kind, in one batch: most of the
// time there are no others.
func (m *Mirror) deltaFirst(ctx context.Context, since string) (now time.Time, walks []*walk, err error) {
	m.feeding.Lock()
	defer m.feeding.Unlock()
	var commands []command
	for _, s := range m.client.sections {
		params := copyValues(s.fields)
		params.Set("filter[>=DATE_MODIFY]", since)
		w := &walk{section: s, params: params, pages: 1}
		cmd := w.commands()[0]
		cmd.key = string(s.kind)
		commands, walks = append(commands, cmd), append(walks, w)
	}
	results, now, err := m.batch(ctx, commands)
	if err != nil {
		return now, nil, err
	}
	for i, w := range walks {
		rows, err := w.rows(m.client, commands[i:i+1], results)
		if err != nil {
			return now, nil, err
		}
		if err := m.takeRows(ctx, w.section, rows); err != nil {
			return now, nil, err
		}
		w.pages = exportPages
	}
	return now, walks, nil
}

func (m *Mirror) deltaNext(ctx context.Context, w *walk) error {
	m.feeding.Lock()
	defer m.feeding.Unlock()
	rows, err := m.next(ctx, w)
	if err != nil {
		return err
	}
	return m.takeRows(ctx, w.section, rows)
}

// Sweep reads the ids of all entities. It drops those that are gone, and has
// those read that the mirror had missed.
func (m *Mirror) Sweep(ctx context.Context) error {
	began := time.Now()
	for _, s := range m.client.sections {
		w, old := s.bare(), m.sweeping(s.kind, 0)
		for !w.end {
			if err := m.sweepPages(ctx, w, old); err != nil {
				return fmt.Errorf("looking for deleted %s: %w", s.kind, err)
			}
		}
	}
	at := *m.known.Load()
	at.Swept = began
	return m.save(ctx, &at)
}

func (m *Mirror) sweepPages(ctx context.Context, w *walk, old *sweep) error {
	m.feeding.Lock()
	defer m.feeding.Unlock()
	rows, err := m.next(ctx, w)
	if err != nil {
		return err
	}
	strange, err := m.settle(ctx, w, rows, old)
	if err != nil {
		return err
	}
	for _, id := range strange {
		m.pending.add(refOf(w.section.kind, id))
	}
	return nil
}

// nightAfter is the first time behind t at which the pass for deletions is due.
func (m *Mirror) nightAfter(t time.Time) time.Time {
	t = t.In(m.client.cfg.Zone)
	due := time.Date(t.Year(), t.Month(), t.Day(), m.cfg.Night, 0, 0, 0, t.Location())
	if !due.After(t) {
		due = time.Date(t.Year(), t.Month(), t.Day()+1, m.cfg.Night, 0, 0, 0, t.Location())
	}
	return due
}

// feed brings the mirror up to date: by an export if it has none or one is
// wanted, else by a delta, and at night by a pass for deletions.
func (m *Mirror) feed(ctx context.Context) error {
	at := m.known.Load()
	if !at.Complete || at.Kind != "" || m.pending.exportWanted() {
		if err := m.Export(ctx); err != nil {
			m.pending.hindered(err)
			return err
		}
		m.pending.exported()
	}
	if err := m.Delta(ctx); err != nil {
		return err
	}
	if now := time.Now(); !now.Before(m.nightAfter(m.known.Load().Swept)) {
		return m.Sweep(ctx)
	}
	return nil
}

// rest waits until the next delta is due, or something asks for one earlier.
func (m *Mirror) rest(ctx context.Context) {
	t := time.NewTimer(m.cfg.Every)
	defer t.Stop()
	select {
	case <-t.C:
	case <-m.pending.early:
	case <-ctx.Done():
	}
}

// persist repeats try until it succeeds or ctx ends.
func (m *Mirror) persist(ctx context.Context, what string, try func(context.Context) error) {
	retry := firstRetry
	for failing := false; ; failing = true {
		err := try(ctx)
		if err == nil || ctx.Err() != nil {
			if failing && err == nil {
				m.log.InfoContext(ctx, "the mirror is well again")
			}
			return
		}
		m.metrics.failures.Add(1)
		if !failing {
			m.log.WarnContext(ctx, what, "error", err)
		}
		if sleep(ctx, retry) != nil {
			return
		}
		retry = min(2*retry, longestWait)
	}
}

// Again has a running mirror export everything anew, soon.
func (m *Mirror) Again() { m.pending.wantExport() }
