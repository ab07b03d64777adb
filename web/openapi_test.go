package web_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"frontdesk/call"
	"frontdesk/routing"
	"frontdesk/web"
)

// description is what the server says of itself.
func description(t *testing.T, h *house) map[string]any {
	t.Helper()
	body := h.want(t, 200, request("GET", "/api/v1/openapi.json", ""))
	doc, err := jsonschema.UnmarshalJSON(strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	return doc.(map[string]any)
}

func TestDescriptionNamesEveryRoute(t *testing.T) {
	t.Parallel()
	h := setup(t)
	var said []string
	for path, item := range description(t, h)["paths"].(map[string]any) {
		for method := range item.(map[string]any) {
			said = append(said, strings.ToUpper(method)+" "+path)
		}
	}
	slices.Sort(said)
	served := h.Routes()
	slices.Sort(served)
	if diff := cmp.Diff(served, said); diff != "" {
		t.Errorf("served and described differ (-served +described):\n%s", diff)
	}
}

func TestDescriptionRefersToWhatIsThere(t *testing.T) {
	t.Parallel()
	doc := description(t, setup(t))
	if doc["openapi"] != "3.1.0" {
		t.Errorf("version %v", doc["openapi"])
	}
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			if ref, ok := v["$ref"].(string); ok && !resolves(doc, ref) {
				t.Errorf("%s leads nowhere", ref)
			}
			for _, x := range v {
				walk(x)
			}
		case []any:
			for _, x := range v {
				walk(x)
			}
		}
	}
	walk(doc)
}

func resolves(doc any, ref string) bool {
	for _, part := range strings.Split(strings.TrimPrefix(ref, "#/"), "/") {
		m, ok := doc.(map[string]any)
		if !ok || m[part] == nil {
			return false
		}
		doc = m[part]
	}
	return true
}

func TestDescriptionListsTheOutcomes(t *testing.T) {
	t.Parallel()
	doc := description(t, setup(t))
	schema := doc["components"].(map[string]any)["schemas"].(map[string]any)["Outcome"].(map[string]any)
	var want []any
	for _, o := range call.Outcomes() {
		want = append(want, string(o))
	}
	if diff := cmp.Diff(want, schema["enum"]); diff != "" {
		t.Error(diff)
	}
}

// TestDescriptionNamesEveryField compares the schemas with the fields that the
// types write.
func TestDescriptionNamesEveryField(t *testing.T) {
	t.Parallel()
	schemas := description(t, setup(t))["components"].(map[string]any)["schemas"].(map[string]any)
	for name, typ := range map[string]reflect.Type{
		"Record": reflect.TypeFor[call.Record](), "Talk": reflect.TypeFor[call.Talk](), "Leg": reflect.TypeFor[call.Leg](),
		"Event": reflect.TypeFor[call.Event](), "Entry": reflect.TypeFor[call.Entry](),
		"Check": reflect.TypeFor[web.Check](), "SetupStep": reflect.TypeFor[web.SetupStep](), "Mirror": reflect.TypeFor[web.MirrorStatus](),
		"Identity": reflect.TypeFor[web.Identity](), "Progress": reflect.TypeFor[web.Progress](), "Finding": reflect.TypeFor[routing.Finding](),
		"PhonebookSync": reflect.TypeFor[web.PhonebookSync](), "PhonebookContacts": reflect.TypeFor[web.PhonebookContacts](), "PhonebookWritten": reflect.TypeFor[web.PhonebookWritten](),
		"ExchangeCheck": reflect.TypeFor[web.ExchangeCheck](),
	} {
		said := slices.Sorted(maps.Keys(schemas[name].(map[string]any)["properties"].(map[string]any)))
		written := fields(typ)
		slices.Sort(written)
		if diff := cmp.Diff(written, said); diff != "" {
			t.Errorf("%s (-written +described):\n%s", name, diff)
		}
	}
}

func fields(typ reflect.Type) []string {
	var out []string
	for f := range typ.Fields() {
		tag, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous:
			out = append(out, fields(f.Type)...)
		case tag != "-":
			out = append(out, tag)
		}
	}
	return out
}

func TestAnswersFitTheDescription(t *testing.T) {
	t.Parallel()
	h := setup(t)
	schema := compiled(t, description(t, h))
	h.ring.Add(record(1))
	h.ring.Add(full())
	h.ring.Add(call.Record{ID: "out", Direction: call.Out, Times: call.Times{Started: noon}})
	h.problems = "frontdesk.yaml:1:1: bad"
	for _, c := range []struct {
		name, method, target, body string
		code                       int
	}{
		{"Page", "GET", "/api/v1/calls", "", 200},
		{"Page", "GET", "/api/v1/calls?limit=1", "", 200},
		{"Record", "GET", "/api/v1/calls/full", "", 200},
		{"Record", "GET", "/api/v1/calls/out", "", 200},
		{"Decision", "POST", "/api/v1/explain", `{"to":"1"}`, 200},
		{"Error", "POST", "/api/v1/explain", `{`, 400},
		{"Error", "GET", "/api/v1/calls/none", "", 404},
		{"Error", "POST", "/api/v1/reload", "", 422},
	} {
		body := h.want(t, c.code, request(c.method, c.target, c.body))
		v, err := jsonschema.UnmarshalJSON(strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if err := schema(c.name).Validate(v); err != nil {
			t.Errorf("%s %s is no %s: %v\n%s", c.method, c.target, c.name, err, body)
		}
	}
	if err := schema("Record").Validate(map[string]any{"id": "x"}); err == nil {
		t.Error("the schema of a record takes anything")
	}
}

// compiled gives the schemas of the description by name.
func compiled(t *testing.T, doc map[string]any) func(string) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	c.DefaultDraft(jsonschema.Draft2020)
	c.AssertFormat()
	if err := c.AddResource("openapi.json", doc); err != nil {
		t.Fatal(err)
	}
	return func(name string) *jsonschema.Schema {
		s, err := c.Compile("openapi.json#/components/schemas/" + name)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
}

// full is a record with every field set.
func full() call.Record {
	r := record(2, outcome(call.OutcomeManager))
	r.ID, r.Prefix, r.Digits, r.Result, r.MissedIn = "full", "9", "201", call.ResultMissed, "queue"
	r.Answered, r.Ended.Transfer = noon.Add(time.Minute), call.TransferBridge
	r.Times.Ended = noon.Add(time.Hour)
	r.Talks = []call.Talk{{Extension: "201", Employee: 17, From: noon, Until: noon, Recording: "a.wav"}}
	r.Legs = []call.Leg{{Peer: "carrier", CallID: "x@y", Target: "sip:201@pbx", Began: noon, Code: 200}}
	r.Facts = call.NewDocument(map[string]string{"caller": "+7"})
	r.Trace = call.NewDocument([]routing.Step{{Step: "rule", Result: "support"}})
	r.Timeline = []call.Event{{At: noon, Event: "INVITE"}}
	r.Ledger = []call.Entry{{Step: "register", Leg: 1, State: "done", Tries: 1, Error: "no", Next: noon}}
	return r
}

// TestFullIsFull keeps full honest: a field added to a record must be set, so
// that it is checked.
func TestFullIsFull(t *testing.T) {
	t.Parallel()
	b, err := json.Marshal(full())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range fields(reflect.TypeFor[call.Record]()) {
		if !bytes.Contains(b, []byte(fmt.Sprintf("%q:", f))) {
			t.Errorf("full does not set %s", f)
		}
	}
}
