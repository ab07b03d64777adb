package pbxtest

import (
	"fmt"
	"slices"
)

// Build is a release of 3CX v20: 8 is 20.0.8. The interfaces drift between
// them; the zero value is the newest.
type Build int

// The builds that differ in what matters here.
const (
	Build4  Build = 4  // the call log knows no GUIDs
	Build6  Build = 6  // new CDR engine; functions GetByNumber, contacts deleted by BatchContactsDelete
	Build8  Build = 8  // keys by number replace GetByNumber
	Build9  Build = 9  // contacts reworked: DeleteContactsById; expires_in counts seconds
	Build10 Build = 10 // the call log lists recordings
)

// String is the version as X-3CX-Version tells it.
func (b Build) String() string { return fmt.Sprintf("20.0.%d.1109", int(b)) }

// Role is the role of an API client.
type Role string

// The roles of 3CX.
const (
	Owner        Role = "system_owners"
	Admin        Role = "system_admins" // no call log, no recordings
	GroupOwner   Role = "group_owners"
	Manager      Role = "managers" // reads the call log and recordings, does not list them
	GroupAdmin   Role = "group_admins"
	Receptionist Role = "receptionists"
	Plain        Role = "users" // what department "System Wide" makes of every role
)

// Licence is what the PBX has been paid for.
type Licence struct {
	NoEnterprise bool // no configuration API
	NoFlow       bool // no call flow designer, and with it no call control
}

// right is what a request touches.
type right string

const (
	toProbe     right = "probe"
	toDirectory right = "directory" // users, queues, contacts
	toSystem    right = "system"    // trunks, settings, status
	toCallLog   right = "call log"  // and the recordings' files
	toRecorded  right = "recordings"
)

// may reports whether a role has a right.
func (r Role) may(what right) bool {
	switch r {
	case Owner:
		return true
	case Admin:
		return slices.Contains([]right{toProbe, toDirectory, toSystem}, what)
	case GroupOwner, Manager, GroupAdmin:
		return slices.Contains([]right{toProbe, toDirectory, toCallLog}, what)
	}
	return what == toProbe
}
