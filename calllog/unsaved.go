package calllog

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"frontdesk/call"
	"frontdesk/store"
)

const (
	unsavedFiles = "unsaved-*.jsonl"
	unsavedLine  = 4 << 20 // the longest record that is read back
)

// unsaved is a line of a file of records.
type unsaved struct {
	State  store.RecordState `json:"state"`
	Record call.Record       `json:"record"`
}

// Close writes what is left once nobody tells the log anything any more, after
// Run: into the database or, where that takes none, into a file, which the next
// Run reads. Its error says that records are lost.
func (l *Log) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), flushLimit)
	defer cancel()
	err := l.flush(ctx)
	if err == nil {
		return nil
	}
	l.ending.mu.Lock()
	left := l.pending
	l.pending = nil
	l.ending.mu.Unlock()
	file, e := spill(l.cfg.Unsaved, left)
	if e != nil {
		return fmt.Errorf("%d records of calls are lost: %w", len(left), errors.Join(err, e))
	}
	l.log.WarnContext(ctx, "the database does not take records of calls, they wait in a file for the next start", "left", len(left), "file", file, "error", err)
	return nil
}

// spill writes records into a file of their own, which is whole once it has its
// name.
func spill(dir string, left []ended) (name string, err error) {
	if dir == "" {
		return "", errors.New("no folder for them is configured")
	}
	const mode = 0o700
	if err := os.MkdirAll(dir, mode); err != nil {
		return "", err
	}
	f, err := os.CreateTemp(dir, unsavedFiles+".part")
	if err != nil {
		return "", err
	}
	out := bufio.NewWriter(f)
	lines := json.NewEncoder(out)
	for _, e := range left {
		err = errors.Join(err, lines.Encode(unsaved{e.state, e.record}))
	}
	err = errors.Join(err, out.Flush(), f.Sync(), f.Close())
	name = f.Name()[:len(f.Name())-len(".part")]
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	return name, errors.Join(err, syncDir(dir))
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// recall writes the records of earlier processes that the database did not take
// then. A file is deleted once all of it is written; what cannot be read stays,
// under another name.
func (l *Log) recall(ctx context.Context) {
	if l.cfg.Unsaved == "" {
		return
	}
	files, err := filepath.Glob(filepath.Join(l.cfg.Unsaved, unsavedFiles))
	if err != nil {
		l.log.ErrorContext(ctx, "records of calls that wait in files cannot be found", "error", err)
		return
	}
	for _, name := range files {
		n, err := l.recallFile(ctx, name)
		switch {
		case ctx.Err() != nil:
			return
		case err == nil:
			err = os.Remove(name)
		default:
			err = errors.Join(err, os.Rename(name, name+".damaged"))
		}
		if err != nil {
			l.log.ErrorContext(ctx, "records of calls that waited in a file cannot all be read", "file", name, "records", n, "error", err)
			continue
		}
		l.log.InfoContext(ctx, "records of calls that waited in a file are written", "file", name, "records", n)
	}
}

// recallFile writes the records of one file and gives how many there were.
func (l *Log) recallFile(ctx context.Context, name string) (n int, err error) {
	f, err := os.Open(name)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, unsavedLine)
	for lines.Scan() {
		var u unsaved
		if e := json.Unmarshal(lines.Bytes(), &u); e != nil {
			err = errors.Join(err, e)
			continue
		}
		if !l.settleAtLast(ctx, ended{record: u.Record, state: u.State}) {
			return n, context.Cause(ctx)
		}
		n++
	}
	return n, errors.Join(err, lines.Err())
}

// settleAtLast writes a record, as often as it takes, and reports whether it is
// written before ctx ends.
func (l *Log) settleAtLast(ctx context.Context, e ended) bool {
	for wait := retryFirst; ; wait = min(2*wait, retryMost) {
		err := l.settle(ctx, e)
		if err == nil {
			return true
		}
		if wait == retryFirst && ctx.Err() == nil {
			l.log.WarnContext(ctx, "a record that waited in a file is not written yet, trying on", "call", e.record.ID, "error", err)
		}
		if !pause(ctx, wait) {
			return false
		}
	}
}
