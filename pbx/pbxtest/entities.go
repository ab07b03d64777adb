package pbxtest

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
)

func itoa(n int) string { return strconv.Itoa(n) }

// routes is the table of operations, with the builds that have them.
func routes() []route {
	out := []route{
		{shape: "GET Defs", right: toProbe, do: readList},
		{shape: "GET Defs/Pbx.GetSystemParameters()", right: toProbe, do: systemParameters},
		{shape: "GET swagger.yaml", right: toProbe, do: swagger},
		{shape: "GET $metadata", right: toProbe, do: metadata},
		{shape: "GET Queues()/Agents", right: toDirectory, do: readInner},
		{shape: "GET Users()/ForwardingProfiles", right: toDirectory, do: readInner},
		{shape: "PATCH Users()", right: toDirectory, do: patchUser},
		{shape: "POST Users/Pbx.MakeCall", right: toDirectory, do: makeCall},
		{shape: "PATCH Trunks()", right: toSystem, do: patchTrunk},
		{shape: "GET SystemStatus", right: toSystem, do: systemStatus},
		{shape: "GET ActiveCalls", right: toSystem, do: activeCalls},
		{shape: "GET Blocklist", right: toSystem, do: readList},
		{shape: "POST Blocklist", right: toSystem, do: postBlocklist},
		{shape: "GET CDRSettings", right: toSystem, do: getCDRSettings},
		{shape: "PATCH CDRSettings", right: toSystem, do: patchCDRSettings},

		{shape: "GET Contacts", right: toDirectory, do: readList},
		{shape: "GET Contacts()", right: toDirectory, do: readOne},
		{shape: "POST Contacts", right: toDirectory, do: postContact},
		{shape: "PATCH Contacts()", right: toDirectory, do: patchContact},
		{shape: "DELETE Contacts()", right: toDirectory, do: deleteContact},
		{shape: "POST Contacts/Pbx.BatchContactsDelete", right: toDirectory, do: deleteContacts, until: Build9},
		{shape: "POST Contacts/Pbx.DeleteContactsById", right: toDirectory, do: deleteContacts, since: Build9},

		{shape: "GET Recordings", right: toRecorded, do: listRecordings},
		{shape: "GET Recordings/Pbx.DownloadRecording()", right: toCallLog, do: download},
		{shape: "GET ReportCallLogData/Pbx.GetCallLogData()", right: toCallLog, do: callLog},
		{shape: "GET ReportCallLogData/Pbx.GetOldCallLogData()", right: toCallLog, do: oldCallLog, since: Build6},
		{shape: "GET CallHistoryView", right: toCallLog, do: broken},
	}
	for set, what := range map[string]right{
		"Peers": toDirectory, "Users": toDirectory, "Queues": toDirectory, "RingGroups": toDirectory, "Receptionists": toDirectory,
		"Trunks": toSystem, "OutboundRules": toSystem,
	} {
		out = append(out, route{shape: "GET " + set, right: what, do: readList}, route{shape: "GET " + set + "()", right: what, do: readOne})
	}
	for set, function := range map[string]string{"Users": "GetByNumber", "Trunks": "GetTrunkByNumber", "Peers": "GetPeerByNumber"} {
		out = append(out, route{shape: "GET " + set + "/Pbx." + function + "()", right: toDirectory, do: readByNumber, until: Build8})
	}
	return out
}

// readList is a page of an entity set.
func readList(a *API, q *request) (any, *failure) {
	t := a.state.tables[q.set()]
	options, fail := parseQuery(q.query, t)
	if fail != nil {
		return nil, fail
	}
	a.state.mu.Lock()
	rows := t.list(&options, q.query.Get("$filter")+"\n"+options.search)
	a.state.mu.Unlock()
	options.keep, options.search = nil, "" // applied
	return options.page(t, rows), nil
}

// readOne is the entity of a key: its id, or its number where the build has
// such keys.
func readOne(a *API, q *request) (any, *failure) {
	if _, numbered := q.last().args["Number"]; numbered && a.state.cfg.Build < Build8 {
		return nil, &failure{status: http.StatusNotFound}
	}
	return a.showOne(q, func(t *table) Row { return t.keyed(q.last().args) })
}

func readByNumber(a *API, q *request) (any, *failure) {
	return a.showOne(q, func(t *table) Row { return t.by("Number", q.last().args["number"]) })
}

func (a *API) showOne(q *request, find func(*table) Row) (any, *failure) {
	t := a.state.tables[q.set()]
	options, fail := parseQuery(q.query, t)
	if fail != nil {
		return nil, fail
	}
	a.state.mu.Lock()
	r := find(t)
	a.state.mu.Unlock()
	if r == nil {
		return nil, noSuch("Id")
	}
	return t.show(r, options.fields.selected, options.fields.expand), nil
}

// readInner is a list within an entity: Queues(40)/Agents.
func readInner(a *API, q *request) (any, *failure) {
	a.state.mu.Lock()
	defer a.state.mu.Unlock()
	r := a.state.tables[q.set()].keyed(q.path[0].args)
	if r == nil {
		return nil, noSuch("Id")
	}
	return Row{"value": r[q.last().name]}, nil
}

func systemParameters(a *API, _ *request) (any, *failure) {
	l := a.state.cfg.Licence
	return Row{
		"Version": a.state.cfg.Build.String(), "FQDN": "pbx.example.com", "ENL": 3, "ENLRange": "100-999", "MaxDIDPerTrunk": 500,
		"SipPort": 5060, "SipsPort": 5061, "TunnnelPort": 5090, "FirstExternalPort": 9000, "IsMulticompanyMode": false,
		"License": Row{
			"IsEnterprise": !l.NoEnterprise, "IsProfessional": true, "IsCfdEnabled": !l.NoFlow, "MaxSimCalls": 16, "ProductCode": "3CXENTSPLA",
		},
	}, nil
}

func systemStatus(a *API, _ *request) (any, *failure) {
	a.state.mu.Lock()
	defer a.state.mu.Unlock()
	registered := func(set, field string) (n int) {
		for _, r := range a.state.tables[set].rows {
			if up, _ := r[field].(bool); up {
				n++
			}
		}
		return n
	}
	return Row{
		"Version": a.state.cfg.Build.String(), "FQDN": "pbx.example.com", "CallsActive": len(a.state.live.calls), "MaxSimCalls": 16,
		"ExtensionsRegistered": registered("Users", "IsRegistered"), "ExtensionsTotal": len(a.state.tables["Users"].rows),
		"TrunksRegistered": registered("Trunks", "IsOnline"), "TrunksTotal": len(a.state.tables["Trunks"].rows),
		"LicenseActive": true, "RecordingQuota": 1 << 30, "RecordingUsedSpace": 1 << 20, "RecordingStopped": false, "HasNotRunningServices": false,
	}, nil
}

// patchUser changes a user; its number is not to be changed.
func patchUser(a *API, q *request) (any, *failure) { return a.patch(q, "Number") }

// patchTrunk changes a trunk: its DIDs, mostly.
func patchTrunk(a *API, q *request) (any, *failure) { return a.patch(q, "Number") }

func (a *API) patch(q *request, fixed string) (any, *failure) {
	fields, fail := q.fields()
	if fail != nil {
		return nil, fail
	}
	a.state.mu.Lock()
	defer a.state.mu.Unlock()
	t := a.state.tables[q.set()]
	r := t.keyed(q.last().args)
	if r == nil {
		return nil, noSuch("Id")
	}
	for name, v := range fields {
		switch {
		case !slices.Contains(t.fields, name):
			return nil, invalid("The property '%s' does not exist on type", name)
		case name == fixed && v != r[name], name == "Id" && v != float64(r.id()):
			return nil, warning(name, "XAPI.FORBIDDEN_CHANGE")
		case name == "Id":
			delete(fields, name)
		}
	}
	t.change(r.id(), fields)
	return nil, nil
}

func postBlocklist(a *API, q *request) (any, *failure) {
	fields, fail := q.fields()
	if fail != nil {
		return nil, fail
	}
	if fields.text("IPAddrMask") == "" {
		return nil, warning("IPAddrMask", "XAPI.REQUIRED")
	}
	a.state.mu.Lock()
	defer a.state.mu.Unlock()
	t := a.state.tables["Blocklist"]
	if t.by("IPAddrMask", fields.text("IPAddrMask")) != nil {
		return nil, warning("IPAddrMask", "XAPI.DUPLICATE")
	}
	fields["Id"] = a.state.id()
	t.put(fields)
	return created{t.show(fields, nil, nil)}, nil
}

// makeCall has an extension call somebody.
func makeCall(a *API, q *request) (any, *failure) {
	fields, fail := q.fields()
	if fail != nil {
		return nil, fail
	}
	dn := fields.text("dn")
	a.state.mu.Lock()
	kind, _ := a.state.kind(dn)
	makes := a.state.makes
	a.state.mu.Unlock()
	if kind != "Extension" {
		return nil, warning("dn", "XAPI.NON_EXISTENT_EXT_NUMBER")
	}
	if makes == nil {
		return Row{"FinalStatus": "Failed", "Reason": "PhoneNotRegistered", "ReasonText": "No phone is registered", "Result": nil}, nil
	}
	if err := makes(dn, fields.text("destination")); err != nil {
		return Row{"FinalStatus": "Failed", "Reason": "NoDestinations", "ReasonText": err.Error(), "Result": nil}, nil
	}
	return Row{"FinalStatus": "Success", "Reason": "None", "ReasonText": "", "Result": Row{"Status": "Dialing", "DN": dn}}, nil
}

// swagger is the part of the build's own description that tells builds apart.
func swagger(a *API, _ *request) (any, *failure) {
	text := "openapi: 3.0.4\ninfo:\n  title: XAPI\n  version: '" + a.state.cfg.Build.String() + "'\npaths:\n"
	for _, r := range routes() {
		if _, ok := a.routes[r.shape]; ok {
			_, path, _ := strings.Cut(r.shape, " ")
			text += "  '/" + path + "': {}\n"
		}
	}
	return file{"swagger.yaml", "application/yaml", []byte(text)}, nil
}

func metadata(*API, *request) (any, *failure) {
	return file{"metadata.xml", "application/xml", []byte(`<?xml version="1.0" encoding="utf-8"?>` +
		`<edmx:Edmx Version="4.0" xmlns:edmx="http://docs.oasis-open.org/odata/ns/edmx"><edmx:DataServices/></edmx:Edmx>`)}, nil
}

// broken is CallHistoryView on builds with the new engine.
func broken(*API, *request) (any, *failure) {
	return nil, &failure{status: http.StatusInternalServerError, text: "An error has occurred."}
}
