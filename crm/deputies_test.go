package crm_test

import (
	"bytes"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"frontdesk/call"
	"frontdesk/crm"
	"frontdesk/crm/crmtest"
)

const (
	tempManager = "UF_CRM_FD_TEMP_MANAGER"
	tempUntil   = "UF_CRM_FD_TEMP_UNTIL"
)

// deputised is a contact with a temporary manager until a time as text.
func deputised(p *crmtest.Portal, until any) int {
	return p.AddContact(crmtest.Contact{
		Name: "Ann", Responsible: 61, Phones: []string{"+79161234567"},
		Fields: map[string]any{tempManager: "62", tempUntil: until},
	})
}

func TestEndedDeputies(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPortal(crmtest.Options{})
		now := time.Now()
		at := func(d time.Duration) string { return now.Add(d).Format(time.RFC3339) }
		past := deputised(p, at(-time.Minute))
		exactly := deputised(p, at(0))
		deputised(p, at(time.Second))
		deputised(p, at(26*time.Hour))
		deputised(p, "")
		deputised(p, nil)
		elsewhere := deputised(p, now.Add(-time.Hour).In(time.FixedZone("", 9*3600)).Format(time.RFC3339))
		lead := p.AddLead(crmtest.Lead{Title: "Call", Responsible: 61, Fields: map[string]any{tempUntil: at(-time.Hour)}})
		w := newWorld(t, p)

		var got []int
		found, err := crm.NewDeputies(w.Client).Ended(t.Context(), now)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range found {
			got = append(got, e.ID)
		}
		if diff := cmp.Diff([]int{past, exactly, elsewhere, lead}, got); diff != "" {
			t.Error(diff)
		}
		if n := p.Total(); n != 1 {
			t.Errorf("%d requests, want 1", n)
		}
	})
}

func TestEndedDeputiesOfManyPages(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPortal(crmtest.Options{})
		for range 120 {
			deputised(p, time.Now().Add(-time.Hour).Format(time.RFC3339))
			deputised(p, time.Now().Add(time.Hour).Format(time.RFC3339)) // listed for other zones' sake, not ended
		}
		w := newWorld(t, p)
		found, err := crm.NewDeputies(w.Client).Ended(t.Context(), time.Now())
		if err != nil || len(found) != 120 {
			t.Errorf("%d found, %v; want 120", len(found), err)
		}
	})
}

// deaf is a transport to a portal that does not see one parameter, as when a
// filter names a field that does not exist.
type deaf struct {
	http.RoundTripper
	parameter string
}

func (d deaf) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	r = r.Clone(r.Context())
	body = bytes.ReplaceAll(body, []byte(url.QueryEscape(d.parameter)), []byte("x"))
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	return d.RoundTripper.RoundTrip(r)
}

// The whole CRM must not be read every half minute because a field is missing.
func TestUnfilteredListIsNotReadToItsEnd(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPortal(crmtest.Options{})
		for range 200 {
			p.AddContact(crmtest.Contact{Name: "Ann", Fields: map[string]any{tempUntil: time.Now().Add(999 * time.Hour).Format(time.RFC3339)}})
		}
		w := newWorld(t, p, func(c *crm.Config) {
			c.Transport = deaf{c.Transport, "filter[<=" + tempUntil + "]"}
		})
		_, err := crm.NewDeputies(w.Client).Ended(t.Context(), time.Now())
		if err == nil || !strings.Contains(err.Error(), "not filtered by "+tempUntil) || p.Total() != 1 {
			t.Errorf("%v after %d requests", err, p.Total())
		}
	})
}

func TestNoLimitFieldNoDeputies(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPortal(crmtest.Options{})
		w := newWorld(t, p, func(c *crm.Config) { c.Fields.Until = "" })
		found, err := crm.NewDeputies(w.Client).Ended(t.Context(), time.Now())
		if err != nil || found != nil || p.Total() != 0 {
			t.Errorf("%v, %v after %d requests", found, err, p.Total())
		}
	})
}

func TestClearDeputy(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPortal(crmtest.Options{})
		id := deputised(p, time.Now().Format(time.RFC3339))
		w := newWorld(t, p)
		d := crm.NewDeputies(w.Client)
		e, found, err := d.Entity(t.Context(), call.KindContact, id)
		if err != nil || !found || e.Temporary != 62 || !e.Until.Equal(time.Now()) {
			t.Fatalf("%+v, %v, %v", e, found, err)
		}
		after, err := d.Clear(t.Context(), e)
		if err != nil || after.Temporary != 0 || !after.Until.IsZero() || after.Responsible != 61 {
			t.Errorf("afterwards %+v, %v", after, err)
		}
		for _, code := range []string{tempManager, tempUntil} {
			if v, _ := p.Field(call.KindContact, id, code); v != "" {
				t.Errorf("%s is %v", code, v)
			}
		}
		if v, _ := p.Field(call.KindContact, id, "ASSIGNED_BY_ID"); v != "61" {
			t.Errorf("the responsible is %v", v)
		}
	})
}

// Between reading and clearing somebody prolongs: theirs stays.
func TestClearRespectsAChange(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPortal(crmtest.Options{})
		id := deputised(p, time.Now().Format(time.RFC3339))
		w := newWorld(t, p)
		d := crm.NewDeputies(w.Client)
		e, _, err := d.Entity(t.Context(), call.KindContact, id)
		if err != nil {
			t.Fatal(err)
		}
		longer := time.Now().Add(time.Hour)
		p.SetField(call.KindContact, id, tempUntil, longer.Format(time.RFC3339))
		after, err := d.Clear(t.Context(), e)
		if err != nil || after.Temporary != 62 || !after.Until.Equal(longer) {
			t.Errorf("afterwards %+v, %v", after, err)
		}
		if now, _, err := d.Entity(t.Context(), call.KindContact, id); err != nil || !now.Until.Equal(longer) || now.Temporary != 62 {
			t.Errorf("the portal has %+v, %v", now, err)
		}
	})
}

func TestDeputyOfWhatIsNotThere(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPortal(crmtest.Options{})
		hidden := p.AddContact(crmtest.Contact{Name: "Secret", Hidden: true})
		w := newWorld(t, p)
		d := crm.NewDeputies(w.Client)
		if e, found, err := d.Entity(t.Context(), call.KindLead, 4711); found || err != nil {
			t.Errorf("a lead that is not there: %+v, %v, %v", e, found, err)
		}
		if _, _, err := d.Entity(t.Context(), call.KindContact, hidden); err == nil {
			t.Error("what may not be read is taken for gone")
		}
		if _, err := d.Clear(t.Context(), call.Entity{Kind: call.KindContact, ID: hidden}); err == nil {
			t.Error("what may not be read is cleared")
		}
		p.SetFault(crmtest.Fault{Kind: crmtest.HTML})
		if _, _, err := d.Entity(t.Context(), call.KindLead, 4711); err == nil {
			t.Error("a page of HTML is taken for gone")
		}
	})
}

func TestMailboxOfEmployee(t *testing.T) {
	bubble(t, func(t *testing.T) {
		p := newPortal(crmtest.Options{})
		p.AddUser(crmtest.User{ID: 7, FirstName: "Olga", LastName: "R", Extension: "207", Email: "olga@example.com", Dismissed: true})
		w := newWorld(t, p)
		d := crm.NewDeputies(w.Client)
		e, address, err := d.Employee(t.Context(), 7)
		want := call.Employee{ID: 7, FirstName: "Olga", LastName: "R", Extension: "207", Dismissed: true}
		if diff := cmp.Diff(want, e); err != nil || address != "olga@example.com" || diff != "" {
			t.Errorf("%q, %v %s", address, err, diff)
		}
		if e, address, err := d.Employee(t.Context(), 4711); e.ID != 0 || address != "" || err != nil {
			t.Errorf("a stranger: %+v, %q, %v", e, address, err)
		}
	})
}
