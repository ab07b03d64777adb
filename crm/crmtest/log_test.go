package crmtest_test

import (
	"bytes"
	"fmt"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"frontdesk/call"
	"frontdesk/crm/crmtest"
)

// clock is a portal's time, as a test sets it.
type clock struct{ at time.Time }

func (c *clock) now() time.Time { return c.at }

// newLog is a portal with 61 at extension 201 with a telephone of their own, and
// its clock.
func newLog(o crmtest.Options) (*crmtest.Portal, *clock) {
	c := &clock{time.Date(2026, 8, 21, 10, 0, 0, 0, time.UTC)}
	o.Now = c.now
	p := crmtest.New(o)
	p.AddUser(crmtest.User{ID: 61, Extension: "201", Mobile: "+79169999999"})
	p.AddUser(crmtest.User{ID: 62, Extension: "202"})
	return p, c
}

func registered(t *testing.T, p *crmtest.Portal, more string) (id string, out map[string]any) {
	t.Helper()
	out, _ = result(t, p, "telephony.externalcall.register", `{"USER_ID":61,"TYPE":2,`+more+`}`).(map[string]any)
	id, _ = out["CALL_ID"].(string)
	return id, out
}

func ended(t *testing.T, p *crmtest.Portal, id, more string) map[string]any {
	t.Helper()
	out, _ := result(t, p, "telephony.externalcall.finish", fmt.Sprintf(`{"CALL_ID":%q,%s}`, id, more)).(map[string]any)
	return out
}

const somebody = `"PHONE_NUMBER":"+79161234567"`

func TestSameCall(t *testing.T) {
	t.Parallel()
	p, c := newLog(crmtest.Options{})
	first, _ := registered(t, p, somebody+`,"LINE_NUMBER":"a","EXTERNAL_CALL_ID":"1"`)
	for more, same := range map[string]bool{
		somebody: true, somebody + `,"LINE_NUMBER":"a"`: true, somebody + `,"EXTERNAL_CALL_ID":"1"`: true,
		`"PHONE_NUMBER":"8 (916) 123-45-67"`: true,
		somebody + `,"LINE_NUMBER":"b"`:      false, somebody + `,"EXTERNAL_CALL_ID":"2"`: false,
		`"PHONE_NUMBER":"+79161234568"`: false, somebody + `,"TYPE":3`: false, somebody + `,"USER_ID":62`: false,
	} {
		if id, _ := registered(t, p, more); (id == first) != same {
			t.Errorf("%s: %s, the first is %s", more, id, first)
		}
	}
	c.at = c.at.Add(29 * time.Minute)
	ended(t, p, first, `"USER_ID":61,"DURATION":5`)
	if id, _ := registered(t, p, somebody+`,"EXTERNAL_CALL_ID":"1"`); id != first {
		t.Error("forgot a call that is over")
	}
	p.SetForgetful(true)
	if id, _ := registered(t, p, somebody+`,"EXTERNAL_CALL_ID":"1"`); id == first {
		t.Error("remembers a call that is over")
	}
	p.SetForgetful(false)
	c.at = c.at.Add(time.Minute)
	if id, _ := registered(t, p, somebody+`,"EXTERNAL_CALL_ID":"1"`); id == first {
		t.Error("an id lives for more than half an hour")
	}
}

// What the CRM has to do with a call: found, created, or left alone.
func TestEntitiesOfCalls(t *testing.T) {
	t.Parallel()
	p, _ := newLog(crmtest.Options{})
	known := p.AddContact(crmtest.Contact{Responsible: 62, Phones: []string{"8 916 123-45-67"}})
	for _, c := range []struct {
		more    string
		kind    any
		created int
	}{
		{somebody + `,"CRM_CREATE":1`, "CONTACT", 0},
		{`"PHONE_NUMBER":"+79160000001","CRM_CREATE":1`, "LEAD", 1},
		{`"PHONE_NUMBER":"+79160000002"`, nil, 0},
		{`"PHONE_NUMBER":"+79169999999","CRM_CREATE":1`, nil, 0},
		{`"PHONE_NUMBER":"202","CRM_CREATE":1`, nil, 0},
		{fmt.Sprintf(`"PHONE_NUMBER":"+79160000003","CRM_ENTITY_TYPE":"CONTACT","CRM_ENTITY_ID":%d,"CRM_CREATE":1`, known), "CONTACT", 0},
	} {
		id, out := registered(t, p, c.more)
		list, _ := out["CRM_CREATED_ENTITIES"].([]any)
		if out["CRM_ENTITY_TYPE"] != c.kind || len(list) != c.created {
			t.Errorf("%s: %v", c.more, out)
		}
		row := ended(t, p, id, `"USER_ID":62,"DURATION":0,"STATUS_CODE":"304"`)
		if (row["CRM_ACTIVITY_ID"] != nil) != (c.kind != nil) {
			t.Errorf("%s: finished %v", c.more, row)
		}
	}
	leads := p.Leads()
	if len(leads) != 1 || !slices.Equal(leads[0].Owners, []int{61, 62}) || leads[0].Author != 61 {
		t.Errorf("leads %+v", leads)
	}
	if v, _ := p.Field(call.KindContact, known, "ASSIGNED_BY_ID"); v != "62" {
		t.Errorf("the contact is now %v's", v)
	}
	for _, a := range p.Activities() {
		if !a.Missed || a.Responsible != 62 || a.Author != 62 {
			t.Errorf("activity %+v", a)
		}
	}
	simple, _ := newLog(crmtest.Options{NoLeads: true})
	if _, out := registered(t, simple, somebody+`,"CRM_CREATE":1`); out["CRM_ENTITY_TYPE"] != "CONTACT" || out["CRM_CREATED_LEAD"] != nil {
		t.Errorf("without leads: %v", out)
	}
}

func TestStatistics(t *testing.T) {
	t.Parallel()
	p, c := newLog(crmtest.Options{})
	for i, code := range []string{"200", "304", ""} {
		id, _ := registered(t, p, fmt.Sprintf(`"PHONE_NUMBER":"+7916000000%d","EXTERNAL_CALL_ID":"leg-%d","CALL_START_DATE":"2026-08-21T12:20:30+03:00"`, i, i))
		row := ended(t, p, id, fmt.Sprintf(`"USER_ID":61,"DURATION":%d,"STATUS_CODE":%q`, 95*(1-i%2), code))
		if _, lost := row["CALL_START_DATE"].(map[string]any); !lost || row["CALL_ID"] != id {
			t.Errorf("finished %v", row)
		}
	}
	for filter, want := range map[string]int{
		`{"EXTERNAL_CALL_ID":"leg-1"}`: 1, `{"EXTERNAL_CALL_ID":["leg-0","leg-2","x"]}`: 2, `{"CALL_FAILED_CODE":"200"}`: 2, `{}`: 3,
	} {
		rows, _ := result(t, p, "voximplant.statistic.get", `{"FILTER":`+filter+`}`).([]any)
		if len(rows) != want {
			t.Errorf("%s: %v", filter, rows)
		}
		if row, _ := rows[0].(map[string]any); row["CALL_START_DATE"] != "2026-08-21T12:20:30+03:00" {
			t.Errorf("began %v", row["CALL_START_DATE"])
		}
	}
	if calls := p.Calls(); calls[0].FinishedAt != c.at || calls[2].Status != "200" {
		t.Errorf("calls %+v", calls)
	}
}

// uploaded posts a file to an address.
func uploaded(t *testing.T, p *crmtest.Portal, address, field string, data []byte) (int, map[string]any) {
	t.Helper()
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	part, err := w.CreateFormFile(field, "x.mp3")
	if err == nil {
		_, err = part.Write(data)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodPost, address, &b)
	r.Header.Set("Content-Type", w.FormDataContentType())
	return do(t, p, r)
}

func TestUploadAddresses(t *testing.T) {
	t.Parallel()
	p, c := newLog(crmtest.Options{})
	id, _ := registered(t, p, somebody)
	ended(t, p, id, `"USER_ID":61,"DURATION":5`)
	address := func() string {
		out, _ := result(t, p, "telephony.externalcall.attachRecord", fmt.Sprintf(`{"CALL_ID":%q,"FILENAME":"a.mp3"}`, id)).(map[string]any)
		u, _ := out["uploadUrl"].(string)
		if out["fieldName"] != "file" || !strings.Contains(u, "/rest/upload.json?auth=") {
			t.Fatalf("answered %v", out)
		}
		return u
	}
	good := address()
	for what, try := range map[string]func() (int, map[string]any){
		"another field": func() (int, map[string]any) { return uploaded(t, p, good, "record", []byte("ID3")) },
		"no audio":      func() (int, map[string]any) { return uploaded(t, p, good, "file", []byte("<html>")) },
		"nothing":       func() (int, map[string]any) { return uploaded(t, p, good, "file", nil) },
		"a wrong token": func() (int, map[string]any) { return uploaded(t, p, good+"x", "file", []byte("ID3")) },
	} {
		if status, out := try(); status < 400 {
			t.Errorf("%s: %d %v", what, status, out)
		}
	}
	if status, out := uploaded(t, p, good, "file", []byte("ID3 song")); status != 200 {
		t.Errorf("%d %v", status, out)
	}
	if call := p.Calls()[0]; string(call.Audio) != "ID3 song" || call.Attached != 1 || call.RecordID != p.Files()[0].ID {
		t.Errorf("call %+v", call)
	}
	late := address()
	c.at = c.at.Add(11 * time.Minute)
	if status, out := uploaded(t, p, late, "file", []byte("ID3")); status != 401 || out["error"] != "expired_token" {
		t.Errorf("late: %d %v", status, out)
	}
	early := address()
	p.ExpireUploads()
	if status, _ := uploaded(t, p, early, "file", []byte("ID3")); status != 401 {
		t.Errorf("expired: %d", status)
	}
	p.DropAudio(true)
	uploaded(t, p, address(), "file", []byte("ID3 long"))
	if call := p.Calls()[0]; call.Audio != nil || call.AudioSize != 8 {
		t.Errorf("call %+v", call)
	}
	out, _ := result(t, p, "batch", fmt.Sprintf(`{"cmd":{"a":"telephony.externalcall.attachRecord?CALL_ID=%s&FILENAME=a.mp3"}}`, id)).(map[string]any)
	failed, _ := out["result_error"].(map[string]any)
	if reason, _ := failed["a"].(map[string]any); reason["error"] != "ERROR_BATCH_METHOD_NOT_ALLOWED" {
		t.Errorf("in a batch: %v", out)
	}
}

func TestRecordsThatAreRefused(t *testing.T) {
	t.Parallel()
	p, _ := newLog(crmtest.Options{})
	id, _ := registered(t, p, somebody)
	ended(t, p, id, `"USER_ID":61,"DURATION":5`)
	for more, want := range map[string]string{
		``: "File name is empty", `,"FILENAME":"a.ogg"`: "Wrong file extension", `,"FILENAME":"a.mp3","FILE_CONTENT":""`: "File content is empty.",
		`,"FILENAME":"a.mp3","FILE_CONTENT":"%%%"`: "not properly encoded", `,"FILENAME":"a.mp3","FILE_CONTENT":"PGh0bWw+"`: "no audio",
		`,"FILENAME":"a.mp3","RECORD_URL":"https://x/"`: "Server returns HTTP error code 404",
	} {
		status, out := rest(t, p, "telephony.externalcall.attachRecord", fmt.Sprintf(`{"CALL_ID":%q%s}`, id, more))
		if status != 400 || !strings.Contains(fmt.Sprint(out["error_description"]), want) {
			t.Errorf("%s: %d %v", more, status, out)
		}
	}
	for _, audio := range []string{"SUQz", "//tQxA==", "UklGRi4uLi5XQVZF"} {
		result(t, p, "telephony.externalcall.attachRecord", fmt.Sprintf(`{"CALL_ID":%q,"FILENAME":"a.WAV","FILE_CONTENT":%q}`, id, audio))
	}
	if n := len(p.Files()); n != 1 {
		t.Errorf("%d files: a recording replaces the one before", n)
	}
}

// The drive as section 6.2 of the reference describes it: folders by month,
// administrators and owners alone.
func TestDrive(t *testing.T) {
	t.Parallel()
	p, _ := newLog(crmtest.Options{})
	p.AddWebhook(61, "own")
	p.SetAdmin(61, false)
	mine := p.AddFile(crmtest.File{Name: "mine.mp3", Folder: "2026-08", Owner: 61, Size: 10})
	other := p.AddFile(crmtest.File{Name: "other.mp3", Folder: "2026-07", Owner: 62})
	ids := func(method, params string) (out []string) {
		rows, _ := result(t, p, method, params).([]any)
		for _, r := range rows {
			row, _ := r.(map[string]any)
			out = append(out, fmt.Sprint(row["ID"]))
		}
		return out
	}
	root := ids("disk.storage.getchildren", `{"id":5,"filter":{"CODE":"VI_CALLS"}}`)
	if len(root) != 1 {
		t.Fatalf("root %v", root)
	}
	months := ids("disk.folder.getchildren", fmt.Sprintf(`{"id":%s}`, root[0]))
	if len(months) != 2 {
		t.Fatalf("months %v", months)
	}
	if got := ids("disk.folder.getchildren", fmt.Sprintf(`{"id":%s,"filter":{"<CREATE_TIME":"2026-09-01T00:00:00+00:00"}}`, months[0])); !slices.Equal(got, []string{fmt.Sprint(other)}) {
		t.Errorf("July %v", got)
	}
	plain := func(method, body string) (int, map[string]any) {
		r := httptest.NewRequest(http.MethodPost, "/rest/61/own/"+method, strings.NewReader(body))
		r.Header.Set("Content-Type", "application/json")
		return do(t, p, r)
	}
	if _, out := plain("disk.storage.getchildren", `{"id":5}`); fmt.Sprint(out["result"]) != "[]" {
		t.Errorf("61 sees %v", out)
	}
	if status, out := plain("disk.file.delete", fmt.Sprintf(`{"id":%d}`, other)); status != 403 || out["error"] != "ACCESS_DENIED" {
		t.Errorf("61 deletes another's: %d %v", status, out)
	}
	if status, _ := plain("disk.file.delete", fmt.Sprintf(`{"id":%d}`, mine)); status != 200 {
		t.Errorf("61 deletes their own: %d", status)
	}
	for body, want := range map[string]string{`{"id":9999}`: "ERROR_NOT_FOUND", `{}`: "ERROR_ARGUMENT"} {
		if _, out := rest(t, p, "disk.file.delete", body); out["error"] != want {
			t.Errorf("%s: %v", body, out)
		}
	}
	if row, _ := result(t, p, "disk.file.get", fmt.Sprintf(`{"id":%d}`, other)).(map[string]any); row["NAME"] != "other.mp3" || row["FILE_ID"] == row["ID"] {
		t.Errorf("file %v", row)
	}
	result(t, p, "disk.folder.deletetree", fmt.Sprintf(`{"id":%s}`, months[0]))
	if n := len(p.Files()); n != 0 || len(p.Deleted()) != 2 {
		t.Errorf("%d files are left", n)
	}
}

// A fault after the request was executed takes the answer alone; a script
// decides for each request.
func TestFaultsAfterExecution(t *testing.T) {
	t.Parallel()
	p, _ := newLog(crmtest.Options{})
	add := `{"fields":{"TITLE":"T"}}`
	p.SetFault(crmtest.Fault{Kind: crmtest.ServerError, Executed: true, Times: 1})
	if status, _ := rest(t, p, "crm.lead.add", add); status != 500 || len(p.Leads()) != 1 {
		t.Errorf("%d, %d leads", status, len(p.Leads()))
	}
	p.SetFault(crmtest.Fault{Kind: crmtest.ServerError, Times: 1})
	if status, _ := rest(t, p, "crm.lead.add", add); status != 500 || len(p.Leads()) != 1 {
		t.Errorf("%d, %d leads", status, len(p.Leads()))
	}
	p.Script(func(r crmtest.Request) crmtest.Fault {
		if r.Method == "crm.lead.add" && strings.Contains(string(r.Body), "T") {
			return crmtest.Fault{Kind: crmtest.HTML, Executed: true}
		}
		return crmtest.Fault{}
	})
	w := httptest.NewRecorder()
	r := httptest.NewRequest(http.MethodPost, "/rest/1/secret/crm.lead.add", strings.NewReader(add))
	r.Header.Set("Content-Type", "application/json")
	p.ServeHTTP(w, r)
	if !strings.Contains(w.Body.String(), "<html>") || len(p.Leads()) != 2 {
		t.Errorf("%s, %d leads", w.Body, len(p.Leads()))
	}
	result(t, p, "app.info", `{}`)
	p.Script(nil)
	result(t, p, "crm.lead.add", add)
}

// Ids of others' systems are texts, whatever their names end with.
func TestOriginsAreTexts(t *testing.T) {
	t.Parallel()
	p, _ := newLog(crmtest.Options{})
	for _, origin := range []string{"leg-a", "leg-b"} {
		result(t, p, "crm.lead.add", fmt.Sprintf(`{"fields":{"TITLE":"T","ORIGINATOR_ID":"desk","ORIGIN_ID":%q}}`, origin))
	}
	rows, _ := result(t, p, "crm.lead.list", `{"filter":{"ORIGINATOR_ID":"desk","ORIGIN_ID":"leg-b"},"select":["ID","ORIGIN_ID"]}`).([]any)
	if row, _ := rows[0].(map[string]any); len(rows) != 1 || row["ORIGIN_ID"] != "leg-b" {
		t.Errorf("found %v", rows)
	}
}
