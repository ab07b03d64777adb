package calllog_test

import (
	"fmt"
	"path/filepath"
	"testing"

	"github.com/prometheus/client_golang/prometheus"

	"frontdesk/crm/crmtest"
)

// TestNeverBlocks tells a log that nobody runs of more calls than it can hold:
// nothing waits. What rings is dropped and left to the end of the call, records
// are dropped last.
func TestNeverBlocks(t *testing.T) {
	t.Parallel()
	const calls, ringing, records = 10_100, 4 * 64, 10_000
	w := newWorld(t, "sqlite:"+filepath.Join(t.TempDir(), "frontdesk.db"), newPortal(crmtest.Options{}))
	w.start()
	for i := range calls {
		r := incoming(fmt.Sprint(i))
		w.log.Ringing(r)
		w.log.Answered(r.ID, "201")
		w.log.Ended(r)
	}
	if n := w.counted(t, "frontdesk_calllog_ringing_total", "dropped"); n != 2*calls-ringing {
		t.Errorf("%v of %d were dropped, want all but %d", n, 2*calls, ringing)
	}
	if n := w.counted(t, "frontdesk_calllog_records_lost_total", ""); n != calls-records {
		t.Errorf("%v of %d records were lost, want %d", n, calls, calls-records)
	}
}

// counted is a counter of the log, of the series that has a label's value.
func (w *world) counted(t *testing.T, name, label string) float64 {
	t.Helper()
	registry := prometheus.NewRegistry()
	registry.MustRegister(w.log.Collectors()...)
	families, err := registry.Gather()
	must(t, err)
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			wanted := label == ""
			for _, l := range m.GetLabel() {
				wanted = wanted || l.GetValue() == label
			}
			if wanted {
				return m.GetCounter().GetValue()
			}
		}
	}
	t.Fatalf("no metric %s of %q", name, label)
	return 0
}
