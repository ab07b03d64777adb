package pbxtest

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/coder/websocket"
)

// Quirks are what call control does wrong on live systems.
type Quirks struct {
	Repeat    int  `json:"repeat,omitempty"`     // every upsert comes so many times more
	Swap      bool `json:"swap,omitempty"`       // an upsert's repetitions come with older numbers of sequence
	LoseGone  int  `json:"lose_gone,omitempty"`  // so many Removes are not told
	LoseAll   bool `json:"lose_all,omitempty"`   // no Remove is
	Filled    bool `json:"filled,omitempty"`     // attached_data holds the participant, as the schema says
	DropAfter int  `json:"drop_after,omitempty"` // connections end after so many events
}

// The types of events.
const (
	upserted = 0
	removed  = 1
	digits   = 2
	response = 4
)

// events tells listeners what happens.
type events struct {
	quirks    Quirks
	sequence  int
	listeners map[*listener]bool
	joined    chan struct{} // closed and replaced when a listener comes or goes
}

func newEvents() events { return events{listeners: map[*listener]bool{}, joined: make(chan struct{})} }

// listener is one websocket.
type listener struct {
	monitored []string // nil: all
	queue     chan []byte
}

// backlog is how many events a listener may be behind.
const backlog = 1024

// SetQuirks changes what call control does wrong.
func (s *State) SetQuirks(q Quirks) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.live.quirks = q
}

// Quirks are what call control does wrong.
func (s *State) Quirks() Quirks {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.live.quirks
}

// WaitListeners waits until n websockets are open.
func (s *State) WaitListeners(ctx context.Context, n int) error {
	for {
		s.mu.Lock()
		open, joined := len(s.live.listeners), s.live.joined
		s.mu.Unlock()
		if open == n {
			return nil
		}
		select {
		case <-joined:
		case <-ctx.Done():
			return fmt.Errorf("waiting for %d listeners, of whom there are %d: %w", n, open, context.Cause(ctx))
		}
	}
}

// listens adds a listener, or takes it away. mu is held.
func (s *State) listens(l *listener, on bool) {
	if on {
		s.live.listeners[l] = true
	} else {
		delete(s.live.listeners, l)
	}
	close(s.live.joined)
	s.live.joined = make(chan struct{})
}

// Cut ends all websockets.
func (s *State) Cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for l := range s.live.listeners {
		s.cut(l)
	}
}

func (s *State) cut(l *listener) {
	if s.live.listeners[l] {
		s.listens(l, false)
		close(l.queue)
	}
}

// changed tells of a participant. mu is held.
func (s *State) changed(kind int, p Row) {
	q := &s.live.quirks
	if kind == removed && (q.LoseAll || q.LoseGone > 0) {
		q.LoseGone = max(q.LoseGone-1, 0)
		return
	}
	entity := "/callcontrol/" + p.dnOf() + "/participants/" + itoa(p.participant())
	var attached any
	if q.Filled && kind == upserted {
		attached = shown(p)
	}
	s.tell(p.dnOf(), kind, entity, attached, 0)
	if kind == upserted {
		for n := range q.Repeat {
			back := 0
			if q.Swap {
				back = n + 2
			}
			s.tell(p.dnOf(), kind, entity, attached, back)
		}
	}
}

func (r Row) dnOf() string { return r.text("dn") }

func (r Row) participant() int {
	id, _ := r["id"].(int)
	return id
}

// shown is a participant as JSON has it.
func shown(p Row) Row {
	out := maps.Clone(p)
	delete(out, "type") // of its number
	return out
}

// tell sends an event to all who may know; back says by how much its number is
// older than it should be. mu is held.
func (s *State) tell(dn string, kind int, entity string, attached any, back int) {
	s.live.sequence++
	data, err := json.Marshal(Row{
		"sequence": max(s.live.sequence-back, 0), "event": Row{"event_type": kind, "entity": entity, "attached_data": attached},
	})
	if err != nil {
		return // it is made of strings and numbers
	}
	for l := range s.live.listeners {
		if l.sees(dn) {
			s.send(l, data)
		}
	}
}

// send queues data for a listener. mu is held.
func (s *State) send(l *listener, data []byte) {
	select {
	case l.queue <- data:
	default:
		s.cut(l)
	}
}

func (l *listener) sees(dn string) bool {
	return l.monitored == nil || slices.Contains(l.monitored, dn)
}

// Press tells that a participant of a number has pressed keys.
func (s *State) Press(dn, keys string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.participants(dn) {
		s.tell(dn, digits, "/callcontrol/"+dn+"/participants/"+itoa(p.participant()), Row{"dtmf_input": keys}, 0)
	}
}

// participants are those of a number, by id. mu is held.
func (s *State) participants(dn string) []Row {
	out := []Row{}
	for _, p := range s.live.participants {
		if p.dnOf() == dn {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, func(a, b Row) int { return cmp.Compare(a.participant(), b.participant()) })
	return out
}

// serveCallControl is everything under /callcontrol.
func (a *API) serveCallControl(w http.ResponseWriter, r *http.Request, body []byte) {
	c := a.bearer(r)
	l := a.state.cfg.Licence
	switch {
	case c == nil:
		w.WriteHeader(http.StatusUnauthorized)
	case c.NoCallControl || l.NoEnterprise || l.NoFlow:
		w.WriteHeader(http.StatusForbidden)
	case r.URL.Path == "/callcontrol/ws":
		a.serveEvents(w, r, c)
	case r.Method == http.MethodPost:
		a.act(w, r, c, body)
	default:
		status, out := a.state.entity(r.URL.Path, c)
		if out == nil {
			w.WriteHeader(status)
			return
		}
		writeJSON(w, status, out)
	}
}

// entity is what a path under /callcontrol shows.
func (s *State) entity(path string, c *Client) (status int, out any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	parts := strings.Split(strings.Trim(strings.TrimPrefix(path, "/callcontrol"), "/"), "/")
	if parts[0] == "" {
		all := []Row{}
		for _, p := range s.tables["Peers"].rows {
			if dn := p.text("Number"); (&listener{monitored: c.Monitored}).sees(dn) {
				all = append(all, s.entityOf(dn))
			}
		}
		return http.StatusOK, all
	}
	dn := parts[0]
	if kind, _ := s.kind(dn); kind == "None" {
		return http.StatusNotFound, nil
	}
	if !(&listener{monitored: c.Monitored}).sees(dn) {
		return http.StatusForbidden, nil
	}
	switch {
	case len(parts) == 1:
		return http.StatusOK, s.entityOf(dn)
	case parts[1] == "devices" && len(parts) == 2:
		return http.StatusOK, s.entityOf(dn)["devices"]
	case parts[1] == "participants" && len(parts) == 2:
		return http.StatusOK, s.entityOf(dn)["participants"]
	case parts[1] == "participants" && len(parts) == 3:
		id, err := strconv.Atoi(parts[2])
		if p := s.live.participants[id]; err == nil && p != nil && p.dnOf() == dn {
			return http.StatusOK, shown(p)
		}
	}
	return http.StatusNotFound, nil
}

// entityOf is a number with what happens at it. mu is held.
func (s *State) entityOf(dn string) Row {
	kind, _ := s.kind(dn)
	devices, present := []Row{}, []Row{}
	if kind == "Extension" {
		devices = append(devices, Row{"dn": dn, "device_id": "sip:" + dn + "@127.0.0.1:5483;rinstance=ab12", "user_agent": "3CX"})
	}
	for _, p := range s.participants(dn) {
		present = append(present, shown(p))
	}
	return Row{"dn": dn, "type": wire(kind), "devices": devices, "participants": present}
}

// act is makecall; actions on participants of the sandbox are not to be had.
func (a *API) act(w http.ResponseWriter, r *http.Request, c *Client, body []byte) {
	dn, action, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/callcontrol/"), "/")
	var in struct {
		Destination string `json:"destination"`
	}
	a.state.mu.Lock()
	makes := a.state.makes
	kind, _ := a.state.kind(dn)
	a.state.mu.Unlock()
	switch {
	case !(&listener{monitored: c.Monitored}).sees(dn):
		w.WriteHeader(http.StatusForbidden)
	case kind == "None" || !strings.HasSuffix(action, "makecall"):
		w.WriteHeader(http.StatusNotFound)
	case json.Unmarshal(body, &in) != nil || in.Destination == "":
		w.WriteHeader(http.StatusUnprocessableEntity)
	case makes == nil || makes(dn, in.Destination) != nil:
		writeJSON(w, http.StatusFailedDependency, Row{"finalstatus": -1, "reason": "PhoneNotRegistered", "reasontext": "", "result": nil})
	default:
		writeJSON(w, http.StatusOK, Row{"finalstatus": 1, "reason": "None", "reasontext": "", "result": Row{"dn": dn, "status": "Dialing"}})
	}
}

// serveEvents is the websocket. It ends with the client's token, the
// connection, or the API.
func (a *API) serveEvents(w http.ResponseWriter, r *http.Request, c *Client) {
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return // answered by Accept
	}
	defer conn.CloseNow() //nolint:errcheck // it is over
	s := a.state
	l := &listener{monitored: c.Monitored, queue: make(chan []byte, backlog)}
	s.mu.Lock()
	s.listens(l, true)
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.cut(l)
	}()
	ctx, cancel := context.WithCancel(r.Context())
	reading := make(chan struct{})
	defer func() {
		cancel()
		<-reading
	}()
	go func() {
		defer close(reading)
		defer cancel()
		a.questions(ctx, conn, l, c)
	}()
	a.events(ctx, conn, l)
}

// events writes what happens until the listener is cut off.
func (a *API) events(ctx context.Context, conn *websocket.Conn, l *listener) {
	for n := 1; ; n++ {
		select {
		case data, open := <-l.queue:
			if !open {
				return
			}
			writing, cancel := context.WithTimeout(ctx, 10*time.Second)
			err := conn.Write(writing, websocket.MessageText, data)
			cancel()
			if err != nil {
				return
			}
			if q := a.state.Quirks(); q.DropAfter > 0 && n >= q.DropAfter {
				return
			}
		case <-ctx.Done():
			return
		case <-a.closed:
			return
		}
	}
}

// questions answers requests that come by the websocket.
func (a *API) questions(ctx context.Context, conn *websocket.Conn, l *listener, c *Client) {
	for {
		_, data, err := conn.Read(ctx)
		if err != nil {
			return
		}
		var q struct {
			RequestID string
			Path      string
		}
		if json.Unmarshal(data, &q) != nil {
			continue
		}
		status, out := a.state.entity(q.Path, c)
		a.state.mu.Lock()
		a.state.live.sequence++
		answer, err := json.Marshal(Row{"sequence": a.state.live.sequence, "event": Row{"event_type": response, "entity": q.Path,
			"attached_data": Row{"RequestID": q.RequestID, "Path": q.Path, "StatusCode": status, "Response": out}}})
		if err == nil && a.state.live.listeners[l] {
			a.state.send(l, answer)
		}
		a.state.mu.Unlock()
	}
}
