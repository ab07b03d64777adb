package siptest_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"frontdesk/media"
	"frontdesk/sip/siptest"
)

// noise is a sound that nothing else resembles.
func noise(seed uint64, d time.Duration) []int16 {
	r := rand.New(rand.NewPCG(seed, 0))
	pcm := make([]int16, d*8000/time.Second)
	for i := range pcm {
		pcm[i] = int16(r.IntN(16000) - 8000)
	}
	return pcm
}

func TestLikeness(t *testing.T) {
	t.Parallel()
	clip := noise(1, 500*time.Millisecond)
	half := make([]int16, len(clip))
	for i, v := range clip {
		half[i] = v / 2
	}
	for name, tt := range map[string]struct {
		heard    []int16
		min, max float64
	}{
		"itself":         {clip, .999, 1.001},
		"softer, later":  {slices.Concat(media.Quiet(time.Second), half), .999, 1.001},
		"something else": {noise(2, time.Second), 0, .5},
		"a tone":         {media.Tone(440, time.Second), 0, .5},
		"silence":        {media.Quiet(time.Second), 0, 0},
		"nothing":        {nil, 0, 0},
	} {
		if got := siptest.Likeness(tt.heard, clip); got < tt.min || got > tt.max {
			t.Errorf("%s: %.3f", name, got)
		}
	}
	if got := siptest.Likeness(clip, nil); got != 0 {
		t.Errorf("no clip: %.3f", got)
	}
}

// playUntilHeard plays a clip again where a busy machine has lost some of it.
func playUntilHeard(ctx context.Context, t *testing.T, from, to *siptest.Call, clip []int16) {
	t.Helper()
	for {
		must(t, from.Play(ctx, clip))
		short, cancel := context.WithTimeout(ctx, time.Second)
		err := to.WaitClip(short, clip)
		cancel()
		if err == nil {
			return
		}
		must(t, ctx.Err())
	}
}

func TestWaitClip(t *testing.T) {
	t.Parallel()
	callee, calls := answering(t, siptest.Config{}, 0)
	caller := start(t, siptest.Config{})
	ctx := limit(t)
	c := dial(t, caller, callee, siptest.Options{})
	other := <-calls
	clip := noise(1, 500*time.Millisecond)
	playUntilHeard(ctx, t, c, other, clip)
	if got := siptest.Likeness(other.Heard(), clip); got < .95 {
		t.Errorf("likeness %.3f", got)
	}
	other.Forget()
	short, cancel := context.WithTimeout(ctx, 300*time.Millisecond)
	defer cancel()
	if err := other.WaitClip(short, clip); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("heard again: %v", err)
	}
	must(t, c.Hangup(ctx))
}
