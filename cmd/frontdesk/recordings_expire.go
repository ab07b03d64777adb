package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"frontdesk/call"
	"frontdesk/calllog"
	"frontdesk/cmd/frontdesk/config"
	"frontdesk/web"
)

func newRecordings(o *options) *cobra.Command {
	cmd := &cobra.Command{Use: "recordings", Short: "Look after the recordings of calls"}
	cmd.AddCommand(&cobra.Command{
		Use:   "expire",
		Short: "Delete the recordings older than recordings.keep now, as the server does every night",
		Long: "Delete the recordings older than recordings.keep: from the drive of Bitrix24 those that frontdesk put there, never\n" +
			"others', and from recordings.dir what is left in it. It prints what it deleted; exit 1 where something is still there.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return expireNow(cmd, o) },
	})
	return cmd
}

// expireNow has the server delete what is due; without one it is done here.
func expireNow(cmd *cobra.Command, o *options) error {
	cfg, err := load(o, cmd.ErrOrStderr())
	if err != nil {
		return err
	}
	done, err := byHolder(cmd, o, cfg, (*server).Expire, expireAlone)
	if err := errors.Join(writeExpiry(cmd.OutOrStdout(), done, o.json), err); err != nil {
		return finding(err)
	}
	if n := len(done.Failed); n > 0 {
		return &exitError{exitFindings, fmt.Errorf("%d recordings are still there", n)}
	}
	return nil
}

// Expire has the server delete what is due.
func (s *server) Expire(ctx context.Context, progress func(web.Progress)) (web.Expiry, error) {
	var out web.Expiry
	err := s.ask(ctx, http.MethodPost, "/api/v1/recordings/expire", nil, progress, &out)
	return out, err
}

// expireAlone deletes where no server runs.
func expireAlone(ctx context.Context, w own) (web.Expiry, error) {
	tapes := newTapes(w.cfg, w.store, nil, w.log)
	calls := newCallLog(w.cfg, func() call.Numbers { return call.Numbers{} }, calllog.Config{Store: w.store, CRM: w.portal, Logger: w.log})
	return expiry{calls: calls, tapes: tapes, cfg: func() *config.Config { return w.cfg }, log: w.log}.Expire(ctx, w.progress)
}

func writeExpiry(w io.Writer, e web.Expiry, asJSON bool) error {
	if asJSON {
		return printJSON(w, e)
	}
	t := newTable(w)
	for _, f := range e.Deleted {
		t.row("deleted", strconv.Itoa(f.File), f.Call, f.At.Format(time.RFC3339))
	}
	for _, f := range e.Failed {
		t.row("STILL THERE", strconv.Itoa(f.File), f.Call, f.At.Format(time.RFC3339), f.Error)
	}
	for _, name := range e.Files {
		t.row("deleted", name)
	}
	if err := t.end(); err != nil {
		return err
	}
	_, err := fmt.Fprintf(w, "%d deleted from the portal, %d still there, %d files deleted here\n", len(e.Deleted), len(e.Failed), len(e.Files))
	return err
}
