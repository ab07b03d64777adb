package main

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"frontdesk/b2bua"
	"frontdesk/call"
)

// TestWebhooks tells another system of a call through all that serve wires,
// without a portal and with one.
func TestWebhooks(t *testing.T) {
	t.Parallel()
	for _, portal := range []bool{false, true} {
		t.Run(fmt.Sprintf("portal %t", portal), func(t *testing.T) {
			t.Parallel()
			var mu sync.Mutex
			var got []string
			hook := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				var e struct {
					Event string
					Call  call.Record
				}
				if err := json.NewDecoder(r.Body).Decode(&e); err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				got = append(got, fmt.Sprintf("%s %s to %s", e.Event, e.Call.ID, e.Call.Target))
			}))
			t.Cleanup(hook.Close)
			d := newServed(t, func(url string) string {
				crm := "crm: {bitrix24: {webhook: \"\"}}\n"
				if portal {
					crm = byWebhook(url)
				}
				return crm + fmt.Sprintf("webhooks: [{url: %q, secret: 0123456789abcdef}]\n", hook.URL)
			})
			sys, end := d.serve(t)
			var deps b2bua.Deps
			sys.deps(&deps, sys.live.Load().cfg)
			r := call.Record{ID: "a", Direction: call.In, Parties: call.Parties{Caller: "+79161234567"}, Times: call.Times{Started: time.Now()}, Routed: call.Routed{Target: "201"}}
			wait := func(n int) {
				t.Helper()
				tick := time.NewTicker(10 * time.Millisecond)
				defer tick.Stop()
				over := time.After(30 * time.Second)
				for {
					mu.Lock()
					have := len(got)
					mu.Unlock()
					if have == n {
						return
					}
					select {
					case <-tick.C:
					case <-over:
						t.Fatalf("the webhook heard %v", got)
					}
				}
			}
			deps.Observer.Ringing(r)
			wait(1)
			deps.Observer.Answered("a", "202")
			wait(2)
			r.Times.Ended, r.Target = time.Now(), "202"
			deps.Log.Add(r)
			wait(3)
			end()
			if want := []string{"ringing a to 201", "answered a to 202", "ended a to 202"}; !slices.Equal(got, want) {
				t.Errorf("the webhook heard %q, want %q", got, want)
			}
		})
	}
}

// TestNobodyObserves: calls tell nobody where there is nobody.
func TestNobodyObserves(t *testing.T) {
	t.Parallel()
	d := newServed(t, func(string) string { return "crm: {bitrix24: {webhook: \"\"}}\n" })
	sys, _ := d.serve(t)
	if o := sys.observer(sys.live.Load().cfg); o != nil {
		t.Errorf("calls are observed by %v", o)
	}
}
