package crmtest_test

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"frontdesk/call"
	"frontdesk/crm/crmtest"

	"github.com/google/go-cmp/cmp"
)

// rest calls a method with a JSON body and returns the status and the decoded
// answer.
func rest(t *testing.T, p http.Handler, method, body string) (int, map[string]any) {
	t.Helper()
	r := httptest.NewRequest(http.MethodPost, "/rest/1/secret/"+method+".json", strings.NewReader(body))
	r.Header.Set("Content-Type", "application/json")
	return do(t, p, r)
}

func do(t *testing.T, p http.Handler, r *http.Request) (int, map[string]any) {
	t.Helper()
	w := httptest.NewRecorder()
	p.ServeHTTP(w, r)
	var out map[string]any
	if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil {
		t.Fatalf("%s: %v in %s", r.URL, err, w.Body)
	}
	return w.Code, out
}

// result calls a method that must succeed.
func result(t *testing.T, p http.Handler, method, body string) any {
	t.Helper()
	status, out := rest(t, p, method, body)
	if status != 200 || out["result"] == nil {
		t.Fatalf("%s answered %d %v", method, status, out)
	}
	return out["result"]
}

func same(t *testing.T, what string, got any, want string) {
	t.Helper()
	var w any
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(w, got); diff != "" {
		t.Errorf("%s:\n%s", what, diff)
	}
}

func TestFindByComm(t *testing.T) {
	t.Parallel()
	p := crmtest.New(crmtest.Options{})
	p.AddContact(crmtest.Contact{ID: 1, Phones: []string{"+7 (916) 123-45-67"}})
	p.AddContact(crmtest.Contact{ID: 2, Phones: []string{"8 916 123 45 67#404"}, Hidden: true})
	p.AddContact(crmtest.Contact{ID: 3, Phones: []string{"9161234567"}})
	p.AddContact(crmtest.Contact{ID: 4, Phones: []string{"+89161234567"}})
	p.AddCompany(crmtest.Company{ID: 5, Phones: []string{"79161234567"}})
	p.AddContact(crmtest.Contact{ID: 6, Phones: []string{"0079161234567"}})
	for values, want := range map[string]string{
		`["+79161234567"]`:              `{"CONTACT":[1,2,6],"COMPANY":[5]}`,
		`["89161234567"]`:               `{"CONTACT":[1,2,6],"COMPANY":[5]}`,
		`["9161234567"]`:                `{"CONTACT":[3]}`,
		`["+79161234567","9161234567"]`: `{"CONTACT":[1,2,3,6],"COMPANY":[5]}`,
		`["1234567"]`:                   `[]`,
	} {
		same(t, values, result(t, p, "crm.duplicate.findbycomm", `{"type":"PHONE","values":`+values+`}`), want)
	}
	same(t, "one kind", result(t, p, "crm.duplicate.findbycomm",
		`{"type":"PHONE","entity_type":"COMPANY","values":["79161234567"]}`), `{"COMPANY":[5]}`)
	for body, want := range map[string]string{
		`{}`:                             "Communication type is not defined.",
		`{"type":"FAX","values":["1"]}`:  "Communication type 'FAX' is not supported in current context.",
		`{"type":"PHONE","values":"12"}`: "Communication values is not defined.",
	} {
		status, out := rest(t, p, "crm.duplicate.findbycomm", body)
		if status != 400 || out["error"] != "" || out["error_description"] != want {
			t.Errorf("%s: %d %v", body, status, out)
		}
	}
}

// Twenty hits of one type hide the types that follow it.
func TestFindByCommCap(t *testing.T) {
	t.Parallel()
	p := crmtest.New(crmtest.Options{})
	for range 25 {
		p.AddLead(crmtest.Lead{Phones: []string{"+79161234567"}})
	}
	p.AddContact(crmtest.Contact{Phones: []string{"+79161234567"}})
	all, _ := result(t, p, "crm.duplicate.findbycomm", `{"type":"PHONE","values":["+79161234567"]}`).(map[string]any)
	leads, _ := all["LEAD"].([]any)
	if len(all) != 1 || len(leads) != 20 {
		t.Errorf("found %v", all)
	}
}

func TestList(t *testing.T) {
	t.Parallel()
	p := crmtest.New(crmtest.Options{})
	for i := range 60 {
		p.AddContact(crmtest.Contact{ID: i + 1, Name: fmt.Sprint("N", i+1), Responsible: 9, Phones: []string{fmt.Sprintf("+7916000%04d", i+1)}})
	}
	p.SetField(call.KindContact, 7, "UF_CRM_X", true)
	status, out := rest(t, p, "crm.contact.list", `{"select":["ID","PHONE","UF_CRM_X"],"filter":{"@ID":[7,8]},"start":-1}`)
	rows, _ := out["result"].([]any)
	if status != 200 || len(rows) != 2 || out["total"] != 0.0 || out["next"] != nil {
		t.Fatalf("%d %v", status, out)
	}
	first, _ := rows[0].(map[string]any)
	if first["ID"] != "7" || first["UF_CRM_X"] != true || first["NAME"] != nil {
		t.Errorf("row %v", first)
	}
	for filter, want := range map[string]int{
		`{"@ID":[]}`: 50, `{"ID":[]}`: 50, `{}`: 50, `{"@ID":[3,99]}`: 1, `{"@ID":[[],[5]]}`: 1, `{">ID":55}`: 5, `{"<=ID":2}`: 2,
		`{"!ID":1}`: 50, `{"PHONE":"+79160000003"}`: 1, `{"PHONE":"79160000003"}`: 0, `{"%NAME":"n1"}`: 11, `{"=NAME":"N4"}`: 1,
		`{">ID":10,"<ID":"13"}`: 2, `{"UF_CRM_X":1}`: 1, `{"!@ID":[1,2]}`: 50, `{"ASSIGNED_BY_ID":"8"}`: 0,
	} {
		_, out := rest(t, p, "crm.contact.list", `{"filter":`+filter+`}`)
		if rows, _ := out["result"].([]any); len(rows) != want {
			t.Errorf("%s gives %d rows, want %d", filter, len(rows), want)
		}
	}
	_, out = rest(t, p, "crm.contact.list", `{"start":50,"order":{"ID":"DESC"}}`)
	rows, _ = out["result"].([]any)
	last, _ := rows[9].(map[string]any)
	if len(rows) != 10 || out["total"] != 60.0 || last["ID"] != "1" || last["PHONE"] != nil || last["NAME"] != "N1" {
		t.Errorf("the last page: %v", out)
	}
	if _, out = rest(t, p, "crm.contact.list", `{}`); out["next"] != 50.0 {
		t.Errorf("next is %v", out["next"])
	}
}

func batchOf(t *testing.T, p http.Handler, body string) (results, errs any) {
	t.Helper()
	r, _ := result(t, p, "batch", body).(map[string]any)
	return r["result"], r["result_error"]
}

// The references of a batch: an array stays an array, a path that breaks off
// gives the last container, a reference ends at whitespace only.
func TestBatchReferences(t *testing.T) {
	t.Parallel()
	p := crmtest.New(crmtest.Options{})
	for i := range 55 {
		p.AddContact(crmtest.Contact{ID: i + 1, Phones: []string{fmt.Sprintf("+7916000%04d", i%5)}})
	}
	const find = `"d":"crm.duplicate.findbycomm?type=PHONE&entity_type=CONTACT&values%5B0%5D=`
	count := func(body string) int {
		results, errs := batchOf(t, p, body)
		m, _ := results.(map[string]any)
		rows, ok := m["l"].([]any)
		if !ok {
			t.Errorf("%s: %v %v", body, results, errs)
		}
		return len(rows)
	}
	for filter, want := range map[string]int{
		`$result[d][CONTACT]`:                     11, // the ids themselves
		`$result[d][CONTACT][0]`:                  1,
		`$result[d][CONTACT][99]`:                 11, // past the end: the whole list
		`$result[d][LEAD]`:                        1,  // no such key: the map, whose nested list counts as 1
		`$result[nothing]`:                        1,  // the map of all results, likewise
		`$result[d][CONTACT][0],$result[d][LEAD]`: 1,  // one path
	} {
		body := `{"cmd":{` + find + `%2B79160000001","l":"crm.contact.list?filter%5B%40ID%5D=` + url.QueryEscape(filter) + `"}}`
		if got := count(body); got != want {
			t.Errorf("%s gives %d rows, want %d", filter, got, want)
		}
	}
	empty := `{"cmd":{` + find + `%2B70000000000","l":"crm.contact.list?filter%5B%40ID%5D=%24result%5Bd%5D%5BCONTACT%5D"}}`
	if got := count(empty); got != 50 {
		t.Errorf("an empty reference gives %d rows, want 50 strangers", got)
	}
}

func TestBatch(t *testing.T) {
	t.Parallel()
	p := crmtest.New(crmtest.Options{})
	results, errs := batchOf(t, p, `{"halt":0,"cmd":{"z":"user.current","bad":"no.such","a":"batch?cmd[x]=scope","n":5,"up":"User.Current?x=1#cut"}}`)
	m, _ := results.(map[string]any)
	e, _ := errs.(map[string]any)
	if len(m) != 2 || m["z"] == nil || m["up"] == nil || len(e) != 2 {
		t.Fatalf("%v %v", results, errs)
	}
	same(t, "nested", e["a"], `{"error":"ERROR_BATCH_METHOD_NOT_ALLOWED","error_description":"Method is not allowed for batch usage"}`)
	results, errs = batchOf(t, p, `{"halt":1,"cmd":{"z":"no.such","a":"user.current"}}`)
	same(t, "halted", results, `[]`)
	if e, _ := errs.(map[string]any); len(e) != 1 {
		t.Errorf("errors %v", errs)
	}
	results, errs = batchOf(t, p, `{"cmd":{"0":"app.info","1":"app.info"}}`)
	if list, ok := results.([]any); !ok || len(list) != 2 {
		t.Errorf("sequential keys give %v", results)
	}
	same(t, "no errors", errs, `[]`)
	var many []string
	for i := range 51 {
		many = append(many, fmt.Sprintf(`"k%d":"scope"`, i))
	}
	results, errs = batchOf(t, p, `{"cmd":{`+strings.Join(many, ",")+`}}`)
	m, _ = results.(map[string]any)
	e, _ = errs.(map[string]any)
	if len(m) != 50 || len(e) != 1 {
		t.Errorf("%d results, errors %v", len(m), errs)
	}
}

func TestBodies(t *testing.T) {
	t.Parallel()
	p := crmtest.New(crmtest.Options{})
	p.AddContact(crmtest.Contact{ID: 1, Phones: []string{"+79161234567"}})
	query := url.Values{"type": {"PHONE"}, "values[]": {"+79161234567"}}.Encode()
	for name, c := range map[string]struct {
		verb, path, kind, body string
		status                 int
	}{
		"form":             {"POST", "/rest/1/secret/crm.duplicate.findbycomm", "application/x-www-form-urlencoded", query, 200},
		"query":            {"GET", "/rest/1/secret/crm.duplicate.findbycomm.json?" + query, "", "", 200},
		"other case":       {"GET", "/rest/1/secret/CRM.Duplicate.FindByComm?" + query, "", "", 200},
		"JSON with GET":    {"GET", "/rest/1/secret/crm.duplicate.findbycomm", "application/json", `{"type":"PHONE","values":["1"]}`, 400},
		"wrong secret":     {"GET", "/rest/1/other/crm.duplicate.findbycomm?" + query, "", "", 401},
		"wrong user":       {"GET", "/rest/2/secret/crm.duplicate.findbycomm?" + query, "", "", 401},
		"no such method":   {"GET", "/rest/1/secret/crm.nothing", "", "", 404},
		"batch as a query": {"GET", "/rest/1/secret/batch?" + url.Values{"cmd[a]": {"scope"}}.Encode(), "", "", 200},
	} {
		r := httptest.NewRequest(c.verb, c.path, strings.NewReader(c.body))
		r.Header.Set("Content-Type", c.kind)
		status, out := do(t, p, r)
		if status != c.status || (status == 200) != (out["result"] != nil) {
			t.Errorf("%s: %d %v", name, status, out)
		}
	}
}

func TestUsersAndDepartments(t *testing.T) {
	t.Parallel()
	p := crmtest.New(crmtest.Options{})
	p.AddUser(crmtest.User{ID: 5, FirstName: "A", Extension: "201", Departments: []int{3}, Fields: map[string]any{"UF_USR_S": "5"}})
	p.AddUser(crmtest.User{ID: 6, Dismissed: true})
	p.AddDepartment(crmtest.Department{ID: 3, Name: "Sales", Parent: 1, Head: 5})
	same(t, "users", result(t, p, "user.get", `{"FILTER":{"ACTIVE":true,">ID":1},"select":["ID","ACTIVE","UF_*"],"start":-1}`),
		`[{"ID":"5","ACTIVE":true,"UF_PHONE_INNER":"201","UF_DEPARTMENT":[3],"UF_USR_S":"5"}]`)
	same(t, "inner", result(t, p, "user.get", `{"FILTER":{"UF_PHONE_INNER":"201"},"select":["ID"]}`), `[{"ID":"5"}]`)
	same(t, "both", result(t, p, "user.get", `{"FILTER":{"ID":[5,6]},"select":["ID"]}`), `[{"ID":"5"},{"ID":"6"}]`)
	same(t, "department", result(t, p, "department.get", `{"ID":3}`), `[{"ID":"3","NAME":"Sales","SORT":500,"PARENT":"1","UF_HEAD":"5"}]`)
}

func TestUserFields(t *testing.T) {
	t.Parallel()
	p := crmtest.New(crmtest.Options{})
	const field = `{"fields":{"FIELD_NAME":"FD_X","USER_TYPE_ID":"employee"}}`
	result(t, p, "crm.contact.userfield.add", field)
	if status, out := rest(t, p, "crm.contact.userfield.add", field); status != 400 || !strings.Contains(fmt.Sprint(out), "already exists") {
		t.Errorf("%d %v", status, out)
	}
	list, _ := result(t, p, "crm.contact.userfield.list", `{"filter":{"FIELD_NAME":"UF_CRM_FD_X"}}`).([]any)
	if len(list) != 1 {
		t.Errorf("fields %v", list)
	}
	id := p.AddContact(crmtest.Contact{})
	result(t, p, "crm.contact.update", fmt.Sprintf(`{"ID":%d,"FIELDS":{"UF_CRM_FD_X":"61"}}`, id))
	if v, _ := p.Field(call.KindContact, id, "UF_CRM_FD_X"); v != "61" {
		t.Errorf("field is %v", v)
	}
}

func TestEdit(t *testing.T) {
	t.Parallel()
	p := crmtest.New(crmtest.Options{})
	id, _ := result(t, p, "crm.lead.add", `{"fields":{"TITLE":"T","PHONE":[{"VALUE":"+79161234567"}],"CREATED_BY_ID":7}}`).(float64)
	result(t, p, "crm.lead.update", fmt.Sprintf(`{"id":%v,"fields":{"STATUS_ID":"JUNK","PHONE":[{"VALUE":"+74950000000","VALUE_TYPE":"HOME"}]}}`, id))
	lead, _ := result(t, p, "crm.lead.get", fmt.Sprintf(`{"id":%v}`, id)).(map[string]any)
	phones, _ := lead["PHONE"].([]any)
	if lead["STATUS_SEMANTIC_ID"] != "F" || len(phones) != 2 || lead["ASSIGNED_BY_ID"] != "1" || lead["CREATED_BY_ID"] != "1" {
		t.Errorf("lead %v", lead)
	}
	items, _ := result(t, p, "crm.item.list", `{"entityTypeId":1,"filter":{"assignedById":1}}`).(map[string]any)
	if list, _ := items["items"].([]any); len(list) != 1 {
		t.Errorf("items %v", items)
	}
	result(t, p, "crm.lead.delete", fmt.Sprintf(`{"id":%v}`, id))
	if status, out := rest(t, p, "crm.lead.get", fmt.Sprintf(`{"id":%v}`, id)); status != 400 || out["error_description"] != "Not found" {
		t.Errorf("%d %v", status, out)
	}
}

// The same call within half an hour gives the same CALL_ID, unless it has an
// id of its own.
func TestCallIDs(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 8, 21, 10, 0, 0, 0, time.UTC)
	p := crmtest.New(crmtest.Options{Now: func() time.Time { return now }})
	p.AddUser(crmtest.User{ID: 61, Extension: "201"})
	contact := p.AddContact(crmtest.Contact{Phones: []string{"+79161234567"}})
	register := func(more string) string {
		r, _ := result(t, p, "telephony.externalCall.register", `{"USER_ID":61,"PHONE_NUMBER":"+79161234567","TYPE":2`+more+`}`).(map[string]any)
		if r["CRM_ENTITY_ID"] != float64(contact) {
			t.Errorf("registered for %v", r)
		}
		id, _ := r["CALL_ID"].(string)
		return id
	}
	first := register("")
	if again := register(""); again != first {
		t.Error("the same call has another id")
	}
	if own := register(`,"EXTERNAL_CALL_ID":"leg-2"`); own == first {
		t.Error("a call with its own id has the old id")
	}
	now = now.Add(29 * time.Minute)
	if register("") != first {
		t.Error("another id after 29 minutes")
	}
	now = now.Add(2 * time.Minute)
	if register("") == first {
		t.Error("the same id after 31 minutes")
	}
}

func TestCallLife(t *testing.T) {
	t.Parallel()
	p := crmtest.New(crmtest.Options{})
	p.AddUser(crmtest.User{ID: 61, Extension: "201"})
	p.AddUser(crmtest.User{ID: 62, Dismissed: true})
	r, _ := result(t, p, "telephony.externalcall.register",
		`{"USER_PHONE_INNER":"201","PHONE_NUMBER":"+79161234567","TYPE":2,"CRM_CREATE":1,"EXTERNAL_CALL_ID":"leg"}`).(map[string]any)
	id, _ := r["CALL_ID"].(string)
	if created, _ := r["CRM_CREATED_ENTITIES"].([]any); len(created) != 1 || !strings.HasPrefix(id, "externalCall.") {
		t.Errorf("registered %v", r)
	}
	on := func(more string) string { return fmt.Sprintf(`{"CALL_ID":%q%s}`, id, more) }
	result(t, p, "telephony.externalcall.show", on(`,"USER_ID":[1]`))
	result(t, p, "telephony.externalcall.hide", on(`,"USER_ID":61`))
	if c := p.Calls()[0]; !slices.Equal(c.Shown, []int{1}) {
		t.Errorf("shown to %v", c.Shown)
	}
	refused := func(method, body, want string) {
		t.Helper()
		if status, out := rest(t, p, method, body); status != 400 || !strings.Contains(fmt.Sprint(out["error_description"]), want) {
			t.Errorf("%s %s: %d %v, want %s", method, body, status, out, want)
		}
	}
	record := on(`,"FILENAME":"a.mp3","FILE_CONTENT":"SUQz"`)
	refused("telephony.externalcall.attachRecord", record, "not found in the statistic table")
	refused("telephony.externalcall.register", `{"USER_ID":62,"PHONE_NUMBER":"1234567","TYPE":2}`, "not active")
	refused("telephony.externalcall.finish", on(`,"USER_ID":62`), "not active")
	result(t, p, "telephony.externalcall.finish", on(`,"USER_ID":61,"DURATION":5`))
	refused("telephony.externalcall.finish", on(`,"USER_ID":61`), "Call is not found")
	refused("telephony.externalcall.attachRecord", on(`,"FILENAME":"a.ogg","FILE_CONTENT":"AAAA"`), "Wrong file extension")
	result(t, p, "telephony.externalcall.attachRecord", record)
	if c := p.Calls()[0]; !c.Finished || c.Status != "200" || len(c.Audio) != 3 || c.Entity != call.KindLead {
		t.Errorf("call %+v", c)
	}
	rows, _ := result(t, p, "voximplant.statistic.get", `{"FILTER":{"EXTERNAL_CALL_ID":"leg"}}`).([]any)
	if len(rows) != 1 {
		t.Errorf("statistics %v", rows)
	}
}

func TestSearchEntities(t *testing.T) {
	t.Parallel()
	p := crmtest.New(crmtest.Options{})
	p.AddUser(crmtest.User{ID: 61, Extension: "201"})
	p.AddLead(crmtest.Lead{ID: 8, Title: "L", Responsible: 61, Phones: []string{"+79161234567"}})
	p.AddContact(crmtest.Contact{ID: 9, Name: "Ann", Responsible: 61, Phones: []string{"+79161234567"}})
	list, _ := result(t, p, "telephony.externalCall.searchCrmEntities", `{"PHONE_NUMBER":"79161234567"}`).([]any)
	first, _ := list[0].(map[string]any)
	by, _ := first["ASSIGNED_BY"].(map[string]any)
	if len(list) != 2 || first["CRM_ENTITY_TYPE"] != "CONTACT" || by["USER_PHONE_INNER"] != "201" {
		t.Errorf("found %v", list)
	}
}

func TestRate(t *testing.T) {
	t.Parallel()
	now := time.Now()
	p := crmtest.New(crmtest.Options{Now: func() time.Time { return now }})
	p.SetRate(2, 50)
	for range 50 {
		result(t, p, "scope", `{}`)
	}
	if status, out := rest(t, p, "scope", `{}`); status != 503 || out["error"] != "QUERY_LIMIT_EXCEEDED" {
		t.Errorf("%d %v", status, out)
	}
	now = now.Add(time.Second)
	result(t, p, "scope", `{}`)
	result(t, p, "scope", `{}`)
	if status, _ := rest(t, p, "scope", `{}`); status != 503 {
		t.Errorf("a third request in the second: %d", status)
	}
}

func TestModes(t *testing.T) {
	t.Parallel()
	for no, want := range map[bool]float64{false: 1, true: 2} {
		p := crmtest.New(crmtest.Options{NoLeads: no})
		if got := result(t, p, "crm.settings.mode.get", `{}`); got != want {
			t.Errorf("mode %v, want %v", got, want)
		}
	}
}

func TestWebhooks(t *testing.T) {
	t.Parallel()
	p := crmtest.New(crmtest.Options{})
	p.AddUser(crmtest.User{ID: 5})
	p.AddWebhook(5, "five")
	current := func() int {
		r := httptest.NewRequest(http.MethodGet, "/rest/5/five/user.current", nil)
		status, _ := do(t, p, r)
		return status
	}
	if s := current(); s != 200 {
		t.Errorf("status %d", s)
	}
	p.AddUser(crmtest.User{ID: 5, Dismissed: true})
	if s := current(); s != 401 {
		t.Errorf("a dismissed user's webhook: %d", s)
	}
	p.AddUser(crmtest.User{ID: 5})
	p.RevokeWebhook("five")
	if s := current(); s != 401 {
		t.Errorf("a revoked webhook: %d", s)
	}
}

// What the knobs show can be given back to them.
func TestFaultIsShownAsItIsSet(t *testing.T) {
	t.Parallel()
	got, err := json.Marshal(crmtest.Fault{Kind: crmtest.Drip, Latency: 1500 * time.Millisecond, After: 2})
	if want := `{"kind":"drip","after":2,"latency":"1.5s"}`; err != nil || string(got) != want {
		t.Errorf("%s, %v; want %s", got, err, want)
	}
}

// The knobs as curl turns them.
func TestKnobs(t *testing.T) {
	t.Parallel()
	p := crmtest.New(crmtest.Options{})
	turn := func(verb, query, body string) (int, string) {
		w := httptest.NewRecorder()
		r := httptest.NewRequest(verb, "/_sandbox/fault"+query, strings.NewReader(body))
		p.ServeHTTP(w, r)
		out, err := io.ReadAll(w.Body)
		if err != nil {
			t.Fatal(err)
		}
		return w.Code, string(out)
	}
	for _, c := range []struct {
		verb, query, body string
		status            int
		want              crmtest.Fault
	}{
		{"POST", "?kind=html", "", 200, crmtest.Fault{Kind: crmtest.HTML}},
		{"POST", "?latency=3s", "", 200, crmtest.Fault{Kind: crmtest.Slow, Latency: 3 * time.Second}},
		{"POST", "", `{"kind":"partial","command":"dc","after":2}`, 200, crmtest.Fault{Kind: crmtest.Partial, Command: "dc", After: 2}},
		{"POST", "", "kind=drip&every=10ms", 200, crmtest.Fault{Kind: crmtest.Drip, Every: 10 * time.Millisecond}},
		{"POST", "?kind=nonsense", "", 400, crmtest.Fault{Kind: crmtest.Drip, Every: 10 * time.Millisecond}},
		{"POST", "?kind=html&latency=3", "", 400, crmtest.Fault{Kind: crmtest.Drip, Every: 10 * time.Millisecond}},
		{"POST", "?kind=dead_after_first", "", 200, crmtest.Fault{Kind: crmtest.Silence, After: 1}},
		{"POST", "?kind=heal", "", 200, crmtest.Fault{}},
		{"POST", "?kind=junk", "", 200, crmtest.Fault{Kind: crmtest.Junk}},
		{"DELETE", "", "", 200, crmtest.Fault{}},
		{"GET", "", "", 200, crmtest.Fault{}},
	} {
		status, out := turn(c.verb, c.query, c.body)
		if status != c.status || p.Fault() != c.want {
			t.Errorf("%s %s %s: %d %s, fault %+v, want %+v", c.verb, c.query, c.body, status, out, p.Fault(), c.want)
		}
	}
}

func TestRecords(t *testing.T) {
	t.Parallel()
	p := crmtest.New(crmtest.Options{})
	seen := make(chan crmtest.Request, 1)
	p.Watch(seen)
	result(t, p, "batch", `{"cmd":{"b":"scope","a":"app.info?x=1"}}`)
	r := <-seen
	if r.Method != "batch" || r.User != 1 || !slices.Equal(r.Commands, []string{"b=scope", "a=app.info?x=1"}) || p.Total() != 1 {
		t.Errorf("recorded %+v", r)
	}
}
