package config

import "slices"

// report gathers problems. Of one value only the first error is kept: what
// follows from a bad value is no news.
type report struct {
	src      *source
	root     *node // nil until the text is parsed
	problems []Problem
	failed   map[string]bool // paths that have an error
}

func newReport(src *source) *report { return &report{src: src, failed: map[string]bool{}} }

func (r *report) add(at position, path, message, hint string, warning bool) {
	r.problems = append(r.problems, Problem{
		File: r.src.name, Line: at.line, Column: at.column,
		Path: path, Message: message, Hint: hint, Warning: warning,
	})
}

// fail reports an error at a place.
func (r *report) fail(at position, path, message, hint string) {
	if path != "" {
		path = joinPath(parsePath(path))
		if r.failed[path] {
			return
		}
		r.failed[path] = true
	}
	r.add(at, path, message, hint, false)
}

// failAt reports an error of the value at a path.
func (r *report) failAt(path, message, hint string) {
	if r.spoilt(path) {
		return
	}
	r.fail(r.root.find(path).at, path, message, hint)
}

// warnAt reports a doubt about the value at a path.
func (r *report) warnAt(path, message, hint string) {
	if r.spoilt(path) {
		return
	}
	r.add(r.root.find(path).at, path, message, hint, true)
}

// spoilt reports whether the value at path, or one around it, has an error
// already or could not be read at all.
func (r *report) spoilt(path string) bool {
	steps := parsePath(path)
	for i := 1; i <= len(steps); i++ {
		if p := joinPath(steps[:i]); r.failed[p] {
			return true
		}
	}
	f := r.root.find(path)
	return f.node.kind == kindBad
}

// done puts the problems in order and cuts their lines out of the source.
func (r *report) done() Problems {
	for i := range r.problems {
		p := &r.problems[i]
		p.Message, p.Hint = r.src.conceal(p.Message), r.src.conceal(p.Hint)
		if p.Line > 0 {
			p.excerpt, p.caret = r.src.excerpt(p.Line, p.Column)
		}
	}
	slices.SortStableFunc(r.problems, byPlace)
	return r.problems
}
