package calllog_test

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/riverqueue/river"

	"frontdesk/call"
	"frontdesk/calllog"
	"frontdesk/crm"
	"frontdesk/crm/crmtest"
	"frontdesk/store"
)

// slowLine takes as long as the documentation's samples of real portals say.
type slowLine struct{ *line }

func (s slowLine) RoundTrip(r *http.Request) (*http.Response, error) {
	wait := 150 * time.Millisecond
	switch path := strings.ToLower(r.URL.Path); {
	case strings.Contains(path, "externalcall.register"):
		wait = 1100 * time.Millisecond
	case strings.Contains(path, "externalcall.finish"):
		wait = 2300 * time.Millisecond
	}
	time.Sleep(wait) // virtual
	return s.line.RoundTrip(r)
}

// due is a call's job.
type due struct {
	at time.Time
	id string
}

// agenda are the jobs that wait, as the store's queue has them.
type agenda struct {
	mu   sync.Mutex
	jobs []due
	left int
}

func (a *agenda) Len() int           { return len(a.jobs) }
func (a *agenda) Less(i, k int) bool { return a.jobs[i].at.Before(a.jobs[k].at) }
func (a *agenda) Swap(i, k int)      { a.jobs[i], a.jobs[k] = a.jobs[k], a.jobs[i] }
func (a *agenda) Push(x any)         { a.jobs = append(a.jobs, x.(due)) } //nolint:errcheck // only dues are pushed
func (a *agenda) Pop() any {
	last := a.jobs[len(a.jobs)-1]
	a.jobs = a.jobs[:len(a.jobs)-1]
	return last
}

// next is a job whose time has come; left is how many are not done.
func (a *agenda) next() (d due, ok bool, left int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.jobs) == 0 || a.jobs[0].at.After(time.Now()) {
		return due{}, false, a.left
	}
	return heap.Pop(a).(due), true, a.left //nolint:errcheck // as above
}

// ended puts a job back that is to go on later, or counts it.
func (a *agenda) ended(id string, err error) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	var later *river.JobSnoozeError
	switch {
	case err == nil:
		a.left--
		return nil
	case errors.As(err, &later):
		heap.Push(a, due{time.Now().Add(later.Duration), id})
		return nil
	}
	return err
}

// work does the jobs of a backlog as four workers do.
func (w *world) work(calls int) {
	const workers = 4
	a := &agenda{left: calls}
	for i := range calls {
		a.jobs = append(a.jobs, due{time.Now(), fmt.Sprint("b", i)})
	}
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			idle := time.NewTicker(time.Second)
			defer idle.Stop()
			for {
				d, ok, left := a.next()
				switch {
				case left == 0:
					return
				case !ok:
					<-idle.C
				default:
					if err := a.ended(d.id, w.log.Work(context.Background(), d.id)); err != nil {
						w.t.Error(err)
						return
					}
				}
			}
		})
	}
	wg.Wait()
}

// TestBacklog has the calls of an outage delivered within the portal's limits,
// in virtual time: two requests a second, and what it grants of its own time,
// 480 s in ten minutes for each method. Callers are found in time beside it.
// FRONTDESK_BACKLOG=10000 measures what docs/performance.md says.
func TestBacklog(t *testing.T) {
	t.Parallel()
	calls := 60
	if n, err := strconv.Atoi(os.Getenv("FRONTDESK_BACKLOG")); err == nil {
		calls = n
	}
	for name, limit := range map[string]time.Duration{"requests": 0, "requests and time": 480 * time.Second} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			file := filepath.Join(t.TempDir(), "frontdesk.db")
			synctest.Test(t, func(t *testing.T) { backlog(t, file, calls, limit) })
		})
	}
}

func backlog(t *testing.T, file string, calls int, limit time.Duration) {
	const patience = 2500 * time.Millisecond // crm.deadline
	p := newPortal(crmtest.Options{})
	p.AddContact(crmtest.Contact{Name: "Known", Responsible: 61, Phones: []string{string(client)}})
	w := newWorld(t, "sqlite:"+file, p)
	var err error
	w.store, err = store.Open(t.Context(), w.dsn, store.Options{Queues: map[string]int{calllog.Queue: 4}, History: 100 * 365 * 24 * time.Hour})
	must(t, err)
	portal, err := crm.New(crm.Config{Webhook: "http://portal.test/rest/1/secret/", Country: "RU", Transport: slowLine{w.line}, Rate: crm.Rate{PerSecond: 2, Burst: 40}})
	must(t, err)
	rules := policy()
	rules.Leads = false
	w.log = calllog.New(calllog.Config{Store: w.store, CRM: portal, Policy: func() calllog.Policy { return rules }})
	w.stop = sync.OnceFunc(func() { portal.Close(); must(t, w.store.Close()) })
	began := time.Now()
	for i := range calls {
		r := incoming(fmt.Sprint("b", i), answered(talk("201", 10, 60)), knownAs(call.Entity{Kind: call.KindContact, ID: 1}))
		r.Caller, r.Started = call.Number(fmt.Sprintf("+7916%07d", i)), began.Add(time.Duration(i)*time.Second/4)
		must(t, w.log.Settle(t.Context(), r))
	}
	p.SetRate(2, 50)
	p.SetOperating(limit, 2300*time.Millisecond)
	asked := p.Total()
	began = time.Now()
	over := make(chan struct{})
	go func() { defer close(over); w.work(calls) }()
	var took []time.Duration
	failed := 0
	for working := true; working; {
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		if a, err := portal.Lookup(ctx, client); err != nil || len(a.Entities) != 1 {
			failed++
		}
		cancel()
		took = append(took, time.Since(start))
		select {
		case <-over:
			working = false
		case <-time.After(5 * time.Second):
		}
	}
	lasted := time.Since(began)
	slices.Sort(took)
	done, live := w.entries()
	once := map[string]bool{}
	for _, e := range done {
		once[e] = true
	}
	p99 := took[len(took)*99/100]
	t.Logf("%d calls in %v by %d requests beside %d look-ups, p50 %v, p99 %v, worst %v, %d failed",
		calls, lasted.Round(time.Second), p.Total()-asked-len(took), len(took), took[len(took)/2], p99, took[len(took)-1], failed)
	if len(once) != calls || len(done) != calls || live != 0 {
		t.Errorf("%d entries, %d different, %d live, want %d", len(done), len(once), live, calls)
	}
	if failed > 0 || p99 > patience/2 {
		t.Errorf("%d of %d look-ups failed, p99 %v", failed, len(took), p99)
	}
	w.stop()
}
