package store

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/riverqueue/river"
	"golang.org/x/sync/errgroup"
)

const (
	softStop    = 5 * time.Second  // for jobs to end by themselves when Run is to end
	hardStop    = 10 * time.Second // more, until Run gives them up
	startRetry  = time.Second      // between tries to start the jobs, doubling
	startLimit  = 30 * time.Second // to this
	openRetry   = 5 * time.Second  // at most between tries to open a database
	houseEvery  = 15 * time.Second // health and counts
	sweepEvery  = time.Hour
	stickyKept  = time.Hour          // after its end, for nodes that have not heard of it
	goneKept    = 7 * 24 * time.Hour // that a card was deleted, the same
	claimsKept  = 24 * time.Hour     // after their end: clocks need not agree
	houseLimit  = 3 * time.Second    // of one look
	clientIDLen = 8
)

// Run works jobs and keeps the tables tidy until ctx ends. A database that is
// gone, or cannot be opened yet, is waited for. Jobs in progress at the end have
// a few seconds; what is cut off then is done again after the next start.
func (s *Store) Run(ctx context.Context) error {
	if !s.reopen(ctx) {
		return nil
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.workJobs(ctx) })
	g.Go(func() error { return s.keepHouse(ctx) })
	return g.Wait()
}

// reopen opens the database, as often as it takes, and reports whether it is
// open before ctx ends.
func (s *Store) reopen(ctx context.Context) bool {
	for wait := startRetry; s.opened.Load() == nil; wait = min(2*wait, openRetry) {
		err := s.open(ctx)
		switch {
		case ctx.Err() != nil:
			return false // Close closes what was opened
		case err == nil:
			s.log.InfoContext(ctx, "the database is open, the store is in use from now on")
			s.health.set(nil)
			return true
		}
		if _, why := s.health.get(); why != err.Error() {
			s.log.ErrorContext(ctx, "the database cannot be opened still", "error", err)
		}
		s.health.set(err)
		select {
		case <-ctx.Done():
			return false
		case <-time.After(wait):
		}
	}
	return true
}

// workJobs starts River, as often as it takes, and stops it at ctx's end.
func (s *Store) workJobs(ctx context.Context) error {
	s.mu.Lock()
	misuse, handled := s.misuse, len(s.byKind)
	s.mu.Unlock()
	if misuse != nil || handled == 0 {
		return misuse
	}
	for wait := startRetry; ; wait = min(2*wait, startLimit) {
		client, err := s.workingClient()
		if err != nil {
			return fmt.Errorf("store: jobs: %w", err)
		}
		err = client.Start(ctx)
		if err == nil {
			return stopped(ctx, client.Stopped())
		}
		if ctx.Err() != nil {
			return nil
		}
		s.log.Warn("jobs cannot be started", "error", err, "again", wait)
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// stopped waits for River, which ends by itself after ctx.
func stopped(ctx context.Context, end <-chan struct{}) error {
	<-ctx.Done()
	select {
	case <-end:
		return nil
	case <-time.After(softStop + hardStop):
		return errors.New("store: jobs did not end when they were told to")
	}
}

// workingClient is a River client that works what is handled.
func (s *Store) workingClient() (*river.Client[*sql.Tx], error) {
	cfg := s.riverConfig()
	cfg.Workers = river.NewWorkers()
	s.mu.Lock()
	for kind, work := range s.byKind {
		river.AddWorkerArgs(cfg.Workers, owed{kind: kind}, worker{kind: kind, work: work, store: s})
	}
	s.mu.Unlock()
	cfg.Queues = map[string]river.QueueConfig{}
	for name, n := range s.queues {
		cfg.Queues[name] = river.QueueConfig{MaxWorkers: n}
	}
	cfg.ID = s.node + "/" + rand.Text()[:clientIDLen] // one of a process that died must not be taken for ours
	d, err := s.db()
	if err != nil {
		return nil, err
	}
	return river.NewClient(d.driver, cfg)
}

// riverConfig is what the clients that owe and that work have in common.
func (s *Store) riverConfig() *river.Config {
	cfg := &river.Config{
		Logger:                      newRiverLog(s.log),
		JobTimeout:                  s.timing.job,
		RescueStuckJobsAfter:        s.timing.rescue,
		MaxAttempts:                 maxAttempts,
		RetryPolicy:                 retries{s.now},
		FetchOnlyKnownKinds:         true,
		CancelledJobRetentionPeriod: failedKept,
		DiscardedJobRetentionPeriod: failedKept,
		SoftStopTimeout:             softStop,
	}
	if s.faked {
		cfg.Test.Time = clock(s.now)
	}
	return cfg
}

// clock is Options.Now as River wants it.
type clock func() time.Time

// Now is the time.
func (c clock) Now() time.Time { return c() }

// NowOrNil is the time, which is thus also the database's.
func (c clock) NowOrNil() *time.Time {
	t := c()
	return &t
}

// keepHouse looks after health, counts and old rows.
func (s *Store) keepHouse(ctx context.Context) error {
	tick := time.NewTicker(houseEvery)
	defer tick.Stop()
	var swept time.Time
	for {
		s.look(ctx)
		if now := time.Now(); now.Sub(swept) >= sweepEvery && s.sweep(ctx) {
			swept = now
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// look writes a line of this node, which tells a full disk from an idle one,
// and counts jobs.
func (s *Store) look(ctx context.Context) {
	limited, cancel := context.WithTimeout(ctx, houseLimit)
	defer cancel()
	err := s.Put(limited, "node/"+s.node, []byte(s.now().UTC().Format(time.RFC3339)))
	if err == nil {
		err = s.countJobs(limited)
	}
	if ctx.Err() != nil {
		return
	}
	switch was := s.health.set(err); {
	case err != nil && was:
		s.log.Error("the store does not work", "error", err)
	case err == nil && !was:
		s.log.Info("the store works again")
	}
}

func (s *Store) countJobs(ctx context.Context) error {
	counts := map[string]int{}
	err := s.each(ctx, "count_jobs", func(scan func(...any) error) error {
		var state string
		var n int
		err := scan(&state, &n)
		counts[state] = n
		return err
	}, "SELECT CAST(state AS TEXT), count(*) FROM river_job GROUP BY state")
	if err == nil {
		s.metrics.jobs.Store(&counts)
	}
	return err
}

// sweep deletes what is over. A failure is seen by look.
func (s *Store) sweep(ctx context.Context) bool {
	now := s.now()
	for query, before := range map[string]time.Time{
		"DELETE FROM sticky WHERE until < $1 AND changed < $1": now.Add(-stickyKept),
		"DELETE FROM card_gone WHERE changed < $1":             now.Add(-goneKept),
		"DELETE FROM job_once WHERE owed < $1":                 now.Add(-onceKept),
		"DELETE FROM claims WHERE until < $1":                  now.Add(-claimsKept),
	} {
		if _, err := s.exec(ctx, "sweep", query, before.UnixMilli()); err != nil {
			return false
		}
	}
	return s.sweepRecords(ctx, now.Add(-s.history)) == nil
}

// Ready reports whether the store works, and if not, why. It answers from
// memory; the last look is at most 15 seconds old while Run runs.
func (s *Store) Ready() (ok bool, why string) { return s.health.get() }
