package pbx_test

import (
	"fmt"
	"math"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"frontdesk/pbx"
	"frontdesk/pbx/pbxtest"
)

// sandbox is a PBX of the sandbox and a client of it.
func sandbox(t *testing.T, cfg pbxtest.StateConfig, who pbxtest.Client) (*pbxtest.State, *pbxtest.API, *pbx.Client) {
	t.Helper()
	s := pbxtest.NewState(cfg)
	s.AddUser(pbxtest.User{Number: "101", FirstName: "Ivan"})
	s.AddUser(pbxtest.User{Number: "102", FirstName: "Olga", Unregistered: true})
	s.AddUser(pbxtest.User{Number: "105", FirstName: "Anna"})
	s.AddQueue(pbxtest.Group{Number: "800", Name: "Sales", Members: []string{"101", "102"}})
	s.AddReceptionist("820", "Menu")
	s.AddTrunk(pbxtest.Trunk{Number: "10000", Name: "FE", External: "74950000000"})
	s.AddContact(pbxtest.Row{"FirstName": "A", "PhoneNumber": "+79161234567"})
	who.ID, who.Secret = fakeID, fakeSecret
	api := pbxtest.NewAPI(s, who)
	srv := httptest.NewServer(api)
	c, err := pbx.NewClient(pbx.Config{URL: srv.URL, ID: fakeID, Secret: fakeSecret, Rate: 1000})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		c.Close()
		api.Close()
		srv.Close()
	})
	return s, api, c
}

func states(checks []pbx.Check) map[string]pbx.State {
	out := map[string]pbx.State{}
	for _, c := range checks {
		out[c.Name] = c.State
	}
	return out
}

func TestProbe(t *testing.T) {
	t.Parallel()
	s, api, c := sandbox(t, pbxtest.StateConfig{}, pbxtest.Client{})
	checks := c.Probe(t.Context())
	for _, check := range checks {
		if check.State != pbx.StateOK || check.Advice != "" {
			t.Errorf("%+v", check)
		}
	}
	if len(checks) != 17 {
		t.Errorf("%d checks: %v", len(checks), states(checks))
	}
	if n := len(s.Rows("Contacts")); n != 1 {
		t.Errorf("%d contacts after the probe, want 1", n)
	}
	for _, r := range api.Requests() {
		if r.Method != "GET" && !strings.HasPrefix(r.Path, "/connect/token") && !strings.HasSuffix(r.Path, fmt.Sprintf("/Contacts(%d)", math.MaxInt32)) {
			t.Errorf("the probe did %s %s", r.Method, r.Path)
		}
	}
}

// TestProbeSays names what does not work, by licence, role and build.
func TestProbeSays(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		cfg  pbxtest.StateConfig
		who  pbxtest.Client
		want map[string]pbx.State // those that are not ok
	}{
		"an administrator": {pbxtest.StateConfig{}, pbxtest.Client{Role: pbxtest.Admin},
			map[string]pbx.State{"call log": pbx.StateFailed, "recordings": pbx.StateFailed}},
		"a manager": {pbxtest.StateConfig{}, pbxtest.Client{Role: pbxtest.Manager},
			map[string]pbx.State{"recordings": pbx.StateFailed, "trunks": pbx.StateFailed}},
		"no call flow designer": {pbxtest.StateConfig{Licence: pbxtest.Licence{NoFlow: true}}, pbxtest.Client{},
			map[string]pbx.State{"call flow designer": pbx.StateUnlicensed, "call control": pbx.StateUnlicensed}},
		"call control not ticked": {pbxtest.StateConfig{}, pbxtest.Client{NoCallControl: true},
			map[string]pbx.State{"call control": pbx.StateFailed}},
		"nobody monitored": {pbxtest.StateConfig{}, pbxtest.Client{Monitored: []string{"999"}},
			map[string]pbx.State{"call control": pbx.StateMissing}},
		"the API not ticked": {pbxtest.StateConfig{}, pbxtest.Client{NoXAPI: true},
			map[string]pbx.State{"configuration API": pbx.StateUnlicensed}},
		"an older build": {pbxtest.StateConfig{Build: pbxtest.Build6}, pbxtest.Client{}, map[string]pbx.State{}},
	} {
		_, _, client := sandbox(t, c.cfg, c.who)
		checks := client.Probe(t.Context())
		got := states(checks)
		for check, want := range c.want {
			if got[check] != want {
				t.Errorf("%s: %s is %q, want %q", name, check, got[check], want)
			}
		}
		for _, check := range checks {
			if check.State != pbx.StateOK && check.Advice == "" {
				t.Errorf("%s: no advice for %+v", name, check)
			}
			if _, expected := c.want[check.Name]; !expected && check.State != pbx.StateOK && check.Name != "call detail records" && c.who.Role != pbxtest.Manager {
				t.Errorf("%s: %+v", name, check)
			}
		}
	}
}

// TestProbeOfTheUnreachable ends with the first check.
func TestProbeOfTheUnreachable(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	c, err := pbx.NewClient(pbx.Config{URL: f.URL, ID: fakeID, Secret: "canary"})
	if err != nil {
		t.Fatal(err)
	}
	checks := c.Probe(t.Context())
	if len(checks) != 1 || checks[0].State != pbx.StateFailed || !strings.Contains(checks[0].Advice, "client id") {
		t.Errorf("a wrong key: %+v", checks)
	}
	f.Close()
	checks = f.client(t).Probe(t.Context())
	if len(checks) != 1 || !strings.Contains(checks[0].Advice, "pbx.xapi.url") {
		t.Errorf("nobody there: %+v", checks)
	}
	f.leaks(t, fmt.Sprint(checks))
	v18 := newFake(t) // nothing is there but a sign-in
	checks = v18.client(t).Probe(t.Context())
	if i := slices.IndexFunc(checks, func(c pbx.Check) bool { return c.Name == "configuration API" }); i < 0 || checks[i].State != pbx.StateMissing {
		t.Errorf("version 18: %+v", checks)
	}
}
