package crmtest

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// App is a local application of the portal.
type App struct {
	ID, Secret string // client_id and client_secret
	User       int    // who installed it: whose rights it has; 0: 1
	Token      string // application_token of its events; "": made up
}

// apps are the applications of a portal, their tokens, and what they are told.
type apps struct {
	known    map[string]App    // by id
	access   map[string]grant  // by access token
	refresh  map[string]string // refresh token to application
	issued   int
	renewals int
	only     map[string]bool // methods that refuse webhooks
	extended bool            // offline events may be confirmed
	hooks    hooks
	offline  offline
}

// grant is what an access token is good for.
type grant struct {
	app     string
	expires time.Time
}

// tokenLife is how long an access token is good.
const tokenLife = time.Hour

// AddApp installs an application and returns its first refresh token. Each is
// good for one renewal.
func (p *Portal) AddApp(a App) (refresh string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if a.User == 0 {
		a.User = 1
	}
	if a.Token == "" {
		a.Token = "apptoken-" + a.ID
	}
	if p.apps.known == nil {
		p.apps.known, p.apps.access, p.apps.refresh = map[string]App{}, map[string]grant{}, map[string]string{}
	}
	p.apps.known[a.ID] = a
	_, refresh = p.issue(a.ID)
	return refresh
}

// issue makes a pair of tokens. mu is held.
func (p *Portal) issue(app string) (access, refresh string) {
	p.apps.issued++
	n := strconv.Itoa(p.apps.issued)
	access, refresh = "access-"+app+"-"+n, "refresh-"+app+"-"+n
	p.apps.access[access] = grant{app, p.now().Add(tokenLife)}
	p.apps.refresh[refresh] = app
	return access, refresh
}

// ExpireTokens ends the life of all access tokens.
func (p *Portal) ExpireTokens() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for t, g := range p.apps.access {
		g.expires = p.now()
		p.apps.access[t] = g
	}
}

// RevokeApp makes all tokens of an application worthless.
func (p *Portal) RevokeApp(id string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	maps.DeleteFunc(p.apps.access, func(_ string, g grant) bool { return g.app == id })
	maps.DeleteFunc(p.apps.refresh, func(_, app string) bool { return app == id })
}

// Renewals is how often tokens were renewed.
func (p *Portal) Renewals() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.apps.renewals
}

// RequireApp makes methods refuse webhooks with WRONG_AUTH_TYPE.
func (p *Portal) RequireApp(methods ...string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.apps.only == nil {
		p.apps.only = map[string]bool{}
	}
	for _, m := range methods {
		p.apps.only[strings.ToLower(m)] = true
	}
}

// tokenFault is the name under which faults may single out the authorisation
// server.
const tokenFault = "oauth.token"

// token is the authorisation server, /oauth/token/.
func (p *Portal) token(w http.ResponseWriter, r *http.Request, body []byte) {
	f := p.fault(Request{Method: tokenFault})
	if f.Latency > 0 && !p.hold(r, f.Latency) || p.misbehave(w, r, f) {
		return
	}
	form := r.URL.Query()
	if post, err := url.ParseQuery(string(body)); err == nil {
		for k, v := range post {
			form[k] = v
		}
	}
	refuse := func(status int, code string) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		_, _ = fmt.Fprintf(w, `{"error":%q,"error_description":"sandbox"}`, code) // a client that has gone needs no answer
	}
	if fail := f.failure(); fail != nil {
		refuse(fail.Status, fail.Code)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	a, ok := p.apps.known[form.Get("client_id")]
	old := form.Get("refresh_token")
	switch {
	case form.Get("grant_type") != "refresh_token":
		refuse(http.StatusBadRequest, "invalid_request")
	case !ok || a.Secret != form.Get("client_secret"):
		refuse(http.StatusUnauthorized, "invalid_client")
	case p.apps.refresh[old] != a.ID:
		refuse(http.StatusBadRequest, "invalid_grant")
	default:
		delete(p.apps.refresh, old)
		p.apps.renewals++
		access, refresh := p.issue(a.ID)
		writeJSON(w, map[string]any{
			"access_token": access, "refresh_token": refresh, "expires": p.now().Add(tokenLife).Unix(),
			"expires_in": int(tokenLife.Seconds()), "client_endpoint": baseOf(r) + "/rest/",
			"server_endpoint": baseOf(r) + "/rest/", "member_id": member, "scope": "crm,telephony,user", "status": "L", "user_id": a.User,
		})
	}
}

// member is the portal's id.
const member = "5a0db0b7sandbox"

func baseOf(r *http.Request) string {
	if r.TLS != nil {
		return "https://" + r.Host
	}
	return "http://" + r.Host
}

// bearer is whose access token it is, and of which application.
func (p *Portal) bearer(token string) (user int, app string, fail *Failure) {
	p.mu.Lock()
	defer p.mu.Unlock()
	g, ok := p.apps.access[token]
	switch {
	case !ok:
		return 0, "", &Failure{401, "NO_AUTH_FOUND", "Wrong authorization data"}
	case !p.now().Before(g.expires):
		return 0, "", Fault{Kind: Expired}.failure()
	}
	return p.apps.known[g.app].User, g.app, nil
}

// Install posts ONAPPINSTALL for an application to its install address, and
// returns the status of the answer. portal is the portal's own address.
func (p *Portal) Install(ctx context.Context, c *http.Client, id, portal, address string) (int, error) {
	p.mu.Lock()
	access, refresh := p.issue(id)
	form := url.Values{
		"event": {"ONAPPINSTALL"}, "event_handler_id": {""}, "data[VERSION]": {"1"}, "data[ACTIVE]": {"Y"},
		"data[INSTALLED]": {"Y"}, "data[LANGUAGE_ID]": {"ru"}, "ts": {strconv.FormatInt(p.now().Unix(), 10)},
		"auth[access_token]": {access}, "auth[refresh_token]": {refresh}, "auth[expires_in]": {"3600"},
		"auth[client_endpoint]": {portal + "/rest/"}, "auth[server_endpoint]": {"https://oauth.bitrix.info/rest/"},
		"auth[member_id]": {member}, "auth[status]": {"L"}, "auth[application_token]": {p.apps.known[id].Token},
	}
	p.mu.Unlock()
	return post(ctx, c, address, form)
}

// post sends a form and returns the status of the answer.
func post(ctx context.Context, c *http.Client, address string, form url.Values) (int, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, strings.NewReader(form.Encode()))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("User-Agent", "Bitrix24 Webhook Engine")
	res, err := c.Do(req)
	if err != nil {
		return 0, err
	}
	defer func() { _ = res.Body.Close() }() // nothing is lost by a failed close of a read body
	if _, err := io.Copy(io.Discard, io.LimitReader(res.Body, maxBody)); err != nil {
		return 0, err
	}
	return res.StatusCode, nil
}
