package main

import "github.com/spf13/cobra"

func newThreeCX(o *options) *cobra.Command {
	cmd := &cobra.Command{Use: "3cx", Short: "Examine 3CX and keep its address book"}
	cmd.AddCommand(newThreeCXCheck(o), newThreeCXSync(o))
	return cmd
}
