package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"

	"github.com/spf13/cobra"

	"frontdesk/cmd/frontdesk/config"
	"frontdesk/phonebook"
	"frontdesk/web"
)

func newThreeCXSync(o *options) *cobra.Command {
	var options web.PhonebookOptions
	var file string
	cmd := &cobra.Command{
		Use:   "sync",
		Short: "Bring the address book of 3CX in step with Bitrix24",
		Long: "Bring the address book of 3CX in step with Bitrix24: contacts, companies and leads that have a number. Contacts that\n" +
			"people made in 3CX are not touched. Interrupted, it goes on where it stopped when it is called again. Where serve runs\n" +
			"it is asked to sync, and goes on when the command is interrupted. --csv writes a file for 3CX's own import instead,\n" +
			"for a PBX without the configuration API.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := load(o, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			if file != "" {
				return exportCSV(cmd, o, cfg, file)
			}
			return syncBook(cmd, o, cfg, options)
		},
	}
	cmd.Flags().BoolVar(&options.DryRun, "dry-run", false, "compare, tell what would be written, and write nothing")
	cmd.Flags().BoolVar(&options.Force, "force", false, "delete also where Bitrix24 shows far less than before")
	cmd.Flags().StringVar(&file, "csv", "", "write `FILE` for the import in 3CX's console, - for standard output")
	cmd.MarkFlagsMutuallyExclusive("csv", "dry-run")
	cmd.MarkFlagsMutuallyExclusive("csv", "force")
	return cmd
}

// syncBook has the book synced.
func syncBook(cmd *cobra.Command, o *options, cfg *config.Config, how web.PhonebookOptions) error {
	asked := func(s *server, ctx context.Context, progress func(web.Progress)) (web.PhonebookSync, error) {
		return s.Sync(ctx, how, progress)
	}
	done, err := byHolder(cmd, o, cfg, asked, func(ctx context.Context, w own) (web.PhonebookSync, error) { return syncAlone(ctx, w, how) })
	if err != nil {
		return finding(err)
	}
	if err := writeSync(cmd.OutOrStdout(), done, o.json); err != nil {
		return err
	}
	if done.Problem != "" {
		return &exitError{exitFindings, errors.New(printable(done.Problem))}
	}
	return nil
}

// Sync has the server sync its address book.
func (s *server) Sync(ctx context.Context, o web.PhonebookOptions, progress func(web.Progress)) (web.PhonebookSync, error) {
	q := url.Values{"dry_run": {strconv.FormatBool(o.DryRun)}, "force": {strconv.FormatBool(o.Force)}}
	var out web.PhonebookSync
	err := s.ask(ctx, http.MethodPost, "/api/v1/phonebook/sync?"+q.Encode(), nil, progress, &out)
	return out, err
}

// syncAlone syncs where no server runs.
func syncAlone(ctx context.Context, w own, o web.PhonebookOptions) (done web.PhonebookSync, err error) {
	if w.portal == nil {
		return done, errors.New(noPortal)
	}
	xapi, err := newXAPI(w.cfg, w.log)
	if err != nil {
		return done, err
	}
	if xapi == nil {
		return done, errors.New("3CX's configuration API is not configured: set pbx.xapi, or write a file for its import with --csv")
	}
	defer xapi.Close()
	book, err := newPhonebook(w.cfg, w.portal, xapi, w.store, w.log)
	if err != nil {
		return done, err
	}
	sum, err := book.Full(ctx, phonebook.Options(o), func(p phonebook.Progress) { w.progress(bookProgress(p)) })
	return synced(sum, err), nil
}

func writeSync(w io.Writer, s web.PhonebookSync, asJSON bool) error {
	if asJSON {
		return printJSON(w, s)
	}
	for _, line := range s.Examples {
		if _, err := fmt.Fprintln(w, printable(line)); err != nil {
			return err
		}
	}
	would := ""
	if s.DryRun {
		would = "to be "
	}
	t := newTable(w)
	for _, row := range []struct {
		name string
		n    int
	}{
		{"wanted by the CRM", s.Contacts.Wanted}, {"unchanged", s.Contacts.Unchanged}, {would + "created", s.Written.Created},
		{would + "updated", s.Written.Updated}, {would + "deleted", s.Written.Deleted}, {"refused by the PBX", s.Written.Refused},
		{"deletions withheld", s.Withheld}, {"taken over by people", s.Contacts.Theirs}, {"people's own", s.Contacts.Foreign},
	} {
		t.row(row.name, strconv.Itoa(row.n))
	}
	return t.end()
}

// exportCSV writes the file for 3CX's import.
func exportCSV(cmd *cobra.Command, o *options, cfg *config.Config, file string) (err error) {
	if _, err := seek(cmd, o, cfg); err != nil {
		return err
	}
	portal, end, err := openPortal(cmd.Context(), cfg, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	if portal == nil {
		return errors.New(noPortal)
	}
	defer end()
	bars := &bars{w: cmd.ErrOrStderr()}
	n := 0
	err = writeFile(cmd.OutOrStdout(), file, func(w io.Writer) error {
		n, err = phonebook.WriteCSV(cmd.Context(), w, portal, func(p phonebook.Progress) { bars.show(bookProgress(p)) })
		return err
	})
	bars.end()
	if err != nil {
		return finding(err)
	}
	if file == "-" {
		return nil
	}
	if o.json {
		return printJSON(cmd.OutOrStdout(), map[string]any{"file": file, "contacts": n})
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "%d contacts in %s\n", n, file)
	return err
}

// writeFile writes a file that appears whole or not at all, for its owner
// alone; - is out.
func writeFile(out io.Writer, file string, write func(io.Writer) error) error {
	if file == "-" {
		return write(out)
	}
	f, err := os.CreateTemp(filepath.Dir(file), ".frontdesk-*")
	if err != nil {
		return err
	}
	if err := errors.Join(write(f), f.Sync(), f.Close()); err != nil {
		return errors.Join(err, os.Remove(f.Name()))
	}
	return os.Rename(f.Name(), file)
}
