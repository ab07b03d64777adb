package pbxtest_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"frontdesk/media"
	"frontdesk/pbx/pbxtest"
)

// at is a moment of the second of March.
func at(clock string) time.Time {
	t, err := time.Parse(time.DateTime, "2026-03-02 "+clock)
	if err != nil {
		panic(err)
	}
	return t
}

func party(number string) pbxtest.Party { return pbxtest.Party{Number: number} }

// The three calls of the documentation.
func answeredInQueue() pbxtest.Account {
	return pbxtest.Account{
		Direction: pbxtest.Inbound, Caller: party("+74951234567"), Dialled: "800", Trunk: "10000",
		Started: at("09:15:04"), Ended: at("09:17:31"), End: pbxtest.ByDestination,
		Legs: []pbxtest.Leg{
			{Party: party("800"), Kind: pbxtest.Queue, How: pbxtest.Dialled, Rang: at("09:15:04"), Answered: at("09:15:21"), Ended: at("09:15:30")},
			{Party: party("101"), Kind: pbxtest.Extension, How: pbxtest.Polled, Rang: at("09:15:22"), Answered: at("09:15:30"), Ended: at("09:17:31")},
		},
		Identity: pbxtest.Identity{History: 9001, CallID: "00000D1A2B3C4D5E_71"},
	}
}

func missedInQueue() pbxtest.Account {
	return pbxtest.Account{
		Direction: pbxtest.Inbound, Caller: party("+74957654321"), Dialled: "800", Trunk: "10000",
		Started: at("09:20:00"), Ended: at("09:20:48"), End: pbxtest.BySource,
		Legs: []pbxtest.Leg{
			{Party: party("800"), Kind: pbxtest.Queue, How: pbxtest.Dialled, Rang: at("09:20:00"), Answered: at("09:20:03"), Ended: at("09:20:48")},
			{Party: party("101"), Kind: pbxtest.Extension, How: pbxtest.Polled, Rang: at("09:20:04"), Ended: at("09:20:24")},
			{Party: party("102"), Kind: pbxtest.Extension, How: pbxtest.Polled, Rang: at("09:20:24"), Ended: at("09:20:48")},
		},
		Identity: pbxtest.Identity{History: 9002, CallID: "00000D1A2B3C4D60_72"},
	}
}

func outgoing() pbxtest.Account {
	return pbxtest.Account{
		Direction: pbxtest.Outbound, Caller: pbxtest.Party{Number: "101", Name: "Ivan Petrov"}, Dialled: "974951112233", Trunk: "10000",
		Started: at("10:00:00"), Ended: at("10:01:12"), End: pbxtest.BySource,
		Legs: []pbxtest.Leg{
			{Party: party("74951112233"), Kind: pbxtest.Line, How: pbxtest.Dialled, Rang: at("10:00:00"), Answered: at("10:00:07"), Ended: at("10:01:12")},
		},
		Identity: pbxtest.Identity{History: 9003, CallID: "00000D1A2B3C4D71_73"},
	}
}

// transferred is taken by 101 and passed on to 205, who hangs up.
func transferred(how pbxtest.How) pbxtest.Account {
	return pbxtest.Account{
		Direction: pbxtest.Inbound, Caller: party("+79161234567"), Dialled: "101", Trunk: "10000",
		Started: at("11:00:00"), Ended: at("11:02:00"), End: pbxtest.ByDestination,
		Legs: []pbxtest.Leg{
			{Party: party("101"), Kind: pbxtest.Extension, How: pbxtest.Dialled, Rang: at("11:00:00"), Answered: at("11:00:05"), Ended: at("11:01:00")},
			{Party: party("205"), Kind: pbxtest.Extension, How: how, Rang: at("11:01:00"), Answered: at("11:01:10"), Ended: at("11:02:00")},
		},
		Identity: pbxtest.Identity{History: 9004, CallID: "00000D1A2B3C4D72_74"},
	}
}

func TestLinesOfTheDocumentation(t *testing.T) {
	t.Parallel()
	s := company(pbxtest.StateConfig{})
	s.SetCDR(func(c *pbxtest.CDRSettings) { c.Legacy = true })
	for want, a := range map[string]pbxtest.Account{
		"Call 9001,00000D1A2B3C4D5E_71,00:02:10,2026/03/02 09:15:04,2026/03/02 09:15:21,2026/03/02 09:17:31,TerminatedByDst,+74951234567,Ext.800,10000,800,800,ReplacedDst,Ext.101,101,,,,,Chain: +74951234567;Ext.800;Ext.101;,Line,Queue,Extension,+74951234567,Sales,Ivan Petrov,": answeredInQueue(),
		"Call 9002,00000D1A2B3C4D60_72,00:00:45,2026/03/02 09:20:00,2026/03/02 09:20:03,2026/03/02 09:20:48,TerminatedBySrc,+74957654321,Ext.800,10000,800,800,,,,,,,,Chain: +74957654321;Ext.800;,Line,Queue,,+74957654321,Sales,,Ext.101;Ext.102;":                                  missedInQueue(),
		"Call 9003,00000D1A2B3C4D71_73,00:01:05,2026/03/02 10:00:00,2026/03/02 10:00:07,2026/03/02 10:01:12,TerminatedBySrc,Ext.101,74951112233,101,10000,974951112233,,,,,1,1.08,default,Chain: Ext.101;974951112233;,Extension,Line,,Ivan Petrov,74951112233,,":                     outgoing(),
	} {
		if got := s.CDR().Line(s.Account(a)); got != want {
			t.Errorf("line\n%s, want\n%s", got, want)
		}
	}
}

func TestLines(t *testing.T) {
	t.Parallel()
	failed := outgoing()
	failed.Legs = []pbxtest.Leg{{Party: party("974951112233"), Kind: pbxtest.LineSet, Rang: at("10:00:00"), Ended: at("10:00:01")}}
	failed.End = pbxtest.NoRoute
	unheard := transferred(pbxtest.Failed)
	unheard.Legs[1].Answered = time.Time{}
	mail := transferred(pbxtest.Forwarded)
	mail.Legs[0].Answered, mail.Legs[1].Number, mail.Legs[1].Kind = time.Time{}, "101", pbxtest.Voicemail
	overflow := missedInQueue()
	overflow.Legs = append(overflow.Legs, pbxtest.Leg{Party: party("820"), Kind: pbxtest.IVR, How: pbxtest.Forwarded, Answered: at("09:20:40")})
	for _, c := range []struct {
		what    string
		legacy  bool
		account pbxtest.Account
		want    string // values of fields, from reason-terminated on
	}{
		{"outgoing failed", true, failed, "Failed||LineSet||974951112233|||"},
		{"outgoing failed, modern", false, failed, "no_route||outbound_rule|outbound_rule|974951112233|974951112233||"},
		{"outgoing, modern", false, outgoing(), "src_participant_terminated||external_line|external_line|10000|10000||Chain: Ext.101;974951112233;"},
		{"transfer", true, transferred(pbxtest.Blind), "TerminatedByDst|ReplacedDst|Extension|Extension|101|205||Chain: +79161234567;Ext.101;Ext.205;"},
		{"transfer, modern", false, transferred(pbxtest.Blind), "dst_participant_terminated|ReplacedDst|extension|extension|101|205||Chain: +79161234567;Ext.101;Ext.205;"},
		{"transfer that failed", true, unheard, "TerminatedByDst|FailedBXferOfDst|Extension|Extension|101|205||Chain: +79161234567;Ext.101;Ext.205;"},
		{"voicemail", true, mail, "TerminatedByDst|ReplacedDst|Extension|VMail|101|101||Chain: +79161234567;Ext.101;VMail.101;"},
		{"queue that overflows", true, overflow, "TerminatedBySrc|QFwdToDNA|Queue|Ivr|800|820|Ext.101;Ext.102;|Chain: +74957654321;Ext.800;Ext.820;"},
	} {
		s := company(pbxtest.StateConfig{})
		s.SetCDR(func(cdr *pbxtest.CDRSettings) {
			cdr.Legacy = c.legacy
			cdr.Fields = strings.Fields("reason-terminated reason-changed to-type final-type to-dn final-dn missed-queue-calls chain")
		})
		if got := strings.ReplaceAll(s.CDR().Line(c.account), ",", "|"); got != c.want {
			t.Errorf("%s: %s, want %s", c.what, got, c.want)
		}
	}
}

func TestReasonsOfBothVocabularies(t *testing.T) {
	t.Parallel()
	for end, want := range map[pbxtest.End]string{
		pbxtest.BySource: "TerminatedBySrc src_participant_terminated", pbxtest.ByDestination: "TerminatedByDst dst_participant_terminated",
		pbxtest.NoRoute: "Failed no_route", pbxtest.Busy: "TargetBusy busy", pbxtest.Declined: "Failed declined",
		pbxtest.NotFound: "TargetNotFound not_found", pbxtest.TimedOut: "NoAnswerTimeout timeout",
		pbxtest.Cancelled: "Failed_Cancelled cancelled", pbxtest.Redirected: "Redirected redirected",
	} {
		a := outgoing()
		a.End = end
		c := pbxtest.CDRSettings{Fields: []string{"reason-terminated"}, Legacy: true}
		got := c.Line(a)
		c.Legacy = false
		if got += " " + c.Line(a); got != want {
			t.Errorf("%s is told as %s, want %s", end, got, want)
		}
	}
}

// callLog asks for the segments of the whole day.
func (s *site) callLog(options string) (int, map[string]any) {
	s.Helper()
	return s.do("GET", "ReportCallLogData/Pbx.GetCallLogData(periodFrom=2026-03-02T00:00:00Z,periodTo=2026-03-02T23:59:59Z,sourceType=0,sourceFilter='',"+
		"destinationType=0,destinationFilter='',callsType=0,callTimeFilterType=0,callTimeFilterFrom='0:00:0',callTimeFilterTo='0:00:0',hidePcalls=true)"+options, nil)
}

func TestCallLog(t *testing.T) {
	t.Parallel()
	s := newSite(t, pbxtest.StateConfig{})
	first, second := s.Account(answeredInQueue()), s.Account(transferred(pbxtest.Blind))
	status, out := s.callLog("?$top=100")
	if status != 200 || values(out, "DestinationDn") != "205 101 101 800" || values(out, "SegmentId") != "4 3 2 1" {
		t.Fatalf("segments %d %v", status, out)
	}
	if got := values(out, "MainCallHistoryId"); got != strings.Join([]string{second.Main, second.Main, first.Main, first.Main}, " ") {
		t.Errorf("calls %s", got)
	}
	for field, want := range map[string]string{
		"RingingDuration": "PT10S PT5S PT8S PT17S", "TalkingDuration": "PT50S PT55S PT2M1S PT9S", "Answered": "true true true true",
		"StartTime": "2026-03-02T11:01:00Z 2026-03-02T11:00:00Z 2026-03-02T09:15:22Z 2026-03-02T09:15:04Z",
		"SourceDn":  "10000 10000 10000 10000", "DestinationType": "0 0 0 4", "actionDnDn": " 205  101",
		"Direction": "Inbound Inbound Inbound Inbound", "Status": "Answered Answered Answered Waiting",
		"Reason":   "dst_participant_terminated continued_in dst_participant_terminated continued_in",
		"DstRecId": fmt.Sprintf("%d %d %d <nil>", second.Legs[1].Recording, second.Legs[0].Recording, first.Legs[1].Recording),
		"CallId":   fmt.Sprintf("%d %[1]d %d %[2]d", second.Number, first.Number),
	} {
		if got := values(out, field); got != want {
			t.Errorf("%s: %q, want %q", field, got, want)
		}
	}
	if _, out = s.callLog("?$orderby=StartTime asc"); len(out["value"].([]any)) != 3 {
		t.Errorf("$orderby loses no row: %s", values(out, "DestinationDn"))
	}
	if _, out = s.callLog("?$top=1&$filter=DestinationDn eq '800'"); len(out["value"].([]any)) != 0 {
		t.Errorf("$filter is applied before the page: %s", values(out, "DestinationDn"))
	}
	status, _ = s.do("GET", "ReportCallLogData/Pbx.GetCallLogData(periodFrom=2026-03-02T00:00:00Z,periodTo=2026-03-02T23:59:59Z)", nil)
	if status != 404 {
		t.Errorf("without all arguments it is answered %d", status)
	}
	if status, out = s.do("GET", "CallHistoryView", nil); status != 500 {
		t.Errorf("CallHistoryView: %d %v", status, out)
	}
}

func TestCallLogDrifts(t *testing.T) {
	t.Parallel()
	for build, want := range map[pbxtest.Build]string{pbxtest.Build4: "false false", pbxtest.Build6: "true false", pbxtest.Build10: "true true"} {
		s := newSite(t, pbxtest.StateConfig{Build: build})
		s.Account(answeredInQueue())
		_, out := s.callLog("")
		row := out["value"].([]any)[0].(map[string]any)
		if got := fmt.Sprintf("%t %t", row["MainCallHistoryId"] != nil, row["Recordings"] != nil); got != want {
			t.Errorf("%s has GUIDs and recordings: %s, want %s", build, got, want)
		}
	}
}

func TestRecordings(t *testing.T) {
	t.Parallel()
	c := newClock()
	s := newSite(t, pbxtest.StateConfig{Now: c.Now, RecordingDelay: time.Minute, RecordingGrowing: 10 * time.Second},
		pbxtest.Client{ID: "frontdesk", Secret: "secret", Lifetime: 24 * time.Hour})
	id := s.Account(answeredInQueue()).Legs[1].Recording
	get := func() (int, []byte) {
		req, err := http.NewRequestWithContext(limit(t), "GET", fmt.Sprintf("%s/xapi/v1/Recordings/Pbx.DownloadRecording(recId=%d)", s.url, id), nil)
		must(t, err)
		req.Header.Set("Authorization", "Bearer "+s.token)
		res, err := s.http.Do(req)
		must(t, err)
		defer res.Body.Close()
		data, err := io.ReadAll(res.Body)
		must(t, err)
		if res.StatusCode == 200 && (res.Header.Get("Content-Type") != "audio/x-wav" || !strings.Contains(res.Header.Get("Content-Disposition"), "[Ivan Petrov]_101-+74951234567_20260302091530(")) {
			t.Errorf("headers %v", res.Header)
		}
		return res.StatusCode, data
	}
	listed := func() string {
		_, out := s.do("GET", fmt.Sprintf("Recordings?$filter=Id gt %d and StartTime ge 2026-03-02T06:00:00Z and (FromDn eq '101' or ToDn eq '101')&$orderby=Id asc&$top=100", id-1), nil)
		return values(out, "Id")
	}
	c.advance(at("09:18:30").Sub(c.Now()))
	if status, _ := get(); status != 404 || listed() != "" {
		t.Errorf("before it appears: %d, listed %q", status, listed())
	}
	c.advance(6 * time.Second)
	status, part := get()
	if status != 200 || listed() != fmt.Sprint(id) {
		t.Errorf("while it grows: %d, listed %q", status, listed())
	}
	c.advance(time.Minute)
	_, whole := get()
	const talk = 121 * 16000 // bytes
	if len(whole) != 44+talk || len(part) != 44+talk/2 {
		t.Fatalf("%d bytes, then %d", len(part), len(whole))
	}
	if n := binary.LittleEndian.Uint32(part[40:]); n != talk/2 || string(whole[:4]) != "RIFF" || string(whole[36:40]) != "data" {
		t.Errorf("header %q, %d bytes", whole[:44], n)
	}
	pcm := make([]int16, 8000)
	_, err := binary.Decode(whole[44:], binary.LittleEndian, pcm)
	must(t, err)
	if media.Dominant(pcm, float64(pbxtest.ToneOf("101"))) < 0.9 {
		t.Error("the recording is not 101's")
	}
	if status, _ := s.do("GET", fmt.Sprintf("Recordings(%d)", id), nil); status != 404 {
		t.Errorf("Recordings(id) is answered %d", status)
	}
}

// TestTimesAreThePBXs leads a call by hand, on a clock that stands still.
func TestTimesAreThePBXs(t *testing.T) {
	t.Parallel()
	c := newClock()
	s := company(pbxtest.StateConfig{Now: c.Now})
	s.SetCDR(func(cdr *pbxtest.CDRSettings) {
		cdr.Fields = strings.Fields("duration time-start time-answered time-end final-dn missed-queue-calls")
	})
	call := s.Begin(pbxtest.Inbound, party("+7495"), "800", "10000")
	for _, step := range []func(){
		func() { call.Ring("800", pbxtest.Queue, pbxtest.Dialled) }, func() { call.Answer("800") },
		func() { call.Ring("102", pbxtest.Extension, pbxtest.Polled) }, func() { call.Leave("102") },
		func() { call.Ring("101", pbxtest.Extension, pbxtest.Polled) }, func() { call.Leave("800") }, func() { call.Answer("101") },
	} {
		c.advance(time.Second)
		step()
	}
	c.advance(time.Minute)
	a := call.End(pbxtest.BySource)
	want := "00:01:05,2026/03/02 09:15:04,2026/03/02 09:15:06,2026/03/02 09:16:11,101,Ext.102;"
	if got := s.CDR().Line(a); got != want {
		t.Errorf("line %s, want %s", got, want)
	}
	if l := a.Legs[2]; l.Name != "Ivan Petrov" || l.Ended.Sub(l.Answered) != time.Minute || l.Recording == 0 {
		t.Errorf("leg %+v", l)
	}
}
