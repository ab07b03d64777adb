package crm

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"hash/fnv"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"frontdesk/call"
)

// index is the mirror in memory: which entities carry a number, and what
// routing reads of each. It holds no pointers but a few dozen, so that a
// million numbers cost the garbage collector nothing: numbers and references
// are integers, and cards are packed into bytes. Readers take the read lock of
// one shard at a time, for as long as a map needs to answer.
type index struct {
	writing sync.Mutex // one writer at a time
	numbers [shards]numberShard
	cards   [shards]cardShard
	kinds   [len(kindOrder)]atomic.Int64 // cards of each kind
	carried atomic.Int64                 // numbers
}

// shards divides the maps, so that a writer holds up a 64th of the readers. A
// power of two.
const shards = 64

// kindOrder ranks the kinds: references sort in the order in which sections
// decide.
var kindOrder = [...]call.Kind{call.KindContact, call.KindCompany, call.KindLead}

// ref names an entity: the rank of its kind and its id.
type ref uint64

// many marks, in place of a reference, a number that several entities carry.
const many ref = 1 << 63

func refOf(k call.Kind, id int) ref {
	return ref(slices.Index(kindOrder[:], k))<<32 | ref(uint32(id))
}

func (r ref) kind() call.Kind { return kindOrder[r>>32] }
func (r ref) id() int         { return int(uint32(r)) }

// key is a number packed into four bits a character; 0 is none.
type key uint64

// pack is exact: "+" and fifteen digits, the longest number there is (E.164),
// fill it. What is longer is no number that could call.
func pack(n call.Number) (key, bool) {
	const symbols = "0123456789+*#"
	if n == "" || len(n) > 16 {
		return 0, false
	}
	var k key
	for i := range len(n) {
		at := bytes.IndexByte([]byte(symbols), n[i])
		if at < 0 {
			return 0, false
		}
		k = k<<4 | key(at+1)
	}
	return k, true
}

// spread is the shard of an integer.
func spread(v uint64) uint64 { return v * 0x9E3779B97F4A7C15 >> 58 }

// numberShard is a part of the numbers.
type numberShard struct {
	mu   sync.RWMutex
	one  map[key]ref
	more map[key][]ref // of those that one marks as many, sorted; replaced, never changed
}

// cardShard is a part of the cards.
type cardShard struct {
	mu    sync.RWMutex
	at    map[ref]span
	text  []byte // the packed cards, one behind the other
	waste int    // bytes of text that nothing points to
}

// span is where a packed card lies.
type span struct{ from, size uint32 }

func newIndex() *index {
	x := &index{}
	for i := range x.numbers {
		x.numbers[i] = numberShard{one: map[key]ref{}, more: map[key][]ref{}}
		x.cards[i].at = map[ref]span{}
	}
	return x
}

func (x *index) numberShard(k key) *numberShard { return &x.numbers[spread(uint64(k))] }
func (x *index) cardShard(r ref) *cardShard     { return &x.cards[spread(uint64(r))] }

// find gives the entities that carry a number, in the order of their sections
// and ids.
func (x *index) find(k key, zone *time.Location) []call.Entity {
	one, more := x.numberShard(k).get(k)
	if one == many {
		out := make([]call.Entity, 0, len(more))
		for _, r := range more {
			if e, ok := x.read(r, k, zone); ok {
				out = append(out, e)
			}
		}
		return out
	}
	if e, ok := x.read(one, k, zone); ok {
		return []call.Entity{e}
	}
	return nil
}

func (s *numberShard) get(k key) (one ref, more []ref) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	one, ok := s.one[k]
	if !ok {
		return 0, nil
	}
	if one == many {
		return one, s.more[k]
	}
	return one, nil
}

// read is an entity, if it carries k: a writer may be between the two maps.
func (x *index) read(r ref, k key, zone *time.Location) (call.Entity, bool) {
	s := x.cardShard(r)
	s.mu.RLock()
	defer s.mu.RUnlock()
	at, ok := s.at[r]
	if !ok {
		return call.Entity{}, false
	}
	p := packed(s.text[at.from:][:at.size])
	if !p.carries(k) {
		return call.Entity{}, false
	}
	return p.entity(r, zone), true
}

// has reports whether there is a card of r, and whether it is p to the byte.
func (x *index) has(r ref, p packed) (known, same bool) {
	s := x.cardShard(r)
	s.mu.RLock()
	defer s.mu.RUnlock()
	at, ok := s.at[r]
	return ok, ok && bytes.Equal(s.text[at.from:][:at.size], p)
}

// put stores a card in place of what was known of it.
func (x *index) put(r ref, p packed) {
	x.writing.Lock()
	defer x.writing.Unlock()
	before := x.swap(r, p)
	if before == nil {
		x.kinds[r>>32].Add(1)
	}
	after := p.keys()
	for _, k := range after {
		if !slices.Contains(before, k) {
			x.carried.Add(x.numberShard(k).add(k, r))
		}
	}
	for _, k := range before {
		if !slices.Contains(after, k) {
			x.carried.Add(x.numberShard(k).remove(k, r))
		}
	}
}

// remove forgets a card.
func (x *index) remove(r ref) {
	x.writing.Lock()
	defer x.writing.Unlock()
	before := x.swap(r, nil)
	if before == nil {
		return
	}
	x.kinds[r>>32].Add(-1)
	for _, k := range before {
		x.carried.Add(x.numberShard(k).remove(k, r))
	}
}

// swap replaces the packed card of r, by nothing if p is nil, and gives the
// numbers that it carried; nil where there was none.
func (x *index) swap(r ref, p packed) []key {
	s := x.cardShard(r)
	s.mu.Lock()
	defer s.mu.Unlock()
	var before []key
	if at, ok := s.at[r]; ok {
		before = packed(s.text[at.from:][:at.size]).keys()
		s.waste += int(at.size)
		delete(s.at, r)
	}
	if p != nil {
		s.at[r] = span{uint32(len(s.text)), uint32(len(p))}
		s.text = append(s.text, p...)
	}
	if s.waste > len(s.text)/2 && s.waste > 4<<10 {
		s.compact()
	}
	return before
}

// compact drops what nothing points to. The shard is locked.
func (s *cardShard) compact() {
	text := make([]byte, 0, len(s.text)-s.waste)
	for r, at := range s.at {
		s.at[r] = span{uint32(len(text)), at.size}
		text = append(text, s.text[at.from:][:at.size]...)
	}
	s.text, s.waste = text, 0
}

// add notes that r carries k, and gives by how many the numbers grew.
func (s *numberShard) add(k key, r ref) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	one, ok := s.one[k]
	if !ok {
		s.one[k] = r
		return 1
	}
	refs := []ref{one}
	if one == many {
		refs = s.more[k]
	}
	if at, there := slices.BinarySearch(refs, r); !there {
		s.one[k] = many
		s.more[k] = slices.Insert(slices.Clone(refs), at, r)
	}
	return 0
}

// remove notes that r does not carry k any more.
func (s *numberShard) remove(k key, r ref) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	one, ok := s.one[k]
	if !ok || one != many && one != r {
		return 0
	}
	if one == r {
		delete(s.one, k)
		return -1
	}
	rest := slices.DeleteFunc(slices.Clone(s.more[k]), func(other ref) bool { return other == r })
	if len(rest) == 1 {
		s.one[k] = rest[0]
		delete(s.more, k)
		return 0
	}
	s.more[k] = rest
	return 0
}

// ids are the entities of a kind, in order.
func (x *index) ids(k call.Kind) []int {
	rank := refOf(k, 0) >> 32
	out := make([]int, 0, x.kinds[rank].Load())
	for i := range x.cards {
		s := &x.cards[i]
		s.mu.RLock()
		for r := range s.at {
			if r>>32 == rank {
				out = append(out, r.id())
			}
		}
		s.mu.RUnlock()
	}
	slices.Sort(out)
	return out
}

// count is how many cards of a kind there are.
func (x *index) count(k call.Kind) int { return int(x.kinds[refOf(k, 0)>>32].Load()) }

// packed is a card in few bytes: a byte of flags, the employees, the end of the
// temporary one, the name, the numbers, a sum of how the numbers are spelled,
// and further fields as JSON.
type packed []byte

const (
	flagDirect byte = 1 << iota
	flagNoSticky
	flagClosed
	flagUntil
)

// newPacked packs a card whose numbers are keys.
func newPacked(c call.Card, keys []key) (packed, error) {
	var flags byte
	for flag, set := range map[byte]bool{
		flagDirect: c.Direct, flagNoSticky: c.NoSticky, flagClosed: c.Closed, flagUntil: !c.Until.IsZero(),
	} {
		if set {
			flags |= flag
		}
	}
	p := append(make(packed, 0, 64), flags)
	for _, employee := range []int{c.Responsible, c.Manager, c.Temporary} {
		p = binary.AppendUvarint(p, uint64(employee))
	}
	if !c.Until.IsZero() {
		p = binary.AppendVarint(p, c.Until.Unix())
	}
	p = binary.AppendUvarint(p, uint64(len(c.Name)))
	p = append(p, c.Name...)
	p = binary.AppendUvarint(p, uint64(len(keys)))
	for _, k := range keys {
		p = binary.LittleEndian.AppendUint64(p, uint64(k))
	}
	sum := fnv.New32a()
	for _, phone := range c.Phones {
		_, _ = sum.Write(append([]byte(phone), 0)) // a hash takes everything
	}
	p = binary.LittleEndian.AppendUint32(p, sum.Sum32())
	if len(c.Fields) == 0 {
		return p, nil
	}
	fields, err := json.Marshal(c.Fields)
	return append(p, fields...), err
}

// unpacker reads a packed card from front to end. What it reads was packed
// here, so nothing can be missing.
type unpacker []byte

func (u *unpacker) unsigned() int {
	v, n := binary.Uvarint(*u)
	*u = (*u)[n:]
	return int(v)
}

func (u *unpacker) signed() int64 {
	v, n := binary.Varint(*u)
	*u = (*u)[n:]
	return v
}

func (u *unpacker) bytes(n int) []byte {
	b := (*u)[:n]
	*u = (*u)[n:]
	return b
}

// entity unpacks the entity r.
func (p packed) entity(r ref, zone *time.Location) call.Entity {
	u := unpacker(p[1:])
	e := call.Entity{
		Kind: r.kind(), ID: r.id(), Responsible: u.unsigned(), Manager: u.unsigned(), Temporary: u.unsigned(),
		Direct: p[0]&flagDirect != 0, NoSticky: p[0]&flagNoSticky != 0, Closed: p[0]&flagClosed != 0,
	}
	if p[0]&flagUntil != 0 {
		e.Until = time.Unix(u.signed(), 0).In(zone)
	}
	e.Name = string(u.bytes(u.unsigned()))
	u.bytes(8 * u.unsigned())
	u.bytes(4)
	if len(u) > 0 {
		_ = json.Unmarshal(u, &e.Fields) // written by newPacked
	}
	return e
}

// numbers is the part of p that holds the keys.
func (p packed) numbers() []byte {
	u := unpacker(p[1:])
	for range 3 {
		u.unsigned()
	}
	if p[0]&flagUntil != 0 {
		u.signed()
	}
	u.bytes(u.unsigned())
	return u.bytes(8 * u.unsigned())
}

// keys are the numbers of the card; never nil.
func (p packed) keys() []key {
	b := p.numbers()
	out := make([]key, 0, len(b)/8)
	for ; len(b) > 0; b = b[8:] {
		out = append(out, key(binary.LittleEndian.Uint64(b)))
	}
	return out
}

func (p packed) carries(k key) bool {
	for b := p.numbers(); len(b) > 0; b = b[8:] {
		if key(binary.LittleEndian.Uint64(b)) == k {
			return true
		}
	}
	return false
}
