package recording

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"

	"frontdesk/call"
)

// ErrNotReady says that a recording is being made, cut, encoded or fetched.
var ErrNotReady = errors.New("the recording is not ready yet")

// How a record names a recording.
const (
	filePrefix = "file:"
	pbxPrefix  = "pbx:"

	// FromPBX names a recording that the PBX may have, and that is to be found
	// there by its time and numbers.
	FromPBX = "pbx"
)

// Config is what a Keeper needs. Dir must be set.
type Config struct {
	Dir      string
	PBX      Source        // nil: only what frontdesk recorded itself
	Stereo   bool          // keep the two sides apart in the mp3: 32 kbit/s; else mono at 24
	Patience time.Duration // for a recording that the PBX does not show; 0: half an hour
	Logger   *slog.Logger
	Now      func() time.Time // nil: the real clock
}

// Wanted is a recording that is asked for.
type Wanted struct {
	Call   string // id
	Talk   call.Talk
	Number call.Number // the other side's
}

// File is a recording ready to be delivered.
type File struct {
	Name     string // as the receiver is to see it, with .mp3 or .wav
	Path     string
	Size     int64 // bytes
	Duration time.Duration
}

// Keeper keeps recordings. Its methods may be used from anywhere.
type Keeper struct {
	cfg     Config
	encoder string // path of lame, empty where there is none
	tasks   chan task
	metrics *metrics

	mu     sync.Mutex
	busy   map[string]bool    // outputs that are in the making
	failed map[string]failure // by output
}

// failure is how often making an output failed, and why at last.
type failure struct {
	times int
	last  error
	since time.Time // of the first
	final bool
}

// forgetAfter is how long a failure is remembered: by then nobody asks for its
// output any more.
const forgetAfter = 24 * time.Hour

// queued is how many recordings wait to be made at most; more are asked for
// again later.
const queued = 256

// New opens a keeper on its folder, which is made where it is missing, and
// mends what a crash has left there. A folder that cannot be used is told in the
// log: it stops no call, and is used once it can be.
func New(cfg Config) *Keeper {
	k := &Keeper{
		cfg: cfg, tasks: make(chan task, queued), busy: map[string]bool{}, failed: map[string]failure{},
	}
	if k.cfg.Now == nil {
		k.cfg.Now = time.Now
	}
	if k.cfg.Logger == nil {
		k.cfg.Logger = slog.New(slog.DiscardHandler)
	}
	if k.cfg.Patience == 0 {
		k.cfg.Patience = 30 * time.Minute
	}
	k.encoder = findEncoder()
	if k.encoder == "" {
		k.cfg.Logger.Warn("lame is not installed: recordings are delivered as WAV, which is eleven times as long", "install", "apt-get install lame")
	}
	k.metrics = newMetrics()
	if err := errors.Join(os.MkdirAll(cfg.Dir, 0o700), k.recover()); err != nil {
		k.cfg.Logger.Error("the folder of recordings cannot be used as it should: calls go on, their recordings may be lost", "dir", cfg.Dir, "error", err)
	}
	return k
}

// Run makes recordings ready, one at a time, until ctx ends.
func (k *Keeper) Run(ctx context.Context) error {
	for {
		select {
		case t := <-k.tasks:
			k.work(ctx, t)
		case <-ctx.Done():
			return nil
		}
	}
}

// task makes one output.
type task struct {
	out  string // base name
	make func(ctx context.Context) error
}

func (k *Keeper) work(ctx context.Context, t task) {
	err := t.make(ctx)
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.busy, t.out)
	switch {
	case err == nil:
		delete(k.failed, t.out)
	case ctx.Err() == nil:
		f := k.failed[t.out]
		if f.times == 0 {
			f.since = k.cfg.Now()
		}
		f.times, f.last = f.times+1, err
		f.final = errors.Is(err, fs.ErrNotExist) && k.cfg.Now().Sub(f.since) >= k.cfg.Patience
		maps.DeleteFunc(k.failed, func(_ string, old failure) bool { return k.cfg.Now().Sub(old.since) > k.cfg.Patience+forgetAfter })
		k.failed[t.out] = f
		k.metrics.failures.Inc()
		level, what := slog.LevelWarn, "a recording is not ready"
		switch {
		case f.final:
			level, what = slog.LevelInfo, "a recording was not found and is given up"
		case errors.Is(err, fs.ErrNotExist): // most calls that the PBX did not record
			level = slog.LevelDebug
		}
		k.cfg.Logger.Log(ctx, level, what, "recording", t.out, "error", err, "tries", f.times)
	}
}

// owe has an output made in the background, once.
func (k *Keeper) owe(out string, make func(ctx context.Context) error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.busy[out] {
		return
	}
	select {
	case k.tasks <- task{out, make}:
		k.busy[out] = true
	default: // asked for again later
	}
}

// failure is what became of an output so far.
func (k *Keeper) failure(out string) failure {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.failed[out]
}

// Open gives the recording of a talk: ErrNotReady while it is in the making,
// fs.ErrNotExist where there is none.
func (k *Keeper) Open(ctx context.Context, w Wanted) (File, error) {
	if err := ctx.Err(); err != nil {
		return File{}, err
	}
	source, err := k.source(w)
	if err != nil {
		return File{}, err
	}
	return k.output(source, w)
}

// source is the base name of the WAV that holds the talk.
func (k *Keeper) source(w Wanted) (string, error) {
	name := w.Talk.Recording
	switch {
	case strings.HasPrefix(name, filePrefix):
		name = strings.TrimPrefix(name, filePrefix)
		if !plain.MatchString(name) {
			return "", fmt.Errorf("recording %q is no name: %w", name, fs.ErrNotExist)
		}
		return name, k.whole(name)
	case name == FromPBX || strings.HasPrefix(name, pbxPrefix):
		return k.fromPBX(w)
	}
	return "", fmt.Errorf("recording %q: %w", name, fs.ErrNotExist)
}

// plain is what a name may be made of: it becomes part of a path.
var plain = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]*$`)

// whole reports how a WAV of ours fares: nil when it is there.
func (k *Keeper) whole(name string) error {
	if _, err := os.Stat(k.path(name + wavEnd)); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if _, err := os.Stat(k.path(name + wavEnd + partEnd)); err == nil {
		return ErrNotReady
	}
	return fmt.Errorf("recording %s: %w", name, fs.ErrNotExist)
}

func (k *Keeper) path(name string) string { return filepath.Join(k.cfg.Dir, name) }

// Endings of the folder's files. What is not whole yet has partEnd behind.
const (
	wavEnd  = ".wav"
	mp3End  = ".mp3"
	partEnd = ".part"
)

// Delivered removes what belongs to the recordings of talks: the receiver has
// confirmed that it has them all, or nobody will ever want them.
func (k *Keeper) Delivered(id string, talks []call.Talk) error {
	entries, err := os.ReadDir(k.cfg.Dir)
	if err != nil {
		return fmt.Errorf("recordings: %w", err)
	}
	var errs []error
	for _, t := range talks {
		base := strings.TrimPrefix(t.Recording, filePrefix)
		if t.Recording == FromPBX || strings.HasPrefix(t.Recording, pbxPrefix) {
			base = fetched(id, t)
		}
		for _, e := range entries {
			if belongs(e.Name(), base) {
				errs = append(errs, remove(k.path(e.Name())))
			}
		}
	}
	return errors.Join(errs...)
}

// belongs reports whether a file of the folder was made from a recording.
func belongs(file, base string) bool {
	rest, found := strings.CutPrefix(file, base)
	return found && base != "" && rest != "" && (rest[0] == '.' || rest[0] == '-') && ours(file)
}

// remove deletes a file; that it is gone already is no error.
func remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("recordings: %w", err)
	}
	return nil
}

// Expire removes files that are older than keep, delivered or not, and names
// what it removed.
func (k *Keeper) Expire(keep time.Duration) (removed []string, err error) {
	entries, err := os.ReadDir(k.cfg.Dir)
	if err != nil {
		return nil, fmt.Errorf("recordings: %w", err)
	}
	var errs []error
	for _, e := range entries {
		info, err := e.Info()
		if err != nil || e.IsDir() || !ours(e.Name()) || k.cfg.Now().Sub(info.ModTime()) < keep {
			continue
		}
		if err := remove(k.path(e.Name())); err != nil {
			errs = append(errs, err)
			continue
		}
		removed = append(removed, e.Name())
	}
	return removed, errors.Join(errs...)
}

// ours reports whether a file of the folder is one that a keeper makes.
func ours(name string) bool {
	name = strings.TrimSuffix(name, partEnd)
	base, found := strings.CutSuffix(name, wavEnd)
	if !found {
		base, found = strings.CutSuffix(name, mp3End)
	}
	return found && plain.MatchString(base)
}
