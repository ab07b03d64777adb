package tts

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	lru "github.com/hashicorp/golang-lru/v2"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/singleflight"
)

// Config says how a Store renders and where it keeps what it rendered.
type Config struct {
	Engines  []Engine // in order of preference; none: recorded and cached prompts only
	Language string   // BCP 47 tag of all prompts
	Voice    string   // of the first engine; the others speak with their default voice

	Prompts *Prompts // recordings that win over the engines; may be nil
	Before  []int16  // 8 kHz audio put before every prompt
	Dir     string   // cache directory, made if missing; empty: no cache on disk

	Memory  int           // prompts kept ready in memory; 256 if 0 (a 6 s greeting takes about 200 kB)
	Renders int           // how many are rendered at a time; 4 if 0
	Timeout time.Duration // of one rendering, all engines together; 30 s if 0
	Rest    time.Duration // how long an engine that failed is left alone; 30 s if 0
	Logger  *slog.Logger
}

// Store gives prompts. T is what a player wants, made from 8 kHz samples once
// and shared by all who ask.
type Store[T any] struct {
	cfg     Config
	build   func(pcm []int16) T
	engines []*engine
	cache   *cache
	metrics *metrics

	ready   *lru.Cache[string, T]
	flights singleflight.Group
	slots   chan struct{} // one for each rendering in progress
	life    *life
}

// engine is an Engine with what the Store knows of its health.
type engine struct {
	Engine
	voice   string
	rested  atomic.Int64 // Unix nanoseconds until which it is left alone
	failing atomic.Bool  // so that a failure is logged once, not once a prompt
}

// NewStore makes a store. A cache directory that cannot be used is logged and
// done without.
func NewStore[T any](cfg Config, build func(pcm []int16) T) (*Store[T], error) {
	cfg.Memory = cmp.Or(cfg.Memory, 256)
	cfg.Renders = cmp.Or(cfg.Renders, 4)
	cfg.Timeout = cmp.Or(cfg.Timeout, 30*time.Second)
	cfg.Rest = cmp.Or(cfg.Rest, 30*time.Second)
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	ready, err := lru.New[string, T](cfg.Memory)
	if err != nil || cfg.Renders < 1 {
		return nil, fmt.Errorf("prompt store: bad size: memory %d, renders %d", cfg.Memory, cfg.Renders)
	}
	m := newMetrics()
	s := &Store[T]{
		cfg: cfg, build: build, metrics: m, ready: ready,
		cache: newCache(cfg.Dir, cfg.Logger, m),
		slots: make(chan struct{}, cfg.Renders),
		life:  newLife(),
	}
	for i, e := range cfg.Engines {
		known := &engine{Engine: e}
		if i == 0 {
			known.voice = cfg.Voice
		}
		s.engines = append(s.engines, known)
	}
	return s, nil
}

// Close stops what is being rendered in the background and waits for it.
func (s *Store[T]) Close() error {
	s.life.end()
	return nil
}

// Prompt is the prompt that speaks text. It waits for a rendering until ctx
// ends; then it gives a fallback voice that is at hand, or ErrNotReady with
// ctx's cause, while the rendering goes on for the next call.
func (s *Store[T]) Prompt(ctx context.Context, text string) (T, error) {
	text = spaced(text)
	if text == "" {
		var none T
		return none, fmt.Errorf("%w: it is empty", ErrText)
	}
	key := s.key(0, text)
	if v, ok := s.ready.Get(key); ok {
		s.metrics.prompt(sourceMemory)
		return v, nil
	}
	done := s.flights.DoChan(key, func() (any, error) { return s.load(ctx, text) })
	select {
	case r := <-done:
		if r.Err != nil {
			s.metrics.prompt(sourceNone)
			var none T
			return none, r.Err
		}
		f := r.Val.(found[T])
		s.metrics.prompt(f.source)
		return f.value, nil
	case <-ctx.Done():
		return s.late(ctx, text)
	}
}

// found is a prompt and where it came from.
type found[T any] struct {
	value  T
	source string
}

// late is what there is for a caller who cannot wait any longer.
func (s *Store[T]) late(ctx context.Context, text string) (T, error) {
	for i := range s.engines {
		if v, ok := s.ready.Get(s.key(i, text)); ok {
			s.metrics.prompt(sourceFallback)
			return v, nil
		}
	}
	s.metrics.prompt(sourceNone)
	var none T
	return none, fmt.Errorf("%w: %w", ErrNotReady, context.Cause(ctx))
}

// key is the name under which the i-th engine's audio for text is kept.
func (s *Store[T]) key(i int, text string) string {
	if i >= len(s.engines) {
		return cacheKey("", "", s.cfg.Language, text)
	}
	e := s.engines[i]
	return cacheKey(e.Name(), e.voice, s.cfg.Language, text)
}

// load finds or renders a prompt, in the background of whoever asked: it
// outlives ctx, within the configured timeout.
func (s *Store[T]) load(ctx context.Context, text string) (f found[T], err error) {
	defer func() {
		if r := recover(); r != nil { // an engine's panic costs this prompt, not the process
			s.cfg.Logger.Error("rendering a prompt panicked", "panic", r, "stack", string(debug.Stack()))
			err = fmt.Errorf("rendering panicked: %v", r)
		}
	}()
	ctx, done, err := s.life.begin(ctx, s.cfg.Timeout)
	if err != nil {
		return f, err
	}
	defer done()
	if v, ok := s.recorded(text); ok {
		return found[T]{v, sourceRecorded}, nil
	}
	errs := []error{ErrNoEngine}
	for i := range s.engines {
		f, err := s.speak(ctx, i, text)
		if err == nil {
			return f, nil
		}
		errs = append(errs, err)
	}
	if len(errs) > 1 {
		errs = errs[1:]
	}
	return f, errors.Join(errs...)
}

// recorded is the prompt that somebody spoke for text. A recording that cannot
// be read is logged, and an engine speaks instead.
func (s *Store[T]) recorded(text string) (v T, ok bool) {
	path, ok := s.cfg.Prompts.Find(text)
	if !ok {
		return v, false
	}
	pcm, err := LoadWAV(path)
	if err != nil {
		s.cfg.Logger.Warn("recorded prompt cannot be used", "error", err)
		return v, false
	}
	return s.keep(s.key(0, text), pcm), true
}

// keep builds what a player wants and holds it in memory.
func (s *Store[T]) keep(key string, pcm []int16) T {
	if len(s.cfg.Before) > 0 {
		pcm = append(append(make([]int16, 0, len(s.cfg.Before)+len(pcm)), s.cfg.Before...), pcm...)
	}
	v := s.build(pcm)
	s.ready.Add(key, v)
	return v
}

// speak gets the i-th engine's audio: from memory, from the cache directory, or
// from the engine.
func (s *Store[T]) speak(ctx context.Context, i int, text string) (found[T], error) {
	key, e := s.key(i, text), s.engines[i]
	source := func(first string) string {
		if i > 0 {
			return sourceFallback
		}
		return first
	}
	if v, ok := s.ready.Get(key); ok {
		return found[T]{v, source(sourceMemory)}, nil
	}
	if pcm, ok := s.cache.load(key); ok {
		return found[T]{s.keep(key, pcm), source(sourceDisk)}, nil
	}
	if wait := time.Until(time.Unix(0, e.rested.Load())); wait > 0 {
		return found[T]{}, fmt.Errorf("%s failed lately and is left alone for %s", e.Name(), wait.Round(time.Second))
	}
	pcm, err := s.render(ctx, i, text)
	if err != nil {
		return found[T]{}, err
	}
	s.cache.save(key, pcm)
	return found[T]{s.keep(key, pcm), source(sourceRendered)}, nil
}

// render has the i-th engine speak, within its share of the time left, and
// brings the audio to 8 kHz.
func (s *Store[T]) render(ctx context.Context, i int, text string) ([]int16, error) {
	e := s.engines[i]
	select {
	case s.slots <- struct{}{}:
		defer func() { <-s.slots }()
	case <-ctx.Done():
		return nil, fmt.Errorf("waiting to render: %w", context.Cause(ctx))
	}
	began := time.Now()
	if until, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, until.Sub(began)/time.Duration(len(s.engines)-i))
		defer cancel()
	}
	wav, err := e.Synthesize(ctx, text, s.cfg.Language, e.voice)
	var a Audio
	if err == nil {
		a, err = DecodeWAV(wav)
	}
	s.metrics.rendered(e.Name(), time.Since(began), err)
	s.judge(e, err)
	if err != nil {
		return nil, fmt.Errorf("rendering by %s: %w", e.Name(), err)
	}
	return a.At8k(), nil
}

// judge lets an engine in trouble rest, and logs the first failure of a row and
// its end. A refused text says nothing about the engine.
func (s *Store[T]) judge(e *engine, err error) {
	switch {
	case err == nil:
		if e.failing.Swap(false) {
			s.cfg.Logger.Info("speech engine works again", "engine", e.Name())
		}
	case errors.Is(err, ErrText):
		s.cfg.Logger.Warn("speech engine refused a text", "engine", e.Name(), "error", err)
	case s.life.over(): // our own doing
	default:
		e.rested.Store(time.Now().Add(s.cfg.Rest).UnixNano())
		if !e.failing.Swap(true) {
			s.cfg.Logger.Warn("speech engine failed", "engine", e.Name(), "error", err)
		}
	}
}

// Prerender has all texts ready: in memory as far as it reaches, and on disk.
// One rendering slot is left to live calls. Progress, which may be nil, is
// called after each text, one call at a time. The error tells how many failed,
// and the first reason.
func (s *Store[T]) Prerender(ctx context.Context, texts []string, progress func(done, total int)) error {
	texts = distinct(texts)
	var (
		mu           sync.Mutex
		done, failed int
		first        error
	)
	g := errgroup.Group{}
	g.SetLimit(max(1, s.cfg.Renders-1))
	for _, text := range texts {
		if ctx.Err() != nil {
			break
		}
		g.Go(func() error {
			_, err := s.Prompt(ctx, text)
			mu.Lock()
			defer mu.Unlock()
			done++
			if err != nil {
				failed++
				if first == nil {
					first = err
				}
			}
			if progress != nil {
				progress(done, len(texts))
			}
			return nil
		})
	}
	_ = g.Wait() // its functions return no error
	if ctx.Err() != nil {
		return fmt.Errorf("rendering prompts ahead: %d of %d done: %w", done-failed, len(texts), context.Cause(ctx))
	}
	if failed > 0 {
		return fmt.Errorf("rendering prompts ahead: %d of %d failed: %w", failed, len(texts), first)
	}
	return nil
}

// distinct is texts without repetitions, as they are looked up.
func distinct(texts []string) []string {
	seen := make(map[string]bool, len(texts))
	var out []string
	for _, t := range texts {
		if t = spaced(t); !seen[t] {
			seen[t] = true
			out = append(out, t)
		}
	}
	return out
}
