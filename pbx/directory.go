package pbx

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"frontdesk/call"

	"github.com/prometheus/client_golang/prometheus"
)

// DefaultRefresh is how often a Directory reads the PBX's numbers.
const DefaultRefresh = time.Minute

// numbersKey is where the last good list is kept.
const numbersKey = "pbx/numbers"

// StateStore keeps small values by key.
type StateStore interface {
	// Get is the value of key; fs.ErrNotExist where there is none.
	Get(ctx context.Context, key string) ([]byte, error)
	// Put stores a value.
	Put(ctx context.Context, key string, value []byte) error
}

// Lister reads the PBX's numbers and its users; a Client does.
type Lister interface {
	Peers(ctx context.Context) ([]Peer, error)
	Users(ctx context.Context) ([]User, error)
}

// DirectoryConfig is what a Directory needs; Lister must be set.
type DirectoryConfig struct {
	Lister  Lister
	Static  call.Numbers       // for as long as the PBX has never answered
	Store   StateStore         // the last good list, over a restart; may be nil
	Refresh time.Duration      // 0: DefaultRefresh
	Changed func(call.Numbers) // called from Load and Run with every new list; may be nil
	Logger  *slog.Logger       // nil: discarded
}

// Directory knows the numbers of the PBX and the state of its users, from
// memory. The last good list survives outages and restarts; an empty one never
// takes its place.
type Directory struct {
	cfg     DirectoryConfig
	log     *slog.Logger
	list    atomic.Pointer[call.Numbers] // nil: the static list holds
	users   atomic.Pointer[presence]
	stats   directoryStats
	unkept  atomic.Bool // the list is newer than the one in the store
	failing bool        // of refresh alone
}

// directoryStats are what the metrics show.
type directoryStats struct {
	refreshes, failures atomic.Int64
	answered            atomic.Int64 // Unix time of the last good list
}

// presence is the state of users as of a moment.
type presence struct {
	at          time.Time
	unavailable map[call.Extension]string
}

// NewDirectory makes a directory that knows the static list. Load gives it the
// last good one, Run keeps it fresh.
func NewDirectory(cfg DirectoryConfig) *Directory {
	if cfg.Refresh <= 0 {
		cfg.Refresh = DefaultRefresh
	}
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	return &Directory{cfg: cfg, log: cfg.Logger}
}

// Numbers are the PBX's numbers: its own list, else the last one, else the
// static one.
func (d *Directory) Numbers() call.Numbers {
	if n := d.list.Load(); n != nil {
		return *n
	}
	return d.cfg.Static
}

// Availability of an extension.
type Availability string

// The availabilities; the empty one says that it is not known.
const (
	Available    Availability = "available"
	Unregistered Availability = "not registered"
	DoNotDisturb Availability = "do not disturb"
	Disabled     Availability = "disabled"
)

// Unavailable are the extensions that cannot be rung now, and why; nil where it
// is not known. The map does not change any more.
func (d *Directory) Unavailable() map[call.Extension]string {
	p := d.users.Load()
	if p == nil || time.Since(p.at) > 3*d.cfg.Refresh {
		return nil
	}
	return p.unavailable
}

// Availability is the state of a user; empty where 3CX does not say.
func (u User) Availability() Availability {
	switch {
	case !u.Enabled:
		return Disabled
	case u.quiet():
		return DoNotDisturb
	case u.Registered == nil:
		return ""
	case !*u.Registered:
		return Unregistered
	}
	return Available
}

// quiet reports whether the user wants no calls. "Out of office" is the name
// under which 3CX keeps the state that its apps show as do not disturb.
func (u User) quiet() bool {
	switch strings.ReplaceAll(strings.ToLower(u.Profile), " ", "") {
	case "outofoffice", "donotdisturb", "dnd":
		return true
	}
	return false
}

// numbersOf sorts the PBX's numbers: extensions, and whatever else takes calls.
func numbersOf(peers []Peer) call.Numbers {
	var n call.Numbers
	for _, p := range peers {
		if strings.ContainsFunc(string(p.Number), func(r rune) bool { return r < '0' || r > '9' }) {
			continue
		}
		switch strings.ToLower(p.Type) {
		case "extension":
			n.Extensions = append(n.Extensions, string(p.Number))
		case "queue", "ringgroup", "ivr":
			n.Queues = append(n.Queues, string(p.Number))
		}
	}
	return call.Numbers{Extensions: tidy(n.Extensions), Queues: tidy(n.Queues)}
}

func tidy(r call.Ranges) call.Ranges {
	slices.Sort(r)
	return slices.Compact(r)
}

// Load takes the last good list out of the store, for the time until the PBX
// answers.
func (d *Directory) Load(ctx context.Context) error {
	if d.cfg.Store == nil {
		return nil
	}
	b, err := d.cfg.Store.Get(ctx, numbersKey)
	if errors.Is(err, fs.ErrNotExist) || err == nil && len(b) == 0 {
		return nil
	}
	var n call.Numbers
	if err == nil {
		err = json.Unmarshal(b, &n)
	}
	if err != nil {
		return fmt.Errorf("the PBX's last list of numbers: %w", err)
	}
	if len(n.Extensions) > 0 && d.list.CompareAndSwap(nil, &n) {
		d.changed(n)
	}
	return nil
}

func (d *Directory) changed(n call.Numbers) {
	if d.cfg.Changed != nil {
		d.cfg.Changed(n)
	}
}

// Run reads the numbers at once and then every Refresh until ctx ends.
func (d *Directory) Run(ctx context.Context) error {
	tick := time.NewTicker(d.cfg.Refresh)
	defer tick.Stop()
	for {
		d.refresh(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// refresh reads numbers and users. It logs when trouble begins and when it
// ends.
func (d *Directory) refresh(ctx context.Context) {
	d.stats.refreshes.Add(1)
	err := d.Refresh(ctx)
	switch {
	case ctx.Err() != nil:
	case err != nil:
		d.stats.failures.Add(1)
		if d.list.Load() == nil {
			err = errors.Join(err, d.Load(ctx)) // the store may be there by now
		}
		if !d.failing {
			d.log.WarnContext(ctx, "the PBX's numbers or users cannot be read, the last ones hold", "error", err)
		}
		d.failing = true
	case d.failing:
		d.failing = false
		d.log.InfoContext(ctx, "the PBX's numbers can be read again")
	}
}

var errNoNumbers = errors.New("the PBX's list has no extension")

// Refresh reads numbers and users once. Where users cannot be read only their
// state is unknown.
func (d *Directory) Refresh(ctx context.Context) error {
	peers, err := d.cfg.Lister.Peers(ctx)
	if err != nil {
		return err
	}
	n := numbersOf(peers)
	if len(n.Extensions) == 0 {
		return errNoNumbers
	}
	d.stats.answered.Store(time.Now().Unix())
	err = d.adopt(ctx, n)
	users, usersErr := d.cfg.Lister.Users(ctx)
	if usersErr != nil {
		return errors.Join(err, usersErr)
	}
	p := presence{at: time.Now(), unavailable: map[call.Extension]string{}}
	for _, u := range users {
		if a := u.Availability(); a != "" && a != Available {
			p.unavailable[u.Number] = string(a)
		}
	}
	d.users.Store(&p)
	return err
}

// adopt takes a new list and keeps it.
func (d *Directory) adopt(ctx context.Context, n call.Numbers) error {
	old := d.list.Swap(&n)
	if old == nil || !slices.Equal(old.Extensions, n.Extensions) || !slices.Equal(old.Queues, n.Queues) {
		d.log.InfoContext(ctx, "the PBX's numbers are read", "extensions", len(n.Extensions), "queues", len(n.Queues))
		d.unkept.Store(true)
		d.changed(n)
	}
	if d.cfg.Store == nil || !d.unkept.Load() {
		return nil
	}
	b, err := json.Marshal(n)
	if err == nil {
		err = d.cfg.Store.Put(ctx, numbersKey, b)
	}
	if err != nil {
		return fmt.Errorf("keeping the PBX's numbers: %w", err)
	}
	d.unkept.Store(false)
	return nil
}

// Collectors are the directory's metrics.
func (d *Directory) Collectors() []prometheus.Collector {
	gauge := func(name, help string, f func() float64) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help}, f)
	}
	counter := func(name, help string, v *atomic.Int64) prometheus.Collector {
		return prometheus.NewCounterFunc(prometheus.CounterOpts{Name: name, Help: help}, func() float64 { return float64(v.Load()) })
	}
	return []prometheus.Collector{
		gauge("frontdesk_pbx_numbers", "Extensions, queues, ring groups and menus of the PBX in memory.", func() float64 {
			n := d.Numbers()
			return float64(len(n.Extensions) + len(n.Queues))
		}),
		gauge("frontdesk_pbx_numbers_read_timestamp_seconds", "When the PBX last gave its numbers; 0 for never since the start.",
			func() float64 { return float64(d.stats.answered.Load()) }),
		counter("frontdesk_pbx_refreshes_total", "Readings of the PBX's numbers.", &d.stats.refreshes),
		counter("frontdesk_pbx_refresh_failures_total", "Readings of the PBX's numbers that failed; the last ones hold.", &d.stats.failures),
	}
}
