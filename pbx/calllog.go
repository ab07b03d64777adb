package pbx

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"frontdesk/call"
)

// Segment is one row of 3CX's call log: a part of a call, from one party to
// another. The rows of one call have the same ID.Main.
type Segment struct {
	ID          SegmentID
	Started     time.Time
	Source      SegmentParty
	Destination SegmentParty
	Action      SegmentParty // whom ActionType speaks of
	ActionType  string       // what became of the segment, as 3CX words it; numbers in some versions
	Ringing     time.Duration
	Talking     time.Duration
	Answered    bool
	Verdict     SegmentVerdict
	Recordings  []int // ids for Client.Download
}

// SegmentID is where a segment belongs.
type SegmentID struct {
	Main    string // of the whole call, over its transfers; versions before 20.0.6 give none, then it is the callid
	History string // of the part of the call since the last transfer
	CDR     string // of the segment itself
	Call    int    // the number that call control and recordings' file names carry
	Segment int    // the place in the call
	Indent  int    // how deep the row is below its call
}

// SegmentParty is one side of a segment.
type SegmentParty struct {
	Type   string         // "Extension", "Queue", ... or a number: 0 extension, 4 queue, 12 system
	DN     call.Extension // the number on the PBX: extension, queue, trunk
	Number string         // the telephone number, as 3CX has it
	Name   string
}

// SegmentVerdict is 3CX's own account of a segment, in its words.
type SegmentVerdict struct {
	Direction string // Inbound, Outbound, Internal
	CallType  string // Extension, Queue, System, External
	Status    string // Answered, Unanswered, Waiting
	Reason    string
}

// window is the longest span that is asked for at once: 3CX cuts a report off
// at a number of rows, without saying so.
const window = time.Hour

// CallLog reads the segments of the calls that began from from until to, in no
// particular order, each once. A span over an hour is asked for by the hour.
func (c *Client) CallLog(ctx context.Context, from, to time.Time) ([]Segment, error) {
	var out []Segment
	seen := map[SegmentID]bool{}
	for ; from.Before(to); from = from.Add(window) {
		until := from.Add(window)
		if until.After(to) {
			until = to
		}
		// The newest rows come first: those that are added while pages are
		// turned push others onto the next page, which then come again.
		part, err := rows(ctx, c, "call log", callLogPath(from, until), nil, segmentWire.segment)
		if err != nil {
			return nil, err
		}
		for _, s := range part {
			if !seen[s.ID] {
				seen[s.ID] = true
				out = append(out, s)
			}
		}
	}
	return out, nil
}

// callLogPath names the report with its eleven arguments, all of which 3CX
// wants; times must be in UTC.
func callLogPath(from, to time.Time) string {
	return fmt.Sprintf("/ReportCallLogData/Pbx.GetCallLogData(periodFrom=%s,periodTo=%s,"+
		"sourceType=0,sourceFilter='',destinationType=0,destinationFilter='',callsType=0,"+
		"callTimeFilterType=0,callTimeFilterFrom='0:00:0',callTimeFilterTo='0:00:0',hidePcalls=true)",
		from.UTC().Format(time.RFC3339), to.UTC().Format(time.RFC3339))
}

// segmentWire is a row as 3CX gives it.
type segmentWire struct {
	segmentIDWire
	segmentPartiesWire
	segmentActionWire
	segmentRecordingsWire
	StartTime, RingingDuration, TalkingDuration, Answered loose
	Direction, CallType, Status, Reason                   loose
}

// The fields have 3CX's names, of which JSON in Go tells no letters' case.
type segmentIDWire struct {
	MainCallHistoryID, CallHistoryID, CdrID, CallID, SegmentID, Indent loose
}

type segmentPartiesWire struct {
	SourceType, SourceDn, SourceCallerID, SourceDisplayName                     loose
	DestinationType, DestinationDn, DestinationCallerID, DestinationDisplayName loose
}

type segmentActionWire struct {
	ActionType, ActionDnType, ActionDnDn, ActionDnCallerID, ActionDnDisplayName loose
}

type segmentRecordingsWire struct {
	SrcRecID, DstRecID loose
	Recordings         []struct{ ID loose }
}

func (w segmentWire) segment() (Segment, bool) {
	s := Segment{
		ID: SegmentID{
			Main: w.MainCallHistoryID.text(), History: w.CallHistoryID.text(), CDR: w.CdrID.text(),
			Call: w.CallID.int(), Segment: w.SegmentID.int(), Indent: w.Indent.int(),
		},
		Started:     w.StartTime.time(),
		Source:      party(w.SourceType, w.SourceDn, w.SourceCallerID, w.SourceDisplayName),
		Destination: party(w.DestinationType, w.DestinationDn, w.DestinationCallerID, w.DestinationDisplayName),
		Action:      party(w.ActionDnType, w.ActionDnDn, w.ActionDnCallerID, w.ActionDnDisplayName),
		ActionType:  w.ActionType.text(),
		Ringing:     w.RingingDuration.duration(), Talking: w.TalkingDuration.duration(),
		Verdict: SegmentVerdict{w.Direction.text(), w.CallType.text(), w.Status.text(), w.Reason.text()},
	}
	s.Answered, _ = w.Answered.bool()
	s.ID.Main = cmp.Or(s.ID.Main, s.ID.History, w.CallID.text())
	have := map[int]bool{0: true}
	for _, id := range append([]loose{w.SrcRecID, w.DstRecID}, w.recordings()...) {
		if n := id.int(); !have[n] {
			have[n] = true
			s.Recordings = append(s.Recordings, n)
		}
	}
	return s, s.ID.Main != "" && !s.Started.IsZero()
}

func (w segmentWire) recordings() []loose {
	out := make([]loose, 0, len(w.Recordings))
	for _, r := range w.Recordings {
		out = append(out, r.ID)
	}
	return out
}

func party(kind, dn, number, name loose) SegmentParty {
	return SegmentParty{Type: kind.text(), DN: call.Extension(dn.text()), Number: number.text(), Name: name.text()}
}
