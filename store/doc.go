// Package store keeps what must outlive a process: the jobs owed to the CRM
// and to people, the records of calls with what is owed for each, sticky
// bindings, a copy of the portal, tokens and cursors. It
// is one SQLite file by default, and a PostgreSQL database where several nodes
// share one state; both run the same SQL and the same jobs.
//
// A job is written in the transaction of whatever owes it and done at least
// once: what a job does must bear being done again. Nothing here is on the way
// of a call: its answers may take seconds when a disk stalls, though not more
// than the store's own limit (a transaction lasts as long as the disk makes
// it), and an error means that nobody knows whether it was written.
package store
