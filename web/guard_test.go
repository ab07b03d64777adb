package web_test

import (
	"net/http"
	"strings"
	"testing"
)

var guardedPaths = []string{"/", "/metrics", "/api/v1/calls", "/api/v1/calls/x", "/api/v1/openapi.json", "/nothing"}

func from(addr string) func(*http.Request) { return func(r *http.Request) { r.RemoteAddr = addr } }

func host(name string) func(*http.Request) { return func(r *http.Request) { r.Host = name } }

func header(name, value string) func(*http.Request) {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

func TestWithoutATokenOnlyThisMachine(t *testing.T) {
	t.Parallel()
	h := setup(t)
	for _, c := range []struct {
		name string
		edit func(*http.Request)
		code int
	}{
		{"here", from("127.0.0.1:1"), 200},
		{"all of 127/8", from("127.9.9.9:1"), 200},
		{"IPv6", from("[::1]:1"), 200},
		{"mapped", from("[::ffff:127.0.0.1]:1"), 200},
		{"elsewhere", from("192.0.2.7:1"), 403},
		{"elsewhere, IPv6", from("[2001:db8::1]:1"), 403},
		{"no address", from("@"), 403},
		{"localhost", host("localhost:8080"), 200},
		{"Localhost", host("Localhost"), 200},
		{"host IPv6", host("[::1]:8080"), 200},
		{"rebound name", host("evil.example:8080"), 403},
		{"looks local", host("localhost.evil.example"), 403},
		{"looks like an address", host("127.0.0.1.evil.example"), 403},
		{"no host", host(""), 403},
		{"address elsewhere", host("192.0.2.7"), 403},
		{"through a proxy", header("X-Forwarded-For", "192.0.2.7"), 403},
		{"through a proxy, RFC 7239", header("Forwarded", "for=192.0.2.7"), 403},
		{"a token nobody asked for", header("Authorization", "Bearer x"), 200},
	} {
		h.want(t, c.code, request("GET", "/api/v1/calls", "", c.edit))
	}
	for _, path := range guardedPaths {
		h.want(t, 403, request("GET", path, "", from("192.0.2.7:1")))
	}
	h.want(t, 403, request("POST", "/api/v1/reload", "", from("192.0.2.7:1")))
	h.want(t, 403, request("DELETE", "/api/v1/calls", "", from("192.0.2.7:1")))
	h.want(t, 200, request("GET", "/healthz", "", from("192.0.2.7:1"), host("lb.example")))
	h.want(t, 200, request("GET", "/readyz", "", from("192.0.2.7:1")))
}

func TestWithATokenFromEverywhere(t *testing.T) {
	t.Parallel()
	h := setup(t, withToken)
	good := header("Authorization", "Bearer canary-token-5f2a")
	for _, path := range guardedPaths {
		if w := h.do(request("GET", path, "")); w.Code != 401 || !strings.HasPrefix(w.Header().Get("WWW-Authenticate"), "Bearer") {
			t.Errorf("%s from here without the token: %d %v", path, w.Code, w.Header())
		}
		if w := h.do(request("GET", path, "", good, from("192.0.2.7:1"), host("fd.example"))); w.Code == 401 || w.Code == 403 {
			t.Errorf("%s with the token from elsewhere: %d", path, w.Code)
		}
	}
	for _, bad := range []string{
		"", "Bearer", "Bearer ", "Bearer canary-token-5f2", "Bearer canary-token-5f2aa", "Basic canary-token-5f2a", "canary-token-5f2a", "Bearer CANARY-TOKEN-5F2A",
	} {
		h.want(t, 401, request("POST", "/api/v1/reload", "", header("Authorization", bad)))
	}
	h.want(t, 200, request("POST", "/api/v1/reload", "", header("Authorization", "bearer canary-token-5f2a")))
	h.want(t, 401, request("GET", "/api/v1/calls?token=canary-token-5f2a", ""))
	h.want(t, 200, request("GET", "/healthz", ""))
}

// TestTheTokenIsNeverShown looks for the token in everything the server says.
func TestTheTokenIsNeverShown(t *testing.T) {
	t.Parallel()
	h := setup(t, withToken)
	good := header("Authorization", "Bearer canary-token-5f2a")
	var said strings.Builder
	for _, path := range append(guardedPaths, "/healthz", "/readyz") {
		for _, edit := range []func(*http.Request){good, header("Authorization", "Bearer wrong")} {
			for _, method := range []string{"GET", "POST"} {
				w := h.do(request(method, path, "{", edit))
				said.WriteString(w.Body.String())
				if err := w.Header().Write(&said); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	h.broken = http.ErrBodyNotAllowed
	said.WriteString(h.want(t, 500, request("POST", "/api/v1/reload", "", good)))
	said.WriteString(h.log.String())
	if strings.Contains(said.String(), "canary") {
		t.Errorf("the token is shown:\n%s", said.String())
	}
}

func TestCrossOriginWritesAreRefused(t *testing.T) {
	t.Parallel()
	h := setup(t)
	for _, edit := range []func(*http.Request){
		header("Sec-Fetch-Site", "cross-site"),
		header("Sec-Fetch-Site", "same-site"),
		header("Origin", "https://evil.example"),
		header("Origin", "null"),
	} {
		h.want(t, 403, request("POST", "/api/v1/reload", "", edit))
	}
	h.want(t, 200, request("POST", "/api/v1/reload", "", header("Sec-Fetch-Site", "same-origin")))
	h.want(t, 200, request("POST", "/api/v1/reload", "", header("Origin", "http://127.0.0.1:8080")))
}

func TestSetToken(t *testing.T) {
	t.Parallel()
	h := setup(t, withToken)
	old, fresh := header("Authorization", "Bearer canary-token-5f2a"), header("Authorization", "Bearer another")
	h.SetToken("another")
	h.want(t, 401, request("GET", "/api/v1/calls", "", old))
	h.want(t, 200, request("GET", "/api/v1/calls", "", fresh, from("192.0.2.7:1")))
	h.SetToken("")
	h.want(t, 200, request("GET", "/api/v1/calls", ""))
	h.want(t, 403, request("GET", "/api/v1/calls", "", fresh, from("192.0.2.7:1")))
}
