//go:build e2e

package e2e_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"frontdesk/call"
	"frontdesk/cmd/frontdesk/config"
	"frontdesk/routing"
	"frontdesk/sip"
	"frontdesk/sip/siptest"
)

// The size of TestExplainAgrees: dialplans, calls by each, how many of all are
// also asked of the command line, and how many calls are up at once. Where the
// dialplans left outcomes unmet, so many rounds over an open one look for them.
const (
	agreePlans  = 5
	agreeCalls  = 100
	agreeCLI    = 20
	agreeAbout  = 8
	agreeRounds = 20
)

// agreeOutcomes are the outcomes that calls of TestExplainAgrees can have.
var agreeOutcomes = []call.Outcome{
	call.OutcomeTemporary, call.OutcomeManager, call.OutcomeResponsible, call.OutcomeAmbiguous, call.OutcomeUnknown,
	call.OutcomeNoExtension, call.OutcomeAnonymous, call.OutcomeLookupOff, call.OutcomeBlocked, call.OutcomeNoRule,
}

// TestExplainAgrees places random calls over random dialplans to people of a
// random portal. The API, the command line and the facts of each call's record
// must tell what the live call did. FRONTDESK_SEED repeats a run.
func TestExplainAgrees(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	if text := os.Getenv("FRONTDESK_SEED"); text != "" {
		var err error
		if seed, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("FRONTDESK_SEED=%d", seed)
	g := &world{Rand: rand.New(rand.NewPCG(seed, 0))}
	s := start(t, portal(g.fill), agreeTrunks(), g.dialplan(true), g.blocked(), g.leads(),
		section("log", `{level: warn, format: json}`), section("staff", `{every: 24h}`)) // what is asked later must still be there
	trunks := map[string]*trunkPhone{}
	for i, name := range agreeNames {
		trunks[name] = newTrunkPhone(s, fmt.Sprintf(".%d", 11+i))
	}
	met := map[call.Outcome]int{}
	for plan := range agreePlans {
		if plan > 0 {
			s.reload(g.dialplan(false), g.blocked(), g.leads())
		}
		s.agree(g, trunks, met)
	}
	for range agreeRounds {
		if len(unmet(met)) == 0 {
			break
		}
		t.Logf("no call had one of the outcomes %v yet", unmet(met))
		s.reload(g.open(), g.blocked(), g.leads())
		s.agree(g, trunks, met)
	}
	s.idle()
	t.Logf("outcomes met: %v", met)
	if missing := unmet(met); len(missing) > 0 {
		t.Errorf("no call had one of the outcomes %v", missing)
	}
}

// unmet are the outcomes that no call had.
func unmet(met map[call.Outcome]int) []call.Outcome {
	return slices.DeleteFunc(slices.Clone(agreeOutcomes), func(o call.Outcome) bool { return met[o] > 0 })
}

// agree places the calls of one dialplan and compares.
func (s *server) agree(g *world, trunks map[string]*trunkPhone, met map[call.Outcome]int) {
	s.t.Helper()
	questions := make([]question, agreeCalls)
	answers := make([]placed, agreeCalls)
	var wg sync.WaitGroup
	up := make(chan struct{}, agreeAbout)
	for i := range questions {
		questions[i] = g.question()
		up <- struct{}{}
		wg.Go(func() {
			q := questions[i]
			answers[i] = trunks[q.trunk].place(q.user, q.to, q.options)
			<-up
		})
	}
	wg.Wait()
	cfg, problems := config.Load(s.config(), os.LookupEnv)
	s.must(problems.Err())
	records := s.byCallID(answers)
	for i, q := range questions {
		rec, a := records[answers[i].callID], answers[i]
		if a.err != nil || rec.ID == "" {
			s.t.Errorf("%+v: %v, record %q", q, a.err, rec.ID)
			continue
		}
		met[rec.Outcome]++
		s.same(q, a, rec, cfg)
		if i%(agreePlans*agreeCalls/agreeCLI) == 0 {
			s.sameByCLI(q, rec)
		}
	}
}

// byCallID waits for the records of calls.
func (s *server) byCallID(calls []placed) map[string]call.Record {
	s.t.Helper()
	found := map[string]call.Record{}
	waitFor(s.t, "the calls' records", func() bool {
		for _, r := range s.calls() {
			found[r.Legs[0].CallID] = r
		}
		for _, c := range calls {
			if c.err == nil && found[c.callID].ID == "" {
				return false
			}
		}
		return true
	})
	return found
}

// verdict is what all must agree about.
type verdict struct {
	Target  call.Extension
	Outcome call.Outcome
	Rule    string
}

// same compares the live call, its record, the API, and a decision by the
// record's facts, which must be the same to the letter.
func (s *server) same(q question, a placed, rec call.Record, cfg *config.Config) {
	s.t.Helper()
	live := verdict{rec.Target, rec.Outcome, rec.Rule}
	if a.target != rec.Target || a.code != map[bool]int{true: 302}[rec.Target != ""] && rec.Target != "" {
		s.t.Errorf("%+v: the caller was answered %v, the record says %+v", q, a, live)
	}
	var api decision
	s.post("/api/v1/explain", map[string]any{"trunk": q.trunk, "from": q.number, "to": q.to, "at": rec.Started}, &api)
	if got := (verdict{api.Target, api.Outcome, api.Rule}); got != live {
		s.t.Errorf("%+v: explain says %+v, the call went %+v\n%s", q, got, live, traceOf(rec))
	}
	var facts routing.Facts
	s.must(rec.Facts.Decode(&facts))
	again := cfg.Plan.Decide(facts)
	if diff := cmp.Diff(traceOf(rec), textOf(again.Trace)); diff != "" {
		s.t.Errorf("%+v: the record's facts lead elsewhere (-live +again):\n%s", q, diff)
	}
}

// sameByCLI asks the command line, once as for a call to come and once by the
// record's facts.
func (s *server) sameByCLI(q question, rec call.Record) {
	s.t.Helper()
	live := verdict{rec.Target, rec.Outcome, rec.Rule}
	facts, err := json.Marshal(rec.Facts)
	s.must(err)
	file := filepath.Join(s.dir, "facts.json")
	s.must(os.WriteFile(file, facts, 0o600))
	program, err := released() // it starts often
	s.must(err)
	for _, args := range [][]string{
		{"--from", q.number, "--to", q.to, "--trunk", q.trunk, "--at", rec.Started.Format(time.RFC3339Nano)},
		{"--facts", file},
	} {
		cmd := exec.Command(program, append([]string{"explain", "--json", "--config", s.config()}, args...)...)
		var complaints strings.Builder
		cmd.Stderr = &complaints
		out, err := cmd.Output()
		if noRule := rec.Outcome == call.OutcomeNoRule; noRule != (cmd.ProcessState.ExitCode() == 1) || !noRule && err != nil {
			s.t.Errorf("explain %q: %v\n%s%s", args, cmd.ProcessState, out, tail(complaints.String()))
			continue
		}
		var d struct {
			decision
			Trace []routing.Step
		}
		s.must(json.Unmarshal(out, &d))
		if got := (verdict{d.Target, d.Outcome, d.Rule}); got != live {
			s.t.Errorf("explain %q says %+v, the call went %+v\n%s", args, got, live, traceOf(rec))
		}
		if diff := cmp.Diff(traceOf(rec), textOf(d.Trace)); args[0] == "--facts" && diff != "" {
			s.t.Errorf("explain %q (-live +explain):\n%s", args, diff)
		}
	}
}

func traceOf(rec call.Record) string {
	var steps []routing.Step
	if err := rec.Trace.Decode(&steps); err != nil {
		return err.Error()
	}
	return textOf(steps)
}

func textOf(steps []routing.Step) string {
	var b strings.Builder
	for _, s := range steps {
		fmt.Fprintf(&b, "%s: %s (%s)\n", s.Step, s.Result, s.Why)
	}
	return b.String()
}

// question is one call: as the trunk sends it, and as it is asked about.
type question struct {
	trunk, user, number, to string
	hidden                  bool
	asserted                string
}

func (q question) options(o *siptest.Options) {
	if q.hidden {
		o.Privacy = "id"
	}
	if q.asserted != "" {
		o.Asserted = &sip.Address{User: q.asserted, Host: "carrier.example"}
	}
}
