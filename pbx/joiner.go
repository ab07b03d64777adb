package pbx

import (
	"container/heap"
	"context"
	"crypto/sha256"
	"encoding/base32"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"frontdesk/call"
)

// Staff says who sits at an extension, from memory.
type Staff interface {
	At(ext call.Extension) (call.Employee, bool)
}

// Pending keeps what a Joiner waits for over restarts: documents by id.
type Pending interface {
	// SavePending keeps docs, by id, in the place of what was kept, and forgets
	// gone: all or nothing.
	SavePending(ctx context.Context, docs map[string][]byte, gone ...string) error
	// LoadPending tells f all that is kept.
	LoadPending(ctx context.Context, f func(id string, doc []byte)) error
}

// Note is what a Joiner keeps of a call that is settled. It is to be written
// together with the call's record: a crash between the two would have the call
// once more, or never.
type Note struct {
	ID   string
	Doc  []byte // nil: nothing is to be written
	Gone []string
}

// Save writes the note.
func (n Note) Save(ctx context.Context, to interface {
	SavePending(ctx context.Context, docs map[string][]byte, gone ...string) error
}) error {
	if n.Doc == nil {
		return nil
	}
	return to.SavePending(ctx, map[string][]byte{n.ID: n.Doc}, n.Gone...)
}

// JoinerConfig is what a Joiner works with. Settled is needed.
type JoinerConfig struct {
	// Settled takes every record that is final. A later and better account of
	// the same call brings it again, with the same ID.
	Settled func(call.Record, Note)
	Pending Pending                // nil: what is waited for dies with the process
	Staff   Staff                  // nil: talks stay without employees
	Busy    func(call.Number) bool // whether a call of this number passes frontdesk just now; nil: nobody knows
	Ahead   func(time.Time) bool   // whether accounts of calls that ended then are yet to come, however late; nil: of none
	Zone    *time.Location         // of the records' times; nil: UTC
	// Seen takes what is known of a record that waits for a finer account; nil:
	// nobody wants it.
	Seen     func(call.Record)
	Finer    bool // further accounts come, which tell for how long who talked in a call that was passed on
	Patience Patience
	Logger   *slog.Logger
}

// Patience is how long a record waits for the other side's account. Zero means
// the default.
type Patience struct {
	Handed  time.Duration // a call handed over by 302 or REFER, whose fate only the PBX knows: 6 h; also how long late accounts are taken
	Finer   time.Duration // a call that was passed on, for how long who talked: 3 min, in which the call log is read
	Bridged time.Duration // a bridged call after its end, and a call of the PBX that may have passed frontdesk: 20 s; also what call control saw, for a better account
	Machine time.Duration // a bridged call that was answered where nobody of the staff sits, as a queue does: 3 min, the call log is read every 2
}

// Joiner brings frontdesk's records and the PBX's calls of the same calls
// together. Both come in any order. A record of ours is told by the outside
// number, the first destination and the time; of several calls of one number
// all are placed at once, so that the first to come takes nobody's place.
type Joiner struct {
	cfg JoinerConfig
	joinerMetrics

	mu    sync.Mutex
	queue []arrival
	wake  chan struct{}

	table // of Run alone
}

// arrival is what came from outside: one of both.
type arrival struct {
	own   *call.Record
	final bool // nothing is waited for
	left  bool // by an earlier process
	pbx   *Call
}

// table is what a Joiner knows.
type table struct {
	affairs map[string]*affair
	numbers map[string][]*affair // by direction and outside number
	calls   map[string]*affair   // by the id of an account
	due     schedule
	old     []*affair       // those that were settled, the oldest first
	dirty   map[string]bool // to be saved, or deleted where there is no such affair
	held    []arrival       // until it is known what was waited for
	loaded  bool
	started time.Time
	trouble bool // the last writing failed
}

// NewJoiner makes a Joiner; Run makes it work.
func NewJoiner(cfg JoinerConfig) *Joiner {
	if cfg.Patience.Handed <= 0 {
		cfg.Patience.Handed = 6 * time.Hour
	}
	if cfg.Patience.Bridged <= 0 {
		cfg.Patience.Bridged = 20 * time.Second
	}
	if cfg.Patience.Finer <= 0 {
		cfg.Patience.Finer = 3 * time.Minute
	}
	if cfg.Patience.Machine <= 0 {
		cfg.Patience.Machine = 3 * time.Minute
	}
	if cfg.Zone == nil {
		cfg.Zone = time.UTC
	}
	if cfg.Busy == nil {
		cfg.Busy = func(call.Number) bool { return false }
	}
	if cfg.Ahead == nil {
		cfg.Ahead = func(time.Time) bool { return false }
	}
	return &Joiner{cfg: cfg, wake: make(chan struct{}, 1), table: table{
		affairs: map[string]*affair{}, numbers: map[string][]*affair{}, calls: map[string]*affair{}, dirty: map[string]bool{},
	}}
}

// Own takes the record of a call that has ended on our side. It does not block.
func (j *Joiner) Own(r call.Record) { j.push(arrival{own: &r}) }

// Alone takes the record of a call of which nobody is expected to tell more: it
// is settled at once. An account that comes all the same finds it. It does not
// block.
func (j *Joiner) Alone(r call.Record) { j.push(arrival{own: &r, final: true}) }

// Left takes the record of a call that an earlier process has left unsettled, of
// which nobody is expected to tell more if final. Where that process has kept
// the call here too, this changes nothing. It does not block.
func (j *Joiner) Left(r call.Record, final bool) { j.push(arrival{own: &r, final: final, left: true}) }

// PBX takes what the PBX says about a call; it may come before our own record,
// and again when more is known. It does not block.
func (j *Joiner) PBX(c Call) { j.push(arrival{pbx: &c}) }

func (j *Joiner) push(e arrival) {
	j.mu.Lock()
	j.queue = append(j.queue, e)
	j.mu.Unlock()
	select {
	case j.wake <- struct{}{}:
	default:
	}
}

const (
	maxAffairs = 50_000           // calls that late accounts are taken for; the oldest are forgotten first
	retry      = 10 * time.Second // of a database that does not answer
)

// Run joins until ctx ends. What then still waits is kept, or settled as it is
// where nothing keeps it.
func (j *Joiner) Run(ctx context.Context) error {
	j.started = time.Now()
	j.load(ctx)
	timer := time.NewTimer(retry)
	defer timer.Stop()
	for {
		timer.Reset(j.next())
		select {
		case <-ctx.Done():
			j.drain()
			j.leave(ctx)
			return ctx.Err()
		case <-j.wake:
			j.drain()
		case <-timer.C:
			j.load(ctx)
			j.expire()
		}
		j.save(ctx)
	}
}

// next is how long there is nothing to do.
func (j *Joiner) next() time.Duration {
	wait := time.Hour
	if len(j.due) > 0 {
		wait = max(time.Until(j.due[0].at), 0)
	}
	if !j.loaded || j.trouble {
		wait = min(wait, retry)
	}
	return wait
}

func (j *Joiner) drain() {
	j.mu.Lock()
	queue := append(j.held, j.queue...)
	j.queue, j.held = nil, nil
	j.mu.Unlock()
	for _, e := range queue {
		switch {
		case e.left && !j.loaded:
			j.held = append(j.held, e)
		case e.left && j.affairs[e.own.ID] != nil:
			j.left(j.affairs[e.own.ID])
		case e.own != nil:
			j.takeOwn(e.own, e.final)
		default:
			j.takePBX(e.pbx)
		}
	}
}

// left is an affair whose record was not settled when the process ended: where
// the affair was, it is told again.
func (j *Joiner) left(a *affair) {
	if a.Settled {
		a.told = nil
		j.settle(a)
	}
}

// takeOwn opens the affair of a record of ours.
func (j *Joiner) takeOwn(r *call.Record, final bool) {
	if a := j.affairs[r.ID]; a != nil { // a record that is told again
		a.Own = r
		j.settle(a)
		return
	}
	a := &affair{ID: r.ID, Own: r}
	a.slots = slotsOf(r)
	if len(a.slots) == 0 { // it never came to the PBX
		j.cfg.Settled(j.record(a), Note{})
		return
	}
	j.file(a)
	if final {
		j.settle(a)
	} else {
		j.plan(a, r.Times.Ended.Add(j.patience(r)))
	}
	j.match(a.key)
}

func (j *Joiner) patience(r *call.Record) time.Duration {
	switch {
	case handed(r):
		return j.cfg.Patience.Handed
	case j.machine(r):
		return j.cfg.Patience.Machine
	}
	return j.cfg.Patience.Bridged
}

// machine reports whether the PBX itself may have answered.
func (j *Joiner) machine(r *call.Record) bool {
	if len(r.Talks) == 0 || j.cfg.Staff == nil {
		return false
	}
	_, manned := j.cfg.Staff.At(r.Talks[len(r.Talks)-1].Extension)
	return !manned
}

// takePBX finds the affair of an account, or opens one.
func (j *Joiner) takePBX(c *Call) {
	if c.Direction == Internal || c.ID == "" || j.forgotten(c) {
		return
	}
	j.accounts.Add(1)
	if a := j.calls[c.key()]; a != nil {
		j.improve(a, c)
		return
	}
	if a, i, cost := j.twin(c, nil); cost < elsewhere {
		first := a.hearsay()
		a.Calls[i].put(c)
		j.calls[c.key()] = a
		j.improved(a)
		if first && !a.hearsay() { // now it may have a place
			j.plan(a, time.Now().Add(j.cfg.Patience.Bridged))
			j.match(a.key)
		}
		return
	}
	a := &affair{ID: aloneID(c), Calls: []accounts{newAccounts(c)}}
	j.file(a)
	j.plan(a, time.Now().Add(j.cfg.Patience.Bridged))
	j.match(a.key)
}

// forgotten reports whether a call is so long over that nobody would know
// whether it has a record already.
func (j *Joiner) forgotten(c *Call) bool {
	now := time.Now()
	old := now.Sub(j.started) > j.cfg.Patience.Handed && c.Ended.Before(now.Add(-j.cfg.Patience.Handed))
	if old = old && !j.cfg.Ahead(c.Ended); old {
		j.late.Add(1)
	}
	return old
}

// improve takes a further account of a call that is known by its id.
func (j *Joiner) improve(a *affair, c *Call) {
	for i := range a.Calls {
		if a.Calls[i].has(c.key()) && a.Calls[i].put(c) {
			j.improved(a)
			return
		}
	}
}

// improved settles again what was settled; what still waits goes on waiting.
func (j *Joiner) improved(a *affair) {
	j.dirty[a.ID] = true
	j.complete(a)
}

// complete settles what is full. A call that was passed on waits for an account
// that tells for how long who talked, where one is to come: what has been logged
// of it by then cannot be corrected.
func (j *Joiner) complete(a *affair) {
	switch {
	case a.Settled:
		j.settle(a)
	case !a.full():
	case j.cfg.Finer && a.unclear():
		j.plan(a, time.Now().Add(j.cfg.Patience.Finer))
		if j.cfg.Seen != nil {
			j.cfg.Seen(j.record(a))
		}
	default:
		j.settle(a)
	}
}

// file puts an affair where it is found.
func (j *Joiner) file(a *affair) {
	a.key = a.number()
	j.affairs[a.ID] = a
	j.numbers[a.key] = append(j.numbers[a.key], a)
	for i := range a.Calls {
		for _, id := range a.Calls[i].ids() {
			j.calls[id] = a
		}
	}
	j.dirty[a.ID] = true
	for len(j.affairs) > maxAffairs && len(j.old) > 0 {
		first := j.old[0]
		j.old[0] = nil
		if j.old = j.old[1:]; j.affairs[first.ID] == first {
			j.forget(first)
		}
	}
}

// plan says when something must happen to an affair if nothing else does.
func (j *Joiner) plan(a *affair, at time.Time) {
	a.due = at
	heap.Push(&j.due, date{at, a})
}

// expire settles what waited too long, and forgets what was settled long ago.
func (j *Joiner) expire() {
	now := time.Now()
	for len(j.due) > 0 && !j.due[0].at.After(now) {
		d := heap.Pop(&j.due).(date) //nolint:errcheck // the schedule holds dates
		a := d.affair
		if j.affairs[a.ID] != a || !a.due.Equal(d.at) {
			continue // gone, or planned anew
		}
		j.end(a)
	}
}

// end is an affair's date: it is settled, or forgotten.
func (j *Joiner) end(a *affair) {
	switch {
	case a.Settled && j.cfg.Ahead(a.ended()): // the PBX could not tell of it yet
		j.plan(a, time.Now().Add(j.cfg.Patience.Handed))
	case a.Settled:
		j.forget(a)
	case a.Own != nil:
		j.hear(a)
		j.settle(a)
	case j.force(a), j.rejoin(a):
	case a.hearsay() && !j.cfg.Busy(a.outside()): // the call is another's to tell
		j.forget(a)
	case j.cfg.Finer && a.unclear() && time.Since(a.ended()) < j.cfg.Patience.Finer:
		j.plan(a, a.ended().Add(j.cfg.Patience.Finer))
	case j.cfg.Busy(a.outside()), a.open() && time.Since(a.Calls[0].view().Ended) < j.cfg.Patience.Handed:
		j.plan(a, time.Now().Add(j.cfg.Patience.Bridged))
	default:
		j.alone.Add(1)
		j.settle(a)
	}
}

// hear lets what only call control saw have the places of a record for which
// nothing better has come in time.
func (j *Joiner) hear(a *affair) {
	for _, o := range slices.Clone(j.numbers[a.key]) {
		if o.hearsay() {
			j.force(o)
		}
	}
}

// settle tells the record of an affair, if it is news.
func (j *Joiner) settle(a *affair) {
	r := j.record(a)
	if !a.Settled {
		a.Settled = true
		j.old = append(j.old, a)
		j.plan(a, time.Now().Add(j.cfg.Patience.Handed))
	}
	j.dirty[a.ID] = true
	if a.told != nil && alike(a.told, &r) {
		return
	}
	a.told = &r
	j.settled.Add(1)
	j.cfg.Settled(r, j.note(a))
}

func (j *Joiner) forget(a *affair) {
	delete(j.affairs, a.ID)
	j.unlist(a)
	for i := range a.Calls {
		for _, id := range a.Calls[i].ids() {
			delete(j.calls, id)
		}
	}
	j.dirty[a.ID] = true
	for len(j.old) > 0 && j.affairs[j.old[0].ID] != j.old[0] {
		j.old[0] = nil
		j.old = j.old[1:]
	}
}

// unlist takes an affair from those of its number.
func (j *Joiner) unlist(a *affair) {
	list := j.numbers[a.key]
	for i, o := range list {
		if o == a {
			list = append(list[:i], list[i+1:]...)
			break
		}
	}
	if len(list) == 0 {
		delete(j.numbers, a.key)
		return
	}
	j.numbers[a.key] = list
}

// aloneID is the id of the record of a call that never passed frontdesk: like
// any other, and the same whenever the account is read.
func aloneID(c *Call) string {
	sum := sha256.Sum256([]byte(string(c.Account) + "\x00" + c.ID + "\x00" + c.Started.UTC().Format(time.RFC3339)))
	return strings.ToLower(base32.StdEncoding.EncodeToString(sum[:10]))
}

// schedule holds the dates of affairs, the next one first.
type schedule []date

type date struct {
	at     time.Time
	affair *affair
}

func (s schedule) Len() int           { return len(s) }
func (s schedule) Less(i, k int) bool { return s[i].at.Before(s[k].at) }
func (s schedule) Swap(i, k int)      { s[i], s[k] = s[k], s[i] }

// Push is for package heap.
func (s *schedule) Push(x any) { *s = append(*s, x.(date)) } //nolint:errcheck // only dates are pushed

// Pop is for package heap.
func (s *schedule) Pop() any {
	old := *s
	d := old[len(old)-1]
	old[len(old)-1] = date{}
	*s = old[:len(old)-1]
	return d
}
