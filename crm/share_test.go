package crm_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"frontdesk/crm"
	"frontdesk/crm/crmtest"
)

// sharing is one of several that share a portal and a store.
type sharing struct {
	*world
	share *crm.Share
	stop  func()
}

func newSharing(t *testing.T, p *crmtest.Portal, s crm.StateStore) *sharing {
	w := newWorld(t, p, func(c *crm.Config) { c.Rate = crm.Rate{PerSecond: 4, Burst: 40} })
	n := &sharing{world: w, share: crm.NewShare(w.Client, s)}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- n.share.Run(ctx) }()
	n.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(n.stop)
	return n
}

func (n *sharing) sees(t *testing.T, want int) {
	t.Helper()
	if got := testutil.ToFloat64(n.share.Collectors()[0]); got != float64(want) {
		t.Errorf("a node sees %v nodes, want %d", got, want)
	}
}

func TestNodesShareTheLimit(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, s := newPortal(crmtest.Options{}), newMemory()
		nodes := []*sharing{newSharing(t, p, s), newSharing(t, p, s), newSharing(t, p, s), newSharing(t, p, s)}
		time.Sleep(7 * time.Second)
		for _, n := range nodes {
			n.sees(t, 4)
		}
		// Idle for long, all full: what all of them send at once stays within the
		// limit of one.
		time.Sleep(time.Minute)
		p.SetRate(4, 50)
		until := time.Now().Add(30 * time.Second)
		var wait sync.WaitGroup
		for _, n := range nodes {
			wait.Go(func() {
				for time.Now().Before(until) {
					if err := n.Call(context.Background(), crm.LaneCard, "server.time", nil, nil); err != nil {
						t.Error(err)
					}
				}
			})
		}
		wait.Wait()
		if n := p.Total(); n < 120 || n > 40+4*31+4 {
			t.Errorf("%d requests in half a minute", n)
		}
		nodes[3].stop()
		time.Sleep(6 * time.Second)
		nodes[0].sees(t, 3)
		if strings.Count(nodes[0].log.String(), "limit is shared") < 2 {
			t.Errorf("log %s", nodes[0].log)
		}
	})
}

// A node that dies without a word is missed after a while; a store that does
// not answer changes nothing, and broken state is replaced.
func TestNodesThatDie(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, s := newPortal(crmtest.Options{}), newMemory()
		first, second := newSharing(t, p, s), newSharing(t, p, s)
		time.Sleep(6 * time.Second)
		first.sees(t, 2)
		s.mu.Lock()
		s.fail = func(string) error { return errors.New("the database is away") }
		s.mu.Unlock()
		second.stop()
		time.Sleep(10 * time.Minute)
		first.sees(t, 2)
		if n := strings.Count(first.log.String(), "not known how many nodes"); n != 1 {
			t.Errorf("%d warnings", n)
		}
		s.mu.Lock()
		s.fail = nil
		s.mu.Unlock()
		time.Sleep(45 * time.Second)
		first.sees(t, 1)
		if err := s.Put(t.Context(), "crm/nodes", []byte("{broken")); err != nil {
			t.Fatal(err)
		}
		time.Sleep(6 * time.Second)
		first.sees(t, 1)
		first.stop()
		if b, err := s.Get(t.Context(), "crm/nodes"); err != nil && !errors.Is(err, fs.ErrNotExist) || string(b) != "{}" {
			t.Errorf("left behind %s, %v", b, err)
		}
	})
}

// Look-ups never wait for the store.
func TestLookupsDoNotWaitForTheStore(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPortal(crmtest.Options{})
		hangs := hanging{newMemory()}
		n := newSharing(t, p, hangs)
		synctest.Wait()
		for i := range 5 {
			began := time.Now()
			if _, err := n.ask(t, number); err != nil || time.Since(began) > 100*time.Millisecond {
				t.Errorf("%d: %v after %v", i, err, time.Since(began))
			}
		}
	})
}

// hanging is a store that never answers.
type hanging struct{ *memory }

func (hanging) Get(ctx context.Context, _ string) ([]byte, error) {
	<-ctx.Done()
	return nil, fmt.Errorf("reading: %w", ctx.Err())
}

// A backlog of writes goes on within the limit, and callers are still found in
// time.
func TestABacklogLetsCallersPass(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPortal(crmtest.Options{})
		people(p)
		p.AddContact(crmtest.Contact{Responsible: 61, Phones: []string{"+79160000000"}})
		p.SetRate(2, 50)
		w := newWorld(t, p)
		const calls = 200
		jobs := make(chan int)
		var wait sync.WaitGroup
		for range 10 {
			wait.Go(func() {
				for i := range jobs {
					c := incoming(fmt.Sprint(i))
					c.Show = false
					r, err := w.Register(context.Background(), c)
					if err == nil {
						_, err = w.Finish(context.Background(), talked(r.CallID, 61))
					}
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		began := time.Now()
		wait.Go(func() {
			defer close(jobs)
			for i := range calls {
				jobs <- i
			}
		})
		var worst time.Duration
		for range 30 {
			time.Sleep(2 * time.Second)
			asked := time.Now()
			if _, err := w.ask(t, "+79160000000"); err != nil {
				t.Errorf("after %v: %v", asked.Sub(began), err)
			}
			worst = max(worst, time.Since(asked))
		}
		wait.Wait()
		took := time.Since(began)
		refused := strings.Count(w.log.String(), "QUERY_LIMIT")
		t.Logf("%d calls in %v, the slowest of 30 look-ups took %v", calls, took, worst)
		if took > calls*time.Second+2*time.Minute || worst > time.Second || refused > 0 {
			t.Errorf("%d calls took %v, a look-up %v, %d refused", calls, took, worst, refused)
		}
	})
}
