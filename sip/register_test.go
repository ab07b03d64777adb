package sip_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"frontdesk/sip"
)

func TestRegistration(t *testing.T) {
	bubble(t, redirecting, func(d *desk) {
		registrar := d.ua(trunkAddr)
		r := &sip.Registration{
			Stack: d.Stack, Registrar: "sip:" + trunkAddr, Account: sip.Address{User: "74951234567", Host: "carrier.example"},
			Credentials: sip.Credentials{User: "user", Password: "secret", Realm: "carrier"},
		}
		ctx, cancel := context.WithCancel(d.t.Context())
		ended := make(chan error, 1)
		go func() { ended <- r.Run(ctx) }()

		first := registrar.want("REGISTER sip:" + trunkAddr)
		registrar.send(registrar.reply(first, "401 Unauthorized", "r", challenges("carrier", "n1", "")))
		second := registrar.want("REGISTER")
		if field(second, "CSeq") != "2 REGISTER" || !strings.Contains(field(second, "Authorization"), `username="user"`) || strings.Contains(second, "secret") {
			t.Errorf("sent\n%s", second)
		}
		registrar.send(registrar.reply(second, "200 OK", "r", "Contact: "+field(second, "Contact")+";expires=100"))
		start := time.Now()
		third := registrar.want("REGISTER")
		near(t, "refresh", time.Since(start), 80*time.Second)
		if !r.Registered() || field(third, "Call-ID") != field(first, "Call-ID") {
			t.Errorf("registered %v, sent\n%s", r.Registered(), third)
		}
		registrar.send(registrar.reply(third, "503 Service Unavailable", "r"))
		start = time.Now()
		fourth := registrar.want("REGISTER")
		if wait := time.Since(start); r.Registered() || wait < 5*time.Second || wait > 7*time.Second {
			t.Errorf("registered %v, again after %v", r.Registered(), wait)
		}
		registrar.send(registrar.reply(fourth, "423 Interval Too Brief", "r", "Min-Expires: 1200"))
		fifth := registrar.want("REGISTER")
		if field(fifth, "Expires") != "1200" {
			t.Errorf("Expires %s", field(fifth, "Expires"))
		}
		registrar.send(registrar.reply(fifth, "200 OK", "r"))
		registrar.silent(time.Minute)
		cancel()
		last := registrar.want("REGISTER")
		if field(last, "Expires") != "0" {
			t.Errorf("sent\n%s", last)
		}
		registrar.send(registrar.reply(last, "200 OK", "r"))
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
