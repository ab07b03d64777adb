package crm_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"frontdesk/call"
	"frontdesk/crm"
	"frontdesk/crm/crmtest"
)

// feeder is one of several mirrors of one portal on one store.
type feeder struct {
	*world
	*crm.Mirror
	name string
}

// kill takes the store away from everybody; revive gives it back.
func (m *memory) kill() { m.failing(func(string) error { return errors.New("gone") }) }

func (m *memory) revive() { m.failing(nil) }

func (m *memory) failing(f func(op string) error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fail = f
}

// newFeeder makes a node; its requests carry its name.
func newFeeder(t testing.TB, p *crmtest.Portal, s *memory, name string) *feeder {
	t.Helper()
	w := newWorld(t, p, func(c *crm.Config) { c.UserAgent = name })
	return &feeder{w, newMirror(t, w, s, func(c *crm.MirrorConfig) { c.Shared, c.Night = true, 1 }), name}
}

// reads counts the pages and ids that a node has read of the portal's lists.
func (n *feeder) reads() (count int) {
	for _, r := range n.portal.Requests() {
		if r.UserAgent == n.name && slices.ContainsFunc(r.Commands, func(c string) bool { return strings.Contains(c, ".list") }) {
			count++
		}
	}
	return count
}

// later lets virtual time pass.
func later(d time.Duration) {
	time.Sleep(d) // in a bubble
	synctest.Wait()
}

// TestOneNodeFeeds has two nodes share a store: one reads the portal, the other
// knows what it read, and goes on where the first one stopped.
func TestOneNodeFeeds(t *testing.T) {
	if testing.Short() {
		t.Skip("two nodes that look into the store for hours")
	}
	bubble(t, func(t *testing.T) {
		p, s := newPortal(crmtest.Options{}), newMemory()
		populate(p, 1200)
		a, b := newFeeder(t, p, s, "a"), newFeeder(t, p, s, "b")
		stopA := runMirror(t, a.Mirror)
		later(time.Second)
		runMirror(t, b.Mirror)
		later(time.Minute)
		for _, n := range []*feeder{a, b} {
			wantWho(t, n.Mirror, mobile(7), contact(7))
			wantWho(t, n.Mirror, mobile(1199), contact(1199))
		}
		if b.reads() != 0 {
			t.Errorf("the second node has read the portal %d times", b.reads())
		}

		p.SetPhones(call.KindContact, 10, mobile(5000)) // found by a's delta
		p.Remove(call.KindContact, 13)                  // found by a at night
		later(10 * time.Minute)
		wantWho(t, b.Mirror, mobile(5000), contact(0))
		wantWho(t, b.Mirror, mobile(0))
		later(time.Hour)
		wantWho(t, b.Mirror, mobile(1))
		if b.reads() != 0 {
			t.Errorf("the second node has read the portal %d times", b.reads())
		}

		stopA()
		before := a.reads()
		p.SetPhones(call.KindContact, 16, mobile(5001))
		later(10 * time.Minute)
		wantWho(t, b.Mirror, mobile(5001), contact(2))
		if a.reads() != before || b.reads() == 0 {
			t.Errorf("the node that stopped has read %d times since, the other %d", a.reads()-before, b.reads())
		}
	})
}

// TestFeedingNodeDies has a node die in the middle of an export: the other one
// goes on from there when the lease has not been renewed for its time.
func TestFeedingNodeDies(t *testing.T) {
	if testing.Short() {
		t.Skip("two nodes that look into the store for hours")
	}
	bubble(t, func(t *testing.T) {
		p, s := newPortal(crmtest.Options{}), newMemory()
		populate(p, 2000)
		a, b := newFeeder(t, p, s, "a"), newFeeder(t, p, s, "b")
		saves := 0
		s.failing(func(op string) error {
			if op == "save" {
				saves++
			}
			if saves > 2 { // a is dead to the store from the third page on
				return errTest
			}
			return nil
		})
		stopA := runMirror(t, a.Mirror)
		later(time.Minute)
		stopA()
		s.revive()
		if n := s.stored(); n == 0 || n == 2000 {
			t.Fatalf("%d cards were stored, want some", n)
		}
		runMirror(t, b.Mirror)
		later(10 * time.Second)
		if b.reads() != 0 {
			t.Error("the second node does not wait for the first one's lease to end")
		}
		later(30 * time.Second)
		wantWho(t, b.Mirror, mobile(1999), contact(1999))
		if s.saved() != 2000 {
			t.Errorf("%d cards were written, want each once", s.saved())
		}
	})
}

// TestStoreGoneForNodes takes the store away from two nodes: the one that feeds
// goes on feeding afterwards.
func TestStoreGoneForNodes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, s := newPortal(crmtest.Options{}), newMemory()
		populate(p, 100)
		a, b := newFeeder(t, p, s, "a"), newFeeder(t, p, s, "b")
		runMirror(t, a.Mirror)
		later(time.Second)
		runMirror(t, b.Mirror)
		later(time.Minute)
		s.kill()
		later(10 * time.Minute)
		wantWho(t, b.Mirror, mobile(7), contact(7))
		s.revive()
		p.SetPhones(call.KindContact, 10, mobile(5000))
		later(10 * time.Minute)
		wantWho(t, a.Mirror, mobile(5000), contact(0))
		wantWho(t, b.Mirror, mobile(5000), contact(0))
		if b.reads() != 0 {
			t.Errorf("the second node has read the portal %d times", b.reads())
		}
	})
}

// TestAlone has a third one read everything anew beside two nodes, as a command
// does, though the portal shows no leads any more.
func TestAlone(t *testing.T) {
	if testing.Short() {
		t.Skip("two nodes that look into the store for hours")
	}
	bubble(t, func(t *testing.T) {
		p, s := newPortal(crmtest.Options{}), newMemory()
		populate(p, 100)
		leads := make([]int, 50)
		for i := range leads {
			leads[i] = p.AddLead(crmtest.Lead{Responsible: 61, Phones: []string{mobile(6000 + i)}})
		}
		a, b := newFeeder(t, p, s, "a"), newFeeder(t, p, s, "b")
		runMirror(t, a.Mirror)
		runMirror(t, b.Mirror)
		later(time.Minute)
		for _, id := range leads {
			p.Remove(call.KindLead, id)
		}
		later(2 * time.Hour)
		wantWho(t, a.Mirror, mobile(6001), fmt.Sprint("lead ", leads[1])) // not believed

		command := newFeeder(t, p, s, "command")
		if err := command.Alone(t.Context(), command.Export); err == nil {
			t.Error("an export believes that all leads are gone")
		}
		must(t, command.Alone(t.Context(), command.Replace))
		later(time.Minute)
		for _, n := range []*feeder{a, b} {
			wantWho(t, n.Mirror, mobile(6001))
			wantWho(t, n.Mirror, mobile(7), contact(7))
		}
		p.SetPhones(call.KindContact, 10, mobile(5000)) // the nodes go on
		later(10 * time.Minute)
		wantWho(t, a.Mirror, mobile(5000), contact(0))
		wantWho(t, b.Mirror, mobile(5000), contact(0))
	})
}

// TestWishOfAnotherNode asks the node that does not feed for an export.
func TestWishOfAnotherNode(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, s := newPortal(crmtest.Options{}), newMemory()
		populate(p, 100)
		a, b := newFeeder(t, p, s, "a"), newFeeder(t, p, s, "b")
		runMirror(t, a.Mirror)
		later(time.Second)
		runMirror(t, b.Mirror)
		later(time.Minute)
		p.Remove(call.KindContact, 13)
		b.Again()
		later(time.Minute)
		wantWho(t, a.Mirror, mobile(1))
		wantWho(t, b.Mirror, mobile(1))
		if b.reads() != 0 {
			t.Errorf("the second node has read the portal %d times", b.reads())
		}
	})
}

// TestMirrorStopsWhileWaiting ends a node that waits for the lease.
func TestMirrorStopsWhileWaiting(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, s := newPortal(crmtest.Options{}), newMemory()
		a, b := newFeeder(t, p, s, "a"), newFeeder(t, p, s, "b")
		runMirror(t, a.Mirror)
		later(time.Second)
		stop := runMirror(t, b.Mirror)
		later(time.Minute)
		began := time.Now()
		stop()
		if took := time.Since(began); took > time.Second {
			t.Errorf("it took %v to end", took)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := b.Alone(ctx, b.Export); err == nil {
			t.Error("an export that was given up says that it is done")
		}
	})
}
