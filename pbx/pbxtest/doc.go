// Package pbxtest is the sandbox PBX: 3CX v20 as far as this project meets it,
// with its traps.
//
// A State is all that a PBX knows: extensions, queues, trunks, the phone book,
// and the calls it has accounted for. Three things show it. API is the HTTP
// side: tokens, the configuration API with the drifts between builds, the call
// log, recordings, call control with its websocket. Feed is the CDR socket,
// active or passive. PBX is a SIP endpoint whose numbers do as they are told:
// they answer, ring for ever, are busy, redirect, transfer inside or by REFER,
// poll agents, wait for keys, hang up; the whole node can be struck dead.
//
// A call is followed by a Track while it goes on and becomes an Account when it
// ends. CDR lines, segments of the call log, recordings and events of call
// control all derive from these two, so that they agree. A test without SIP
// leads a Track by hand, or hands in a whole Account.
//
// Each number answers with a tone of its own, so that whoever calls can hear
// whom they have reached, and the recording of its talk holds the same tone.
// The PBX keeps what it hears and every INVITE that came in, for assertions.
//
// What goes wrong is set by Fault, FeedKnobs and Quirks, from Go or under
// /_sandbox/ of the API. Where live systems are not known well enough, the
// stricter of two guesses is made.
package pbxtest
