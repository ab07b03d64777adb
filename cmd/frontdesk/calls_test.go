package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"frontdesk/call"
	"frontdesk/web"
)

func TestAgo(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for in, want := range map[string]string{"2h": "2026-03-01T10:00:00Z", "": "", "2026-01-01T00:00:00Z": "2026-01-01T00:00:00Z"} {
		if got := ago(in, now); got != want {
			t.Errorf("%q is %q, want %q", in, got, want)
		}
	}
}

// TestWriteCall shows a record whose texts are hostile.
func TestWriteCall(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	r := call.Record{
		ID: "abc", Direction: call.In, Parties: call.Parties{Trunk: "carrier", Caller: "+79161234567"}, Times: call.Times{Started: at},
		Talks:    []call.Talk{{Extension: "201", From: at, Seconds: 52}},
		Timeline: []call.Event{{At: at, Event: "refer: \x1b[2J\nfaked"}},
		Ledger:   []call.Entry{{Step: "finish", State: call.StepWaiting, Tries: 3, Error: "the portal\r\nanswered 503", Next: at}},
	}
	var one, list bytes.Buffer
	if err := writeCall(&one, r); err != nil {
		t.Fatal(err)
	}
	if err := writeCalls(&list, web.Page{Calls: []call.Record{r}, Next: "more"}); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"+79161234567", "201 from 12:00:00, 52 s", "finish", "waiting", "answered 503"} {
		if !strings.Contains(one.String(), want) {
			t.Errorf("no %q in\n%s", want, &one)
		}
	}
	if !strings.Contains(list.String(), "52s") || !strings.Contains(list.String(), "--cursor more") {
		t.Errorf("the list is\n%s", &list)
	}
	if strings.ContainsAny(one.String()+list.String(), "\x1b\r") || strings.Contains(one.String(), "\nfaked") {
		t.Errorf("a record moves the cursor:\n%q", &one)
	}
}

func TestWebhookOwner(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]int{"https://p.test/rest/17/secret/": 17, "": 0, "https://p.test/": 0, "://": 0, "https://p.test/rest/x/y/": 0} {
		if got := webhookOwner(in); got != want {
			t.Errorf("the owner of %q is %d, want %d", in, got, want)
		}
	}
}
