package pbxtest_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"frontdesk/pbx/pbxtest"
)

// event is what the websocket brings.
type event struct {
	Sequence int
	Event    struct {
		Type     int             `json:"event_type"`
		Entity   string          `json:"entity"`
		Attached json.RawMessage `json:"attached_data"`
	}
}

// socket is a websocket of call control.
type socket struct {
	*testing.T
	conn *websocket.Conn
}

func (s *site) socket() *socket {
	s.Helper()
	conn, res, err := websocket.Dial(limit(s.T), s.url+"/callcontrol/ws", &websocket.DialOptions{
		HTTPClient: s.http, HTTPHeader: http.Header{"Authorization": {"Bearer " + s.token}},
	})
	if err != nil {
		s.Fatalf("%v, %v", err, res)
	}
	s.Cleanup(func() { _ = conn.CloseNow() })
	must(s.T, s.WaitListeners(limit(s.T), 1))
	return &socket{s.T, conn}
}

func (s *socket) next() event {
	s.Helper()
	_, data, err := s.conn.Read(limit(s.T))
	must(s.T, err)
	var e event
	must(s.T, json.Unmarshal(data, &e))
	return e
}

// want reads events and compares their types and entities, without ids.
func (s *socket) want(want ...string) {
	s.Helper()
	for _, w := range want {
		e := s.next()
		if got := fmt.Sprintf("%d %s", e.Event.Type, e.Event.Entity); !strings.HasPrefix(got, w) {
			s.Errorf("event %s, want %s", got, w)
		}
		if e.Event.Type <= 1 && string(e.Event.Attached) != "null" {
			s.Errorf("attached data %s", e.Event.Attached)
		}
	}
}

// participants are those of a number in a snapshot: status and who called.
func (s *site) participants(dn string) []any {
	s.Helper()
	_, out := s.send("GET", "/callcontrol/"+dn, nil)
	all, _ := out["participants"].([]any)
	return all
}

func TestCallControl(t *testing.T) {
	t.Parallel()
	s := newSite(t, pbxtest.StateConfig{})
	ws := s.socket()
	c := s.Begin(pbxtest.Inbound, pbxtest.Party{Number: "+74951234567", Name: "ACME"}, "800", "10000")
	c.Ring("800", pbxtest.Queue, pbxtest.Dialled)
	c.Answer("800")
	c.Ring("101", pbxtest.Extension, pbxtest.Polled)
	ws.want("0 /callcontrol/10000/participants/8101", "0 /callcontrol/800/", "0 /callcontrol/800/", "0 /callcontrol/10000/", "0 /callcontrol/101/participants/8103")

	p, _ := s.participants("101")[0].(map[string]any)
	for field, want := range map[string]any{
		"id": 8103.0, "status": "Ringing", "dn": "101", "party_caller_name": "ACME", "party_dn": "10000", "party_caller_id": "+74951234567", "party_did": "",
		"party_dn_type": "Wexternalline", "on_behalf_of_dn": "800", "on_behalf_of_type": "Wqueue", "callid": float64(c.Names().Number), "direct_control": false,
	} {
		if p[field] != want {
			t.Errorf("%s is %v, want %v", field, p[field], want)
		}
	}
	_, out := s.do("GET", "ActiveCalls", nil)
	if values(out, "Caller") != "10000 ACME" || values(out, "Callee") != "101 Ivan Petrov" || s.Live() != 1 {
		t.Errorf("active calls %v", out)
	}
	c.Leave("800")
	c.Answer("101")
	c.Leave("101")
	c.Ring("205", pbxtest.Extension, pbxtest.Attended)
	ws.want("1 /callcontrol/800/", "0 /callcontrol/101/", "1 /callcontrol/101/", "0 /callcontrol/205/")
	if p, _ = s.participants("205")[0].(map[string]any); p["referred_by_dn"] != "101" || p["referred_by_type"] != "Wextension" {
		t.Errorf("participant %v", p)
	}
	s.Press("205", "5")
	e := ws.next()
	if e.Event.Type != 2 || string(e.Event.Attached) != `{"dtmf_input":"5"}` {
		t.Errorf("keys %+v", e)
	}
	entity := fmt.Sprintf("/callcontrol/205/participants/%v", p["id"])
	if status, _ := s.send("GET", entity, nil); status != 200 {
		t.Errorf("the participant is answered %d", status)
	}
	account := c.End(pbxtest.BySource)
	ws.want("1 "+entity, "1 /callcontrol/10000/")
	if status, _ := s.send("GET", entity, nil); status != 404 {
		t.Errorf("a participant that is gone is answered %d", status)
	}
	if again := c.End(pbxtest.ByDestination); again.End != pbxtest.BySource || len(s.Accounts()) != 1 || s.Live() != 0 || len(account.Legs) != 3 {
		t.Errorf("accounts %+v", s.Accounts())
	}
}

func TestSequenceAndRequestsByWebsocket(t *testing.T) {
	t.Parallel()
	s := newSite(t, pbxtest.StateConfig{})
	ws := s.socket()
	c := s.Begin(pbxtest.Internal, party("101"), "205", "")
	c.Ring("205", pbxtest.Extension, pbxtest.Dialled)
	a, b := ws.next(), ws.next()
	if b.Sequence != a.Sequence+1 {
		t.Errorf("sequence %d, then %d", a.Sequence, b.Sequence)
	}
	must(t, ws.conn.Write(limit(t), websocket.MessageText, []byte(`{"RequestID":"1","Path":"/callcontrol/205","RequestData":null}`)))
	e := ws.next()
	var answer struct {
		RequestID, Path string
		StatusCode      int
		Response        struct{ Participants []any }
	}
	must(t, json.Unmarshal(e.Event.Attached, &answer))
	if e.Event.Type != 4 || answer.RequestID != "1" || answer.StatusCode != 200 || len(answer.Response.Participants) != 1 {
		t.Errorf("answer %+v", answer)
	}
	c.End(pbxtest.BySource)
}

func TestQuirks(t *testing.T) {
	t.Parallel()
	s := newSite(t, pbxtest.StateConfig{})
	s.SetQuirks(pbxtest.Quirks{Repeat: 1, Swap: true, LoseGone: 1})
	ws := s.socket()
	c := s.Begin(pbxtest.Internal, party("101"), "205", "")
	a, b := ws.next(), ws.next()
	if a.Event.Entity != b.Event.Entity || b.Sequence >= a.Sequence {
		t.Errorf("events %+v, %+v", a, b)
	}
	c.Ring("205", pbxtest.Extension, pbxtest.Dialled)
	ws.want("0 /callcontrol/205/", "0 /callcontrol/205/")
	c.End(pbxtest.BySource)
	ws.want("1 /callcontrol/101/") // that of 205 is lost
	if n := len(s.participants("205")); n != 0 {
		t.Errorf("205 has %d participants", n)
	}
	s.SetQuirks(pbxtest.Quirks{LoseAll: true, DropAfter: 6})
	c = s.Begin(pbxtest.Internal, party("101"), "205", "")
	c.End(pbxtest.BySource)
	ws.want("0 /callcontrol/101/")
	if _, _, err := ws.conn.Read(limit(t)); err == nil {
		t.Error("the connection goes on after its last event")
	}
	must(t, s.WaitListeners(limit(t), 0))
	ws = s.socket()
	s.Cut()
	if _, _, err := ws.conn.Read(limit(t)); err == nil {
		t.Error("a connection that was cut goes on")
	}
}

func TestMonitoredAlone(t *testing.T) {
	t.Parallel()
	s := newSite(t, pbxtest.StateConfig{}, pbxtest.Client{ID: "frontdesk", Secret: "secret", Monitored: []string{"101"}})
	ws := s.socket()
	c := s.Begin(pbxtest.Internal, party("205"), "101", "")
	c.Ring("101", pbxtest.Extension, pbxtest.Dialled)
	ws.want("0 /callcontrol/101/")
	if status, _ := s.send("GET", "/callcontrol/205", nil); status != 403 {
		t.Errorf("another number is answered %d", status)
	}
	if status, _ := s.send("GET", "/callcontrol/999", nil); status != 404 {
		t.Errorf("no number is answered %d", status)
	}
	c.End(pbxtest.BySource)
}

func TestWebsocketNeedsAToken(t *testing.T) {
	t.Parallel()
	s := newSite(t, pbxtest.StateConfig{})
	_, res, err := websocket.Dial(limit(t), s.url+"/callcontrol/ws", &websocket.DialOptions{HTTPClient: s.http})
	if err == nil || res == nil || res.StatusCode != 401 {
		t.Errorf("without a token: %v, %v", res, err)
	}
}

func TestMakeCall(t *testing.T) {
	t.Parallel()
	s := newSite(t, pbxtest.StateConfig{})
	_, out := s.do("POST", "Users/Pbx.MakeCall", map[string]any{"dn": "101", "destination": "+7"})
	if out["FinalStatus"] != "Failed" {
		t.Errorf("without telephones %v", out)
	}
	status, out := s.do("POST", "Users/Pbx.MakeCall", map[string]any{"dn": "999", "destination": "+7"})
	s.want("nobody's call", status, out, 400, "NON_EXISTENT_EXT_NUMBER")
	p, err := pbxtest.New(t.Context(), pbxtest.Config{State: s.State})
	must(t, err)
	run(t, p, p.Phone.PortsInUse)
	if _, out = s.do("POST", "Users/Pbx.MakeCall", map[string]any{"dn": "101", "destination": "97495"}); !strings.Contains(fmt.Sprint(out["ReasonText"]), "no route") {
		t.Errorf("without a line %v", out)
	}
	for path, want := range map[string]int{"101/makecall": 424, "101/nope": 404, "999/makecall": 404} {
		if status, _ := s.send("POST", "/callcontrol/"+path, map[string]any{"destination": "97495"}); status != want {
			t.Errorf("%s: %d, want %d", path, status, want)
		}
	}
	if status, _ := s.send("POST", "/callcontrol/101/makecall", map[string]any{}); status != 422 {
		t.Errorf("without a destination: %d", status)
	}
	if _, err = p.Dial(limit(t), "101", "5"); !errors.Is(err, pbxtest.ErrNoRoute) {
		t.Errorf("a number of no rule: %v", err)
	}
	if a := s.Accounts(); len(a) != 3 || a[0].End != pbxtest.NoRoute || a[0].Legs[0].Kind != pbxtest.LineSet {
		t.Errorf("accounts %+v", a)
	}
}
