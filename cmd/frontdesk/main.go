// Command frontdesk is the receptionist in front of a 3CX telephone system:
// it takes a trunk's calls, asks Bitrix24 who is calling, and hands each call
// to the right person. This package wires the parts together and is the
// command line; what a call goes through is in package b2bua.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"runtime/debug"
	"syscall"

	"github.com/spf13/cobra"
)

// exitError ends the program with a status; its text, if any, has been said.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit status %d", e.code)
	}
	return e.err.Error()
}

func (e *exitError) Unwrap() error { return e.err }

// Exit statuses of interfaces.md.
const (
	exitFindings = 1 // no rule, findings, a call gone wrong
	exitConfig   = 2 // bad configuration or bad usage
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// run is the program without the process around it.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	root := newRoot()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	err := root.ExecuteContext(ctx)
	var exit *exitError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &exit):
		if exit.err != nil {
			fmt.Fprintln(stderr, "frontdesk:", said(exit.err))
		}
		return exit.code
	default:
		fmt.Fprintln(stderr, "frontdesk:", said(err))
		return exitConfig
	}
}

// options are the flags of every command.
type options struct {
	config string
	json   bool
}

func newRoot() *cobra.Command {
	o := &options{}
	root := &cobra.Command{
		Use:           "frontdesk",
		Short:         "The receptionist in front of a 3CX telephone system",
		Version:       version(),
		SilenceUsage:  true,
		SilenceErrors: true,
	}
	root.PersistentFlags().StringVar(&o.config, "config", "frontdesk.yaml", "configuration file")
	root.PersistentFlags().BoolVar(&o.json, "json", false, "print the result as JSON")
	root.AddCommand(
		newServe(o), newCheck(o), newExplain(o), newBitrix24(o), newMirrorCommand(o), newCalls(o), newThreeCX(o), newRecordings(o), newSchema(), newTTS(o), newBackup(o), newSandboxCommand(), newDemo(),
	)
	return root
}

// version is what the build was stamped with.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "devel"
	}
	return info.Main.Version
}
