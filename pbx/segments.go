package pbx

import (
	"cmp"
	"slices"
	"strconv"
	"strings"

	"frontdesk/call"
)

// Calls makes calls of rows of the call log: the rows of one call share
// ID.Main. The calls come in the order of their start.
func (r Reader) Calls(rows []Segment) []Call {
	groups := map[string][]Segment{}
	for _, s := range rows {
		groups[s.ID.Main] = append(groups[s.ID.Main], s)
	}
	out := make([]Call, 0, len(groups))
	for _, g := range groups {
		out = append(out, r.logged(g))
	}
	slices.SortFunc(out, func(a, b Call) int { return cmp.Or(a.Started.Compare(b.Started), cmp.Compare(a.ID, b.ID)) })
	return out
}

// logged makes one call of its rows.
func (r Reader) logged(rows []Segment) Call {
	slices.SortStableFunc(rows, func(a, b Segment) int {
		return cmp.Or(a.Started.Compare(b.Started), cmp.Compare(a.ID.Segment, b.ID.Segment))
	})
	first := &rows[0]
	c := Call{ID: first.ID.Main, Account: AccountLog, Direction: direction(rows)}
	c.Started, c.Ended = first.Started, first.Started
	r.loggedEnds(&c, rows)
	for i := range rows {
		r.passage(&c, &rows[i])
	}
	c.Talks = inTurn(c.Talks)
	c.Rang = unheard(c.Rang, c.Talks)
	if c.Result == "" {
		last := r.lastHeld(rows)
		c.Result = call.ResultMissed
		if c.Direction != Out {
			c.MissedIn = r.kindOfRow(last.Destination, last).missedIn()
		}
		if c.MissedIn != missedVoicemail && byCaller(last) {
			c.Result = call.ResultAbandoned
		}
	}
	return c
}

// lastHeld is the row of who had the call last. A queue has it while it rings its
// agents, of whom each has a row.
func (r Reader) lastHeld(rows []Segment) *Segment {
	for i := len(rows) - 1; i >= 0; i-- {
		s := &rows[i]
		polled := strings.EqualFold(s.Verdict.Reason, "polling") || r.kindOfRow(s.Source, s) == kindQueue
		if !polled || r.kindOfRow(s.Destination, s) != kindExtension {
			return s
		}
	}
	return &rows[len(rows)-1]
}

// direction is that of the first row that leaves or enters the house.
func direction(rows []Segment) Direction {
	for i := range rows {
		switch strings.ToLower(rows[i].Verdict.Direction) {
		case "inbound":
			return In
		case "outbound":
			return Out
		}
	}
	return Internal
}

func (r Reader) loggedEnds(c *Call, rows []Segment) {
	first := &rows[0]
	switch c.Direction {
	case In:
		c.Caller, c.Trunk = call.ParseNumber(first.Source.Number, r.Country), r.trunk(string(first.Source.DN))
		for i := range rows {
			if c.First == "" && !r.kindOfRow(rows[i].Destination, &rows[i]).outside() {
				c.First = rows[i].Destination.DN
			}
		}
	case Out:
		c.Caller = call.Number(cmp.Or(string(first.Source.DN), first.Source.Number))
		for i := range rows {
			if to := rows[i].Destination; c.Callee == "" && r.kindOfRow(to, &rows[i]).outside() {
				c.Callee, c.Trunk = call.ParseNumber(to.Number, r.Country), r.trunk(string(to.DN))
			}
		}
		if c.Callee == "" { // 3CX found no way out: what was dialled is all there is
			c.Callee = call.ParseNumber(first.Destination.Number, r.Country)
		}
	default:
		c.Caller, c.Callee, c.First = call.Number(first.Source.DN), call.Number(first.Destination.DN), first.Destination.DN
	}
}

// passage adds one row: somebody talked, or rang, or a queue took the call.
func (r Reader) passage(c *Call, s *Segment) {
	answered := s.Started.Add(s.Ringing)
	end := answered.Add(s.Talking)
	c.Ended = later(c.Ended, end)
	from, to := r.kindOfRow(s.Source, s), r.kindOfRow(s.Destination, s)
	if from == kindExtension && to == kindExtension && c.Direction != Internal && strings.EqualFold(s.Verdict.Direction, "internal") {
		return // colleagues among themselves
	}
	who := s.Destination.DN
	switch {
	case to == kindExtension:
	case to.outside() && from == kindExtension:
		who = s.Source.DN
	case to.outside() && s.Answered && s.Talking > 0: // sent on to a number outside
		c.Result, c.Answered = call.ResultAnswered, earlier(c.Answered, answered)
		return
	default:
		return
	}
	if !s.Answered {
		if to == kindExtension {
			c.Rang = append(c.Rang, who)
		}
		return
	}
	t := newTalk(who, answered, end)
	if len(s.Recordings) > 0 {
		t.Recording = "pbx:" + strconv.Itoa(s.Recordings[0])
	}
	c.Talks = append(c.Talks, t)
	c.Result, c.Answered = call.ResultAnswered, earlier(c.Answered, answered)
}

// kindOfRow is what a party of a row is. Types are words in some builds and
// numbers in others, of which only three are sure; then the row's own type,
// the lists of numbers and the shape of the number tell. An extension's number
// under another type than its own is that of its mailbox.
func (r Reader) kindOfRow(p SegmentParty, s *Segment) kind {
	word := strings.ToLower(strings.ReplaceAll(p.Type, " ", ""))
	switch word {
	case "0":
		return kindExtension
	case "4":
		return kindQueue
	case "12", "system":
		return kindIVR
	}
	if k := kindOf(word); k != kindUnknown && k != kindSystem {
		return k
	}
	party := Party{Number: p.Number, DN: string(p.DN)}
	l := line{}
	switch {
	case party.DN != "" && l.inside(party.DN):
		k := r.kindAt(party.DN)
		if _, err := strconv.Atoi(word); err == nil && k == kindExtension {
			return kindVoicemail
		}
		return k
	case party.outsideNumber(), party.DN != "":
		return kindLine
	}
	if p != s.Destination {
		return kindIVR
	}
	switch strings.ToLower(s.Verdict.CallType) {
	case "queue":
		return kindQueue
	case "external":
		return kindLine
	}
	return kindIVR
}

// byCaller reports whether the caller ended a row.
func byCaller(s *Segment) bool {
	why := strings.ToLower(s.Verdict.Reason)
	for _, word := range []string{"originator", "src", "caller", "cancel"} {
		if strings.Contains(why, word) {
			return true
		}
	}
	return false
}
