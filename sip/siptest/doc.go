// Package siptest is the other side of a call: a telephone that does as it is
// told. Tests, the sandbox's trunk and the demo place calls with it.
//
// A Phone has a UDP port, a SIP stack and a media engine of its own. Its calls
// are driven in a straight line: Call sends the INVITE and returns, and then
// each method waits, under its ctx, for one thing to happen or makes one thing
// happen: WaitCode, WaitTone, Dial, Hold, Hangup. Meanwhile the call answers by
// itself whatever a telephone answers without being asked: re-INVITE, UPDATE,
// INFO and REFER. It sends sound all the time, silence if nothing else, and
// keeps what it hears.
//
// It is made of our own packages sip and media, so it shows that both ends
// agree, not that both are right: SIPp and baresip are there for that.
package siptest
