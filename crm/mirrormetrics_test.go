package crm_test

import (
	"math"
	"testing"
	"time"

	"frontdesk/call"
	"frontdesk/crm"
	"frontdesk/crm/crmtest"

	"github.com/prometheus/client_golang/prometheus"
)

// gathered are the values of m's metrics by name and label.
func gathered(t *testing.T, m *crm.Mirror) map[string]float64 {
	t.Helper()
	r := prometheus.NewPedanticRegistry()
	for _, c := range m.Collectors() {
		must(t, r.Register(c))
	}
	families, err := r.Gather()
	must(t, err)
	out := map[string]float64{}
	for _, f := range families {
		for _, v := range f.GetMetric() {
			name := f.GetName()
			for _, l := range v.GetLabel() {
				name += " " + l.GetValue()
			}
			out[name] = v.GetGauge().GetValue() + v.GetCounter().GetValue()
		}
	}
	return out
}

func TestMirrorMetrics(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPortal(crmtest.Options{})
		populate(p, 60)
		w := newWorld(t, p)
		m := newMirror(t, w, newMemory())
		if got := gathered(t, m); !math.IsNaN(got["frontdesk_crm_mirror_age_seconds"]) || got["frontdesk_crm_mirror_export_ratio"] != 0 {
			t.Errorf("before the export: %v", got)
		}
		m.Lookup(call.Number(mobile(1)), time.Now())
		must(t, m.Export(t.Context()))
		m.Lookup(call.Number(mobile(1)), time.Now())
		m.Lookup(call.Number(mobile(99)), time.Now())
		m.Lookup(call.Number(mobile(1)), time.Now().Add(25*time.Hour))
		h := m.Events("right")
		postEvent(t, h, eventBody("ONCRMLEADADD", "5", "right"))
		postEvent(t, h, eventBody("ONSOMETHING", "5", "right"))
		postEvent(t, h, eventBody("ONCRMLEADADD", "5", "wrong"))
		p.Remove(call.KindContact, 10)
		must(t, m.Sweep(t.Context()))
		got := gathered(t, m)
		for name, want := range map[string]float64{
			"frontdesk_crm_mirror_entities contact": 59, "frontdesk_crm_mirror_entities lead": 0, "frontdesk_crm_mirror_numbers": 59,
			"frontdesk_crm_mirror_export_ratio": 1, "frontdesk_crm_mirror_changes_total": 60, "frontdesk_crm_mirror_deletions_total": 1,
			"frontdesk_crm_mirror_lookups_total known": 1, "frontdesk_crm_mirror_lookups_total unknown": 1,
			"frontdesk_crm_mirror_lookups_total stale": 1, "frontdesk_crm_mirror_lookups_total incomplete": 1,
			"frontdesk_crm_events_total taken": 1, "frontdesk_crm_events_total ignored": 1, "frontdesk_crm_events_total refused": 1,
			"frontdesk_crm_mirror_failures_total": 0,
		} {
			if v, ok := got[name]; !ok || v != want {
				t.Errorf("%s is %v, want %v", name, v, want)
			}
		}
	})
}
