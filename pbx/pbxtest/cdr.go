package pbxtest

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// CDRSettings is how a PBX writes call detail records.
type CDRSettings struct {
	Disabled bool
	LogType  string   // "ActiveSocket", "PassiveSocket", "SingleFileForAllCalls", "SingleFileForEachCall"
	Host     string   // of the active socket
	Port     int      // of the active or passive socket
	Fields   []string // of a line, in order
	Legacy   bool     // words of the engine before 20.0.6: TerminatedBySrc, Line
}

// CDRFields are all fields of a line in the order of the documentation.
func CDRFields() []string {
	return strings.Fields("historyid callid duration time-start time-answered time-end reason-terminated from-no to-no from-dn to-dn" +
		" dial-no reason-changed final-number final-dn bill-code bill-rate bill-cost bill-name chain from-type to-type final-type" +
		" from-dispname to-dispname final-dispname missed-queue-calls")
}

func defaultCDR() CDRSettings {
	return CDRSettings{LogType: "ActiveSocket", Host: "127.0.0.1", Port: 5015, Fields: CDRFields()}
}

// SetCDR changes how records are written, from the next one on.
func (s *State) SetCDR(change func(*CDRSettings)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.cdr)
}

// CDR is how records are written.
func (s *State) CDR() CDRSettings {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.cdr
	c.Fields = slices.Clone(c.Fields)
	return c
}

// Line is the call detail record of a call, without the end of the line.
func (c CDRSettings) Line(a Account) string {
	values := c.values(a)
	out := make([]string, 0, len(c.Fields))
	for _, f := range c.Fields {
		out = append(out, values[f])
	}
	return strings.Join(out, ",")
}

// path are the stops that make the chain: agents who rang in vain are none.
func (a Account) path() (legs []Leg, missed []string) {
	for _, l := range a.Legs {
		if l.How == Polled && l.Answered.IsZero() {
			missed = append(missed, "Ext."+l.Number)
			continue
		}
		legs = append(legs, l)
	}
	return legs, missed
}

// values are all fields of a line by name.
func (c CDRSettings) values(a Account) map[string]string {
	kind := func(k Kind) string {
		if c.Legacy {
			return string(k)
		}
		return k.modern()
	}
	legs, missed := a.path()
	v := map[string]string{
		"historyid": fmt.Sprintf("Call %d", a.History), "callid": a.CallID, "dial-no": a.Dialled,
		"time-start": cdrTime(a.Started), "time-end": cdrTime(a.Ended), "reason-terminated": a.End.reason(c.Legacy, a.Direction),
		"from-type": kind(Extension), "from-dn": a.Caller.Number, "from-no": "Ext." + a.Caller.Number, "from-dispname": a.Caller.Name,
		"missed-queue-calls": joined(missed),
	}
	if a.Direction == Inbound {
		v["from-type"], v["from-dn"], v["from-no"] = kind(Line), a.Trunk, a.Caller.Number
		if a.Caller.Name == "" {
			v["from-dispname"] = a.Caller.Number
		}
	}
	if answered := a.answered(); !answered.IsZero() {
		d := int(a.Ended.Sub(answered).Round(time.Second) / time.Second)
		v["time-answered"], v["duration"] = cdrTime(answered), fmt.Sprintf("%02d:%02d:%02d", d/3600, d/60%60, d%60)
	}
	if len(legs) == 0 {
		return v
	}
	first, final := legs[0], legs[len(legs)-1]
	v["to-no"], v["to-dn"], v["to-type"], v["to-dispname"] = written(first), a.dn(first), kind(first.Kind), display(first)
	if first.Kind != LineSet {
		v["chain"] = "Chain: " + v["from-no"] + ";" + a.chain(legs)
	}
	if first.Kind == Line {
		v["bill-rate"], v["bill-cost"], v["bill-name"] = "1", "1.08", "default"
		if !c.Legacy {
			v["bill-code"] = "default"
		}
	}
	if len(legs) > 1 || !c.Legacy {
		v["final-number"], v["final-dn"], v["final-type"] = written(final), a.dn(final), kind(final.Kind)
	}
	if len(legs) > 1 {
		v["final-dispname"], v["reason-changed"] = display(final), a.changed(legs)
	}
	return v
}

// changed says how the last stop came about.
func (a Account) changed(legs []Leg) string {
	before, final := legs[len(legs)-2], legs[len(legs)-1]
	switch {
	case final.How == Failed || before.How == Failed:
		return "FailedBXferOfDst"
	case before.Kind == Queue && final.How == Forwarded:
		return "QFwdToDNA"
	case a.Direction == Outbound:
		return "ReplacedSrc"
	}
	return "ReplacedDst"
}

// answered is when the first stop answered: queues and menus count.
func (a Account) answered() time.Time {
	var t time.Time
	for _, l := range a.Legs {
		if !l.Answered.IsZero() && (t.IsZero() || l.Answered.Before(t)) {
			t = l.Answered
		}
	}
	return t
}

// dn is the number inside the PBX that served a stop.
func (a Account) dn(l Leg) string {
	switch l.Kind {
	case Line:
		return a.Trunk
	case LineSet:
		return a.Dialled
	}
	return l.Number
}

// chain are all stops; an outgoing call's is the number as it was dialled.
func (a Account) chain(legs []Leg) string {
	var b strings.Builder
	for _, l := range legs {
		if l.Kind == Line {
			l.Number = a.Dialled
		}
		b.WriteString(written(l))
		b.WriteByte(';')
	}
	return b.String()
}

// written is a stop's number as lines show it.
func written(l Leg) string {
	switch l.Kind {
	case Line, LineSet:
		return l.Number
	case Voicemail:
		return "VMail." + l.Number
	}
	return "Ext." + l.Number
}

func display(l Leg) string {
	if l.Name == "" && l.Kind == Line {
		return l.Number
	}
	return l.Name
}

func joined(numbers []string) string {
	if len(numbers) == 0 {
		return ""
	}
	return strings.Join(numbers, ";") + ";"
}

func cdrTime(t time.Time) string { return t.UTC().Format("2006/01/02 15:04:05") }

func getCDRSettings(a *API, _ *request) (any, *failure) {
	c := a.state.CDR()
	field := func(names []string) []Row {
		out := []Row{}
		for _, n := range names {
			out = append(out, Row{"Name": n, "Length": 0})
		}
		return out
	}
	return Row{
		"Id": 0, "Enabled": !c.Disabled, "LogType": c.LogType, "LogSize": 1000, "SocketIpAddress": c.Host, "SocketPort": c.Port,
		"RemoveCommaDelimiters": false, "EnabledFields": field(c.Fields), "PossibleFields": field(CDRFields()),
	}, nil
}

func patchCDRSettings(a *API, q *request) (any, *failure) {
	fields, fail := q.fields()
	if fail != nil {
		return nil, fail
	}
	c := a.state.CDR()
	if on, ok := fields["Enabled"].(bool); ok {
		c.Disabled = !on
	}
	if host := fields.text("SocketIpAddress"); host != "" {
		c.Host = host
	}
	if port, ok := fields["SocketPort"].(float64); ok {
		c.Port = int(port)
	}
	if kind := fields.text("LogType"); kind != "" {
		if !slices.Contains([]string{"SingleFileForAllCalls", "SingleFileForEachCall", "PassiveSocket", "ActiveSocket"}, kind) {
			return nil, invalid("Cannot convert a value of property 'LogType'")
		}
		c.LogType = kind
	}
	if enabled, ok := fields["EnabledFields"].([]any); ok {
		c.Fields = nil
		for _, v := range enabled {
			f, _ := v.(map[string]any)
			name, _ := f["Name"].(string)
			if !slices.Contains(CDRFields(), name) {
				return nil, &failure{status: http.StatusBadRequest, target: "EnabledFields", text: "WARNINGS.XAPI.NOT_FOUND"}
			}
			c.Fields = append(c.Fields, name)
		}
	}
	a.state.SetCDR(func(old *CDRSettings) { *old = c })
	return nil, nil
}
