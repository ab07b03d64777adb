package pbx_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"frontdesk/pbx"

	"github.com/google/go-cmp/cmp"
)

func TestContacts(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	var rows []any
	for i := range 230 {
		rows = append(rows, map[string]any{"Id": i + 1, "FirstName": "N", "LastName": nil, "PhoneNumber": 79161234567, "Tag": fmt.Sprintf("B24:C:%d", i)})
	}
	f.list("/Contacts", rows...)
	var got []pbx.Contact
	err := f.client(t).Contacts(t.Context(), func(c pbx.Contact) error {
		got = append(got, c)
		return nil
	})
	if err != nil || len(got) != 230 {
		t.Fatalf("%d contacts, %v", len(got), err)
	}
	want := pbx.Contact{ID: 230, Person: pbx.Person{FirstName: "N"}, Phones: pbx.Phones{PhoneNumber: "79161234567"}, Tag: "B24:C:229"}
	if d := cmp.Diff(want, got[229]); d != "" {
		t.Error(d)
	}
	stop := errors.New("enough")
	if err := f.client(t).Contacts(t.Context(), func(pbx.Contact) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("ended with %v", err)
	}
}

func TestWriteContacts(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	var sent []map[string]any
	keep := func(r *http.Request) {
		var m map[string]any
		if err := json.NewDecoder(r.Body).Decode(&m); err != nil {
			t.Error(err)
		}
		sent = append(sent, m)
	}
	f.mux.HandleFunc("POST /xapi/v1/Contacts", func(w http.ResponseWriter, r *http.Request) {
		keep(r)
		write(w, 201, map[string]any{"Id": 981})
	})
	f.mux.HandleFunc("PATCH /xapi/v1/Contacts(981)", func(w http.ResponseWriter, r *http.Request) {
		keep(r)
		w.WriteHeader(http.StatusNoContent)
	})
	c := f.client(t)
	contact := pbx.Contact{Person: pbx.Person{FirstName: "Anna"}, Phones: pbx.Phones{Business: "+74951234567"}, Tag: "B24:C:1", Type: "3CX"}
	id, err := c.CreateContact(t.Context(), contact)
	if err != nil || id != 981 {
		t.Fatalf("id %d, %v", id, err)
	}
	if err := c.UpdateContact(t.Context(), id, map[string]string{"FirstName": "Anna-Maria", "Home": ""}); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(map[string]any{"FirstName": "Anna-Maria", "Home": ""}, sent[1]); d != "" {
		t.Errorf("the update (-want +got):\n%s", d)
	}
	for _, m := range sent[:1] {
		for _, never := range []string{"ContactType", "Type", "Id", "ID"} {
			if _, ok := m[never]; ok {
				t.Errorf("%s is sent: %v", never, m)
			}
		}
		if m["FirstName"] != "Anna" || m["Business"] != "+74951234567" || m["Tag"] != "B24:C:1" || m["LastName"] != "" {
			t.Errorf("sent %v", m)
		}
	}
	if err := c.UpdateContact(t.Context(), 5, nil); !errors.Is(err, pbx.ErrNotFound) {
		t.Errorf("an entry that is gone: %v", err)
	}
}

// TestFindContacts: by id or Tag, and strangers are left out, whatever the PBX
// makes of the filter.
func TestFindContacts(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	var filters []string
	f.mux.HandleFunc("GET /xapi/v1/Contacts", func(w http.ResponseWriter, r *http.Request) {
		filters = append(filters, r.URL.Query().Get("$filter"))
		write(w, 200, map[string]any{"value": []any{
			map[string]any{"Id": 5, "Tag": "VIP"}, map[string]any{"Id": 6, "Tag": "B24:C:1"}, map[string]any{"Id": 7},
		}})
	})
	c := f.client(t)
	for id, want := range map[int][]int{5: {5, 6}, 0: {6}} {
		found, err := c.FindContacts(t.Context(), id, "B24:C:1")
		var got []int
		for _, contact := range found {
			got = append(got, contact.ID)
		}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("by %d: %v, %v", id, got, err)
		}
	}
	slices.Sort(filters)
	if d := cmp.Diff([]string{"Id eq 5 or Tag eq 'B24:C:1'", "Tag eq 'B24:C:1'"}, filters); d != "" {
		t.Error(d)
	}
}

// TestDeleteContacts meets every version's way, and that one of the entries is
// gone already.
func TestDeleteContacts(t *testing.T) {
	t.Parallel()
	many := make([]int, 150)
	for i := range many {
		many[i] = i + 1
	}
	for name, c := range map[string]struct {
		bulk   string // the action that exists
		gone   bool
		posts  int // requests to delete many
		single int
	}{
		"since 20.0.9":           {"DeleteContactsById", false, 2, 0},
		"before":                 {"BatchContactsDelete", false, 3, 0}, // the newer one is tried once
		"neither":                {"", false, 2, 150},
		"one of them is gone":    {"DeleteContactsById", true, 2, 150},
		"gone, the older action": {"BatchContactsDelete", true, 4, 150},
	} {
		f := newFake(t)
		var deleted []int
		f.mux.HandleFunc("POST /xapi/v1/Contacts/{action}", func(w http.ResponseWriter, r *http.Request) {
			var body struct{ IDs []int }
			if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
				t.Error(err)
			}
			switch {
			case strings.TrimPrefix(r.PathValue("action"), "Pbx.") != c.bulk || c.bulk == "":
				http.NotFound(w, r)
			case c.gone:
				refuse(w, 404, "WARNINGS.XAPI.NOT_FOUND")
			default:
				deleted = append(deleted, body.IDs...)
				w.WriteHeader(http.StatusNoContent)
			}
		})
		f.mux.HandleFunc("DELETE /xapi/v1/{key}", func(w http.ResponseWriter, r *http.Request) {
			var id int
			if _, err := fmt.Sscanf(r.PathValue("key"), "Contacts(%d)", &id); err != nil {
				t.Error(err)
			}
			if id == 7 {
				refuse(w, 404, "WARNINGS.XAPI.NOT_FOUND")
				return
			}
			deleted = append(deleted, id)
			w.WriteHeader(http.StatusNoContent)
		})
		if err := f.client(t).DeleteContacts(t.Context(), many); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		slices.Sort(deleted)
		want := many
		if c.single > 0 {
			want = slices.DeleteFunc(slices.Clone(many), func(id int) bool { return id == 7 })
		}
		if !slices.Equal(deleted, want) {
			t.Errorf("%s: deleted %d, want %d", name, len(deleted), len(want))
		}
		if n := f.asked("POST"); n != c.posts {
			t.Errorf("%s: %d requests for many, want %d", name, n, c.posts)
		}
		if n := f.asked("DELETE"); n != c.single {
			t.Errorf("%s: %d single ones, want %d", name, n, c.single)
		}
	}
}

func TestCallLog(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	var windows []string
	f.mux.HandleFunc("GET /xapi/v1/ReportCallLogData/{call}", func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		windows = append(windows, r.PathValue("call"))
		f.mu.Unlock()
		write(w, 200, map[string]any{"value": []any{
			map[string]any{
				"MainCallHistoryId": "m1", "CallHistoryId": "h1", "CdrId": "c1", "CallId": 12, "SegmentId": 3, "Indent": 1,
				"StartTime": "2026-03-02T09:15:04Z", "SourceType": 10, "SourceDn": "10000", "SourceCallerId": "+74951234567",
				"DestinationType": "Extension", "DestinationDn": "101", "DestinationDisplayName": "Ivan Petrov",
				"actionDnDn": "102", "ActionType": 4, "RingingDuration": "PT4.5S", "TalkingDuration": "PT1M1.4S",
				"Answered": true, "Direction": "Inbound", "Status": "Answered", "SrcRecId": nil, "DstRecId": 1501,
				"Recordings": []any{map[string]any{"Id": 1501}, map[string]any{"Id": 1502}},
			},
			map[string]any{"StartTime": nil, "CdrId": "broken"},
		}})
	})
	from := time.Date(2026, 3, 2, 12, 0, 0, 0, time.FixedZone("", 3*3600))
	got, err := f.client(t).CallLog(t.Context(), from, from.Add(150*time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	want := []pbx.Segment{{
		ID:          pbx.SegmentID{Main: "m1", History: "h1", CDR: "c1", Call: 12, Segment: 3, Indent: 1},
		Started:     time.Date(2026, 3, 2, 9, 15, 4, 0, time.UTC),
		Source:      pbx.SegmentParty{Type: "10", DN: "10000", Number: "+74951234567"},
		Destination: pbx.SegmentParty{Type: "Extension", DN: "101", Name: "Ivan Petrov"},
		Action:      pbx.SegmentParty{DN: "102"}, ActionType: "4",
		Ringing: 4500 * time.Millisecond, Talking: 61400 * time.Millisecond, Answered: true,
		Verdict:    pbx.SegmentVerdict{Direction: "Inbound", Status: "Answered"},
		Recordings: []int{1501, 1502},
	}}
	if d := cmp.Diff(want, got); d != "" {
		t.Error(d)
	}
	if len(windows) != 3 || !strings.Contains(windows[0], "periodFrom=2026-03-02T09:00:00Z,periodTo=2026-03-02T10:00:00Z,") ||
		!strings.Contains(windows[2], "periodTo=2026-03-02T11:30:00Z,") || strings.Count(windows[0], "=") != 11 {
		t.Errorf("asked for %q", windows)
	}
}

func TestDurations(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]time.Duration{
		"PT1M1.4S": 61400 * time.Millisecond, "PT2M10S": 130 * time.Second, "P1DT2H": 26 * time.Hour, "PT0S": 0,
		"00:01:01.4": 61400 * time.Millisecond, "12": 12 * time.Second, "": 0, "PT": 0, "PTS": 0, "P1M": 0, "PT1X": 0,
		"-PT5S": 0, "NaN": 0, "1e300": 0, "PT99999999999H": 0,
	} {
		if got := pbx.Duration(s); got != want {
			t.Errorf("%q is %v, want %v", s, got, want)
		}
	}
}

func TestRecordings(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	var filters []string
	f.mux.HandleFunc("GET /xapi/v1/Recordings", func(w http.ResponseWriter, r *http.Request) {
		f.mu.Lock()
		filters = append(filters, r.URL.Query().Get("$filter"))
		f.mu.Unlock()
		write(w, 200, map[string]any{"value": []any{map[string]any{
			"Id": 1501, "StartTime": "2026-03-02T09:15:21Z", "EndTime": "2026-03-02T09:17:31Z", "CallType": "InboundExternal",
			"FromDn": "10000", "FromCallerNumber": "+74951234567", "ToDn": "101", "RecordingUrl": "101/[x]_101(12).wav", "IsArchived": nil,
		}}})
	})
	wav := bytes.Repeat([]byte("RIFF"), 50_000)
	f.mux.HandleFunc("GET /xapi/v1/Recordings/{call}", func(w http.ResponseWriter, r *http.Request) {
		switch r.PathValue("call") {
		case "Pbx.DownloadRecording(recId=1501)":
			w.Header().Set("Content-Type", "audio/x-wav")
			_, _ = w.Write(wav)
		case "Pbx.DownloadRecording(recId=1502)":
			write(w, 200, map[string]any{"@odata.context": "x"})
		case "Pbx.DownloadRecording(recId=1503)": // it breaks off
			w.Header().Set("Content-Length", "500000")
			_, _ = w.Write(wav)
		default:
			http.NotFound(w, r)
		}
	})
	c := f.client(t)
	at := time.Date(2026, 3, 2, 9, 0, 0, 0, time.UTC)
	got, err := c.RecordingsBetween(t.Context(), at, at.Add(time.Hour))
	if err != nil || len(got) != 1 || got[0].ID != 1501 || got[0].To.DN != "101" || got[0].Ended.Sub(got[0].Started) != 130*time.Second {
		t.Errorf("%+v, %v", got, err)
	}
	want := []string{"StartTime ge 2026-03-02T09:00:00Z and StartTime le 2026-03-02T10:00:00Z"}
	if d := cmp.Diff(want, filters); d != "" {
		t.Error(d)
	}
	var b bytes.Buffer
	if n, err := c.Download(t.Context(), 1501, &b); err != nil || n != int64(len(wav)) || !bytes.Equal(b.Bytes(), wav) {
		t.Errorf("%d bytes, %v", n, err)
	}
	for _, id := range []int{1502, 1503, 9} {
		b.Reset()
		if n, err := c.Download(t.Context(), id, &b); err == nil {
			t.Errorf("recording %d: %d bytes and no error", id, n)
		}
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.answer("GET /xapi/v1/CDRSettings", 200, map[string]any{
		"Enabled": true, "LogType": "ActiveSocket", "SocketIpAddress": "10.0.0.5", "SocketPort": 3031, "RemoveCommaDelimiters": false,
		"EnabledFields": []any{map[string]any{"Name": "historyid", "Length": 0}, map[string]any{"Name": "CallId", "Length": 0}, "duration"},
	})
	f.list("/Trunks", map[string]any{"Id": 5, "Number": "10000", "ExternalNumber": "74950000000", "IsOnline": true, "DidNumbers": []any{"101"}, "Gateway": map[string]any{"Name": "FE"}},
		map[string]any{"Id": 6, "Number": "10001", "Gateway": nil, "DidNumbers": nil})
	f.list("/OutboundRules", map[string]any{"Id": 1, "Name": "out", "Prefix": "9, 8", "Routes": []any{
		map[string]any{"TrunkId": 5, "TrunkName": "FE", "StripDigits": 1, "Prepend": "7"}, map[string]any{"TrunkId": -1},
	}})
	c := f.client(t)
	s, err := c.CDRSettings(t.Context())
	want := pbx.CDRSettings{Enabled: true, Type: "ActiveSocket", Address: "10.0.0.5", Port: 3031, Fields: []string{"historyid", "callid", "duration"}, Commas: true}
	if d := cmp.Diff(want, s); d != "" || err != nil {
		t.Error(d, err)
	}
	fields, err := c.CDRFields(t.Context())
	if d := cmp.Diff(want.Fields, fields); d != "" || err != nil {
		t.Error(d, err)
	}
	trunks, err := c.Trunks(t.Context())
	if d := cmp.Diff([]pbx.Trunk{{ID: 5, Number: "10000", Name: "FE", External: "74950000000", Online: true, DIDs: []string{"101"}}, {ID: 6, Number: "10001"}}, trunks); d != "" || err != nil {
		t.Error(d, err)
	}
	rules, err := c.OutboundRules(t.Context())
	wantRules := []pbx.OutboundRule{{ID: 1, Name: "out", Prefix: []string{"9", "8"}, Routes: []pbx.OutboundRoute{{Trunk: 5, Name: "FE", Strip: 1, Prepend: "7"}}}}
	if d := cmp.Diff(wantRules, rules); d != "" || err != nil {
		t.Error(d, err)
	}
}
