package recording

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"time"

	"frontdesk/call"
)

// Source is the PBX's recordings.
type Source interface {
	// Find names the recordings of an extension's talks with a number that
	// overlap a time, the best first; id is one that is asked for by name, 0
	// for none.
	Find(ctx context.Context, q Query) ([]Found, error)
	// Download writes the audio to w. It may not be whole yet.
	Download(ctx context.Context, id int, w io.Writer) (int64, error)
}

// Query says which recording of the PBX is wanted.
type Query struct {
	ID          int // 0: by what follows
	Extension   call.Extension
	Number      call.Number
	From, Until time.Time
}

// Found is a recording of the PBX.
type Found struct {
	ID           int
	Began, Ended time.Time // Ended is zero while it goes on
}

// fetched is the base name of a recording that comes from the PBX.
func fetched(id string, t call.Talk) string {
	if n := strings.TrimPrefix(t.Recording, pbxPrefix); n != t.Recording {
		return "pbx-" + n
	}
	return id + "-pbx" + strconv.FormatInt(t.From.Unix(), 10)
}

// fromPBX is the base name of a recording of the PBX, which is fetched where
// that was not done yet.
func (k *Keeper) fromPBX(w Wanted) (string, error) {
	base := fetched(w.Call, w.Talk)
	if !plain.MatchString(base) {
		return "", fmt.Errorf("recording %q is no name: %w", w.Talk.Recording, fs.ErrNotExist)
	}
	if _, err := os.Stat(k.path(base + wavEnd)); !errors.Is(err, fs.ErrNotExist) {
		return base, err
	}
	if k.cfg.PBX == nil {
		return "", fmt.Errorf("recording %s: the PBX's interface is off: %w", base, fs.ErrNotExist)
	}
	if f := k.failure("fetch " + base); f.final {
		return "", fmt.Errorf("recording %s: the PBX has none since %v: %w", base, k.cfg.Patience, f.last)
	}
	k.owe("fetch "+base, func(ctx context.Context) error { return k.fetch(ctx, base, w) })
	return "", ErrNotReady
}

// fetch finds a recording and downloads it. It counts as whole when its header
// fits its size, and its audio lasts as long as the PBX says.
func (k *Keeper) fetch(ctx context.Context, base string, w Wanted) error {
	until := w.Talk.Until
	if until.IsZero() {
		until = w.Talk.From.Add(time.Duration(w.Talk.Seconds) * time.Second)
	}
	q := Query{Extension: w.Talk.Extension, Number: w.Number, From: w.Talk.From, Until: until}
	if n := strings.TrimPrefix(w.Talk.Recording, pbxPrefix); n != w.Talk.Recording {
		id, err := strconv.Atoi(n)
		if err != nil {
			return fmt.Errorf("recording %s: %w", base, fs.ErrNotExist)
		}
		q.ID = id
	}
	found, err := k.cfg.PBX.Find(ctx, q)
	if err != nil {
		return err
	}
	if len(found) == 0 {
		return fmt.Errorf("recording %s: not on the PBX: %w", base, fs.ErrNotExist)
	}
	return k.download(ctx, base, found[0])
}

func (k *Keeper) download(ctx context.Context, base string, r Found) error {
	part := k.path(base + wavEnd + partEnd)
	f, err := os.OpenFile(part, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = k.cfg.PBX.Download(ctx, r.ID, f)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil {
		err = complete(part, r)
	}
	if err == nil {
		err = os.Rename(part, k.path(base+wavEnd))
	}
	if err != nil {
		return errors.Join(fmt.Errorf("recording %d of the PBX: %w", r.ID, err), remove(part))
	}
	k.metrics.fetched.Inc()
	return nil
}

// complete tells whether a download is the whole recording.
func complete(path string, r Found) error {
	const tolerance = 3 * time.Second
	shape, err := readWAV(path)
	if err != nil {
		return err
	}
	if r.Ended.IsZero() {
		return fmt.Errorf("%w: it is still being recorded", errWAV)
	}
	lasts := r.Ended.Sub(r.Began)
	if d := shape.duration(); d < lasts-tolerance {
		return fmt.Errorf("%w: it lasts %v of %v", errWAV, d.Round(time.Second), lasts)
	}
	return nil
}
