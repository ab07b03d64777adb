package main

import (
	"log/slog"

	"frontdesk/b2bua"
	"frontdesk/call"
	"frontdesk/cmd/frontdesk/config"
	"frontdesk/notify"
	"frontdesk/store"
)

// hookWorkers is how many webhooks are called at a time: a receiver that does
// not answer keeps one of them for ten seconds.
const hookWorkers = 4

// newNotifier makes what tells other systems of calls.
func newNotifier(cfg *config.Config, st *store.Store, log *slog.Logger) (*notify.Notifier, error) {
	c := notify.Config{Store: st, Logger: log}
	for _, w := range cfg.Webhooks {
		c.Hooks = append(c.Hooks, notify.Hook{URL: w.URL.Reveal(), Secret: w.Secret.Reveal(), Events: w.Events})
	}
	return notify.New(c)
}

// observer is who is told of calls while they last: nobody where there is
// neither a portal nor a webhook.
func (s *state) observer(cfg *config.Config) b2bua.Observer {
	var out observers
	if s.calls.client != nil {
		out = append(out, s.calls)
	}
	if len(cfg.Webhooks) > 0 {
		out = append(out, s.notifier)
	}
	if len(out) == 0 {
		return nil
	}
	return out
}

// observers are told one after the other.
type observers []b2bua.Observer

// Ringing tells them that a call goes to the record's target.
func (o observers) Ringing(r call.Record) {
	for _, one := range o {
		one.Ringing(r)
	}
}

// Answered tells them who talks with the caller.
func (o observers) Answered(id string, ext call.Extension) {
	for _, one := range o {
		one.Answered(id, ext)
	}
}
