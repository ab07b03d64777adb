// Package pbxtest is the sandbox PBX: a SIP endpoint with extensions and queues
// that do as they are told. They answer, ring for ever, are busy, redirect,
// transfer, hang up; the whole node can be struck dead.
//
// Each number answers with a tone of its own, so that whoever calls can hear
// whom they have reached, and keeps what it hears and every INVITE that came
// in, for assertions.
package pbxtest
