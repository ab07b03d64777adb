package b2bua

import (
	"context"
	"time"

	"frontdesk/call"
	"frontdesk/routing"
)

// Query is a call that is only asked about.
type Query struct {
	From  string // as dialled; empty: anonymous
	To    string // the called number
	Trunk string
	At    time.Time // zero: now
}

// Explain decides a call that nobody makes: it gathers the facts and decides
// by the very code that serves a live one.
func (a *Agent) Explain(ctx context.Context, q Query) (routing.Facts, routing.Decision) {
	set := a.settings.Load()
	if q.At.IsZero() {
		q.At = time.Now()
	}
	f := routing.Facts{
		At: q.At.In(set.Zone), Trunk: q.Trunk,
		Caller: call.ParseNumber(q.From, set.Country),
		DID:    call.ParseNumber(q.To, set.Country),
	}
	f.Anonymous = f.Caller == ""
	a.gather(ctx, set, &f, set.Deadline)
	return f, set.Plan.Decide(f)
}
