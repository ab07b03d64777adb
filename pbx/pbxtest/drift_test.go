package pbxtest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"frontdesk/pbx/pbxtest"
)

func TestActionsMoveBetweenBuilds(t *testing.T) {
	t.Parallel()
	const gone = 404
	for build, want := range map[pbxtest.Build][]int{
		pbxtest.Build6:  {gone, 200, 204, gone},
		pbxtest.Build8:  {200, gone, 204, gone},
		pbxtest.Build9:  {200, gone, gone, 204},
		pbxtest.Build10: {200, gone, gone, 204},
	} {
		s := newSite(t, pbxtest.StateConfig{Build: build})
		var got []int
		for _, c := range []struct {
			method, path string
			body         any
		}{
			{"GET", "Users(Number='101')", nil},
			{"GET", "Users/Pbx.GetByNumber(number='101')", nil},
			{"POST", "Contacts/Pbx.BatchContactsDelete", map[string]any{"ids": []int{}}},
			{"POST", "Contacts/Pbx.DeleteContactsById", map[string]any{"ids": []int{}}},
		} {
			status, out := s.do(c.method, c.path, c.body)
			if got = append(got, status); status == gone && len(out) > 0 {
				t.Errorf("%s %s: an endpoint that is not there has a body: %v", build, c.path, out)
			}
		}
		if fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s answers %v, want %v", build, got, want)
		}
		_, contact := s.do("POST", "Contacts", map[string]any{"LastName": "A", "Home": "1"})
		if kind := contact["ContactType"]; (kind == "3CX") != (build >= pbxtest.Build9) {
			t.Errorf("%s makes contacts of type %v", build, kind)
		}
		_, page := s.do("GET", "swagger.yaml", nil)
		if strings.Contains(fmt.Sprint(page), "DeleteContactsById") != (build >= pbxtest.Build9) {
			t.Errorf("%s describes itself as %v", build, page)
		}
	}
}

func TestVersionHeader(t *testing.T) {
	t.Parallel()
	s := newSite(t, pbxtest.StateConfig{Build: pbxtest.Build8})
	res, err := s.http.Get(s.url + "/xapi/v1/Defs?$select=Id")
	must(t, err)
	if status, _ := s.read(res); status != 401 || res.Header.Get("X-3CX-Version") != "20.0.8.1109" {
		t.Errorf("%d, version %q", status, res.Header.Get("X-3CX-Version"))
	}
}

func TestRoles(t *testing.T) {
	t.Parallel()
	paths := []string{"Defs", "Users", "Trunks", "CDRSettings", "Recordings"}
	for role, want := range map[pbxtest.Role]string{
		pbxtest.Owner: "200 200 200 200 200 200", pbxtest.Admin: "200 200 200 200 403 403", pbxtest.Manager: "200 200 403 403 403 200",
		pbxtest.Plain: "200 403 403 403 403 403",
	} {
		s := newSite(t, pbxtest.StateConfig{}, pbxtest.Client{ID: "frontdesk", Secret: "secret", Role: role})
		var got []string
		for _, p := range paths {
			status, _ := s.do("GET", p, nil)
			got = append(got, fmt.Sprint(status))
		}
		status, _ := s.callLog("")
		if all := strings.Join(append(got, fmt.Sprint(status)), " "); all != want {
			t.Errorf("%s may %s, want %s", role, all, want)
		}
	}
}

func TestLicences(t *testing.T) {
	t.Parallel()
	for want, l := range map[string]pbxtest.Licence{"200 200": {}, "403 403": {NoEnterprise: true}, "200 403": {NoFlow: true}} {
		s := newSite(t, pbxtest.StateConfig{Licence: l})
		xapi, _ := s.do("GET", "Defs", nil)
		control, _ := s.send("GET", "/callcontrol", nil)
		if got := fmt.Sprint(xapi, control); got != want {
			t.Errorf("%+v: %s, want %s", l, got, want)
		}
	}
	s := newSite(t, pbxtest.StateConfig{}, pbxtest.Client{ID: "frontdesk", Secret: "secret", NoXAPI: true})
	if status, _ := s.do("GET", "Defs", nil); status != 403 {
		t.Errorf("a client without XAPI access is answered %d", status)
	}
}

func TestClientsHaveTokensOfTheirOwn(t *testing.T) {
	t.Parallel()
	s := newSite(t, pbxtest.StateConfig{}, pbxtest.Client{ID: "frontdesk", Secret: "secret"}, pbxtest.Client{ID: "other", Secret: "other"})
	other := s.login("other", "other")
	if status, _ := s.do("GET", "Defs", nil); status != 200 {
		t.Errorf("another client's token ended ours: %d", status)
	}
	s.token = other
	if status, _ := s.do("GET", "Defs", nil); status != 200 {
		t.Errorf("the other client is answered %d", status)
	}
	s.api.Revoke()
	if status, _ := s.do("GET", "Defs", nil); status != 401 {
		t.Errorf("a revoked token is answered %d", status)
	}
}

func TestSettings(t *testing.T) {
	t.Parallel()
	s := newSite(t, pbxtest.StateConfig{})
	type row = map[string]any
	status, _ := s.do("PATCH", "CDRSettings", row{"LogType": "PassiveSocket", "SocketPort": 4000, "Enabled": true,
		"EnabledFields": []row{{"Name": "callid", "Length": 0}, {"Name": "chain", "Length": 0}}})
	_, out := s.do("GET", "CDRSettings", nil)
	fields, _ := out["EnabledFields"].([]any)
	possible, _ := out["PossibleFields"].([]any)
	if status != 204 || out["LogType"] != "PassiveSocket" || out["SocketPort"] != 4000.0 || len(fields) != 2 || len(possible) != 27 {
		t.Errorf("settings %d %v", status, out)
	}
	if got := s.CDR().Fields; fmt.Sprint(got) != "[callid chain]" {
		t.Errorf("fields %v", got)
	}
	status, out = s.do("PATCH", "CDRSettings", row{"EnabledFields": []row{{"Name": "nope"}}})
	s.want("an unknown field", status, out, 400, "NOT_FOUND")
	status, _ = s.do("PATCH", "Trunks(Number='10000')", row{"DidNumbers": []string{"101", "800"}})
	_, out = s.do("GET", "Trunks(Number='10000')", nil)
	if status != 204 || fmt.Sprint(out["DidNumbers"]) != "[101 800]" || fmt.Sprint(out["Gateway"]) == "<nil>" {
		t.Errorf("trunk %d %v", status, out)
	}
	block := row{"BlockType": "Allow", "IPAddrMask": "10.0.0.5/32", "Description": "router"}
	if status, _ = s.do("POST", "Blocklist", block); status != 201 {
		t.Errorf("blocklist: %d", status)
	}
	status, out = s.do("POST", "Blocklist", block)
	s.want("the same again", status, out, 400, "WARNINGS.XAPI.DUPLICATE")
	must(t, s.Change("Users", "101", pbxtest.Row{"IsRegistered": false}))
	if err := s.Change("Users", "999", pbxtest.Row{}); err == nil {
		t.Error("an unknown user can be changed")
	}
	s.Remove("101")
	if _, out = s.do("GET", "Peers?$filter=Number eq '101'", nil); values(out, "Number") != "" {
		t.Errorf("101 is still there: %v", out)
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	s := newSite(t, pbxtest.StateConfig{})
	for kind, want := range map[pbxtest.FaultKind]int{
		pbxtest.Unauthorized: 401, pbxtest.Forbidden: 403, pbxtest.Missing: 404, pbxtest.TopRefused: 400, pbxtest.Invalid: 400,
		pbxtest.ServerError: 500, pbxtest.Unavailable: 503, pbxtest.HTML: 200, pbxtest.Junk: 200,
	} {
		s.api.SetFault(pbxtest.Fault{Kind: kind, Path: "Users", Method: "GET", After: 1, Times: 1})
		var got []int
		for range 3 {
			status, _ := s.do("GET", "Users?$top=1", nil)
			got = append(got, status)
		}
		if fmt.Sprint(got) != fmt.Sprint([]int{200, want, 200}) {
			t.Errorf("%s: %v", kind, got)
		}
		if status, _ := s.do("GET", "Peers?$top=1", nil); status != 200 {
			t.Errorf("%s befalls another path: %d", kind, status)
		}
	}
	s.api.SetFault(pbxtest.Fault{Kind: pbxtest.TopRefused})
	if status, _ := s.do("GET", "Users", nil); status != 200 {
		t.Errorf("without $top: %d", status)
	}
}

func TestConnectionsFail(t *testing.T) {
	t.Parallel()
	s := newSite(t, pbxtest.StateConfig{})
	get := func(ctx context.Context) ([]byte, error) {
		req, err := http.NewRequestWithContext(ctx, "GET", s.url+"/xapi/v1/Peers", nil)
		must(t, err)
		req.Header.Set("Authorization", "Bearer "+s.token)
		res, err := s.http.Do(req)
		if err != nil {
			return nil, err
		}
		defer res.Body.Close()
		return io.ReadAll(res.Body)
	}
	s.api.SetFault(pbxtest.Fault{Kind: pbxtest.Truncated})
	if data, err := get(limit(t)); !errors.Is(err, io.ErrUnexpectedEOF) || len(data) == 0 {
		t.Errorf("truncated: %d bytes, %v", len(data), err)
	}
	s.api.SetFault(pbxtest.Fault{Kind: pbxtest.Reset})
	if _, err := get(limit(t)); err == nil {
		t.Error("a reset connection answers")
	}
	for _, f := range []pbxtest.Fault{{Kind: pbxtest.Silence}, {Latency: time.Minute}} {
		s.api.SetFault(f)
		short, cancel := context.WithTimeout(limit(t), 50*time.Millisecond)
		if _, err := get(short); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%+v: %v", f, err)
		}
		cancel()
	}
	s.api.Heal()
	if _, err := get(limit(t)); err != nil {
		t.Errorf("healed: %v", err)
	}
}

func TestKnobs(t *testing.T) {
	t.Parallel()
	s := newSite(t, pbxtest.StateConfig{})
	type row = map[string]any
	status, out := s.send("PUT", "/_sandbox/fault", row{"kind": "latency", "latency": "3s", "path": "Users"})
	if status != 200 || out["latency"] != "3s" || s.api.Fault() != (pbxtest.Fault{Kind: pbxtest.Slow, Latency: 3 * time.Second, Path: "Users"}) {
		t.Errorf("fault %d %v", status, out)
	}
	if status, out = s.send("PUT", "/_sandbox/fault", row{"kind": "nope"}); status != 400 || !strings.Contains(fmt.Sprint(out), "no fault is named") {
		t.Errorf("an unknown fault: %d %v", status, out)
	}
	if _, out = s.send("GET", "/_sandbox/fault", nil); len(out["kinds"].([]any)) != len(pbxtest.FaultKinds()) {
		t.Errorf("kinds %v", out)
	}
	if status, _ = s.send("DELETE", "/_sandbox/fault", nil); status != 200 || s.api.Fault() != (pbxtest.Fault{}) {
		t.Errorf("healed: %d %+v", status, s.api.Fault())
	}
	if _, out = s.send("POST", "/_sandbox/callcontrol", row{"lose_all": true, "repeat": 2}); out["repeat"] != 2.0 || !s.Quirks().LoseAll {
		t.Errorf("call control %v", out)
	}
	if status, _ = s.send("POST", "/_sandbox/cdr", row{}); status != 404 {
		t.Errorf("knobs of no CDR socket: %d", status)
	}
	f, err := pbxtest.NewFeed(t.Context(), s.State, pbxtest.FeedConfig{Dial: "127.0.0.1:1"})
	must(t, err)
	s.api.ShowKnobs(f)
	if status, out = s.send("PUT", "/_sandbox/cdr", row{"late": "2s", "chunk": 3}); status != 200 || out["late"] != "2s" || f.Knobs() != (pbxtest.FeedKnobs{Chunk: 3, Late: 2 * time.Second}) {
		t.Errorf("CDR %d %v", status, out)
	}
	if status, _ = s.send("PUT", "/_sandbox/cdr", row{"late": "soon"}); status != 400 {
		t.Errorf("a duration that is none: %d", status)
	}
	before := s.api.Total()
	s.do("GET", "Peers?$top=3", nil)
	all := s.api.Requests()
	if last := all[len(all)-1]; s.api.Total() != before+1 || last.Path != "/xapi/v1/Peers" || last.Query != "$top=3" || last.Method != "GET" {
		t.Errorf("request %+v of %d", last, s.api.Total())
	}
}
