package crm

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"io/fs"
	"log/slog"
	"strconv"
	"time"
)

const (
	leaseRenew = 5 * time.Second
	// leaseDead is for how long a lease is not renewed by a holder who is dead.
	leaseDead = 4 * leaseRenew
	leasePoll = 2 * time.Second
	leaseGive = 3 * time.Second // to give it back at the end
)

// lease is held by one node of those that share a store. Its value names the
// holder and changes whenever they renew it. A value that has not changed for a
// time, by the clock of whoever watches it, is a dead node's: clocks of others
// are not believed.
type lease struct {
	state  StateStore
	key    string
	holder string
	log    *slog.Logger

	seen  []byte // the value as last watched
	since time.Time
	turn  int
}

func newLease(state StateStore, key string, log *slog.Logger) *lease {
	return &lease{state: state, key: key, holder: rand.Text(), log: log}
}

// run has lead called while the lease is held, until ctx ends.
func (l *lease) run(ctx context.Context, lead func(context.Context)) {
	for ctx.Err() == nil {
		if mine := l.take(ctx); mine != nil {
			l.hold(ctx, mine, lead)
		}
		_ = sleep(ctx, leasePoll) // the loop looks at ctx
	}
}

// take takes a lease that nobody holds, or a dead node. It gives the value that
// says so, nil where it did not.
func (l *lease) take(ctx context.Context) []byte {
	value, err := l.read(ctx)
	now := time.Now()
	if err != nil || !bytes.Equal(value, l.seen) || l.since.IsZero() {
		l.seen, l.since = value, now // a holder cannot renew either while the store is gone
	}
	if err != nil || len(value) > 0 && now.Sub(l.since) < leaseDead {
		return nil
	}
	mine, _ := l.replace(ctx, value) // it is tried again
	return mine
}

// seize takes the lease from whoever holds it.
func (l *lease) seize(ctx context.Context) (mine []byte, held bool, err error) {
	for mine == nil && err == nil {
		var value []byte
		if value, err = l.read(ctx); err == nil {
			held = len(value) > 0
			mine, err = l.replace(ctx, value)
		}
	}
	return mine, held, err
}

// read is the value as it is stored; nil where there is none.
func (l *lease) read(ctx context.Context) ([]byte, error) {
	value, err := l.state.Get(ctx, l.key)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return value, err
}

// replace puts our next value in place of old, and gives it; nil where old is
// not there.
func (l *lease) replace(ctx context.Context, old []byte) ([]byte, error) {
	l.turn++
	mine := []byte(l.holder + "/" + strconv.Itoa(l.turn))
	ok, err := l.state.CompareAndPut(ctx, l.key, old, mine)
	if err != nil || !ok {
		return nil, err
	}
	return mine, nil
}

// hold renews the lease until lead returns or the lease is lost, which ends
// lead's ctx, and then gives it back.
func (l *lease) hold(ctx context.Context, mine []byte, lead func(context.Context)) {
	leading, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		lead(leading)
	}()
	mine = l.renew(leading, mine, done)
	stop()
	<-done
	if mine == nil {
		l.log.WarnContext(ctx, "another node feeds the mirror now")
		return
	}
	giving, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaseGive)
	defer cancel()
	if _, err := l.state.CompareAndPut(giving, l.key, mine, []byte{}); err != nil {
		l.log.WarnContext(ctx, "the other nodes learn late that this one does not feed the mirror any more", "error", err)
	}
}

// renew renews the lease until done or the end of ctx, and gives the last value;
// nil where the lease was lost. A store that is gone takes it from nobody: the
// others cannot have it either.
func (l *lease) renew(ctx context.Context, mine []byte, done <-chan struct{}) []byte {
	tick := time.NewTicker(leaseRenew)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return mine
		case <-ctx.Done():
			return mine
		case <-tick.C:
		}
		if next, _ := l.replace(ctx, mine); next != nil { // what went wrong is seen in what is there
			mine = next
			continue
		}
		value, err := l.read(ctx)
		switch {
		case err != nil:
		case bytes.HasPrefix(value, []byte(l.holder+"/")):
			mine = value
		default:
			return nil
		}
	}
}
