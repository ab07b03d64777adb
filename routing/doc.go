// Package routing decides where a call goes.
//
// A Source is the dialplan as the configuration gives it. Compile turns it into
// a Plan, or tells everything that is wrong with it. A Plan is immutable:
// Decide takes the Facts of one call and gives a Decision, always the same one
// for the same facts, with a trace of every rule tried, every entity found and
// what decided. The same code serves a live call, explain, replay and the
// console.
//
// The decision is a staircase (decide.go has one function for each step):
//
//  1. The first rule whose every condition holds decides; no rule: 404. A
//     condition on the CRM's answer does not hold where there is none.
//  2. Blocked, anonymous, or a rule that wants no search: no CRM.
//  3. The first section of contacts, companies, leads that has an entity.
//  4. Each entity's effective manager; all must ring the same extension.
//  5. Direct, without a greeting, only if every entity is direct.
//  6. A live sticky binding goes before 4.
//  7. Whoever cannot be rung: the rule's default, never the next in line.
//  8. Greeting, and the digits dialled during it.
//  9. A missing answer is a fact like any other.
//
// The package does no I/O, reads no clock and starts no goroutine: the time of
// a decision is Facts.At.
package routing
