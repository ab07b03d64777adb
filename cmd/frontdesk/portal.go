package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"frontdesk/call"
	"frontdesk/cmd/frontdesk/config"
	"frontdesk/crm"
	"frontdesk/routing"
	"frontdesk/web"
)

const noPortal = "no portal is configured: set crm.bitrix24.webhook or crm.bitrix24.app"

// tools are what commands ask of a server.
func (s *system) tools() web.Tools {
	return web.Tools{
		Identifier: s,
		Portal:     portalTools{config: func() *config.Config { return s.live.Load().cfg }, client: s.crm, numbers: s.pbx.known},
		Mirror:     mirrorTools{s.mirror},
		Phonebook:  s.contacts,
		Recordings: s.expiry,
		Exchange:   exchangeTools{s.contacts.xapi},
	}
}

// Identity tells which configuration is in force.
func (s *system) Identity() web.Identity { return identity(s.live.Load().cfg, s.path) }

// portalTools takes care of the portal: within serve for whoever asks its API,
// else for one command.
type portalTools struct {
	config  func() *config.Config
	client  *crm.Client         // nil: none
	numbers func() call.Numbers // of the PBX; none where they are not certain
}

// Check tries every credential. Where the client does without the application
// that is configured, its tokens are with a server that does not run.
func (p portalTools) Check(ctx context.Context) ([]web.Check, error) {
	cfg := p.config()
	if p.client == nil && cfg.CRM.Bitrix24.App == nil {
		return nil, fmt.Errorf("%w: %s", web.ErrNotHere, noPortal)
	}
	var out []web.Check
	withApp := false
	if p.client != nil {
		for _, c := range p.client.Check(ctx, needs(cfg)) {
			out = append(out, web.Check(c))
		}
		_, withApp = p.client.App()
	}
	if cfg.CRM.Bitrix24.App != nil && !withApp {
		out = append(out, web.Check{
			Credential: "app", Method: "profile", For: "being let in",
			Problem: "the tokens of the application are with frontdesk serve, which does not run by this configuration",
			Advice:  "start frontdesk serve, or have it read the configuration again, and check again",
		})
	}
	return out, nil
}

// needs are what the configuration wants of the portal.
func needs(cfg *config.Config) crm.Needs {
	log := cfg.CallLog.Enabled
	return crm.Needs{
		CallLog: log, Recordings: cfg.Recordings.Mode == "upload", Tasks: log && cfg.CallLog.Tasks,
		Heads:  log && cfg.CallLog.MissedOwner == "head",
		Leads:  cfg.CRM.Leads.Create,
		Events: cfg.CRM.Mirror.Enabled,
	}
}

// Setup makes the user fields.
func (p portalTools) Setup(ctx context.Context, o web.SetupOptions) ([]web.SetupStep, error) {
	if p.client == nil {
		return nil, fmt.Errorf("%w: %s", web.ErrNotHere, noPortal)
	}
	steps, err := p.client.Setup(ctx, crm.SetupOptions{
		Section: o.Section, DryRun: o.DryRun, Russian: strings.HasPrefix(p.config().Greeting.Language, "ru"),
	})
	if err != nil {
		return nil, portalError(err)
	}
	var out []web.SetupStep
	for _, s := range steps {
		out = append(out, web.SetupStep{Object: s.Object, Field: s.Field, Type: s.Type, State: string(s.State), Text: s.Text, Advice: s.Advice})
	}
	return out, nil
}

// portalError is an error of the portal with what to do about it.
func portalError(err error) error {
	return fmt.Errorf("%w: %w; %s", web.ErrPortal, err, crm.Advice(err, ""))
}

// Lint reads the whole portal and tells what will misroute.
func (p portalTools) Lint(ctx context.Context, progress func(web.Progress)) ([]routing.Finding, error) {
	if p.client == nil {
		return nil, fmt.Errorf("%w: %s", web.ErrNotHere, noPortal)
	}
	cfg := p.config()
	s := routing.Snapshot{At: time.Now(), Numbers: p.numbers()}
	if err := p.client.LoadEmployees(ctx); err != nil {
		return nil, portalError(err)
	}
	s.Employees = p.client.Employees()
	tell := func(done, total int) { progress(web.Progress{What: "cards", Done: done, Total: total}) }
	err := p.client.ReadCards(ctx, tell, func(cards []call.Card) error {
		for _, c := range cards {
			s.Cards = append(s.Cards, auditCard(c, cfg.Country))
		}
		return nil
	})
	if err != nil {
		return nil, portalError(err)
	}
	return cfg.Plan.Audit(s), nil
}

func auditCard(c call.Card, country string) routing.AuditCard {
	out := routing.AuditCard{Entity: c.Entity}
	for _, stored := range c.Phones {
		n, why := crm.ReadStored(stored, country)
		out.Phones = append(out.Phones, routing.AuditPhone{Stored: stored, Number: n, Lost: lost(why)})
	}
	return out
}

// lost words why a number is not found by who calls from it.
func lost(why crm.Unsearchable) string {
	switch why {
	case "":
		return ""
	case crm.UnsearchableText:
		return "it holds letters, or no digits"
	case crm.UnsearchableShort:
		return "it is no full number"
	}
	return "the portal's search takes it for another number"
}

// mirrorTools shows a mirror that is being run, and has it export.
type mirrorTools struct{ mirror *crm.Mirror } // nil: none

func (t mirrorTools) Status(context.Context) (web.MirrorStatus, error) {
	if t.mirror == nil {
		return web.MirrorStatus{}, fmt.Errorf("%w: there is no mirror: crm.mirror.enabled is off, or no portal is configured", web.ErrNotHere)
	}
	now := time.Now()
	s := t.mirror.Status()
	out := web.MirrorStatus{MirrorSize: web.MirrorSize(s.MirrorSize), Heard: s.Heard}
	if !s.Heard.IsZero() {
		out.Age = call.Seconds(max(now.Sub(s.Heard), 0))
	}
	out.Ready, out.Why = t.mirror.Ready(now)
	if s.Export != nil {
		p := exportProgress(*s.Export)
		p.Note = s.Hinder
		out.Export = &p
	}
	return out, nil
}

// exportProgress tells how far an export is, in ids of the kind being read.
func exportProgress(p crm.Progress) web.Progress {
	return web.Progress{What: string(p.Kind), Done: min(p.At, max(p.Last, 1)), Total: p.Last}
}

// Export asks the mirror for an export, and follows it.
func (t mirrorTools) Export(ctx context.Context, progress func(web.Progress)) (web.MirrorStatus, error) {
	if t.mirror != nil {
		t.mirror.Again()
	}
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		s, err := t.Status(ctx)
		if err != nil || s.Export == nil {
			return s, err
		}
		progress(*s.Export)
		select {
		case <-tick.C:
		case <-ctx.Done():
			return s, ctx.Err()
		}
	}
}
