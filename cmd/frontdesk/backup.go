package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"frontdesk/store"
)

func newBackup(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "backup FILE",
		Short: "Copy the SQLite store to FILE, also while serve runs",
		Long: "Copy the SQLite store to FILE, which must not exist. The copy is whole and consistent, also where serve\n" +
			"is writing meanwhile, and holds tokens: only its owner may read it. PostgreSQL is backed up by pg_dump.",
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, err := load(o, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			if err := store.Backup(cmd.Context(), cfg.Store.Reveal(), args[0]); err != nil {
				return &exitError{exitFindings, err}
			}
			if o.json {
				return printJSON(cmd.OutOrStdout(), map[string]string{"file": args[0]})
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s: written\n", args[0])
			return err
		},
	}
}
