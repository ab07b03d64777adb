package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"golang.org/x/sync/errgroup"

	"frontdesk/call"
	"frontdesk/calllog"
	"frontdesk/cmd/frontdesk/config"
	"frontdesk/crm"
	"frontdesk/media"
	"frontdesk/pbx"
	"frontdesk/recording"
	"frontdesk/store"
	"frontdesk/web"
)

// tapes are the recordings of calls: made by the bridge or by the PBX, kept, and
// handed to the call log. It is nil where recordings are off.
type tapes struct {
	*recording.Keeper
	links *recording.Links // nil where recordings are uploaded
	keep  time.Duration
	store *store.Store
	pbx   bool // the PBX may have recordings
	log   *slog.Logger
}

func newTapes(cfg *config.Config, st *store.Store, xapi *pbx.Client, log *slog.Logger) *tapes {
	c := cfg.Recordings
	if c.Mode == "off" {
		return nil
	}
	t := &tapes{keep: c.Keep, store: st, pbx: xapi != nil, log: log}
	settings := recording.Config{Dir: c.Dir, Stereo: c.Stereo, Logger: log}
	if xapi != nil {
		settings.PBX = pbxRecordings{xapi, cfg.Country}
	}
	t.Keeper = recording.New(settings)
	if c.Mode == "link" {
		t.links = recording.NewLinks(t.Keeper, cfg.HTTP.PublicURL)
	}
	return t
}

// recorder records what an engine relays.
type recorder struct {
	tapes  *tapes
	engine *media.Engine
}

// Record keeps a bridged call. What a full disk left of it is kept too.
func (r recorder) Record(ctx context.Context, id string, client, employee *media.Session) (string, error) {
	tape, err := r.tapes.Begin(id)
	if err != nil {
		return "", err
	}
	got, failed := r.engine.Record(ctx, tape, client, employee)
	if got.Lost > 0 {
		r.tapes.log.Warn("a recording has gaps", "call", id, "packets", got.Lost)
	}
	if errors.Is(failed, media.ErrBusy) || errors.Is(failed, media.ErrClosed) {
		return "", errors.Join(failed, tape.Discard())
	}
	name, err := tape.Keep()
	return name, errors.Join(failed, err)
}

// named has the talks that only the PBX can have recorded looked for there. What
// frontdesk recorded itself is found where it was killed before it had written
// that down.
func (t *tapes) named(r call.Record) call.Record {
	if t == nil {
		return r
	}
	r.Talks = slices.Clone(r.Talks)
	for i := range r.Talks {
		talk := &r.Talks[i]
		if talk.Recording == "" && r.Transfer == call.TransferNone {
			talk.Recording = t.Of(r.ID, *talk)
		}
		if talk.Recording == "" && t.pbx {
			talk.Recording = recording.FromPBX
		}
	}
	return r
}

// Open gives the call log the recording of a talk, as a file or as a link.
func (t *tapes) Open(ctx context.Context, id string, talk call.Talk) (calllog.Sound, error) {
	r, _, err := t.store.Record(ctx, id)
	if err != nil {
		return calllog.Sound{}, fmt.Errorf("the record of call %s: %w", id, err)
	}
	f, err := t.Keeper.Open(ctx, recording.Wanted{Call: id, Talk: talk, Number: clientOf(r)})
	switch {
	case errors.Is(err, recording.ErrNotReady):
		return calllog.Sound{}, calllog.ErrNotReady
	case err != nil:
		return calllog.Sound{}, err
	case t.links != nil:
		url, err := t.links.URL(f, r.Started.Add(t.keep))
		return calllog.Sound{Link: url}, err
	}
	return calllog.Sound{Recording: crm.Recording{
		Name: f.Name, Size: f.Size, Open: func() (io.ReadCloser, error) { return os.Open(f.Path) },
	}}, nil
}

// clientOf is the number of the client of a call.
func clientOf(r call.Record) call.Number {
	if r.Direction == call.Out {
		return r.DID
	}
	return r.Caller
}

// Delivered removes what was uploaded. What is linked stays until its time.
func (t *tapes) Delivered(_ context.Context, id string, talks []call.Talk) error {
	if t.links != nil {
		return nil
	}
	return t.Keeper.Delivered(id, talks)
}

func (t *tapes) run(ctx context.Context, g *errgroup.Group) {
	if t != nil {
		g.Go(func() error { return t.Run(ctx) })
	}
}

func (t *tapes) collectors() []prometheus.Collector {
	if t == nil {
		return nil
	}
	return t.Collectors()
}

// handler serves linked recordings; nil where there are none.
func (t *tapes) handler() http.Handler {
	if t == nil || t.links == nil {
		return nil
	}
	return t.links
}

// recordings is where the call log gets recordings from; nil where they are off.
func (t *tapes) recordings() calllog.Recordings {
	if t == nil {
		return nil
	}
	return t
}

// pbxRecordings finds recordings on the PBX.
type pbxRecordings struct {
	*pbx.Client
	country string
}

// Find names the recordings that overlap a talk, the longest overlap first.
func (p pbxRecordings) Find(ctx context.Context, q recording.Query) ([]recording.Found, error) {
	const around = 2 * time.Minute // clocks differ, and a recording may begin in the queue before
	all, err := p.RecordingsBetween(ctx, q.From.Add(-around), q.Until.Add(around))
	if err != nil {
		return nil, err
	}
	var out []recording.Found
	overlap := func(f recording.Found) time.Duration {
		return earlier(f.Ended, q.Until).Sub(later(f.Began, q.From))
	}
	for _, r := range all {
		f := recording.Found{ID: r.ID, Began: r.Started, Ended: r.Ended}
		if q.ID == r.ID || q.ID == 0 && p.ofTalk(r, q) && (overlap(f) > 0 || f.Ended.IsZero()) {
			out = append(out, f)
		}
	}
	slices.SortStableFunc(out, func(a, b recording.Found) int { return cmp.Compare(overlap(b), overlap(a)) })
	return out, nil
}

// ofTalk reports whether a recording has the extension on one side and the
// number on the other.
func (p pbxRecordings) ofTalk(r pbx.Recording, q recording.Query) bool {
	is := func(side pbx.RecordingParty) bool { return call.ParseNumber(side.Number, p.country) == q.Number }
	return r.From.DN == q.Extension && is(r.To) || r.To.DN == q.Extension && is(r.From)
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

// expiry deletes what is due: from the portal's drive, and from our own folder.
type expiry struct {
	calls *callLog
	tapes *tapes // nil: recordings are off, what was uploaded before is still due
	cfg   func() *config.Config
	log   *slog.Logger
}

// expireAt is when the nightly deletion begins, by the site's clock.
const expireAt = 3*time.Hour + 30*time.Minute

// run deletes every night.
func (e expiry) run(ctx context.Context) error {
	for {
		cfg := e.cfg()
		timer := time.NewTimer(time.Until(nextNight(time.Now().In(cfg.Zone))))
		select {
		case <-ctx.Done():
			timer.Stop()
			return nil
		case <-timer.C:
		}
		sum, err := e.Expire(ctx, func(web.Progress) {})
		if err != nil && ctx.Err() == nil {
			e.log.Error("the nightly deletion of recordings is not complete; it goes on tomorrow", "error", err)
		}
		if len(sum.Deleted)+len(sum.Files)+len(sum.Failed) > 0 {
			e.log.Info("recordings deleted", "portal", len(sum.Deleted), "files", len(sum.Files), "failed", len(sum.Failed))
		}
	}
}

// nextNight is the next begin of the deletion.
func nextNight(now time.Time) time.Time {
	at := time.Date(now.Year(), now.Month(), now.Day(), 0, 0, 0, 0, now.Location()).Add(expireAt)
	if !at.After(now) {
		at = time.Date(now.Year(), now.Month(), now.Day()+1, 0, 0, 0, 0, now.Location()).Add(expireAt)
	}
	return at
}

// Expire deletes now what is due.
func (e expiry) Expire(ctx context.Context, progress func(web.Progress)) (web.Expiry, error) {
	keep := e.cfg().Recordings.Keep
	out := web.Expiry{Before: time.Now().Add(-keep)}
	if e.tapes != nil {
		files, err := e.tapes.Expire(keep)
		if out.Files = files; err != nil {
			return out, err
		}
	}
	if e.calls.client == nil {
		return out, nil
	}
	err := e.calls.Expire(ctx, out.Before, func(x calllog.Expired) {
		item := web.ExpiredFile{File: x.File, Call: x.Call, At: x.At, Error: x.Error}
		if x.Error != "" {
			out.Failed = append(out.Failed, item)
		} else {
			out.Deleted = append(out.Deleted, item)
			e.log.Info("recording deleted from the portal", "file", x.File, "call", x.Call)
		}
		progress(web.Progress{What: "recordings", Done: len(out.Deleted)})
	})
	if err != nil {
		return out, fmt.Errorf("%w: %w", web.ErrPortal, err)
	}
	return out, nil
}
