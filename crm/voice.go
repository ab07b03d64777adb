package crm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"
)

// credential is what a request is signed with: a webhook's path, or a token of
// the OAuth application.
type credential struct {
	name string   // for pauses: "", "app", or the employee's id
	home *url.URL // a webhook; nil for the application
	app  *App
	refusals
}

// App speaks as the OAuth application, which some methods demand; ok is false
// where none is configured.
func (c *Client) App() (v Voice, ok bool) {
	if c.voices.app == nil {
		return Voice{}, false
	}
	return Voice{client: c, as: c.voices.app, authored: AuthoredSelf}, true
}

// Installer takes the portal's post to the application's install address, see
// App.Install; nil where no application is configured.
func (c *Client) Installer() http.Handler {
	if c.voices.app == nil {
		return nil
	}
	return c.voices.app.app.Install()
}

// voices are the credentials of a client.
type voices struct {
	portal    *credential // the webhook; the application where there is none
	app       *credential
	employees map[int]*credential
	appOnly   sync.Map // methods, in lower case, that refused the webhook
}

func newVoices(cfg Config) (*voices, error) {
	v := &voices{employees: make(map[int]*credential, len(cfg.Voices.Employees))}
	if cfg.Voices.App != nil {
		v.app = &credential{name: "app", app: cfg.Voices.App}
	}
	switch {
	case cfg.Webhook != "":
		home, err := parseWebhook(cfg.Webhook)
		if err != nil {
			return nil, err
		}
		v.portal = &credential{home: home}
	case v.app != nil:
		v.portal = v.app
	default:
		return nil, errors.New("neither a webhook nor an application is given")
	}
	for id, w := range cfg.Voices.Employees {
		home, err := parseWebhook(w)
		if err != nil {
			return nil, fmt.Errorf("employee %d: %w", id, err)
		}
		v.employees[id] = &credential{name: fmt.Sprint(id), home: home}
	}
	return v, nil
}

// secrets are what none of the voices may let slip.
func (v *voices) secrets() secrets {
	var out secrets
	if v.portal.home != nil {
		out = secretsOf(v.portal.home)
	}
	for _, e := range v.employees {
		out = append(out, secretsOf(e.home)...)
	}
	return out
}

// call sends one method as somebody. A method that refuses webhooks is sent
// again, and from then on, by the application.
func (c *Client) call(ctx context.Context, as *credential, lane Lane, method string, params, out any) error {
	body, err := encode(params)
	if err != nil {
		return fmt.Errorf("%s: %w", method, err)
	}
	if _, only := c.voices.appOnly.Load(strings.ToLower(method)); only {
		as = c.voices.app
	}
	if lane != LaneLookup {
		if until, ok := c.pauses.until(as.name+" "+method, time.Now()); ok {
			return fmt.Errorf("%s: %w", method, &pausedError{until})
		}
	}
	r := request{method: method, body: body, repeat: readOnly(method), as: as}
	answer, err := c.send(ctx, lane, r)
	if hasCode(err, CodeWrongAuth) && c.voices.app != nil && as != c.voices.app {
		c.onlyApp(method)
		r.as = c.voices.app
		answer, err = c.send(ctx, lane, r)
	}
	if err != nil {
		return err
	}
	if out == nil {
		return nil
	}
	return decode(method, answer.Result, out)
}

// onlyApp has a method sent by the application alone.
func (c *Client) onlyApp(method string) { c.voices.appOnly.Store(strings.ToLower(method), true) }

// signed is the request's URL and body with the credential in them, and the
// token in use, for an application.
func (c *Client) signed(ctx context.Context, r request) (base *url.URL, body []byte, token string, err error) {
	if r.as.app == nil {
		return r.as.home, r.body, "", nil
	}
	t, err := r.as.app.tokens(ctx)
	if err != nil {
		return nil, nil, "", fmt.Errorf("%s: %w", r.method, err)
	}
	base, err = r.as.app.endpoint(t)
	if err != nil {
		return nil, nil, "", fmt.Errorf("%s: %w", r.method, err)
	}
	auth, err := json.Marshal(t.Access)
	if err != nil {
		return nil, nil, "", fmt.Errorf("%s: %w", r.method, err)
	}
	body = append([]byte(`{"auth":`), auth...)
	if string(r.body) == "{}" {
		return base, append(body, '}'), t.Access, nil
	}
	body = append(body, ',')
	return base, append(body, r.body[1:]...), t.Access, nil
}

// fresh posts r, and once more with a new token where the application's has
// expired.
func (c *Client) fresh(ctx context.Context, r request) (envelope, error) {
	answer, token, err := c.post(ctx, r)
	if r.as.app == nil || token == "" || !hasCode(err, CodeExpired) {
		return answer, err
	}
	if err := r.as.app.renew(ctx, token); err != nil {
		return envelope{}, fmt.Errorf("%s: %w", r.method, err)
	}
	answer, _, err = c.post(ctx, r)
	return answer, err
}

// appTokens are the application tokens of events sent to the application.
func (c *Client) appTokens(ctx context.Context) []string {
	if c.voices.app == nil {
		return nil
	}
	t, err := c.voices.app.app.load(ctx)
	if err != nil || t.Application == "" {
		return nil
	}
	return []string{t.Application}
}

// clean makes a foreign text fit to be shown.
func (c *Client) clean(text string) string {
	if c.voices.app != nil {
		text = c.voices.app.app.clean(text)
	}
	return c.names.clean(text)
}
