// Greeting measures calls that are being greeted: early media, the caller
// sending 50 packets a second, digits dialled at the end.
//
//	go run ./bench/greeting -n 100,300,1000 -seconds 10
//
// For each number of calls it starts a fresh frontdesk on one CPU (-cpu), with
// a portal in this process that knows the caller, and places the calls, 50 a
// second. Once all hear the greeting it measures for a while; then every
// caller dials 202, and is redirected there.
//
// cpu/100 is user and system time of frontdesk alone, in per cent of one CPU,
// for 100 calls. kB/call is what its resident memory grew by. Pacing is by how
// much the time between two packets of a call differs from 20 ms, by the
// kernel's receive timestamps (SO_TIMESTAMPNS), so neither the reader's nor
// this process's scheduling enters. Lost is by sequence numbers; overrun, what
// this process's own socket dropped, is the part of it that is none of
// frontdesk's. INVITE-183 includes the look-up in the portal over loopback;
// digits-302 is from sending the last key to receiving the 302. Each number of
// calls takes n/25 + seconds + 5 seconds.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"frontdesk/bench/rig"
	"frontdesk/crm/crmtest"
	"frontdesk/media"
	"frontdesk/tts"
)

const (
	ramp   = 20 * time.Millisecond // between two calls
	caller = "+79161234567"
)

func main() {
	r := rig.NewReport("greeting", "calls", "cpu/100 %", "kB/call", "pacing p50/p99/p99.9/max ms", "packets", "lost", "overrun", "INVITE-183 ms", "digits-302 ms")
	rig.Main("greeting", "100,300", r, func(ctx context.Context, o rig.Load, n int) error { return measure(ctx, o, o.Dir, n, r) })
}

// measure adds one row.
func measure(ctx context.Context, o rig.Load, dir string, n int, r *rig.Report) (err error) {
	portal, err := crmtest.Start(company(), crmtest.ServerConfig{})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, portal.Close()) }()
	length := time.Duration(o.Seconds) * time.Second
	if err := record(dir, 2*time.Duration(n)*ramp+length+20*time.Second); err != nil {
		return err
	}
	sip, err := rig.FreePort()
	if err != nil {
		return err
	}
	http, err := rig.FreePort()
	if err != nil {
		return err
	}
	server, err := rig.Frontdesk(ctx, o.CPU, o.Binary, dir, fmt.Sprintf(config, sip, http, portal.Webhook(), dir), http.String())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, server.Stop()) }()
	m, err := rig.OpenMedia()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, m.Close()) }()
	c, err := rig.NewCaller(sip, strconv.Itoa(os.Getpid()), caller, "+74951234567")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, c.Conn.Close()) }()
	return (&bench{server: server, media: m, senders: rig.NewSenders(m), n: n, length: length}).run(ctx, c, r)
}

// bench is one number of calls.
type bench struct {
	server  *rig.Process
	media   *rig.Media
	senders *rig.Senders
	n       int
	length  time.Duration

	listening atomic.Bool
	ears      ears
}

func (b *bench) run(ctx context.Context, c *rig.Caller, r *rig.Report) error {
	go b.media.Read(func(a rig.Arrival) {
		if b.listening.Load() {
			b.ears.hear(a)
		}
	})
	sending, stop := context.WithCancel(ctx)
	defer stop()
	go b.senders.Run(sending)

	warm := rig.NewCalls(c, b.media.Addr())
	if err := b.greet(ctx, warm, 1); err != nil {
		return err
	}
	before, err := b.server.Usage()
	if err != nil {
		return err
	}
	calls := warm // the first call goes on with the others
	if err := b.greet(ctx, calls, b.n-1); err != nil {
		return err
	}
	if err := rig.Rest(ctx, time.Second); err != nil {
		return err
	}
	from, err := b.server.Usage()
	if err != nil {
		return err
	}
	b.listening.Store(true)
	if err := rig.Rest(ctx, b.length); err != nil {
		return err
	}
	b.listening.Store(false)
	to, err := b.server.Usage()
	if err != nil {
		return err
	}
	pressed, err := b.dial(ctx, calls)
	if err != nil {
		return err
	}
	var decided, moved []time.Duration
	for i, x := range calls.All() {
		decided = append(decided, x.Described.Sub(x.Invited))
		moved = append(moved, x.Final.Sub(pressed[i]))
		if x.Code != 302 || !strings.Contains(string(x.Response), "sip:202@") {
			return fmt.Errorf("call %d, which dialled 202, was answered %d", i, x.Code)
		}
	}
	r.Add(b.n, fmt.Sprintf("%.2f", 100*(to.CPU-from.CPU).Seconds()/b.length.Seconds()*100/float64(b.n)),
		(to.RSS-before.RSS)/int64(max(1, b.n-1))>>10, b.ears.pacing(), b.ears.packets, b.ears.lost, b.media.Overrun(),
		rig.QuantilesOf(decided), rig.QuantilesOf(moved))
	return nil
}

// greet places calls until each hears its greeting, and sends on each.
func (b *bench) greet(ctx context.Context, calls *rig.Calls, n int) error {
	first := len(calls.All())
	for range n {
		if err := calls.Place(); err != nil {
			return err
		}
		if err := rig.Rest(ctx, ramp); err != nil {
			return err
		}
	}
	if err := calls.Await(ctx, "183", 10*time.Second, func(c rig.Call) bool { return c.Media.IsValid() }); err != nil {
		return err
	}
	for i, c := range calls.All()[first:] {
		b.senders.Add(rig.NewStream(c.Media, uint32(first+i+1)))
	}
	return nil
}

// dial dials 202 on every call and waits for its 302.
func (b *bench) dial(ctx context.Context, calls *rig.Calls) ([]time.Time, error) {
	var pressed []time.Time
	for i := range b.n {
		for _, key := range []byte{2, 0, 2} {
			b.senders.Press(i, key)
		}
		pressed = append(pressed, time.Now())
		if err := rig.Rest(ctx, ramp); err != nil {
			return nil, err
		}
	}
	return pressed, calls.Await(ctx, "302", 10*time.Second, func(c rig.Call) bool { return c.Code != 0 })
}

// ears take the packets of all calls.
type ears struct {
	last    [65536]heard // by the port they come from
	packets int
	lost    int
	errors  []time.Duration
}

type heard struct {
	at  time.Time
	seq uint16
}

func (e *ears) hear(a rig.Arrival) {
	l := &e.last[a.Port]
	e.packets++
	if !l.at.IsZero() {
		e.lost += int(int16(a.Seq - l.seq - 1))
		e.errors = append(e.errors, (a.At.Sub(l.at) - 20*time.Millisecond).Abs())
	}
	l.at, l.seq = a.At, a.Seq
}

func (e *ears) pacing() rig.Quantiles { return rig.QuantilesOf(e.errors) }

// company is a portal that knows the caller as a contact of Olga Romanova's.
func company() *crmtest.Portal {
	p := crmtest.New(crmtest.Options{})
	for field, kind := range map[string]string{
		"UF_CRM_FD_MANAGER": "employee", "UF_CRM_FD_TEMP_MANAGER": "employee",
		"UF_CRM_FD_TEMP_UNTIL": "datetime", "UF_CRM_FD_DIRECT": "boolean", "UF_CRM_FD_NO_STICKY": "boolean",
	} {
		for _, object := range []string{"CRM_CONTACT", "CRM_COMPANY", "CRM_LEAD"} {
			p.AddUserField(object, crmtest.UserField{Name: field, Type: kind})
		}
	}
	olga := p.AddUser(crmtest.User{FirstName: "Olga", LastName: "Romanova", Extension: "201"})
	p.AddContact(crmtest.Contact{Name: "Ivan", LastName: "Ivanov", Responsible: olga, Phones: []string{caller}})
	return p
}

// record makes a greeting of that length: a tone.
func record(dir string, d time.Duration) error {
	wav := tts.EncodeWAV(media.Tone(440, d), 8000)
	if err := os.MkdirAll(filepath.Join(dir, "recorded"), 0o700); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "recorded", "romanova.wav"), wav, 0o600)
}

const config = `
sip: {listen: ["udp://%s"]}
http: {listen: "%s"}
media: {ports: 20000-29999}
trunks:
  carrier: {sources: [127.0.0.1], transfer: [redirect]}
pbx: {sip: ["sip:127.0.0.1:9"], extensions: [100-299], queues: [800-899]}
crm: {bitrix24: {webhook: "%s", rate: {per_second: 1000, burst: 10000}}}
greeting: {engine: none, text: "{{.Manager.LastName}}", recorded: "%[4]s/recorded", cache: "%[4]s/cache"}
digits: {next: 1s}
log: {level: warn}
rules:
  - {name: office, did: "+7495123*", default: "801"}
`
