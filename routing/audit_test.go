package routing_test

import (
	"bytes"
	"encoding/json"
	"math/rand/v2"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"frontdesk/call"
	"frontdesk/routing"
)

// auditPlan is a plan in Moscow time.
func auditPlan(t testing.TB, leads string) *routing.Plan {
	t.Helper()
	src := source(routing.RuleSource{Name: "all", Default: "800"})
	src.Zone, src.Leads = time.FixedZone("MSK", 3*3600), leads
	plan, problems := routing.Compile(src)
	if plan == nil {
		t.Fatal(said(problems))
	}
	return plan
}

func TestAuditGolden(t *testing.T) {
	t.Parallel()
	const file = "../testdata/routing/audit/everything.txtar"
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var s routing.Snapshot
	decode(t, archive.Files[0].Data, &s)
	findings := auditPlan(t, "ignore").Audit(s)
	var text bytes.Buffer
	if err := routing.WriteFindings(&text, findings); err != nil {
		t.Fatal(err)
	}
	got, err := json.MarshalIndent(findings, "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	got = append(got, '\n')
	if *update {
		archive.Files = append(archive.Files[:1:1], txtar.File{Name: "findings.json", Data: got}, txtar.File{Name: "findings.txt", Data: text.Bytes()})
		if err := os.WriteFile(file, txtar.Format(archive), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if diff := cmp.Diff(string(archive.Files[1].Data), string(got)); diff != "" {
		t.Errorf("findings (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(string(archive.Files[2].Data), text.String()); diff != "" {
		t.Errorf("text (-want +got):\n%s", diff)
	}
}

// Whatever is decided about a number, the audit has told before.
func TestAuditAgreesWithDecide(t *testing.T) {
	t.Parallel()
	plan := auditPlan(t, "ignore")
	seen := map[call.Outcome]int{}
	for seed := range uint64(300) {
		r := rand.New(rand.NewPCG(seed, 7))
		s := randomSnapshot(r)
		told := map[call.Number]map[routing.FindingKind]bool{}
		for _, f := range plan.Audit(s) {
			if told[f.Number] == nil {
				told[f.Number] = map[routing.FindingKind]bool{}
			}
			told[f.Number][f.Kind] = true
		}
		for n, entities := range carriers(s) {
			d := plan.Decide(routing.Facts{
				At: s.At, Caller: n, DID: "+74951234567", Trunk: "carrier", Employees: s.Employees, Numbers: s.Numbers,
				CRM: call.Answer{Source: call.SourceLive, Entities: entities},
			})
			seen[d.Outcome]++
			if got, want := told[n]["ambiguous"], d.Outcome == call.OutcomeAmbiguous; got != want {
				t.Fatalf("world %d: %s is decided %s, audit says ambiguous %v", seed, n, d.Outcome, got)
			}
			some := told[n]["no_extension"] || told[n]["unknown_extension"] || told[n]["dismissed"]
			if d.Outcome == call.OutcomeNoExtension && !some {
				t.Fatalf("world %d: %s is decided %s and the audit does not tell: %+v", seed, n, d.Outcome, d.Trace)
			}
		}
	}
	for _, o := range []call.Outcome{"ambiguous", "no_extension", "temporary", "manager", "responsible"} {
		if seen[o] < 20 {
			t.Errorf("outcome %s was seen %d times", o, seen[o])
		}
	}
}

// randomSnapshot has one number a card, so that a finding tells of which.
func randomSnapshot(r *rand.Rand) routing.Snapshot {
	s := routing.Snapshot{
		At: time.Date(2026, 3, 5, 12, 0, 0, 0, time.UTC), Employees: map[int]call.Employee{},
		Numbers: call.Numbers{Extensions: call.Ranges{"200-209"}},
	}
	for id := 1; id < 7; id++ {
		s.Employees[id] = call.Employee{ID: id, Extension: oneOf[call.Extension](r, "201", "202", "203", "", "999"), Dismissed: chance(r, 15)}
	}
	for i := range 12 {
		n := oneOf[call.Number](r, "+79160000001", "+79160000002", "+79160000003", "+79160000004", "+79160000005", "+79160000006")
		c := routing.AuditCard{Phones: []routing.AuditPhone{{Stored: string(n), Number: n}}}
		c.Kind, c.ID = oneOf(r, call.Kinds()...), i+1
		c.Responsible, c.Closed = r.IntN(9), chance(r, 30)
		if chance(r, 30) {
			c.Manager = r.IntN(8)
		}
		if chance(r, 30) {
			c.Temporary, c.Until = r.IntN(8), s.At.Add(time.Duration(r.IntN(3)-1)*time.Minute)
		}
		s.Cards = append(s.Cards, c)
	}
	return s
}

func carriers(s routing.Snapshot) map[call.Number][]call.Entity {
	out := map[call.Number][]call.Entity{}
	for _, c := range s.Cards {
		out[c.Phones[0].Number] = append(out[c.Phones[0].Number], c.Entity)
	}
	return out
}

// A PBX whose numbers are not known yet says nothing against an extension.
func TestAuditWithoutThePBXNumbers(t *testing.T) {
	t.Parallel()
	s := routing.Snapshot{
		Employees: map[int]call.Employee{1: {ID: 1, Extension: "7001"}},
		Cards:     []routing.AuditCard{{Entity: call.Entity{Kind: call.KindContact, ID: 1, Responsible: 1}, Phones: []routing.AuditPhone{{Number: "+79160000001"}}}},
	}
	if got := auditPlan(t, "").Audit(s); len(got) != 0 {
		t.Errorf("findings %+v", got)
	}
}

func TestFindingsAlikeAreToldInShort(t *testing.T) {
	t.Parallel()
	var findings []routing.Finding
	for range 9 {
		findings = append(findings, routing.Finding{Kind: routing.FindingDismissed, Employee: 17, Text: "a \x1b[31mcard"})
	}
	var b bytes.Buffer
	if err := routing.WriteFindings(&b, findings); err != nil {
		t.Fatal(err)
	}
	want := "dismissed (9)\n" + strings.Repeat("  a \\x1b[31mcard\n", 5) + "  and 4 more of employee 17 (--json tells all)\n"
	if b.String() != want {
		t.Errorf("text\n%s\nwant\n%s", &b, want)
	}
	b.Reset()
	if err := routing.WriteFindings(&b, nil); err != nil || b.String() != "nothing will misroute\n" {
		t.Errorf("%q, %v", &b, err)
	}
}

func BenchmarkAudit(b *testing.B) {
	plan, s := auditPlan(b, ""), routing.Snapshot{Employees: map[int]call.Employee{1: {ID: 1, Extension: "201"}}, Numbers: call.Numbers{Extensions: call.Ranges{"200-299"}}}
	for i := range 20_000 {
		n := call.Number("+7916" + strings.Repeat("0", 2) + time.Unix(int64(i/2), 0).UTC().Format("15405"))
		s.Cards = append(s.Cards, routing.AuditCard{Entity: call.Entity{Kind: call.KindContact, ID: i + 1, Responsible: 1}, Phones: []routing.AuditPhone{{Stored: string(n), Number: n}}})
	}
	b.ReportAllocs()
	for b.Loop() {
		if f := plan.Audit(s); len(f) != 0 {
			b.Fatal(f[0])
		}
	}
}
