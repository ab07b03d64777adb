package routing_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"frontdesk/call"
	"frontdesk/routing"
)

var update = flag.Bool("update", false, "rewrite what the golden files expect")

// dialplan is a Source as golden files write it.
type dialplan struct {
	routing.Source
	Zone string
}

func (p dialplan) source(t *testing.T) routing.Source {
	p.Source.Zone = zone(t, p.Zone)
	return p.Source
}

// verdict is what a golden file expects besides the trace.
type verdict struct {
	Target   call.Extension `json:"target"`
	Outcome  call.Outcome   `json:"outcome"`
	Greeting bool           `json:"greeting"`
	Rule     string         `json:"rule"`
	Default  call.Extension `json:"default"`
	Employee int            `json:"employee,omitempty"`
	Entity   string         `json:"entity,omitempty"`
	Reject   int            `json:"reject,omitempty"`
	Search   bool           `json:"search"`
}

func verdictOf(d routing.Decision, search bool) verdict {
	v := verdict{d.Target, d.Outcome, d.Greeting, d.Rule, d.Default, 0, "", d.Reject, search}
	if d.Employee != nil {
		v.Employee = d.Employee.ID
	}
	if d.Entity != nil {
		v.Entity = fmt.Sprintf("%s %d", d.Entity.Kind, d.Entity.ID)
	}
	return v
}

func TestGolden(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("../testdata/routing/*.txtar")
	if err != nil || len(files) < 50 {
		t.Fatalf("%d golden files, %v", len(files), err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			t.Parallel()
			golden(t, file)
		})
	}
}

// golden decides one file: plan.json and facts.json in, decision.json and
// trace.txt out. Whatever a plan leaves out is as below.
func golden(t *testing.T, file string) {
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	part := map[string][]byte{}
	for _, f := range archive.Files {
		part[f.Name] = f.Data
	}
	src := dialplan{Zone: "Europe/Moscow", Source: routing.Source{
		Country: "RU", Trunks: []string{"carrier", "backup"}, Sticky: true,
		Numbers: call.Numbers{Extensions: call.Ranges{"100-299"}, Queues: call.Ranges{"800-899"}},
	}}
	decode(t, part["plan.json"], &src)
	plan, problems := routing.Compile(src.source(t))
	if plan == nil {
		t.Fatalf("plan: %q", said(problems))
	}
	var facts routing.Facts
	decode(t, part["facts.json"], &facts)

	d := plan.Decide(facts)
	got, err := json.MarshalIndent(verdictOf(d, plan.Search(facts)), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	var text bytes.Buffer
	if err := d.WriteText(&text); err != nil {
		t.Fatal(err)
	}
	if *update {
		archive.Files = append(archive.Files[:2:2],
			txtar.File{Name: "decision.json", Data: append(got, '\n')}, txtar.File{Name: "trace.txt", Data: text.Bytes()})
		if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(string(part["decision.json"]), string(got)+"\n"); diff != "" {
		t.Errorf("decision (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(string(part["trace.txt"]), text.String()); diff != "" {
		t.Errorf("trace (-want +got):\n%s", diff)
	}
	replay(t, plan, facts, d)
}

// replay checks that facts read back from a record decide alike.
func replay(t *testing.T, plan *routing.Plan, facts routing.Facts, d routing.Decision) {
	once, err := json.Marshal(facts)
	if err != nil {
		t.Fatal(err)
	}
	var back routing.Facts
	decode(t, once, &back)
	again, err := json.Marshal(back)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(once, again) {
		t.Errorf("facts are\n%s\nand read back\n%s", once, again)
	}
	if diff := cmp.Diff(d, plan.Decide(back)); diff != "" {
		t.Errorf("facts read back decide otherwise:\n%s", diff)
	}
}

func decode(t *testing.T, b []byte, into any) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		t.Fatalf("%v in\n%s", err, b)
	}
}

func TestDecisionAsJSON(t *testing.T) {
	t.Parallel()
	plan, _ := routing.Compile(source(routing.RuleSource{Name: "support", Default: "800", DID: []string{"+7495*"}}))
	d := plan.Decide(routing.Facts{At: time.Unix(0, 0), Caller: "+79161234567", DID: "+74991234567"})
	got, err := json.Marshal(d)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"target":"","outcome":"no_rule","greeting":false,"rule":"","trace":[` +
		`{"step":"rule \"support\"","result":"no match","why":"did +74991234567 does not match +7495*"},` +
		`{"step":"decision","result":"refused with 404","why":"no_rule"}]}`
	if string(got) != want {
		t.Errorf("decision is\n%s\nwant\n%s", got, want)
	}
}
