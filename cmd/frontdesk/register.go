package main

import (
	"github.com/prometheus/client_golang/prometheus"

	"frontdesk/cmd/frontdesk/config"
	"frontdesk/sip"
)

// registrations are the accounts that trunks want registered.
func (s *system) registrations(cfg *config.Config) map[string]*sip.Registration {
	out := map[string]*sip.Registration{}
	for _, t := range cfg.Trunks {
		if t.Register == nil {
			continue
		}
		out[t.Name] = &sip.Registration{
			Stack: s.stack, Registrar: t.Register.Registrar,
			Account:     sip.Address{User: t.Register.User, Host: uriHost(t.Register.Registrar)},
			Credentials: *credentials(t), Logger: s.log.With("trunk", t.Name),
		}
	}
	return out
}

// registered tells by trunk whether its account is registered.
func registered(all map[string]*sip.Registration) []prometheus.Collector {
	var out []prometheus.Collector
	for name, r := range all {
		out = append(out, prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "frontdesk_trunk_registered", Help: "1 while the trunk's account is registered at its carrier.",
			ConstLabels: prometheus.Labels{"trunk": name},
		}, func() float64 {
			if r.Registered() {
				return 1
			}
			return 0
		}))
	}
	return out
}
