package store_test

import (
	"bytes"
	"errors"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"frontdesk/store"
)

// TestRiverLog: River's routine is for debugging, and an outage does not fill
// the log.
func TestRiverLog(t *testing.T) {
	t.Parallel()
	for level, want := range map[slog.Level]string{slog.LevelInfo: "EWEW", slog.LevelDebug: "DEWDDEWD"} {
		synctest.Test(t, func(t *testing.T) {
			var out bytes.Buffer
			log := store.NewRiverLog(slog.New(slog.NewTextHandler(&out, &slog.HandlerOptions{Level: level}))).With("queue", "x")
			for range 2 {
				for range 2 {
					log.Info("producer: Producer job counts")
					log.Error("producer: Error fetching jobs", "err", errors.New("gone"))
					log.Warn("leadership.Elector: stepping down")
				}
				time.Sleep(2 * time.Minute)
			}
			got := ""
			for line := range strings.Lines(out.String()) {
				if !strings.Contains(line, "part=jobs queue=x") {
					t.Errorf("%s: %s", level, line)
				}
				_, l, _ := strings.Cut(line, "level=")
				got += l[:1]
			}
			if got != want {
				t.Errorf("%s: %s, want %s", level, got, want)
			}
		})
	}
}
