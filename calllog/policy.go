package calllog

import (
	"slices"

	"frontdesk/call"
)

// MissedOwner says who owns a missed call.
type MissedOwner string

// The owners of missed calls. Where one does not exist it is the placeholder.
const (
	OwnerEmployee    MissedOwner = "employee"    // who was called last
	OwnerPlaceholder MissedOwner = "placeholder" // the "fake" employee
	OwnerHead        MissedOwner = "head"        // the head of the department of who was called last
)

// Policy is what a site wants to have logged, and what is known of its people.
// It is replaced whole and must not change.
type Policy struct {
	Log         bool // entries for calls; without it only leads are made
	Leads       bool // a lead for a caller whom the CRM does not know
	Simple      bool // the portal works without leads: it makes a contact or a deal instead
	Tasks       bool // a task for each missed call
	Missed      MissedOwner
	Placeholder int // employee who owns new leads and what nobody else does; 0: none
	Fallback    int // employee for what not even a placeholder owns: the webhook's

	Employees map[int]call.Employee  // by user id
	Numbers   call.Numbers           // of the PBX
	Never     func(call.Number) bool // further numbers that never become leads; may be nil
}

// sits is who has an extension; 0 where nobody, or more than one: no choice
// between them would be right.
func (p *Policy) sits(ext call.Extension) int {
	if ext == "" {
		return 0
	}
	found := 0
	for id, e := range p.Employees {
		if e.Extension != ext || e.Dismissed {
			continue
		}
		if found != 0 {
			return 0
		}
		found = id
	}
	return found
}

// active is an employee if it may own something, else 0.
func (p *Policy) active(id int) int {
	if e, known := p.Employees[id]; known && e.Dismissed {
		return 0
	}
	return id
}

// nobody is who owns what nobody else does.
func (p *Policy) nobody() int {
	if p.Placeholder != 0 {
		return p.Placeholder
	}
	return p.Fallback
}

// never reports whether a number never becomes a lead: one that is not whole,
// an employee's own, or one that the site names.
func (p *Policy) never(n call.Number) bool {
	if !n.E164() || p.Never != nil && p.Never(n) {
		return true
	}
	for _, e := range p.Employees {
		if slices.Contains(e.Phones, n) {
			return true
		}
	}
	return false
}
