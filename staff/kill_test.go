package staff_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"frontdesk/call"
	"frontdesk/staff"
	"frontdesk/store"
	"frontdesk/store/storetest"
)

// The environment of a child: what it works on.
const (
	childStore  = "FRONTDESK_STAFF_TEST_STORE"
	childPortal = "FRONTDESK_STAFF_TEST_PORTAL"
	childMail   = "FRONTDESK_STAFF_TEST_MAIL"
)

// child is a process that ends temporary managers until it is killed.
func child(dsn string) error {
	ctx := context.Background()
	s, err := store.Open(ctx, dsn, store.Options{})
	if err != nil {
		return err
	}
	m, err := staff.NewMailer(staff.MailConfig{URL: os.Getenv(childMail), From: "frontdesk@example.com"})
	if err != nil {
		return err
	}
	d := distant(os.Getenv(childPortal))
	x, err := staff.NewExpirer(staff.ExpirerConfig{Every: 200 * time.Millisecond, Deputies: d, Desk: d, Post: m, Jobs: s, Notes: s})
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.Run(ctx) })
	g.Go(func() error { return x.Run(ctx) })
	return g.Wait()
}

// distant is an office at the other end of HTTP.
type distant string

// answer is what an office says.
type answer struct {
	Entities []call.Entity
	Found    bool
	Employee call.Employee
	Address  string
}

func (d distant) ask(ctx context.Context, what string, e call.Entity) (answer, error) {
	var a answer
	body, err := json.Marshal(e)
	if err != nil {
		return a, err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, string(d)+"/"+what, bytes.NewReader(body))
	if err != nil {
		return a, err
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return a, err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		return a, fmt.Errorf("%s: %s", what, res.Status)
	}
	return a, json.NewDecoder(res.Body).Decode(&a)
}

func (d distant) Ended(ctx context.Context, _ time.Time) ([]call.Entity, error) {
	a, err := d.ask(ctx, "ended", call.Entity{})
	return a.Entities, err
}

func (d distant) Entity(ctx context.Context, k call.Kind, id int) (call.Entity, bool, error) {
	a, err := d.ask(ctx, "entity", call.Entity{Kind: k, ID: id})
	if err != nil {
		return call.Entity{}, false, err
	}
	return a.Entities[0], a.Found, nil
}

func (d distant) Clear(ctx context.Context, e call.Entity) (call.Entity, error) {
	a, err := d.ask(ctx, "clear", e)
	if err != nil {
		return call.Entity{}, err
	}
	return a.Entities[0], nil
}

func (d distant) Employee(ctx context.Context, id int) (call.Employee, string, error) {
	a, err := d.ask(ctx, "employee", call.Entity{ID: id})
	return a.Employee, a.Address, err
}

// distance serves an office; after is told of each answer before it is sent.
func distance(o *office, after func(what string)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var e, now call.Entity
		var a answer
		err := json.NewDecoder(r.Body).Decode(&e)
		switch what := r.URL.Path[1:]; {
		case err != nil:
		case what == "ended":
			a.Entities, err = o.Ended(r.Context(), time.Now())
		case what == "entity":
			now, a.Found, err = o.Entity(r.Context(), e.Kind, e.ID)
			a.Entities = []call.Entity{now}
		case what == "clear":
			now, err = o.Clear(r.Context(), e)
			a.Entities = []call.Entity{now}
		default:
			a.Employee, a.Address, err = o.Employee(r.Context(), e.ID)
		}
		after(r.URL.Path[1:])
		if err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		_ = json.NewEncoder(w).Encode(a) // a client that was killed needs no answer
	})
}

// victim is a process that is killed when it has come to a point.
type victim struct {
	mu    sync.Mutex
	point string
	left  int // times that the point is passed before
	cmd   *exec.Cmd
	dead  chan struct{}
}

// at kills the process if it is at its point.
func (v *victim) at(point string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.point != point {
		return
	}
	if v.left--; v.left < 0 {
		v.point = ""
		_ = v.cmd.Process.Kill() // SIGKILL; Wait tells whether
		close(v.dead)
	}
}

// start runs a child on an SQLite file.
func (v *victim) start(t *testing.T, env ...string) (output *bytes.Buffer) {
	t.Helper()
	v.mu.Lock()
	defer v.mu.Unlock()
	output = &bytes.Buffer{}
	v.cmd = exec.Command(os.Args[0])
	v.cmd.Env = append(os.Environ(), env...)
	v.cmd.Stderr = output
	if err := v.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return output
}

// The process is killed with SIGKILL at each step it can be seen at, and started
// again on the same SQLite file: the fields are cleared once, everybody is
// mailed, and nobody twice but where the mail server had taken a mail that the
// process never heard of; that one comes again as the same mail.
func TestKilledAtEachStep(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		point string
		pass  int
		twice int // mails that may come again
	}{
		{"entity", 0, 0}, {"clear", 0, 0}, {"employee", 1, 0}, {"RCPT", 0, 0}, {"DATA", 0, 0}, {"END", 0, 1}, {"TAKEN", 0, 1}, {"RCPT", 1, 0}, {"TAKEN", 1, 1},
	} {
		t.Run(fmt.Sprintf("%s %d", c.point, c.pass+1), func(t *testing.T) {
			t.Parallel()
			v := &victim{point: c.point, left: c.pass, dead: make(chan struct{})}
			o := newOffice(call.Entity{ID: 1, Name: "Client", Responsible: 1, Temporary: 5, Until: time.Now().Add(-time.Minute)})
			portal := httptest.NewServer(distance(o, v.at))
			defer portal.Close()
			taken := make(chan struct{}, 16)
			mails := newSMTP(t, func(s *smtpServer) {
				s.reply = func(verb, _ string) string {
					v.at(verb)
					if verb == "QUIT" {
						taken <- struct{}{} // a mail that somebody heard was taken
					}
					return ""
				}
			})
			env := []string{
				childStore + "=sqlite:" + filepath.Join(t.TempDir(), "frontdesk.db"),
				childPortal + "=" + portal.URL, childMail + "=smtp://" + mails.addr(),
			}
			out := v.start(t, env...)
			select {
			case <-v.dead:
			case <-time.After(time.Minute):
				t.Error("the point was not reached")
				_ = v.cmd.Process.Kill()
			}
			_ = v.cmd.Wait() // killed
			before := mails.seen()

			out2 := v.start(t, env...)
			defer func() {
				_ = v.cmd.Process.Kill()
				_ = v.cmd.Wait()
				if t.Failed() {
					t.Logf("killed after %s\nfirst:\n%s\nsecond:\n%s", before, out, out2)
				}
			}()
			waitFor(t, func() bool {
				ids := map[string]bool{}
				for _, l := range mails.taken() {
					ids[l.to] = true
				}
				return len(ids) == 2
			})
			<-taken
			checkTold(t, o, mails, c.twice)
		})
	}
}

// checkTold wants one clearing, and one mail each but for twice again.
func checkTold(t *testing.T, o *office, mails *smtpServer, twice int) {
	t.Helper()
	if e := o.entity(1); o.cleared() != 1 || e.Temporary != 0 || !e.Until.IsZero() {
		t.Errorf("cleared %d times: %+v", o.cleared(), e)
	}
	ids := map[string]int{}
	for _, l := range mails.taken() {
		ids[l.to+" "+l.header.Get("Message-ID")]++
	}
	again := 0
	for _, n := range ids {
		again += n - 1
	}
	if len(ids) != 2 || again > twice {
		t.Errorf("mails %v", ids)
	}
}

// waitFor waits until a condition holds.
func waitFor(t *testing.T, holds func() bool) {
	t.Helper()
	limit := time.After(time.Minute)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !holds() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatal("waited in vain")
		}
	}
}

// serving is a node: a store with a book and an expirer, all running.
type serving struct {
	store *store.Store
	book  *staff.Book
}

func serve(t *testing.T, dsn, name string, o *office, p *postbox) *serving {
	t.Helper()
	s, err := store.Open(t.Context(), dsn, store.Options{Node: name})
	if err != nil {
		t.Fatal(err)
	}
	x, err := staff.NewExpirer(staff.ExpirerConfig{Every: 200 * time.Millisecond, Deputies: o, Desk: o, Post: p, Jobs: s, Notes: s})
	if err != nil {
		t.Fatal(err)
	}
	b := newBook(on(s, true))
	ctx, cancel := context.WithCancel(context.Background())
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.Run(ctx) })
	g.Go(func() error { return x.Run(ctx) })
	g.Go(func() error { return b.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		if err := g.Wait(); err != nil {
			t.Error(err)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return &serving{s, b}
}

// Two nodes on one PostgreSQL share bindings and do each end once.
func TestTwoNodesOnPostgreSQL(t *testing.T) {
	t.Parallel()
	dsn := storetest.Postgres(t)
	o, p := newOffice(), &postbox{}
	for i := 1; i <= 5; i++ {
		o.set(func(o *office) {
			o.entities[i] = call.Entity{Kind: call.KindContact, ID: i, Name: "Client", Responsible: 1, Temporary: 5, Until: time.Now().Add(-time.Minute)}
		})
	}
	a, b := serve(t, dsn, "a", o, p), serve(t, dsn, "b", o, p)
	a.book.Ended(in("207"))
	waitFor(t, func() bool { return employee(b.book) == 7 && len(p.to()) >= 10 })
	b.book.Ended(in("201"))
	waitFor(t, func() bool { return employee(a.book) == 1 })

	ids := map[string]int{}
	mails, _ := p.all()
	for _, m := range mails {
		ids[m.ID]++
	}
	if len(ids) != 10 || len(mails) != 10 || o.cleared() != 5 {
		t.Errorf("cleared %d times, mails %v", o.cleared(), ids)
	}
}

// A binding survives a restart on SQLite as it was.
func TestRestartOnSQLite(t *testing.T) {
	t.Parallel()
	dsn := "sqlite:" + filepath.Join(t.TempDir(), "frontdesk.db")
	var was *call.Sticky
	for round := range 2 {
		s, err := store.Open(t.Context(), dsn, store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		b := newBook(on(s, false))
		stop := runBook(b)
		if round == 0 {
			b.Ended(in("205"))
			was = b.Sticky(client, time.Now().Round(0))
		}
		waitFor(t, func() bool { return employee(b) == 5 })
		is := b.Sticky(client, time.Now().Round(0))
		if diff := is.Until.Sub(was.Until).Abs(); diff > 100*time.Millisecond {
			t.Errorf("ends %v, was %v: %s", is.Until, was.Until, cmp.Diff(is, was))
		}
		stop()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
