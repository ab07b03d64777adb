package rig

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
)

// Load is what a program that holds many calls at once is told.
type Load struct {
	Binary  string // the built frontdesk
	Dir     string // a folder for its files, removed at the end
	Seconds int    // length of the measurement
	CPU     int    // of the server; -1 for all

	calls string
}

// Main reads the flags, measures once for each number of calls, and prints the
// report. calls are the numbers where the command names none.
func Main(program, calls string, r *Report, measure func(ctx context.Context, o Load, n int) error) {
	var o Load
	flag.StringVar(&o.Binary, "frontdesk", "", "the program; built where none is given")
	flag.StringVar(&o.calls, "n", calls, "calls at once")
	flag.IntVar(&o.Seconds, "seconds", 10, "length of the measurement")
	flag.IntVar(&o.CPU, "cpu", 0, "the CPU of the server; -1 for all")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := o.run(ctx, r, measure)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, program+":", err)
		os.Exit(1)
	}
}

func (o Load) run(ctx context.Context, r *Report, measure func(context.Context, Load, int) error) (err error) {
	if o.Dir, err = os.MkdirTemp("", "frontdesk-bench-"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(o.Dir)) }()
	if o.Binary, err = Build(ctx, o.Binary, o.Dir); err != nil {
		return err
	}
	for s := range strings.SplitSeq(o.calls, ",") {
		n, err := strconv.Atoi(s)
		if err != nil || n <= 0 {
			return fmt.Errorf("-n: %q is no number of calls", s)
		}
		if err := measure(ctx, o, n); err != nil {
			return fmt.Errorf("%d calls: %w", n, err)
		}
	}
	return r.Write(os.Stdout)
}
