package pbxtest_test

import (
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"frontdesk/pbx/pbxtest"
)

// BenchmarkContactPage is one page of a full sync's first look at a large phone
// book: the 400th of those with our marker.
func BenchmarkContactPage(b *testing.B) {
	s := pbxtest.NewState(pbxtest.StateConfig{})
	for i := range 50_000 {
		s.AddContact(pbxtest.Row{"LastName": fmt.Sprint(i), "PhoneNumber": fmt.Sprintf("+7916%07d", i), "Tag": fmt.Sprintf("B24:C:%d", i)})
	}
	a := pbxtest.NewAPI(s)
	token := tokenOf(b, a)
	for b.Loop() {
		if n := page(b, a, token, "Contacts?$filter=contains(Tag,'B24:')&$orderby=Id&$top=100&$skip=40000"); n != 100 {
			b.Fatal(n)
		}
	}
}

// BenchmarkAccount is the accounting for one call, a queue's.
func BenchmarkAccount(b *testing.B) {
	s := company(pbxtest.StateConfig{})
	for b.Loop() {
		s.Account(answeredInQueue())
	}
}

// tokenOf gets a token without a socket.
func tokenOf(t testing.TB, a *pbxtest.API) string {
	t.Helper()
	form := url.Values{"client_id": {"frontdesk"}, "client_secret": {"secret"}, "grant_type": {"client_credentials"}}
	r := httptest.NewRequest("POST", "/connect/token", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	a.ServeHTTP(w, r)
	var out struct {
		Token string `json:"access_token"`
	}
	if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil || out.Token == "" {
		t.Fatalf("%s, %v", w.Body, err)
	}
	return out.Token
}

// page is how many rows an answer has.
func page(t testing.TB, a *pbxtest.API, token, path string) int {
	t.Helper()
	r := httptest.NewRequest("GET", "/xapi/v1/"+path, nil)
	r.Header.Set("Authorization", "Bearer "+token)
	w := httptest.NewRecorder()
	a.ServeHTTP(w, r)
	var out struct{ Value []json.RawMessage }
	if err := json.Unmarshal(w.Body.Bytes(), &out); err != nil {
		t.Fatalf("%s, %v", w.Body, err)
	}
	return len(out.Value)
}
