package sip

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"

	gosip "github.com/emiago/sipgo/sip"
)

// referralExpires is how long, in seconds, we promise to tell of a transfer:
// longer than anything rings (timer C).
const referralExpires = 240

var (
	errReferMethod = errors.New("a method other than INVITE is asked for")
	errReplaces    = errors.New("bad Replaces")
)

// Referral is a REFER of the other side's (RFC 3515): it asks us to call
// somebody in its place. Its methods may be used from anywhere.
type Referral struct {
	To       Address  // whom
	Replaces string   // the dialog that the call is to take the place of, as a Replaces header has it (RFC 3891); empty: none
	Required bool     // the call is to fail where Replaces is not understood
	By       *Address // who says that it asks (RFC 3892); nil: not said
	request  *Request
	news     subscription // guarded by the shard's lock
}

// subscription is the other side's, to what becomes of its REFER.
type subscription struct {
	event string // of its NOTIFYs
	next  int    // the status to be told next; 0: nothing new
	busy  bool   // a NOTIFY is under way
	over  bool
	done  chan struct{} // closed when it is over
}

// Referral reads a REFER. An error means that it cannot be followed as it
// stands: 400. Of the headers that the URI of its Refer-To may hold only
// Replaces, and that it is required, count.
func (r *Request) Referral() (*Referral, error) {
	a, err := parseNameAddr(r.Header("Refer-To"))
	if err != nil {
		return nil, fmt.Errorf("the Refer-To of a REFER: %w", err)
	}
	if method, ok := a.uri.UriParams.Get("method"); ok && !strings.EqualFold(method, "INVITE") {
		return nil, fmt.Errorf("the Refer-To of a REFER: %w", errReferMethod)
	}
	f := &Referral{To: addressOf(a.display, a.uri), request: r, news: subscription{done: make(chan struct{})}}
	if err := f.within(a.uri.Headers); err != nil {
		return nil, fmt.Errorf("the Refer-To of a REFER: %w", err)
	}
	if by, err := ParseAddress(r.Header("Referred-By")); err == nil {
		f.By = &by
	}
	return f, nil
}

// within takes what counts of the headers in a URI.
func (f *Referral) within(headers gosip.HeaderParams) error {
	for _, h := range headers {
		text, err := url.PathUnescape(h.V)
		if err != nil {
			return err
		}
		switch {
		case strings.EqualFold(h.K, "Replaces"):
			if f.Replaces != "" {
				return fmt.Errorf("%w: there are two", errReplaces)
			}
			if f.Replaces, err = replaces(text); err != nil {
				return err
			}
		case strings.EqualFold(h.K, "Require"):
			f.Required = f.Required || hasOption(text, "replaces")
		}
	}
	return nil
}

// replaces reads a Replaces header (RFC 3891 section 6.1) and writes it anew,
// so that nothing else can come along.
func replaces(text string) (string, error) {
	id, params, _ := strings.Cut(text, ";")
	tags := map[string]string{}
	only := ""
	for p := range strings.SplitSeq(params, ";") {
		name, val, _ := strings.Cut(p, "=")
		switch name, val = lower(trim(name)), trim(val); name {
		case "to-tag", "from-tag":
			if _, twice := tags[name]; twice || !isToken(val) {
				return "", fmt.Errorf("%w: its %s", errReplaces, name)
			}
			tags[name] = val
		case "early-only":
			only = ";early-only"
		}
	}
	if id = trim(id); !isCallID(id) || len(tags) != 2 {
		return "", errReplaces
	}
	return id + ";to-tag=" + tags["to-tag"] + ";from-tag=" + tags["from-tag"] + only, nil
}

// isCallID reports whether s may be a Call-ID (RFC 3261 section 25.1).
func isCallID(s string) bool {
	left, right, at := strings.Cut(s, "@")
	return isWord(left) && (!at || isWord(right))
}

func isWord(s string) bool {
	for i := range len(s) {
		if !isAlnum(s[i]) && strings.IndexByte("-.!%*_+`'~()<>:\\\"/[]?{}", s[i]) < 0 {
			return false
		}
	}
	return s != ""
}

// Accept answers the REFER with 202. From then on Report tells what becomes of
// it, beginning with 100, unless the other side does not want to know
// (Refer-Sub: false, RFC 4488). An error means that it was answered already.
func (f *Referral) Accept() error {
	l := f.request.leg
	l.sh.mu.Lock()
	defer l.sh.mu.Unlock()
	res := response{code: 202, reason: "Accepted", contact: l.contact}
	unheard := strings.EqualFold(trim(f.request.Header("Refer-Sub")), "false")
	if unheard {
		res.headers = []Header{{"Refer-Sub", "false"}}
	}
	if !f.request.finish(res) {
		if f.news.event == "" {
			f.end()
		}
		return ErrEnded
	}
	f.news.event = "refer"
	if unheard {
		f.end()
		return nil
	}
	if l.refers.theirs > 1 { // section 2.4.6
		f.news.event += ";id=" + strconv.FormatUint(uint64(sequence(f.request.req)), 10)
	}
	f.report(100)
	return nil
}

// Report tells the other side how far the call is: 180, or, at last, its final
// status. It does not wait. What was not told yet when something newer comes is
// left out, and nothing is told after a final status.
func (f *Referral) Report(code int) {
	l := f.request.leg
	l.sh.mu.Lock()
	defer l.sh.mu.Unlock()
	f.report(code)
}

func (f *Referral) report(code int) {
	if f.news.over || f.news.next >= 200 {
		return
	}
	f.news.next = code
	f.tell()
}

// Told is closed when the final status has reached the other side, or will not.
func (f *Referral) Told() <-chan struct{} { return f.news.done }

// tell sends the news, a NOTIFY at a time: one that overtakes another would be
// refused.
func (f *Referral) tell() {
	l, code := f.request.leg, f.news.next
	switch {
	case l.state != up:
		f.end()
		return
	case f.news.busy || code == 0:
		return
	}
	f.news.next, f.news.busy = 0, true
	state := "active;expires=" + strconv.Itoa(referralExpires)
	if code >= 200 {
		state = "terminated;reason=noresource"
	}
	l.sendMessage(Message{
		Method: "NOTIFY", ContentType: "message/sipfrag;version=2.0",
		Body:    fmt.Appendf(nil, "SIP/2.0 %d %s\r\n", code, reasonOf(code)),
		Headers: []Header{{"Event", f.news.event}, {"Subscription-State", state}},
	}, func(got *message, _ uint32) {
		f.news.busy = false
		if code >= 200 || got == nil || got.res.StatusCode >= 300 { // nobody listens any more
			f.end()
			return
		}
		f.tell()
	})
}

func (f *Referral) end() {
	if !f.news.over {
		f.news.over = true
		close(f.news.done)
	}
}
