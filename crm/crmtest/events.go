package crmtest

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"frontdesk/call"
)

// Hook is an outbound webhook, which is posted every event that happens from
// now on. As the portal does, it says only what changed, not how, and repeats
// nothing.
type Hook struct {
	URL    string
	Token  string       // application_token
	Client *http.Client // nil: http.DefaultClient
}

// hooks are the outbound webhooks, and what is on its way to them.
type hooks struct {
	list    []Hook
	queue   []happened
	wake    chan struct{}
	posting bool
	posted  int
}

// happened is one event.
type happened struct {
	name string
	id   int
	at   time.Time
}

// postTimeout is how long the portal waits for a handler.
const postTimeout = 5 * time.Second

// AddHook lets the portal post its events. Close ends it.
func (p *Portal) AddHook(h Hook) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if h.Client == nil {
		h.Client = http.DefaultClient
	}
	s := &p.apps.hooks
	s.list = append(s.list, h)
	if !s.posting {
		s.posting, s.wake = true, make(chan struct{}, 1)
		go p.postEvents(s.wake)
	}
}

// Posted is how many events were taken by a handler with status 200.
func (p *Portal) Posted() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.apps.hooks.posted
}

// emit tells of an event whoever wants to hear. mu is held.
func (p *Portal) emit(name string, id int) {
	e := happened{name, id, p.now()}
	if s := &p.apps.hooks; len(s.list) > 0 {
		s.queue = append(s.queue, e)
		select {
		case s.wake <- struct{}{}:
		default:
		}
	}
	p.apps.offline.add(p.id, e)
}

// changed tells of a change to an entity: ADD, UPDATE or DELETE. mu is held.
func (p *Portal) changed(k call.Kind, what string, id int) {
	p.emit("ONCRM"+strings.ToUpper(string(k))+what, id)
}

// postEvents posts what is queued until the portal closes.
func (p *Portal) postEvents(wake chan struct{}) {
	for {
		select {
		case <-wake:
		case <-p.closed:
			return
		}
		for _, e := range p.drain() {
			p.mu.Lock()
			list := slices.Clone(p.apps.hooks.list)
			p.mu.Unlock()
			for _, h := range list {
				p.postEvent(h, e)
			}
		}
	}
}

func (p *Portal) drain() []happened {
	p.mu.Lock()
	defer p.mu.Unlock()
	queue := p.apps.hooks.queue
	p.apps.hooks.queue = nil
	return queue
}

func (p *Portal) postEvent(h Hook, e happened) {
	ctx, cancel := context.WithTimeout(context.Background(), postTimeout)
	defer cancel()
	status, err := post(ctx, h.Client, h.URL, url.Values{
		"event": {e.name}, "event_handler_id": {"12"}, "data[FIELDS][ID]": {strconv.Itoa(e.id)},
		"ts": {strconv.FormatInt(e.at.Unix(), 10)}, "auth[domain]": {"portal.test"},
		"auth[client_endpoint]": {"https://portal.test/rest/"}, "auth[server_endpoint]": {"https://oauth.bitrix.info/rest/"},
		"auth[member_id]": {member}, "auth[application_token]": {h.Token},
	})
	if err == nil && status == http.StatusOK {
		p.mu.Lock()
		p.apps.hooks.posted++
		p.mu.Unlock()
	}
}

// offline are the events kept for applications that poll.
type offline struct {
	bound  map[string]bool
	events []offlineEvent
}

type offlineEvent struct {
	id      int
	process string // who has reserved it
	happened
}

// add keeps an event, in place of an older one of the same object.
func (o *offline) add(id func() int, e happened) {
	if !o.bound[e.name] {
		return
	}
	o.events = slices.DeleteFunc(o.events, func(k offlineEvent) bool { return k.name == e.name && k.happened.id == e.id && k.process == "" })
	o.events = append(o.events, offlineEvent{id: id(), happened: e})
}

// SetOfflineExtended lets offline events be confirmed, as better plans do.
func (p *Portal) SetOfflineExtended(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.apps.extended = on
}

// OfflineEvents is how many events wait to be polled or confirmed.
func (p *Portal) OfflineEvents() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.apps.offline.events)
}

func featureGet(p *Portal, c invocation) (answer, *Failure) {
	if c.text("CODE") == "rest_offline_extended" && p.apps.extended {
		return answer{result: "Y"}, nil
	}
	return answer{result: "N"}, nil
}

func eventMethods() map[string]method {
	return map[string]method{
		"events":              func(*Portal, invocation) (answer, *Failure) { return answer{result: eventNames()}, nil },
		"event.bind":          application(eventBind),
		"event.unbind":        application(eventUnbind),
		"event.get":           application(eventGet),
		"event.offline.get":   application(offlineGet),
		"event.offline.clear": application(offlineClear),
	}
}

func eventNames() []any {
	out := []any{"ONUSERADD", "ONAPPINSTALL", "ONAPPUPDATE", "ONAPPUNINSTALL"}
	for _, k := range call.Kinds() {
		for _, what := range []string{"ADD", "UPDATE", "DELETE"} {
			out = append(out, "ONCRM"+strings.ToUpper(string(k))+what)
		}
	}
	return out
}

// application is a method that only applications may call.
func application(m method) method {
	return func(p *Portal, c invocation) (answer, *Failure) {
		if c.app == "" {
			return answer{}, &Failure{403, "WRONG_AUTH_TYPE", "Current authorization type is denied for this method"}
		}
		return m(p, c)
	}
}

func eventBind(p *Portal, c invocation) (answer, *Failure) {
	name := strings.ToUpper(c.text("event"))
	if !slices.Contains(eventNames(), any(name)) {
		return answer{}, &Failure{400, "ERROR_EVENT_NOT_FOUND", "Event not found"}
	}
	if c.text("event_type") != "offline" {
		return answer{}, &Failure{400, "ERROR_CORE", "the sandbox binds offline events only; for others it has AddHook"}
	}
	if p.apps.offline.bound[name] {
		return answer{}, &Failure{400, "ERROR_CORE", "Unable to set event handler: Handler already binded"}
	}
	if p.apps.offline.bound == nil {
		p.apps.offline.bound = map[string]bool{}
	}
	p.apps.offline.bound[name] = true
	return answer{result: true}, nil
}

func eventUnbind(p *Portal, c invocation) (answer, *Failure) {
	name := strings.ToUpper(c.text("event"))
	count := 0
	if p.apps.offline.bound[name] {
		delete(p.apps.offline.bound, name)
		count = 1
	}
	return answer{result: map[string]any{"count": count}}, nil
}

func eventGet(p *Portal, _ invocation) (answer, *Failure) {
	out := []any{}
	for name := range p.apps.offline.bound {
		out = append(out, map[string]any{"event": name, "connector_id": "", "offline": 1})
	}
	return answer{result: out}, nil
}

func offlineGet(p *Portal, c invocation) (answer, *Failure) {
	o := &p.apps.offline
	limit := pageSize
	if n := c.number("limit"); n > 0 {
		limit = n
	}
	discard := c.arg("clear") == nil || yes(c.arg("clear"))
	if !discard && !p.apps.extended {
		return answer{}, &Failure{403, "ACCESS_DENIED", "Available only on extended plans"}
	}
	process := c.text("process_id")
	if process == "" {
		process = "process-" + strconv.Itoa(p.id())
	}
	rows := []any{}
	var rest []offlineEvent
	for _, e := range o.events {
		if len(rows) == limit || e.process != "" && e.process != process {
			rest = append(rest, e)
			continue
		}
		rows = append(rows, map[string]any{
			"ID": strconv.Itoa(e.id), "TIMESTAMP_X": e.at.Format(time.RFC3339), "EVENT_NAME": e.name,
			"EVENT_DATA":       map[string]any{"FIELDS": map[string]any{"ID": strconv.Itoa(e.happened.id)}},
			"EVENT_ADDITIONAL": []any{}, "MESSAGE_ID": "message-" + strconv.Itoa(e.id),
		})
		if !discard {
			e.process = process
			rest = append(rest, e)
		}
	}
	o.events = rest
	return answer{result: map[string]any{"process_id": process, "events": rows}}, nil
}

func offlineClear(p *Portal, c invocation) (answer, *Failure) {
	process := c.text("process_id")
	if process == "" {
		return answer{}, &Failure{400, "ERROR_ARGUMENT", "process_id is required"}
	}
	p.apps.offline.events = slices.DeleteFunc(p.apps.offline.events, func(e offlineEvent) bool { return e.process == process })
	return answer{result: true}, nil
}
