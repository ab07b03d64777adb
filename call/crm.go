package call

import (
	"encoding/json"
	"math"
	"time"
)

// Kind is a kind of CRM entity, a section of the portal.
type Kind string

// The kinds, in the order in which their sections decide.
const (
	KindContact Kind = "contact"
	KindCompany Kind = "company"
	KindLead    Kind = "lead"
)

// Kinds lists the sections in the order in which they decide.
func Kinds() []Kind { return []Kind{KindContact, KindCompany, KindLead} }

// Entity is a contact, company or lead that carries the caller's number, with
// what routing reads of it. Employees are given by their Bitrix24 user id;
// 0 means none.
type Entity struct {
	Kind        Kind      `json:"kind"`
	ID          int       `json:"id"`
	Name        string    `json:"name,omitempty"`
	Responsible int       `json:"responsible,omitempty"`
	Manager     int       `json:"manager,omitempty"`
	Temporary   int       `json:"temporary,omitempty"`
	Until       time.Time `json:"until,omitzero"` // end of the temporary manager; none without it
	Direct      bool      `json:"direct,omitempty"`
	NoSticky    bool      `json:"no_sticky,omitempty"`
	Closed      bool      `json:"closed,omitempty"`     // a converted or junk lead
	Unreadable  bool      `json:"unreadable,omitempty"` // found by number, but its card may not be read

	Fields map[string]any `json:"fields,omitempty"` // further fields that rules ask for, by their code
}

// Card is an entity with the numbers that its card in the CRM shows, as the
// mirror keeps it.
type Card struct {
	Entity
	Phones []string `json:"phones,omitempty"` // as typed by whoever entered them
}

// Employee is a Bitrix24 user.
type Employee struct {
	ID        int       `json:"id"`
	FirstName string    `json:"first_name,omitempty"`
	LastName  string    `json:"last_name,omitempty"`
	Extension Extension `json:"extension,omitempty"`
	Dismissed bool      `json:"dismissed,omitempty"`

	Phones []Number `json:"-"` // their own numbers; in no record

	StickyMinutes *int `json:"sticky_minutes,omitempty"` // nil: the default window; 0: never sticks
}

// Source tells where an answer about the caller came from.
type Source string

// The sources.
const (
	SourceLive   Source = "live"   // the portal
	SourceMirror Source = "mirror" // the local copy
	SourceNone   Source = "none"   // nobody could answer, see Answer.Missing
)

// Missing says why the CRM gave no answer.
type Missing string

// The reasons for a missing answer.
const (
	MissingDeadline Missing = "deadline"  // not by the deadline
	MissingError    Missing = "crm_error" // refused, failed, or not understood
	MissingSkipped  Missing = "skipped"   // the portal is known to be down; it was not asked
	MissingNotAsked Missing = "not_asked" // the rule or the caller calls for no search
)

// Answer is what the CRM says about a number.
type Answer struct {
	Source   Source   `json:"source"`
	Missing  Missing  `json:"missing,omitempty"`
	Error    string   `json:"error,omitempty"` // in words, without secrets
	Age      Seconds  `json:"age,omitempty"`   // of a mirror's answer
	Entities []Entity `json:"entities,omitempty"`
	Capped   []Kind   `json:"capped,omitempty"` // sections whose search the portal cut and that could not be completed
}

// Sticky binds a caller to the employee who last spoke with, or tried to
// reach, them.
type Sticky struct {
	Employee int       `json:"employee"`
	Since    time.Time `json:"since"`
	Until    time.Time `json:"until"`
}

// Seconds is a duration that JSON shows in seconds.
type Seconds time.Duration

// MarshalJSON writes s in seconds, to the microsecond.
func (s Seconds) MarshalJSON() ([]byte, error) {
	return json.Marshal(float64(time.Duration(s).Microseconds()) / 1e6)
}

// UnmarshalJSON reads seconds.
func (s *Seconds) UnmarshalJSON(b []byte) error {
	var f float64
	if err := json.Unmarshal(b, &f); err != nil {
		return err
	}
	*s = Seconds(math.Round(f * float64(time.Second)))
	return nil
}
