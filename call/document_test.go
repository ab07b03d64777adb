package call_test

import (
	"encoding/json"
	"testing"

	"frontdesk/call"
)

func TestDocument(t *testing.T) {
	t.Parallel()
	r := call.Record{ID: "x", Facts: call.NewDocument(map[string]int{"a": 1})}
	b, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var back call.Record
	if err := json.Unmarshal(b, &back); err != nil {
		t.Fatal(err)
	}
	var facts map[string]int
	if err := back.Facts.Decode(&facts); err != nil || facts["a"] != 1 {
		t.Errorf("facts read back as %v, %v", facts, err)
	}
	again, err := json.Marshal(back)
	if err != nil || string(again) != string(b) {
		t.Errorf("written again:\n%s (%v)\nwas\n%s", again, err, b)
	}
	if !back.Trace.IsZero() {
		t.Error("a record without a trace has one after reading")
	}
}
