package sip_test

import (
	"context"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"frontdesk/sip"
)

func TestCollectors(t *testing.T) {
	bubble(t, func(ctx context.Context, in *sip.Incoming) { <-ctx.Done() }, func(d *desk) {
		reg := prometheus.NewRegistry()
		for _, c := range d.Collectors() {
			if err := reg.Register(c); err != nil {
				t.Error(err)
			}
		}
		c := d.ua(trunkAddr).call("metrics")
		c.invite()
		families, err := reg.Gather()
		if err != nil {
			t.Fatal(err)
		}
		got := map[string]float64{}
		for _, f := range families {
			got[f.GetName()] = f.GetMetric()[0].GetGauge().GetValue()
		}
		for _, name := range []string{"frontdesk_sip_server_transactions", "frontdesk_sip_dialogs"} {
			if got[name] != 1 {
				t.Errorf("%s is %v, want 1", name, got[name])
			}
		}
		c.send(c.again("CANCEL"))
		c.want("SIP/2.0 200")
		c.want("SIP/2.0 487")
		c.send(c.again("ACK"))
	})
}
