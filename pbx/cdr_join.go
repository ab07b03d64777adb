package pbx

import (
	"cmp"
	"slices"
	"time"

	"frontdesk/call"
)

// joinParts makes one call of the parts that lines tell of.
func joinParts(parts []part) Call {
	slices.SortStableFunc(parts, func(a, b part) int { return a.Started.Compare(b.Started) })
	lead := max(0, slices.IndexFunc(parts, func(p part) bool { return p.Direction != Internal }))
	out := parts[lead].Call
	if len(parts) == 1 {
		return out
	}
	out.Talks, out.Rang, out.Answered = nil, nil, time.Time{}
	for _, p := range parts {
		if p.Direction == Internal && out.Direction != Internal {
			out.joinInside(p)
			continue
		}
		out.Result, out.MissedIn = better(&out, p.Result, p.MissedIn)
		if p.talked() && (out.Answered.IsZero() || p.Answered.Before(out.Answered)) {
			out.Answered = p.Answered
		}
		out.Talks = append(out.Talks, p.Talks...)
		out.Rang = append(out.Rang, p.Rang...)
		if !p.Ended.Before(out.Ended) {
			out.Open = p.Open
		}
		out.Started, out.Ended = earlier(out.Started, p.Started), later(out.Ended, p.Ended)
	}
	out.Talks = inTurn(out.Talks)
	out.Rang = unheard(out.Rang, out.Talks)
	return out
}

// joinInside adds a call in the house that an employee made during the client's:
// where the employee left it, the client has talked with the one who was asked.
func (c *Call) joinInside(p part) {
	if !p.taken || !p.talked() {
		return
	}
	from := p.Answered
	for _, t := range c.Talks {
		if t.Until.Before(p.Ended) {
			from = later(from, t.Until)
		}
	}
	for _, t := range p.Talks {
		c.Talks = append(c.Talks, newTalk(t.Extension, from, p.Ended))
	}
	if c.Ended = later(c.Ended, p.Ended); c.Ended.Equal(p.Ended) {
		c.Open = p.Open
	}
}

// better is how a call ended of which one more part is known: answered once is
// answered, else the last part decides.
func better(c *Call, result call.Result, missedIn string) (call.Result, string) {
	if c.talked() {
		return c.Result, ""
	}
	return result, missedIn
}

// inTurn orders talks, gives no moment to two of them, and drops talks of no
// length with people of whom a longer one is known.
func inTurn(talks []call.Talk) []call.Talk {
	slices.SortStableFunc(talks, func(a, b call.Talk) int {
		return cmp.Or(a.From.Compare(b.From), a.Until.Compare(b.Until))
	})
	var out []call.Talk
	for i, t := range talks {
		if t.Seconds == 0 && slices.ContainsFunc(talks, func(o call.Talk) bool { return o.Extension == t.Extension && o.Seconds > 0 }) {
			continue
		}
		if i+1 < len(talks) && talks[i+1].From.Before(t.Until) && talks[i+1].From.After(t.From) && talks[i+1].Seconds > 0 {
			t = cutAt(t, talks[i+1].From)
		}
		out = append(out, t)
	}
	return out
}

func cutAt(t call.Talk, end time.Time) call.Talk {
	cut := newTalk(t.Extension, t.From, end)
	cut.Employee, cut.Recording = t.Employee, t.Recording
	return cut
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}

func later(a, b time.Time) time.Time {
	if b.After(a) {
		return b
	}
	return a
}

// Assembler brings the lines of one call together as they come: 3CX writes one
// for each part, and they share its number of the call. It is for one
// goroutine.
type Assembler struct {
	reader Reader
	groups map[string]*group
	order  []string // history ids, oldest first
}

// group are the lines of one call so far.
type group struct {
	lines      []CDR
	start, end time.Time
}

// NewAssembler makes one that reads as r does.
func NewAssembler(r Reader) *Assembler {
	return &Assembler{reader: r, groups: map[string]*group{}}
}

const (
	maxGroups = 4096             // calls whose further lines are waited for
	maxParts  = 64               // lines of one call
	lineGap   = 30 * time.Second // between two lines of one call
)

// Add takes one line and gives all that is known of its call by now, under the
// same ID as before; ok is false for a line that came twice.
func (a *Assembler) Add(c CDR) (joined Call, ok bool) {
	if c.HistoryID == "" {
		return a.reader.Call(c), true
	}
	g := a.groups[c.HistoryID]
	if g == nil || !g.holds(&c) {
		g = a.open(c.HistoryID)
	}
	if slices.ContainsFunc(g.lines, func(o CDR) bool { return same(&o, &c) }) {
		return Call{}, false
	}
	if len(g.lines) >= maxParts {
		return a.reader.Call(c), true
	}
	g.lines = append(g.lines, c)
	g.start, g.end = earlier(g.start, c.Start), later(later(g.end, c.Start), c.End)
	return a.reader.Call(g.lines...), true
}

// holds reports whether a line belongs to the group: the PBX counts anew after
// a restart, so one number of the call is not enough.
func (g *group) holds(c *CDR) bool {
	return !c.Start.After(g.end.Add(lineGap)) && !later(c.Start, c.End).Before(g.start.Add(-lineGap))
}

func same(a, b *CDR) bool {
	return a.CallID == b.CallID && (a.CallID != "" || a.Start.Equal(b.Start) && a.To == b.To)
}

func (a *Assembler) open(id string) *group {
	if _, again := a.groups[id]; !again {
		a.order = append(a.order, id)
	}
	if len(a.order) > maxGroups {
		delete(a.groups, a.order[0])
		a.order[0] = ""
		a.order = a.order[1:]
	}
	g := &group{}
	a.groups[id] = g
	return g
}
