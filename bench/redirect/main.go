// Redirect measures what a redirected call costs: INVITE, decision, 302, ACK.
//
//	go run ./bench/redirect -rates 1000,4000,8000 -seconds 5 -repeats 3 -search
//
// It starts the frontdesk program and, where kamailio is installed, Kamailio
// twice, stateful (t_newtran, t_reply) and stateless (sl_send_reply), each on
// one CPU (-cpu) with a receive buffer of 4 MB, and drives them one after the
// other, round by round, so that all meet the same moods of the machine. The
// load comes from this process, without SIPp, whose bursts would be measured
// too; it repeats an INVITE after 0.5, 1.5 and 3.5 seconds (RFC 3261, timer A)
// and calls it failed after that.
//
// Frontdesk decides each call by its rules and a number's normal form, and
// keeps its record, trace and log line; Kamailio sends the same 302 to all.
//
// us/call is user and system time of the program's processes. lat is INVITE to
// 302. The search raises the rate by a fifth, until a second run fails too,
// and tells the highest one without a failed or repeated call: "clean".
// Unless -search is given it takes programs * rates * repeats * (seconds + 2)
// seconds, with it about two minutes more.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"frontdesk/bench/rig"
)

type options struct {
	binary  string
	rates   string
	seconds int
	repeats int
	cpu     int
	search  bool
}

func main() {
	var o options
	flag.StringVar(&o.binary, "frontdesk", "", "the program; built where none is given")
	flag.StringVar(&o.rates, "rates", "1000,4000,8000", "calls a second")
	flag.IntVar(&o.seconds, "seconds", 5, "length of a run")
	flag.IntVar(&o.repeats, "repeats", 3, "runs of each program at each rate")
	flag.IntVar(&o.cpu, "cpu", 0, "the CPU of the server; -1 for all")
	flag.BoolVar(&o.search, "search", false, "look for the highest clean rate")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "redirect:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) (err error) {
	dir, err := os.MkdirTemp("", "frontdesk-bench-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	programs, err := programs(ctx, o, dir)
	if err != nil {
		return err
	}
	rates, err := numbers(o.rates)
	if err != nil {
		return err
	}
	all := map[string]map[int][]figures{}
	for _, rate := range rates {
		for range o.repeats {
			for _, p := range programs {
				f, err := measure(ctx, p, rate, time.Duration(o.seconds)*time.Second)
				if err != nil {
					return fmt.Errorf("%s: %w", p.name, err)
				}
				if all[p.name] == nil {
					all[p.name] = map[int][]figures{}
				}
				all[p.name][rate] = append(all[p.name][rate], f)
			}
		}
	}
	if err := report(programs, rates, all).Write(os.Stdout); err != nil || !o.search {
		return err
	}
	return search(ctx, programs)
}

func numbers(list string) (out []int, err error) {
	for s := range strings.SplitSeq(list, ",") {
		n, err := strconv.Atoi(s)
		if err != nil || n <= 0 {
			return nil, fmt.Errorf("-rates: %q is no rate", s)
		}
		out = append(out, n)
	}
	return out, nil
}

// report puts the medians of the runs side by side.
func report(programs []program, rates []int, all map[string]map[int][]figures) *rig.Report {
	r := rig.NewReport("redirect", "program", "calls/s", "us/call (min-max)", "of stateful", "of stateless", "RSS MB", "repeated", "failed", "lat p50/p99/p99.9/max ms")
	for _, rate := range rates {
		cost := map[string]float64{}
		for _, p := range programs {
			cost[p.name] = sum(all[p.name][rate]).cost
		}
		for _, p := range programs {
			f := sum(all[p.name][rate])
			r.Add(p.name, rate, fmt.Sprintf("%.0f (%.0f-%.0f)", f.cost, f.least, f.most), ratio(f.cost, cost[stateful]), ratio(f.cost, cost[stateless]),
				f.rss>>20, f.repeated, f.failed, rig.QuantilesOf(f.latency))
		}
	}
	return r
}

func ratio(a, b float64) string {
	if b == 0 {
		return "-"
	}
	return fmt.Sprintf("%.2f", a/b)
}

// summary is several runs of one program at one rate.
type summary struct {
	cost, least, most float64 // us a call
	figures
}

func sum(runs []figures) summary {
	var s summary
	var costs []float64
	for _, f := range runs {
		costs = append(costs, float64(f.cpu.Nanoseconds())/1000/float64(f.calls))
		s.calls += f.calls
		s.repeated += f.repeated
		s.failed += f.failed
		s.rss = max(s.rss, f.rss)
		s.latency = append(s.latency, f.latency...)
	}
	s.cost = rig.Median(costs)
	s.least, s.most = costs[0], costs[len(costs)-1]
	return s
}

// search looks for each program's highest clean rate.
func search(ctx context.Context, programs []program) error {
	const length = 4 * time.Second
	r := rig.NewReport("redirect", "program", "clean calls/s", "us/call", "fails at", "failed", "repeated")
	for _, p := range programs {
		var best, worst figures
		var at, failsAt int
		for rate := 4000; rate < 40000; rate += rate / 5 {
			f, err := clean(ctx, p, rate, length)
			if err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
			if f.failed+f.repeated > 0 {
				worst, failsAt = f, rate
				break
			}
			best, at = f, rate
		}
		r.Add(p.name, at, fmt.Sprintf("%.0f", float64(best.cpu.Microseconds())/float64(max(best.calls, 1))), failsAt, worst.failed, worst.repeated)
	}
	return r.Write(os.Stdout)
}

// clean runs once more what was not clean: others use the machine too.
func clean(ctx context.Context, p program, rate int, length time.Duration) (f figures, err error) {
	for range 2 {
		if f, err = measure(ctx, p, rate, length); err != nil || f.failed+f.repeated == 0 {
			break
		}
	}
	return f, err
}

// The peers.
const (
	stateful  = "kamailio stateful"
	stateless = "kamailio stateless"
)

// program is something that redirects calls.
type program struct {
	name  string
	start func(ctx context.Context, addr string) (*rig.Process, error)
}

func programs(ctx context.Context, o options, dir string) ([]program, error) {
	binary, err := rig.Build(ctx, o.binary, dir)
	if err != nil {
		return nil, err
	}
	out := []program{{"frontdesk", func(ctx context.Context, addr string) (*rig.Process, error) {
		http, err := rig.FreePort()
		if err != nil {
			return nil, err
		}
		return rig.Frontdesk(ctx, o.cpu, binary, dir, fmt.Sprintf(config, addr, http), http.String())
	}}}
	kamailio, err := exec.LookPath("kamailio")
	if err != nil {
		fmt.Fprintln(os.Stderr, "redirect: kamailio is not installed: frontdesk is measured alone")
		return out, nil
	}
	const contact = `append_to_reply("Contact: <sip:801@127.0.0.1:5070>\r\n"); `
	for _, k := range []struct{ name, answer string }{
		{stateful, "t_newtran(); " + contact + `t_reply("302", "Moved Temporarily");`},
		{stateless, contact + `sl_send_reply("302", "Moved Temporarily");`},
	} {
		out = append(out, program{k.name, func(_ context.Context, addr string) (*rig.Process, error) {
			path := filepath.Join(dir, "kamailio.cfg")
			if err := os.WriteFile(path, fmt.Appendf(nil, kamailioConfig, addr, k.answer), 0o600); err != nil {
				return nil, err
			}
			return rig.Start(o.cpu, kamailio, "-f", path, "-DD", "-E", "-b", "4194304", "-m", "1024", "-Y", dir)
		}})
	}
	return out, nil
}

const config = `
sip: {listen: ["udp://%s"]}
http: {listen: "%s"}
trunks:
  carrier: {sources: [127.0.0.1], transfer: [redirect]}
pbx: {sip: ["sip:127.0.0.1:9"], extensions: [100-299], queues: [800-899]}
crm: {bitrix24: {webhook: ""}}
rules:
  - {name: sales, did: "+74957654321", default: "800"}
  - {name: office, did: "+7495123*", hours: "Mon-Sun 00:00-24:00", default: "801"}
`

const kamailioConfig = `#!KAMAILIO
debug=0
log_stderror=yes
children=2
auto_aliases=no
listen=udp:%s
disable_tcp=yes
loadmodule "tm.so"
loadmodule "sl.so"
loadmodule "pv.so"
loadmodule "textops.so"
loadmodule "maxfwd.so"
request_route {
  if (is_method("ACK")) { t_check_trans(); exit; }
  if (is_method("INVITE")) {
    %s
    exit;
  }
  sl_send_reply("200", "OK");
}
`
