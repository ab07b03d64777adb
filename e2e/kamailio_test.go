//go:build e2e

package e2e_test

import (
	"net"
	"path/filepath"
	"strings"
	"testing"

	"frontdesk/call"
	"frontdesk/needs"
	"frontdesk/pbx/pbxtest"
)

// proxy is a kamailio in the place of trunks, with the carrier behind it.
type proxy struct {
	*process
	net string
}

// newProxy runs a kamailio at the addresses of the redirecting (".11") and the
// bridging trunk (".13").
func newProxy(s *server, args ...string) *proxy {
	s.t.Helper()
	config, err := filepath.Abs("../testdata/kamailio/proxy.cfg")
	s.must(err)
	dir := s.t.TempDir()
	args = append([]string{"-f", config, "-DD", "-E", "-m", "16", "-M", "4", "-w", dir, "-Y", dir,
		"-l", "udp:" + s.net + ".11:5060", "-l", "udp:" + s.net + ".13:5060"}, args...)
	p := &proxy{process: launch(s.t, dir, needs.Program(s.t, "kamailio", "kamailio"), args...), net: s.net}
	waitFor(s.t, "kamailio to listen", func() bool {
		p.alive()
		l, err := net.ListenPacket("udp", s.net+".13:5060")
		if err == nil {
			l.Close()
		}
		return err != nil
	})
	return p
}

// caller is a baresip behind the proxy at one of its addresses.
func (p *proxy) caller(host, at, number string) *softphone {
	p.t.Helper()
	return newSoftphone(p.t, p.net+host, number, callerTone, `;answermode=manual;outbound="sip:`+p.net+at+`"`)
}

// proxied waits until the proxy has seen a request of a method come from a host.
func (p *proxy) proxied(method, host string) {
	p.t.Helper()
	waitFor(p.t, method+" from "+host+" at the proxy", func() bool {
		p.alive()
		return strings.Contains(p.log.String(), "proxied "+method+" from "+p.net+host+"\n")
	})
}

// TestKamailioRedirect has a redirect pass a proxy that records routes, and the
// caller follow it.
func TestKamailioRedirect(t *testing.T) {
	t.Parallel()
	s := start(t)
	proxy := newProxy(s)
	p := proxy.caller(".31", ".11", callerKnown)
	p.dial(s)
	p.await("CALL_PROGRESS", 1)
	p.hears(greeted)
	p.await("CALL_ESTABLISHED", 1)
	talk(t, p, s.pbxCall("201", 1))
	proxy.proxied("ACK", ".31")
	s.last(1, redirected("201", call.OutcomeResponsible, true, ""))
	s.idle()
	p.hangUp()
	s.must(s.pbxCall("201", 1).WaitDone(patience(t)))
}

// TestKamailioBridge bridges calls through a proxy that records routes: either
// side's requests within the dialog pass it.
func TestKamailioBridge(t *testing.T) {
	t.Parallel()
	s := start(t)
	proxy := newProxy(s)
	p := proxy.caller(".31", ".13", callerQuiet)

	p.dial(s)
	p.await("CALL_ESTABLISHED", 1)
	c := s.pbxCall("202", 1)
	talk(t, p, c)
	s.must(c.Hold(patience(t))) // a re-INVITE of ours
	proxy.proxied("INVITE", ".1")
	s.must(c.Resume(patience(t)))
	p.do("hold", "") // and one of the caller's
	p.answered("a=recvonly")
	p.do("resume", "")
	p.answered("a=sendrecv")
	p.echo()
	p.echoes(float64(pbxtest.ToneOf("202")))
	p.sing()
	s.must(c.WaitTone(patience(t), callerTone))
	s.must(c.Hangup(patience(t)))
	p.await("CALL_CLOSED", 1)
	proxy.proxied("BYE", ".1")
	s.last(1, bridged("202", call.ResultAnswered))

	p.dial(s)
	p.await("CALL_ESTABLISHED", 1)
	talk(t, p, s.pbxCall("202", 2))
	p.hangUp()
	p.await("CALL_CLOSED", 1)
	proxy.proxied("BYE", ".31")
	s.last(2, bridged("202", call.ResultAnswered))
	s.idle()
}

// TestKamailioCancel cancels through the proxy while the extension rings.
func TestKamailioCancel(t *testing.T) {
	t.Parallel()
	s := start(t, number("202", pbxtest.Behaviour{Then: pbxtest.Then{NoAnswer: true}}))
	proxy := newProxy(s)
	p := proxy.caller(".31", ".13", callerQuiet)
	p.dial(s)
	p.await("CALL_RINGING", 1)
	p.hangUp()
	p.await("CALL_CLOSED", 1)
	s.must(s.pbxCall("202", 1).WaitDone(patience(t)))
	s.last(1, unserved("202", call.OutcomeResponsible, call.ResultAbandoned, false, ""))
	s.idle()
}

// TestBaresipDialsInBand dials by sound alone, where the proxy has taken
// telephone-event out of the offer.
func TestBaresipDialsInBand(t *testing.T) {
	t.Parallel()
	s := start(t, longGreeting(t, "early"))
	p := newProxy(s, "-A", "STRIP").caller(".31", ".11", callerKnown)
	p.dial(s)
	p.await("CALL_PROGRESS", 1)
	p.hears(greeted)
	p.play(dtmf(p, "202"))
	p.await("CALL_ESTABLISHED", 1)
	p.sing()
	talk(t, p, s.pbxCall("202", 1))
	p.hangUp()
	interrupted(t, s.last(1, redirected("202", call.OutcomeDigits, true, "202")))
	s.idle()
	_, early, _ := strings.Cut(p.text(), "SIP/2.0 183 ")
	if early, _, _ = strings.Cut(early, "stream:"); !strings.Contains(early, "PCMA") || strings.Contains(early, "telephone-event") {
		t.Errorf("baresip was answered %s, want PCMA without telephone-event", early)
	}
}
