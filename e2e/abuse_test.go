//go:build e2e

package e2e_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"frontdesk/call"
	"frontdesk/crm/crmtest"
	"frontdesk/pbx/pbxtest"
	"frontdesk/sip/siptest"
)

// TestStrangersFlood has a scanner send 2000 INVITEs a second from an address
// that no trunk has: it gets no answer and costs nothing, and calls go on.
func TestStrangersFlood(t *testing.T) {
	t.Parallel()
	const rate, seconds = 2000, 3
	s := start(t, release(t), section("log", `{level: info, format: json}`))
	trunk := newTrunkPhone(s, ".11")
	trunk.place(callerQuiet, did) // what is made once is made
	asked, memory, logged := s.portal.Total(), s.metrics("process_resident_memory_bytes"), len(s.log.String())

	stranger := newRawPeer(s, ".99")
	done := make(chan int)
	go func() { done <- stranger.flood(rate, seconds) }()
	calls := 0
	for sent := 0; sent == 0; calls++ {
		if got := trunk.place(callerQuiet, did); got.target != "202" {
			t.Errorf("during the flood a call was answered %v, want to be sent to 202", got)
		}
		select {
		case sent = <-done:
			waitFor(t, "the flood to be dropped", func() bool { return s.metrics("frontdesk_sip_dropped_total") >= float64(sent)*0.9 })
		default:
		}
	}
	s.recorded(calls + 1)
	if got := s.portal.Total() - asked; got > calls+2 { // and the employees may have been read again
		t.Errorf("the portal was asked %d times for %d calls", got, calls)
	}
	for _, r := range s.portal.Requests() {
		if bytes.Contains(r.Body, []byte(strangerNumber)) {
			t.Errorf("the portal was asked for a stranger: %s", r.Body)
		}
	}
	if got := stranger.received(); got != 0 {
		t.Errorf("the stranger got %d answers", got)
	}
	if more := s.metrics("process_resident_memory_bytes") - memory; more > 32<<20 {
		t.Errorf("%.0f MB more memory after the flood", more/(1<<20))
	}
	if more := len(s.log.String()) - logged; more > 1<<20 {
		t.Errorf("%d bytes of log for the flood and %d calls", more, calls)
	}
	t.Logf("%d calls completed beside the flood", calls)
	s.idle()
}

// canary is part of every secret of TestSecretsStayHidden.
const canary = "canary7f3a"

// TestSecretsStayHidden looks for the webhook's secret and for passwords in all
// that frontdesk says while its portal fails in every way.
func TestSecretsStayHidden(t *testing.T) {
	t.Parallel()
	s := start(t, func(s *setup) { s.secret = canary + "webhook" },
		section("crm", `{deadline: 100ms, mirror: {enabled: false}, bitrix24: {webhook: "{{.Webhook}}", rate: {per_second: 1000, burst: 200}}}`),
		section("mail", `{smtp: "smtp://u:`+canary+`mail@127.0.0.1:2525"}`),
		section("trunks", `{redirecting: {sources: [{{.Net}}.11], transfer: [redirect]},`+
			` carrier: {sources: [{{.Net}}.13], auth: {user: u, password: `+canary+`auth}}}`))
	trunk := newTrunkPhone(s, ".11")
	var said bytes.Buffer
	hear := func(path string) {
		_, body, _ := s.get(path)
		said.Write(body)
	}
	for _, kind := range crmtest.Kinds() {
		s.portal.SetFault(crmtest.Fault{Kind: kind, Size: 4 << 20})
		trunk.place(callerKnown, did)
		var answer json.RawMessage
		s.post("/api/v1/explain", map[string]string{"trunk": "redirecting", "from": callerKnown, "to": did}, &answer)
		said.Write(answer)
		hear("/readyz")
		s.portal.Heal()
		waitFor(t, "the portal to be used again", func() bool { return s.explain("redirecting", callerKnown, did).Target == "201" })
	}
	s.spoil(`{bitrix24: {webhook: "{{.Webhook}}?x", app: {client_secret: ` + canary + `app}}}`)
	_, problems := s.tryReload()
	said.WriteString(problems)
	for _, path := range []string{"/", "/metrics", "/api/v1/calls?limit=500", "/api/v1/calls/none", "/api/v1/openapi.json", "/rest/1/x"} {
		hear(path)
	}
	said.WriteString(s.log.String())
	if at := strings.Index(said.String(), canary); at >= 0 {
		t.Errorf("a secret shows: %.300q", said.String()[max(0, at-200):])
	}
}

// spoil writes a configuration whose section crm is this, and leaves the old
// one in s.
func (s *server) spoil(crm string) {
	s.t.Helper()
	old := s.sections["crm"]
	s.sections["crm"] = crm
	s.configure()
	s.sections["crm"] = old
}

// tryReload asks for a reload and gives what came of it.
func (s *server) tryReload() (status int, body string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, "http://"+s.http+"/api/v1/reload", nil)
	s.must(err)
	res, err := http.DefaultClient.Do(req)
	s.must(err)
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	s.must(err)
	return res.StatusCode, string(b)
}

// TestBadReload: a configuration with a fault changes nothing, and whoever asked
// for it learns where the fault is; one that is only doubtful is taken.
func TestBadReload(t *testing.T) {
	t.Parallel()
	s := start(t)
	good, err := os.ReadFile(s.config())
	s.must(err)
	bad := strings.Replace(string(good), `default: "800"`, `defalt: "801"`, 1)
	s.must(os.WriteFile(s.config(), []byte(bad), 0o600))
	place := regexp.MustCompile(`frontdesk\.yaml:\d+:\d+: .*defalt`)

	status, body := s.tryReload()
	if status != http.StatusUnprocessableEntity || !place.MatchString(body) {
		t.Errorf("POST /api/v1/reload: %d %s, want 422 and the place of the fault", status, body)
	}
	before := len(s.log.String())
	s.must(s.cmd.Process.Signal(syscall.SIGHUP))
	waitFor(t, "the log to tell the place of the fault", func() bool { return place.MatchString(s.log.String()[before:]) })
	trunk := newTrunkPhone(s, ".11")
	if got := trunk.place(callerUnknown, did); got.target != "800" {
		t.Errorf("after a bad reload a call was answered %v, want 302 to 800", got)
	}

	s.reload(section("rules", `[{name: all, default: "801"}, {name: shadowed, default: "800"}]`)) // with a warning
	if got := trunk.place(callerUnknown, did); got.target != "801" {
		t.Errorf("after a good reload a call was answered %v, want 302 to 801", got)
	}
	s.must(os.WriteFile(s.config(), good, 0o600))
	s.must(s.cmd.Process.Signal(syscall.SIGHUP))
	waitFor(t, "SIGHUP to bring back the old rules", func() bool { return trunk.place(callerUnknown, did).target == "800" })
	s.idle()
}

// TestManyCallsUp reloads under twenty calls, which then end by the rules they
// began with, and drains under them.
func TestManyCallsUp(t *testing.T) {
	t.Parallel()
	const many = 20
	s := start(t, number("202", pbxtest.Behaviour{Then: pbxtest.Then{NoAnswer: true}}),
		section("pbx", `{sip: ["sip:{{.PBX}}"], ring: 6s}`))
	trunk := newTrunkPhone(s, ".13")
	ctx, cancel := context.WithTimeout(t.Context(), patient)
	defer cancel()
	calls := make([]*siptest.Call, many)
	for i := range calls {
		var err error
		calls[i], err = trunk.dial(callerQuiet, did)
		s.must(err)
	}
	for _, c := range calls {
		s.must(c.WaitCode(ctx, 180))
	}
	s.reload(section("rules", `[{name: night, default: "801", lookup: false}]`))
	next, err := trunk.dial(callerQuiet, did)
	s.must(err)
	s.must(next.WaitTone(ctx, pbxtest.ToneOf("801")))
	s.must(next.Hangup(ctx))
	for _, c := range calls { // nobody answers at 202, then the old rule's default does
		s.must(c.WaitTone(ctx, pbxtest.ToneOf("800")))
	}
	waitFor(t, "all but the one that hung up", func() bool { return s.metrics("frontdesk_calls_active") == many })

	s.terminate()
	waitFor(t, "frontdesk to drain", func() bool { return s.status("/readyz") == http.StatusServiceUnavailable })
	if got := trunk.place(callerQuiet, did); got.code != http.StatusServiceUnavailable {
		t.Errorf("a new call was answered %v while draining, want 503", got)
	}
	for _, c := range calls {
		c.Forget()
		s.must(c.WaitTone(ctx, pbxtest.ToneOf("800")))
		s.must(c.Hangup(ctx))
	}
	select {
	case <-s.ended: // with status 0, which the test's end looks at
	case <-ctx.Done():
		t.Error("frontdesk goes on without calls")
	}
}

// TestTollFraud dials what fraudsters dial into the greeting: nothing but a
// number of the PBX is ever reached.
func TestTollFraud(t *testing.T) {
	t.Parallel()
	s := start(t, section("pbx", `{sip: ["sip:{{.PBX}}"], extensions: [201-203], queues: [800]}`))
	reached := map[string]call.Extension{ // a number that no other begins with is called at once
		"202": "202", "202#": "202", "800#00": "800", "2020": "202", "202*": "202", "8001": "800",
	}
	for _, digits := range []string{
		"0", "00", "000", "0#", "00#", "0044", "00442071234567", "0044#", "011", "0114", "9011442071234567", "9011", "9011#", "9", "9#", "90", "900#",
		"8", "81", "810", "8104", "8800", "8#10", "*", "*7", "*72", "*72#", "*72202", "*98", "**", "**202", "*202", "#", "##", "#90#", "#202",
		"2001#00", "20", "20#2", "1*1", "20*2", "A", "D202", "9999", "0000000000000000", strings.Repeat("9", 64),
	} {
		reached[digits] = "201"
	}
	trunk := newTrunkPhone(s, ".11")
	ctx, cancel := context.WithTimeout(t.Context(), 2*patient)
	defer cancel()
	var wg sync.WaitGroup
	at := make(chan struct{}, 12)
	for digits, want := range reached {
		at <- struct{}{}
		wg.Go(func() {
			defer func() { <-at }()
			if got := trunk.dialInto(ctx, digits); got != want {
				t.Errorf("%q reached %q, want %q", digits, got, want)
			}
		})
	}
	wg.Wait()
	allowed := regexp.MustCompile(`^sip:(201|202|800)@` + regexp.QuoteMeta(s.pbx.Phone.Addr().String()) + `$`)
	for _, step := range trunk.Ladder().Steps() {
		if contact := strings.Trim(step.Header("Contact"), "<>"); strings.HasPrefix(step.First, "SIP/2.0 302") && !allowed.MatchString(contact) {
			t.Errorf("a call was sent to %s", contact)
		}
	}
	s.idle()
}

// dialInto presses keys into the greeting and gives the number that the caller
// was then sent to.
func (p *trunkPhone) dialInto(ctx context.Context, digits string) call.Extension {
	c, err := p.dial(callerKnown, did)
	if err != nil {
		return call.Extension(err.Error())
	}
	if err := c.WaitCode(ctx, 183); err != nil {
		return call.Extension(err.Error())
	}
	go func() { _ = c.Dial(ctx, digits) }() // the call may go on before all are pressed
	final, err := c.WaitFinal(ctx)
	if err != nil || final == nil || len(final.Contacts) != 1 {
		return call.Extension(fmt.Sprint(final, err))
	}
	user, _, _ := strings.Cut(strings.TrimPrefix(final.Contacts[0], "sip:"), "@")
	return call.Extension(user)
}

// TestEverythingDead starts frontdesk beside a dead portal, a dead PBX and a
// voice that is not installed: calls reach the default all the same.
func TestEverythingDead(t *testing.T) {
	t.Parallel()
	s := start(t,
		portal(func(p *crmtest.Portal) { p.SetFault(crmtest.Fault{Kind: crmtest.Refuse}) }),
		func(s *setup) { s.env, s.unready = append(s.env, "PATH=/nonexistent"), true },
		section("pbx", `{sip: ["sip:{{.Net}}.77:5060"], failover: 500ms, ring: 1s}`),
		section("crm", `{deadline: 500ms, mirror: {enabled: false}, bitrix24: {webhook: "{{.Webhook}}"}}`),
		section("greeting", `{engine: espeak, text: "{{"{{.Manager.LastName}}"}}", cache: "{{.Dir}}/cache"}`))
	trunk := newTrunkPhone(s, ".11")
	if got := trunk.place(callerKnown, did); got.code != 302 || got.target != "800" || got.took > time.Second {
		t.Errorf("a call was answered %v, want 302 to 800 within a second", got)
	}
	bridging := newTrunkPhone(s, ".13")
	if got := bridging.place(callerKnown, did); got.err != nil || got.code < 400 || got.took > 5*time.Second {
		t.Errorf("a call to bridge was answered %v, want a refusal soon", got)
	}
	s.portal.Heal()
	began := time.Now()
	waitFor(t, "calls to be routed by the CRM", func() bool { return trunk.place(callerKnown, did).target == "201" })
	if took := time.Since(began); took > healing {
		t.Errorf("calls went by the CRM %v after it came up, want %v at most", took, healing)
	}
	s.idle()
}

// rawPeer is a UDP socket that sends what no stack would.
type rawPeer struct {
	s    *server
	conn net.PacketConn
	to   net.Addr
	mu   sync.Mutex
	got  []string
}

func newRawPeer(s *server, host string) *rawPeer {
	s.t.Helper()
	conn, err := net.ListenPacket("udp", s.net+host+":0")
	s.must(err)
	to, err := net.ResolveUDPAddr("udp", s.sip)
	s.must(err)
	p := &rawPeer{s: s, conn: conn, to: to}
	done := make(chan struct{})
	go func() {
		defer close(done)
		buf := make([]byte, 64<<10)
		for {
			n, _, err := conn.ReadFrom(buf)
			if err != nil {
				return
			}
			p.mu.Lock()
			p.got = append(p.got, string(buf[:n]))
			p.mu.Unlock()
		}
	}()
	s.t.Cleanup(func() {
		conn.Close()
		<-done
	})
	return p
}

func (p *rawPeer) received() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.got)
}

// answer is the first final answer to a Call-ID, "" so far.
func (p *rawPeer) answer(callID string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	i := slices.IndexFunc(p.got, func(m string) bool {
		return strings.Contains(m, "Call-ID: "+callID+"\r\n") && m[8] > '1'
	})
	if i < 0 {
		return ""
	}
	return p.got[i]
}

func (p *rawPeer) send(message string) {
	if _, err := p.conn.WriteTo([]byte(message), p.to); err != nil {
		p.s.t.Error(err)
	}
}

const strangerNumber = "79990001122"

// flood sends so many INVITEs a second for so many seconds.
func (p *rawPeer) flood(rate, seconds int) (sent int) {
	const tick = 10 * time.Millisecond
	ticker := time.NewTicker(tick)
	defer ticker.Stop()
	for range seconds * int(time.Second/tick) {
		<-ticker.C
		for range rate / int(time.Second/tick) {
			p.send(p.invite(fmt.Sprintf("flood%d", sent), "", strangerNumber))
			sent++
		}
	}
	return sent
}

// invite is an INVITE whose From is written as given.
func (p *rawPeer) invite(callID, display, user string) string {
	me := p.conn.LocalAddr().String()
	host, _, _ := net.SplitHostPort(me)
	sdp := "v=0\r\no=- 1 1 IN IP4 " + host + "\r\ns=-\r\nc=IN IP4 " + host + "\r\nt=0 0\r\nm=audio 40000 RTP/AVP 8 101\r\na=rtpmap:101 telephone-event/8000\r\n"
	return "INVITE sip:" + did + "@" + p.s.sip + " SIP/2.0\r\nVia: SIP/2.0/UDP " + me + ";branch=z9hG4bK" + callID + ";rport\r\n" +
		"From: " + display + "<sip:" + user + "@" + host + ">;tag=" + callID + "\r\nTo: <sip:" + did + "@" + p.s.sip + ">\r\n" +
		"Call-ID: " + callID + "\r\nCSeq: 1 INVITE\r\nMax-Forwards: 70\r\nContact: <sip:x@" + me + ">\r\nUser-Agent: friendly-scanner\r\n" +
		fmt.Sprintf("Content-Type: application/sdp\r\nContent-Length: %d\r\n\r\n%s", len(sdp), sdp)
}
