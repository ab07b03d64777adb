package main

import (
	"context"
	"errors"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"frontdesk/call"
	"frontdesk/calllog"
	"frontdesk/cmd/frontdesk/config"
	"frontdesk/crm"
	"frontdesk/store"
	"frontdesk/web"
)

// callLog keeps the records of calls and has them in the CRM, by what the
// configuration says now.
type callLog struct {
	*calllog.Log
	client  *crm.Client // nil without a portal
	numbers func() call.Numbers
	cfg     atomic.Pointer[config.Config]
	simple  atomic.Bool // the portal works without leads
}

// newCallLog makes the log of its parts, to which it adds the policy.
func newCallLog(cfg *config.Config, numbers func() call.Numbers, parts calllog.Config) *callLog {
	l := &callLog{client: parts.CRM, numbers: numbers}
	l.cfg.Store(cfg)
	parts.Policy = l.policy
	l.Log = calllog.New(parts)
	return l
}

// run keeps the log going until ctx ends.
func (l *callLog) run(ctx context.Context, g *errgroup.Group) {
	g.Go(func() error { return l.Run(ctx) })
	if l.client != nil {
		g.Go(func() error { return l.watchMode(ctx) })
	}
}

// Ringing has the call in the CRM while it rings, if that is wanted now.
func (l *callLog) Ringing(r call.Record) {
	if cfg := l.cfg.Load(); cfg.CallLog.Enabled || cfg.CRM.Leads.Create {
		l.Log.Ringing(r)
	}
}

// policy is what holds now.
func (l *callLog) policy() calllog.Policy {
	cfg := l.cfg.Load()
	p := calllog.Policy{
		Log: cfg.CallLog.Enabled, Leads: cfg.CRM.Leads.Create, Simple: l.simple.Load(), Tasks: cfg.CallLog.Tasks,
		Missed: calllog.MissedOwner(cfg.CallLog.MissedOwner), Placeholder: cfg.CRM.Placeholder,
		Fallback: webhookOwner(cfg.CRM.Bitrix24.Webhook.Reveal()), Numbers: l.numbers(),
	}
	if l.client != nil {
		p.Employees = l.client.Employees()
	}
	p.Never = cfg.Plan.NeverLead
	return p
}

// webhookOwner is the user whose webhook it is, 0 where there is none.
func webhookOwner(webhook string) int {
	u, err := url.Parse(webhook)
	if err != nil {
		return 0
	}
	parts := strings.Split(strings.Trim(u.Path, "/"), "/") // rest, USER, SECRET
	if len(parts) < 2 {
		return 0
	}
	id, err := strconv.Atoi(parts[1])
	if err != nil {
		return 0
	}
	return id
}

const (
	modeEvery = 15 * time.Minute
	modeRetry = time.Minute
)

// watchMode asks the portal now and then whether it works with leads.
func (l *callLog) watchMode(ctx context.Context) error {
	for {
		wait := modeEvery
		mode, err := l.client.Mode(ctx)
		if err == nil {
			l.simple.Store(mode == crm.ModeSimple)
		} else {
			wait = modeRetry
		}
		select {
		case <-ctx.Done():
			return nil
		case <-time.After(wait):
		}
	}
}

// Retry has the steps of a call tried again, as the API asks.
func (l *callLog) Retry(ctx context.Context, id, step string) (int, error) {
	n, err := l.Log.Retry(ctx, id, step)
	if errors.Is(err, store.ErrNotFound) {
		return 0, web.ErrNotFound
	}
	return n, err
}

// archive is the store as the API reads it.
type archive struct{ *store.Store }

// Record is one record with its ledger.
func (a archive) Record(ctx context.Context, id string) (call.Record, error) {
	r, _, err := a.Store.Record(ctx, id)
	return r, err
}
