package recording

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"frontdesk/call"
)

// beganFormat is how the begin of a tape stands in its name.
const beganFormat = "20060102T150405"

// Tape is a recording in the making. What is written are frames as media.Engine's
// Record makes them.
type Tape struct {
	*os.File
	k    *Keeper
	name string
}

// Begin opens a tape for a call that is talked over from now on.
func (k *Keeper) Begin(id string) (*Tape, error) {
	now := k.cfg.Now().UTC()
	name := fmt.Sprintf("%s-%s%03d", id, now.Format(beganFormat), now.Nanosecond()/int(time.Millisecond))
	if !plain.MatchString(name) {
		return nil, fmt.Errorf("recording: call %q has no name for a file", id)
	}
	if err := os.MkdirAll(k.cfg.Dir, 0o700); err != nil { // its disk may have come since the start
		return nil, fmt.Errorf("recording: %w", err)
	}
	f, err := os.OpenFile(k.path(name+wavEnd+partEnd), os.O_CREATE|os.O_EXCL|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("recording: %w", err)
	}
	if _, err := f.Write(header(0)); err != nil {
		return nil, errors.Join(fmt.Errorf("recording: %w", err), f.Close(), remove(f.Name()))
	}
	return &Tape{f, k, name}, nil
}

// Keep closes a tape that is whole as far as it goes, and is how the record of
// the call names it.
func (t *Tape) Keep() (name string, err error) {
	part := t.Name()
	_, err = mend(t.File)
	if err = errors.Join(err, t.Sync(), t.Close()); err == nil {
		err = os.Rename(part, strings.TrimSuffix(part, partEnd))
	}
	if err != nil {
		return "", fmt.Errorf("recording: %w", err)
	}
	t.k.metrics.tapes.Inc()
	return filePrefix + t.name, nil
}

// Discard throws a tape away.
func (t *Tape) Discard() error { return errors.Join(t.Close(), remove(t.Name())) }

// began is when a tape began, by its name; ok is false for other names.
func began(name string) (time.Time, bool) {
	i := strings.LastIndexByte(name, '-')
	if i < 0 || len(name)-i-1 != len(beganFormat)+3 {
		return time.Time{}, false
	}
	at, err := time.Parse(beganFormat, name[i+1:len(name)-3])
	if err != nil {
		return time.Time{}, false
	}
	ms, err := time.ParseDuration(strings.TrimLeft(name[len(name)-3:], "0") + "ms")
	if err != nil {
		ms = 0 // 000
	}
	return at.Add(ms), true
}

// Of is how a record names the tape on which a talk of a call is, empty where
// there is none: it is asked for where a crash has kept the name from the record.
func (k *Keeper) Of(id string, t call.Talk) (name string) {
	entries, err := os.ReadDir(k.cfg.Dir)
	if err != nil {
		return ""
	}
	for _, e := range entries { // by name, and so by time
		base, tape := strings.CutSuffix(e.Name(), wavEnd)
		if at, ok := began(base); tape && ok && strings.HasPrefix(base, id+"-") && !at.After(t.Until) {
			name = filePrefix + base
		}
	}
	return name
}

// recover gives the tapes that a crash has left their headers, and throws away
// what else was half made.
func (k *Keeper) recover() error {
	entries, err := os.ReadDir(k.cfg.Dir)
	if err != nil {
		return fmt.Errorf("recordings: %w", err)
	}
	var errs []error
	for _, e := range entries {
		name, part := strings.CutSuffix(e.Name(), partEnd)
		if !part || !ours(name) {
			continue
		}
		base, wav := strings.CutSuffix(name, wavEnd)
		if _, tape := began(base); !wav || !tape {
			errs = append(errs, remove(k.path(e.Name())))
			continue
		}
		d, err := mendFile(k.path(e.Name()))
		if err == nil {
			err = os.Rename(k.path(e.Name()), k.path(name))
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("recordings: %w", err))
			continue
		}
		k.cfg.Logger.Info("a recording was cut off and is kept", "recording", base, "seconds", d.Seconds())
	}
	return errors.Join(errs...)
}

// span is which part of a tape a talk is; all is true where it is the tape
// whole, but for a moment at its ends.
func span(name string, length time.Duration, t call.Talk) (from, until time.Duration, all bool) {
	const moment = 1500 * time.Millisecond
	at, ok := began(name)
	if !ok || t.From.IsZero() {
		return 0, length, true
	}
	end := t.Until
	if end.IsZero() {
		end = t.From.Add(time.Duration(t.Seconds) * time.Second)
	}
	from = min(max(t.From.Sub(at), 0), length)
	until = min(max(end.Sub(at), from), length)
	if from <= moment && length-until <= moment {
		return 0, length, true
	}
	return from, until, false
}
