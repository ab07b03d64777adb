package pbx_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"frontdesk/pbx"
)

func TestAddresses(t *testing.T) {
	t.Parallel()
	for address, good := range map[string]bool{
		"https://pbx.example.com":              true,
		"https://pbx.example.com:5001/":        true,
		"http://127.0.0.1:5001":                true,
		"http://[::1]:5001":                    true,
		"http://localhost:5001":                true,
		"http://pbx.example.com":               false,
		"http://127.0.0.1.example.com":         false,
		"https://u:p@pbx.example.com":          false,
		"https://pbx.example.com/xapi/v1":      false,
		"https://pbx.example.com?a=b":          false,
		"ftp://pbx.example.com":                false,
		"pbx.example.com":                      false,
		"":                                     false,
		"https://pbx.example.com/behind/a/way": true,
	} {
		_, err := pbx.NewClient(pbx.Config{URL: address, ID: "a", Secret: "b"})
		if (err == nil) != good {
			t.Errorf("%s: %v, want good=%t", address, err, good)
		}
	}
	if _, err := pbx.NewClient(pbx.Config{URL: "https://pbx.example.com", ID: "a"}); err == nil {
		t.Error("a client without a secret is made")
	}
}

func TestConfigHidesItsSecret(t *testing.T) {
	t.Parallel()
	cfg := pbx.Config{URL: "https://pbx.example.com", ID: "desk", Secret: "canary"}
	var b strings.Builder
	slog.New(slog.NewTextHandler(&b, nil)).Info("x", "cfg", cfg)
	for _, text := range []string{fmt.Sprint(cfg), fmt.Sprintf("%+v", cfg), fmt.Sprintf("%#v", cfg), b.String()} {
		if strings.Contains(text, "canary") {
			t.Errorf("the secret is shown: %s", text)
		}
	}
}

func TestOneTokenForAll(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.list("/Peers", peer(1, "101", "Extension"))
	c := f.client(t)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			if _, err := c.Peers(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := f.signIns(); n != 1 {
		t.Errorf("%d sign-ins for 20 requests at once, want 1", n)
	}
	f.kill()
	for range 20 {
		wg.Go(func() {
			if _, err := c.Peers(t.Context()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := f.signIns(); n != 2 {
		t.Errorf("%d sign-ins after the token was killed, want 2", n)
	}
	if v := c.Version(); v != "20.0.8.1109" {
		t.Errorf("version %q", v)
	}
}

// TestUnauthorizedTwice wants one retry and no more.
func TestUnauthorizedTwice(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.answer("GET /xapi/v1/Peers", http.StatusUnauthorized, nil)
	_, err := f.client(t).Peers(t.Context())
	if !errors.Is(err, pbx.ErrUnauthorized) {
		t.Errorf("error %v, want ErrUnauthorized", err)
	}
	if n := f.asked("GET /xapi/v1/Peers"); n != 2 {
		t.Errorf("asked %d times, want 2", n)
	}
}

func TestSignInRefused(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	c, err := pbx.NewClient(pbx.Config{URL: f.URL, ID: fakeID, Secret: "canary-wrong", Rate: 1000})
	if err != nil {
		t.Fatal(err)
	}
	for range 5 {
		_, err = c.Peers(t.Context())
		var e *pbx.Error
		if !errors.As(err, &e) || e.Code != "invalid_client" {
			t.Fatalf("error %v, want invalid_client", err)
		}
		f.leaks(t, err.Error()) // the fake quotes the secret
	}
	if n := f.asked("GET"); n != 0 {
		t.Errorf("asked %d times without a token", n)
	}
}

// TestLifetimes wants a token that has outlived four fifths of its time to be
// replaced, and one that has not to be kept.
func TestLifetimes(t *testing.T) {
	t.Parallel()
	jwt := func(exp time.Time) string {
		enc := base64.RawURLEncoding.EncodeToString
		return enc([]byte(`{"alg":"none"}`)) + "." + enc(fmt.Appendf(nil, `{"exp":%d,"role":"Enterprise"}`, exp.Unix())) + ".sig"
	}
	for name, c := range map[string]struct {
		token   string
		expires any
		want    time.Duration
	}{
		"minutes before 20.0.9":      {"opaque", 60, time.Hour},
		"seconds since 20.0.9":       {"opaque", 3600, time.Hour},
		"as text":                    {"opaque", "3600", time.Hour},
		"nothing":                    {"opaque", nil, time.Hour},
		"nonsense":                   {"opaque", -5, time.Hour},
		"the token knows better":     {jwt(time.Now().Add(10 * time.Minute)), 60, 10 * time.Minute},
		"over already by its exp":    {jwt(time.Now().Add(-time.Hour)), 3600, time.Hour},
		"a JWT that is none":         {"a.b.c", 60, time.Hour},
		"a very short one is spared": {jwt(time.Now().Add(time.Second)), 60, 30 * time.Second},
	} {
		if got := pbx.Lifetime(c.token, c.expires); got < c.want-2*time.Second || got > c.want+time.Second {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		status int
		body   any
		class  error
		code   string
	}{
		{403, nil, pbx.ErrForbidden, ""},
		{404, nil, pbx.ErrNotFound, ""},
		{429, nil, pbx.ErrBusy, ""},
		{500, "<html>oops</html>", pbx.ErrBusy, ""},
		{400, odataError("Number:\nWARNINGS.XAPI.ALREADY_IN_USE"), nil, "WARNINGS.XAPI.ALREADY_IN_USE"},
		{400, odataError("Tag:WARNINGS.STRING_TOO_LONG."), nil, "WARNINGS.STRING_TOO_LONG"},
		{400, odataError(""), nil, ""},
		{400, map[string]any{"error": "unauthorized", "error_description": 7}, nil, "unauthorized"},
		{400, map[string]any{"error": []int{1}}, nil, ""},
	} {
		f := newFake(t)
		f.answer("POST /xapi/v1/Contacts", c.status, c.body)
		_, err := f.client(t).CreateContact(t.Context(), pbx.Contact{})
		var e *pbx.Error
		if !errors.As(err, &e) || e.Status != c.status || e.Code != c.code {
			t.Errorf("%d %v: error %#v", c.status, c.body, err)
			continue
		}
		if c.class != nil && !errors.Is(err, c.class) {
			t.Errorf("%d: %v is not %v", c.status, err, c.class)
		}
		if strings.ContainsAny(err.Error(), "\n\r") {
			t.Errorf("an error of several lines: %q", err)
		}
	}
}

// TestErrorsHideSecrets lets 3CX quote what it was sent.
func TestErrorsHideSecrets(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.mux.HandleFunc("GET /xapi/v1/Peers", func(w http.ResponseWriter, r *http.Request) {
		refuse(w, 400, "you said "+r.Header.Get("Authorization")+" and "+fakeSecret)
	})
	_, err := f.client(t).Peers(t.Context())
	if err == nil {
		t.Fatal("no error")
	}
	f.leaks(t, err.Error())
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	t.Parallel()
	stolen := false
	thief := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { stolen = true }))
	defer thief.Close()
	f := newFake(t)
	f.mux.HandleFunc("GET /xapi/v1/Peers", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, thief.URL, http.StatusTemporaryRedirect)
	})
	_, err := f.client(t).Peers(t.Context())
	var e *pbx.Error
	if !errors.As(err, &e) || e.Status != 307 {
		t.Errorf("error %v, want the redirect", err)
	}
	if stolen {
		t.Error("the redirect was followed")
	}
}

func TestPages(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 99, 100, 101, 250} {
		f := newFake(t)
		var rows []any
		for i := range n {
			rows = append(rows, peer(i+1, fmt.Sprint(1000+i), "Extension"))
		}
		f.list("/Peers", rows...)
		peers, err := f.client(t).Peers(t.Context())
		if err != nil || len(peers) != n {
			t.Errorf("%d rows: got %d, %v", n, len(peers), err)
		}
	}
}

// TestPagesOfAnotherSize meets a server whose pages are shorter than asked for.
func TestPagesOfAnotherSize(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"count", "link", "relative link"} {
		f := newFake(t)
		page := 0
		f.mux.HandleFunc("GET /xapi/v1/Peers", func(w http.ResponseWriter, r *http.Request) {
			page++
			answer := map[string]any{"value": []any{peer(page, fmt.Sprint(100+page), "Extension")}}
			switch {
			case how == "count":
				answer["@odata.count"] = 3
			case page < 3 && how == "link":
				answer["@odata.nextLink"] = f.URL + "/xapi/v1/Peers?$skip=" + fmt.Sprint(page)
			case page < 3:
				answer["@odata.nextLink"] = "Peers?$skip=" + fmt.Sprint(page)
			}
			write(w, 200, answer)
		})
		peers, err := f.client(t).Peers(t.Context())
		if err != nil || len(peers) != 3 {
			t.Errorf("%s: %d rows, %v", how, len(peers), err)
		}
	}
}

// TestPagesWithoutEnd meets a server that does not heed $skip, and one that
// sends the client elsewhere.
func TestPagesWithoutEnd(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	var rows []any
	for i := range 100 {
		rows = append(rows, peer(i+1, fmt.Sprint(1000+i), "Extension"))
	}
	f.answer("GET /xapi/v1/Peers", 200, map[string]any{"value": rows})
	if _, err := f.client(t).Peers(t.Context()); err == nil {
		t.Error("the same page again and again is no error")
	}
	f = newFake(t)
	f.answer("GET /xapi/v1/Peers", 200, map[string]any{"value": rows, "@odata.nextLink": "https://elsewhere.example.com/"})
	if _, err := f.client(t).Peers(t.Context()); err == nil {
		t.Error("a page elsewhere is no error")
	}
	f = newFake(t)
	f.answer("GET /xapi/v1/Peers", 200, map[string]any{"rows": 1})
	if _, err := f.client(t).Peers(t.Context()); err == nil {
		t.Error("an answer without value is no error")
	}
}

// TestLooseRows reads what versions of 3CX write differently.
func TestLooseRows(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.list("/Users",
		map[string]any{"Id": "21", "Number": 101, "FirstName": nil, "IsRegistered": "true", "Enabled": nil, "CurrentProfileName": "Out of office"},
		map[string]any{"Id": 22, "Number": "102", "FirstName": "A\x00\nB", "IsRegistered": false, "Enabled": true, "QueueStatus": "LoggedOut"},
		map[string]any{"Id": 23, "Number": "103", "Enabled": false, "Extra": map[string]any{"a": 1}},
		map[string]any{"Id": 24, "Number": nil})
	users, err := f.client(t).Users(t.Context())
	if err != nil || len(users) != 3 {
		t.Fatalf("%d users, %v", len(users), err)
	}
	for i, want := range []pbx.Availability{pbx.DoNotDisturb, pbx.Unregistered, pbx.Disabled} {
		if got := users[i].Availability(); got != want {
			t.Errorf("user %s is %q, want %q", users[i].Number, got, want)
		}
	}
	if users[0].ID != 21 || users[1].FirstName != "AB" {
		t.Errorf("read as %+v", users)
	}
}

func TestCancelledWhileWaiting(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.list("/Peers")
	c, err := pbx.NewClient(pbx.Config{URL: f.URL, ID: fakeID, Secret: fakeSecret, Rate: 1})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := c.Peers(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.Peers(ctx); err == nil {
		t.Error("a cancelled request is made")
	}
}

func TestUserByNumber(t *testing.T) {
	t.Parallel()
	f := newFake(t)
	f.mux.HandleFunc("GET /xapi/v1/{call}", func(w http.ResponseWriter, r *http.Request) {
		if r.PathValue("call") == "Users(Number='101')" {
			write(w, 200, map[string]any{"Id": 21, "Number": "101"})
			return
		}
		refuse(w, 404, "WARNINGS.XAPI.NOT_FOUND")
	})
	c := f.client(t)
	if u, err := c.User(t.Context(), "101"); err != nil || u.ID != 21 {
		t.Errorf("%+v, %v", u, err)
	}
	if _, err := c.User(t.Context(), "10'1"); !errors.Is(err, pbx.ErrNotFound) {
		t.Errorf("an unknown number: %v", err)
	}

	old := newFake(t) // before 20.0.8
	old.answer("GET /xapi/v1/Users/Pbx.GetByNumber(number='101')", 200, map[string]any{"Id": 21, "Number": "101"})
	c = old.client(t)
	for range 3 {
		if u, err := c.User(t.Context(), "101"); err != nil || u.ID != 21 {
			t.Errorf("%+v, %v", u, err)
		}
	}
	if n := old.asked("GET /xapi/v1/Users(Number="); n != 1 {
		t.Errorf("the key that is not there was tried %d times, want 1", n)
	}
}
