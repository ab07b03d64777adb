package routing

import (
	"time"

	"frontdesk/call"
)

// Source is a dialplan as the configuration gives it; strings as written.
type Source struct {
	Country   string         // ISO 3166-1 alpha-2: national numbers in patterns are of this country
	Zone      *time.Location // of hours and of the time in conditions; nil is UTC
	Rules     []RuleSource   // top to bottom, the first match decides
	Schedules map[string]ScheduleSource
	Blocked   BlockedSource
	Trunks    []string     // the names that exist
	Numbers   call.Numbers // what exists on the PBX, for lint; the zero value: not known yet
	Leads     string       // what closed leads are good for: "ignore" (also when empty) or "use"
	Digits    DigitsSource
	Never     []string // patterns of callers who never become leads
	Sticky    bool     // whether sticky bindings are looked at
}

// RuleSource is one rule. A condition left out holds for every call.
type RuleSource struct {
	Name          string   // unique
	Trunk         []string // names of trunks, one of which the call came by
	DID           []string // patterns, one of which the called number matches
	Caller        []string // patterns, one of which the calling number matches
	Hours         string   // "Mon-Fri 09:00-18:00", or the name of a schedule
	When          *string  // an expression of trunk, did, caller, hour, crm and so on (variables in when.go); nil: none
	Default       string   // the number on the PBX where the call goes when nothing better is found
	OnUnavailable string   // the number where it goes instead of an extension that is known to take no calls; empty: nowhere else
	Lookup        *bool    // false: no search in the CRM; nil is true
	Greeting      *bool    // false: no greeting; nil is true
}

// ScheduleSource is a named schedule: hours as in a rule, closed on holidays.
type ScheduleSource struct {
	Hours    []string // "Mon-Fri 09:00-18:00"
	Holidays []string // "2026-01-01", each year "01-07", or a range "2026-12-31 - 2027-01-08"
}

// BlockedSource says who is blocked and what becomes of them.
type BlockedSource struct {
	Callers []string // patterns
	Action  string   // "reject" (also when empty): 603; "default": the rule's default, without a search
}

// DigitsSource says which of the digits dialled during a greeting count.
type DigitsSource struct {
	Max int    // how many are looked at; 0: all of them
	End string // the key that ends the entry: "#", "*", or empty for none
}

// Problem is what is wrong in a Source.
type Problem struct {
	Path    string // the value's place, as "rules[2].did[0]", "schedules.office.holidays[1]", "digits.max"
	Message string
	Hint    string // what to write instead; may be empty
	Offset  int    // in runes from the beginning of the value, -1 for the whole of it
	Warning bool   // the plan works, though perhaps not as meant
}

// fault is what is wrong within one string.
type fault struct {
	message, hint string
	offset        int // in runes, -1 for the whole string
	warning       bool
}

func (f fault) at(path string) Problem {
	return Problem{Path: path, Message: f.message, Hint: f.hint, Offset: f.offset, Warning: f.warning}
}
