package pbxtest

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// segments are the rows of the call log for a call, one for each stop. mu is
// held.
func (s *State) segments(a *Account) []Row {
	from := Extension
	sourceDN := a.Caller.Number
	if a.Direction == Inbound {
		from, sourceDN = Line, a.Trunk
	}
	var out []Row
	for i, l := range a.Legs {
		s.calls.segment++
		r := Row{
			"CallId": a.Number, "SegmentId": s.calls.segment, "Indent": min(i, 1), "SubrowDescNumber": i, "StartTime": stamp(l.Rang),
			"SourceType": from.code(), "SourceDn": sourceDN, "SourceCallerId": a.Caller.Number, "SourceDisplayName": a.Caller.Name,
			"DestinationType": l.Kind.code(), "DestinationDn": a.dn(l), "DestinationCallerId": l.Number, "DestinationDisplayName": l.Name,
			"ActionType": 0, "ActionDnType": 0, "actionDnDn": "", "ActionDnCallerId": "", "ActionDnDisplayName": "",
			"RingingDuration": iso(ringing(l)), "TalkingDuration": iso(talking(l)), "Answered": !l.Answered.IsZero(),
			"Direction": string(a.Direction), "CallType": callType(a, l), "Status": status(l), "Reason": a.reason(i),
			"CallCost": 0, "QualityReport": false, "SrcRecId": nil, "DstRecId": nil, "RecordingUrl": "", "Summary": nil, "Transcription": nil, "SentimentScore": nil,
		}
		if s.cfg.Build >= Build6 {
			r["MainCallHistoryId"], r["CallHistoryId"], r["CdrId"] = a.Main, a.Main, guid()
		}
		if next := a.next(i); next != nil {
			r["ActionType"], r["ActionDnType"], r["actionDnDn"], r["ActionDnCallerId"], r["ActionDnDisplayName"] = 1, next.Kind.code(), a.dn(*next), next.Number, next.Name
		}
		if s.cfg.Build >= Build10 {
			r["Recordings"] = []Row{}
		}
		if l.Recording != 0 {
			r["DstRecId"] = l.Recording
			if s.cfg.Build >= Build10 {
				r["Recordings"] = []Row{{"Id": l.Recording, "Summary": nil, "Transcription": nil, "SentimentScore": nil}}
			}
		}
		out = append(out, r)
	}
	return out
}

// next is where the call went from its ith stop, nil if nowhere. Of several
// agents who rang, only the one who answered is.
func (a *Account) next(i int) *Leg {
	for j := i + 1; j < len(a.Legs); j++ {
		if l := &a.Legs[j]; l.How != Polled || !l.Answered.IsZero() {
			return l
		}
	}
	return nil
}

// reason is why the ith stop was left.
func (a *Account) reason(i int) string {
	l := a.Legs[i]
	switch {
	case l.How == Polled && l.Answered.IsZero():
		return "polling"
	case a.next(i) != nil && l.Answered.IsZero():
		return TimedOut.reason(false, a.Direction)
	case a.next(i) != nil:
		return "continued_in"
	}
	return a.End.reason(false, a.Direction)
}

func ringing(l Leg) time.Duration {
	if l.Answered.IsZero() {
		return l.Ended.Sub(l.Rang)
	}
	return l.Answered.Sub(l.Rang)
}

func talking(l Leg) time.Duration {
	if l.Answered.IsZero() {
		return 0
	}
	return l.Ended.Sub(l.Answered)
}

func status(l Leg) string {
	switch {
	case l.Kind == Queue || l.Kind == RingGroup:
		return "Waiting"
	case l.Answered.IsZero():
		return "Unanswered"
	}
	return "Answered"
}

func callType(a *Account, l Leg) string {
	switch {
	case l.Kind == Queue:
		return "Queue"
	case a.Direction != Internal:
		return "External"
	case l.Kind == Extension:
		return "Extension"
	}
	return "System"
}

// iso writes a duration as ISO 8601: PT1M1.4S.
func iso(d time.Duration) string {
	var b strings.Builder
	b.WriteString("PT")
	if h := d / time.Hour; h > 0 {
		b.WriteString(strconv.Itoa(int(h)) + "H")
	}
	if m := d / time.Minute % 60; m > 0 {
		b.WriteString(strconv.Itoa(int(m)) + "M")
	}
	if rest := d % time.Minute; rest > 0 || d == 0 {
		b.WriteString(strconv.FormatFloat(rest.Round(time.Millisecond).Seconds(), 'f', -1, 64) + "S")
	}
	return b.String()
}

// rowLimit is REPORT_ROW_LIMIT: a window that holds more loses the oldest.
const rowLimit = 20000

// callLogArgs are the arguments of GetCallLogData, every one of them needed.
func callLogArgs() []string {
	return []string{
		"periodFrom", "periodTo", "sourceType", "sourceFilter", "destinationType", "destinationFilter", "callsType",
		"callTimeFilterType", "callTimeFilterFrom", "callTimeFilterTo", "hidePcalls",
	}
}

// callLog are the segments of a window, newest first. It has two traps of the
// real one: $filter sees only the page, and $orderby loses the newest row.
func callLog(a *API, q *request) (any, *failure) {
	args := q.last().args
	for _, name := range callLogArgs() {
		if _, ok := args[name]; !ok || len(args) != len(callLogArgs()) { // no such overload
			return nil, &failure{status: http.StatusNotFound}
		}
	}
	from, fail := utc(args["periodFrom"])
	if fail != nil {
		return nil, fail
	}
	to, fail := utc(args["periodTo"])
	if fail != nil {
		return nil, fail
	}
	t := a.state.tables["CallLog"]
	options, fail := parseQuery(q.query, t)
	if fail != nil {
		return nil, fail
	}
	rows := a.state.window(from, to, args)
	if len(options.order) > 0 && len(rows) > 0 {
		rows = rows[1:]
	}
	keep := options.keep
	options.keep = nil
	out := options.page(t, rows)
	if value, ok := out["value"].([]Row); ok && keep != nil {
		out["value"] = slices.DeleteFunc(value, func(r Row) bool { return !keep(r) })
	}
	return out, nil
}

func utc(text string) (time.Time, *failure) {
	t, err := time.Parse(time.RFC3339, text)
	if err != nil || !strings.HasSuffix(text, "Z") {
		return t, invalid("'%s' is not a time of UTC", text)
	}
	return t, nil
}

// window are the segments that began within a time, newest first.
func (s *State) window(from, to time.Time, args map[string]string) []Row {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []Row
	for _, r := range slices.Backward(s.calls.segments) {
		began, err := time.Parse(time.RFC3339, r.text("StartTime"))
		if err != nil || began.Before(from) || began.After(to) || len(out) == rowLimit {
			continue
		}
		if !strings.Contains(r.text("SourceDn")+" "+r.text("SourceCallerId"), args["sourceFilter"]) ||
			!strings.Contains(r.text("DestinationDn")+" "+r.text("DestinationCallerId"), args["destinationFilter"]) {
			continue
		}
		out = append(out, r)
	}
	slices.SortStableFunc(out, func(x, y Row) int { return -strings.Compare(x.text("StartTime"), y.text("StartTime")) })
	return out
}

// oldCallLog has only what was before the new engine: nothing.
func oldCallLog(*API, *request) (any, *failure) { return Row{"value": []Row{}}, nil }
