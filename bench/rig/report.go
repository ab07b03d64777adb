package rig

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Report is what a program measured.
type Report struct {
	Program string    `json:"program"`
	At      time.Time `json:"at"`
	Machine string    `json:"machine"`
	Command string    `json:"command"`
	Load    string    `json:"load_average"` // at the end: what else ran here
	Columns []string  `json:"columns"`
	Rows    [][]any   `json:"rows"`
}

// NewReport begins a report of the running program.
func NewReport(program string, columns ...string) *Report {
	return &Report{
		Program: program, At: time.Now().UTC().Truncate(time.Second), Machine: machine(),
		Command: "go run ./bench/" + strings.Join(append([]string{program}, os.Args[1:]...), " "), Columns: columns,
	}
}

// Add adds a row, one cell for each column.
func (r *Report) Add(cells ...any) { r.Rows = append(r.Rows, cells) }

// Write prints the table, then the JSON in one line.
func (r *Report) Write(w io.Writer) error {
	r.Load = average()
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintf(t, "%s; load %s\n%s\n", r.Machine, r.Load, strings.Join(r.Columns, "\t"))
	for _, row := range r.Rows {
		for i, cell := range row {
			if i > 0 {
				fmt.Fprint(t, "\t")
			}
			fmt.Fprint(t, cell)
		}
		fmt.Fprintln(t)
	}
	if err := t.Flush(); err != nil {
		return err
	}
	return json.NewEncoder(w).Encode(r)
}

func machine() string {
	model := "unknown CPU"
	if b, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.SplitSeq(string(b), "\n") {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	kernel, _ := os.ReadFile("/proc/sys/kernel/osrelease") // unreadable: left out
	return fmt.Sprintf("%d x %s, Linux %s, %s", runtime.NumCPU(), model, strings.TrimSpace(string(kernel)), runtime.Version())
}

func average() string {
	b, err := os.ReadFile("/proc/loadavg")
	if err != nil {
		return "unknown"
	}
	f := strings.Fields(string(b))
	return strings.Join(f[:min(3, len(f))], " ")
}

// Quantiles are the p50, p99, p99.9 and maximum of a sample.
type Quantiles struct{ P50, P99, P999, Max time.Duration }

// QuantilesOf sorts the sample. An empty one has zeros.
func QuantilesOf(sample []time.Duration) Quantiles {
	if len(sample) == 0 {
		return Quantiles{}
	}
	slices.Sort(sample)
	at := func(q float64) time.Duration { return sample[min(len(sample)-1, int(q*float64(len(sample))))] }
	return Quantiles{at(0.5), at(0.99), at(0.999), sample[len(sample)-1]}
}

// String writes the quantiles in milliseconds, separated by slashes.
func (q Quantiles) String() string {
	ms := func(d time.Duration) string { return fmt.Sprintf("%.2f", float64(d)/float64(time.Millisecond)) }
	return ms(q.P50) + " / " + ms(q.P99) + " / " + ms(q.P999) + " / " + ms(q.Max)
}

// MarshalJSON writes the string's form.
func (q Quantiles) MarshalJSON() ([]byte, error) { return json.Marshal(q.String()) }

// Median is the middle of a sample, which it sorts; 0 of an empty one.
func Median(sample []float64) float64 {
	if len(sample) == 0 {
		return 0
	}
	slices.Sort(sample)
	return sample[len(sample)/2]
}
