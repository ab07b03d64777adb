package crm_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"frontdesk/call"
	"frontdesk/crm"
	"frontdesk/crm/crmtest"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
)

var update = flag.Bool("update", false, "rewrite the golden files")

const golden = "../testdata/bitrix24"

// answers plays recorded answers: each request gets the next one, the last one
// for ever.
type answers struct {
	bodies []string
	asked  []string
}

func (a *answers) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	a.asked = append(a.asked, string(body))
	next := a.bodies[0]
	if len(a.bodies) > 1 {
		a.bodies = a.bodies[1:]
	}
	return &http.Response{
		StatusCode: 200, Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(strings.NewReader(next)), Request: r,
	}, nil
}

func playing(t testing.TB, bodies ...string) (*crm.Client, *answers) {
	t.Helper()
	a := &answers{bodies: bodies}
	c, err := crm.New(crm.Config{
		Webhook: "https://portal.test/rest/1/" + canary + "/", Country: "RU", Fields: fields,
		Rate: crm.Rate{PerSecond: 1e6, Burst: 1e6}, Transport: a,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c, a
}

func read(t testing.TB, name string) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(golden, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// The requests as they are on the wire, and answers as the documentation has
// them.
func TestWire(t *testing.T) {
	t.Parallel()
	c, a := playing(t, read(t, "lookup.answer.json"), read(t, "user.get.answer.json"))
	got, err := lookup(t, c, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	want := call.Answer{Source: call.SourceLive, Entities: []call.Entity{
		{Kind: call.KindContact, ID: 275, Name: "Ann Lee", Responsible: 99, Manager: 61},
		{Kind: call.KindContact, ID: 2297, Unreadable: true},
		{Kind: call.KindCompany, ID: 12, Name: "Lee Ltd", Responsible: 99, Direct: true},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if e, _ := c.Employee(61); e.Extension != "101" || e.FirstName != "Olga" || e.Dismissed {
		t.Errorf("employee %+v", e)
	}
	for i, name := range []string{"lookup.request.json", "user.get.request.json"} {
		compare(t, name, a.asked[i])
	}
}

func compare(t *testing.T, name, got string) {
	t.Helper()
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, []byte(got), "", " "); err != nil {
		t.Fatalf("%s: %v in %s", name, err, got)
	}
	pretty.WriteByte('\n')
	if *update {
		if err := os.WriteFile(filepath.Join(golden, name), pretty.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff(read(t, name), pretty.String()); diff != "" {
		t.Errorf("%s:\n%s", name, diff)
	}
}

// The batch is the one that the reference recommends, command for command.
func TestBatchOrderAndEncoding(t *testing.T) {
	t.Parallel()
	p := knownPortal()
	c, _ := serve(t, p, false)
	wantAnn(t, c)
	commands := p.Requests()[0].Commands
	keys := make([]string, len(commands))
	for i, text := range commands {
		keys[i], _, _ = strings.Cut(text, "=")
	}
	if !slices.Equal(keys, []string{"dc", "dm", "dl", "c", "m", "l"}) {
		t.Errorf("commands in the order %v", keys)
	}
	if want := "values%5B0%5D=%2B79161234567"; !strings.Contains(commands[0], want) {
		t.Errorf("%s lacks %s", commands[0], want)
	}
	if r := p.Requests()[0]; r.UserAgent != "frontdesk" || r.HTTP != http.MethodPost {
		t.Errorf("%s by %q", r.HTTP, r.UserAgent)
	}
}

// A result that is null or absent is not an empty one.
func TestNullIsNoResult(t *testing.T) {
	t.Parallel()
	for _, results := range []string{
		`{"dc":null,"dm":[],"dl":[],"c":[],"m":[],"l":[]}`, `{"dc":[],"dm":[],"dl":[],"c":[],"m":[],"l":null}`, `{"dc":[]}`,
		`{"dc":{"CONTACT":{"0":1}},"dm":[],"dl":[],"c":[],"m":[],"l":[]}`, `{"dc":{"CONTACT":[0]},"dm":[],"dl":[],"c":[],"m":[],"l":[]}`,
		`{"dc":{"CONTACT":[1]},"dm":[],"dl":[],"c":[{"NAME":"x"}],"m":[],"l":[]}`, `null`, `[]`,
	} {
		c, _ := playing(t, `{"result":{"result":`+results+`,"result_error":[]}}`)
		if a, err := lookup(t, c, 10*time.Second); !errors.Is(err, crm.ErrFailed) || a.Missing != call.MissingError {
			t.Errorf("%s: %+v, %v", results, a, err)
		}
	}
}

// Where the portal does not heed the filter by number, the rows of others are
// not taken for the caller's.
func TestCompletionKeepsOnlyTheNumber(t *testing.T) {
	t.Parallel()
	var ids, rows []string
	for i := range 20 {
		ids = append(ids, fmt.Sprint(i+1))
		rows = append(rows, fmt.Sprintf(`{"ID":"%d","ASSIGNED_BY_ID":"0","PHONE":[{"VALUE":"+79161234567"}]}`, i+1))
	}
	stranger := `{"ID":"99","ASSIGNED_BY_ID":"0","PHONE":[{"VALUE":"+74950000000"}]}`
	all := strings.Join(rows, ",")
	c, _ := playing(t,
		`{"result":{"result":{"dc":{"CONTACT":[`+strings.Join(ids, ",")+`]},"dm":[],"dl":[],"c":[`+all+`],"m":[],"l":[]},"result_error":[]}}`,
		`{"result":{"result":{"p0":[`+all+`,`+stranger+`],"p1":[],"p2":[],"p3":[`+stranger+`]},"result_error":[]}}`)
	a, err := lookup(t, c, 10*time.Second)
	if err != nil || len(a.Entities) != 20 || len(a.Capped) != 0 {
		t.Errorf("%d entities, capped %v, %v", len(a.Entities), a.Capped, err)
	}
}

// An error's text is the portal's: bounded, on one line, without the secret.
func TestForeignTextInErrors(t *testing.T) {
	t.Parallel()
	text := "bad\r\nkey " + canary + strings.Repeat("x", 5000)
	body, err := json.Marshal(map[string]string{"error": "E" + canary, "error_description": text})
	if err != nil {
		t.Fatal(err)
	}
	c, _ := playing(t, string(body))
	_, err = lookup(t, c, 10*time.Second)
	if err == nil || len(err.Error()) > 600 || strings.ContainsAny(err.Error(), "\r\n") {
		t.Errorf("error %v", err)
	}
	if msg := strings.ToLower(fmt.Sprintf("%+v", err)); strings.Contains(msg, canary) {
		t.Errorf("the secret is in %s", msg)
	}
}

func TestWebhookHidesItself(t *testing.T) {
	t.Parallel()
	cfg := crm.Config{Webhook: "https://portal.test/rest/1/" + canary + "/"}
	var log bytes.Buffer
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "webhook", cfg.Webhook, "config", cfg)
	j, err := json.Marshal(cfg.Webhook)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []string{fmt.Sprint(cfg), fmt.Sprintf("%+v", cfg), fmt.Sprintf("%#v", cfg), log.String(), string(j)} {
		if strings.Contains(s, canary) {
			t.Errorf("the secret is in %s", s)
		}
		if s != "" && !strings.Contains(s, "portal.test") {
			t.Errorf("the portal is not named in %s", s)
		}
	}
}

func TestCollectors(t *testing.T) {
	t.Parallel()
	p := knownPortal()
	c, _ := serve(t, p, false)
	wantAnn(t, c)
	p.SetFault(crmtest.Fault{Kind: crmtest.NoAuth})
	if err := c.Call(t.Context(), crm.LaneLog, "Crm.Contact.LIST", nil, nil); err == nil {
		t.Error("no error")
	}
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(c.Collectors()...)
	families, err := r.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var text strings.Builder
	for _, f := range families {
		fmt.Fprintln(&text, f)
	}
	for _, want := range []string{
		`frontdesk_crm_requests_total`, `{name:"class" value:"denied"} label:{name:"method" value:"crm"} counter:{value:1`,
		`frontdesk_crm_breaker_open`, `frontdesk_crm_bucket_wait_seconds_total`, `frontdesk_crm_request_seconds`,
	} {
		if !strings.Contains(strings.ReplaceAll(text.String(), "  ", " "), want) {
			t.Errorf("the metrics lack %s:\n%s", want, &text)
		}
	}
	if strings.Contains(text.String(), canary) || strings.Contains(text.String(), "916123") {
		t.Error("the metrics show what they must not")
	}
}

// Whatever a portal answers, a look-up ends with an answer or an error, and
// never with entities beside an error.
func FuzzDecodeAnswer(f *testing.F) {
	f.Add([]byte(`{"result":{"result":[],"result_error":[]}}`))
	f.Add([]byte(`{"result":{"result":{"dc":{"CONTACT":["1"]},"dm":[],"dl":[],"c":[{"ID":"1","PHONE":[{"VALUE":"x"}]}],"m":[],"l":[]},"result_error":[]}}`))
	f.Add([]byte(`{"error":"","error_description":7}`))
	f.Add([]byte(`{"result":{"result":{"dc":{"CONTACT":[1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20]},"dm":[],"dl":[],"c":[],"m":[],"l":[]}}}`))
	f.Add([]byte(`[]`))
	f.Add([]byte(`<html>`))
	if matches, err := filepath.Glob(filepath.Join(golden, "*.answer.json")); err == nil {
		for _, name := range matches {
			f.Add([]byte(read(f, filepath.Base(name))))
		}
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		c, _ := playing(t, string(body))
		a, err := c.Lookup(t.Context(), number)
		switch {
		case err != nil && (len(a.Entities) > 0 || a.Missing == "" || !errors.Is(err, crm.ErrFailed)):
			t.Errorf("%+v beside %v", a, err)
		case err == nil && a.Source != call.SourceLive:
			t.Errorf("%+v without an error", a)
		}
		for _, e := range a.Entities {
			if e.ID <= 0 || e.Responsible < 0 || e.Manager < 0 || e.Temporary < 0 {
				t.Errorf("entity %+v", e)
			}
		}
	})
}
