package routing

import (
	"time"

	"frontdesk/call"
)

// Facts are all that a decision depends on, gathered before the deadline. What
// could not be learnt is a fact too (see call.Answer). As JSON they are the
// facts of a call's record: read back, they give the same decision.
type Facts struct {
	At         time.Time             `json:"at"` // the moment of the decision
	Trunk      string                `json:"trunk"`
	Caller     call.Number           `json:"caller"` // empty where none was given
	CallerName string                `json:"caller_name,omitempty"`
	Anonymous  bool                  `json:"anonymous,omitempty"` // the caller hides the number, even if it is known
	DID        call.Number           `json:"did"`
	CRM        call.Answer           `json:"crm"`
	Employees  map[int]call.Employee `json:"employees,omitempty"` // by Bitrix24 user id
	Numbers    call.Numbers          `json:"numbers"`
	Sticky     *call.Sticky          `json:"sticky,omitempty"`
	Digits     string                `json:"digits,omitempty"` // as dialled during the greeting
	Gathered
}

// Gathered is further news of the moment.
type Gathered struct {
	Took map[string]call.Seconds `json:"took,omitempty"` // how long each fact took: "crm", "sticky"

	// Extensions that are known to take no calls now, and why ("not registered",
	// "do not disturb"); only where some rule looks at it.
	Unavailable map[call.Extension]string `json:"unavailable,omitempty"`
}

// number reads n again where it is not in its final form, as in facts written
// by hand: DIDs and callers are normalised before patterns are tried.
func number(n call.Number, country string) call.Number {
	const shortest = 6 // call.ParseNumber leaves shorter ones alone
	if n.E164() || len(n) <= shortest {
		return n
	}
	return call.ParseNumber(string(n), country)
}
