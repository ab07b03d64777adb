package phonebook

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"
)

// Notes keep small values that several nodes see.
type Notes interface {
	// Get is the value of key; fs.ErrNotExist where there is none.
	Get(ctx context.Context, key string) ([]byte, error)
	// CompareAndPut keeps a value where old is there still, nil meaning
	// nothing, and tells whether it did.
	CompareAndPut(ctx context.Context, key string, old, value []byte) (bool, error)
}

const (
	leaseKey   = "phonebook/sync"
	leaseRenew = time.Minute
	leaseDead  = 5 * time.Minute // a node that has not renewed its lease for so long is gone
	leaseTime  = 10 * time.Second
)

// note is who syncs, and when the last full sync was complete.
type note struct {
	Node     string    `json:"node,omitempty"` // who is at it
	Renewed  time.Time `json:"renewed,omitzero"`
	Complete time.Time `json:"complete,omitzero"`
}

// lease is held by the node that syncs.
type lease struct {
	sync *Sync
	note note
	raw  []byte // as it is kept
}

func (s *Sync) note(ctx context.Context) (n note, raw []byte, err error) {
	raw, err = s.cfg.Notes.Get(ctx, leaseKey)
	if errors.Is(err, fs.ErrNotExist) {
		return n, nil, nil
	}
	if err == nil && json.Unmarshal(raw, &n) != nil {
		n = note{} // what cannot be read holds nobody back
	}
	return n, raw, err
}

// claim takes the lease, also over from a node that died.
func (s *Sync) claim(ctx context.Context) (*lease, error) {
	n, raw, err := s.note(ctx)
	if err != nil {
		return nil, err
	}
	if n.Node != "" && n.Node != s.cfg.Node && time.Since(n.Renewed) < leaseDead {
		return nil, fmt.Errorf("%w: %s", ErrElsewhere, n.Node)
	}
	l := &lease{sync: s, note: n, raw: raw}
	l.note.Node = s.cfg.Node
	return l, l.put(ctx)
}

func (l *lease) put(ctx context.Context) error {
	l.note.Renewed = time.Now()
	raw, err := json.Marshal(l.note)
	if err != nil {
		return err
	}
	ok, err := l.sync.cfg.Notes.CompareAndPut(ctx, leaseKey, l.raw, raw)
	if err != nil {
		return err
	}
	if !ok {
		return ErrElsewhere
	}
	l.raw = raw
	return nil
}

// hold renews the lease when it is time.
func (l *lease) hold(ctx context.Context) error {
	if time.Since(l.note.Renewed) < leaseRenew {
		return nil
	}
	return l.put(ctx)
}

// end gives the lease back, also when ctx is over.
func (l *lease) end(ctx context.Context, complete bool) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaseTime)
	defer cancel()
	l.note.Node = ""
	if complete {
		l.note.Complete = time.Now()
	}
	return l.put(ctx)
}
