package media

import (
	"context"
	"fmt"
	"io"
	"time"
)

// recordEvery is how often a recorder writes.
const recordEvery = 500 * time.Millisecond

// Recorded is what a recorder has written.
type Recorded struct {
	Duration time.Duration // from its start to its end, silence included
	Lost     int           // packets that came too late, or that a slow disk had no time for
}

// Record writes what two legs say until ctx ends: frames of two samples, a's and
// b's, of 16 bits each, little endian, at 8 kHz. Gaps are silence, so that both
// stay in step and the audio lasts as long as the recorder ran. Only G.711 is
// heard. The media never wait for it: a disk that is too slow loses audio, and
// one that fails ends the recording with an error.
//
// A leg is recorded once at a time; a second recorder gets ErrBusy.
func (e *Engine) Record(ctx context.Context, w io.Writer, a, b *Session) (Recorded, error) {
	tracks, err := tap(a, b)
	if err != nil {
		return Recorded{}, fmt.Errorf("recording: %w", err)
	}
	defer a.untap(tracks[0])
	defer b.untap(tracks[1])
	m := &mixdown{w: w, start: time.Now()}
	if err := m.follow(ctx, tracks); err != nil {
		return Recorded{}, fmt.Errorf("recording: %w", err)
	}
	done := Recorded{Duration: time.Duration(m.written) * time.Second / sampleRate, Lost: m.late / (sampleRate / 50)}
	for _, t := range tracks {
		done.Lost += t.missed()
	}
	return done, nil
}

// shortest is what is recorded of two who never talked, in samples: a file
// without any sound is one that most programs refuse.
const shortest = sampleRate / 50

// follow writes what the tracks hold, again and again, until ctx ends.
func (m *mixdown) follow(ctx context.Context, tracks [2]*track) error {
	ticker := time.NewTicker(recordEvery)
	defer ticker.Stop()
	var left, right batch
	for {
		var now time.Time
		ended := false
		select {
		case now = <-ticker.C:
		case <-ctx.Done():
			now, ended = time.Now(), true
		}
		left, right = tracks[0].drain(left), tracks[1].drain(right)
		if err := m.merge(left, right); err != nil {
			return err
		}
		if ended {
			return m.flush(max(m.frames(now), shortest))
		}
		if err := m.flush(m.frames(now) - drift); err != nil {
			return err
		}
	}
}

// tap has both legs' packets copied, or neither's.
func tap(a, b *Session) (tracks [2]*track, err error) {
	tracks = [2]*track{{}, {}}
	if err := a.tap(tracks[0]); err != nil {
		return tracks, err
	}
	if err := b.tap(tracks[1]); err != nil {
		a.untap(tracks[0])
		return tracks, err
	}
	return tracks, nil
}

func (s *Session) tap(t *track) error {
	s.in.mu.Lock()
	defer s.in.mu.Unlock()
	switch {
	case s.in.sock == nil:
		return ErrClosed
	case s.in.ears.track != nil:
		return ErrBusy
	}
	s.in.ears.track = t
	return s.in.admit()
}

// untap ends that. A socket that closes meanwhile needs no filter.
func (s *Session) untap(t *track) {
	s.in.mu.Lock()
	defer s.in.mu.Unlock()
	if s.in.ears.track != t {
		return
	}
	s.in.ears.track = nil
	if s.in.sock == nil {
		return
	}
	if err := s.in.admit(); err != nil {
		s.engine.cfg.Logger.Warn("ending a recording", "error", err)
	}
}
