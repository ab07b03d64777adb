package b2bua

import (
	"context"
	"testing"

	"frontdesk/media"
	"frontdesk/sip"
)

// namer is a Recorder that names what it is given.
type namer struct{}

func (namer) Record(ctx context.Context, _ string, _, _ *media.Session) (string, error) {
	<-ctx.Done()
	return "tape", nil
}

// TestTapedAtOnce: a talk that is over before its recorder came to run, as on a
// busy machine, has a recording all the same.
func TestTapedAtOnce(t *testing.T) {
	t.Parallel()
	c := &conversation{agent: &Agent{Deps: Deps{Recorder: namer{}}}, in: &sip.Incoming{Leg: &sip.Leg{}}, taped: true}
	for range 100 {
		tape := c.tape(t.Context(), nil, nil, nil)
		tape.end()
		if name := tape.kept(); name != "tape" {
			t.Fatalf("the recording is named %q", name)
		}
	}
}
