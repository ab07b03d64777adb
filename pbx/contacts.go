package pbx

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
)

// Contact is an entry of 3CX's address book. 3CX wants a name or a company, and
// a number, and compares numbers as they are written.
type Contact struct {
	ID int `json:"-"`
	Person
	Phones
	Email string
	Tag   string // ours to mark entries with
	Type  string `json:"-"` // where it is from: 3CX, CRM, Google, M365; Company or Personal before 20.0.9
}

// Person is whom a contact is.
type Person struct {
	FirstName   string
	LastName    string
	CompanyName string
	Department  string
	Title       string
}

// Phones are a contact's numbers.
type Phones struct {
	PhoneNumber string // mobile
	Mobile2     string
	Home        string
	Business    string
	Business2   string
	BusinessFax string
	Other       string
	Pager       string
}

// Contacts gives every contact to each, which may end it with an error. Contacts
// that are created or deleted meanwhile may come twice or not at all.
func (c *Client) Contacts(ctx context.Context, each func(Contact) error) error {
	return c.contacts(ctx, "contacts", query{"$count", "true"}, each)
}

// FindContacts are the contacts with an id, if it is not 0, or with a Tag.
func (c *Client) FindContacts(ctx context.Context, id int, tag string) ([]Contact, error) {
	filter := "Tag eq " + quote(tag)
	if id > 0 {
		filter = "Id eq " + strconv.Itoa(id) + " or " + filter
	}
	var out []Contact
	err := c.contacts(ctx, "find contacts", query{"$filter", filter}, func(contact Contact) error {
		if contact.ID == id || contact.Tag == tag { // a version that does not know the filter shows strangers
			out = append(out, contact)
		}
		return nil
	})
	return out, err
}

func (c *Client) contacts(ctx context.Context, name string, q query, each func(Contact) error) error {
	q = append(query{
		"$select", "Id,FirstName,LastName,CompanyName,Department,Title,PhoneNumber,Mobile2,Home,Business,Business2,BusinessFax,Other,Pager,Email,Tag,ContactType",
		"$orderby", "Id",
	}, q...)
	return c.list(ctx, name, "/Contacts", q, func(raw json.RawMessage) error {
		contact, err := readContact(raw)
		if err != nil {
			return err
		}
		return each(contact)
	})
}

// readContact reads a row in which every field may be null or a number.
func readContact(raw json.RawMessage) (Contact, error) {
	var w struct {
		ID, Email, Tag, ContactType loose
		contactPersonWire
		contactPhonesWire
	}
	if json.Unmarshal(raw, &w) != nil {
		return Contact{}, fmt.Errorf("contacts: %w", errShape)
	}
	p, n := w.contactPersonWire, w.contactPhonesWire
	return Contact{
		ID:     w.ID.int(),
		Person: Person{p.FirstName.text(), p.LastName.text(), p.CompanyName.text(), p.Department.text(), p.Title.text()},
		Phones: Phones{
			n.PhoneNumber.text(), n.Mobile2.text(), n.Home.text(), n.Business.text(),
			n.Business2.text(), n.BusinessFax.text(), n.Other.text(), n.Pager.text(),
		},
		Email: w.Email.text(), Tag: w.Tag.text(), Type: w.ContactType.text(),
	}, nil
}

type contactPersonWire struct{ FirstName, LastName, CompanyName, Department, Title loose }

type contactPhonesWire struct {
	PhoneNumber, Mobile2, Home, Business, Business2, BusinessFax, Other, Pager loose
}

// CreateContact adds a contact and is its id. The error's Code tells what 3CX
// misses: CONTACTS_SPECIFY_NAME_SURNAME_COMPANY, CONTACTS_SPECIFY_PHONE_NUMBER,
// STRING_TOO_LONG, LIMIT_REACHED, each behind WARNINGS.
func (c *Client) CreateContact(ctx context.Context, contact Contact) (int, error) {
	const name = "create contact"
	var created struct{ ID loose }
	if err := c.call(ctx, request{name: name, method: http.MethodPost, path: xapi + "/Contacts", body: contact}, &created); err != nil {
		return 0, err
	}
	id := created.ID.int()
	if id <= 0 {
		return 0, fmt.Errorf("%s: %w: no id", name, errShape)
	}
	return id, nil
}

// UpdateContact writes some fields of a contact, by their names in Contact; an
// error that is ErrNotFound where it is gone.
func (c *Client) UpdateContact(ctx context.Context, id int, fields map[string]string) error {
	return c.call(ctx, request{name: "update contact", method: http.MethodPatch, path: contactPath(id), body: fields}, nil)
}

func contactPath(id int) string { return xapi + "/Contacts(" + strconv.Itoa(id) + ")" }

// DeleteContacts removes contacts; those that are gone already are no error.
// Versions of 3CX have different actions for many at once, or none.
func (c *Client) DeleteContacts(ctx context.Context, ids []int) error {
	for len(ids) > 0 {
		n := min(len(ids), pageSize)
		if err := c.deleteSome(ctx, ids[:n]); err != nil {
			return err
		}
		ids = ids[n:]
	}
	return nil
}

func (c *Client) deleteSome(ctx context.Context, ids []int) error {
	const name = "delete contacts"
	bulk := []string{"/Contacts/Pbx.DeleteContactsById", "/Contacts/Pbx.BatchContactsDelete"} // since 20.0.9; before
	from := c.forms.get(deleteContacts)
	if len(ids) == 1 {
		return c.deleteContact(ctx, ids[0])
	}
	for i := from; i < len(bulk); i++ {
		err := c.call(ctx, request{name: name, method: http.MethodPost, path: xapi + bulk[i], body: map[string][]int{"ids": ids}}, nil)
		switch {
		case err == nil:
			c.forms.worked(deleteContacts, i)
			return nil
		case absent(err):
			continue
		case refusedRequest(err): // one of them is gone, or the parameter has another name
			return c.deleteEach(ctx, ids)
		default:
			return err
		}
	}
	c.forms.worked(deleteContacts, len(bulk))
	return c.deleteEach(ctx, ids)
}

// refusedRequest reports whether 3CX understood who asks, and not what.
func refusedRequest(err error) bool {
	e, ok := errors.AsType[*Error](err)
	return ok && (e.Status == http.StatusBadRequest || e.Status == http.StatusNotFound || e.Status == http.StatusUnprocessableEntity)
}

func (c *Client) deleteEach(ctx context.Context, ids []int) error {
	for _, id := range ids {
		if err := c.deleteContact(ctx, id); err != nil {
			return err
		}
	}
	return nil
}

func (c *Client) deleteContact(ctx context.Context, id int) error {
	err := c.call(ctx, request{name: "delete contact", method: http.MethodDelete, path: contactPath(id)}, nil)
	if errors.Is(err, ErrNotFound) {
		return nil
	}
	return err
}
