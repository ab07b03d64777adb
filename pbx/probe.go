package pbx

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"net/http"
	"strings"
	"time"
)

// State is how a check came out.
type State string

// The states.
const (
	StateOK         State = "ok"
	StateMissing    State = "missing"    // this version, or this setup, does not have it
	StateFailed     State = "failed"     // refused, or broken
	StateUnlicensed State = "unlicensed" // the licence does not hold it
)

// Check is one thing that was tried.
type Check struct {
	Name   string `json:"name"`
	State  State  `json:"state"`
	Detail string `json:"detail,omitempty"` // what was found
	Advice string `json:"advice,omitempty"` // what to do about it in 3CX
}

// system is what the PBX says of itself.
type system struct {
	Version string
	FQDN    string
	Licence struct {
		known, enterprise, callFlow bool
		calls                       int
	}
}

// Probe tries all that frontdesk uses of 3CX, without changing anything there,
// and says what works and what to do about the rest. Where nothing works it
// ends with the first check.
func (c *Client) Probe(ctx context.Context) []Check {
	p := prober{client: c}
	if !p.reach(ctx) {
		return p.checks
	}
	p.licence(ctx)
	p.lists(ctx)
	p.contacts(ctx)
	p.calls(ctx)
	p.records(ctx)
	p.control(ctx)
	return p.checks
}

// prober is a probe under way.
type prober struct {
	client *Client
	system system
	checks []Check
}

func (p *prober) add(name string, state State, detail, advice string) {
	p.checks = append(p.checks, Check{name, state, detail, advice})
}

// judge adds a check by its error. works is said where there is none.
func (p *prober) judge(name string, err error, works, advice string) {
	enterprise := p.system.Licence.enterprise || !p.system.Licence.known
	switch {
	case err == nil:
		p.add(name, StateOK, works, "")
	case errors.Is(err, ErrForbidden) && !enterprise:
		p.add(name, StateUnlicensed, err.Error(), adviceLicence)
	case errors.Is(err, ErrNotFound):
		p.add(name, StateMissing, err.Error(), "this version of 3CX does not have it; update 3CX, or do without")
	default:
		p.add(name, StateFailed, err.Error(), advice)
	}
}

const (
	adviceLicence = "the configuration API needs an Enterprise licence (8SC and more); without one frontdesk works with the static lists pbx.extensions and pbx.queues"
	adviceClient  = "Admin Console > Integrations > API: the client id and the key must be those of this integration; the key is shown once, make a new one if it is lost"
	adviceAddress = "pbx.xapi.url is the address of the Admin Console, with its port: 443 where 3CX hosts it, mostly 5001 elsewhere; a console restriction by IP address must let frontdesk in"
	adviceAdmin   = "Admin Console > Integrations > API > the integration: department DEFAULT (not System Wide, which forces the role User), role System Administrator or System Owner"
	adviceOwner   = "Admin Console > Integrations > API > the integration: department DEFAULT, role System Owner: call history and recordings want the owner"
	adviceControl = "Admin Console > Integrations > API > the integration: tick Call Control API access and choose the extensions to monitor; it needs an Enterprise licence with Call Flow Designer"
)

// reach signs in and asks for something small.
func (p *prober) reach(ctx context.Context) bool {
	const name = "sign-in"
	if _, err := p.client.tokens.get(ctx); err != nil {
		advice := adviceAddress
		if e, ok := errors.AsType[*Error](err); ok && (e.Status == http.StatusBadRequest || e.Status == http.StatusUnauthorized) {
			advice = adviceClient
		}
		p.add(name, StateFailed, err.Error(), advice)
		return false
	}
	p.add(name, StateOK, "3CX takes the client id and its key", "")

	err := p.client.call(ctx, request{name: "probe", path: xapi + "/Defs" + query{"$select", "Id"}.options()}, nil)
	switch {
	case err == nil:
		p.add("configuration API", StateOK, "it answers", "")
		return true
	case errors.Is(err, ErrForbidden):
		p.add("configuration API", StateUnlicensed, err.Error(), "tick XAPI Access at the integration; "+adviceLicence)
	case errors.Is(err, ErrNotFound):
		p.add("configuration API", StateMissing, err.Error(), "it comes with 3CX version 20; with version 18 leave pbx.xapi out")
	default:
		p.add("configuration API", StateFailed, err.Error(), adviceAddress)
	}
	return false
}

// licence tells the version and what is licensed.
func (p *prober) licence(ctx context.Context) {
	var w struct {
		Version, FQDN loose
		License       struct{ IsEnterprise, IsCfdEnabled, MaxSimCalls loose }
	}
	err := p.client.call(ctx, request{name: "system", path: xapi + "/Defs/Pbx.GetSystemParameters()"}, &w)
	if err != nil {
		p.judge("version and licence", err, "", adviceAdmin)
		return
	}
	s := &p.system
	s.Version, s.FQDN = w.Version.text(), w.FQDN.text()
	if s.Version == "" {
		s.Version = p.client.Version()
	}
	l := &s.Licence
	l.enterprise, l.known = w.License.IsEnterprise.bool()
	l.callFlow, _ = w.License.IsCfdEnabled.bool()
	l.calls = w.License.MaxSimCalls.int()
	p.add("version", StateOK, strings.TrimSpace("3CX "+s.Version+" "+s.FQDN), "")
	if !l.known {
		return
	}
	p.licensed("licence", l.enterprise, fmt.Sprintf("Enterprise, %d calls at a time", l.calls), "not Enterprise", adviceLicence)
	p.licensed("call flow designer", l.callFlow, "licensed", "not licensed", "call control needs it; without it live state comes from SIP and from call detail records")
}

func (p *prober) licensed(name string, has bool, yes, no, advice string) {
	if has {
		p.add(name, StateOK, yes, "")
		return
	}
	p.add(name, StateUnlicensed, no, advice)
}

// lists tries what the numbers come from.
func (p *prober) lists(ctx context.Context) {
	peers, err := p.client.Peers(ctx)
	n := numbersOf(peers)
	p.judge("numbers", err, fmt.Sprintf("%d extensions; %d queues, ring groups and menus", len(n.Extensions), len(n.Queues)), adviceAdmin)
	if err == nil && len(n.Extensions) == 0 {
		p.checks[len(p.checks)-1] = Check{"numbers", StateFailed, "the list has no extension", adviceAdmin}
	}
	users, err := p.client.Users(ctx)
	p.judge("users", err, fmt.Sprintf("%d users with their state", len(users)), adviceAdmin)
	if err == nil && len(users) > 0 {
		_, err := p.client.User(ctx, users[0].Number)
		works := "by key"
		if p.client.forms.get(userByNumber) > 0 {
			works = "by function, as before 20.0.8"
		}
		p.judge("user by number", err, works, adviceAdmin)
	}
	trunks, err := p.client.Trunks(ctx)
	p.judge("trunks", err, fmt.Sprintf("%d trunks", len(trunks)), adviceAdmin)
	rules, err := p.client.OutboundRules(ctx)
	p.judge("outbound rules", err, fmt.Sprintf("%d rules", len(rules)), adviceAdmin)
}

// contacts tries the address book. Whether it may be written is asked with a
// change to an entry that cannot be there: who may not write is refused before
// it is looked for.
func (p *prober) contacts(ctx context.Context) {
	err := p.client.first(ctx, "contacts", "/Contacts", query{"$select", "Id"})
	p.judge("contacts", err, "may be read", adviceAdmin)
	if err != nil {
		return
	}
	err = p.client.call(ctx, request{name: "update contact", method: http.MethodPatch, path: contactPath(math.MaxInt32), body: struct{}{}}, nil)
	if refusedRequest(err) {
		err = nil
	}
	p.judge("contacts, writing", err, "may be written", adviceAdmin)
}

// calls tries the history of calls.
func (p *prober) calls(ctx context.Context) {
	now := time.Now()
	err := p.client.first(ctx, "call log", callLogPath(now.Add(-window), now), nil)
	p.judge("call log", err, "may be read", adviceOwner)
	err = p.client.first(ctx, "recordings", "/Recordings", query{"$orderby", "Id desc"})
	p.judge("recordings", err, "may be listed", adviceOwner)
	err = p.client.first(ctx, "active calls", "/ActiveCalls", nil)
	p.judge("active calls", err, "may be read", adviceAdmin)
}

// first reads the first row of a list, which may be empty.
func (c *Client) first(ctx context.Context, name, path string, q query) error {
	var p struct{ Value []json.RawMessage }
	err := c.call(ctx, request{name: name, path: xapi + path + append(q[:len(q):len(q)], "$top", "1").options()}, &p)
	if err == nil && p.Value == nil {
		return fmt.Errorf("%s: %w", name, errShape)
	}
	return err
}

// records tells whether call detail records are sent, and how.
func (p *prober) records(ctx context.Context) {
	const name = "call detail records"
	const advice = "Admin Console > Advanced > Call Data Records: an active socket (3CX connects to pbx.cdr.listen) or a passive one (pbx.cdr.connect), comma-separated"
	s, err := p.client.CDRSettings(ctx)
	switch {
	case err != nil:
		p.judge(name, err, "", adviceAdmin+"; the order of the fields may also be set in pbx.cdr.fields")
	case !s.Enabled:
		p.add(name, StateMissing, "they are switched off", advice)
	case s.Type != "ActiveSocket" && s.Type != "PassiveSocket":
		p.add(name, StateMissing, "they are written to files: "+s.Type, advice)
	case !s.Commas:
		p.add(name, StateFailed, "the commas between the fields are removed", advice)
	case s.Type == "ActiveSocket":
		p.add(name, StateOK, fmt.Sprintf("3CX connects to %s port %d with %d fields: %s", s.Address, s.Port, len(s.Fields), strings.Join(s.Fields, ", ")), "")
	default:
		p.add(name, StateOK, fmt.Sprintf("3CX listens on port %d with %d fields: %s", s.Port, len(s.Fields), strings.Join(s.Fields, ", ")), "")
	}
}

// control tries call control and counts what it may see.
func (p *prober) control(ctx context.Context) {
	const name = "call control"
	dns, err := p.client.snapshot(ctx)
	l := p.system.Licence
	if errors.Is(err, ErrForbidden) && l.known && !(l.enterprise && l.callFlow) {
		p.add(name, StateUnlicensed, err.Error(), adviceControl)
		return
	}
	extensions := 0
	for _, d := range dns {
		if d.kind() == dnExtension {
			extensions++
		}
	}
	if err == nil && extensions == 0 {
		p.add(name, StateMissing, "it answers, but no extension is monitored", adviceControl)
		return
	}
	p.judge(name, err, fmt.Sprintf("%d extensions are monitored", extensions), adviceControl)
}
