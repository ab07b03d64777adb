package sip

import (
	"strconv"
	"strings"
	"time"

	gosip "github.com/emiago/sipgo/sip"
)

// minSE is the shortest session timer we take (RFC 4028 section 5).
const minSE = 90 * time.Second

// leastSE bounds how often the other side can make us refresh.
const leastSE = 30 * time.Second

// sessionTimer ends a session that the other side has forgotten (RFC 4028).
type sessionTimer struct {
	interval time.Duration
	ours     bool // we refresh
	timer    timer
}

// sessionExpires reads a Session-Expires header.
func sessionExpires(hs []gosip.Header) (d time.Duration, refresher string, ok bool) {
	v := value(hs, "Session-Expires")
	if v == "" {
		return 0, "", false
	}
	seconds, params, _ := strings.Cut(v, ";")
	n, err := strconv.ParseUint(strings.TrimSpace(seconds), 10, 31)
	if err != nil {
		return 0, "", false
	}
	for p := range strings.SplitSeq(params, ";") {
		if name, val, _ := strings.Cut(p, "="); strings.EqualFold(strings.TrimSpace(name), "refresher") {
			refresher = strings.ToLower(strings.TrimSpace(val))
		}
	}
	return time.Duration(n) * time.Second, refresher, true
}

// tooShort is the refusal of a session timer that is too short, from somebody
// who can ask for a longer one.
func tooShort(req *gosip.Request) response {
	d, _, ok := sessionExpires(req.Headers())
	if !ok || d >= minSE || !speaksTimer(req) {
		return response{}
	}
	return response{code: 422, reason: "Session Interval Too Small", headers: []Header{{"Min-SE", strconv.Itoa(int(minSE / time.Second))}}}
}

func speaksTimer(req *gosip.Request) bool {
	return hasOption(strings.Join(values(req.Headers(), "Supported"), ","), "timer") ||
		hasOption(strings.Join(values(req.Headers(), "Require"), ","), "timer")
}

// refreshed starts the timer that req asks for, and returns the headers by
// which its 2xx agrees. We refresh only where we are told to.
func (l *Leg) refreshed(req *gosip.Request) []Header {
	d, refresher, ok := sessionExpires(req.Headers())
	if !ok || !speaksTimer(req) {
		l.startRefresh(0, false)
		return nil
	}
	if refresher != "uas" {
		refresher = "uac"
	}
	l.startRefresh(d, refresher == "uas")
	headers := []Header{{"Session-Expires", strconv.Itoa(int(d/time.Second)) + ";refresher=" + refresher}}
	if refresher == "uac" {
		headers = append(headers, Header{"Require", "timer"})
	}
	return headers
}

// agreed starts the timer that a 2xx to an INVITE or UPDATE of ours names.
func (l *Leg) agreed(res *gosip.Response) {
	d, refresher, ok := sessionExpires(res.Headers())
	if !ok {
		l.startRefresh(0, false)
		return
	}
	l.startRefresh(max(d, leastSE), refresher != "uas")
}

// startRefresh replaces the timer: at half of d we refresh, or shortly before
// its end we give up (section 10). 0: no timer.
func (l *Leg) startRefresh(d time.Duration, ours bool) {
	r := &l.refresh
	l.sh.wheel.stop(&r.timer)
	r.interval, r.ours = d, ours
	switch {
	case d == 0 || l.state == over:
	case ours:
		r.timer.fire = l.sendRefresh
		l.sh.after(&r.timer, d/2)
	default:
		r.timer.fire = l.expired
		l.sh.after(&r.timer, d-min(32*time.Second, d/3))
	}
}

func (l *Leg) expired() { l.hangup(`SIP;cause=408;text="Session timer expired"`, ErrExpired) }

// sendRefresh refreshes the session: by UPDATE where the other side takes it,
// else by an INVITE that repeats our description.
func (l *Leg) sendRefresh() {
	if l.offers.pending().code != 0 || l.answer != nil { // somebody is busy; what they do refreshes too
		l.refresh.timer.fire = l.sendRefresh
		l.sh.after(&l.refresh.timer, 4*time.Second)
		return
	}
	m := Message{Method: "UPDATE", Headers: []Header{
		{"Session-Expires", strconv.Itoa(int(l.refresh.interval/time.Second)) + ";refresher=uac"},
	}}
	if !hasOption(l.allows, "update") {
		m.Method, m.ContentType, m.Body = "INVITE", applicationSDP, l.offers.sdp
	}
	// Should no answer come, this is when the session ends.
	l.refresh.timer.fire = l.expired
	l.sh.after(&l.refresh.timer, l.refresh.interval/2-min(16*time.Second, l.refresh.interval/6))
	l.sendMessage(m, func(got *message, seq uint32) { l.refreshAnswered(m.Method, seq, got) })
}

func (l *Leg) refreshAnswered(method string, seq uint32, got *message) {
	switch {
	case l.state != up:
	case got == nil || got.res.StatusCode == 481 || got.res.StatusCode == 408:
		l.expired()
	case got.res.StatusCode/100 == 2:
		l.retarget(got.res.Headers())
		if method == "INVITE" {
			l.sendACK(seq, "", nil)
		}
		interval := l.refresh.interval
		l.agreed(got.res)
		if l.refresh.interval == 0 { // the other side has lost its timer; ours goes on
			l.startRefresh(interval, true)
		}
	case method == "UPDATE" && (got.res.StatusCode == 405 || got.res.StatusCode == 501):
		l.allows = "invite"
		l.sendRefresh()
	default: // 491, 500 and such: once more
		l.refresh.timer.fire = l.sendRefresh
		l.sh.after(&l.refresh.timer, 4*time.Second)
	}
}
