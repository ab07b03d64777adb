package config

import (
	"net/netip"
	"time"

	"frontdesk/call"
	"frontdesk/routing"
)

// Config is a whole configuration, with defaults where the file is silent. Its
// fields are promoted: c.SIP, c.Trunks, c.Rules.
type Config struct {
	Edge
	Place
	Parties
	Service
	Reception

	// The compiled dialplan; nil where the configuration has errors.
	Plan *routing.Plan `yaml:"-"`
	// The loaded timezone.
	Zone *time.Location `yaml:"-"`
	// SHA-256 of the file's text, in hex.
	Sum string `yaml:"-"`
}

// Edge is where frontdesk listens.
type Edge struct {
	// Signalling: where SIP is spoken and how much of it.
	SIP SIP `yaml:"sip"`
	// Audio: ports and codecs.
	Media Media `yaml:"media"`
	// Console, API, /metrics, /healthz and /readyz.
	HTTP HTTP `yaml:"http"`
}

// Place is what holds for the whole installation.
type Place struct {
	// Where state is kept: sqlite:FILE, or postgres://user@host/db for several nodes sharing one state.
	Store Secret `yaml:"store"`
	// IANA name of the time zone, for opening hours and temporary managers.
	Timezone string `yaml:"timezone"`
	// ISO 3166 alpha-2 code: national numbers are read as numbers of this country.
	Country string `yaml:"country"`
	// What is logged and how.
	Log Log `yaml:"log"`
}

// Parties are whom frontdesk talks with.
type Parties struct {
	// Carriers by name; the name is what call records and metrics carry.
	Trunks Trunks `yaml:"trunks"`
	// The 3CX system behind frontdesk.
	PBX PBX `yaml:"pbx"`
	// Bitrix24.
	CRM CRM `yaml:"crm"`
}

// Service is what is done around the calls.
type Service struct {
	// Callers return to whom they last spoke with.
	Sticky Sticky `yaml:"sticky"`
	// Temporary managers.
	Staff Staff `yaml:"staff"`
	// Calls in Bitrix24.
	CallLog CallLog `yaml:"calllog"`
	// Recordings of calls.
	Recordings Recordings `yaml:"recordings"`
	// The address book of 3CX.
	Phonebook Phonebook `yaml:"phonebook"`
	// Outgoing mail.
	Mail Mail `yaml:"mail"`
	// Other systems that are told of calls.
	Webhooks []Webhook `yaml:"webhooks"`
}

// Reception is what a caller meets: rules, greeting, digits.
type Reception struct {
	// What is said to a caller before the call is handed over.
	Greeting Greeting `yaml:"greeting"`
	// Digits dialled during and after the greeting.
	Digits Digits `yaml:"digits"`
	// Unwanted callers.
	Blocked Blocked `yaml:"blocked"`
	// Opening hours by name, for the rules' hours.
	Schedules map[string]Schedule `yaml:"schedules"`
	// The dialplan: evaluated top to bottom, the first rule whose every condition holds decides.
	Rules []Rule `yaml:"rules"`
}

// SIP is the signalling side.
type SIP struct {
	// Addresses to listen on: udp://HOST:PORT, tcp://HOST:PORT, and tls://HOST:PORT with tls below.
	Listen []string `yaml:"listen"`
	// IP address written into Via, Contact and SDP when it differs from the listener's, as behind NAT. Left out: the first listener's.
	Advertise string `yaml:"advertise"`
	// Calls at one time; above it 503 with Retry-After.
	MaxCalls int `yaml:"max_calls" jsonschema:"minimum=1,maximum=1000000"`
	// What strangers get: ignore is silence before parsing, refuse is one stateless 403.
	UnknownSource string `yaml:"unknown_source" jsonschema:"enum=ignore,enum=refuse"`
	// Where the called number is taken from: uri is the request URI, to is the To header. A trunk may have its own.
	DID string `yaml:"did" jsonschema:"enum=uri,enum=to"`
	// Certificate for tls:// listeners.
	TLS *TLS `yaml:"tls"`
}

// TLS is a certificate with its key.
type TLS struct {
	// PEM file with the certificate and those between it and the root.
	Cert string `yaml:"cert" jsonschema:"required"`
	// PEM file with the private key.
	Key string `yaml:"key" jsonschema:"required"`
}

// Media is the audio side.
type Media struct {
	// UDP ports, one (and the next for RTCP) per call leg: FIRST-LAST.
	Ports PortRange `yaml:"ports"`
	// Codecs offered and accepted for what frontdesk itself plays, in this order.
	Codecs []string `yaml:"codecs" jsonschema:"enum=PCMA,enum=PCMU"`
	// A bridged call that sends no audio for this long is ended.
	Silence time.Duration `yaml:"silence"`
	// The same for a call on hold.
	HoldSilence time.Duration `yaml:"hold_silence"`
}

// HTTP is the console and the API.
type HTTP struct {
	// Address and port to listen on.
	Listen string `yaml:"listen"`
	// Address under which links (recordings) are reached from outside, as https://frontdesk.example.com.
	PublicURL string `yaml:"public_url"`
	// Bearer token, then needed from everywhere; without one the API answers loopback only.
	Token Secret `yaml:"token"`
}

// Log is what is logged and how.
type Log struct {
	// The least important lines that are written.
	Level string `yaml:"level" jsonschema:"enum=debug,enum=info,enum=warn,enum=error"`
	// One JSON object a line, or text for people.
	Format string `yaml:"format" jsonschema:"enum=json,enum=text"`
	// Telephone numbers in log lines: masked hides their middle.
	Numbers string `yaml:"numbers" jsonschema:"enum=masked,enum=full"`
}

// Trunks are the carriers, in the order of their names.
type Trunks []Trunk

// Trunk is a carrier's SIP peer.
type Trunk struct {
	Name string `yaml:"-"`
	// Addresses and CIDR blocks its requests come from; any other source never reaches routing or the CRM.
	Sources []netip.Prefix `yaml:"sources"`
	// What it may be asked to do, in order of preference: redirect is 302 while unanswered, refer is REFER once answered, bridge is a second leg through frontdesk.
	Transfer []call.Transfer `yaml:"transfer" jsonschema:"enum=redirect,enum=refer,enum=bridge"`
	// SIP URI where outgoing calls go.
	SIP string `yaml:"sip"`
	// Its media may come from elsewhere than its SDP says.
	NAT bool `yaml:"nat"`
	// Where the caller's number is taken from: from is the From header alone; pai is P-Asserted-Identity, else From; rpid is Remote-Party-ID, else From; auto is the first there is of P-Asserted-Identity, Remote-Party-ID, From.
	Identity string `yaml:"identity" jsonschema:"enum=auto,enum=from,enum=pai,enum=rpid"`
	// Where the called number is taken from: uri is the request URI, to is the To header. Left out: as sip.did says.
	DID string `yaml:"did" jsonschema:"enum=uri,enum=to"`
	// Where the carrier wants a registration.
	Register *Register `yaml:"register"`
	// Digest demanded from the carrier's INVITEs.
	Auth *Auth `yaml:"auth"`
}

// Register is a registration at a carrier.
type Register struct {
	// SIP URI of the registrar.
	Registrar string `yaml:"registrar" jsonschema:"required"`
	// User name.
	User string `yaml:"user" jsonschema:"required"`
	// Password.
	Password Secret `yaml:"password" jsonschema:"required"`
}

// Auth is a user name with its password.
type Auth struct {
	// User name.
	User string `yaml:"user" jsonschema:"required"`
	// Password.
	Password Secret `yaml:"password" jsonschema:"required"`
}

// PBX is the 3CX system.
type PBX struct {
	// SIP URIs of the 3CX nodes in order of preference; OPTIONS-probed, failover within a call attempt.
	SIP []string `yaml:"sip"`
	// No answer after this: the rule's default (bridge).
	Ring time.Duration `yaml:"ring"`
	// Silence of a node for this long: the next one.
	Failover time.Duration `yaml:"failover"`
	// Extensions a caller may dial or be routed to: numbers and ranges.
	Extensions call.Ranges `yaml:"extensions"`
	// Queues a caller may dial or be routed to: numbers and ranges.
	Queues call.Ranges `yaml:"queues"`
	// A REFER that leads a caller of a bridged call to a number outside: refuse is 403, dial calls it by the trunks with sip.
	ReferOutside string `yaml:"refer_outside" jsonschema:"enum=refuse,enum=dial"`
	// 3CX configuration API: its list of numbers replaces extensions and queues; the last good one survives outages and restarts.
	XAPI *XAPI `yaml:"xapi"`
	// 3CX call data records by socket.
	CDR *CDR `yaml:"cdr"`
}

// XAPI is the access to 3CX's configuration API.
type XAPI struct {
	// https:// address of 3CX; http:// on loopback only.
	URL string `yaml:"url" jsonschema:"required"`
	// Client id of the API integration.
	ClientID string `yaml:"client_id" jsonschema:"required"`
	// Its secret.
	ClientSecret Secret `yaml:"client_secret" jsonschema:"required"`
	// How often the list of numbers is read.
	Refresh time.Duration `yaml:"refresh"`
	// Requests a second.
	Rate int `yaml:"rate" jsonschema:"minimum=1,maximum=1000"`
}

// CDR is how 3CX's call data records arrive: listen or connect, not both.
type CDR struct {
	// Address and port to which 3CX connects (active socket).
	Listen string `yaml:"listen"`
	// Address and port of 3CX's passive socket.
	Connect string `yaml:"connect"`
	// Names of the fields, in the order set in 3CX; empty: 3CX is asked, which needs pbx.xapi.
	Fields []string `yaml:"fields"`
	// Addresses that may connect to listen, besides the nodes of pbx.sip and this machine.
	Sources []netip.Prefix `yaml:"sources"`
}
