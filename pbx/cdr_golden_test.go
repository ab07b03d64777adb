package pbx_test

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"

	"frontdesk/call"
	"frontdesk/pbx"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// reader is the PBX of the golden lines.
func reader() pbx.Reader {
	return pbx.Reader{
		Country: "RU",
		Numbers: func() call.Numbers {
			return call.Numbers{Extensions: call.Ranges{"100-299"}, Queues: call.Ranges{"800-899"}}
		},
		Trunk: func(dn string) string { return map[string]string{"10000": "carrier"}[dn] },
	}
}

// TestGolden reads lines and compares the call they make with the one that was
// looked at by a person.
func TestGolden(t *testing.T) {
	t.Parallel()
	const file = "../testdata/threecx/lines.txtar"
	archive, err := txtar.ParseFile(file)
	if err != nil {
		t.Fatal(err)
	}
	cases := 0
	for i := 0; i+1 < len(archive.Files); i += 2 {
		lines, want := archive.Files[i], &archive.Files[i+1]
		if want.Name != "=" {
			t.Fatalf("%s: no call follows", lines.Name)
		}
		cases++
		got := golden(t, lines.Name, string(lines.Data))
		if *update {
			want.Data = got
		}
		if diff := cmp.Diff(string(want.Data), string(got)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", lines.Name, diff)
		}
	}
	if cases < 33 {
		t.Errorf("%d cases, want those of the reference and thirty more", cases)
	}
	if *update {
		if err := os.WriteFile(file, txtar.Format(archive), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// golden is the call that lines make, as JSON. They must make it in any order.
func golden(t *testing.T, name, text string) []byte {
	t.Helper()
	assembler := pbx.NewAssembler(reader())
	var c pbx.Call
	partial := false
	for line := range strings.Lines(text) {
		cdr, err := pbx.ParseCDR(pbx.CDRFields(), line)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		partial = partial || cdr.Partial
		joined, ok := assembler.Add(cdr)
		if !ok {
			t.Errorf("%s: a line counts as told before", name)
		}
		c = joined
		if _, again := assembler.Add(cdr); again {
			t.Errorf("%s: the same line again counts as another", name)
		}
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetIndent("", "  ")
	if err := enc.Encode(struct {
		pbx.Call
		Partial bool `json:"partial,omitempty"`
	}{c, partial}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}
