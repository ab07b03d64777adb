package config

import "time"

// CRM is the search for callers.
type CRM struct {
	// From the INVITE's arrival to the routing decision, everything included.
	Deadline time.Duration `yaml:"deadline"`
	// Who is asked first: live is the portal, mirror the local copy, whose answer is verified afterwards.
	Prefer string `yaml:"prefer" jsonschema:"enum=live,enum=mirror"`
	// The portal.
	Bitrix24 Bitrix24 `yaml:"bitrix24"`
	// Local copy of numbers and owners: answers when the portal cannot.
	Mirror Mirror `yaml:"mirror"`
	// Bitrix24 user id of the "fake" employee that owns new leads and unowned missed calls; 0 is none.
	Placeholder int `yaml:"placeholder" jsonschema:"minimum=0"`
	// Leads.
	Leads Leads `yaml:"leads"`
}

// Bitrix24 is the portal.
type Bitrix24 struct {
	// Incoming webhook, https://PORTAL/rest/USER/SECRET/; "" is none: every call goes by the rules alone.
	Webhook Secret `yaml:"webhook"`
	// OAuth local application, for methods that refuse webhooks.
	App *App `yaml:"app"`
	// Webhooks by Bitrix24 user id: CRM writes are made as that employee.
	Employees map[int]Secret `yaml:"employees"`
	// Application token of the outbound webhook that posts events; "" refuses them.
	EventToken Secret `yaml:"event_token"`
	// Codes of the user fields; frontdesk bitrix24 setup creates them.
	Fields Fields `yaml:"fields"`
	// Requests to the portal: below what its plan allows, which all programs at this address share.
	Rate Rate `yaml:"rate"`
}

// Rate bounds the requests to the portal.
type Rate struct {
	// Requests a second: most plans allow 2, Enterprise 5.
	PerSecond int `yaml:"per_second" jsonschema:"minimum=1,maximum=1000"`
	// Requests at once after a pause; look-ups may borrow a quarter more. Most plans allow 50, Enterprise 250.
	Burst int `yaml:"burst" jsonschema:"minimum=1,maximum=10000"`
}

// App is an OAuth local application.
type App struct {
	// Its application id.
	ClientID string `yaml:"client_id" jsonschema:"required"`
	// Its application key.
	ClientSecret Secret `yaml:"client_secret" jsonschema:"required"`
	// Address of the portal, as https://example.bitrix24.ru; left out: the webhook's.
	Portal string `yaml:"portal"`
	// The first refresh token; later ones are kept in the store.
	RefreshToken Secret `yaml:"refresh_token"`
	// Address of the server that renews its tokens; left out: https://oauth.bitrix.info.
	Server string `yaml:"server"`
}

// Fields are codes of user fields.
type Fields struct {
	// Employee: receives the entity's calls instead of the responsible person.
	Manager string `yaml:"manager"`
	// Employee: receives them until the next field's time.
	TemporaryManager string `yaml:"temporary_manager"`
	// Date and time.
	TemporaryUntil string `yaml:"temporary_until"`
	// Boolean: no greeting.
	Direct string `yaml:"direct"`
	// Boolean: callers do not stick.
	NoSticking string `yaml:"no_sticking"`
	// Integer on the user's profile: 0 never sticks, empty is sticky.time.
	StickyMinutes string `yaml:"sticky_minutes"`
}

// Mirror is the local copy of the portal.
type Mirror struct {
	// Whether there is one.
	Enabled bool `yaml:"enabled"`
	// An older copy does not answer.
	MaxAge time.Duration `yaml:"max_age"`
	// How often changed numbers and owners are fetched.
	Every time.Duration `yaml:"every"`
}

// Leads are how leads are used and made.
type Leads struct {
	// A lead for an unknown caller, at ring time.
	Create bool `yaml:"create"`
	// Converted and junk leads in the search: ignore or use.
	Closed string `yaml:"closed" jsonschema:"enum=ignore,enum=use"`
	// Numbers and patterns that never become leads.
	NeverFor []string `yaml:"never_for"`
}

// Sticky is how long callers return to whom they last spoke with.
type Sticky struct {
	// Window of employees that set none of their own; 0 is off.
	Time time.Duration `yaml:"time"`
}

// Staff is the care of temporary managers.
type Staff struct {
	// How often ended temporary managers are looked for.
	Every time.Duration `yaml:"every"`
}

// CallLog is how calls are written into Bitrix24.
type CallLog struct {
	// Register, show, finish and attach in Bitrix24.
	Enabled bool `yaml:"enabled"`
	// Who owns a missed call: employee is who was called last, else the placeholder; placeholder; head is the head of that employee's department.
	MissedOwner string `yaml:"missed_owner" jsonschema:"enum=placeholder,enum=employee,enum=head"`
	// A task on each missed call.
	Tasks bool `yaml:"tasks"`
	// For how long the records of calls are kept, whether or not they are logged.
	History time.Duration `yaml:"history"`
}

// Recordings are what happens to recordings.
type Recordings struct {
	// upload, link or off.
	Mode string `yaml:"mode" jsonschema:"enum=off,enum=upload,enum=link"`
	// Age at which our files leave the Bitrix24 disk.
	Keep time.Duration `yaml:"keep"`
	// Folder of recordings on their way.
	Dir string `yaml:"dir"`
	// Said to callers before a call is recorded; where it cannot be said, the call is not recorded. "" is nothing.
	Announce string `yaml:"announce"`
	// Keeps the two sides apart in the mp3, at 32 kbit/s; else they are mixed, at 24.
	Stereo bool `yaml:"stereo"`
}

// Phonebook is the address book in 3CX.
type Phonebook struct {
	// Bitrix24 to 3CX.
	Sync bool `yaml:"sync"`
	// How often in full; single entries are updated at the end of each call.
	Every time.Duration `yaml:"every"`
}

// Mail is outgoing mail.
type Mail struct {
	// smtp://user:password@host:587 is STARTTLS, demanded except on loopback; smtps:// is TLS; "" is no mail.
	SMTP Secret `yaml:"smtp"`
	// Sender's address.
	From string `yaml:"from"`
}

// Webhook is another system that is told of calls by signed requests.
type Webhook struct {
	// https:// address that takes POST requests; http:// on loopback.
	URL Secret `yaml:"url" jsonschema:"required"`
	// What requests are signed with, at least 16 characters; the receiver has it too.
	Secret Secret `yaml:"secret" jsonschema:"required"`
	// Of what it is told; left out: of all.
	Events []string `yaml:"events" jsonschema:"enum=ringing,enum=answered,enum=ended"`
}
