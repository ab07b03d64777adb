package sip

import (
	"bytes"
	"io"
	"strings"

	"github.com/icholy/digest"
)

// tried remembers how often a request was challenged. A challenge is answered
// once, and once more where it only says that its nonce was stale.
type tried struct {
	count int
	nonce string
}

// answer is the header that answers the challenge in got, a final response to
// d. It is given only to the realm that the credentials are for.
func (t *tried) answer(c *Credentials, d *draft, got *message) (Header, bool) {
	if c == nil || got == nil {
		return Header{}, false
	}
	ask, give := "WWW-Authenticate", "Authorization"
	switch got.res.StatusCode {
	case 401:
	case 407:
		ask, give = "Proxy-Authenticate", "Proxy-Authorization"
	default:
		return Header{}, false
	}
	chal := challenge(values(got.res.Headers(), ask), c.Realm)
	if chal == nil || t.count > 1 || t.count == 1 && (!chal.Stale || chal.Nonce == t.nonce) {
		return Header{}, false
	}
	t.count++
	t.nonce = chal.Nonce
	cred, err := digest.Digest(chal, digest.Options{
		Method: string(d.method), URI: d.uri, Username: c.User, Password: c.Password, Count: 1,
		GetBody: func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(d.body)), nil },
	})
	if err != nil {
		return Header{}, false
	}
	return Header{give, cred.String()}, true
}

// challenge is the first challenge that we can answer, of realm where that is
// not empty.
func challenge(offered []string, realm string) *digest.Challenge {
	for _, v := range offered {
		c, err := digest.ParseChallenge(v)
		if err != nil || realm != "" && c.Realm != realm {
			continue
		}
		for i := range c.QOP {
			c.QOP[i] = strings.TrimSpace(c.QOP[i])
		}
		if digest.CanDigest(c) {
			return c
		}
	}
	return nil
}

// withAuth is headers with auth in place of an earlier answer.
func withAuth(headers []Header, auth Header) []Header {
	out := make([]Header, 0, len(headers)+1)
	for _, h := range headers {
		if h.Name != auth.Name {
			out = append(out, h)
		}
	}
	return append(out, auth)
}
