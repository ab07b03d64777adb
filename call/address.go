package call

import "time"

// Address is what an address book shows of an entity of the CRM.
type Address struct {
	Kind      Kind    `json:"kind"`
	ID        int     `json:"id"`
	FirstName string  `json:"first_name,omitempty"`
	LastName  string  `json:"last_name,omitempty"`
	Company   string  `json:"company,omitempty"`
	Title     string  `json:"title,omitempty"` // of a person's job
	Mail      string  `json:"mail,omitempty"`
	Phones    []Phone `json:"phones,omitempty"`
	Closed    bool    `json:"closed,omitempty"` // a converted or junk lead
}

// Phone is a number with what it is for.
type Phone struct {
	Number Number    `json:"number"`
	Kind   PhoneKind `json:"kind"`
}

// PhoneKind is what a number is for.
type PhoneKind string

// The kinds of numbers.
const (
	PhoneMobile PhoneKind = "mobile"
	PhoneWork   PhoneKind = "work"
	PhoneHome   PhoneKind = "home"
	PhoneFax    PhoneKind = "fax"
	PhonePager  PhoneKind = "pager"
	PhoneOther  PhoneKind = "other"
)

// Listing tells which contact of the PBX's address book shows an entity, or a
// part of its numbers.
type Listing struct {
	Kind        Kind
	ID          int
	Part        int       // from 1
	Contact     int       // its id on the PBX; 0: not known
	Fingerprint string    // of what was written there
	Seen        time.Time // when it was
}
