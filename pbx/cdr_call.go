package pbx

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"frontdesk/call"
)

// Reader makes calls of what the PBX writes about them.
type Reader struct {
	Country string                 // ISO 3166-1 alpha-2: how national numbers are read
	Numbers func() call.Numbers    // what exists on the PBX, from memory; nil where that is not known
	Trunk   func(dn string) string // a trunk's name by its number on the PBX, empty where not known; may be nil
}

// Call is what lines say about one call. The first of them names it. One line
// does not tell when a call changed hands: whoever had it last has all the
// time, those before have a talk of no length.
func (r Reader) Call(lines ...CDR) Call {
	parts := make([]part, 0, len(lines))
	for i := range lines {
		parts = append(parts, r.part(&lines[i]))
	}
	out := joinParts(parts)
	out.ID = cmp.Or(lines[0].CallID, lines[0].HistoryID)
	out.Account = AccountCDR
	return out
}

// part is what one line says.
type part struct {
	Call
	taken bool // an inside call whose caller handed the client over and left
}

// line is a line under examination.
type line struct {
	*CDR
	from, to, final kind
	people          []call.Extension // extensions that the call went through, in order, without its caller
}

func (r Reader) part(c *CDR) part {
	l := line{CDR: c}
	r.kinds(&l)
	p := part{Call: Call{Direction: l.direction(), Times: call.Times{Started: c.Start, Ended: l.ended()}}}
	l.people = r.people(&l)
	p.Ends = r.ends(&l, p.Direction)
	p.judge(&l)
	p.Rang = unheard(p.Rang, p.Talks)
	p.Open = c.Reason == "continued_in"
	p.taken = p.Direction == Internal && strings.Contains(c.Changed, "replacedsrc")
	return p
}

// kinds finds what the three ends are. Lines of old installations have no
// types; there "Ext." and the list of numbers tell.
func (r Reader) kinds(l *line) {
	if l.from = kindOf(l.From.Type); l.from == kindUnknown {
		l.from = kindLine
		if l.From.Ext || l.inside(l.From.DN) && !l.From.outsideNumber() {
			l.from = kindExtension
		}
	}
	if l.to = kindOf(l.To.Type); l.to == kindUnknown {
		l.to = r.kindOfParty(l.To, l.from)
	}
	switch l.final = kindOf(l.Final.Type); {
	case l.final != kindUnknown:
	case l.Final.DN == "" && l.Final.Number == "", l.Final.DN == l.To.DN && l.Final.Number == l.To.Number:
		l.final = l.to
	default:
		l.final = r.kindOfParty(l.Final, kindUnknown)
	}
}

// inside reports whether a number of the PBX is none of a trunk: those have
// five digits and begin at 10000.
func (l *line) inside(dn string) bool { return dn != "" && (len(dn) < 5 || dn < "10000") }

func (p Party) outsideNumber() bool { return len(strings.TrimPrefix(p.Number, "+")) > 6 }

func (r Reader) kindOfParty(p Party, from kind) kind {
	switch {
	case p.Ext:
		return r.kindAt(p.Number)
	case from == kindExtension || p.outsideNumber():
		return kindLine
	case p.DN != "":
		return r.kindAt(p.DN)
	}
	return kindUnknown
}

// kindAt is what stands at a number of the PBX. What is on neither list of
// numbers is a menu or the like, if there are lists at all.
func (r Reader) kindAt(number string) kind {
	var n call.Numbers
	if r.Numbers != nil {
		n = r.Numbers()
	}
	switch ext := call.Extension(number); {
	case n.IsQueue(ext):
		return kindQueue
	case len(n.Extensions) == 0 || n.Extensions.Has(ext):
		return kindExtension
	default:
		return kindIVR
	}
}

func (l *line) direction() Direction {
	switch {
	case l.from.outside():
		return In
	case l.to.outside():
		return Out
	default:
		return Internal
	}
}

func (l *line) ended() time.Time {
	end := l.End
	if end.IsZero() && !l.Answered.IsZero() {
		end = l.Answered.Add(l.Duration)
	}
	if end.Before(l.Start) {
		end = l.Start
	}
	return end
}

// people lists the extensions in the order in which the call came to them.
func (r Reader) people(l *line) []call.Extension {
	var out []call.Extension
	add := func(number string, k kind) {
		if ext := call.Extension(number); k == kindExtension && number != "" && (len(out) == 0 || out[len(out)-1] != ext) {
			out = append(out, ext)
		}
	}
	if len(l.Chain) < 2 {
		add(cmp.Or(l.To.DN, l.To.Number), l.to)
		add(cmp.Or(l.Final.DN, l.Final.Number), l.final)
		return out
	}
	for _, h := range l.Chain[1:] {
		switch {
		case !h.Ext:
		case h.Number == l.Final.Number || h.Number == l.Final.DN:
			add(h.Number, l.final)
		case h.Number == l.To.Number || h.Number == l.To.DN:
			add(h.Number, l.to)
		default:
			add(h.Number, r.kindAt(h.Number))
		}
	}
	if last := cmp.Or(l.Final.DN, l.Final.Number); l.final == kindExtension && !slices.Contains(out, call.Extension(last)) {
		add(last, l.final)
	}
	return out
}

func (r Reader) ends(l *line, d Direction) Ends {
	e := Ends{Dialled: l.Dialled}
	if d == In {
		e.Caller = call.ParseNumber(cmp.Or(l.From.Number, l.firstHop()), r.Country)
		e.Callee = call.ParseNumber(l.Dialled, r.Country)
		e.Trunk = r.trunk(l.From.DN)
		e.First = l.first()
		return e
	}
	e.Caller = call.Number(cmp.Or(l.From.DN, l.From.Number, l.firstHop()))
	if d == Internal {
		e.Callee, e.First = call.Number(cmp.Or(l.To.DN, l.To.Number)), l.first()
		return e
	}
	e.Callee = call.ParseNumber(cmp.Or(l.To.Number, l.To.DN, l.Dialled), r.Country)
	e.Prefix = prefixOf(l.Dialled, l.To.Number, e.Callee, r.Country)
	switch {
	case l.to == kindLine:
		e.Trunk = r.trunk(l.To.DN)
	case l.final == kindLine:
		e.Trunk = r.trunk(l.Final.DN)
	}
	return e
}

func (l *line) firstHop() string {
	if len(l.Chain) == 0 {
		return ""
	}
	return l.Chain[0].Number
}

// first is the first destination inside: what inbound rules and scripts chose,
// where they stand before it.
func (l *line) first() call.Extension {
	if l.to == kindIVR && kindOf(l.To.Type) == kindIVR && !l.To.Ext {
		for _, h := range l.Chain[min(1, len(l.Chain)):] {
			if h.Ext {
				return call.Extension(h.Number)
			}
		}
	}
	if l.to.outside() {
		return ""
	}
	return call.Extension(cmp.Or(l.To.DN, l.To.Number))
}

func (r Reader) trunk(dn string) string {
	if r.Trunk != nil {
		if name := r.Trunk(dn); name != "" {
			return name
		}
	}
	return dn
}

// prefixOf is what was dialled before the number. Outbound rules rewrite
// numbers, so all spellings of it are tried, the longest first.
func prefixOf(dialled, to string, callee call.Number, country string) string {
	forms := append(callee.Spellings(country), to, strings.TrimPrefix(to, "+"))
	slices.SortStableFunc(forms, func(a, b string) int { return len(b) - len(a) })
	for _, f := range forms {
		if rest, ok := strings.CutSuffix(dialled, f); ok && f != "" {
			return rest
		}
	}
	return ""
}

// judge says who talked, who rang, and how it ended.
func (p *part) judge(l *line) {
	switch answered := p.picked(l); {
	case p.Direction == Out:
		p.judgeOut(l, answered)
	case l.final == kindExtension && answered:
		p.Result, p.Answered = call.ResultAnswered, l.Answered
		p.share(l)
	case l.final == kindLine && answered: // sent on to a number outside, as often unheard as not
		p.Result, p.Answered, p.Rang = call.ResultAnswered, l.Answered, l.people
	case l.final == kindMeeting && answered:
		p.Result, p.Answered = call.ResultAnswered, l.Answered
		p.talks(l.people, l.Answered)
	default:
		p.missed(l)
	}
}

// picked reports whether a person may have answered. Queues and menus pick up
// by themselves: after one of them the reason for the end must not say that
// nobody came.
func (p *part) picked(l *line) bool {
	if l.Answered.IsZero() {
		return false
	}
	auto := l.to == kindQueue || l.to == kindIVR || l.to == kindSystem
	why := endingOf(l.Reason)
	return !auto || why != endFailed && why != endGivenUp
}

// share gives the talk to the people it was with.
func (p *part) share(l *line) {
	people := l.people
	last := call.Extension(cmp.Or(l.Final.DN, l.Final.Number, l.To.DN, l.To.Number))
	if i := slices.Index(people, last); i >= 0 {
		p.Rang = append(p.Rang, people[i+1:]...) // a transfer that failed came back from there
		people = people[:i]
	}
	if strings.Contains(l.Changed, "fwd") {
		p.Rang, people = append(p.Rang, people...), nil
	}
	p.talks(append(slices.Clone(people), last), l.Answered)
	p.rang(l.Agents)
}

func (p *part) judgeOut(l *line, answered bool) {
	caller := call.Extension(p.Caller)
	if !answered || l.to == kindNoRoute && l.final == kindNoRoute {
		p.Result = gaveUp(l)
		return
	}
	p.Result, p.Answered = call.ResultAnswered, l.Answered
	talkers := append([]call.Extension{caller}, l.people...)
	if strings.Contains(l.Changed, "failedbxfer") {
		p.Rang, talkers = l.people, talkers[:1]
	}
	p.talks(talkers, l.Answered)
}

// talks gives the time to the last of those who had the call.
func (p *part) talks(people []call.Extension, from time.Time) {
	for i, ext := range people {
		until := from
		if i == len(people)-1 {
			until = p.Ended
		}
		p.Talks = append(p.Talks, newTalk(ext, from, until))
	}
}

func (p *part) missed(l *line) {
	p.Rang = l.people
	p.rang(l.Agents)
	p.Result = gaveUp(l)
	if p.MissedIn = l.final.missedIn(); p.MissedIn == missedVoicemail {
		p.Result = call.ResultMissed
	}
}

func (p *part) rang(agents []string) {
	for _, a := range agents {
		p.Rang = append(p.Rang, call.Extension(a))
	}
}

// missedIn names where a call ended that nobody answered.
func (k kind) missedIn() string {
	switch k {
	case kindQueue:
		return missedQueue
	case kindVoicemail:
		return missedVoicemail
	case kindIVR, kindSystem, kindMeeting:
		return missedIVR
	default:
		return missedExtension
	}
}

func gaveUp(l *line) call.Result {
	if why := endingOf(l.Reason); why == endSource || why == endGivenUp {
		return call.ResultAbandoned
	}
	return call.ResultMissed
}

func spoke(talks []call.Talk, ext call.Extension) bool {
	return slices.ContainsFunc(talks, func(t call.Talk) bool { return t.Extension == ext })
}

func distinct(all []call.Extension) []call.Extension {
	var out []call.Extension
	for _, e := range all {
		if e != "" && !slices.Contains(out, e) {
			out = append(out, e)
		}
	}
	return out
}
