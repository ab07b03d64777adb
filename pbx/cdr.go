package pbx

import (
	"errors"
	"time"
)

// CDR is one line of 3CX's call data records, read. Words are in lower case,
// numbers without their "Ext.".
type CDR struct {
	HistoryID string // the PBX's number of the call; lines of one call share it
	CallID    string
	CDRTimes

	Reason  string // why it ended: either vocabulary, as terminatedbysrc or src_participant_terminated
	Changed string // how its ends were changed: replacedsrc, failedbxferofdst, qfwdtodna, ...
	Dialled string // the digits as dialled; the DID of an incoming call
	Parties
	Chain   []Hop    // all endpoints in order
	Agents  []string // agents of a queue that were rung and did not answer
	Partial bool     // the line had fewer columns than it should, or a time that is none
}

// CDRTimes are a line's times, UTC, and how long was talked. What is empty in
// the line is zero.
type CDRTimes struct {
	Start    time.Time
	Answered time.Time // also by a queue or a menu
	End      time.Time
	Duration time.Duration
}

// Parties are the three ends that a line names: the last is where the call
// ended up, where that differs from the first destination.
type Parties struct{ From, To, Final Party }

// Party is one end of a call.
type Party struct {
	Number string // as the line has it, without "Ext."
	Ext    bool   // "Ext." stood before it: a number of the PBX
	DN     string // the PBX's number of it: an extension, a queue, or a trunk (10000 and above)
	Type   string // either vocabulary, in lower case
	Name   string
}

// Hop is one endpoint of a call's chain.
type Hop struct {
	Number string
	Ext    bool // a number of the PBX
}

// errNoFields is a layout that names nothing.
var errNoFields = errors.New("cdr: no fields are set")

// maxLine bounds one line.
const maxLine = 64 << 10

// kind is what a party is, in one vocabulary for both of 3CX's.
type kind int

const (
	kindUnknown kind = iota
	kindExtension
	kindLine      // a trunk
	kindNoRoute   // an outbound rule by which the call did not get out
	kindQueue     // also a ring group
	kindIVR       // also scripts, and what routes calls before anybody rings
	kindVoicemail // a mailbox
	kindMeeting   // a conference, or a parking place: nobody comes there unheard
	kindSystem    // the end of the call, what is not known
)

// kindOf reads a type: the words of both vocabularies, in lower case.
func kindOf(word string) kind {
	switch word {
	case "extension":
		return kindExtension
	case "line", "external_line", "externalline":
		return kindLine
	case "lineset", "outbound_rule":
		return kindNoRoute
	case "queue", "ringgroup", "ring_group", "ring_group_ring_all", "ring_group_hunt", "ring_group_paging":
		return kindQueue
	case "ivr", "script", "inbound_routing", "routepoint", "route_point":
		return kindIVR
	case "vmail", "voicemail":
		return kindVoicemail
	case "confplace", "conference", "parkorb", "parking":
		return kindMeeting
	case "":
		return kindUnknown
	default:
		return kindSystem
	}
}

// outside reports whether the kind is a trunk, or would have been one.
func (k kind) outside() bool { return k == kindLine || k == kindNoRoute }

// ending is why a call ended, in one vocabulary for both of 3CX's.
type ending int

const (
	endOther     ending = iota
	endSource           // whoever called hung up
	endTarget           // the called side hung up
	endFailed           // it never came to a talk: busy, no answer, no route, refused, cancelled
	endGivenUp          // the caller hung up before anybody answered
	endElsewhere        // it went on as another line: redirected, continued
)

func endingOf(word string) ending {
	switch word {
	case "terminatedbysrc", "src_participant_terminated":
		return endSource
	case "terminatedbydst", "dst_participant_terminated":
		return endTarget
	case "failed_cancelled", "cancelled":
		return endGivenUp
	case "failed", "targetnotfound", "targetbusy", "routebusy", "routenotfound", "noroutexists", "norouteexists",
		"noanswertimeout", "externalcalldisabled", "no_route", "declined", "not_found", "timeout", "busy", "rejected":
		return endFailed
	case "redirected", "continued_in":
		return endElsewhere
	default: // terminatedbyrule, terminatedbysync, connected, and what is not known
		return endOther
	}
}
