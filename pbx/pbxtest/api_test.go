package pbxtest_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"frontdesk/pbx/pbxtest"
)

// clock is a PBX's clock that stands still until it is moved.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func newClock() *clock { return &clock{at: time.Date(2026, 3, 2, 9, 15, 4, 0, time.UTC)} }

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// site is a PBX's API on a socket, and a client of it.
type site struct {
	*testing.T
	*pbxtest.State
	api   *pbxtest.API
	url   string
	token string
	http  *http.Client
}

// company is a state with a few numbers.
func company(cfg pbxtest.StateConfig) *pbxtest.State {
	s := pbxtest.NewState(cfg)
	s.AddUser(pbxtest.User{Number: "101", FirstName: "Ivan", LastName: "Petrov", Email: "i@x.ru"})
	s.AddUser(pbxtest.User{Number: "102", FirstName: "Olga", LastName: "Romanova", Unregistered: true})
	s.AddUser(pbxtest.User{Number: "205", FirstName: "Anna"})
	s.AddQueue(pbxtest.Group{Number: "800", Name: "Sales", Members: []string{"101", "102"}})
	s.AddRingGroup(pbxtest.Group{Number: "810", Name: "All", Members: []string{"101"}})
	s.AddReceptionist("820", "Menu")
	s.AddTrunk(pbxtest.Trunk{Number: "10000", Name: "FE", External: "74950000000", Host: "10.0.0.5", Port: 5060, DIDs: []string{"101"}})
	s.AddOutboundRule(pbxtest.Rule{Name: "city", Prefix: "9", Trunk: "10000", Strip: 1})
	return s
}

func newSite(t *testing.T, cfg pbxtest.StateConfig, clients ...pbxtest.Client) *site {
	t.Helper()
	s := &site{T: t, State: company(cfg), http: &http.Client{Transport: &http.Transport{}}}
	s.api = pbxtest.NewAPI(s.State, clients...)
	srv := httptest.NewServer(s.api)
	s.url = srv.URL
	t.Cleanup(func() {
		s.api.Close()
		s.http.CloseIdleConnections()
		srv.Close()
	})
	s.token = s.login("frontdesk", "secret")
	return s
}

// login asks for a token.
func (s *site) login(id, secret string) string {
	s.Helper()
	_, out := s.form(url.Values{"client_id": {id}, "client_secret": {secret}, "grant_type": {"client_credentials"}})
	token, _ := out["access_token"].(string)
	return token
}

func (s *site) form(v url.Values) (int, map[string]any) {
	s.Helper()
	res, err := s.http.PostForm(s.url+"/connect/token", v)
	must(s.T, err)
	return s.read(res)
}

func (s *site) read(res *http.Response) (int, map[string]any) {
	s.Helper()
	defer res.Body.Close()
	data, err := io.ReadAll(res.Body)
	must(s.T, err)
	var out map[string]any
	if len(data) > 0 && json.Unmarshal(data, &out) != nil {
		out = map[string]any{"text": string(data)}
	}
	return res.StatusCode, out
}

// do sends a request under /xapi/v1/; spaces of the path are escaped.
func (s *site) do(method, path string, body any) (int, map[string]any) {
	s.Helper()
	return s.send(method, "/xapi/v1/"+path, body)
}

func (s *site) send(method, path string, body any) (int, map[string]any) {
	s.Helper()
	var r io.Reader
	if body != nil {
		data, err := json.Marshal(body)
		must(s.T, err)
		r = bytes.NewReader(data)
	}
	req, err := http.NewRequestWithContext(limit(s.T), method, s.url+strings.NewReplacer(" ", "%20", "+", "%2B").Replace(path), r)
	must(s.T, err)
	req.Header.Set("Authorization", "Bearer "+s.token)
	res, err := s.http.Do(req)
	must(s.T, err)
	return s.read(res)
}

// numbers are the values of a field in a list.
func values(out map[string]any, field string) string {
	var all []string
	rows, _ := out["value"].([]any)
	for _, r := range rows {
		all = append(all, fmt.Sprint(r.(map[string]any)[field]))
	}
	return strings.Join(all, " ")
}

// want compares a status and, unless it is empty, a token of the error.
func (s *site) want(what string, status int, out map[string]any, code int, token string) {
	s.Helper()
	if status != code || token != "" && !strings.Contains(fmt.Sprint(out["error"]), token) {
		s.Errorf("%s is answered %d %v, want %d %s", what, status, out, code, token)
	}
}

func TestToken(t *testing.T) {
	t.Parallel()
	c := newClock()
	s := newSite(t, pbxtest.StateConfig{Now: c.Now})
	status, out := s.form(url.Values{"client_id": {"frontdesk"}, "client_secret": {"secret"}, "grant_type": {"client_credentials"}})
	if status != 200 || out["token_type"] != "Bearer" || out["expires_in"] != 3600.0 || out["refresh_token"] != nil {
		t.Errorf("token %d %v", status, out)
	}
	parts := strings.Split(fmt.Sprint(out["access_token"]), ".")
	data, err := base64.RawURLEncoding.DecodeString(parts[1])
	must(t, err)
	var claims struct {
		Exp  int64
		Role []string
	}
	must(t, json.Unmarshal(data, &claims))
	if claims.Exp != c.Now().Add(time.Hour).Unix() || len(claims.Role) != 2 || claims.Role[1] != "Enterprise" {
		t.Errorf("claims %+v", claims)
	}
	if status, _ := s.do("GET", "Defs?$select=Id", nil); status != 401 {
		t.Errorf("the older token is answered %d", status)
	}
	s.token = fmt.Sprint(out["access_token"])
	if status, _ := s.do("GET", "Defs?$select=Id", nil); status != 200 {
		t.Errorf("the newer token is answered %d", status)
	}
	c.advance(time.Hour)
	if status, _ := s.do("GET", "Defs?$select=Id", nil); status != 401 {
		t.Errorf("an expired token is answered %d", status)
	}
	status, out = s.form(url.Values{"client_id": {"frontdesk"}, "client_secret": {"guess"}, "grant_type": {"client_credentials"}})
	if status != 400 || out["error"] != "invalid_client" {
		t.Errorf("a wrong secret is answered %d %v", status, out)
	}
	if status, out = s.form(url.Values{"grant_type": {"password"}}); status != 400 || out["error"] != "unsupported_grant_type" {
		t.Errorf("another grant is answered %d %v", status, out)
	}
	if n := s.api.Tokens("frontdesk"); n != 2 {
		t.Errorf("%d tokens", n)
	}
}

func TestTokenByMultipartInMinutes(t *testing.T) {
	t.Parallel()
	s := newSite(t, pbxtest.StateConfig{Build: pbxtest.Build8})
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	for k, v := range map[string]string{"client_id": "frontdesk", "client_secret": "secret", "grant_type": "client_credentials"} {
		must(t, w.WriteField(k, v))
	}
	must(t, w.Close())
	res, err := s.http.Post(s.url+"/connect/token", w.FormDataContentType(), &b)
	must(t, err)
	if status, out := s.read(res); status != 200 || out["expires_in"] != 60.0 {
		t.Errorf("token %d %v", status, out)
	}
}

func TestDirectory(t *testing.T) {
	t.Parallel()
	s := newSite(t, pbxtest.StateConfig{})
	for path, want := range map[string]string{
		"Peers?$select=Number,Type&$orderby=Number&$top=100&$skip=0":                  "10000 101 102 205 800 810 820",
		"Peers?$filter=Type eq 'Queue'":                                               "800",
		"Users?$filter=IsRegistered eq true and not (Number eq '101')&$select=Number": "205",
		"Users?$search=romanova":                                                      "102",
		"Users?$orderby=Number desc":                                                  "205 102 101",
		"Queues":                                                                      "800",
		"RingGroups":                                                                  "810",
		"Receptionists":                                                               "820",
		"Trunks":                                                                      "10000",
		"Users?$skip=1&$top=1":                                                        "102",
	} {
		status, out := s.do("GET", path, nil)
		if got := values(out, "Number"); status != 200 || got != want {
			t.Errorf("%s: %d %q, want %q", path, status, got, want)
		}
	}
	_, out := s.do("GET", "Users?$top=1&$count=true&$select=Number,Enabled", nil)
	first := out["value"].([]any)[0].(map[string]any)
	if out["@odata.count"] != 3.0 || out["@odata.context"] == nil || len(first) != 2 || first["Enabled"] != true {
		t.Errorf("page %v", out)
	}
	_, out = s.do("GET", "Users(Number='101')", nil)
	if out["FirstName"] != "Ivan" || out["CurrentProfileName"] != "Available" || out["QueueStatus"] != "LoggedIn" || out["Groups"] != nil {
		t.Errorf("user %v", out)
	}
	id := fmt.Sprint(out["Id"])
	if _, out = s.do("GET", "Users("+id+")/ForwardingProfiles", nil); values(out, "Name") != "Available Away Out of office Custom 1 Custom 2" {
		t.Errorf("profiles %v", out)
	}
	if _, out = s.do("GET", "Queues", nil); strings.Contains(fmt.Sprint(out), "Agents") {
		t.Errorf("agents without $expand: %v", out)
	}
	if _, out = s.do("GET", "Queues?$select=Number&$expand=Agents", nil); !strings.Contains(fmt.Sprint(out), "Olga Romanova") {
		t.Errorf("no agents with $expand: %v", out)
	}
	if _, out = s.do("GET", "OutboundRules", nil); !strings.Contains(fmt.Sprint(out), "Prefix:9") || !strings.Contains(fmt.Sprint(out), "StripDigits:1") {
		t.Errorf("rules %v", out)
	}
	if _, out = s.do("GET", "Defs/Pbx.GetSystemParameters()", nil); out["Version"] != "20.0.10.1109" || out["ENL"] != 3.0 || out["TunnnelPort"] == nil {
		t.Errorf("parameters %v", out)
	}
	if _, out = s.do("GET", "SystemStatus", nil); out["ExtensionsRegistered"] != 2.0 || out["TrunksRegistered"] != 1.0 {
		t.Errorf("status %v", out)
	}
}

func TestPagesAreCapped(t *testing.T) {
	t.Parallel()
	s := newSite(t, pbxtest.StateConfig{})
	for i := range 250 {
		s.AddContact(pbxtest.Row{"LastName": fmt.Sprint(i), "PhoneNumber": "1", "Tag": fmt.Sprintf("B24:C:%d", i)})
	}
	status, out := s.do("GET", "Contacts?$top=101", nil)
	s.want("a page of 101", status, out, 400, "Top query")
	n := 0
	for skip := 0; ; skip += 100 {
		_, out := s.do("GET", fmt.Sprintf("Contacts?$filter=contains(Tag,'B24:')&$orderby=Id&$top=100&$skip=%d", skip), nil)
		rows := out["value"].([]any)
		if n += len(rows); len(rows) < 100 {
			break
		}
	}
	if n != 250 {
		t.Errorf("%d contacts in pages", n)
	}
	_, out = s.do("GET", "Contacts", nil)
	link, _ := out["@odata.nextLink"].(string)
	if len(out["value"].([]any)) != 100 || !strings.Contains(link, "skip=100") {
		t.Errorf("a page without $top: %d rows, next %q", len(out["value"].([]any)), link)
	}
	for path, want := range map[string]string{
		"startswith(Tag,'B24:C:24')":                          "24 240 241 242 243 244 245 246 247 248 249",
		"PhoneNumber eq '2' or Tag eq 'B24:C:7'":              "7",
		"tolower(Tag) eq 'b24:c:8' and Email eq null":         "8",
		"endswith(LastName,'49') and Id gt 0 and Id lt 99999": "49 149 249",
		"LastName eq 'O''Hara'":                               "",
	} {
		if status, out := s.do("GET", "Contacts?$filter="+path, nil); status != 200 || values(out, "LastName") != want {
			t.Errorf("%s: %d %s", path, status, values(out, "LastName"))
		}
	}
	for _, bad := range []string{"Nope eq 1", "Tag eq", "foo(Tag)", "(Tag eq 'x'", "Tag eq 'x' Tag"} {
		status, out := s.do("GET", "Contacts?$filter="+bad, nil)
		s.want(bad, status, out, 400, "not valid")
	}
	status, out = s.do("GET", "Contacts?$select=Nope", nil)
	s.want("an unknown field", status, out, 400, "Nope")
}

func TestContacts(t *testing.T) {
	t.Parallel()
	s := newSite(t, pbxtest.StateConfig{MaxContacts: 2})
	type row = map[string]any
	status, anna := s.do("POST", "Contacts", row{"FirstName": "Anna", "PhoneNumber": "+79161234567", "Tag": "B24:C:12345"})
	if status != 201 || anna["Id"] == nil || anna["ContactType"] != "3CX" || anna["LastName"] != nil {
		t.Fatalf("created %d %v", status, anna)
	}
	id := fmt.Sprintf("Contacts(%v)", anna["Id"])
	for _, c := range []struct {
		what, method, path string
		body               any
		code               int
		token              string
	}{
		{"no name", "POST", "Contacts", row{"PhoneNumber": "1"}, 400, "WARNINGS.CONTACTS_SPECIFY_NAME_SURNAME_COMPANY"},
		{"no phone", "POST", "Contacts", row{"FirstName": "A"}, 400, "WARNINGS.CONTACTS_SPECIFY_PHONE_NUMBER"},
		{"too long", "POST", "Contacts", row{"FirstName": strings.Repeat("я", 256), "PhoneNumber": "1"}, 400, "WARNINGS.STRING_TOO_LONG"},
		{"unknown field", "POST", "Contacts", row{"Name": "A", "PhoneNumber": "1"}, 400, "Name"},
		{"type of another build", "POST", "Contacts", row{"FirstName": "A", "PhoneNumber": "1", "ContactType": "Company"}, 400, "ContactType"},
		{"no object", "POST", "Contacts", []int{1}, 400, "JSON"},
		{"change", "PATCH", id, row{"LastName": "Orlova", "Email": nil}, 204, ""},
		{"change that leaves no phone", "PATCH", id, row{"PhoneNumber": ""}, 400, "WARNINGS.CONTACTS_SPECIFY_PHONE_NUMBER"},
		{"change of nobody", "PATCH", "Contacts(7)", row{"LastName": "x"}, 404, "WARNINGS.XAPI.NOT_FOUND"},
		{"second", "POST", "Contacts", row{"CompanyName": "ACME", "Business": "2"}, 201, ""},
		{"over the limit", "POST", "Contacts", row{"CompanyName": "ACME", "Business": "2"}, 400, "WARNINGS.LIMIT_REACHED"},
		{"old bulk delete", "POST", "Contacts/Pbx.BatchContactsDelete", row{"ids": []int{1}}, 404, ""},
		{"delete", "DELETE", id, nil, 204, ""},
		{"delete again", "DELETE", id, nil, 404, "NOT_FOUND"},
		{"bulk delete without ids", "POST", "Contacts/Pbx.DeleteContactsById", row{}, 400, "REQUIRED"},
	} {
		status, out := s.do(c.method, c.path, c.body)
		s.want(c.what, status, out, c.code, c.token)
	}
	left := s.Rows("Contacts")
	if len(left) != 1 {
		t.Fatalf("left %v", left)
	}
	if status, _ := s.do("POST", "Contacts/Pbx.DeleteContactsById", row{"ids": []any{left[0]["Id"], 4711}}); status != 204 || len(s.Rows("Contacts")) != 0 {
		t.Errorf("bulk delete: %d, left %v", status, s.Rows("Contacts"))
	}
}

func TestErrorShape(t *testing.T) {
	t.Parallel()
	s := newSite(t, pbxtest.StateConfig{})
	_, out := s.do("PATCH", "Users(Number='101')", map[string]any{"Number": "109"})
	got, _ := json.Marshal(out)
	want := `{"error":{"code":"","details":[{"code":"","message":"WARNINGS.XAPI.FORBIDDEN_CHANGE","target":"Number"}],"innerError":{},` +
		`"message":"Number:\nWARNINGS.XAPI.FORBIDDEN_CHANGE","target":"Number"}}`
	if string(got) != want {
		t.Errorf("error\n%s, want\n%s", got, want)
	}
	if status, _ := s.do("PATCH", "Users(Number='101')", map[string]any{"CurrentProfileName": "Away"}); status != 204 {
		t.Errorf("presence: %d", status)
	}
	if _, out := s.do("GET", "Users(Number='101')", nil); out["CurrentProfileName"] != "Away" {
		t.Errorf("presence %v", out["CurrentProfileName"])
	}
}
