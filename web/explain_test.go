package web_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"frontdesk/call"
	"frontdesk/routing"
	"frontdesk/web"
)

func TestExplain(t *testing.T) {
	t.Parallel()
	h := setup(t)
	got := h.want(t, 200, request("POST", "/api/v1/explain", `{"from":"+79161234567","to":"+74951234567","trunk":"carrier","at":"2026-03-01T12:00:00+03:00"}`))
	want := `{"target":"201","outcome":"responsible","greeting":true,"rule":"support","trace":[{"step":"rule","result":"support","why":"it matches"}]}`
	if strings.TrimSpace(got) != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
	at := time.Date(2026, 3, 1, 9, 0, 0, 0, time.UTC)
	q := h.asked[0]
	if q.From != "+79161234567" || q.To != "+74951234567" || q.Trunk != "carrier" || !q.At.Equal(at) {
		t.Errorf("asked %+v", q)
	}
	h.want(t, 200, request("POST", "/api/v1/explain", `{"to":"112"}`))
	if q := h.asked[1]; q.From != "" || !q.At.IsZero() {
		t.Errorf("anonymous and now: asked %+v", q)
	}
}

func TestExplainARefusedCall(t *testing.T) {
	t.Parallel()
	h := setup(t)
	h.explain = func(context.Context, web.Query) (routing.Decision, error) {
		return routing.Decision{Outcome: call.OutcomeNoRule, Reject: 404}, nil
	}
	got := h.want(t, 200, request("POST", "/api/v1/explain", `{"to":"+74950000000"}`))
	if !strings.Contains(got, `"target":""`) || !strings.Contains(got, `"outcome":"no_rule"`) {
		t.Errorf("a call without a rule is explained as %s", got)
	}
}

func TestExplainRefusesBadQuestions(t *testing.T) {
	t.Parallel()
	h := setup(t)
	for body, want := range map[string]string{
		``:                        "a JSON object is needed",
		`  `:                      "a JSON object is needed",
		`{`:                       "ends too early",
		`{]`:                      "bad JSON at byte 2",
		`[]`:                      "a JSON object is needed, not a array",
		`"+7495"`:                 "a JSON object is needed, not a string",
		`{"to":5}`:                "to: a string is needed, not a number",
		`{"to":"1","form":"2"}`:   "unknown field",
		`{"to":"1"} {}`:           "something follows",
		`{}`:                      "to: the called number is needed",
		`{"to":" "}`:              "to: the called number is needed",
		`null`:                    "to: the called number is needed",
		`{"to":"1","at":"noon"}`:  `no RFC 3339 time`,
		`{"to":"1","at":"<b>"}`:   `no RFC 3339 time`,
		`{"to":"` + long() + `"}`: "to is longer than 256 bytes",
	} {
		got := h.want(t, 400, request("POST", "/api/v1/explain", body))
		if !strings.Contains(strings.ReplaceAll(got, `\"`, `"`), want) {
			t.Errorf("%.40s is answered %s, want %q", body, got, want)
		}
		if strings.Contains(got, "<b>") {
			t.Errorf("what was sent comes back unescaped: %s", got)
		}
	}
	if len(h.asked) > 0 {
		t.Errorf("bad questions were asked: %+v", h.asked)
	}
}

func long() string { return strings.Repeat("1", 300) }

func TestExplainBodyIsLimited(t *testing.T) {
	t.Parallel()
	h := setup(t)
	body := `{"to":"` + strings.Repeat("1", 1<<20) + `"}`
	h.want(t, 413, request("POST", "/api/v1/explain", body))
}

func TestExplainErrors(t *testing.T) {
	t.Parallel()
	h := setup(t)
	h.explain = func(context.Context, web.Query) (routing.Decision, error) {
		return routing.Decision{}, fmt.Errorf("%w: there is no trunk %q", web.ErrInvalid, "cariier")
	}
	if got := h.want(t, 400, request("POST", "/api/v1/explain", `{"to":"1"}`)); got != `{"error":"there is no trunk \"cariier\""}`+"\n" {
		t.Errorf("a wrong trunk is answered %s", got)
	}
	h.explain = func(context.Context, web.Query) (routing.Decision, error) {
		return routing.Decision{}, errors.New("inner works")
	}
	if got := h.want(t, 500, request("POST", "/api/v1/explain", `{"to":"1"}`)); strings.Contains(got, "inner works") {
		t.Errorf("an inner error is shown: %s", got)
	}
	h.explain = func(ctx context.Context, _ web.Query) (routing.Decision, error) {
		if _, ok := ctx.Deadline(); !ok {
			t.Error("an explanation may take for ever")
		}
		return routing.Decision{}, nil
	}
	h.want(t, 200, request("POST", "/api/v1/explain", `{"to":"1"}`))
}
