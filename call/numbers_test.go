package call_test

import (
	"encoding/json"
	"strconv"
	"testing"
	"time"

	"frontdesk/call"
)

func TestRangesHas(t *testing.T) {
	t.Parallel()
	r := call.Ranges{"100-299", "0101", "8000 - 8009"}
	for ext, want := range map[call.Extension]bool{
		"100": true, "201": true, "299": true, "300": false, "0101": true, "101": true,
		"1000": false, "8005": true, "": false, "10": false, "2٠1": false, "-": false,
	} {
		if got := r.Has(ext); got != want {
			t.Errorf("Has(%q) = %v, want %v", ext, got, want)
		}
	}
	if r.Longest() != 4 {
		t.Errorf("longest is %d, want 4", r.Longest())
	}
}

func BenchmarkRangesHas(b *testing.B) {
	var r call.Ranges
	for i := range 500 {
		r = append(r, strconv.Itoa(1000+i))
	}
	b.ReportAllocs()
	for b.Loop() {
		if r.Has("1999") {
			b.Fatal("found")
		}
	}
}

func TestRangesCheck(t *testing.T) {
	t.Parallel()
	for bad, want := range map[string]string{
		"1-22":    `"1-22" joins numbers of different length`,
		"299-100": `"299-100" ends before it begins`,
		"abc":     `"abc" is no number and no range such as 100-299`,
		"":        `"" is no number and no range such as 100-299`,
	} {
		i, err := call.Ranges{"100", bad}.Check()
		if i != 1 || err == nil || err.Error() != want {
			t.Errorf("Check(%q) = %d, %v; want 1, %s", bad, i, err, want)
		}
	}
	if i, err := (call.Ranges{"100-299", "7"}).Check(); i != -1 || err != nil {
		t.Errorf("good ranges: %d, %v", i, err)
	}
}

func TestOutcomesAreClosed(t *testing.T) {
	t.Parallel()
	for _, o := range call.Outcomes() {
		if !o.Valid() {
			t.Errorf("%q is listed and not valid", o)
		}
	}
	if call.Outcome("elsewhere").Valid() {
		t.Error("an unlisted outcome is valid")
	}
}

func TestRecordJSON(t *testing.T) {
	t.Parallel()
	start := time.Date(2026, 3, 1, 12, 0, 0, 0, time.FixedZone("MSK", 3*3600))
	b, err := json.Marshal(call.Record{
		ID: "abc", Direction: call.In,
		Parties: call.Parties{Trunk: "carrier", Caller: "+79161234567", DID: "+74951234567"},
		Times:   call.Times{Started: start},
		Routed:  call.Routed{Rule: "support", Target: "201", Outcome: call.OutcomeResponsible, Greeting: true},
		Ended:   call.Ended{Transfer: call.TransferRedirect},
	})
	if err != nil {
		t.Fatal(err)
	}
	want := `{"id":"abc","direction":"in","trunk":"carrier","caller":"+79161234567","did":"+74951234567",` +
		`"started":"2026-03-01T12:00:00+03:00","rule":"support","target":"201","outcome":"responsible","greeting":true,"transfer":"redirect"}`
	if string(b) != want {
		t.Errorf("record is\n%s\nwant\n%s", b, want)
	}
}

func TestSecondsRoundTrip(t *testing.T) {
	t.Parallel()
	in := call.Seconds(1234567 * time.Microsecond)
	b, err := json.Marshal(in)
	if err != nil || string(b) != "1.234567" {
		t.Fatalf("marshalled %s, %v", b, err)
	}
	var out call.Seconds
	if err := json.Unmarshal(b, &out); err != nil || out != in {
		t.Errorf("read back %v, %v", out, err)
	}
}

func TestNewIDIsUnique(t *testing.T) {
	t.Parallel()
	a, b := call.NewID(), call.NewID()
	if a == b || len(a) != 16 {
		t.Errorf("ids %q and %q", a, b)
	}
}

func TestRangesContinues(t *testing.T) {
	t.Parallel()
	r := call.Ranges{"150-299", "0101", "8005-8009"}
	for prefix, want := range map[string]bool{
		"": true, "1": true, "14": false, "15": true, "2": true, "29": true, "3": false, "201": false,
		"0": true, "010": true, "011": false, "0101": false, "800": true, "8005": false, "*": false, "2*": false,
	} {
		if got := r.Continues(prefix); got != want {
			t.Errorf("Continues(%q) = %v, want %v", prefix, got, want)
		}
	}
}
