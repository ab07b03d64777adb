// Package crmtest is the sandbox portal: a Bitrix24 that lives in memory and
// speaks the REST wire format as documented, traps included.
//
// A Portal holds contacts, companies, leads, users and calls, set up through a
// typed API or through REST itself, and is an http.Handler. It cuts a search at
// twenty hits, drops empty filters, gives ids as strings and empty objects as
// [], expands $result references the way PHP does, and knows the 30-minute rule
// of call ids. What calls leave behind is kept to be looked at: activities,
// tasks, comments, the owners of leads, and the recordings on the drive. Faults
// make it slow, silent, broken or gone, before or after it executed a request;
// they are set in Go, by a script for each request, or, so that an engineer may
// turn them with curl, under /_sandbox/fault.
// Applications renew their tokens at /oauth/token/, events are posted to
// outbound webhooks or kept for who polls them, and limits of requests and of
// execution time can be switched on.
// A Server puts a portal on sockets, where it can also refuse connections or
// never finish TLS. Requests are recorded for assertions.
package crmtest

import (
	"bytes"
	"fmt"
	"maps"
	"strings"
	"sync"
	"time"

	"frontdesk/call"
)

// Options set up a portal. The zero value is good.
type Options struct {
	User    int              // owner of the first webhook; 0: 1
	Secret  string           // of the first webhook; "": secret
	Now     func() time.Time // nil: time.Now
	NoLeads bool             // the portal works without leads (simple mode)
}

// Portal is a Bitrix24 portal in memory. It is safe for concurrent use.
type Portal struct {
	now     func() time.Time
	methods map[string]method
	closed  chan struct{}
	once    sync.Once

	mu       sync.Mutex
	webhooks map[string]int // secret to user
	data
	calls    calls
	faults   faults
	limits   limits
	recorded recorded
	apps     apps
}

// limits are the portal's bucket and its budget of execution time.
type limits struct {
	rate      rate
	operating operating
}

// data is what the portal knows.
type data struct {
	entities    map[call.Kind]map[int]*entity
	users       map[int]User
	departments map[int]Department
	userFields  map[string]map[string]UserField // by object (CRM_CONTACT, USER), then by name
	rights      rights
	noLeads     bool
	nextID      int
	codes       map[string]string // match codes of numbers as typed
	work        work
	drive       drive
}

// method is one REST method; Portal.mu is held.
type method func(p *Portal, c invocation) (answer, *Failure)

// invocation is one call of a method.
type invocation struct {
	user    int    // whose webhook or token calls
	app     string // the application that calls; "": a webhook
	base    string // the portal's address as the caller knows it
	batched bool
	files   map[string][]byte // of a form
	params  map[string]any
	order   []string // keys of the parameter cmd, as sent
}

// answer is a method's result; lists have a total and perhaps a next offset.
type answer struct {
	result any
	list   bool
	total  int
	next   int // 0: none
}

// Failure is an error as the portal answers it. Old methods leave Code empty.
type Failure struct {
	Status int    `json:"-"`
	Code   string `json:"error"`
	Text   string `json:"error_description"`
}

// New makes an empty portal with one administrator, the owner of the webhook.
func New(o Options) *Portal {
	if o.User == 0 {
		o.User = 1
	}
	if o.Secret == "" {
		o.Secret = "secret"
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	p := &Portal{
		now: o.Now, methods: methods(), closed: make(chan struct{}),
		webhooks: map[string]int{o.Secret: o.User},
		data: data{
			noLeads: o.NoLeads,
			entities: map[call.Kind]map[int]*entity{
				call.KindContact: {}, call.KindCompany: {}, call.KindLead: {},
			},
			users: map[int]User{}, departments: map[int]Department{},
			userFields: map[string]map[string]UserField{}, nextID: 1000, codes: map[string]string{},
			work:  work{activities: map[int]*Activity{}, readers: map[int]bool{}},
			drive: drive{files: map[int]File{}, folders: map[string]int{}},
		},
		calls: calls{
			live: map[string]*Call{}, finished: map[string]*Call{}, app: map[string]string{}, alike: map[string][]string{}, uploads: map[string]upload{},
		},
	}
	p.AddUser(User{ID: o.User, FirstName: "Admin"})
	return p
}

// AddWebhook lets user call the portal with a secret of its own.
func (p *Portal) AddWebhook(user int, secret string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.webhooks[secret] = user
}

// RevokeWebhook makes a secret invalid.
func (p *Portal) RevokeWebhook(secret string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.webhooks, secret)
}

// Close ends the requests that a fault holds.
func (p *Portal) Close() { p.once.Do(func() { close(p.closed) }) }

// methods are the REST methods by their names in lower case.
func methods() map[string]method {
	m := map[string]method{
		"app.info":              appInfo,
		"crm.settings.mode.get": modeGet,
		"scope":                 scopes,
		"server.time":           serverTime,
		"feature.get":           featureGet,
	}
	maps.Copy(m, entityMethods())
	maps.Copy(m, userMethods())
	maps.Copy(m, telephonyMethods())
	maps.Copy(m, setupMethods())
	maps.Copy(m, eventMethods())
	maps.Copy(m, workMethods())
	maps.Copy(m, driveMethods())
	return m
}

func appInfo(p *Portal, c invocation) (answer, *Failure) {
	return answer{result: map[string]any{
		"ID": nil, "CODE": "", "STATUS": "L", "INSTALLED": true, "LICENSE": "ru_sandbox", "USER_ID": c.user,
	}}, nil
}

func modeGet(p *Portal, _ invocation) (answer, *Failure) {
	if p.noLeads {
		return answer{result: 2}, nil
	}
	return answer{result: 1}, nil
}

func serverTime(p *Portal, _ invocation) (answer, *Failure) {
	return answer{result: p.now().Format(time.RFC3339)}, nil
}

// invoke runs a method. mu is held.
func (p *Portal) invoke(name string, c invocation) (answer, *Failure) {
	m, ok := p.methods[strings.ToLower(name)]
	if !ok {
		return answer{}, &Failure{404, "ERROR_METHOD_NOT_FOUND", "Method not found!"}
	}
	if fail := p.scoped(name, c); fail != nil {
		return answer{}, fail
	}
	if fail := p.spend(name, c); fail != nil {
		return answer{}, fail
	}
	return m(p, c)
}

// arg is a parameter; names are taken in any case, as the portal does.
func (c invocation) arg(name string) any {
	if v, ok := c.params[name]; ok {
		return v
	}
	for k, v := range c.params {
		if strings.EqualFold(k, name) {
			return v
		}
	}
	return nil
}

func (c invocation) text(name string) string { return str(c.arg(name)) }

func (c invocation) number(name string) int { return num(c.arg(name)) }

func (c invocation) fields(name string) map[string]any {
	m, _ := c.arg(name).(map[string]any)
	return m
}

// Request is one HTTP request that reached the portal.
type Request struct {
	At        time.Time
	HTTP      string // GET, POST
	Method    string // REST method
	User      int    // 0: the credential was not valid
	App       string // the application that sent it; "": a webhook
	UserAgent string
	Body      []byte
	Commands  []string // of a batch, as "key=method?query", in order
}

// recorded keeps the last requests.
type recorded struct {
	requests []Request
	total    int
	watchers []chan<- Request
}

// kept bounds the recorded requests, and keptBody what is kept of those that
// carry files.
const (
	kept     = 10000
	keptBody = 4 << 10
)

func carriesFiles(method string) bool {
	switch strings.ToLower(method) {
	case uploadMethod, "telephony.externalcall.attachrecord", "crm.activity.add":
		return true
	}
	return false
}

func (p *Portal) record(r Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(r.Body) > keptBody && carriesFiles(r.Method) {
		r.Body = bytes.Clone(r.Body[:keptBody])
	}
	rec := &p.recorded
	rec.total++
	if len(rec.requests) >= kept {
		rec.requests = append(rec.requests[:0], rec.requests[kept/2:]...)
	}
	rec.requests = append(rec.requests, r)
	for _, w := range rec.watchers {
		select {
		case w <- r:
		default:
		}
	}
}

// Requests are the recorded requests, oldest first.
func (p *Portal) Requests() []Request {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]Request(nil), p.recorded.requests...)
}

// Total is the number of requests that ever reached the portal.
func (p *Portal) Total() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.recorded.total
}

// Watch sends every further request to w as it arrives, before it is answered;
// a full channel misses some.
func (p *Portal) Watch(w chan<- Request) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.recorded.watchers = append(p.recorded.watchers, w)
}

func (p *Portal) id() int {
	p.nextID++
	return p.nextID
}

// bad is the failure of old methods: no code, only words.
func bad(format string, args ...any) *Failure {
	return &Failure{Status: 400, Text: fmt.Sprintf(format, args...)}
}
