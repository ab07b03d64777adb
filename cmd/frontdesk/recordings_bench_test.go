package main

import (
	"fmt"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"frontdesk/call"
	"frontdesk/media"
)

// BenchmarkRecordings has many calls end at once, each with a recording of our
// own of twenty seconds, until the portal has them all. It reports the memory
// that is in use at the most, sampled after collections.
func BenchmarkRecordings(b *testing.B) {
	const seconds = 20
	for _, n := range []int{50, 500} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s := newStudio(b, "sqlite:"+filepath.Join(b.TempDir(), "frontdesk.db"))
			s.portal.DropAudio(true)
			frames := bothSides(seconds)
			for range b.N {
				before := settled()
				ids := make([]string, n)
				for i := range ids {
					ids[i] = call.NewID()
					s.taped(ids[i], call.Number(fmt.Sprintf("+7916%07d", i)), frames, seconds)
				}
				most := before
				s.until("all recordings are in the portal and nothing is left on the disk", func() bool {
					most = max(most, inUse())
					left, err := filepath.Glob(filepath.Join(s.dir, "*"))
					wanted(b, err)
					return s.attached() == n && len(left) == 0
				})
				b.ReportMetric(float64(before)/1e6, "MB/before")
				b.ReportMetric(float64(most)/1e6, "MB/most")
			}
		})
	}
}

// settled is the memory in use before anything is done: what one collection
// finalises the next one frees.
func settled() uint64 {
	inUse()
	return inUse()
}

// inUse is the memory that is in use.
func inUse() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// bothSides are the frames of a call.
func bothSides(seconds int) []byte {
	left, right := media.Tone(440, time.Duration(seconds)*time.Second), media.Tone(880, time.Duration(seconds)*time.Second)
	out := make([]byte, 0, 4*len(left))
	for i := range left {
		out = append(out, byte(left[i]), byte(left[i]>>8), byte(right[i]), byte(right[i]>>8))
	}
	return out
}

// taped is a bridged call that has ended and was recorded.
func (s *studio) taped(id string, number call.Number, frames []byte, seconds int) {
	tape, err := s.tapes.Begin(id)
	wanted(s.t, err)
	_, err = tape.Write(frames)
	wanted(s.t, err)
	name, err := tape.Keep()
	wanted(s.t, err)
	from := s.clock()
	until := from.Add(time.Duration(seconds) * time.Second)
	s.Ended(call.Record{
		ID: id, Direction: call.In, Parties: call.Parties{Trunk: "carrier", Caller: number}, Times: call.Times{Started: from, Answered: from, Ended: until},
		Routed: call.Routed{Target: "201"}, Ended: call.Ended{Transfer: call.TransferBridge, Result: call.ResultAnswered},
		Talks: []call.Talk{{Extension: "201", Employee: 61, From: from, Until: until, Seconds: seconds, Recording: name}},
	})
}

// attached is how many calls have their recording in the portal, once.
func (s *studio) attached() (n int) {
	for _, c := range s.portal.Calls() {
		if c.Attached > 1 {
			s.t.Errorf("%s has %d recordings", c.ExternalID, c.Attached)
		}
		if c.Attached == 1 {
			n++
		}
	}
	return n
}
