package crm

import (
	"bytes"
	"cmp"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"
)

// DefaultAuthServer is where tokens of Bitrix24 applications are renewed.
const DefaultAuthServer = "https://oauth.bitrix.info"

var (
	errNoTokens = errors.New("the application is not installed: no tokens are known")
	errGrant    = errors.New("the application's tokens are not accepted any more: install it again")
	errClaimed  = errors.New("the application's tokens are being renewed elsewhere")
	errPortal   = errors.New("the tokens are of another portal")
)

// Tokens are what an OAuth application speaks to its portal with. They print
// without themselves.
type Tokens struct {
	Access      string `json:"access"`
	Refresh     string `json:"refresh"`
	Endpoint    string `json:"endpoint"`              // of REST, as https://example.bitrix24.ru/rest/
	Member      string `json:"member,omitempty"`      // the portal's id
	Application string `json:"application,omitempty"` // what events of the portal carry

	// Claim is who is renewing the tokens, and until when nobody else may, in
	// Unix seconds: a refresh token is good for one renewal.
	Claim      string `json:"claim,omitempty"`
	ClaimUntil int64  `json:"claim_until,omitempty"`
}

// String hides the tokens.
func (t Tokens) String() string { return "[tokens]" }

// GoString hides the tokens under %#v too.
func (t Tokens) GoString() string { return "[tokens]" }

// LogValue hides the tokens in logs.
func (t Tokens) LogValue() slog.Value { return slog.StringValue("[tokens]") }

// TokenStore keeps the tokens of an application, for all nodes.
type TokenStore interface {
	// Load gives the tokens; the zero Tokens where there are none.
	Load(ctx context.Context) (Tokens, error)
	// Save stores tokens where old are there still, and tells whether it did.
	Save(ctx context.Context, old, tokens Tokens) (bool, error)
}

// NewTokenStore keeps tokens in a StateStore, under a key.
func NewTokenStore(s StateStore, key string) TokenStore { return &stateTokens{s, key} }

type stateTokens struct {
	state StateStore
	key   string
}

// Load reads the tokens.
func (s *stateTokens) Load(ctx context.Context) (Tokens, error) {
	t, _, err := s.read(ctx)
	return t, err
}

// read gives the tokens, and how they are stored; nil where nothing is.
func (s *stateTokens) read(ctx context.Context) (t Tokens, raw []byte, err error) {
	raw, err = s.state.Get(ctx, s.key)
	if errors.Is(err, fs.ErrNotExist) {
		return t, nil, nil
	}
	if err != nil {
		return t, nil, err
	}
	return t, raw, json.Unmarshal(raw, &t)
}

// Save replaces old tokens.
func (s *stateTokens) Save(ctx context.Context, old, tokens Tokens) (bool, error) {
	now, raw, err := s.read(ctx)
	if err != nil || now != old {
		return false, err
	}
	after, err := json.Marshal(tokens)
	if err != nil {
		return false, err
	}
	return s.state.CompareAndPut(ctx, s.key, raw, after)
}

// AppConfig is what an App needs.
type AppConfig struct {
	ClientID, ClientSecret string
	Portal                 string // https://example.bitrix24.ru; tokens of another are refused
	RefreshToken           string // the first one, where the application is not installed by its callback
	Store                  TokenStore
	Server                 string            // "": DefaultAuthServer
	Transport              http.RoundTripper // nil: http.DefaultTransport
	Logger                 *slog.Logger      // nil: discarded
}

// App is a local application of the portal, "server, uses API only". Its access
// token lives an hour and is renewed when the portal says that it has expired,
// by one process at a time: the others wait and take what it got. Both tokens
// of a pair are stored at once. It is safe for concurrent use.
type App struct {
	cfg    AppConfig
	portal *url.URL
	http   *http.Client
	log    *slog.Logger

	now        atomic.Pointer[Tokens] // as last seen in the store
	renewing   chan struct{}          // held by who renews
	installing chan struct{}          // held by who installs
}

// NewApp makes an application. It does not reach for anything.
func NewApp(cfg AppConfig) (*App, error) {
	portal, err := url.Parse(cfg.Portal)
	switch {
	case err != nil || portal.Host == "" || portal.Scheme != "http" && portal.Scheme != "https":
		return nil, errors.New("the application's portal is no http:// or https:// address")
	case cfg.ClientID == "" || cfg.ClientSecret == "":
		return nil, errors.New("the application has no id or no secret")
	case cfg.Store == nil:
		return nil, errors.New("the application's tokens have no store")
	}
	cfg.Server = strings.TrimSuffix(cmp.Or(cfg.Server, DefaultAuthServer), "/")
	a := &App{
		cfg: cfg, portal: portal, log: cmp.Or(cfg.Logger, slog.New(slog.DiscardHandler)),
		http: &http.Client{
			Transport: cfg.Transport,
			// The address, which would go along as the Referer, is a secret.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		renewing: make(chan struct{}, 1), installing: make(chan struct{}, 1),
	}
	return a, nil
}

// load gives the tokens as last seen, or as stored.
func (a *App) load(ctx context.Context) (Tokens, error) {
	if t := a.now.Load(); t != nil {
		return *t, nil
	}
	return a.reload(ctx)
}

func (a *App) reload(ctx context.Context) (Tokens, error) {
	t, err := a.cfg.Store.Load(ctx)
	if err != nil {
		return t, fmt.Errorf("loading the application's tokens: %w", err)
	}
	if t.Access != "" {
		a.now.Store(&t)
	}
	return t, nil
}

// tokens gives tokens to speak with; the first ones are fetched.
func (a *App) tokens(ctx context.Context) (Tokens, error) {
	t, err := a.load(ctx)
	if err != nil || t.Access != "" {
		return t, err
	}
	if err := a.renew(ctx, ""); err != nil {
		return Tokens{}, err
	}
	return a.load(ctx)
}

// endpoint is where REST is spoken with t.
func (a *App) endpoint(t Tokens) (*url.URL, error) {
	u, err := url.Parse(t.Endpoint)
	if err != nil || u.Host == "" || u.Scheme != "https" && u.Scheme != a.portal.Scheme {
		return nil, fmt.Errorf("%w: no endpoint for the application's tokens", errShape)
	}
	if !strings.HasSuffix(u.Path, "/") {
		u.Path += "/"
	}
	return u, nil
}

// Timing of a renewal.
const (
	claimFor     = 20 * time.Second // a process that dies while renewing holds up the others for so long
	renewTimeout = 10 * time.Second
	claimPoll    = 200 * time.Millisecond
)

// renew replaces the tokens whose access token has expired. Where others did so
// already, or are doing it, theirs are taken.
func (a *App) renew(ctx context.Context, expired string) error {
	select {
	case a.renewing <- struct{}{}:
		defer func() { <-a.renewing }()
	case <-ctx.Done():
		return ctx.Err()
	}
	for {
		t, err := a.reload(ctx)
		if err != nil {
			return err
		}
		if t.Access != "" && t.Access != expired {
			return nil
		}
		if t.Refresh == "" && a.cfg.RefreshToken == "" {
			return errNoTokens
		}
		if t.Claim != "" && time.Now().Unix() < t.ClaimUntil {
			if err := sleep(ctx, claimPoll); err != nil {
				return fmt.Errorf("%w: %w", errClaimed, err)
			}
			continue
		}
		claimed := t
		claimed.Claim, claimed.ClaimUntil = rand.Text(), time.Now().Add(claimFor).Unix()
		ok, err := a.cfg.Store.Save(ctx, t, claimed)
		if err != nil {
			return fmt.Errorf("claiming the application's tokens: %w", err)
		}
		if ok {
			return a.replace(context.WithoutCancel(ctx), claimed)
		}
		if err := sleep(ctx, claimPoll); err != nil {
			return fmt.Errorf("%w: %w", errClaimed, err)
		}
	}
}

// replace renews claimed tokens. Once the answer is there the old pair may be
// worth nothing, so neither the caller's leaving nor a slow store ends it.
func (a *App) replace(ctx context.Context, claimed Tokens) error {
	ctx, cancel := context.WithTimeout(ctx, claimFor-time.Second)
	defer cancel()
	fresh, err := a.exchange(ctx, claimed)
	if err != nil {
		released := claimed
		released.Claim, released.ClaimUntil = "", 0
		if _, e := a.cfg.Store.Save(ctx, claimed, released); e != nil {
			err = errors.Join(err, e)
		}
		return err
	}
	ok, err := a.cfg.Store.Save(ctx, claimed, fresh)
	if err != nil {
		return fmt.Errorf("saving the application's tokens: %w", err)
	}
	if !ok { // the application was installed anew meanwhile
		_, err = a.reload(ctx)
		return err
	}
	a.now.Store(&fresh)
	a.log.InfoContext(ctx, "the application's tokens were renewed")
	return nil
}

// exchange gets new tokens for old ones; where the stored refresh token is not
// accepted, the configured one is tried, which somebody may have put there for
// that.
func (a *App) exchange(ctx context.Context, old Tokens) (Tokens, error) {
	ctx, cancel := context.WithTimeout(ctx, renewTimeout)
	defer cancel()
	refresh := cmp.Or(old.Refresh, a.cfg.RefreshToken)
	t, err := a.ask(ctx, refresh)
	if errors.Is(err, errGrant) && a.cfg.RefreshToken != "" && a.cfg.RefreshToken != refresh {
		t, err = a.ask(ctx, a.cfg.RefreshToken)
	}
	if err != nil {
		return Tokens{}, err
	}
	t.Application = old.Application
	t.Member = cmp.Or(t.Member, old.Member)
	t.Endpoint = cmp.Or(t.Endpoint, old.Endpoint, strings.TrimSuffix(a.cfg.Portal, "/")+"/rest/")
	return t, nil
}

// ask is one request to the authorisation server. Its URL is a secret.
func (a *App) ask(ctx context.Context, refresh string) (Tokens, error) {
	query := url.Values{
		"grant_type": {"refresh_token"}, "client_id": {a.cfg.ClientID}, "client_secret": {a.cfg.ClientSecret},
		"refresh_token": {refresh},
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, a.cfg.Server+"/oauth/token/?"+query.Encode(), nil)
	if err != nil {
		return Tokens{}, errors.New("the authorisation server has no usable address")
	}
	res, err := a.http.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err
		}
		return Tokens{}, fmt.Errorf("renewing the application's tokens: %w", err)
	}
	defer func() { _ = res.Body.Close() }() // nothing is lost by a failed close of a read body
	var answer struct {
		Access   string          `json:"access_token"`
		Refresh  string          `json:"refresh_token"`
		Endpoint string          `json:"client_endpoint"`
		Member   string          `json:"member_id"`
		Error    json.RawMessage `json:"error"`
	}
	data, err := io.ReadAll(io.LimitReader(res.Body, maxEvent))
	if err != nil {
		return Tokens{}, fmt.Errorf("renewing the application's tokens: %w", err)
	}
	err = json.Unmarshal(data, &answer)
	switch code := text(answer.Error); {
	case err != nil:
		return Tokens{}, fmt.Errorf("renewing the application's tokens: %w (status %d)", errNotJSON, res.StatusCode)
	case strings.EqualFold(code, "invalid_grant"):
		return Tokens{}, errGrant
	case code != "" || res.StatusCode != http.StatusOK:
		return Tokens{}, fmt.Errorf("renewing the application's tokens: the authorisation server answered %d %s",
			res.StatusCode, a.clean(code))
	case answer.Access == "" || answer.Refresh == "":
		return Tokens{}, fmt.Errorf("renewing the application's tokens: %w", errShape)
	}
	return Tokens{Access: answer.Access, Refresh: answer.Refresh, Endpoint: answer.Endpoint, Member: answer.Member}, nil
}

// clean takes the application's secrets out of a foreign text.
func (a *App) clean(text string) string {
	s := secrets{a.cfg.ClientSecret, a.cfg.RefreshToken}
	if t := a.now.Load(); t != nil {
		s = append(s, t.Access, t.Refresh, t.Application)
	}
	return s.clean(text)
}

// Install takes the portal's post to the application's install address,
// ONAPPINSTALL. Anybody may post there: what counts is that the authorisation
// server renews the tokens in it, for this application and this portal.
func (a *App) Install() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		select {
		case a.installing <- struct{}{}:
			defer func() { <-a.installing }()
		default:
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxEvent))
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		form, err := url.ParseQuery(string(bytes.TrimSpace(body)))
		if err != nil || form.Get("auth[refresh_token]") == "" || !strings.EqualFold(form.Get("event"), "ONAPPINSTALL") {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		if err := a.install(r.Context(), form.Get("auth[refresh_token]"), form.Get("auth[application_token]")); err != nil {
			a.log.WarnContext(r.Context(), "an installation of the application was refused", "error", err)
			w.WriteHeader(http.StatusForbidden)
		}
	})
}

func (a *App) install(ctx context.Context, refresh, application string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), renewTimeout)
	defer cancel()
	t, err := a.ask(ctx, refresh)
	if err != nil {
		return err
	}
	end, err := a.endpoint(t)
	if err != nil {
		return err
	}
	if !strings.EqualFold(end.Host, a.portal.Host) {
		return errPortal
	}
	t.Application = application
	for range 5 {
		old, err := a.cfg.Store.Load(ctx)
		if err != nil {
			return err
		}
		ok, err := a.cfg.Store.Save(ctx, old, t)
		if err != nil {
			return err
		}
		if ok {
			a.now.Store(&t)
			a.log.InfoContext(ctx, "the application was installed")
			return nil
		}
	}
	return errClaimed
}
