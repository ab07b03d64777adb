package web

import (
	"context"
	"net/http"
	"time"
)

// Recordings are those whose time has come. Its errors wrap ErrNotHere or
// ErrPortal.
type Recordings interface {
	// Expire deletes what is due, from the portal's drive and our own folder,
	// and says what. progress is called by the goroutine that called Expire.
	Expire(ctx context.Context, progress func(Progress)) (Expiry, error)
}

// Expiry is what became of the recordings that were due.
type Expiry struct {
	Before  time.Time     `json:"before"`          // those of calls that began before are due
	Deleted []ExpiredFile `json:"deleted"`         // from the portal's drive
	Failed  []ExpiredFile `json:"failed"`          // still there
	Files   []string      `json:"files,omitempty"` // deleted from our own folder
}

// ExpiredFile is a recording on the portal's drive.
type ExpiredFile struct {
	File  int       `json:"file"` // its id on the drive
	Call  string    `json:"call"`
	At    time.Time `json:"at"` // when the call began
	Error string    `json:"error,omitempty"`
}

func (s *Server) expireRecordings(w http.ResponseWriter, r *http.Request) {
	s.tool(w, r, "delete recordings", func(ctx context.Context, progress func(Progress)) (any, error) {
		out, err := s.cfg.Tools.Recordings.Expire(ctx, progress)
		out.Deleted, out.Failed = orEmpty(out.Deleted), orEmpty(out.Failed)
		return out, err
	})
}
