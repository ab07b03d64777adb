package tts

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync/atomic"
)

// cache is a directory of rendered prompts, <key>.wav each. It never fails its
// user: what cannot be read is rendered again, what cannot be written is not
// kept.
type cache struct {
	dir     string // empty: none
	logger  *slog.Logger
	metrics *metrics
	failing atomic.Bool // so that a full disk is logged once
}

func newCache(dir string, logger *slog.Logger, m *metrics) *cache {
	c := &cache{dir: dir, logger: logger, metrics: m}
	if dir != "" {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			c.note("making", err)
		}
	}
	return c
}

// cacheKey names the audio of a text by all that makes it sound as it does.
func cacheKey(engine, voice, language, text string) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %q %q %q", engine, voice, language, text))
	return hex.EncodeToString(sum[:])
}

func (c *cache) path(key string) string { return filepath.Join(c.dir, key+".wav") }

// load reads a prompt. A damaged file is as good as none.
func (c *cache) load(key string) ([]int16, bool) {
	if c.dir == "" {
		return nil, false
	}
	f, err := os.Open(c.path(key))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, false
	}
	if err != nil {
		c.note("reading", err)
		return nil, false
	}
	defer f.Close()
	b, err := readLimited(f)
	var pcm []int16
	if err == nil {
		pcm, err = decodeCached(b)
	}
	if err != nil {
		c.metrics.cacheErrors.Inc()
		c.logger.Warn("cached prompt is damaged and is rendered again", "file", c.path(key), "error", err)
		return nil, false
	}
	return pcm, true
}

// save writes a prompt so that a reader sees all of it or nothing.
func (c *cache) save(key string, pcm []int16) {
	if c.dir == "" {
		return
	}
	if err := c.write(key, EncodeWAV(pcm, SampleRate)); err != nil {
		c.note("writing", err)
		return
	}
	c.failing.Store(false)
}

func (c *cache) write(key string, b []byte) (err error) {
	f, err := os.CreateTemp(c.dir, ".rendered-*")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			_ = os.Remove(f.Name()) // the first error is the one to tell
		}
	}()
	_, err = f.Write(b)
	err = errors.Join(err, f.Chmod(0o644), f.Sync(), f.Close())
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), c.path(key))
}

// note counts a failure of the disk and logs the first of a row.
func (c *cache) note(doing string, err error) {
	c.metrics.cacheErrors.Inc()
	if !c.failing.Swap(true) {
		c.logger.Warn("prompt cache cannot be used; prompts play, but are not kept", "doing", doing, "dir", c.dir, "error", err)
	}
}
