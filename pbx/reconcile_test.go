package pbx_test

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"frontdesk/call"
	"frontdesk/pbx"
)

// row is one segment of a call log.
func row(main string, n int, at time.Time, ring, talk time.Duration, from, to pbx.SegmentParty, direction string, recordings ...int) pbx.Segment {
	return pbx.Segment{
		ID: pbx.SegmentID{Main: main, CDR: main, Segment: n}, Started: at, Source: from, Destination: to,
		Ringing: ring, Talking: talk, Answered: talk > 0, Recordings: recordings,
		Verdict: pbx.SegmentVerdict{Direction: direction},
	}
}

func inside(dn call.Extension) pbx.SegmentParty { return pbx.SegmentParty{Type: "0", DN: dn} }

func outsideParty(number string) pbx.SegmentParty {
	return pbx.SegmentParty{Type: "1", DN: "10000", Number: number}
}

func TestCallsOfTheLog(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	client, queue := outsideParty("89161234567"), pbx.SegmentParty{Type: "4", DN: "800"}
	in, out, within := "Inbound", "Outbound", "Internal"
	abandoned := row("m", 2, at, 9*time.Second, 0, client, queue, in)
	abandoned.Verdict.Reason = "terminated_by_originator"
	gaveUp := row("m", 1, at, 0, 9*time.Second, client, queue, in)
	gaveUp.Answered, gaveUp.Verdict.Reason = true, "src_participant_terminated"
	polled := row("m", 2, at.Add(3*time.Millisecond), 9*time.Second, 0, client, inside("101"), in)
	polled.Verdict.Reason = "polling"
	for name, c := range map[string]struct {
		rows []pbx.Segment
		want string
	}{
		"abandoned while agents ring": {[]pbx.Segment{polled, gaveUp}, "in +79161234567 to 800 abandoned in queue rang 101"},
		"queue, agent, transfer": {[]pbx.Segment{
			row("m", 4, at.Add(time.Minute), time.Second, 202*time.Second, client, inside("205"), in, 18),
			row("m", 1, at, 3*time.Second, 5*time.Second, client, queue, in),
			row("m", 2, at, 5*time.Second, 0, queue, inside("101"), in),
			row("m", 3, at.Add(5*time.Second), 2*time.Second, 52*time.Second, client, inside("201"), in, 17),
		}, "in +79161234567 to 800 answered 201:52:pbx:17 205:202:pbx:18 rang 101"},
		"consultation is no talk": {[]pbx.Segment{
			row("m", 1, at, 0, time.Minute, client, inside("201"), in),
			row("m", 2, at.Add(9*time.Second), 0, 5*time.Second, inside("201"), inside("205"), within),
		}, "in +79161234567 to 201 answered 201:60:"},
		"abandoned in the queue": {[]pbx.Segment{row("m", 1, at, 9*time.Second, 0, queue, inside("101"), in), abandoned}, "in  to 101 abandoned in queue rang 101"},
		"missed in a menu":       {[]pbx.Segment{row("m", 1, at, 0, 9*time.Second, client, pbx.SegmentParty{Type: "12", DN: "700"}, in)}, "in +79161234567 to 700 missed in ivr"},
		"voicemail":              {[]pbx.Segment{row("m", 1, at, 9*time.Second, 0, client, inside("201"), in), row("m", 2, at.Add(9*time.Second), 0, 9*time.Second, client, pbx.SegmentParty{Type: "VoiceMail", DN: "201"}, in)}, "in +79161234567 to 201 missed in voicemail rang 201"},
		"voicemail by a number":  {[]pbx.Segment{row("m", 1, at, 9*time.Second, 0, client, inside("201"), in), row("m", 2, at.Add(9*time.Second), 0, 9*time.Second, client, pbx.SegmentParty{Type: "5", DN: "201"}, in)}, "in +79161234567 to 201 missed in voicemail rang 201"},
		"outgoing, no way out":   {[]pbx.Segment{row("m", 1, at, 0, 0, inside("101"), pbx.SegmentParty{Type: "12", DN: "84951112233", Number: "84951112233"}, out)}, "out 101 to +74951112233 by  missed"},
		"types as words":         {[]pbx.Segment{row("m", 1, at, 0, 9*time.Second, pbx.SegmentParty{Type: "External Line", Number: "+79161234567"}, pbx.SegmentParty{Type: "Extension", DN: "201"}, in)}, "in +79161234567 to 201 answered 201:9:"},
		"outgoing":               {[]pbx.Segment{row("m", 1, at, 4*time.Second, 65*time.Second, inside("101"), outsideParty("74951112233"), out, 19)}, "out 101 to +74951112233 by carrier answered 101:65:pbx:19"},
		"outgoing, no answer":    {[]pbx.Segment{row("m", 1, at, 4*time.Second, 0, inside("101"), outsideParty("74951112233"), out)}, "out 101 to +74951112233 by carrier missed"},
		"in the house":           {[]pbx.Segment{row("m", 1, at, 0, 9*time.Second, inside("101"), inside("102"), within)}, "internal 101 to 102 answered 102:9:"},
	} {
		calls := reader().Calls(c.rows)
		if len(calls) != 1 {
			t.Errorf("%s: %d calls", name, len(calls))
			continue
		}
		if got := logged(calls[0]); got != c.want {
			t.Errorf("%s:\n got %s\nwant %s", name, got, c.want)
		}
	}
}

// logged is what the test compares of a call.
func logged(c pbx.Call) string {
	to := string(c.First)
	if c.Direction == pbx.Out {
		to = string(c.Callee) + " by " + c.Trunk
	}
	s := string(c.Direction) + " " + string(c.Caller) + " to " + to + " " + string(c.Result)
	if c.MissedIn != "" {
		s += " in " + c.MissedIn
	}
	for _, t := range c.Talks {
		s += " " + string(t.Extension) + ":" + strconv.Itoa(t.Seconds) + ":" + t.Recording
	}
	if len(c.Rang) > 0 {
		s += " rang"
	}
	for _, e := range c.Rang {
		s += " " + string(e)
	}
	return s
}

// logs is a call log that may be out of order.
type logs struct {
	mu     sync.Mutex
	rows   []pbx.Segment
	broken bool
	asked  []time.Duration
}

func (l *logs) CallLog(_ context.Context, from, to time.Time) ([]pbx.Segment, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked = append(l.asked, to.Sub(from))
	if l.broken {
		return nil, errors.New("403")
	}
	var out []pbx.Segment
	for _, s := range l.rows {
		if !s.Started.Before(from) && s.Started.Before(to) {
			out = append(out, s)
		}
	}
	return out, nil
}

func (l *logs) set(broken bool, rows ...pbx.Segment) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.broken, l.rows = broken, append(l.rows, rows...)
}

// notes is a state store in memory.
type notes struct {
	mu   sync.Mutex
	m    map[string][]byte
	gone bool // the database cannot be opened yet
}

func (n *notes) Get(_ context.Context, key string) ([]byte, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.gone {
		return nil, errors.New("the database is not open yet")
	}
	if b, ok := n.m[key]; ok {
		return b, nil
	}
	return nil, fs.ErrNotExist
}

func (n *notes) set(gone bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.gone = gone
}

func (n *notes) Put(_ context.Context, key string, value []byte) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.m[key] = value
	return nil
}

func TestReconciler(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log, state := &logs{}, &notes{m: map[string][]byte{}}
		var mu sync.Mutex
		got := map[string]string{}
		start := func() (*pbx.Reconciler, func()) {
			r := pbx.NewReconciler(pbx.ReconcilerConfig{
				Log: log, State: state, Reader: reader(), Logger: slog.New(slog.DiscardHandler),
				Give: func(c pbx.Call) { mu.Lock(); got[c.ID] = logged(c); mu.Unlock() },
			})
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan struct{})
			go func() { defer close(done); _ = r.Run(ctx) }()
			return r, func() { cancel(); <-done }
		}
		have := func(id string) string { mu.Lock(); defer mu.Unlock(); return got[id] }
		call := func(id string, n int, ext call.Extension) pbx.Segment {
			return row(id, n, time.Now(), 0, time.Minute, outsideParty("+79161234567"), inside(ext), "Inbound")
		}
		r, stop := start()
		after(time.Second)
		log.set(false, call("a", 1, "201"))
		after(3 * time.Minute)
		if !r.Reading() || have("a") != "in +79161234567 to 201 answered 201:60:" {
			t.Errorf("a: %q", have("a"))
		}
		// The call goes on half an hour later: its first row is out of sight.
		after(30 * time.Minute)
		log.set(false, call("a", 2, "205"))
		after(3 * time.Minute)
		if have("a") != "in +79161234567 to 201 answered 201:60: 205:60:" {
			t.Errorf("a, longer: %q", have("a"))
		}
		// The log cannot be read for two hours.
		log.set(true, call("b", 1, "202"))
		after(2 * time.Hour)
		if !r.Reading() || !r.Ahead(time.Now()) || r.Ahead(time.Now().Add(-3*time.Hour)) || have("b") != "" {
			t.Errorf("b: %q, reading %t", have("b"), r.Reading())
		}
		log.set(false)
		after(3 * time.Minute)
		if have("b") == "" || r.Ahead(time.Now().Add(-time.Hour)) {
			t.Errorf("b is lost: %q", have("b"))
		}
		// Nobody reads it for two days.
		stop()
		log.set(false, call("c", 1, "203"))
		after(48 * time.Hour)
		// Then the database comes later than the program.
		state.set(true)
		r, stop = start()
		defer stop()
		after(10 * time.Minute)
		if have("c") != "" || r.Reading() {
			t.Errorf("read without knowing from when: %q", have("c"))
		}
		state.set(false)
		after(6 * time.Second)
		if have("c") == "" {
			t.Error("c is lost")
		}
		for _, d := range log.asked {
			if d > time.Hour {
				t.Errorf("%v at once", d)
			}
		}
	})
}
