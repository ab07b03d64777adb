package crm_test

import (
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"frontdesk/crm"
	"frontdesk/crm/crmtest"
)

// careful writes one call into the portal as the verdicts on errors say: what is
// ambiguous is looked for before it is repeated.
type careful struct {
	w      *world
	id     string
	callID string
	unsure bool // the end may have been taken
}

func (c *careful) step(t *testing.T) error {
	if c.unsure {
		found, err := c.w.CallsByExternalID(t.Context(), c.id)
		if err != nil {
			return err
		}
		if c.unsure = false; len(found[c.id]) > 0 {
			c.callID = found[c.id][0].CallID
			return nil
		}
	}
	if c.callID == "" {
		r, err := c.w.Register(t.Context(), incoming(c.id))
		if err != nil {
			return err
		}
		c.callID = r.CallID
	}
	_, err := c.w.Finish(t.Context(), talked(c.callID, 61))
	switch {
	case crm.CallNotFound(err):
		c.callID, c.unsure = "", true
	case crm.Ambiguous(err):
		c.unsure = true
	}
	return err
}

// trouble hits a share of the requests with whatever can befall them, some of
// them after they were executed.
func trouble(seed uint64) func(crmtest.Request) crmtest.Fault {
	r := rand.New(rand.NewPCG(seed, 1))
	kinds := []crmtest.Kind{
		crmtest.Silence, crmtest.Reset, crmtest.HTML, crmtest.QueryLimit, crmtest.Overload, crmtest.ServerError, crmtest.Truncated,
		crmtest.Junk, crmtest.WrongShape, crmtest.ErrorInside, crmtest.Huge, crmtest.Slow,
	}
	var mu sync.Mutex
	return func(crmtest.Request) crmtest.Fault {
		mu.Lock()
		defer mu.Unlock()
		if r.IntN(10) >= 5 {
			return crmtest.Fault{}
		}
		f := crmtest.Fault{Kind: kinds[r.IntN(len(kinds))], Executed: r.IntN(2) == 0, Latency: time.Duration(r.IntN(80)) * time.Second, Size: 3 << 20}
		if isLimit(f.Kind) {
			f.Executed = false // they say so
		}
		return f
	}
}

// In whatever trouble the portal is, a call that is written with care is there
// once, with its recording, whether or not the portal gives a call that is over
// its old id again.
func TestCallsAreWrittenOnce(t *testing.T) {
	for seed := range uint64(100) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			bubble(t, func(t *testing.T) { writtenOnce(t, seed) })
		})
	}
}

func writtenOnce(t *testing.T, seed uint64) {
	w := newDesk(t)
	w.portal.SetForgetful(seed%2 == 0)
	w.portal.Script(trouble(seed))
	c := &careful{w: w, id: "leg"}
	again := func(what string, do func() error) {
		for try := 0; ; try++ {
			err := do()
			if err == nil {
				return
			}
			if crm.Refused(err) && !crm.CallNotFound(err) || try == 300 {
				t.Fatalf("%s, try %d: %v", what, try, err)
			}
			time.Sleep(max(crm.RetryAfter(err), 30*time.Second))
		}
	}
	again("the call", func() error { return c.step(t) })
	again("its recording", func() error {
		_, err := w.AttachRecord(t.Context(), c.callID, recording("a.mp3", mp3(100)))
		return err
	})
	finished := 0
	for _, call := range w.portal.Calls() {
		if call.Finished {
			finished++
			if call.FinishedBy != 61 || call.Duration != 95 || call.AudioSize != 100 {
				t.Errorf("call %+v", call)
			}
		}
	}
	if n := len(w.portal.Activities()); finished != 1 || n != 1 || len(w.portal.Files()) != 1 || len(w.portal.Leads()) != 1 {
		t.Errorf("%d calls, %d activities, %d files, %d leads", finished, n, len(w.portal.Files()), len(w.portal.Leads()))
	}
}
