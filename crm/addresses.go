package crm

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"frontdesk/call"
)

const (
	// addressTries is how often a batch of addresses is asked for: a list of
	// an hour is not given up for a moment's failure.
	addressTries = 5
	addressRetry = 5 * time.Second // before the second try, doubling
)

// addressSections are the lists that an address book is made of, with the
// fields it shows. Companies come first: contacts show their names.
func (c *Client) addressSections() []section {
	names := map[call.Kind][]string{
		call.KindCompany: {"ID", "TITLE", "PHONE", "EMAIL"},
		call.KindContact: {"ID", "NAME", "LAST_NAME", "POST", "COMPANY_ID", "PHONE", "EMAIL"},
		call.KindLead:    {"ID", "TITLE", "NAME", "LAST_NAME", "POST", "COMPANY_TITLE", "COMPANY_ID", "STATUS_SEMANTIC_ID", "PHONE", "EMAIL"},
	}
	var out []section
	for _, k := range []call.Kind{call.KindCompany, call.KindContact, call.KindLead} {
		s := section{kind: k, method: "crm." + string(k) + ".list", fields: url.Values{"start": {"-1"}}}
		for i, name := range names[k] {
			s.fields.Set("select["+strconv.Itoa(i)+"]", name)
		}
		out = append(out, s)
	}
	return out
}

// Addresses tells f what an address book shows of every company, contact and
// lead, also of those without a number, until f fails. It takes what callers
// leave of the portal's limits: 500 entities a request. An error means that
// not all were told.
func (c *Client) Addresses(ctx context.Context, f func(call.Address) error) error {
	companies := map[int]string{}
	var r resting
	for _, s := range c.addressSections() {
		if err := c.addressesOf(ctx, &r, s, companies, f); err != nil {
			return fmt.Errorf("reading the addresses of each %s: %w", s.kind, err)
		}
	}
	return nil
}

// addressesOf goes through one kind. companies are the names of all companies,
// which the walk through them fills in.
func (c *Client) addressesOf(ctx context.Context, r *resting, s section, companies map[int]string, f func(call.Address) error) error {
	ask := func(commands []command) (FlexObject, error) { return c.persistently(ctx, r, commands) }
	w := s.cards(0)
	for !w.end {
		rows, err := w.next(ctx, c, ask)
		if err != nil {
			return err
		}
		for _, raw := range rows {
			a, err := c.address(s, raw, companies)
			if err != nil {
				return err
			}
			if s.kind == call.KindCompany {
				companies[a.ID] = a.Company
			}
			if err := f(a); err != nil {
				return err
			}
		}
	}
	return c.ended(s, w, ask)
}

// ended wants the last entity of a walk to be the last of its kind: a page that
// the portal gave short, or empty, looks like the end.
func (c *Client) ended(s section, w *walk, ask func([]command) (FlexObject, error)) error {
	params := url.Values{"select[0]": {"ID"}, "start": {"-1"}, "order[ID]": {"DESC"}, "filter[>ID]": {strconv.Itoa(w.after)}}
	results, err := ask([]command{newCommand("last", s.method, params)})
	if err != nil {
		return err
	}
	rows, err := c.rows(s, results["last"])
	if err == nil && len(rows) >= pageRows {
		return errVanished // fewer are those that were made meanwhile
	}
	return err
}

// persistently asks again after a failure that may pass.
func (c *Client) persistently(ctx context.Context, r *resting, commands []command) (FlexObject, error) {
	for try := 1; ; try++ {
		results, _, err := c.politely(ctx, r, DefaultOperating, commands)
		if err == nil || try == addressTries || !passing(err) || tooMuch(err) || ctx.Err() != nil {
			return results, err
		}
		if err := sleep(ctx, addressRetry<<(try-1)); err != nil {
			return nil, err
		}
	}
}

// passing reports whether a failure is one of the moment: what the portal says
// of rights and parameters it will say again.
func passing(err error) bool {
	var e *Error
	if errors.As(err, &e) {
		return e.Status >= 500 || e.Code == CodeQueryLimit || e.Code == CodeOperationTime
	}
	return !errors.Is(err, errShape)
}

// AddressesOf tells what an address book shows of some entities of one kind, 50
// at the most, as they are now. Those that are gone or that may not be read are
// left out.
func (c *Client) AddressesOf(ctx context.Context, kind call.Kind, ids ...int) ([]call.Address, error) {
	if len(ids) == 0 || len(ids) > pageRows {
		return nil, fmt.Errorf("reading the addresses of %d entities: %w", len(ids), errCount)
	}
	sections := c.addressSections()
	at := slices.IndexFunc(sections, func(s section) bool { return s.kind == kind })
	if at < 0 {
		return nil, fmt.Errorf("reading addresses: %q is no kind of entity", kind)
	}
	var r resting
	rows, err := c.readAddresses(ctx, &r, sections[at], ids)
	if err != nil {
		return nil, fmt.Errorf("reading the address of a %s: %w", kind, err)
	}
	companies, err := c.companiesOf(ctx, &r, sections[0], rows)
	if err != nil {
		return nil, fmt.Errorf("reading the company of a %s: %w", kind, err)
	}
	var out []call.Address
	for _, raw := range rows {
		a, err := c.address(sections[at], raw, companies)
		if err != nil {
			return nil, err
		}
		if slices.Contains(ids, a.ID) { // a portal that drops the filter shows strangers
			out = append(out, a)
		}
	}
	return out, nil
}

var errCount = errors.New("want 1 to 50")

func (c *Client) readAddresses(ctx context.Context, r *resting, s section, ids []int) ([]rawRow, error) {
	params := copyValues(s.fields)
	for i, id := range ids {
		params.Set("filter[@ID]["+strconv.Itoa(i)+"]", strconv.Itoa(id))
	}
	results, _, err := c.politely(ctx, r, DefaultOperating, []command{newCommand("a", s.method, params)})
	if err != nil {
		return nil, err
	}
	return c.rows(s, results["a"])
}

// companiesOf are the names of the companies that rows refer to.
func (c *Client) companiesOf(ctx context.Context, r *resting, companies section, rows []rawRow) (map[int]string, error) {
	var ids []int
	for _, raw := range rows {
		fr := fieldReader{raw: raw, where: "COMPANY_ID"}
		if id := fr.number("COMPANY_ID"); id > 0 && !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	if len(ids) == 0 {
		return nil, nil
	}
	found, err := c.readAddresses(ctx, r, companies, ids)
	if err != nil {
		return nil, err
	}
	out := map[int]string{}
	for _, raw := range found {
		a, err := c.address(companies, raw, nil)
		if err != nil {
			return nil, err
		}
		out[a.ID] = a.Company
	}
	return out, nil
}

// address reads one row. A lead that names nobody is called by its title.
func (c *Client) address(s section, raw rawRow, companies map[int]string) (call.Address, error) {
	id, err := raw.id(s)
	if err != nil {
		return call.Address{}, err
	}
	r := fieldReader{raw: raw, where: fmt.Sprintf("%s %d", s.kind, id)}
	out := call.Address{
		Kind: s.kind, ID: id, FirstName: plain(r.text("NAME")), LastName: plain(r.text("LAST_NAME")), Title: plain(r.text("POST")),
		Company: plain(r.text("COMPANY_TITLE")), Mail: r.mail(), Phones: r.typedPhones(c.cfg.Country),
	}
	if name, ok := companies[r.number("COMPANY_ID")]; ok && out.Company == "" {
		out.Company = name
	}
	switch s.kind {
	case call.KindCompany:
		out.Company = plain(r.text("TITLE"))
	case call.KindLead:
		semantics := r.text("STATUS_SEMANTIC_ID")
		out.Closed = semantics == "S" || semantics == "F"
		if out.FirstName+out.LastName == "" {
			out.LastName = plain(r.text("TITLE"))
		}
	}
	return out, r.err
}

func (r *fieldReader) number(field string) int {
	v, _ := r.value(field)
	n, err := toInt(v)
	r.fail(field, err)
	return n
}

// multi is a value of a field that may have several.
type multi struct {
	Value json.RawMessage `json:"VALUE"`
	Type  json.RawMessage `json:"VALUE_TYPE"`
}

func (r *fieldReader) multi(field string) []multi {
	raw, ok := r.raw[field]
	if !ok || !present(raw) || string(raw) == "false" {
		return nil
	}
	var list []multi
	r.fail(field, json.Unmarshal(raw, &list))
	return list
}

// mail is the first address that looks like one.
func (r *fieldReader) mail() string {
	for _, m := range r.multi("EMAIL") {
		if s := strings.TrimSpace(text(m.Value)); strings.Count(s, "@") == 1 && plain(s) == s {
			return s
		}
	}
	return ""
}

// typedPhones are the numbers that can be called from anywhere.
func (r *fieldReader) typedPhones(country string) []call.Phone {
	var out []call.Phone
	for _, m := range r.multi("PHONE") {
		if n := readStored(text(m.Value), country); n.E164() {
			out = append(out, call.Phone{Number: n, Kind: phoneKind(text(m.Type))})
		}
	}
	return out
}

func phoneKind(valueType string) call.PhoneKind {
	switch strings.ToUpper(valueType) {
	case "MOBILE":
		return call.PhoneMobile
	case "WORK":
		return call.PhoneWork
	case "HOME":
		return call.PhoneHome
	case "FAX":
		return call.PhoneFax
	case "PAGER":
		return call.PhonePager
	}
	return call.PhoneOther // MAILING, OTHER, and what a portal may add
}
