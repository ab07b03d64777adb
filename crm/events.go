package crm

import (
	"cmp"
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"frontdesk/call"
)

// maxEvent bounds the body of an event: real ones are below a kilobyte.
const maxEvent = 64 << 10

// event is what an outbound webhook says: only that something happened to an
// entity, not what.
type event struct {
	name  string // in upper case
	id    FlexInt
	token string
}

// parseEvent reads the body of an event, a form with keys as PHP writes them.
// Keys that are not known do not matter: they come and go.
func parseEvent(body string) (event, error) {
	form, err := url.ParseQuery(body)
	if err != nil {
		return event{}, errors.New("the body is no form")
	}
	e := event{name: strings.ToUpper(form.Get("event")), token: form.Get("auth[application_token]")}
	if e.name == "" {
		return event{}, errors.New("the body names no event")
	}
	id, err := toInt(form.Get("data[FIELDS][ID]"))
	if err != nil || id < 0 {
		return event{}, errors.New("the body's id is none")
	}
	e.id = FlexInt(id)
	return e, nil
}

const eventUserAdded = "ONUSERADD"

// eventKind is the kind of entity that an event speaks of.
func eventKind(name string) (call.Kind, bool) {
	for _, k := range kindOrder {
		for _, what := range []string{"ADD", "UPDATE", "DELETE"} {
			if name == eventName(k, what) {
				return k, true
			}
		}
	}
	return "", false
}

func eventName(k call.Kind, what string) string { return "ONCRM" + strings.ToUpper(string(k)) + what }

// eventNames are the events that the mirror wants.
func eventNames() []string {
	out := []string{eventUserAdded}
	for _, k := range kindOrder {
		out = append(out, eventName(k, "ADD"), eventName(k, "UPDATE"), eventName(k, "DELETE"))
	}
	return out
}

// note has what an event speaks of read again; known is false for events that
// are of no interest.
func (m *Mirror) note(name string, id int) (known bool) {
	if name == eventUserAdded {
		m.pending.addUsers()
		return true
	}
	k, ok := eventKind(name)
	if !ok || id <= 0 {
		return false
	}
	m.pending.add(refOf(k, id))
	return true
}

// Events takes the portal's outbound webhooks, which carry one of the
// application tokens that Bitrix24 shows where they are made; the token of the
// client's OAuth application is good too. Without any token every event is
// refused. The portal repeats nothing and slows down for slow handlers, so the
// answer comes at once and the entity is read later, with others.
func (m *Mirror) Events(tokens ...string) http.Handler {
	tokens = slices.DeleteFunc(slices.Clone(tokens), func(t string) bool { return t == "" })
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		status := m.event(w, r, tokens)
		m.metrics.event(status)
		w.WriteHeader(status.code())
	})
}

// eventResult is what became of an event.
type eventResult string

const (
	eventTaken   eventResult = "taken"
	eventIgnored eventResult = "ignored"
	eventRefused eventResult = "refused"
	eventBroken  eventResult = "broken"
	eventMethod  eventResult = "method"
)

func (r eventResult) code() int {
	switch r {
	case eventRefused:
		return http.StatusForbidden
	case eventBroken:
		return http.StatusBadRequest
	case eventMethod:
		return http.StatusMethodNotAllowed
	}
	return http.StatusOK
}

func (m *Mirror) event(w http.ResponseWriter, r *http.Request, tokens []string) eventResult {
	if r.Method != http.MethodPost {
		return eventMethod
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxEvent))
	if err != nil {
		return eventBroken
	}
	e, err := parseEvent(string(body))
	if err != nil {
		return eventBroken
	}
	if !authorised(e.token, append(m.client.appTokens(r.Context()), tokens...)) {
		return eventRefused
	}
	if !m.note(e.name, int(e.id)) {
		return eventIgnored
	}
	return eventTaken
}

// authorised compares in constant time, whatever the lengths.
func authorised(given string, tokens []string) bool {
	sum := sha256.Sum256([]byte(given))
	found := 0
	for _, t := range tokens {
		if t == "" {
			continue
		}
		want := sha256.Sum256([]byte(t))
		found |= subtle.ConstantTimeCompare(sum[:], want[:])
	}
	return found == 1
}

// offline polls for events that the portal keeps for the application, for
// sites that no webhook can reach.
func (m *Mirror) offline(ctx context.Context, app Voice) {
	extended := false
	m.persist(ctx, "offline events are not bound", func(ctx context.Context) (err error) {
		extended, err = m.bindOffline(ctx, app)
		return err
	})
	for ctx.Err() == nil {
		m.persist(ctx, "offline events could not be read", func(ctx context.Context) error {
			return m.pollOffline(ctx, app, extended)
		})
		if sleep(ctx, m.cfg.Offline) != nil {
			return
		}
	}
}

// bindOffline asks for the events that are not bound yet. extended tells
// whether the plan lets events be kept until they are confirmed.
func (m *Mirror) bindOffline(ctx context.Context, app Voice) (extended bool, err error) {
	var feature string
	if _, err := app.Call(ctx, LaneSync, "feature.get", map[string]any{"CODE": "rest_offline_extended"}, &feature); err != nil {
		return false, err
	}
	var bound []struct {
		Event   string   `json:"event"`
		Offline FlexBool `json:"offline"`
	}
	if _, err := app.Call(ctx, LaneSync, "event.get", nil, &bound); err != nil {
		return false, err
	}
	for _, name := range eventNames() {
		there := false
		for _, b := range bound {
			there = there || bool(b.Offline) && strings.EqualFold(b.Event, name)
		}
		if there {
			continue
		}
		params := map[string]any{"event": name, "event_type": "offline"}
		if _, err := app.Call(ctx, LaneSync, "event.bind", params, nil); err != nil {
			return false, err
		}
	}
	return feature == "Y", nil
}

// offlineEvents is the answer of event.offline.get.
type offlineEvents struct {
	Process json.RawMessage `json:"process_id"`
	Events  []struct {
		Name    string          `json:"EVENT_NAME"`
		Data    json.RawMessage `json:"EVENT_DATA"`
		Message string          `json:"MESSAGE_ID"`
	} `json:"events"`
}

// pollOffline reads all events that wait, and what they speak of. Where the
// plan allows they are confirmed only when all of it has been taken in: until
// then the portal gives them to nobody but who names their process again.
func (m *Mirror) pollOffline(ctx context.Context, app Voice, extended bool) error {
	var process string
	if err := getJSON(ctx, m.cfg.State, offlineKey, &process); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for {
		params := map[string]any{"limit": pageRows, "clear": 1, "order": map[string]string{"ID": "ASC"}}
		if extended {
			params["clear"] = 0
		}
		if process != "" {
			params["process_id"] = process
		}
		var got offlineEvents
		if _, err := app.Call(ctx, LaneSync, "event.offline.get", params, &got); err != nil {
			return err
		}
		if extended && len(got.Events) > 0 {
			if err := putJSON(ctx, m.cfg.State, offlineKey, text(got.Process)); err != nil {
				return err
			}
		}
		if err := m.takeOffline(ctx, got, extended); err != nil {
			return err
		}
		if extended && (len(got.Events) > 0 || process != "") {
			if err := m.confirmOffline(ctx, app, cmp.Or(text(got.Process), process)); err != nil {
				return err
			}
		}
		if len(got.Events) < pageRows && process == "" {
			return nil
		}
		process = ""
	}
}

// confirmOffline has the portal forget events that were taken in.
func (m *Mirror) confirmOffline(ctx context.Context, app Voice, process string) error {
	if _, err := app.Call(ctx, LaneSync, "event.offline.clear", map[string]any{"process_id": process}, nil); err != nil {
		return fmt.Errorf("confirming offline events: %w", err)
	}
	return putJSON(ctx, m.cfg.State, offlineKey, "")
}

// takeOffline has what events speak of read again, or reads it at once where
// they are to be confirmed.
func (m *Mirror) takeOffline(ctx context.Context, got offlineEvents, atOnce bool) error {
	var refs []ref
	for _, e := range got.Events {
		name, id := strings.ToUpper(e.Name), offlineID(e.Data)
		k, ok := eventKind(name)
		switch {
		case ok && id > 0 && atOnce:
			refs = append(refs, refOf(k, id))
		case !m.note(name, id):
			m.metrics.event(eventIgnored)
			continue
		}
		m.metrics.event(eventTaken)
	}
	if len(refs) == 0 {
		return nil
	}
	slices.Sort(refs)
	return m.reread(ctx, slices.Compact(refs))
}

// offlineID is the entity's id; EVENT_DATA may be false.
func offlineID(data json.RawMessage) int {
	var d struct {
		Fields struct {
			ID FlexInt `json:"ID"`
		} `json:"FIELDS"`
	}
	if json.Unmarshal(data, &d) != nil {
		return 0
	}
	return int(d.Fields.ID)
}
