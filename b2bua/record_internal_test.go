package b2bua

import (
	"fmt"
	"testing"
	"time"
)

// TestTimelineIsBounded: a call in which a peer re-negotiates without end costs
// no more memory than any other.
func TestTimelineIsBounded(t *testing.T) {
	t.Parallel()
	r := record{zone: time.UTC}
	for i := range 3 * mostEvents {
		r.note(fmt.Sprint(i))
	}
	r.note("end")
	line := r.r.Timeline
	if len(line) != mostEvents || line[0].Event != "0" || line[mostEvents-2].Event != fmt.Sprint(mostEvents-2) || line[mostEvents-1].Event != "end" {
		t.Errorf("%d events, the last ones %v", len(line), line[len(line)-2:])
	}
}
