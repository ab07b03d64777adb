package calllog

import (
	"context"
	"fmt"
	"time"

	"frontdesk/store"
)

// Expired is what an expiry did with one recording.
type Expired struct {
	File  int       `json:"file"` // on the portal's drive
	Call  string    `json:"call"`
	At    time.Time `json:"at"`              // when the call began
	Error string    `json:"error,omitempty"` // why it is still there; empty: it is deleted
}

// expireAt is how many recordings are asked for at a time.
const expireAt = 50

// Expire deletes from the portal's drive the recordings that this call log put
// there, of calls that began before a time, and tells each of them. It never
// touches another file. A recording that the portal does not let go is told
// with its error and tried again at the next expiry; the error returned is that
// of a portal or a database that cannot be worked with at all.
func (l *Log) Expire(ctx context.Context, before time.Time, tell func(Expired)) error {
	var last store.PortalFile
	for {
		files, err := l.cfg.Store.FilesBefore(ctx, before, last, expireAt)
		if err != nil || len(files) == 0 {
			return wrap("which recordings are due", err)
		}
		last = files[len(files)-1]
		if err := l.expire(ctx, files, tell); err != nil {
			return err
		}
	}
}

func (l *Log) expire(ctx context.Context, files []store.PortalFile, tell func(Expired)) error {
	ids := make([]int, len(files))
	for i, f := range files {
		ids[i] = f.ID
	}
	deleted, failed, err := l.cfg.CRM.DeleteFiles(ctx, ids)
	gone := make(map[int]bool, len(deleted))
	for _, id := range deleted {
		gone[id] = true
	}
	var forget []store.PortalFile
	for _, f := range files {
		e := Expired{File: f.ID, Call: f.Call, At: f.At}
		switch why, refused := failed[f.ID]; {
		case gone[f.ID]:
			forget = append(forget, f)
		case refused:
			e.Error = why.Error()
		default:
			continue // nobody knows; it is asked for again
		}
		l.metrics.expired(e.Error == "")
		tell(e)
	}
	if kept := l.cfg.Store.DeleteFiles(ctx, forget...); kept != nil {
		return wrap("forgetting deleted recordings", kept)
	}
	return wrap("deleting recordings", err)
}

func wrap(what string, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}
