package crm_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"frontdesk/call"
	"frontdesk/crm"
	"frontdesk/crm/crmtest"
)

// addresses reads all.
func addresses(t testing.TB, w *world) []call.Address {
	t.Helper()
	var out []call.Address
	if err := w.Addresses(t.Context(), func(a call.Address) error { out = append(out, a); return nil }); err != nil {
		t.Fatal(err)
	}
	return out
}

// offices is a portal with one of everything.
func offices() *crmtest.Portal {
	p := newPortal(crmtest.Options{})
	p.AddCompany(crmtest.Company{ID: 7, Title: "ООО\tРомашка", Phones: []string{"8 (495) 765-43-21", "+7 495 765 43 22", "101"},
		Card: crmtest.Card{Kinds: []string{"WORK", "FAX"}, Mails: []string{"not an address", "info@romashka.ru"}}})
	p.AddContact(crmtest.Contact{ID: 12, Name: "Анна", LastName: "Орлова", Company: 7, Phones: []string{"89161234567,12", "+44 20 7946 0958", "звонить вечером"},
		Card: crmtest.Card{Kinds: []string{"MOBILE", "HOME"}, Post: "CFO", Mails: []string{"a@romashka.ru"}}})
	p.AddContact(crmtest.Contact{ID: 13, Name: "Никто"})
	p.AddContact(crmtest.Contact{ID: 14, Name: "Скрытый", Hidden: true, Phones: []string{"+79160000014"}})
	p.AddLead(crmtest.Lead{ID: 20, Title: "Звонок с +79160000020", Phones: []string{"+79160000020"}, Card: crmtest.Card{Kinds: []string{"MAILING"}}})
	p.AddLead(crmtest.Lead{ID: 21, Title: "L", Name: "Пётр", Company: 7, Semantics: "F", Phones: []string{"+79160000021"}, Card: crmtest.Card{CompanyTitle: "ИП Пётр"}})
	return p
}

func wantAddresses() map[string]call.Address {
	company := call.Address{Kind: call.KindCompany, ID: 7, Company: "ООО Ромашка", Mail: "info@romashka.ru", Phones: []call.Phone{
		{Number: "+74957654321", Kind: call.PhoneWork}, {Number: "+74957654322", Kind: call.PhoneFax}}}
	anna := call.Address{Kind: call.KindContact, ID: 12, FirstName: "Анна", LastName: "Орлова", Company: "ООО Ромашка", Title: "CFO", Mail: "a@romashka.ru",
		Phones: []call.Phone{{Number: "+79161234567", Kind: call.PhoneMobile}, {Number: "+442079460958", Kind: call.PhoneHome}}}
	return map[string]call.Address{
		"company": company, "anna": anna,
		"nobody": {Kind: call.KindContact, ID: 13, FirstName: "Никто"},
		"lead": {Kind: call.KindLead, ID: 20, LastName: "Звонок с +79160000020",
			Phones: []call.Phone{{Number: "+79160000020", Kind: call.PhoneOther}}},
		"junk": {Kind: call.KindLead, ID: 21, FirstName: "Пётр", Company: "ИП Пётр", Closed: true,
			Phones: []call.Phone{{Number: "+79160000021", Kind: call.PhoneWork}}},
	}
}

func TestAddresses(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, offices())
		want := wantAddresses()
		got := addresses(t, w)
		if diff := cmp.Diff([]call.Address{want["company"], want["anna"], want["nobody"], want["lead"], want["junk"]}, got); diff != "" {
			t.Errorf("addresses (-want +got):\n%s", diff)
		}
	})
}

func TestAddressesOf(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, offices())
		want := wantAddresses()
		for _, c := range []struct {
			kind call.Kind
			ids  []int
			want []call.Address
		}{
			{call.KindContact, []int{12, 14, 99, 13}, []call.Address{want["anna"], want["nobody"]}},
			{call.KindCompany, []int{7}, []call.Address{want["company"]}},
			{call.KindLead, []int{21}, []call.Address{want["junk"]}},
			{call.KindLead, []int{99}, nil},
		} {
			got, err := w.AddressesOf(t.Context(), c.kind, c.ids...)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%s %v (-want +got):\n%s", c.kind, c.ids, diff)
			}
		}
		for _, err := range []error{
			func() error { _, err := w.AddressesOf(t.Context(), call.KindLead); return err }(),
			func() error { _, err := w.AddressesOf(t.Context(), call.KindLead, make([]int, 51)...); return err }(),
			func() error { _, err := w.AddressesOf(t.Context(), "deal", 1); return err }(),
		} {
			if err == nil {
				t.Error("no error")
			}
		}
	})
}

func TestAddressesInPages(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPortal(crmtest.Options{})
		const contacts = 1001 // two full batches and a bit
		for id := 1; id <= contacts; id++ {
			p.AddContact(crmtest.Contact{ID: 3 * id, Name: "C", Phones: []string{fmt.Sprintf("+7916%07d", id)}})
		}
		w := newWorld(t, p)
		got := addresses(t, w)
		for i, a := range got {
			if a.ID != 3*(i+1) {
				t.Fatalf("address %d is of contact %d", i, a.ID)
			}
		}
		if len(got) != contacts {
			t.Errorf("%d addresses, want %d", len(got), contacts)
		}
		if n := p.Total(); n != 1+1+3+1+1+1 { // each kind, and whether that was all
			t.Errorf("%d requests", n)
		}
	})
}

func TestAddressesSurviveAMomentsFailure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := offices()
		w := newWorld(t, p)
		p.SetFault(crmtest.Fault{Kind: crmtest.ServerError})
		time.AfterFunc(12*time.Second, p.Heal)
		if n := len(addresses(t, w)); n != 5 {
			t.Errorf("%d addresses", n)
		}
	})
}

func TestAddressesWithoutRights(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := offices()
		w := newWorld(t, p)
		p.SetScopes(1, "user")
		began := time.Now()
		err := w.Addresses(t.Context(), func(call.Address) error { return nil })
		if err == nil || time.Since(began) > time.Second {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		enough := errors.New("enough")
		p.SetScopes(1, "crm")
		if err := w.Addresses(t.Context(), func(call.Address) error { return enough }); !errors.Is(err, enough) {
			t.Errorf("whoever listens had enough: %v", err)
		}
	})
}

// liar answers the first page of contacts with nothing.
type liar struct{ http.RoundTripper }

func (l liar) RoundTrip(r *http.Request) (*http.Response, error) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	if !strings.Contains(string(body), `"p0":"crm.contact.list`) {
		return l.RoundTripper.RoundTrip(r)
	}
	var results []string
	for i := range 10 {
		results = append(results, fmt.Sprintf(`"p%d":[]`, i))
	}
	return &http.Response{
		StatusCode: 200, Status: "200 OK", Header: http.Header{"Content-Type": {"application/json"}}, Request: r,
		Body: io.NopCloser(strings.NewReader(`{"result":{"result":{` + strings.Join(results, ",") + `},"result_error":[]},"time":{}}`)),
	}, nil
}

// TestAddressesAreNotBelievedToHaveVanished: an answer without rows is not the
// end of a list that has more.
func TestAddressesAreNotBelievedToHaveVanished(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		p := newPortal(crmtest.Options{})
		for range 60 {
			p.AddContact(crmtest.Contact{Name: "C"})
		}
		w := newWorld(t, p, func(c *crm.Config) { c.Transport = liar{c.Transport} })
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		if err := w.Addresses(ctx, func(call.Address) error { return nil }); err == nil {
			t.Error("sixty contacts are gone, and nobody wonders")
		}
	})
}
