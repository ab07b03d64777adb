package pbx_test

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"frontdesk/call"
	"frontdesk/pbx"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
)

// shelf is a store of values.
type shelf struct {
	mu     sync.Mutex
	values map[string][]byte
	broken error
	puts   int
}

func (s *shelf) Get(_ context.Context, key string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken != nil {
		return nil, s.broken
	}
	v, ok := s.values[key]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return v, nil
}

func (s *shelf) Put(_ context.Context, key string, value []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken != nil {
		return s.broken
	}
	if s.values == nil {
		s.values = map[string][]byte{}
	}
	s.values[key] = value
	s.puts++
	return nil
}

func (s *shelf) set(err error) {
	s.mu.Lock()
	s.broken = err
	s.mu.Unlock()
}

// exchange is a PBX's lists.
type exchange struct {
	mu       sync.Mutex
	peers    []pbx.Peer
	users    []pbx.User
	peersErr error
	usersErr error
}

func (e *exchange) Peers(context.Context) ([]pbx.Peer, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.peers, e.peersErr
}

func (e *exchange) Users(context.Context) ([]pbx.User, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.users, e.usersErr
}

func (e *exchange) change(do func()) {
	e.mu.Lock()
	do()
	e.mu.Unlock()
}

func peers(kinds ...string) []pbx.Peer {
	var out []pbx.Peer
	for i := 0; i < len(kinds); i += 2 {
		out = append(out, pbx.Peer{Number: call.Extension(kinds[i]), Type: kinds[i+1]})
	}
	return out
}

var errDown = errors.New("down")

func TestDirectory(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		static := call.Numbers{Extensions: call.Ranges{"100-199"}}
		e, s := &exchange{peersErr: errDown}, &shelf{}
		var changes []call.Numbers
		d := pbx.NewDirectory(pbx.DirectoryConfig{
			Lister: e, Static: static, Store: s, Refresh: time.Minute,
			Changed: func(n call.Numbers) { changes = append(changes, n) },
		})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- d.Run(ctx) }()
		wait := func(after time.Duration) {
			time.Sleep(after) // of the bubble
			synctest.Wait()
		}
		want := func(what string, n call.Numbers) {
			t.Helper()
			if diff := cmp.Diff(n, d.Numbers()); diff != "" {
				t.Errorf("%s: %s", what, diff)
			}
		}
		wait(0)
		want("a PBX that never answered", static)

		first := call.Numbers{Extensions: call.Ranges{"101", "102"}, Queues: call.Ranges{"800", "810", "820"}}
		e.change(func() {
			e.peersErr = nil
			e.peers = peers("800", "Queue", "102", "Extension", "101", "Extension", "810", "RingGroup", "820", "IVR",
				"10000", "ExternalLine", "FAX01", "Fax", "900", "Fax", "*4", "SpecialMenu", "101", "Extension")
		})
		wait(time.Minute)
		want("a first list", first)

		e.change(func() { e.peers = nil })
		wait(time.Minute)
		want("an empty list", first)
		e.change(func() { e.peers = peers("800", "Queue") })
		wait(time.Minute)
		want("a list without extensions", first)
		e.change(func() { e.peersErr = errDown })
		wait(time.Hour)
		want("an outage", first)
		if len(changes) != 1 {
			t.Errorf("%d changes, want 1", len(changes))
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}

		again := pbx.NewDirectory(pbx.DirectoryConfig{Lister: e, Static: static, Store: s, Changed: func(n call.Numbers) { changes = append(changes, n) }})
		if err := again.Load(t.Context()); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff(first, again.Numbers()); diff != "" {
			t.Errorf("after a restart during the outage: %s", diff)
		}
		if len(changes) != 2 {
			t.Errorf("the loaded list is not told")
		}
	})
}

// TestDirectoryWithoutStore meets a store that cannot be reached: the list is
// kept once it can, and an old one is found once it can.
func TestDirectoryWithoutStore(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		e, s := &exchange{peers: peers("101", "Extension")}, &shelf{broken: errDown}
		d := pbx.NewDirectory(pbx.DirectoryConfig{Lister: e, Store: s})
		if err := d.Load(t.Context()); !errors.Is(err, errDown) {
			t.Errorf("loading: %v", err)
		}
		if err := d.Refresh(t.Context()); !errors.Is(err, errDown) || !d.Numbers().Has("101") {
			t.Errorf("a list that cannot be kept: %v, %v", err, d.Numbers())
		}
		s.set(nil)
		for range 3 {
			if err := d.Refresh(t.Context()); err != nil {
				t.Error(err)
			}
		}
		var kept call.Numbers
		if err := json.Unmarshal(s.values["pbx/numbers"], &kept); err != nil || !kept.Has("101") || s.puts != 1 {
			t.Errorf("kept %v %v in %d writes", kept, err, s.puts)
		}

		e.change(func() { e.peersErr = errDown })
		s.set(errDown)
		late := pbx.NewDirectory(pbx.DirectoryConfig{Lister: e, Store: s, Refresh: time.Minute})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = late.Run(ctx)
		}()
		synctest.Wait()
		s.set(nil)
		time.Sleep(time.Minute) // of the bubble
		synctest.Wait()
		if !late.Numbers().Has("101") {
			t.Error("the last list is not found once the store is there")
		}
		cancel()
		<-done
	})
}

func TestBrokenState(t *testing.T) {
	t.Parallel()
	for _, value := range []string{"", "null", "{}", "not json", `{"extensions":[]}`} {
		s := &shelf{values: map[string][]byte{"pbx/numbers": []byte(value)}}
		static := call.Numbers{Extensions: call.Ranges{"100-199"}}
		d := pbx.NewDirectory(pbx.DirectoryConfig{Lister: &exchange{}, Static: static, Store: s})
		_ = d.Load(t.Context()) // an error or not, nothing is lost
		if !d.Numbers().Has("101") {
			t.Errorf("%q replaced the static list", value)
		}
	}
}

func TestAvailable(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		yes, no := true, false
		user := func(ext call.Extension, registered *bool, profile string, enabled bool) pbx.User {
			return pbx.User{Number: ext, Registered: registered, Profile: profile, Enabled: enabled}
		}
		e := &exchange{peers: peers("101", "Extension"), users: []pbx.User{
			user("101", &yes, "Available", true), user("102", &no, "Available", true), user("103", &yes, "Out of office", true),
			user("104", &yes, "Away", true), user("105", nil, "", true), user("106", &yes, "", false), user("107", &yes, "Do Not Disturb", true),
		}}
		d := pbx.NewDirectory(pbx.DirectoryConfig{Lister: e, Refresh: time.Minute})
		if d.Unavailable() != nil {
			t.Error("known before it was read")
		}
		if err := d.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		for i, want := range []pbx.Availability{
			pbx.Available, pbx.Unregistered, pbx.DoNotDisturb, pbx.Available, "", pbx.Disabled, pbx.DoNotDisturb,
		} {
			if got := e.users[i].Availability(); got != want {
				t.Errorf("%s is %q, want %q", e.users[i].Number, got, want)
			}
		}
		want := map[call.Extension]string{"102": "not registered", "103": "do not disturb", "106": "disabled", "107": "do not disturb"}
		if diff := cmp.Diff(want, d.Unavailable()); diff != "" {
			t.Error(diff)
		}
		e.change(func() { e.usersErr = errDown })
		if err := d.Refresh(t.Context()); !errors.Is(err, errDown) {
			t.Error(err)
		}
		if d.Unavailable()["102"] == "" {
			t.Error("one failure forgets the state")
		}
		time.Sleep(4 * time.Minute) // of the bubble
		if d.Unavailable() != nil {
			t.Error("old news is believed")
		}
		if !d.Numbers().Has("101") {
			t.Error("the numbers are lost with the users")
		}
	})
}

func TestDirectoryMetrics(t *testing.T) {
	t.Parallel()
	r := prometheus.NewRegistry()
	f := newFake(t)
	c := f.client(t)
	d := pbx.NewDirectory(pbx.DirectoryConfig{Lister: c})
	r.MustRegister(append(append(c.Collectors(), d.Collectors()...), pbx.NewCallControl(pbx.CallControlConfig{Client: c}).Collectors()...)...)
	if err := d.Refresh(t.Context()); !errors.Is(err, pbx.ErrNotFound) {
		t.Error(err)
	}
	got, err := r.Gather()
	if err != nil || len(got) < 9 {
		t.Errorf("%d metrics, %v", len(got), err)
	}
}
