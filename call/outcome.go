package call

import "slices"

// Outcome says what decided where a call goes. The list is closed: records,
// metrics and logs use the same words.
type Outcome string

// The outcomes of a decision.
const (
	OutcomeDigits      Outcome = "digits"       // the caller dialled an existing number
	OutcomeSticky      Outcome = "sticky"       // the employee who last spoke with, or tried to reach, the caller
	OutcomeTemporary   Outcome = "temporary"    // the entity's temporary manager
	OutcomeManager     Outcome = "manager"      // the entity's call manager
	OutcomeResponsible Outcome = "responsible"  // the entity's responsible person
	OutcomeAmbiguous   Outcome = "ambiguous"    // entities of one section ring different extensions
	OutcomeUnknown     Outcome = "unknown"      // the CRM does not know the caller
	OutcomeNoExtension Outcome = "no_extension" // the employee found cannot be rung
	OutcomeAnonymous   Outcome = "anonymous"    // the caller hides the number
	OutcomeLookupOff   Outcome = "lookup_off"   // the rule wants no search
	OutcomeDeadline    Outcome = "deadline"     // the CRM had not answered by the deadline
	OutcomeCRMError    Outcome = "crm_error"    // the CRM failed
	OutcomeBlocked     Outcome = "blocked"      // the caller is on the blocked list
	OutcomeNoRule      Outcome = "no_rule"      // no rule matched
)

// Outcomes lists every outcome, for metrics and documentation.
func Outcomes() []Outcome {
	return []Outcome{
		OutcomeDigits, OutcomeSticky, OutcomeTemporary, OutcomeManager, OutcomeResponsible,
		OutcomeAmbiguous, OutcomeUnknown, OutcomeNoExtension, OutcomeAnonymous, OutcomeLookupOff,
		OutcomeDeadline, OutcomeCRMError, OutcomeBlocked, OutcomeNoRule,
	}
}

// Valid reports whether o is one of the closed list.
func (o Outcome) Valid() bool { return slices.Contains(Outcomes(), o) }

// Transfer is how a call was handed over, or may be.
type Transfer string

// The transfers.
const (
	TransferRedirect Transfer = "redirect" // 302 while unanswered (RFC 3261 section 21.3.3)
	TransferRefer    Transfer = "refer"    // REFER once answered (RFC 3515)
	TransferBridge   Transfer = "bridge"   // a second leg, media relayed
	TransferNone     Transfer = "none"     // the call ended before it was handed over
)

// Result is how a call ended for the caller.
type Result string

// The results. A call handed over by redirect or refer leaves frontdesk
// without one until a later source (the PBX's records) tells.
const (
	ResultAnswered  Result = "answered"
	ResultMissed    Result = "missed"
	ResultAbandoned Result = "abandoned" // the caller hung up first
	ResultRefused   Result = "refused"   // frontdesk answered with a final error
)
