//go:build e2e

package e2e_test

import (
	"encoding/csv"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"frontdesk/call"
)

// calling are SIPp's flags for a caller.
func calling(caller string, more ...string) []string {
	return append([]string{"-key", "caller", caller}, more...)
}

// answered waits until SIPp's call has been.
func (p *party) answered() {
	p.t.Helper()
	waitFor(p.t, "the call to be answered", func() bool { return len(p.received("SIP/2.0 200")) > 0 })
}

// TestReloadWithCallsUp changes rules and numbers under a call: it goes on, and
// the next one is decided anew.
func TestReloadWithCallsUp(t *testing.T) {
	t.Parallel()
	s := start(t, company()...)
	up := sippCall(t, "reload_with_calls_up", s.net+".192", s.sip, calling(callerQuiet, "-d", "4000")...)
	up.answered()
	s.reload(section("rules", `[{name: night, default: "801"}]`),
		section("pbx", `{sip: ["sip:{{.PBX}}"], extensions: [300-309], queues: [801]}`))
	next := sippCall(t, "unknown_caller", s.net+".64", s.sip, calling(callerUnknown)...)
	next.wait()
	if rec := s.recordOf(next.callID); rec.Target != "801" || rec.Rule != "night" {
		t.Errorf("after the reload a call went to %q by rule %q, want 801 by night", rec.Target, rec.Rule)
	}
	if n := s.metrics("frontdesk_calls_active"); n != 1 {
		t.Errorf("%v calls are up after the reload, want the one from before", n)
	}
	up.wait()
	rec := s.recordOf(up.callID)
	if got, want := fateOf(rec), bridged("202", call.ResultAnswered); got != want || rec.Rule != "support" {
		t.Errorf("the call from before the reload: %+v by rule %q, want %+v by support", got, rec.Rule, want)
	}
	if took := rec.Times.Ended.Sub(rec.Times.Started); took < 4*time.Second {
		t.Errorf("the call from before the reload was over after %v", took)
	}
	s.idle()
}

// TestMaxCalls fills a server that takes one call.
func TestMaxCalls(t *testing.T) {
	t.Parallel()
	s := start(t, append(company(), section("sip", `{listen: ["udp://{{.SIP}}"], max_calls: 1}`))...)
	up := sippCall(t, "bridge_answered", s.net+".192", s.sip, calling(callerQuiet, "-d", "3000")...)
	up.answered()
	sippCall(t, "max_calls", s.net+".64", s.sip, calling(callerQuiet)...).wait()
	up.wait()
	s.idle()
	sippCall(t, "redirect", s.net+".65", s.sip, calling(callerQuiet)...).wait()
	s.recorded(2)
}

// TestDraining ends a server with a call up: it is refused nothing, new ones are.
func TestDraining(t *testing.T) {
	t.Parallel()
	s := start(t, company()...)
	up := sippCall(t, "bridge_answered", s.net+".192", s.sip, calling(callerQuiet, "-d", "4000")...)
	up.answered()
	s.terminate()
	waitFor(t, "frontdesk to drain", func() bool { return s.status("/readyz") == 503 })
	if code := s.status("/healthz"); code != 200 {
		t.Errorf("/healthz says %d while draining, want 200", code)
	}
	sippCall(t, "draining", s.net+".64", s.sip, calling(callerQuiet)...).wait()
	sippCall(t, "options_draining", s.net+".65", s.sip, calling(callerQuiet)...).wait()
	s.alive()
	up.wait()
	waitFor(t, "frontdesk to end after its last call", func() bool {
		select {
		case <-s.ended:
			return true
		default:
			return false
		}
	})
}

// TestHangupWithTheAnswer sweeps the CANCEL over the moment of the answer.
func TestHangupWithTheAnswer(t *testing.T) {
	t.Parallel()
	const rounds = 20
	s := start(t, company()...)
	sippCall(t, "hangup_with_the_answer", s.net+".192", s.sip,
		calling(callerClose, "-m", strconv.Itoa(rounds), "-pause_msg_ign", "-default_behaviors", "all,-abortunexp")...).wait()
	results := map[call.Result]int{}
	for _, rec := range s.recorded(rounds) {
		results[rec.Result]++
	}
	if results[call.ResultAnswered]+results[call.ResultAbandoned] != rounds {
		t.Errorf("results %v, want answered and abandoned only", results)
	}
	t.Log(results)
	s.idle()
	for _, c := range s.pbx.Calls() {
		s.must(c.WaitDone(patience(t)))
	}
}

// TestSIPpIPv6 plays scenarios over IPv6.
func TestSIPpIPv6(t *testing.T) {
	t.Parallel()
	for _, sc := range []struct {
		name, file, trunk, transfer, pbx string
		args                             []string
		want                             fate
	}{
		{"redirect_v6", "redirect", "redirecting", "redirect", "", nil, redirected("202", call.OutcomeResponsible, false, "")},
		{"redirect_tcp_v6", "redirect", "redirecting", "redirect", "", []string{"-t", "t1"}, redirected("202", call.OutcomeResponsible, false, "")},
		{"bridge_answered_v6", "bridge_answered", "bridging", "bridge", "pbx_answer", nil, bridged("202", call.ResultAnswered)},
	} {
		t.Run(sc.name, func(t *testing.T) {
			t.Parallel()
			options := []option{v6, section("trunks", `{`+sc.trunk+`: {sources: ["::1"], transfer: [`+sc.transfer+`]}}`)}
			var pbx *party
			if sc.pbx != "" {
				at := freePort(t, "::1")
				pbx = sippServe(t, sc.pbx, at)
				options = append(options, section("pbx", `{sip: ["sip:`+at+`"]}`))
			}
			s := start(t, options...)
			_, port, _ := strings.Cut(freePort(t, "::1"), "]:")
			p := sippCall(t, sc.file, "::1", s.sip, calling(callerQuiet, append([]string{"-p", port}, sc.args...)...)...)
			p.wait()
			if got := fateOf(s.recordOf(p.callID)); got != sc.want {
				t.Errorf("the record says\n%+v, want\n%+v", got, sc.want)
			}
			s.idle()
			if pbx != nil {
				pbx.leave()
			}
		})
	}
}

// TestLoad redirects 30 calls a second for 20 seconds.
func TestLoad(t *testing.T) {
	t.Parallel()
	timely(t, load)
}

func load(t *testing.T) (late []string) {
	const rate, calls = 30, 600
	s := start(t, append(company(), section("log", `{level: warn}`))...)
	p := sippCall(t, "redirect", s.net+".64", s.sip, calling(callerQuiet,
		"-r", strconv.Itoa(rate), "-m", strconv.Itoa(calls), "-l", strconv.Itoa(calls), "-trace_stat", "-fd", "1")...)
	p.wait()
	stat := p.statistics()
	if stat("SuccessfulCall(C)") != calls || stat("FailedCall(C)") != 0 {
		t.Errorf("%d calls went well and %d did not, want %d and none", stat("SuccessfulCall(C)"), stat("FailedCall(C)"), calls)
	}
	want := redirected("202", call.OutcomeResponsible, false, "")
	records := s.recorded(calls)
	var took []time.Duration
	for _, rec := range records {
		if got := fateOf(rec); got != want {
			t.Fatalf("a record says\n%+v, want\n%+v", got, want)
		}
		took = append(took, moment(rec, "redirect").Sub(rec.Started))
	}
	slices.Sort(took)
	t.Logf("%d calls, %d retransmissions, INVITE to 302 %v at the median, %v at worst",
		calls, stat("Retransmissions(C)"), took[len(took)/2], took[len(took)-1])
	if n := stat("Retransmissions(C)"); n > calls/20 {
		late = append(late, fmt.Sprintf("SIPp had to send %d of its requests again: frontdesk is slower than T1, 500 ms", n))
	}
	if n := s.metrics(`frontdesk_transfers_total{method="redirect",result="done"}`); n != -1 && n != calls {
		t.Errorf("frontdesk_transfers_total says %v, want %d", n, calls)
	}
	s.idle()
	return late
}

// TestLosses redirects calls over a line that loses every tenth packet of each
// direction: each is one call, and each is redirected.
func TestLosses(t *testing.T) {
	t.Parallel()
	const calls = 100
	s := start(t, company()...)
	p := sippCall(t, "redirect_with_losses", s.net+".64", s.sip, calling(callerQuiet,
		"-r", "20", "-m", strconv.Itoa(calls), "-l", strconv.Itoa(calls), "-lost", "10", "-trace_stat", "-fd", "1")...)
	p.wait()
	stat := p.statistics()
	if stat("SuccessfulCall(C)") != calls {
		t.Errorf("%d of %d calls were redirected", stat("SuccessfulCall(C)"), calls)
	}
	if stat("Retransmissions(C)") == 0 {
		t.Error("nothing was lost: the test tests nothing")
	}
	t.Logf("%d calls, %d requests sent again", calls, stat("Retransmissions(C)"))
	want := redirected("202", call.OutcomeResponsible, false, "")
	for _, rec := range s.recorded(calls) {
		if got := fateOf(rec); got != want {
			t.Errorf("a record says\n%+v, want\n%+v", got, want)
		}
	}
	s.idle()
}

// statistics reads the last line of SIPp's statistics.
func (p *party) statistics() func(column string) int {
	p.t.Helper()
	files, err := filepath.Glob(filepath.Join(p.dir, "*_.csv"))
	if err == nil && len(files) == 0 {
		files, err = filepath.Glob(filepath.Join("../testdata/sipp", "*_"+strconv.Itoa(p.cmd.Process.Pid)+"_.csv"))
	}
	if err != nil || len(files) != 1 {
		p.t.Fatalf("SIPp's statistics: %v %v", files, err)
	}
	f, err := os.Open(files[0])
	if err != nil {
		p.t.Fatal(err)
	}
	defer f.Close()
	r := csv.NewReader(f)
	r.Comma, r.FieldsPerRecord = ';', -1
	lines, err := r.ReadAll()
	if err != nil || len(lines) < 2 {
		p.t.Fatalf("SIPp's statistics: %d lines, %v", len(lines), err)
	}
	last := lines[len(lines)-1]
	return func(column string) int {
		p.t.Helper()
		i := slices.Index(lines[0], column)
		if i < 0 || i >= len(last) {
			p.t.Fatalf("SIPp's statistics have no column %s", column)
		}
		n, err := strconv.Atoi(last[i])
		if err != nil {
			p.t.Fatal(err)
		}
		return n
	}
}
