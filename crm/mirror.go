package crm

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"frontdesk/call"
)

// CardStore keeps the mirror's cards over restarts.
type CardStore interface {
	// SaveEntities stores cards in place of what was known of the same
	// entities, all or none.
	SaveEntities(ctx context.Context, cards []call.Card) error
	// DeleteEntities forgets entities; unknown ones are no error.
	DeleteEntities(ctx context.Context, kind call.Kind, ids []int) error
	// LoadEntities gives the cards that changed since a time to each, in any
	// order, and before them what is gone since, by kind and id alone; every
	// card for the zero time.
	LoadEntities(ctx context.Context, since time.Time, each func(c call.Card, gone bool) error) error
}

// StateStore keeps small values by key: how far the mirror is, tokens.
type StateStore interface {
	// Get is the value of key; fs.ErrNotExist where there is none.
	Get(ctx context.Context, key string) ([]byte, error)
	// Put stores a value.
	Put(ctx context.Context, key string, value []byte) error
	// CompareAndPut stores a value where old is there still, nil meaning
	// nothing, and tells whether it did.
	CompareAndPut(ctx context.Context, key string, old, value []byte) (bool, error)
}

// Defaults of MirrorConfig.
const (
	DefaultMaxAge = 24 * time.Hour
	DefaultEvery  = 5 * time.Minute
	// DefaultOperating is half of the execution time that the portal grants a
	// method in ten minutes: the other half is for callers.
	DefaultOperating = 240 * time.Second
)

// MirrorConfig is what a Mirror needs. Cards and State must be set.
type MirrorConfig struct {
	Cards     CardStore
	State     StateStore
	MaxAge    time.Duration // an older copy does not answer; 0: DefaultMaxAge
	Every     time.Duration // between deltas; 0: DefaultEvery
	Night     int           // the hour of the pass that finds deletions, in the client's zone
	Operating time.Duration // what the mirror may use of a method's execution time; 0: DefaultOperating
	Offline   time.Duration // between polls for offline events; 0: there are none
	Shared    bool          // other nodes have the same stores
	Progress  func(Progress)
	Logger    *slog.Logger // nil: discarded
}

// Progress tells how far an export is. At and Last are ids of the kind: At has
// been read, Last is the highest.
type Progress struct {
	Kind     call.Kind `json:"kind"`
	Cards    int       `json:"cards"` // read so far, of this kind
	At, Last int
}

// Mirror is the local copy of the portal: who carries a number, and to whom
// their calls go. It answers from memory, when the portal cannot.
//
// It is fed in four ways. An export reads everything once, page by page by id,
// and goes on where it stopped, also after a restart. Deltas read what was
// modified since the last one. Events name entities that changed, which are
// read again, many at once. A pass at night reads all ids and so finds what was
// deleted. Besides, every live answer is compared with the copy. All of it
// takes what callers leave of the portal's limits.
//
// Of the nodes that share a store one exports, reads deltas, looks for deletions
// and polls for offline events, for all of them; when it dies another does. The
// others take in what it wrote.
//
// It answers once an export has been completed, and only while its last delta
// is not too old. It is safe for concurrent use; Run feeds it.
type Mirror struct {
	client *Client
	cfg    MirrorConfig
	log    *slog.Logger

	index *index
	known atomic.Pointer[cursor] // how far it is; replaced, never changed
	force atomic.Bool            // the store missed something: save also what has not changed

	feeding sync.Mutex // held while a page is read and taken in
	lease   *lease
	pending pending
	checks  chan call.Number // to be verified live
	seen    chan sighting    // live answers
	metrics mirrorMetrics
}

// cursor is how far the mirror is, as it is stored. Modified is the portal's
// time, the others ours.
type cursor struct {
	raw []byte // as it is stored; nil where nothing is

	Fields   string    `json:"fields"`             // what was read of each card; other fields mean another export
	Kind     call.Kind `json:"kind,omitempty"`     // an export's: at this kind
	After    int       `json:"after,omitempty"`    // and this id
	Began    time.Time `json:"began,omitzero"`     // of the export
	Replace  bool      `json:"replace,omitempty"`  // what it does not come by is gone, however much that is
	Since    time.Time `json:"since,omitzero"`     // the portal's time then
	Complete bool      `json:"complete,omitempty"` // an export has been completed
	Modified time.Time `json:"modified,omitzero"`  // deltas go on from here
	Heard    time.Time `json:"heard,omitzero"`     // the copy is as the portal was then
	Swept    time.Time `json:"swept,omitzero"`     // of the last pass for deletions
}

// Keys of the mirror's state.
const (
	cursorKey    = "crm/mirror"
	leaseKey     = "crm/mirror/lease"
	wishKey      = "crm/mirror/export" // not empty where the node that feeds is to export
	employeesKey = "crm/employees"
	offlineKey   = "crm/offline" // the process of offline events that are not confirmed
)

// NewMirror makes the mirror of c's portal. It is empty until Load or Run.
func NewMirror(c *Client, cfg MirrorConfig) (*Mirror, error) {
	if cfg.Cards == nil || cfg.State == nil {
		return nil, errors.New("the mirror needs a store")
	}
	cfg.MaxAge = cmp.Or(max(cfg.MaxAge, 0), DefaultMaxAge)
	cfg.Every = cmp.Or(max(cfg.Every, 0), DefaultEvery)
	cfg.Operating = cmp.Or(max(cfg.Operating, 0), DefaultOperating)
	cfg.Logger = cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler))
	if cfg.Night < 0 || cfg.Night > 23 {
		return nil, fmt.Errorf("the mirror's night pass cannot be at hour %d", cfg.Night)
	}
	m := &Mirror{
		client: c, cfg: cfg, log: cfg.Logger, index: newIndex(),
		lease: newLease(cfg.State, leaseKey, cfg.Logger), pending: newPending(), checks: make(chan call.Number, 256), seen: make(chan sighting, 256),
	}
	m.known.Store(&cursor{})
	feed := m.see
	c.feed.Store(&feed)
	return m, nil
}

// Lookup answers who carries n, from memory, with the copy's age at now. ok is
// false where the mirror cannot tell: it is not complete, or too old. A number
// that nobody carries is an answer too.
func (m *Mirror) Lookup(n call.Number, now time.Time) (a call.Answer, ok bool) {
	at := m.known.Load()
	age := max(now.Sub(at.Heard), 0)
	switch {
	case !at.Complete:
		m.metrics.answers[answerIncomplete].Add(1)
		return call.Answer{}, false
	case age > m.cfg.MaxAge:
		m.metrics.answers[answerStale].Add(1)
		return call.Answer{}, false
	}
	a = call.Answer{Source: call.SourceMirror, Age: call.Seconds(age)}
	if k, fits := pack(n); fits {
		a.Entities = m.index.find(k, m.client.cfg.Zone)
	}
	if len(a.Entities) == 0 {
		m.metrics.answers[answerUnknown].Add(1)
	} else {
		m.metrics.answers[answerKnown].Add(1)
	}
	return a, true
}

// Ready reports whether the mirror answers at now; why says what is missing.
func (m *Mirror) Ready(now time.Time) (ok bool, why string) {
	at := m.known.Load()
	switch age := now.Sub(at.Heard); {
	case !at.Complete:
		return false, "the first export is not complete"
	case age > m.cfg.MaxAge:
		return false, fmt.Sprintf("the copy is %s old", age.Round(time.Second))
	}
	return true, ""
}

// Load reads the stored copy into memory, and the employees where the portal
// has not told them yet. Run does so at its start.
func (m *Mirror) Load(ctx context.Context) error {
	at, err := m.loadCursor(ctx)
	if err != nil {
		return err
	}
	began := time.Now()
	if err := m.learn(ctx, time.Time{}); err != nil {
		return fmt.Errorf("loading the mirror: %w", err)
	}
	if err := m.loadEmployees(ctx); err != nil {
		return err
	}
	m.known.Store(&at)
	if at.Heard.IsZero() {
		m.log.InfoContext(ctx, "the mirror does not answer before its first export is complete")
		return nil
	}
	m.log.InfoContext(ctx, "mirror loaded", "numbers", m.index.carried.Load(), "complete", at.Complete,
		"heard", at.Heard, "took", time.Since(began).Round(time.Millisecond))
	return nil
}

func (m *Mirror) loadCursor(ctx context.Context) (cursor, error) {
	var at cursor
	raw, err := m.cfg.State.Get(ctx, cursorKey)
	if errors.Is(err, fs.ErrNotExist) {
		raw, err = nil, nil
	}
	if err == nil && len(raw) > 0 {
		err = json.Unmarshal(raw, &at)
	}
	if err != nil {
		return at, fmt.Errorf("loading the mirror: %w", err)
	}
	if fields := m.client.fieldsRead(); at.Fields != fields {
		at = cursor{Fields: fields} // what the copy lacks, or took from another field, would misroute
	}
	at.raw = raw
	return at, nil
}

// save stores how far the mirror is, and only then makes it so.
func (m *Mirror) save(ctx context.Context, at *cursor) error {
	raw, err := json.Marshal(at)
	if err == nil {
		err = m.putCursor(ctx, at.raw, raw)
	}
	if err != nil {
		return fmt.Errorf("saving how far the mirror is: %w", err)
	}
	at.raw = raw
	saved := *at
	m.known.Store(&saved)
	return nil
}

// putCursor puts after in place of before. Of nodes that share the store one
// that has lost its lease, and has not noticed, thus overwrites nothing.
func (m *Mirror) putCursor(ctx context.Context, before, after []byte) error {
	if !m.cfg.Shared {
		return m.cfg.State.Put(ctx, cursorKey, after)
	}
	ok, err := m.cfg.State.CompareAndPut(ctx, cursorKey, before, after)
	if err == nil && !ok {
		err = errMoved
	}
	return err
}

func (m *Mirror) loadEmployees(ctx context.Context) error {
	var list []call.Employee
	err := getJSON(ctx, m.cfg.State, employeesKey, &list)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("loading the employees: %w", err)
	}
	m.client.seed(list)
	return nil
}

// saveEmployees stores the employees as they are now.
func (m *Mirror) saveEmployees(ctx context.Context) error {
	all := m.client.Employees()
	if len(all) == 0 {
		return nil
	}
	list := make([]call.Employee, 0, len(all))
	for _, id := range slices.Sorted(maps.Keys(all)) {
		list = append(list, all[id])
	}
	if err := putJSON(ctx, m.cfg.State, employeesKey, list); err != nil {
		return fmt.Errorf("saving the employees: %w", err)
	}
	return nil
}

func getJSON(ctx context.Context, s StateStore, key string, out any) error {
	b, err := s.Get(ctx, key)
	if err != nil {
		return err
	}
	if len(b) == 0 {
		return fs.ErrNotExist
	}
	return json.Unmarshal(b, out)
}

func putJSON(ctx context.Context, s StateStore, key string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return s.Put(ctx, key, b)
}

// pack packs a card for the index.
func (m *Mirror) pack(c call.Card) (ref, packed, error) {
	if !slices.Contains(kindOrder[:], c.Kind) || c.ID <= 0 {
		return 0, nil, errShape
	}
	keys := make([]key, 0, len(c.Phones))
	for _, phone := range c.Phones {
		if k, ok := pack(readStored(phone, m.client.cfg.Country)); ok && !slices.Contains(keys, k) {
			keys = append(keys, k)
		}
	}
	p, err := newPacked(c, keys)
	return refOf(c.Kind, c.ID), p, err
}

// take takes cards in: into the store those that are new or changed, and into
// memory whatever the store says. A store that fails is told everything again
// later: the error keeps the caller from going on.
func (m *Mirror) take(ctx context.Context, cards []call.Card) error {
	force := m.force.Load()
	changed := make([]call.Card, 0, len(cards))
	for _, c := range cards {
		r, p, err := m.pack(c)
		if err != nil {
			return fmt.Errorf("%s %d: %w", c.Kind, c.ID, err)
		}
		if _, same := m.index.has(r, p); same && !force {
			continue
		}
		m.index.put(r, p)
		changed = append(changed, c)
	}
	if len(changed) == 0 {
		return nil
	}
	slices.SortFunc(changed, func(a, b call.Card) int { // nodes that write the same do not lock each other out
		return cmp.Compare(refOf(a.Kind, a.ID), refOf(b.Kind, b.ID))
	})
	m.metrics.changes.Add(int64(len(changed)))
	if err := m.cfg.Cards.SaveEntities(ctx, changed); err != nil {
		m.force.Store(true)
		return fmt.Errorf("saving the mirror: %w", err)
	}
	return nil
}

// drop forgets entities that the portal has no more.
func (m *Mirror) drop(ctx context.Context, k call.Kind, ids []int) error {
	if len(ids) == 0 {
		return nil
	}
	for _, id := range ids {
		m.index.remove(refOf(k, id))
	}
	m.metrics.deletions.Add(int64(len(ids)))
	if err := m.cfg.Cards.DeleteEntities(ctx, k, ids); err != nil {
		return fmt.Errorf("saving the mirror: %w", err)
	}
	return nil
}

// fieldsRead names what is read of each card.
func (c *Client) fieldsRead() string {
	f := c.cfg.Fields
	return strings.Join(append([]string{f.Manager, f.Temporary, f.Until, f.Direct, f.NoSticky}, f.Extra...), ",")
}

// seed makes employees known to a client that has heard of none.
func (c *Client) seed(list []call.Employee) {
	all := make(map[int]call.Employee, len(list))
	for _, e := range list {
		all[e.ID] = e
	}
	if len(all) > 0 {
		c.staff.mu.Lock()
		defer c.staff.mu.Unlock()
		c.staff.all.CompareAndSwap(nil, &all)
	}
}
