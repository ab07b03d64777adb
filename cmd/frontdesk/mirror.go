package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"time"

	"github.com/spf13/cobra"

	"frontdesk/cmd/frontdesk/config"
	"frontdesk/crm"
	"frontdesk/store"
	"frontdesk/web"
)

// Polling for offline events: the portal keeps them, so that it may be slow.
const offlineEvery = 30 * time.Second

// newPortal is the portal's client with all credentials; nil where none is
// configured. The tokens of an OAuth application are kept in st.
func newPortal(cfg *config.Config, st crm.StateStore, log *slog.Logger) (*crm.Client, error) {
	app, err := newApp(cfg, st, log)
	if err != nil {
		return nil, fmt.Errorf("crm.bitrix24.app: %w", err)
	}
	c := portalConfig(cfg, log)
	if c.Webhook == "" && app == nil {
		return nil, nil
	}
	c.Voices.App = app
	portal, err := crm.New(c)
	if err != nil {
		return nil, fmt.Errorf("crm.bitrix24: %w", err)
	}
	return portal, nil
}

// newApp is the OAuth application; nil where none is configured.
func newApp(cfg *config.Config, st crm.StateStore, log *slog.Logger) (*crm.App, error) {
	a := cfg.CRM.Bitrix24.App
	if a == nil {
		return nil, nil
	}
	portal := a.Portal
	if u, err := url.Parse(cfg.CRM.Bitrix24.Webhook.Reveal()); portal == "" && err == nil && u.Host != "" {
		portal = u.Scheme + "://" + u.Host
	}
	return crm.NewApp(crm.AppConfig{
		ClientID: a.ClientID, ClientSecret: a.ClientSecret.Reveal(), Portal: portal, RefreshToken: a.RefreshToken.Reveal(),
		Store: crm.NewTokenStore(st, "crm/tokens"), Server: a.Server, Logger: log,
	})
}

// newMirror is the local copy of the portal, kept in st.
func newMirror(cfg *config.Config, portal *crm.Client, st *store.Store, log *slog.Logger, progress func(crm.Progress)) (*crm.Mirror, error) {
	c := crm.MirrorConfig{
		Cards: st, State: st, MaxAge: cfg.CRM.Mirror.MaxAge, Every: cfg.CRM.Mirror.Every, Night: 3,
		Shared: manyNodes(cfg), Progress: progress, Logger: log,
	}
	if cfg.CRM.Bitrix24.App != nil {
		c.Offline = offlineEvery
	}
	return crm.NewMirror(portal, c)
}

func newMirrorCommand(o *options) *cobra.Command {
	var full bool
	cmd := &cobra.Command{Use: "mirror", Short: "Manage the local copy of the portal"}
	read := &cobra.Command{
		Use:   "export",
		Short: "Read all contacts, companies, leads and employees into the store",
		Long: "Read all contacts, companies, leads and employees into the store, before serve takes calls. Interrupted, it\n" +
			"goes on where it stopped; --full begins anew, and believes the portal also where it shows no contacts, companies\n" +
			"or leads any more, which serve takes for a fault. It takes half of the requests that crm.bitrix24.rate allows.\n" +
			"Where serve runs it is asked to read everything anew, and goes on when the command is interrupted; only --full is\n" +
			"not for it: end a serve on SQLite before. Nodes on PostgreSQL leave the reading to the command until it ends.",
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := load(o, cmd.ErrOrStderr())
			if err != nil {
				return err
			}
			size, err := export(cmd, o, cfg, full)
			if err != nil {
				return err
			}
			if o.json {
				return printJSON(cmd.OutOrStdout(), size)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "contacts %d, companies %d, leads %d, numbers %d\n",
				size.Contacts, size.Companies, size.Leads, size.Numbers)
			return err
		},
	}
	read.Flags().BoolVar(&full, "full", false, "read all anew, and believe that what is not shown is gone")
	cmd.AddCommand(read)
	return cmd
}

// export has the portal read into the store. Only the process that holds it
// reads in full.
func export(cmd *cobra.Command, o *options, cfg *config.Config, full bool) (web.MirrorSize, error) {
	var asked func(*server, context.Context, func(web.Progress)) (web.MirrorSize, error)
	if !full {
		asked = func(s *server, ctx context.Context, progress func(web.Progress)) (web.MirrorSize, error) {
			status, err := s.Export(ctx, progress)
			return status.MirrorSize, finding(err)
		}
	}
	return byHolder(cmd, o, cfg, asked, func(ctx context.Context, w own) (web.MirrorSize, error) { return exportAlone(ctx, w, full) })
}

// exportAlone reads the portal into the store.
func exportAlone(ctx context.Context, w own, full bool) (web.MirrorSize, error) {
	if w.portal == nil {
		return web.MirrorSize{}, errors.New(noPortal)
	}
	m, err := newMirror(w.cfg, w.portal, w.store, w.log, func(p crm.Progress) { w.progress(exportProgress(p)) })
	if err != nil {
		return web.MirrorSize{}, err
	}
	read := m.Export
	if full {
		read = m.Replace
	}
	if err := m.Alone(ctx, read); err != nil {
		return web.MirrorSize{}, &exitError{exitFindings, fmt.Errorf("%w; what was read is kept: run it again to go on", err)}
	}
	return web.MirrorSize(m.Size()), nil
}
