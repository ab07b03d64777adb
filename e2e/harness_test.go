//go:build e2e

package e2e_test

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"text/template"
	"time"

	"frontdesk/call"
	"frontdesk/crm/crmtest"
	"frontdesk/media"
	"frontdesk/pbx/pbxtest"
	"frontdesk/tts"
)

// The company of every test, and whom it knows.
const (
	did         = "+74951234567"
	callerKnown = "+79161234567" // a contact of Olga Romanova at 201, greeted
	callerQuiet = "+79161234568" // a contact of Petr Sidorov at 202, not greeted
	greeted     = 1200           // Hz of every greeting
	greeting    = 1500 * time.Millisecond
	patient     = 90 * time.Second // for what must happen, on a busy machine

	olga = 1000001 // their ids in the portal
	petr = 1000002
)

// binary is the program under test, built once.
var binary string

func TestMain(m *testing.M) {
	code, err := testMain(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func testMain(m *testing.M) (code int, err error) {
	dir, err := os.MkdirTemp("", "frontdesk-e2e-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "frontdesk")
	args := []string{"build", "-o", binary}
	if cgo, err := exec.Command("go", "env", "CGO_ENABLED").Output(); err == nil && strings.TrimSpace(string(cgo)) == "1" {
		args = append(args, "-race", "-gcflags=modernc.org/sqlite/lib=-race=false -d=checkptr=0") // as in the Makefile
	}
	if out, err := exec.Command("go", append(args, "frontdesk/cmd/frontdesk")...).CombinedOutput(); err != nil {
		return 0, fmt.Errorf("building frontdesk: %w\n%s", err, out)
	}
	return m.Run(), nil
}

// server is a running `frontdesk serve` with a portal and a PBX of its own. It
// has a /24 of loopback to itself: frontdesk is at .1, the sandbox PBX at .2,
// and the test's own peers take whatever else they like.
type server struct {
	t   *testing.T
	net string // "127.70.3"
	dir string

	sip    string // address of its listeners, udp and tcp alike
	http   string
	portal *crmtest.Portal
	pbx    *pbxtest.PBX

	setup
	webhook string
	cmd     *exec.Cmd
	log     *journal
	ended   chan struct{} // closed once the process is gone
}

// setup is what options change before the start.
type setup struct {
	sections map[string]string // of the configuration: top-level key to YAML
	numbers  map[string]pbxtest.Behaviour
	fill     []func(*crmtest.Portal)
	beside   []func(*server) // run once the PBX does, before frontdesk
	v6       bool
	https    bool     // the portal speaks TLS, as real ones do
	secret   string   // of the webhook; crmtest's own if empty
	env      []string // further variables of the server's environment
	program  string   // what is run; binary if empty
	unready  bool     // it starts beside a dead portal
}

type option func(*setup)

// section replaces a top-level section of the configuration. The text is a
// template: {{.Net}} is the test's /24, {{.SIP}} and {{.HTTP}} are frontdesk's
// addresses, {{.PBX}} the sandbox PBX's, {{.Webhook}} the portal's, {{.Dir}} a
// directory that is removed at the end.
func section(key, yaml string) option { return func(s *setup) { s.sections[key] = yaml } }

// number makes a number of the sandbox PBX behave so.
func number(n string, b pbxtest.Behaviour) option { return func(s *setup) { s.numbers[n] = b } }

// portal puts more into the portal.
func portal(f func(*crmtest.Portal)) option {
	return func(s *setup) { s.fill = append(s.fill, f) }
}

// v6 runs everything on ::1, told apart by ports.
func v6(s *setup) { s.v6 = true }

// defaults are redirecting, referring and bridging trunks at .11, .12 and .13.
func defaults() setup {
	return setup{
		numbers: map[string]pbxtest.Behaviour{"201": {}, "202": {}, "203": {}, "800": {}, "801": {}},
		sections: map[string]string{
			"sip":      `{listen: ["udp://{{.SIP}}", "tcp://{{.SIP}}"]}`,
			"http":     `{listen: "{{.HTTP}}"}`,
			"store":    `"sqlite:{{.Dir}}/frontdesk.db"`,
			"timezone": `Europe/Moscow`,
			"log":      `{level: debug, format: json}`,
			"trunks": `{redirecting: {sources: [{{.Net}}.11], transfer: [redirect]},` +
				` referring: {sources: [{{.Net}}.12], transfer: [refer]}, bridging: {sources: [{{.Net}}.13], transfer: [bridge]}}`,
			"pbx":      `{sip: ["sip:{{.PBX}}"]}`,
			"crm":      `{mirror: {enabled: false}, bitrix24: {webhook: "{{.Webhook}}", rate: {per_second: 1000, burst: 10000}}}`,
			"greeting": `{engine: none, text: "{{"{{.Manager.LastName}}"}}", recorded: "{{.Dir}}/recorded", cache: "{{.Dir}}/cache"}`,
			"digits":   `{next: 1s}`,
			"sticky":   `{time: 0s}`,
			"rules":    `[{name: support, did: "` + did + `", default: "800"}]`,
		},
	}
}

// start runs a server until the test's end and waits until it can serve. At
// the end it must go by SIGTERM with status 0, without a panic or a race.
func start(t *testing.T, options ...option) *server {
	t.Helper()
	s := &server{t: t, net: claim(t), dir: t.TempDir(), setup: defaults(), log: &journal{}, ended: make(chan struct{})}
	for _, o := range options {
		o(&s.setup)
	}
	s.sip, s.http = s.net+".1:5060", s.net+".1:8080"
	pbxListen := "udp://" + s.net + ".2:5060"
	if s.v6 {
		s.sip, pbxListen = freePort(t, "::1"), "udp://[::1]:0"
	}
	s.startPortal()
	s.startPBX(pbxListen)
	for _, f := range s.beside {
		f(s)
	}
	s.greetings()
	s.configure()
	s.run()
	s.ready()
	return s
}

func (s *server) ready() {
	s.t.Helper()
	waitFor(s.t, "frontdesk to be ready", func() bool {
		return s.alive() && s.status("/readyz") == http.StatusOK && (s.unready || s.metrics("frontdesk_crm_employees") > 0)
	})
}

// claim finds a /24 of loopback that no other test uses, and holds it.
func claim(t *testing.T) string {
	t.Helper()
	for range 1000 {
		n := fmt.Sprintf("127.%d.%d", 64+rand.IntN(128), rand.IntN(256))
		l, err := net.Listen("tcp", n+".254:40404")
		if err == nil {
			t.Cleanup(func() { l.Close() })
			return n
		}
	}
	t.Fatal("no free /24 of loopback: these tests need Linux, where all of 127.0.0.0/8 can be bound")
	return ""
}

// freePort is an address of host whose port is free for both UDP and TCP now.
func freePort(t *testing.T, host string) string {
	t.Helper()
	for range 100 {
		l, err := net.Listen("tcp", net.JoinHostPort(host, "0"))
		if err != nil {
			break
		}
		addr := l.Addr().String()
		p, err := net.ListenPacket("udp", addr)
		l.Close()
		if err == nil {
			p.Close()
			return addr
		}
	}
	t.Fatalf("no free port at %s", host)
	return ""
}

func (s *server) startPortal() {
	s.t.Helper()
	p := crmtest.New(crmtest.Options{Secret: s.secret})
	const direct = "UF_CRM_FD_DIRECT"
	for _, object := range []string{"CRM_CONTACT", "CRM_COMPANY", "CRM_LEAD"} {
		for field, kind := range map[string]string{
			"UF_CRM_FD_MANAGER": "employee", "UF_CRM_FD_TEMP_MANAGER": "employee",
			"UF_CRM_FD_TEMP_UNTIL": "datetime", direct: "boolean", "UF_CRM_FD_NO_STICKY": "boolean",
		} {
			p.AddUserField(object, crmtest.UserField{Name: field, Type: kind})
		}
	}
	p.AddUser(crmtest.User{ID: olga, FirstName: "Olga", LastName: "Romanova", Extension: "201"})
	p.AddUser(crmtest.User{ID: petr, FirstName: "Petr", LastName: "Sidorov", Extension: "202"})
	p.AddContact(crmtest.Contact{Name: "Ivan", LastName: "Ivanov", Responsible: olga, Phones: []string{callerKnown}})
	p.AddContact(crmtest.Contact{
		Name: "Maria", LastName: "Petrova", Responsible: petr, Phones: []string{callerQuiet}, Fields: map[string]any{direct: true},
	})
	for _, f := range s.fill {
		f(p)
	}
	server, err := crmtest.Start(p, crmtest.ServerConfig{TLS: s.https, Secret: s.secret})
	s.must(err)
	if s.https {
		s.trust(server.URL())
	}
	s.t.Cleanup(func() { _ = server.Close() })
	s.portal, s.webhook = p, server.Webhook()
}

// trust makes frontdesk trust the certificate that is shown at an address.
func (s *server) trust(url string) {
	s.t.Helper()
	conn, err := tls.Dial("tcp", strings.TrimPrefix(url, "https://"), &tls.Config{InsecureSkipVerify: true})
	s.must(err)
	defer conn.Close()
	file := filepath.Join(s.dir, "portal.pem")
	block := &pem.Block{Type: "CERTIFICATE", Bytes: conn.ConnectionState().PeerCertificates[0].Raw}
	s.must(os.WriteFile(file, pem.EncodeToMemory(block), 0o600))
	s.env = append(s.env, "SSL_CERT_FILE="+file)
}

func (s *server) startPBX(listen string) {
	s.t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	p, err := pbxtest.New(ctx, pbxtest.Config{Listen: listen, Numbers: s.numbers})
	if err != nil {
		stop()
		s.t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- p.Run(ctx) }()
	s.t.Cleanup(func() {
		stop()
		if err := <-done; err != nil && ctx.Err() == nil {
			s.t.Error(err)
		}
	})
	s.pbx = p
}

// greetings makes the greetings: a tone each.
func (s *server) greetings() {
	s.t.Helper()
	dir := filepath.Join(s.dir, "recorded")
	s.must(os.MkdirAll(dir, 0o755))
	wav := tts.EncodeWAV(media.Tone(greeted, greeting), 8000)
	for _, name := range []string{"romanova", "sidorov"} {
		s.must(os.WriteFile(filepath.Join(dir, name+".wav"), wav, 0o644))
	}
}

// configure writes the configuration file.
func (s *server) configure() {
	s.t.Helper()
	var text strings.Builder
	for _, key := range slices.Sorted(maps.Keys(s.sections)) {
		fmt.Fprintf(&text, "%s: %s\n", key, s.sections[key])
	}
	tmpl, err := template.New("config").Option("missingkey=error").Parse(text.String())
	s.must(err)
	var out bytes.Buffer
	s.must(tmpl.Execute(&out, map[string]string{
		"Net": s.net, "SIP": s.sip, "HTTP": s.http, "Dir": s.dir, "Webhook": s.webhook, "Portal": s.origin(), "PBX": s.pbx.Phone.Addr().String(),
	}))
	s.must(os.WriteFile(s.config(), out.Bytes(), 0o600))
}

// origin is the portal's address without the webhook's secret.
func (s *server) origin() string {
	before, _, _ := strings.Cut(s.webhook, "/rest/")
	return before
}

func (s *server) config() string { return filepath.Join(s.dir, "frontdesk.yaml") }

func (s *server) run() {
	s.t.Helper()
	s.cmd = exec.Command(cmp.Or(s.program, binary), "serve", "--config", s.config(), "--drain", "20s")
	s.cmd.Dir, s.cmd.Env = s.dir, append(os.Environ(), s.env...)
	s.cmd.Stdout, s.cmd.Stderr = s.log, s.log
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	go func() {
		runtime.LockOSThread() // Pdeathsig goes by the thread that started the process
		defer runtime.UnlockOSThread()
		err := s.cmd.Start()
		started <- err
		if err == nil {
			_ = s.cmd.Wait() // the test looks at ProcessState
		}
		close(s.ended)
	}()
	s.must(<-started)
	s.t.Cleanup(s.stop)
}

// stop ends the server as an operator would and looks at how it went.
func (s *server) stop() {
	s.terminate()
	select {
	case <-s.ended:
		if code := s.cmd.ProcessState.ExitCode(); code != 0 {
			s.t.Errorf("frontdesk ended with %s, want exit status 0", s.cmd.ProcessState)
		}
	case <-time.After(patient):
		_ = s.cmd.Process.Signal(syscall.SIGQUIT) // its goroutines, for the log
		s.t.Errorf("frontdesk has not ended %v after SIGTERM", patient)
		select {
		case <-s.ended:
		case <-time.After(5 * time.Second):
			_ = s.cmd.Process.Kill()
			<-s.ended
		}
	}
	text := s.log.String()
	for _, bad := range []string{"panic", "DATA RACE", "fatal error"} {
		if strings.Contains(text, bad) {
			s.t.Errorf("frontdesk's log holds %q", bad)
		}
	}
	if s.t.Failed() {
		s.t.Logf("frontdesk's log:\n%s", tail(text))
	}
}

// terminate asks the server to end: it drains.
func (s *server) terminate() { _ = s.cmd.Process.Signal(syscall.SIGTERM) }

// on is the server as a subtest sees it: what fails, fails the subtest.
func (s *server) on(t *testing.T) *server {
	c := *s
	c.t = t
	return &c
}

func (s *server) alive() bool {
	s.t.Helper()
	select {
	case <-s.ended:
		s.t.Fatalf("frontdesk has ended: %s", s.cmd.ProcessState)
		return false
	default:
		return true
	}
}

func (s *server) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

// tail is the end of a long text.
func tail(text string) string {
	const most = 64 << 10
	if len(text) > most {
		return "...\n" + text[len(text)-most:]
	}
	return text
}

// get asks the API; ok is false while it does not answer.
func (s *server) get(path string) (status int, body []byte, ok bool) {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+s.http+path, nil)
	if err != nil {
		return 0, nil, false
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, false
	}
	defer res.Body.Close()
	body, err = io.ReadAll(res.Body)
	return res.StatusCode, body, err == nil
}

func (s *server) status(path string) int {
	code, _, _ := s.get(path)
	return code
}

// post sends v to the API and reads the answer, 200, into out.
func (s *server) post(path string, v, out any) {
	s.t.Helper()
	b, err := json.Marshal(v)
	s.must(err)
	req, err := http.NewRequestWithContext(context.Background(), http.MethodPost, "http://"+s.http+path, bytes.NewReader(b))
	s.must(err)
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	s.must(err)
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	s.must(err)
	if res.StatusCode != http.StatusOK {
		s.t.Fatalf("POST %s: %s: %s", path, res.Status, body)
	}
	if out != nil {
		s.must(json.Unmarshal(body, out))
	}
}

// metrics is the sum of all series of a metric, or of the one series that name
// has labels for, as `frontdesk_calls_total{trunk="a",result="answered"}`. It
// is -1 while there is none.
func (s *server) metrics(name string) float64 {
	_, body, ok := s.get("/metrics")
	if !ok {
		return -1
	}
	sum, found := 0.0, false
	for lines := bufio.NewScanner(bytes.NewReader(body)); lines.Scan(); {
		series, value, ok := strings.Cut(lines.Text(), "} ")
		if ok {
			series += "}"
		} else {
			series, value, ok = strings.Cut(lines.Text(), " ")
		}
		if bare, _, _ := strings.Cut(series, "{"); !ok || series != name && bare != name {
			continue
		}
		v, err := strconv.ParseFloat(value, 64)
		if err == nil {
			sum, found = sum+v, true
		}
	}
	if !found {
		return -1
	}
	return sum
}

// calls are the records of all calls that ended, oldest first.
func (s *server) calls() []call.Record {
	s.t.Helper()
	var all []call.Record
	for cursor := ""; ; {
		var page struct {
			Calls []call.Record
			Next  string
		}
		code, body, ok := s.get("/api/v1/calls?limit=500" + cursor)
		if !ok || code != http.StatusOK {
			s.t.Fatalf("GET /api/v1/calls: %d %s", code, body)
		}
		s.must(json.Unmarshal(body, &page))
		all = append(all, page.Calls...)
		if page.Next == "" {
			break
		}
		cursor = "&cursor=" + page.Next
	}
	slices.SortStableFunc(all, func(a, b call.Record) int { return cmp.Or(a.Started.Compare(b.Started), cmp.Compare(a.ID, b.ID)) })
	return all
}

// recorded waits for n records and returns them, oldest first.
func (s *server) recorded(n int) (all []call.Record) {
	s.t.Helper()
	waitFor(s.t, fmt.Sprintf("%d call records", n), func() bool { all = s.calls(); return len(all) >= n })
	if len(all) != n {
		s.t.Fatalf("%d call records, want %d", len(all), n)
	}
	return all
}

// decision is what explain answers.
type decision struct {
	Target   call.Extension
	Outcome  call.Outcome
	Greeting bool
	Rule     string
}

func (s *server) explain(trunk, from, to string) (d decision) {
	s.t.Helper()
	s.post("/api/v1/explain", map[string]string{"trunk": trunk, "from": from, "to": to}, &d)
	return d
}

// reload gives the running server another configuration.
func (s *server) reload(options ...option) {
	s.t.Helper()
	for _, o := range options {
		o(&s.setup)
	}
	s.configure()
	s.post("/api/v1/reload", struct{}{}, nil)
}

// idle waits until no call or port is left, and checks that no decision came
// late. It may be a Cleanup: those must not end the test, or what they say is
// lost.
func (s *server) idle() {
	s.t.Helper()
	s.quiet()
	if late := s.metrics("frontdesk_decisions_late_total"); late != 0 {
		s.t.Errorf("frontdesk_decisions_late_total is %v, want 0", late)
	}
}

// quiet waits until no call or port is left.
func (s *server) quiet() {
	s.t.Helper()
	for _, gauge := range []string{"frontdesk_calls_active", "frontdesk_rtp_ports_in_use"} {
		if !poll(patient, func() bool { return s.metrics(gauge) == 0 }) {
			s.t.Errorf("%s is %v after %v, want 0", gauge, s.metrics(gauge), patient)
		}
	}
}

// waitFor polls until ok, and fails the test where that takes too long.
func waitFor(t *testing.T, what string, ok func() bool) {
	t.Helper()
	waitLong(t, what, patient, ok)
}

func waitLong(t *testing.T, what string, most time.Duration, ok func() bool) {
	t.Helper()
	if !poll(most, ok) {
		t.Fatalf("waited %v for %s", most, what)
	}
}

// poll asks until ok, and reports false where that takes too long. It asks more
// and more seldom: a server that is asked all the time gets nothing done.
func poll(most time.Duration, ok func() bool) bool {
	const often, seldom = 20 * time.Millisecond, 250 * time.Millisecond
	ctx, cancel := context.WithTimeout(context.Background(), most) // a Cleanup may wait too
	defer cancel()
	began := time.Now()
	for !ok() {
		select {
		case <-time.After(min(max(time.Since(began)/10, often), seldom)):
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// journal keeps what a process writes.
type journal struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.Write(b)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.String()
}
