package routing

import (
	"fmt"
	"io"
	"strings"
)

// alike is how many findings of one kind about one employee are told one by
// one.
const alike = 5

// WriteFindings writes findings, as Audit gives them, for people: by kind, and
// of those that are alike the first few. Characters that do not print are
// escaped.
func WriteFindings(w io.Writer, findings []Finding) error {
	var b strings.Builder
	if len(findings) == 0 {
		b.WriteString("nothing will misroute\n")
	}
	type group struct {
		kind     FindingKind
		employee int
	}
	told, counts, totals := map[group]int{}, map[group]int{}, map[FindingKind]int{}
	for _, f := range findings {
		counts[group{f.Kind, f.Employee}]++
		totals[f.Kind]++
	}
	var last FindingKind
	for _, f := range findings {
		if f.Kind != last {
			fmt.Fprintf(&b, "%s (%d)\n", f.Kind, totals[f.Kind])
			last = f.Kind
		}
		g := group{f.Kind, f.Employee}
		switch told[g]++; {
		case told[g] <= alike || f.Employee == 0:
			fmt.Fprintf(&b, "  %s\n", printable(f.Text))
		case told[g] == alike+1:
			fmt.Fprintf(&b, "  and %d more of employee %d (--json tells all)\n", counts[g]-alike, f.Employee)
		}
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write findings: %w", err)
	}
	return nil
}
