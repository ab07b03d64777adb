// Package pbx speaks 3CX's own interfaces: what SIP does not tell.
//
// Everything here is optional and found out, never assumed: the versions of
// 3CX differ in what they offer, and a licence or a role may close any of it. A
// Client speaks the configuration API (XAPI): a token shared by all that use
// it, lists by the page, within a rate, and errors as values that say whether a
// thing is gone, forbidden or unlicensed. Probe tries all that frontdesk uses
// and says what to click in 3CX where it does not work.
//
// Over the client stand a Directory, which keeps the list of the PBX's numbers
// in memory and over outages; the call log and the recordings; the contacts;
// and CallControl, which follows the calls as they happen. Call detail records
// come by their own socket, as lines of text. A Joiner brings what all of these
// tell of a call to our own record of it. What it waits for outlives the process;
// what it keeps of a settled call, so that a late account finds it, is written in
// one transaction with the record (Note): a crash between the two would have the
// call twice.
//
// All of it is foreign text: sizes are bounded, shapes read loosely, an empty
// list never replaces a full one. The client's secret and its tokens are in no
// error, log or metric.
package pbx
