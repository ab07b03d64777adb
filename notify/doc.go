// Package notify tells other systems of calls by signed HTTP requests.
//
// A Notifier has hooks: an address, a secret, and the events that are wanted
// there. Each event of a call is one delivery to each hook that wants it, and
// each delivery is one job of the store, which holds the body as it was when
// the event happened. That a call rings and is answered is told beside the
// call, which never waits: what the database does not take then is lost. That
// it ended is owed in the transaction that keeps its record.
//
// A delivery is repeated until the receiver answers 2xx, or 410, for a week,
// always with the same id and the same body, and signed anew each time. It may
// thus arrive twice, where an answer got lost: the id tells. The order in which
// deliveries arrive is that in which they get through.
//
// A receiver in trouble is left alone for a while, a little longer each time,
// so that those who wait for it keep nobody else waiting.
package notify
