package crm_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"frontdesk/call"
	"frontdesk/crm"
	"frontdesk/crm/crmtest"
)

const appSecret = "c4n4ry-app-secret"

// newApp makes an application of p's portal, whose tokens are in s.
func newApp(t testing.TB, net *pipes, s *memory, refresh string, log *locked) *crm.App {
	t.Helper()
	transport := &http.Transport{DialContext: net.dial}
	t.Cleanup(transport.CloseIdleConnections)
	a, err := crm.NewApp(crm.AppConfig{
		ClientID: "local.1", ClientSecret: appSecret, Portal: "http://portal.test", Server: "http://portal.test",
		RefreshToken: refresh, Store: crm.NewTokenStore(s, "crm/tokens"), Transport: transport,
		Logger: slog.New(slog.NewTextHandler(log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// newAppWorld is a world whose client has an application too.
func newAppWorld(t testing.TB, p *crmtest.Portal, s *memory, refresh string, change ...func(*crm.Config)) *world {
	t.Helper()
	lines, log := newPipes(), &locked{}
	w := newWorld(t, p, append(change, func(c *crm.Config) {
		c.Voices.App = newApp(t, lines, s, refresh, log)
		c.Transport = &http.Transport{DialContext: lines.dial}
	})...)
	server := &http.Server{Handler: p}
	go func() { _ = server.Serve(lines) }()
	t.Cleanup(func() {
		w.Close()
		p.Close()
		if err := server.Close(); err != nil {
			t.Error(err)
		}
		for _, secret := range []string{appSecret, "access-local", "refresh-local", canary} {
			if strings.Contains(log.String()+w.log.String(), secret) {
				t.Errorf("the log shows %s:\n%s%s", secret, log, w.log)
			}
		}
	})
	return w
}

func appVoice(t testing.TB, w *world) crm.Voice {
	t.Helper()
	v, ok := w.App()
	if !ok {
		t.Fatal("there is no application")
	}
	return v
}

// info asks something harmless, and tells who asked.
func info(ctx context.Context, v crm.Voice) (user int, own bool, err error) {
	var out struct {
		User crm.FlexInt `json:"USER_ID"`
	}
	own, err = v.Call(ctx, crm.LaneLog, "app.info", nil, &out)
	return int(out.User), own, err
}

func appPortal() (p *crmtest.Portal, refresh string) {
	p = newPortal(crmtest.Options{})
	return p, p.AddApp(crmtest.App{ID: "local.1", Secret: appSecret, User: 61})
}

// Tokens are renewed when the portal says so, once, whoever notices; the next
// process goes on with what is stored.
func TestTokensAreRenewed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, refresh := appPortal()
		s := newMemory()
		w := newAppWorld(t, p, s, refresh)
		v := appVoice(t, w)
		for range 3 {
			if user, own, err := info(t.Context(), v); user != 61 || !own || err != nil {
				t.Fatalf("user %d, own %v, %v", user, own, err)
			}
		}
		if n := p.Renewals(); n != 1 {
			t.Errorf("%d renewals for the first token", n)
		}
		time.Sleep(61 * time.Minute)
		other := newAppWorld(t, p, s, "") // another node
		var wg sync.WaitGroup
		for i := range 16 {
			wg.Go(func() {
				from := []*world{w, other}[i%2]
				if _, _, err := info(context.Background(), appVoice(t, from)); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if n := p.Renewals(); n != 2 {
			t.Errorf("%d renewals, want 2", n)
		}
	})
}

// kill -9 between claiming the tokens and storing the new ones holds up the
// others for seconds, not for ever.
func TestRenewalKilled(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, refresh := appPortal()
		s := newMemory()
		w := newAppWorld(t, p, s, refresh)
		if _, _, err := info(t.Context(), appVoice(t, w)); err != nil {
			t.Fatal(err)
		}
		p.ExpireTokens()
		s.mu.Lock()
		compares := 0
		s.fail = func(op string) error { // the claim is stored, nothing after it
			if op == "compare" {
				compares++
			}
			if op == "compare" && compares > 1 {
				return errTest
			}
			return nil
		}
		s.mu.Unlock()
		p.SetFault(crmtest.Fault{Kind: crmtest.Reset, Method: "oauth.token"})
		if _, _, err := info(t.Context(), appVoice(t, w)); err == nil {
			t.Fatal("a killed renewal succeeds")
		}
		p.Heal()
		s.mu.Lock()
		s.fail = nil
		s.mu.Unlock()
		other := newAppWorld(t, p, s, "")
		began := time.Now()
		if _, _, err := info(t.Context(), appVoice(t, other)); err != nil {
			t.Fatal(err)
		}
		if took := time.Since(began); took > 25*time.Second {
			t.Errorf("the other node waited %v", took)
		}
	})
}

// A caller who leaves while tokens are renewed does not lose them.
func TestRenewalOutlivesItsCaller(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, refresh := appPortal()
		s := newMemory()
		w := newAppWorld(t, p, s, refresh)
		if _, _, err := info(t.Context(), appVoice(t, w)); err != nil {
			t.Fatal(err)
		}
		p.ExpireTokens()
		p.SetFault(crmtest.Fault{Kind: crmtest.Slow, Latency: 2 * time.Second, Method: "oauth.token"})
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, _, err := info(ctx, appVoice(t, w)); err == nil {
			t.Error("an answer in time is not possible")
		}
		if _, _, err := info(t.Context(), appVoice(t, w)); err != nil {
			t.Error(err)
		}
		if n := p.Renewals(); n != 2 {
			t.Errorf("%d renewals, want 2", n)
		}
	})
}

func TestRevokedApplication(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, refresh := appPortal()
		s := newMemory()
		w := newAppWorld(t, p, s, refresh)
		if _, _, err := info(t.Context(), appVoice(t, w)); err != nil {
			t.Fatal(err)
		}
		p.ExpireTokens()
		p.SetFault(crmtest.Fault{Kind: crmtest.NoAuth, Method: "oauth.token"})
		if _, _, err := info(t.Context(), appVoice(t, w)); err == nil {
			t.Error("refused tokens are renewed")
		}
		p.Heal()
		_, _, err := info(t.Context(), appVoice(t, w))
		if err != nil {
			t.Errorf("after the trouble: %v", err)
		}
		p.RevokeApp("local.1")
		if _, _, err = info(t.Context(), appVoice(t, w)); err == nil || strings.Contains(err.Error(), "local.1-") {
			t.Errorf("a revoked application: %v", err)
		}
		// Installed again by its callback.
		next := p.AddApp(crmtest.App{ID: "local.1", Secret: appSecret, User: 62})
		install(t, w, url.Values{"event": {"ONAPPINSTALL"}, "auth[refresh_token]": {next}}, http.StatusOK)
		if user, _, err := info(t.Context(), appVoice(t, w)); user != 62 || err != nil {
			t.Errorf("installed again: user %d, %v", user, err)
		}
	})
}

// install posts a form to the install address of w's application.
func install(t testing.TB, w *world, form url.Values, want int) {
	t.Helper()
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/bitrix24/install", strings.NewReader(form.Encode()))
	got := httptest.NewRecorder()
	w.Installer().ServeHTTP(got, r)
	if got.Code != want {
		t.Errorf("installing answers %d, want %d", got.Code, want)
	}
}

func TestInstall(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, refresh := appPortal()
		w := newAppWorld(t, p, newMemory(), "")
		if _, _, err := info(t.Context(), appVoice(t, w)); err == nil {
			t.Error("an application without tokens speaks")
		}
		install(t, w, url.Values{}, http.StatusBadRequest)
		install(t, w, url.Values{"event": {"ONAPPINSTALL"}, "auth[refresh_token]": {"made up"}}, http.StatusForbidden)
		install(t, w, url.Values{"event": {"ONAPPINSTALL"}, "auth[refresh_token]": {strings.Repeat("x", 1<<20)}}, http.StatusBadRequest)
		install(t, w, url.Values{
			"event": {"ONAPPINSTALL"}, "auth[refresh_token]": {refresh}, "auth[application_token]": {"apptoken"},
			"auth[client_endpoint]": {"http://evil.test/rest/"},
		}, http.StatusOK)
		if user, _, err := info(t.Context(), appVoice(t, w)); user != 61 || err != nil {
			t.Errorf("user %d, %v", user, err)
		}
		// Events may carry the application's token from now on.
		m := newMirror(t, w, newMemory())
		for token, want := range map[string]int{"apptoken": http.StatusOK, "": http.StatusForbidden, "apptokex": http.StatusForbidden} {
			if got := postEvent(t, m.Events(), eventBody("ONCRMLEADADD", "5", token)); got != want {
				t.Errorf("token %q: %d, want %d", token, got, want)
			}
		}
	})
}

// Methods that refuse webhooks are called by the application, from then on at
// once.
func TestWrongAuthType(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, refresh := appPortal()
		p.RequireApp("app.info")
		w := newAppWorld(t, p, newMemory(), refresh)
		for range 2 {
			if err := w.Call(t.Context(), crm.LaneLog, "app.info", nil, nil); err != nil {
				t.Fatal(err)
			}
		}
		n := 0
		for _, r := range p.Requests() {
			if r.Method == "app.info" && r.App == "" {
				n++
			}
		}
		if n != 1 {
			t.Errorf("%d requests by the webhook, want 1", n)
		}
	})
}

// An application may be all there is.
func TestApplicationAlone(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, refresh := appPortal()
		p.AddContact(crmtest.Contact{Responsible: 61, Phones: []string{string(number)}})
		w := newAppWorld(t, p, newMemory(), refresh, func(c *crm.Config) { c.Webhook = "" })
		if got := w.found(t); len(got) != 1 {
			t.Errorf("found %+v", got)
		}
		p.ExpireTokens()
		if got := w.found(t); len(got) != 1 {
			t.Errorf("found %+v after the token expired", got)
		}
	})
}

func TestEmployeesSpeakForThemselves(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPortal(crmtest.Options{})
		p.AddWebhook(61, "own61"+canary)
		id := p.AddContact(crmtest.Contact{Responsible: 61, Phones: []string{string(number)}})
		w := newWorld(t, p, func(c *crm.Config) {
			c.Voices.Employees = map[int]crm.Webhook{61: "http://portal.test/rest/61/own61" + canary + "/"}
		})
		update := func(employee int) (author any, own bool) {
			t.Helper()
			own, err := w.As(employee).Call(t.Context(), crm.LaneLog, "crm.contact.update",
				map[string]any{"id": id, "fields": map[string]any{"NAME": "N"}}, nil)
			if err != nil {
				t.Fatal(err)
			}
			author, _ = p.Field(call.KindContact, id, "MODIFY_BY_ID")
			return author, own
		}
		if author, own := update(61); author != "61" || !own {
			t.Errorf("61 wrote as %v, own %v", author, own)
		}
		if author, own := update(62); author != "1" || own {
			t.Errorf("62 wrote as %v, own %v", author, own)
		}
		p.RevokeWebhook("own61" + canary)
		before := p.Total()
		for range 2 {
			if author, own := update(61); author != "1" || own {
				t.Errorf("61 without a webhook wrote as %v, own %v", author, own)
			}
		}
		if n := p.Total() - before; n != 3 {
			t.Errorf("%d requests, want 3: a refused webhook is not tried again", n)
		}
	})
}

func TestOfflineEvents(t *testing.T) {
	for _, extended := range []bool{false, true} {
		t.Run(fmt.Sprint(extended), func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				p, refresh := appPortal()
				populate(p, 120)
				p.SetOfflineExtended(extended)
				w := newAppWorld(t, p, newMemory(), refresh)
				m := newMirror(t, w, newMemory(), func(c *crm.MirrorConfig) { c.Every, c.Offline = time.Hour, 10*time.Second })
				runMirror(t, m)
				time.Sleep(10 * time.Minute)
				for i := range 110 {
					p.SetPhones(call.KindContact, 10+3*i, mobile(1000+i))
				}
				p.Remove(call.KindContact, 10+3*119)
				time.Sleep(time.Minute)
				for i := range 110 {
					wantWho(t, m, mobile(1000+i), contact(i))
				}
				wantWho(t, m, mobile(119))
				if n := p.OfflineEvents(); n != 0 {
					t.Errorf("%d events are still kept", n)
				}
			})
		})
	}
}

// Events that were read and not taken in come again, where the plan allows it.
func TestOfflineEventsAreConfirmed(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p, refresh := appPortal()
		populate(p, 5)
		p.SetOfflineExtended(true)
		w := newAppWorld(t, p, newMemory(), refresh)
		m := newMirror(t, w, newMemory(), func(c *crm.MirrorConfig) { c.Every, c.Offline = time.Hour, 10*time.Second })
		runMirror(t, m)
		time.Sleep(10 * time.Minute)
		p.SetFault(crmtest.Fault{Kind: crmtest.ServerError, Method: "batch"})
		p.SetPhones(call.KindContact, 10, mobile(1000))
		time.Sleep(time.Minute)
		if n := p.OfflineEvents(); n != 1 {
			t.Errorf("%d events are kept, want the one that could not be read", n)
		}
		p.Heal()
		time.Sleep(2 * time.Minute)
		wantWho(t, m, mobile(1000), contact(0))
		if n := p.OfflineEvents(); n != 0 {
			t.Errorf("%d events are still kept", n)
		}
	})
}

func eventBody(name, id, token string) string {
	return url.Values{
		"event": {name}, "data[FIELDS][ID]": {id}, "ts": {"1724697689"}, "auth[application_token]": {token},
		"auth[member_id]": {"x"}, "brand[new][key][]": {"1"},
	}.Encode()
}

func postEvent(t testing.TB, h http.Handler, body string) int {
	r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "/bitrix24/events", bytes.NewReader([]byte(body)))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w.Code
}

// quietMirror is a mirror whose portal is never asked.
func quietMirror(t testing.TB) *crm.Mirror {
	c, err := crm.New(crm.Config{Webhook: "http://127.0.0.1:1/rest/1/" + canary + "/"})
	if err != nil {
		t.Fatal(err)
	}
	s := newMemory()
	m, err := crm.NewMirror(c, crm.MirrorConfig{Cards: s, State: s})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func TestEventBodies(t *testing.T) {
	t.Parallel()
	h := quietMirror(t).Events("right", "")
	for _, c := range []struct {
		body string
		want int
	}{
		{eventBody("ONCRMCONTACTUPDATE", "82", "right"), 200},
		{eventBody("oncrmcontactupdate", "82", "right"), 200},
		{eventBody("ONCRMSOMETHINGNEW", "82", "right"), 200},
		{eventBody("ONCRMCONTACTUPDATE", "82", "wrong"), 403},
		{eventBody("ONCRMCONTACTUPDATE", "82", ""), 403},
		{eventBody("ONCRMCONTACTUPDATE", "82", "right "), 403},
		{eventBody("ONCRMCONTACTUPDATE", "-1", "right"), 400},
		{eventBody("ONCRMCONTACTUPDATE", "8x", "right"), 400},
		{eventBody("ONCRMCONTACTUPDATE", "99999999999999999999", "right"), 400},
		{eventBody("ONCRMCONTACTUPDATE", "", "right"), 200},
		{"", 400},
		{"event=%zz", 400},
		{`{"event":"ONCRMCONTACTUPDATE"}`, 400},
		{eventBody("ONCRMCONTACTUPDATE", "82", "right") + "&x=" + strings.Repeat("a", 64<<10), 400},
		{strings.Repeat("a[b]=c&", 20000), 400},
	} {
		if got := postEvent(t, h, c.body); got != c.want {
			t.Errorf("%.80s: %d, want %d", c.body, got, c.want)
		}
	}
	if got := postEvent(t, quietMirror(t).Events(), eventBody("ONCRMCONTACTUPDATE", "82", "")); got != 403 {
		t.Errorf("without any token: %d", got)
	}
	r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/?"+eventBody("ONCRMCONTACTUPDATE", "82", "right"), nil)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != http.StatusMethodNotAllowed {
		t.Errorf("GET: %d", w.Code)
	}
}

func FuzzEventBody(f *testing.F) {
	f.Add(eventBody("ONCRMCONTACTUPDATE", "82", "right"))
	f.Add(eventBody("ONUSERADD", "", "wrong"))
	f.Add("event=a&event=b&data[FIELDS][ID]=1&data[FIELDS][ID]=2&auth[application_token]=right")
	f.Add("event[]=x;data%5BFIELDS%5D%5BID%5D=%00")
	h := quietMirror(f).Events("right")
	f.Fuzz(func(t *testing.T, body string) {
		code := postEvent(t, h, body)
		given, err := url.ParseQuery(body)
		if code == http.StatusOK && (err != nil || given.Get("auth[application_token]") != "right") {
			t.Errorf("taken without the token: %q", body)
		}
		if code != 200 && code != 400 && code != 403 {
			t.Errorf("answered %d", code)
		}
	})
}

func TestReadStored(t *testing.T) {
	t.Parallel()
	for stored, want := range map[string]struct {
		number call.Number
		why    crm.Unsearchable
	}{
		"8 (916) 123-45-67":   {"+79161234567", ""},
		"+7 916 123-45-67#12": {"+79161234567", ""},
		"89161234567;12":      {"+79161234567", ""},
		"79161234567,,12":     {"+79161234567", ""},
		"9161234567":          {"+79161234567", ""},
		"007 916 123 45 67":   {"+79161234567", ""},
		"+8 916 123-45-67":    {"+79161234567", crm.UnsearchableForm}, // stays an international 8 for the portal
		"8 10 380441234567":   {"+380441234567", crm.UnsearchableForm},
		"123-45-67":           {"1234567", crm.UnsearchableShort},
		"101":                 {"101", crm.UnsearchableShort},
		"ask Ann":             {"", crm.UnsearchableText},
		"":                    {"", crm.UnsearchableText},
		"9161234567 доб. 5":   {"", crm.UnsearchableText},
	} {
		if n, why := crm.ReadStored(stored, "RU"); n != want.number || why != want.why {
			t.Errorf("%q is read as %q, %q; want %q, %q", stored, n, why, want.number, want.why)
		}
	}
}

// The request to the authorisation server has secrets in its address, which
// would go to where a redirect leads as the Referer.
func TestSecretsFollowNoRedirect(t *testing.T) {
	t.Parallel()
	var visits atomic.Int64
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { visits.Add(1) }))
	defer elsewhere.Close()
	server := httptest.NewServer(http.RedirectHandler(elsewhere.URL, http.StatusFound))
	defer server.Close()
	a, err := crm.NewApp(crm.AppConfig{
		ClientID: "local.1", ClientSecret: appSecret, Portal: server.URL, Server: server.URL,
		RefreshToken: "refresh-local", Store: crm.NewTokenStore(newMemory(), "crm/tokens"),
	})
	if err != nil {
		t.Fatal(err)
	}
	c, err := crm.New(crm.Config{Voices: crm.Voices{App: a}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	err = c.Call(t.Context(), crm.LaneLog, "app.info", nil, nil)
	if err == nil || strings.Contains(err.Error(), appSecret) || visits.Load() > 0 {
		t.Errorf("%v, %d requests went elsewhere", err, visits.Load())
	}
}
