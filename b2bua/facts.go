package b2bua

import (
	"context"
	"slices"
	"strings"
	"time"

	"frontdesk/call"
	"frontdesk/routing"
	"frontdesk/sip"
)

// gather collects what the decision may depend on, all at once and under one
// deadline, counted from the INVITE's arrival and owned by a timer here. What
// is missing by then is a fact too; an answer that comes later moves nothing.
func (a *Agent) gather(ctx context.Context, set *Settings, f *routing.Facts, left time.Duration) {
	if numbers := set.PBX.Numbers; numbers != nil {
		f.Numbers = numbers()
	}
	if unavailable := set.PBX.Unavailable; unavailable != nil && set.Plan.Diverts() {
		f.Unavailable = unavailable()
	}
	f.CRM = call.Answer{Source: call.SourceNone, Missing: call.MissingNotAsked}
	search := set.Plan.Search(*f)
	if search && a.Sticky != nil {
		f.Sticky = a.Sticky.Sticky(f.Caller, f.At)
	}
	if search && a.Directory != nil {
		started := time.Now()
		f.CRM = a.mirrored(a.lookup(ctx, f.Caller, left), f)
		f.Took = map[string]call.Seconds{"crm": call.Seconds(time.Since(started).Round(time.Microsecond))} // as exact as JSON keeps it
	}
	f.Employees = a.employees(f)
}

// lookup asks the CRM. The asking runs beside the timer, so that no client,
// however stuck, can hold the call.
func (a *Agent) lookup(ctx context.Context, n call.Number, left time.Duration) call.Answer {
	timer := time.NewTimer(left)
	defer timer.Stop()
	ask, cancel := context.WithTimeout(ctx, left)
	defer cancel()

	answers := make(chan call.Answer, 1)
	go func() { answers <- a.ask(ask, n) }()
	select {
	case answer := <-answers:
		return answer
	case <-timer.C:
	case <-ctx.Done():
	}
	return call.Answer{Source: call.SourceNone, Missing: call.MissingDeadline}
}

// mirrored is what the mirror says where the portal could not answer. It keeps
// why the portal was not heard.
func (a *Agent) mirrored(answer call.Answer, f *routing.Facts) call.Answer {
	if answer.Missing == "" || a.Mirror == nil {
		return answer
	}
	copied, ok := a.Mirror.Lookup(f.Caller, f.At)
	if !ok {
		return answer
	}
	copied.Missing, copied.Error = answer.Missing, answer.Error
	return copied
}

func (a *Agent) ask(ctx context.Context, n call.Number) call.Answer {
	answer, err := a.Directory.Lookup(ctx, n)
	if err != nil && answer.Missing == "" {
		return call.Answer{Source: call.SourceNone, Missing: call.MissingError, Error: err.Error()}
	}
	return answer
}

// employees are those whom the facts name; a decision needs no others.
func (a *Agent) employees(f *routing.Facts) map[int]call.Employee {
	if a.Staff == nil {
		return nil
	}
	found := make(map[int]call.Employee)
	add := func(id int) {
		if e, ok := a.Staff.Employee(id); ok && id != 0 {
			found[id] = e
		}
	}
	for _, e := range f.CRM.Entities {
		add(e.Responsible)
		add(e.Manager)
		add(e.Temporary)
	}
	if s := f.Sticky; s != nil {
		add(s.Employee)
	}
	return found
}

// who is the caller as the INVITE tells.
type who struct {
	number    call.Number
	name      string
	anonymous bool
}

// identify reads the caller from the header that the trunk is trusted for. A
// caller who asks for privacy is anonymous, even where the carrier asserts a
// number (RFC 3325 section 7), and so is one without any number.
func identify(inv *sip.Invite, from Identity, country string) who {
	addr, private := inv.From, false
	if a := inv.Asserted; len(a) > 0 && (from == IdentityAuto || from == IdentityPAI) {
		addr = telephone(a)
	} else if r := inv.RemoteParty; r != nil && (from == IdentityAuto || from == IdentityRPID) {
		addr = *r
		private = restricted(r.Params)
	}
	w := who{name: addr.Display}
	if w.name == "" {
		w.name = inv.From.Display
	}
	for _, p := range inv.Privacy { // RFC 3323 section 4.2
		private = private || slices.Contains([]string{"id", "user", "header"}, strings.ToLower(p))
	}
	if !private && !anonymous(addr) {
		w.number = call.ParseNumber(addr.User, country)
	}
	if w.anonymous = w.number == ""; w.anonymous {
		w.name = ""
	}
	return w
}

// telephone picks the identity that carries a number: a carrier may assert a
// SIP and a tel URI side by side (RFC 3325 section 9.1).
func telephone(asserted []sip.Address) sip.Address {
	for _, a := range asserted {
		if call.ParseNumber(a.User, "") != "" {
			return a
		}
	}
	return asserted[0]
}

// restricted reads the privacy parameter of Remote-Party-ID.
func restricted(params string) bool {
	for p := range strings.SplitSeq(params, ";") {
		name, value, _ := strings.Cut(strings.TrimSpace(p), "=")
		if strings.EqualFold(name, "privacy") && !strings.EqualFold(value, "off") && !strings.EqualFold(value, "none") {
			return true
		}
	}
	return false
}

// anonymous knows the forms in which carriers write that there is no number.
func anonymous(a sip.Address) bool {
	if strings.HasSuffix(strings.ToLower(a.Host), "anonymous.invalid") {
		return true
	}
	switch strings.ToLower(a.User) {
	case "", "anonymous", "unavailable", "unknown", "restricted", "private", "withheld":
		return true
	}
	return false
}
