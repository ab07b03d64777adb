package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"frontdesk/cmd/frontdesk/config"
)

func newCheck(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "check",
		Short: "Validate the configuration: file:line:column, the line, a suggestion",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, problems := config.Load(o.config, os.LookupEnv)
			if err := report(cmd.OutOrStdout(), problems, o.json); err != nil {
				return err
			}
			if problems.HasErrors() {
				return &exitError{code: exitConfig}
			}
			if !o.json {
				fmt.Fprintf(cmd.OutOrStdout(), "%s: good: %d rules, %d trunks\n", o.config, len(cfg.Rules), len(cfg.Trunks))
			}
			return nil
		},
	}
}

// report prints problems; as JSON always one object.
func report(w io.Writer, problems config.Problems, asJSON bool) error {
	if !asJSON {
		return problems.WriteText(w)
	}
	return printJSON(w, struct {
		Problems config.Problems `json:"problems"`
	}{problems})
}

func printJSON(w io.Writer, v any) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	enc.SetEscapeHTML(false)
	return enc.Encode(v)
}

// load reads the configuration for a command that needs a good one. Its
// problems go to w.
func load(o *options, w io.Writer) (*config.Config, error) {
	cfg, problems := config.Load(o.config, os.LookupEnv)
	if len(problems) > 0 {
		if err := problems.WriteText(w); err != nil {
			return nil, err
		}
	}
	if problems.HasErrors() {
		return nil, &exitError{code: exitConfig}
	}
	return cfg, nil
}

func newSchema() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of the configuration, for editors",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			b, err := config.Schema()
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(append(b, '\n'))
			return err
		},
	}
}
