package config

import (
	"text/template"
	"time"
)

// Greeting is what is said to a caller.
type Greeting struct {
	// Who speaks: google, espeak, or none: recorded prompts only.
	Engine string `yaml:"engine" jsonschema:"enum=google,enum=espeak,enum=none"`
	// early is 183 with media before the answer, answer is 200 first.
	Via string `yaml:"via" jsonschema:"enum=early,enum=answer"`
	// Go template of the text; {{.Manager.FirstName}}, {{.Manager.LastName}} and {{.Manager.Extension}} are whom the call goes to.
	Text string `yaml:"text"`
	// BCP 47 tag of the language spoken.
	Language string `yaml:"language"`
	// The engine's voice, as ru-RU-Wavenet-D; left out: the engine's own choice for the language.
	Voice string `yaml:"voice"`
	// WAV file played first.
	Before string `yaml:"before"`
	// Folder of rendered audio, by content hash.
	Cache string `yaml:"cache"`
	// Folder of recorded WAV prompts, which win over the engine.
	Recorded string `yaml:"recorded"`
	// Access to Google's text to speech.
	Google Google `yaml:"google"`

	template *template.Template
}

// Google is the access to Google's text to speech.
type Google struct {
	// JSON key file of a service account; left out: Google's application default credentials.
	Credentials string `yaml:"credentials"`
	// Address of the service, for a proxy or a regional endpoint; left out: Google's.
	Endpoint string `yaml:"endpoint"`
}

// Digits are the waits and the limits for digits a caller dials.
type Digits struct {
	// Wait after the greeting for a first digit.
	First time.Duration `yaml:"first"`
	// Wait between digits.
	Next time.Duration `yaml:"next"`
	// Digits after which nothing more is waited for.
	Max int `yaml:"max" jsonschema:"minimum=1,maximum=32"`
	// Key that ends the number: # or *; "" is none.
	End string `yaml:"end"`
}

// Blocked are unwanted callers.
type Blocked struct {
	// Numbers and patterns, as in a rule's caller.
	Callers []string `yaml:"callers"`
	// reject is 603, default is the rule's default without a search.
	Action string `yaml:"action" jsonschema:"enum=reject,enum=default"`
}

// Schedule is opening hours with a name.
type Schedule struct {
	// Hours of the week, as Mon-Fri 09:00-18:00; an end before the beginning is on the next day.
	Hours []string `yaml:"hours" jsonschema:"required"`
	// Days on which it is closed: 2026-01-01, each year 01-07, from to 2026-12-31 - 2027-01-08.
	Holidays []string `yaml:"holidays"`
}

// Rule is a line of the dialplan.
type Rule struct {
	// Name in traces, records and metrics.
	Name string `yaml:"name" jsonschema:"required"`
	// The call came in by one of these trunks.
	Trunk []string `yaml:"trunk"`
	// The called number is one of these: exact, prefix with *, Asterisk-style pattern after _.
	DID []string `yaml:"did"`
	// The calling number is one of these, written as did.
	Caller []string `yaml:"caller"`
	// It is within these hours, as Mon-Fri 09:00-18:00, or within the schedule of this name.
	Hours string `yaml:"hours"`
	// This expression holds.
	When *string `yaml:"when"`
	// Where the call goes when nothing better is found.
	Default string `yaml:"default" jsonschema:"required"`
	// Where a call goes instead of an extension that 3CX says is not registered, disabled or does not want to be disturbed; left out: it rings there all the same. Wants pbx.xapi.
	OnUnavailable string `yaml:"on_unavailable"`
	// false: straight to default, without asking the CRM.
	Lookup *bool `yaml:"lookup"`
	// false: no greeting.
	Greeting *bool `yaml:"greeting"`
}
