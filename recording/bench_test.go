package recording_test

import (
	"context"
	"errors"
	"math"
	"os"
	"runtime"
	"testing"
	"time"

	"frontdesk/call"
	"frontdesk/needs"
	"frontdesk/recording"
)

// BenchmarkTwoHours makes an mp3 of a call of two hours, and wants it to last as
// long. It reports how much memory of ours is in use at the most.
func BenchmarkTwoHours(b *testing.B) {
	const minutes = 120
	needs.Program(b, "lame", "lame")
	minute := frames(60)
	for range b.N {
		k := recording.New(recording.Config{Dir: b.TempDir()})
		ctx, cancel := context.WithCancel(b.Context())
		done := make(chan error, 1)
		go func() { done <- k.Run(ctx) }()
		before := inUse()
		tape, err := k.Begin("long")
		must(b, err)
		from := time.Now()
		for range minutes {
			_, err = tape.Write(minute)
			must(b, err)
		}
		name, err := tape.Keep()
		must(b, err)
		most := inUse()
		w := recording.Wanted{Call: "long", Talk: call.Talk{Recording: name, From: from, Until: from.Add(minutes * time.Minute), Seconds: minutes * 60}}
		f, err := k.Open(ctx, w)
		tick := time.NewTicker(200 * time.Millisecond)
		for ; errors.Is(err, recording.ErrNotReady); f, err = k.Open(ctx, w) {
			<-tick.C
			most = max(most, inUse())
		}
		tick.Stop()
		must(b, err)
		seconds, _ := heard(b, f.Path)
		if off := math.Abs(seconds - minutes*60); off > 0.5 {
			b.Errorf("the mp3 lasts %v s, %v s from two hours", seconds, off)
		}
		b.ReportMetric(float64(most-min(before, most))/1e6, "MB/most")
		b.ReportMetric(float64(f.Size)/1e6, "MB/mp3")
		b.ReportMetric((seconds-minutes*60)*1000, "ms/off")
		cancel()
		must(b, <-done)
		must(b, os.Remove(f.Path))
	}
}

func must(b *testing.B, err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// inUse is the memory that is in use.
func inUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
