package main

import (
	"fmt"
	"net/http/httptest"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"testing"
	"time"

	"frontdesk/crm"
	"frontdesk/crm/crmtest"
	"frontdesk/pbx"
	"frontdesk/pbx/pbxtest"
	"frontdesk/phonebook"
	"frontdesk/store"
)

// BenchmarkFullSync is a first full sync of many contacts and a second one that
// changes nothing, against both sandboxes over loopback and a SQLite
// file, without a limit of requests. The CPU is that of the whole process, both
// sandboxes included; held is the memory that the second sync has in use once
// it has read the PBX and the CRM.
func BenchmarkFullSync(b *testing.B) {
	for _, n := range []int{5_000, 50_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) { fullSync(b, n) })
	}
}

func fullSync(b *testing.B, n int) {
	for b.Loop() {
		portal := crmtest.New(crmtest.Options{})
		for id := 1; id <= n; id++ {
			portal.AddContact(crmtest.Contact{
				ID: id, Name: "Анна", LastName: fmt.Sprintf("Орлова-%d", id), Phones: []string{fmt.Sprintf("8 916 %07d", id), fmt.Sprintf("8 495 %07d", id)},
				Card: crmtest.Card{Kinds: []string{"MOBILE", "WORK"}, Post: "CFO", Mails: []string{fmt.Sprintf("a%d@example.com", id)}},
			})
		}
		api := pbxtest.NewAPI(pbxtest.NewState(pbxtest.StateConfig{}))
		book, end := unlimited(b, portal, api)
		for _, pass := range []string{"first", "second"} {
			runtime.GC()
			var before, held runtime.MemStats
			runtime.ReadMemStats(&before)
			began, cpu, crmRequests, pbxRequests := time.Now(), processTime(b), portal.Total(), api.Total()
			sum, err := book.Full(b.Context(), phonebook.Options{}, func(p phonebook.Progress) {
				if p.Stage == phonebook.StageCRM && p.Done == n && pass == "second" {
					runtime.GC()
					runtime.ReadMemStats(&held)
				}
			})
			if err != nil {
				b.Fatal(err)
			}
			if pass == "second" && sum.Written != (phonebook.Written{}) || sum.Wanted != n {
				b.Fatalf("%+v", sum)
			}
			b.ReportMetric(time.Since(began).Seconds(), pass+"-s")
			b.ReportMetric((processTime(b) - cpu).Seconds(), pass+"-cpu-s")
			b.ReportMetric(float64(portal.Total()-crmRequests), pass+"-crm-requests")
			b.ReportMetric(float64(api.Total()-pbxRequests), pass+"-pbx-requests")
			if pass == "second" {
				b.ReportMetric((float64(held.HeapAlloc)-float64(before.HeapAlloc))/1e6, "held-MB")
			}
		}
		end()
	}
}

// unlimited is a phonebook between both sandboxes that asks as fast as it can.
func unlimited(b *testing.B, portal *crmtest.Portal, api *pbxtest.API) (book *phonebook.Sync, end func()) {
	b.Helper()
	must := func(err error) {
		b.Helper()
		if err != nil {
			b.Fatal(err)
		}
	}
	portalServer, err := crmtest.Start(portal, crmtest.ServerConfig{})
	must(err)
	pbxServer := httptest.NewServer(api)
	st, err := store.Open(b.Context(), "sqlite:"+filepath.Join(b.TempDir(), "frontdesk.db"), store.Options{})
	must(err)
	client, err := crm.New(crm.Config{Webhook: crm.Webhook(portalServer.Webhook()), Country: "RU", Rate: crm.Rate{PerSecond: 1e6, Burst: 1e6}})
	must(err)
	xapi, err := pbx.NewClient(pbx.Config{URL: pbxServer.URL, ID: "frontdesk", Secret: "secret", Rate: 1e6})
	must(err)
	book, err = phonebook.New(phonebook.Config{Source: client, Book: addressBook{xapi}, Links: st, Notes: st, Node: "a"})
	must(err)
	return book, func() {
		xapi.Close()
		client.Close()
		api.Close()
		pbxServer.Close()
		must(portalServer.Close())
		must(st.Close())
	}
}

func processTime(b *testing.B) time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &r); err != nil {
		b.Fatal(err)
	}
	return time.Duration(r.Utime.Nano() + r.Stime.Nano())
}
