package crm_test

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"frontdesk/call"
	"frontdesk/crm"
)

// always gives every request the same result.
type always string

func (a always) RoundTrip(r *http.Request) (*http.Response, error) {
	_, err := io.Copy(io.Discard, r.Body)
	body := `{"result":` + string(a) + `,"time":{"start":1,"operating_reset_at":"x"}}`
	return &http.Response{
		StatusCode: 200, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r,
	}, err
}

// said is a client whose portal gives every request the same result.
func said(t *testing.T, result string) *crm.Client {
	t.Helper()
	c, err := crm.New(crm.Config{Webhook: "http://portal.test/rest/1/" + canary + "/", Transport: always(result)})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestShapesOfRegister(t *testing.T) {
	t.Parallel()
	lead := crm.EntityID{Kind: call.KindLead, ID: 31}
	for result, want := range map[string]crm.Registered{
		`{"CALL_ID":"x"}`: {CallID: "x"},
		`{"CALL_ID":"x","CRM_CREATED_LEAD":null,"CRM_CREATED_ENTITIES":[],"CRM_ENTITY_TYPE":"LEAD","CRM_ENTITY_ID":31}`:               {CallID: "x", Entity: lead},
		`{"CALL_ID":"x","CRM_CREATED_LEAD":"31","CRM_CREATED_ENTITIES":{},"CRM_ENTITY_TYPE":false,"CRM_ENTITY_ID":false}`:             {CallID: "x", CreatedEntities: []crm.EntityID{lead}},
		`{"CALL_ID":"x","CRM_CREATED_LEAD":31,"CRM_CREATED_ENTITIES":[{"ENTITY_TYPE":"LEAD","ENTITY_ID":"31"}],"CRM_ENTITY_ID":null}`: {CallID: "x", CreatedEntities: []crm.EntityID{lead}},
		`{"CALL_ID":"x","CRM_CREATED_ENTITIES":[{"ENTITY_TYPE":"DEAL","ENTITY_ID":4},{"ENTITY_TYPE":"CONTACT","ENTITY_ID":5},{"ENTITY_TYPE":"","ENTITY_ID":6}]}`: {
			CallID: "x", CreatedEntities: []crm.EntityID{{Kind: "deal", ID: 4}, {Kind: call.KindContact, ID: 5}},
		},
		`{"CALL_ID":"x","LEAD_CREATION_ERROR":"Lead creation is disabled\nfor local users"}`: {CallID: "x", LeadError: "Lead creation is disabled for local users"},
		`{"CALL_ID":12345,"CRM_ENTITY_TYPE":"LEAD","CRM_ENTITY_ID":"thirty"}`:                {CallID: "12345"},
	} {
		got, err := said(t, result).Register(t.Context(), incoming("leg"))
		if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: %+v, %v; want %+v", result, got, err, want)
		}
	}
	for _, result := range []string{`{}`, `[]`, `true`, `"x"`, `{"CALL_ID":null}`, `{"CALL_ID":["x"]}`, `7`} {
		if got, err := said(t, result).Register(t.Context(), incoming("leg")); !crm.Ambiguous(err) {
			t.Errorf("%s: %+v, %v", result, got, err)
		}
	}
}

func TestShapesOfFinish(t *testing.T) {
	t.Parallel()
	for result, want := range map[string]crm.Finished{
		`{"CALL_ID":"x","CRM_ACTIVITY_ID":7943,"CRM_ENTITY_TYPE":"CONTACT","CRM_ENTITY_ID":275,"PORTAL_USER_ID":61,"CALL_DURATION":95,"CALL_FAILED_CODE":"200","CALL_START_DATE":{}}`: {
			Activity: 7943, Owner: crm.EntityID{Kind: call.KindContact, ID: 275}, Employee: 61, Seconds: 95, Status: "200",
		},
		`{"CALL_ID":"x","CRM_ACTIVITY_ID":"7","CRM_ENTITY_TYPE":null,"CRM_ENTITY_ID":null,"PORTAL_USER_ID":"61","CALL_DURATION":"0","CALL_FAILED_CODE":304,"ERRORS":[]}`: {
			Activity: 7, Employee: 61, Status: "304",
		},
		`{"CALL_ID":"x","CRM_ACTIVITY_ID":false,"ERRORS":{"ACTIVITY_CREATION":"no\u0007rights"}}`: {ActivityError: "no rights"},
		`{"CALL_ID":"x","ERRORS":{"ACTIVITY_CREATION":["a","b"]}}`:                                {ActivityError: "a; b"},
		`{"CALL_ID":"x"}`: {},
	} {
		got, err := said(t, result).Finish(t.Context(), talked("x", 61))
		if err != nil || got != want {
			t.Errorf("%s: %+v, %v; want %+v", result, got, err, want)
		}
	}
	for _, result := range []string{`[]`, `true`, `"done"`, `{"CALL_ID":"x","ERRORS":"x"}`, `{}`, `{"CALL_ID":"y"}`} {
		if got, err := said(t, result).Finish(t.Context(), talked("x", 61)); !crm.Ambiguous(err) {
			t.Errorf("%s: %+v, %v", result, got, err)
		}
	}
}

func TestShapesOfCards(t *testing.T) {
	t.Parallel()
	for result, want := range map[string]bool{`true`: true, `false`: false, `"Y"`: true, `1`: true, `[]`: false} {
		if ok, err := said(t, result).Show(t.Context(), "x", 61); err != nil || ok != want {
			t.Errorf("%s: %v, %v", result, ok, err)
		}
	}
	if ok, err := said(t, `"boom"`).Hide(t.Context(), "x"); err != nil || !ok {
		t.Errorf("hidden from nobody: %v, %v", ok, err)
	}
}

// Statistics that are not filtered, or of another shape, tell nothing.
func TestShapesOfStatistics(t *testing.T) {
	t.Parallel()
	row := `{"CALL_ID":"x","EXTERNAL_CALL_ID":%q,"CALL_DURATION":"95","RECORD_FILE_ID":"9079"}`
	for rows, want := range map[string]int{
		`[]`: 0, `[` + fmt.Sprintf(row, "leg") + `]`: 1, `[` + fmt.Sprintf(row, "other") + `]`: 0,
		`[` + fmt.Sprintf(row, "leg") + `,` + fmt.Sprintf(row, "leg") + `]`: 2,
	} {
		got, err := said(t, `{"result":{"s0":`+rows+`},"result_error":[]}`).CallsByExternalID(t.Context(), "leg")
		if err != nil || len(got["leg"]) != want || want > 0 && got["leg"][0].File != 9079 {
			t.Errorf("%s: %+v, %v", rows, got, err)
		}
	}
	for _, result := range []string{`[]`, `{"result":[],"result_error":{"s0":{"error":"","error_description":"Access denied."}}}`, `{"result":{"s0":"x"}}`} {
		if got, err := said(t, result).CallsByExternalID(t.Context(), "leg"); err == nil {
			t.Errorf("%s: %+v", result, got)
		}
	}
}

// swallower names an address for an upload and reads what is sent there.
type swallower struct{ most int64 }

func (s *swallower) RoundTrip(r *http.Request) (*http.Response, error) {
	n, err := io.Copy(io.Discard, r.Body)
	s.most = max(s.most, n)
	if strings.HasSuffix(r.URL.Path, "upload.json") {
		return always(`{"FILE_ID":7}`).RoundTrip(r)
	}
	if err != nil {
		return nil, err
	}
	return always(`{"uploadUrl":"http://portal.test/rest/upload.json?token=x","fieldName":"file"}`).RoundTrip(r)
}
