package phonebook

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"frontdesk/call"
)

// counts are what a full sync has done so far.
type counts struct {
	sum      Written
	steps    int
	inRow    int // refusals since the last success
	withheld int
}

// step is one thing to be done; several contacts only where they are deleted.
type step struct {
	keys []Key
	do   func(ctx context.Context) (operation, error)
}

// result is what became of a step.
type result struct {
	contacts int
	op       operation
	refused  error
}

// operation is what was done to a contact.
type operation string

// The operations.
const (
	opCreate operation = "create"
	opUpdate operation = "update"
	opDelete operation = "delete"
	opNone   operation = "none" // it turned out that there was nothing to do
)

// manyRefused in a row are the end of a sync: the PBX is full, or wants
// something that we do not know of.
const manyRefused = 50

// apply does what the plan says.
func (f *full) apply(ctx context.Context) error {
	links := f.sync.cfg.Links
	for part := range slices.Chunk(f.plan.Keep, chunk) {
		for i := range part {
			part[i].Seen = f.began
		}
		if err := links.SavePhonebook(ctx, part); err != nil {
			return err
		}
	}
	for part := range slices.Chunk(f.plan.Forget, chunk) {
		if err := links.DeletePhonebook(ctx, part); err != nil {
			return err
		}
	}
	return f.write(ctx)
}

// write has workers do the steps, and counts what they did.
func (f *full) write(ctx context.Context) error {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	g, ctx := errgroup.WithContext(ctx)
	steps, results := make(chan step), make(chan result)
	g.Go(func() error {
		defer close(steps)
		return f.send(ctx, steps)
	})
	var working sync.WaitGroup
	working.Add(workers)
	for range workers {
		g.Go(func() error {
			defer working.Done()
			return f.work(ctx, steps, results)
		})
	}
	go func() {
		working.Wait()
		close(results)
	}()
	g.Go(func() error {
		var failed error
		for r := range results {
			if failed == nil {
				if failed = f.count(ctx, r); failed != nil {
					stop(failed)
				}
			}
		}
		return failed
	})
	return g.Wait()
}

func (f *full) work(ctx context.Context, steps <-chan step, results chan<- result) error {
	for st := range steps {
		r, err := f.step(ctx, st)
		if err != nil {
			return err
		}
		results <- r // read to the end
	}
	return nil
}

// send gives the workers what is to be done.
func (f *full) send(ctx context.Context, steps chan<- step) error {
	s := f.sync
	send := func(do func(context.Context) (operation, error), keys ...Key) error {
		select {
		case steps <- step{keys, do}:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	for _, u := range f.plan.Updates {
		if err := send(func(ctx context.Context) (operation, error) { return s.update(ctx, u) }, u.Key); err != nil {
			return err
		}
	}
	for _, c := range f.plan.Creates {
		if err := send(func(ctx context.Context) (operation, error) { return s.create(ctx, c) }, c.Key); err != nil {
			return err
		}
	}
	for part := range slices.Chunk(f.plan.Deletes, bulk) {
		keys := make([]Key, len(part))
		for i, d := range part {
			keys[i] = d.Key
		}
		if err := send(func(ctx context.Context) (operation, error) { return opDelete, s.delete(ctx, part) }, keys...); err != nil {
			return err
		}
	}
	return nil
}

// step does one step, unless an update of the entity came before it: that one
// has read the CRM later.
func (f *full) step(ctx context.Context, st step) (r result, err error) {
	r = result{contacts: len(st.keys), op: opNone}
	if len(st.keys) == 1 {
		done, err := f.sync.turn(ctx, st.keys[0])
		if err != nil {
			return r, err
		}
		defer done()
		l, known, err := f.sync.listing(ctx, st.keys[0])
		if err != nil || known && l.Seen.After(f.began) {
			return r, err
		}
	}
	if r.op, err = st.do(ctx); errors.Is(err, ErrRefused) {
		r.refused, err = err, nil
	}
	return r, err
}

// count notes what became of a step.
func (f *full) count(ctx context.Context, r result) error {
	c := &f.done
	c.steps += r.contacts
	switch {
	case r.refused != nil:
		c.sum.Refused++
		c.inRow++
	case r.op == opCreate:
		c.sum.Created++
	case r.op == opUpdate:
		c.sum.Updated++
	case r.op == opDelete:
		c.sum.Deleted += r.contacts
	}
	if r.refused == nil {
		c.inRow = 0
	}
	if c.inRow >= manyRefused {
		return fmt.Errorf("%w: %w", ErrManyRefused, r.refused)
	}
	return f.progress(ctx, Progress{StageWrite, c.steps, f.plan.Writes()})
}

// listing is what is kept of a contact.
func (s *Sync) listing(ctx context.Context, k Key) (l call.Listing, ok bool, err error) {
	err = s.cfg.Links.LoadPhonebook(ctx, k.Kind, k.ID, func(kept call.Listing) error {
		if kept.Part == k.Part {
			l, ok = kept, true
		}
		return nil
	})
	return l, ok, err
}

func (s *Sync) save(ctx context.Context, l call.Listing) error {
	l.Seen = time.Now()
	return s.cfg.Links.SavePhonebook(ctx, []call.Listing{l})
}

func (s *Sync) forget(ctx context.Context, k Key) error {
	return s.cfg.Links.DeletePhonebook(ctx, []call.Listing{k.listing(0, "")})
}

const (
	tries     = 6           // of a request, over half a minute
	firstWait = time.Second // between them, doubling
)

// persist tries again what may work later.
func (s *Sync) persist(ctx context.Context, try func(again bool) error) error {
	for n := 0; ; n++ {
		err := try(n > 0)
		if err == nil || n == tries-1 || errors.Is(err, ErrGone) || errors.Is(err, ErrRefused) || ctx.Err() != nil {
			return err
		}
		t := time.NewTimer(firstWait << n)
		select {
		case <-t.C:
		case <-ctx.Done():
			t.Stop()
			return err
		}
	}
}

// create makes a contact that is missing. It is written down before, so that
// it is looked for, and not made twice, by whoever comes after a failure.
func (s *Sync) create(ctx context.Context, c Create) (op operation, err error) {
	defer func() { s.metrics.wrote(op, err) }()
	op = opCreate
	if err := s.save(ctx, c.Key.listing(0, "")); err != nil {
		return op, err
	}
	err = s.persist(ctx, func(again bool) error {
		if again || c.Doubtful {
			found, err := s.found(ctx, c.Entry)
			if err != nil || found != nil {
				op = opUpdate
				return errors.Join(err, s.adopt(ctx, c.Entry, found))
			}
		}
		op = opCreate
		id, err := s.cfg.Book.Create(ctx, c.Values)
		if err != nil {
			return err
		}
		return s.save(ctx, c.Key.listing(id, c.Values.Fingerprint()))
	})
	if errors.Is(err, ErrRefused) {
		s.log.WarnContext(ctx, "the PBX does not take a contact", "tag", c.Values[Tag], "error", err)
		err = errors.Join(err, s.forget(ctx, c.Key))
	}
	if err != nil {
		return op, fmt.Errorf("making %s: %w", c.Values[Tag], err)
	}
	return op, nil
}

// found is the contact with an entry's Tag, the oldest if there are several;
// nil if there is none.
func (s *Sync) found(ctx context.Context, e Entry) (*Contact, error) {
	contacts, err := s.cfg.Book.Find(ctx, 0, e.Values[Tag])
	if err != nil {
		return nil, err
	}
	var out *Contact
	for _, c := range contacts {
		if c.Values[Tag] == e.Values[Tag] && (out == nil || c.ID < out.ID) {
			out = &c
		}
	}
	return out, nil
}

// adopt has c show e.
func (s *Sync) adopt(ctx context.Context, e Entry, c *Contact) error {
	if c == nil {
		return nil
	}
	if changes := e.Values.changes(c.Values); len(changes) > 0 {
		if err := s.cfg.Book.Update(ctx, c.ID, changes); err != nil {
			return err
		}
	}
	return s.save(ctx, e.Key.listing(c.ID, e.Values.Fingerprint()))
}

// update writes what differs. A contact that went away meanwhile is made again.
func (s *Sync) update(ctx context.Context, u Update) (operation, error) {
	err := s.persist(ctx, func(bool) error { return s.cfg.Book.Update(ctx, u.Contact, u.Changes) })
	if errors.Is(err, ErrGone) {
		return s.create(ctx, Create{Entry: u.Entry, Doubtful: true})
	}
	s.metrics.wrote(opUpdate, err)
	if errors.Is(err, ErrRefused) {
		s.log.WarnContext(ctx, "the PBX does not take the change of a contact", "tag", u.Values[Tag], "error", err)
	}
	if err != nil {
		return opUpdate, fmt.Errorf("changing %s: %w", u.Values[Tag], err)
	}
	return opUpdate, s.save(ctx, u.Key.listing(u.Contact, u.Values.Fingerprint()))
}

// delete deletes contacts and forgets them.
func (s *Sync) delete(ctx context.Context, deletes []Delete) error {
	ids := make([]int, len(deletes))
	var gone []call.Listing
	for i, d := range deletes {
		ids[i] = d.Contact
		if !d.Twice {
			gone = append(gone, d.Key.listing(0, ""))
		}
	}
	err := s.persist(ctx, func(bool) error { return s.cfg.Book.Delete(ctx, ids) })
	for range deletes {
		s.metrics.wrote(opDelete, err)
	}
	if err != nil {
		return fmt.Errorf("deleting %d contacts: %w", len(ids), err)
	}
	return s.cfg.Links.DeletePhonebook(ctx, gone)
}
