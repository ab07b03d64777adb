package web_test

import (
	"encoding/json"
	"fmt"
	"html"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"frontdesk/call"
	"frontdesk/web"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

// record is call number i, started i seconds after noon.
func record(i int, edit ...func(*call.Record)) call.Record {
	r := call.Record{
		ID: fmt.Sprintf("call%03d", i), Direction: call.In,
		Parties: call.Parties{Trunk: "carrier", Caller: "+79161234567", DID: "+74951234567"},
		Times:   call.Times{Started: noon.Add(time.Duration(i) * time.Second)},
		Routed:  call.Routed{Rule: "support", Target: "201", Outcome: call.OutcomeResponsible},
		Ended:   call.Ended{Transfer: call.TransferRedirect},
	}
	for _, f := range edit {
		f(&r)
	}
	return r
}

func outcome(o call.Outcome) func(*call.Record) { return func(r *call.Record) { r.Outcome = o } }

// list asks for calls and gives the ids and the cursor.
func (h *house) list(t *testing.T, query string) (ids []string, next string) {
	t.Helper()
	var page web.Page
	body := h.want(t, 200, request("GET", "/api/v1/calls?"+query, ""))
	if err := json.Unmarshal([]byte(body), &page); err != nil {
		t.Fatalf("%v: %s", err, body)
	}
	for _, r := range page.Calls {
		ids = append(ids, strings.TrimPrefix(r.ID, "call"))
	}
	return ids, page.Next
}

func TestListCalls(t *testing.T) {
	t.Parallel()
	h := setup(t)
	if got := h.want(t, 200, request("GET", "/api/v1/calls", "")); got != `{"calls":[],"next":""}`+"\n" {
		t.Errorf("no calls are %s", got)
	}
	for i := range 5 {
		h.ring.Add(record(i))
	}
	h.ring.Add(record(5, outcome(call.OutcomeDeadline), func(r *call.Record) { r.Caller = "+380441234567" }))
	for query, want := range map[string]string{
		"":                                        "005 004 003 002 001 000",
		"limit=2":                                 "005 004",
		"since=2026-03-01T12:00:04Z":              "005 004",
		"since=2026-03-01T15:00:04%2B03:00":       "005 004",
		"since=2026-03-01T15:00:04+03:00":         "005 004",
		"outcome=deadline":                        "005",
		"outcome=responsible&limit=1":             "004",
		"outcome=blocked":                         "",
		"caller=%2B380441234567":                  "005",
		"caller=+380441234567":                    "005",
		"caller=380441234567":                     "005",
		"caller=38044":                            "",
		"caller=380441234567&outcome=responsible": "",
		"caller=79161234567&since=2026-03-01T12:00:03Z": "004 003",
	} {
		if ids, _ := h.list(t, query); strings.Join(ids, " ") != want {
			t.Errorf("?%s lists %v, want %s", query, ids, want)
		}
	}
}

func TestListRefusesBadParameters(t *testing.T) {
	t.Parallel()
	h := setup(t)
	for query, want := range map[string]string{
		"limit=0": "limit", "limit=501": "limit", "limit=x": "limit", "limit=": "limit", "limit=1&limit=2": "2 times",
		"since=yesterday": "since", "outcome=nothing": "none of digits, sticky", "outcome=": "outcome",
		"caller=": "caller", "caller=O'Brien": "caller", "callers=1": "there is no parameter",
		"cursor=%21": "cursor", "cursor=AAAA": "cursor", "limit=%zz": "query",
		"caller=<script>": "caller", strings.Repeat("x", 500) + "=1": "xxx...",
	} {
		got := h.want(t, 400, request("GET", "/api/v1/calls", "", rawQuery(query)))
		if !strings.Contains(got, want) || strings.Contains(got, "<") || len(got) > 400 {
			t.Errorf("?%.40s is answered %s, want %q", query, got, want)
		}
	}
}

func TestCursorWalksEveryCallOnce(t *testing.T) {
	t.Parallel()
	h := setup(t)
	var want []string
	for i := range 25 {
		h.ring.Add(record(i, func(r *call.Record) { r.Started = noon.Add(time.Duration(i/4) * time.Second) })) // several at one instant
		want = append([]string{fmt.Sprintf("%03d", i)}, want...)
	}
	var got []string
	query := url.Values{"limit": {"4"}, "outcome": {"responsible"}}
	for page := 0; ; page++ {
		ids, next := h.list(t, query.Encode())
		got = append(got, ids...)
		h.ring.Add(record(50 + page)) // newer calls move nothing
		if next == "" {
			break
		}
		query.Set("cursor", next)
	}
	if strings.Join(got, " ") != strings.Join(want, " ") {
		t.Errorf("walked %v\nwant   %v", got, want)
	}
}

func TestCursorOutlivesItsCall(t *testing.T) {
	t.Parallel()
	h := setup(t)
	for i := range 100 { // as many as the ring holds
		h.ring.Add(record(i))
	}
	_, next := h.list(t, "limit=99")
	h.ring.Add(record(100))
	h.ring.Add(record(101)) // 000 and 001 are gone, 001 being where the cursor points
	if ids, after := h.list(t, "cursor="+next); len(ids) > 0 || after != "" {
		t.Errorf("after the last call: %v %q", ids, after)
	}
}

func TestGetCall(t *testing.T) {
	t.Parallel()
	h := setup(t)
	h.ring.Add(record(7, func(r *call.Record) {
		r.Facts = call.NewDocument(map[string]string{"caller": "+79161234567"})
		r.Timeline = []call.Event{{At: noon, Event: "INVITE"}}
	}))
	got := h.want(t, 200, request("GET", "/api/v1/calls/call007", ""))
	for _, part := range []string{`"id":"call007"`, `"facts":{"caller":"+79161234567"}`, `"timeline":[{"at":"2026-03-01T12:00:00Z","event":"INVITE"}]`} {
		if !strings.Contains(got, part) {
			t.Errorf("%s is missing in %s", part, got)
		}
	}
	for _, id := range []string{"call008", "%00", "%3Cscript%3E", "..%2f..%2fetc%2fpasswd", strings.Repeat("x", 4000)} {
		if got := h.want(t, 404, request("GET", "/api/v1/calls/"+id, "")); got != `{"error":"no such call"}`+"\n" {
			t.Errorf("%.20s is answered %s", id, got)
		}
	}
}

// TestHostileNames puts what an attacker may say of themselves into every text
// of a record.
func TestHostileNames(t *testing.T) {
	t.Parallel()
	h := setup(t)
	const evil = `"><script>alert(1)</script>&' {{.Token}}` + "\x00\u2028"
	facts := call.NewDocument(map[string]string{"caller_name": evil})
	h.why = evil
	h.ring.Add(call.Record{
		ID: evil, Parties: call.Parties{Trunk: evil, Caller: evil, DID: evil},
		Times:  call.Times{Started: noon},
		Routed: call.Routed{Rule: evil, Target: evil, Outcome: evil, Digits: evil},
		Ended:  call.Ended{Transfer: evil}, Facts: facts,
	})
	for _, target := range []string{"/", "/api/v1/calls", "/api/v1/calls/" + url.PathEscape(evil)} {
		w := h.do(request("GET", target, ""))
		if w.Code != 200 {
			t.Errorf("%s: %d", target, w.Code)
		}
		if body := w.Body.String(); strings.Contains(body, "<script") || strings.Contains(body, `"><`) {
			t.Errorf("%s shows it raw:\n%s", target, body)
		}
	}
	if w := h.do(request("GET", "/readyz", "")); w.Header().Get("Content-Type") != "text/plain; charset=utf-8" {
		t.Errorf("the reason is served as %s", w.Header().Get("Content-Type"))
	}
}

func TestPage(t *testing.T) {
	t.Parallel()
	h := setup(t)
	if got := h.want(t, 200, request("GET", "/", "")); !strings.Contains(got, "None yet") || !strings.Contains(got, "1.2.3") {
		t.Errorf("the empty page is\n%s", got)
	}
	h.ring.Add(record(1))
	h.ring.Add(record(2, func(r *call.Record) { r.Caller = "" }))
	got := html.UnescapeString(h.want(t, 200, request("GET", "/", "")))
	for _, want := range []string{"Ready", "+7916*****67", "anonymous", "/api/v1/calls/call001", "2026-03-01 12:00:01 +00:00"} {
		if !strings.Contains(got, want) {
			t.Errorf("the page lacks %q:\n%s", want, got)
		}
	}
	if strings.Contains(got, "79161234567") {
		t.Error("the page shows a number in full")
	}
	if strings.Contains(got, "<script") || strings.Contains(got, "style") {
		t.Error("the page holds what its policy forbids")
	}
}

func rawQuery(q string) func(*http.Request) { return func(r *http.Request) { r.URL.RawQuery = q } }
