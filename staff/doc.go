// Package staff knows who takes whose calls until when: whom a caller is bound
// to for a while, and whose time as a temporary manager has ended.
//
// A Book holds the bindings. What ends a call tells it in one place, Ended,
// whatever the source of the record: the bridge, the PBX's own records, call
// control. A record binds the caller to the last employee who talked with them,
// or who tried to call them; a missed incoming call binds nobody. The Book
// answers a live call from memory, without a lock. It writes to the database
// behind the call's back, reads it at the start, and where several nodes share
// one database also the bindings of the others. Time within the process is
// counted, not read from the wall: a clock that is set back prolongs nothing.
//
// An Expirer looks for entities whose temporary manager's limit has passed and
// owes one job for each. The job reads the entity again, clears both fields
// unless somebody changed them, sees that they are clear, and mails the
// temporary manager and whoever takes the calls from then on. It writes down
// each step when it is done, so that no step is done twice by a job that begins
// again, on whichever node. One gap cannot be closed: a process that dies after
// the mail server took a mail and before that was written down, which is one
// write of the database later, sends it again. It then carries the same
// Message-ID, by which mail servers and readers know it for the same.
package staff
