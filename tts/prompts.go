package tts

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
)

// Prompts are recordings that people made: WAV files in directories, which win
// over every engine. A text is matched by the first of these that is there:
//
//  1. NAME.txt beside NAME.wav, where NAME.txt holds the text (how its words
//     are broken into lines does not matter),
//  2. the text's slug: "Всего доброго!" is всего-доброго.wav,
//  3. the SHA-256 of the text in hex: 5f2b...e1.wav.
//
// Directories are read once, by OpenPrompts; a text never becomes part of a
// path.
type Prompts struct {
	files map[string]string // text, slug or hash, each with its prefix -> path
}

// The prefixes of the index.
const (
	byText = "text:"
	byName = "name:"
)

// maxPromptText is the longest NAME.txt that is read, in bytes.
const maxPromptText = 16 << 10

// OpenPrompts lists the recordings in dirs. Where two directories have one for
// the same text, the earlier directory wins. A directory that does not exist
// holds none.
func OpenPrompts(dirs ...string) (*Prompts, error) {
	p := &Prompts{files: map[string]string{}}
	for _, dir := range dirs {
		if err := p.scan(dir); err != nil {
			return nil, fmt.Errorf("recorded prompts: %w", err)
		}
	}
	return p, nil
}

func (p *Prompts) scan(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		ext := filepath.Ext(e.Name())
		if e.IsDir() || !strings.EqualFold(ext, ".wav") {
			continue
		}
		stem := strings.TrimSuffix(e.Name(), ext)
		path := filepath.Join(dir, e.Name())
		p.add(byName+Slug(stem), path)
		text, err := promptText(filepath.Join(dir, stem+".txt"))
		if err != nil {
			return err
		}
		if text != "" {
			p.add(byText+text, path)
		}
	}
	return nil
}

func (p *Prompts) add(key, path string) {
	if _, taken := p.files[key]; !taken {
		p.files[key] = path
	}
}

// promptText reads the text beside a recording, empty where there is none.
func promptText(path string) (string, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxPromptText))
	if err != nil {
		return "", err
	}
	return spaced(strings.TrimPrefix(string(b), "\ufeff")), nil
}

// Find is the path of the recording that speaks text, if there is one.
func (p *Prompts) Find(text string) (path string, ok bool) {
	if p == nil {
		return "", false
	}
	text = spaced(text)
	sum := sha256.Sum256([]byte(text))
	for _, key := range []string{byText + text, byName + Slug(text), byName + hex.EncodeToString(sum[:])} {
		if path, ok := p.files[key]; ok && key != byName {
			return path, true
		}
	}
	return "", false
}

// Check reads every recording and tells all that cannot be played.
func (p *Prompts) Check() error {
	paths := map[string]bool{}
	for _, path := range p.files {
		paths[path] = true
	}
	var errs []error
	for path := range paths {
		if _, err := LoadWAV(path); err != nil {
			errs = append(errs, err)
		}
	}
	slices.SortFunc(errs, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(errs...)
}

// Slug is text as a file is named after it: letters and digits of any script in
// lower case, and one hyphen for whatever lies between them.
func Slug(text string) string {
	var b strings.Builder
	gap := false
	for _, r := range text {
		if !unicode.IsLetter(r) && !unicode.IsDigit(r) && !unicode.IsMark(r) {
			gap = b.Len() > 0
			continue
		}
		if gap {
			b.WriteByte('-')
			gap = false
		}
		b.WriteRune(unicode.ToLower(r))
	}
	return b.String()
}

// spaced is text with each run of white space as one space.
func spaced(text string) string { return strings.Join(strings.Fields(text), " ") }
