package pbxtest

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"
)

// StateConfig says what a PBX is. The zero value is the newest build with every
// licence, on the wall clock.
type StateConfig struct {
	Build   Build
	Licence Licence
	Now     func() time.Time // the PBX's clock

	// A recording is listed so long after its leg has ended, and then takes
	// Growing until its file is whole.
	RecordingDelay, RecordingGrowing time.Duration

	MaxContacts int // more are refused; 0: no limit
}

// State is all that a PBX knows: numbers, contacts, calls. The API shows it, a
// PBX of phones writes to it, and a Feed tells of its calls. It is safe for
// concurrent use.
type State struct {
	cfg StateConfig

	mu     sync.Mutex
	ids    int
	tables map[string]*table // by entity set
	cdr    CDRSettings
	calls  ledger
	live   live
	seen   chan struct{} // closed and replaced with every account
	makes  func(dn, destination string) error
}

// NewState makes a PBX without numbers.
func NewState(cfg StateConfig) *State {
	if cfg.Build == 0 {
		cfg.Build = Build10
	}
	if cfg.Now == nil {
		cfg.Now = time.Now
	}
	s := &State{cfg: cfg, ids: 20, cdr: defaultCDR(), seen: make(chan struct{}), live: newLive()}
	s.tables = map[string]*table{
		"Defs":  newTable("Id"),
		"Peers": newTable("Id Number Name Type Hidden"),
		"Users": newTable("Id Number FirstName LastName DisplayName EmailAddress Mobile OutboundCallerID Enabled Internal IsRegistered"+
			" CurrentProfileName QueueStatus PrimaryGroupId HideInPhonebook VMEnabled RecordCalls Groups Phones ForwardingProfiles", "Groups", "Phones", "ForwardingProfiles"),
		"Queues":        newTable("Id Number Name IsRegistered PollingStrategy RingTimeout MasterTimeout MaxCallersInQueue Recording Agents Managers", "Agents", "Managers"),
		"RingGroups":    newTable("Id Number Name RingStrategy RingTime Members", "Members"),
		"Receptionists": newTable("Id Number Name IVRType PromptFilename Timeout TimeoutForwardType TimeoutForwardDN Forwards", "Forwards"),
		"Trunks":        newTable("Id Number Direction ExternalNumber DidNumbers AuthID SimultaneousCalls IsOnline DiversionHeader Gateway"),
		"OutboundRules": newTable("Id Name Prefix NumberLengthRanges DNRanges GroupIds Priority EmergencyRule Routes"),
		"Contacts": newTable("Id FirstName LastName CompanyName PhoneNumber Mobile2 Home Business Business2 BusinessFax Other Pager" +
			" Email Department Title Tag ContactType"),
		"Recordings": newTable("Id StartTime EndTime CallType FromDn FromDnType FromCallerNumber FromDisplayName FromDidNumber FromIdParticipant" +
			" ToDn ToDnType ToCallerNumber ToDisplayName ToDidNumber ToIdParticipant RefParticipantId RecordingUrl ArchivedUrl" +
			" IsArchived IsTranscribed CanBeTranscribed Transcription TranscriptionResult Summary SentimentScore"),
		"ActiveCalls": newTable("Id Caller Callee Status EstablishedAt LastChangeStatus ServerNow"),
		"Blocklist":   newTable("Id BlockType IPAddrMask Description AddedBy ExpiresAt"),
		"CallLog": newTable("MainCallHistoryId CallHistoryId CdrId CallId SegmentId Indent SubrowDescNumber StartTime SourceType SourceDn SourceCallerId" +
			" SourceDisplayName DestinationType DestinationDn DestinationCallerId DestinationDisplayName ActionType ActionDnType actionDnDn" +
			" ActionDnCallerId ActionDnDisplayName RingingDuration TalkingDuration Answered Direction CallType Status Reason CallCost" +
			" QualityReport SrcRecId DstRecId RecordingUrl Recordings Summary Transcription SentimentScore"),
	}
	s.tables["Defs"].put(Row{"Id": 1})
	return s
}

// now is the PBX's clock.
func (s *State) now() time.Time { return s.cfg.Now().UTC() }

// stamp is a time as the API writes it.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.999Z07:00") }

func (s *State) id() int {
	s.ids++
	return s.ids
}

// User is an extension.
type User struct {
	Number, FirstName, LastName string
	Email, Mobile               string
	Profile                     string // "Available" if empty
	Disabled, Unregistered      bool
	LoggedOut                   bool // of queues
}

// Name is what telephones display.
func (u User) Name() string {
	if u.LastName == "" {
		return u.FirstName
	}
	return u.FirstName + " " + u.LastName
}

// Group is a number that rings others: a queue or a ring group.
type Group struct {
	Number, Name string
	Members      []string // numbers of extensions
}

// Trunk is an external line.
type Trunk struct {
	Number   string // 10000 and up
	Name     string
	External string // its main number
	Host     string
	Port     int
	DIDs     []string
	Offline  bool
}

// Rule is an outbound rule with one route.
type Rule struct {
	Name, Prefix string
	Trunk        string // its number
	Strip        int    // digits taken off the front
	Prepend      string
}

// peer adds a number to what can be dialled and returns its id. mu is held.
func (s *State) peer(number, name, kind string) int {
	id := s.id()
	s.tables["Peers"].put(Row{"Id": id, "Number": number, "Name": name, "Type": kind, "Hidden": false})
	return id
}

// AddUser adds an extension and returns its id.
func (s *State) AddUser(u User) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := s.peer(u.Number, u.Name(), "Extension")
	profile, status := u.Profile, "LoggedIn"
	if profile == "" {
		profile = "Available"
	}
	if u.LoggedOut {
		status = "LoggedOut"
	}
	s.tables["Users"].put(Row{
		"Id": id, "Number": u.Number, "FirstName": u.FirstName, "LastName": u.LastName, "DisplayName": u.Name(),
		"EmailAddress": u.Email, "Mobile": u.Mobile, "OutboundCallerID": "", "Enabled": !u.Disabled, "Internal": false,
		"IsRegistered": !u.Unregistered, "CurrentProfileName": profile, "QueueStatus": status, "PrimaryGroupId": 1,
		"HideInPhonebook": false, "VMEnabled": true, "RecordCalls": true, "Groups": []Row{}, "Phones": []Row{}, "ForwardingProfiles": profiles(),
	})
	return id
}

func profiles() []Row {
	var out []Row
	for i, name := range []string{"Available", "Away", "Out of office", "Custom 1", "Custom 2"} {
		out = append(out, Row{"Id": i + 1, "Name": name, "CustomName": "", "NoAnswerTimeout": 20, "AcceptMultipleCalls": true})
	}
	return out
}

// members are the rows of numbers within a group. mu is held.
func (s *State) members(numbers []string) []Row {
	out := []Row{}
	for _, n := range numbers {
		p := s.tables["Peers"].by("Number", n)
		out = append(out, Row{"Id": p.id(), "Number": n, "Name": p.text("Name"), "SkillGroup": "1"})
	}
	return out
}

// AddQueue adds a queue and returns its id.
func (s *State) AddQueue(g Group) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := s.peer(g.Number, g.Name, "Queue")
	s.tables["Queues"].put(Row{
		"Id": id, "Number": g.Number, "Name": g.Name, "IsRegistered": true, "PollingStrategy": "Hunt", "RingTimeout": 20,
		"MasterTimeout": 120, "MaxCallersInQueue": 50, "Recording": "Disabled", "Agents": s.members(g.Members), "Managers": []Row{},
	})
	return id
}

// AddRingGroup adds a ring group and returns its id.
func (s *State) AddRingGroup(g Group) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := s.peer(g.Number, g.Name, "RingGroup")
	s.tables["RingGroups"].put(Row{
		"Id": id, "Number": g.Number, "Name": g.Name, "RingStrategy": "RingAll", "RingTime": 20, "Members": s.members(g.Members),
	})
	return id
}

// AddReceptionist adds an IVR and returns its id.
func (s *State) AddReceptionist(number, name string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := s.peer(number, name, "IVR")
	s.tables["Receptionists"].put(Row{
		"Id": id, "Number": number, "Name": name, "IVRType": "Default", "PromptFilename": "menu.wav", "Timeout": 10,
		"TimeoutForwardType": "EndCall", "TimeoutForwardDN": "", "Forwards": []Row{},
	})
	return id
}

// AddTrunk adds an external line and returns its id.
func (s *State) AddTrunk(t Trunk) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := s.peer(t.Number, t.Name, "ExternalLine")
	s.tables["Trunks"].put(Row{
		"Id": id, "Number": t.Number, "Direction": "Both", "ExternalNumber": t.External, "DidNumbers": slices.Concat([]string{}, t.DIDs),
		"AuthID": "", "SimultaneousCalls": 10, "IsOnline": !t.Offline, "DiversionHeader": false,
		"Gateway": Row{"Name": t.Name, "Host": t.Host, "Port": t.Port, "Type": "Provider", "RequireRegistrationFor": "Nothing"},
	})
	return id
}

// AddOutboundRule adds a rule and returns its id.
func (s *State) AddOutboundRule(r Rule) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	trunk := s.tables["Peers"].by("Number", r.Trunk)
	id := s.id()
	s.tables["OutboundRules"].put(Row{
		"Id": id, "Name": r.Name, "Prefix": r.Prefix, "NumberLengthRanges": "", "DNRanges": []Row{}, "GroupIds": []int{},
		"Priority": id, "EmergencyRule": false,
		"Routes": []Row{{"TrunkId": trunk.id(), "TrunkName": trunk.text("Name"), "StripDigits": r.Strip, "Prepend": r.Prepend, "Append": "", "CallerID": ""}},
	})
	return id
}

// AddContact adds an entry of the phone book as it is given and returns its id.
func (s *State) AddContact(fields Row) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addContact(fields)
}

// Rows are all entities of a set ("Contacts", "Recordings"), by id.
func (s *State) Rows(set string) []Row {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tables[set]
	if t == nil {
		return nil
	}
	return slices.Clone(t.rows)
}

// Change replaces fields of the entity of a set that has a number: a user's
// IsRegistered or CurrentProfileName, a trunk's IsOnline.
func (s *State) Change(set, number string, fields Row) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.tables[set]; t == nil || !t.change(t.by("Number", number).id(), maps.Clone(fields)) {
		return fmt.Errorf("the PBX has no %s %q", set, number)
	}
	return nil
}

// Remove takes a number away.
func (s *State) Remove(number string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.tables {
		if slices.Contains(t.fields, "Number") {
			t.remove(t.by("Number", number).id())
		}
	}
}

// kind is the type of a number as /Peers tells it, "None" where there is none;
// name is its name. mu is held.
func (s *State) kind(number string) (kind, name string) {
	p := s.tables["Peers"].by("Number", number)
	if p == nil {
		return "None", ""
	}
	return p.text("Type"), p.text("Name")
}

// keyed finds the row that a key names: an id, or the number.
func (t *table) keyed(args map[string]string) Row {
	if n, ok := args["Number"]; ok {
		return t.by("Number", n)
	}
	key, ok := args[""]
	if !ok {
		key = args["Id"]
	}
	id, err := strconv.Atoi(key)
	if err != nil {
		return nil
	}
	return t.get(id)
}

// know adds the numbers that a PBX of phones has and the state lacks.
func (s *State) know(trunk string, numbers map[string]Behaviour) {
	for _, n := range slices.Sorted(maps.Keys(numbers)) {
		b := numbers[n]
		switch {
		case s.has(n) || b.Code == 404:
		case b.Menu != nil:
			s.AddReceptionist(n, n)
		case b.Poll != nil && b.Poll.Group:
			s.AddRingGroup(Group{Number: n, Name: n, Members: b.Poll.Agents})
		case b.Poll != nil:
			s.AddQueue(Group{Number: n, Name: n, Members: b.Poll.Agents})
		default:
			s.AddUser(User{Number: n, FirstName: n, Unregistered: b.Code == 480})
		}
	}
	if !s.has(trunk) {
		s.AddTrunk(Trunk{Number: trunk, Name: "frontdesk"})
	}
}

// stop is the kind of a number that behaves like a telephone: an extension's,
// unless it is known as something else.
func (s *State) stop(number string) Kind {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch kind, _ := s.kind(number); kind {
	case "Queue":
		return Queue
	case "RingGroup":
		return RingGroup
	case "IVR":
		return IVR
	}
	return Extension
}

func (s *State) has(number string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	kind, _ := s.kind(number)
	return kind != "None"
}

// serveCalls says how calls are made that a client of the API asks for.
func (s *State) serveCalls(makes func(dn, destination string) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.makes = makes
}
