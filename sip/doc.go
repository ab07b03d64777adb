// Package sip is the signalling of frontdesk: it takes calls from trunks and
// PBX nodes, places calls to them, and keeps their transactions and dialogs.
//
// A datagram, or a message cut out of a stream, goes down one path and never
// back up: a reader per socket takes it (udp.go, stream.go), the source table
// says whose it is (accept.go) before one byte of it is parsed, the parser
// (parse.go) makes a message of it, and the verdict (validate.go) answers
// statelessly whatever no transaction should see (RFC 3261 section 8.2). What
// is left goes to the shard of its Call-ID, which alone owns the transactions,
// dialogs and timers of that Call-ID: so the order in which messages arrive is
// the order in which they act. A shard absorbs retransmissions and hands events
// to the one goroutine of the call, which is a straight line of code written
// by the owner of the Handler.
//
// Unlisted sources get silence: no answer, no state and no log line each.
//
// The parser's header and message types are those of
// github.com/emiago/sipgo/sip. They never leave this package.
package sip
