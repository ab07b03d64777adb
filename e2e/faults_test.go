//go:build e2e

package e2e_test

import (
	"bufio"
	"bytes"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"frontdesk/call"
	"frontdesk/crm/crmtest"
)

// The table of faults: a deadline short enough for all of them, what a caller
// may wait beyond it, and the load.
const (
	faultDeadline = 500 * time.Millisecond
	faultGrace    = 50 * time.Millisecond
	faultCalls    = 60
	faultEvery    = time.Second / 30
	healing       = 5 * time.Second

	fallback = call.Extension("800") // the rule's default
)

// harmless are the faults that do not keep a look-up from its answer.
var harmless = map[crmtest.Kind]bool{crmtest.Moved: true}

// TestFaults sees every fault of the portal, with one call and then with thirty
// a second: each caller reaches the rule's default within the deadline, and once
// the portal is well its answers count again. It looks at the clock, so it runs
// before the tests that run at once.
func TestFaults(t *testing.T) {
	const lanes = 3 // at once: more would measure the machine
	kinds := crmtest.Kinds()
	for lane := range lanes {
		t.Run(strconv.Itoa(lane), func(t *testing.T) {
			t.Parallel()
			for i := lane; i < len(kinds); i += lanes {
				t.Run(string(kinds[i]), func(t *testing.T) {
					timely(t, func(t *testing.T) []string { return fault(t, kinds[i]) })
				})
			}
		})
	}
}

// starved is how late goroutines are woken on a machine on which no time can be
// measured: what was late there is tried again.
const (
	starved = 20 * time.Millisecond
	tries   = 3
)

// timely runs a test that tells what came too late.
func timely(t *testing.T, test func(t *testing.T) (late []string)) {
	for try := 1; ; try++ {
		var late []string
		var lag time.Duration
		ok := t.Run(strconv.Itoa(try), func(t *testing.T) {
			meter := newLagMeter()
			late = test(t)
			lag = meter.stop()
		})
		if !ok || len(late) == 0 {
			return
		}
		if lag < starved || try == tries {
			t.Errorf("goroutines were woken up to %v late, and\n%s", lag, strings.Join(late, "\n"))
			return
		}
		t.Logf("tried again: goroutines were woken up to %v late, and %d times were too long", lag, len(late))
	}
}

// fault lets one fault befall a server, and tells what came too late.
func fault(t *testing.T, kind crmtest.Kind) (late []string) {
	s := start(t, release(t),
		portal(func(p *crmtest.Portal) {
			anna := p.AddUser(crmtest.User{FirstName: "Anna", LastName: "Orlova", Extension: "201"})
			for i := range faultCalls {
				p.AddContact(crmtest.Contact{Name: "Caller", Responsible: anna, Phones: []string{callerNumber(i)}})
			}
		}),
		func(s *setup) { s.https = true },
		section("crm", fmt.Sprintf(`{deadline: %v, mirror: {enabled: false}, bitrix24: {webhook: "{{.Webhook}}", rate: {per_second: 1000, burst: 40}}}`, faultDeadline)),
		section("rules", `[{name: all, default: "800", greeting: false}]`),
	)
	trunk := newTrunkPhone(s, ".11")
	if got := trunk.place(callerKnown, did); got.target != "201" {
		t.Fatalf("a healthy portal's caller was answered %v, want to be sent to 201", got)
	}
	waitFor(t, "the services of the store to start, which they do one by one", func() bool {
		log := s.log.String()
		return strings.Contains(log, "JobScheduler: Run loop started") && strings.Contains(log, "JobRescuer: Run loop started")
	})
	before := s.metrics("frontdesk_goroutines")

	f := crmtest.Fault{Kind: kind}
	if kind == crmtest.Slow {
		f.Latency = 3 * faultDeadline
	}
	s.portal.SetFault(f)
	first, want := fallback, fallback
	if harmless[kind] {
		first, want = "201", "201"
	}
	if kind == crmtest.DeadAfterFirst {
		first = "201"
	}
	one := trunk.place(callerKnown, did)
	late = one.check(t, "the first call", first)
	most, more := s.load(trunk, want, before)
	late = append(late, more...)
	s.portal.Heal()
	late = append(late, s.heals(trunk)...)
	late = append(late, s.inTime()...)
	waitFor(t, "the goroutines of the look-ups to end", func() bool { return s.metrics("frontdesk_goroutines") <= before+40 })
	s.quiet()
	t.Logf("%s: first call %v, slowest of %d %v", kind, one.took, faultCalls, most)
	return late
}

// load places the calls of the table and gives the longest that a caller waited.
func (s *server) load(trunk *trunkPhone, want call.Extension, before float64) (most time.Duration, late []string) {
	s.t.Helper()
	var wg sync.WaitGroup
	answers := make([]placed, faultCalls)
	tick := time.NewTicker(faultEvery)
	defer tick.Stop()
	for i := range answers {
		<-tick.C
		wg.Go(func() { answers[i] = trunk.place(callerNumber(i), did) })
	}
	if n := s.metrics("frontdesk_goroutines"); n > before+400 {
		s.t.Errorf("%v goroutines under load, %v before", n, before)
	}
	wg.Wait()
	for i, a := range answers {
		late = append(late, a.check(s.t, "call "+strconv.Itoa(i), want)...)
		most = max(most, a.took)
	}
	return most, late
}

// heals waits for the answers of a healthy portal to count again.
func (s *server) heals(trunk *trunkPhone) (late []string) {
	s.t.Helper()
	began := time.Now()
	waitLong(s.t, "calls to be routed by the CRM again", patient, func() bool { return trunk.place(callerKnown, did).target == "201" })
	if took := time.Since(began); took > healing {
		late = append(late, fmt.Sprintf("calls went by the CRM again after %v, want %v at most", took, healing))
	}
	return late
}

// inTime checks the metrics of the decisions.
func (s *server) inTime() (late []string) {
	s.t.Helper()
	all := s.metrics("frontdesk_decision_seconds_count")
	in := s.bucket("frontdesk_decision_seconds", (faultDeadline + faultGrace).Seconds())
	if all < faultCalls {
		s.t.Errorf("%v decisions were measured, want %d and more", all, faultCalls)
	}
	if in != all {
		late = append(late, fmt.Sprintf("%v of %v decisions were made in time", in, all))
	}
	if n := s.metrics("frontdesk_decisions_late_total"); n != 0 {
		late = append(late, fmt.Sprintf("frontdesk_decisions_late_total is %v, want 0", n))
	}
	return late
}

// bucket is how many observations of a histogram, of all its series, lie at or
// below an edge.
func (s *server) bucket(name string, edge float64) (sum float64) {
	s.t.Helper()
	_, body, _ := s.get("/metrics")
	le := fmt.Sprintf("le=%q", strconv.FormatFloat(edge, 'g', -1, 64))
	for lines := bufio.NewScanner(bytes.NewReader(body)); lines.Scan(); {
		line := lines.Text()
		if !strings.HasPrefix(line, name+"_bucket{") || !strings.Contains(line, le) {
			continue
		}
		v, err := strconv.ParseFloat(line[strings.LastIndexByte(line, ' ')+1:], 64)
		s.must(err)
		sum += v
	}
	return sum
}

// callerNumber is one of many numbers.
func callerNumber(i int) string { return fmt.Sprintf("+7916%07d", 5000000+i) }
