package crm_test

import (
	"testing"
	"time"

	"frontdesk/crm"
	"frontdesk/crm/crmtest"

	"github.com/prometheus/client_golang/prometheus"
)

// A whole call over TLS, at a portal that is renamed in the middle: the address
// for the upload is then the new one's.
func TestACallAtARenamedPortal(t *testing.T) {
	t.Parallel()
	p := newPortal(crmtest.Options{})
	people(p)
	c, _ := serve(t, p, true)
	r, err := c.Register(t.Context(), incoming("leg"))
	if err != nil {
		t.Fatal(err)
	}
	p.SetFault(crmtest.Fault{Kind: crmtest.Moved})
	if _, err := c.Finish(t.Context(), talked(r.CallID, 61)); err != nil {
		t.Fatal(err)
	}
	file, err := c.AttachRecord(t.Context(), r.CallID, recording("a.mp3", mp3(8<<20)))
	if err != nil || file != p.Files()[0].ID {
		t.Fatal(file, err)
	}
	if call := p.Calls()[0]; call.AudioSize != 8<<20 {
		t.Errorf("%d bytes", call.AudioSize)
	}
}

// A portal that refuses connections, or resets them: only the latter may have
// executed what it was sent.
func TestConnectionsThatFail(t *testing.T) {
	t.Parallel()
	p := newPortal(crmtest.Options{})
	people(p)
	c, _ := serve(t, p, false)
	p.SetFault(crmtest.Fault{Kind: crmtest.Reset, Executed: true})
	if _, err := c.Register(t.Context(), incoming("leg")); !crm.Ambiguous(err) || len(p.Calls()) != 1 {
		t.Errorf("%v, %d calls", err, len(p.Calls()))
	}
	p.SetFault(crmtest.Fault{Kind: crmtest.Refuse})
	if _, err := c.Register(t.Context(), incoming("leg-2")); err == nil || crm.Ambiguous(err) || crm.Refused(err) {
		t.Errorf("%v", err)
	}
	p.Heal()
	r, err := c.Register(t.Context(), incoming("leg"))
	if err != nil || len(p.Calls()) != 1 || r.CallID != p.Calls()[0].ID {
		t.Errorf("%+v, %v, %d calls", r, err, len(p.Calls()))
	}
}

// What became of employees' credentials is counted.
func TestFallbacksAreCounted(t *testing.T) {
	bubble(t, func(t *testing.T) {
		w := newAuthors(t)
		registry := prometheus.NewPedanticRegistry()
		registry.MustRegister(w.Collectors()...)
		count := func() (refused float64, fallbacks map[string]float64) {
			t.Helper()
			families, err := registry.Gather()
			if err != nil {
				t.Fatal(err)
			}
			fallbacks = map[string]float64{}
			for _, f := range families {
				for _, m := range f.GetMetric() {
					switch f.GetName() {
					case "frontdesk_crm_refused_authors":
						refused = m.GetGauge().GetValue()
					case "frontdesk_crm_author_fallbacks_total":
						fallbacks[m.GetLabel()[0].GetValue()] = m.GetCounter().GetValue()
					}
				}
			}
			return refused, fallbacks
		}
		add := func(times int) {
			t.Helper()
			for range times {
				if _, err := w.AddLead(t.Context(), 61, stranger()); err != nil {
					t.Fatal(err)
				}
			}
		}
		w.portal.SetReadOnly(61, true)
		add(1)
		w.portal.SetReadOnly(61, false)
		w.portal.SetScopes(61, "task")
		add(3)
		time.Sleep(2 * time.Hour)
		w.portal.RevokeWebhook(own)
		add(2)
		refused, fallbacks := count()
		if refused != 1 || fallbacks["rights"] != 1 || fallbacks["scope"] != 1 || fallbacks["resting"] != 3 || fallbacks["revoked"] != 1 {
			t.Errorf("%v refused, fallbacks %v", refused, fallbacks)
		}
	})
}
