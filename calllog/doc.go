// Package calllog has every call in the CRM once, as the employee who talked.
//
// A call becomes a Plan: one entry for each conversation, one for a miss, with
// who owns it, how long it was and how it ended; a lead for a caller whom the
// CRM does not know; a task for a miss. Planning is pure and asks nobody.
//
// A Log carries plans out. While a call rings it registers the call and shows
// its card to whoever is rung, beside the call and never in its way: what does
// not get done then is done at the end. When the call has ended its record, the
// steps that are owed for it (the ledger) and the job that does them are
// written in one transaction. The job does the steps one after the other and
// notes each; where the call is just being registered it waits for that, so that
// nothing is asked for twice. Before it repeats a step of which it cannot know
// whether the portal did it, it looks: for a call by its external id in the
// portal's statistics, for a lead, an activity or a task by its origin. Steps
// that nobody works at any more are found by Run, which owes the job again.
//
// One gap cannot be closed. A call that the portal registered, of which
// frontdesk did not hear and about which it could not ask within the portal's
// half hour, is registered anew: only the same registration, repeated, says the
// id, without which nothing can be finished, and the statistics list what is
// finished alone. So it is repeated every three minutes at least for that half
// hour. The first registration stays live in the portal, without an entry, until
// the portal forgets it. It is never finished, so it never counts.
package calllog
