package pbxtest

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"time"
)

// Client is an API client as the console makes one.
type Client struct {
	ID, Secret    string
	Role          Role // Owner if empty
	NoXAPI        bool // "XAPI Access" is not ticked
	NoCallControl bool // nor "Call Control API access"
	Monitored     []string
	Lifetime      time.Duration // of its tokens; an hour if 0
}

// session is what a client has been given. A new token ends the one before.
type session struct {
	Client
	token   string
	expires time.Time
	issued  int
}

const maxForm = 1 << 16

// serveToken is POST /connect/token, RFC 6749 section 4.4.
func (a *API) serveToken(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodPost {
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	var err error
	if strings.HasPrefix(r.Header.Get("Content-Type"), "multipart/") {
		err = r.ParseMultipartForm(maxForm)
	} else {
		err = r.ParseForm()
	}
	switch {
	case err != nil:
		writeJSON(w, http.StatusBadRequest, Row{"error": "invalid_request", "error_description": "The form cannot be read."})
	case r.PostFormValue("grant_type") != "client_credentials":
		writeJSON(w, http.StatusBadRequest, Row{"error": "unsupported_grant_type", "error_description": "The grant type is not supported."})
	default:
		out, ok := a.issue(r.PostFormValue("client_id"), r.PostFormValue("client_secret"))
		if !ok {
			writeJSON(w, http.StatusBadRequest, Row{"error": "invalid_client", "error_description": "Client authentication failed."})
			return
		}
		w.Header().Set("Cache-Control", "no-store")
		writeJSON(w, http.StatusOK, out)
	}
}

// issue gives a client a token.
func (a *API) issue(id, secret string) (Row, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	c := a.clients[id]
	if c == nil || !hmac.Equal([]byte(c.Secret), []byte(secret)) {
		return nil, false
	}
	now := a.state.now()
	c.expires, c.issued = now.Add(c.Lifetime), c.issued+1
	c.token = a.sign(c, now)
	lifetime := int(c.Lifetime / time.Minute)
	if a.state.cfg.Build >= Build9 {
		lifetime = int(c.Lifetime / time.Second)
	}
	return Row{"token_type": "Bearer", "expires_in": lifetime, "access_token": c.token, "refresh_token": nil}, true
}

// sign makes a JWT (RFC 7519), HS256.
func (a *API) sign(c *session, now time.Time) string {
	roles := []string{string(c.Role)}
	if !a.state.cfg.Licence.NoEnterprise {
		roles = append(roles, "Enterprise")
	}
	part := func(v Row) string {
		data, _ := json.Marshal(v) // of strings and numbers: it cannot fail
		return base64.RawURLEncoding.EncodeToString(data)
	}
	text := part(Row{"alg": "HS256", "typ": "at+jwt"}) + "." + part(Row{
		"iss": "https://pbx.example.com", "client_id": c.ID, "role": roles, "jti": rand.Text(),
		"nbf": now.Unix(), "iat": now.Unix(), "exp": c.expires.Unix(),
	})
	mac := hmac.New(sha256.New, a.key)
	_, _ = mac.Write([]byte(text)) // a hash never fails
	return text + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
}

// bearer is the client whose token a request shows; nil where there is none,
// another token took its place, or it has expired.
func (a *API) bearer(r *http.Request) *Client {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		token = r.URL.Query().Get("access_token")
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range a.clients {
		if token != "" && token == c.token && a.state.now().Before(c.expires) {
			out := c.Client
			return &out
		}
	}
	return nil
}

// Tokens is how many tokens a client has been given.
func (a *API) Tokens(id string) int {
	a.mu.Lock()
	defer a.mu.Unlock()
	if c := a.clients[id]; c != nil {
		return c.issued
	}
	return 0
}

// Revoke ends every client's token before its time.
func (a *API) Revoke() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, c := range a.clients {
		c.token = ""
	}
}
