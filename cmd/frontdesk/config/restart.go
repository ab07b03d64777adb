package config

import "reflect"

// Restart names the keys in which other differs and which a reload cannot
// change: what is bound, opened or built once. Empty means that a reload is
// enough.
func (c *Config) Restart(other *Config) []string {
	var out []string
	for _, k := range []struct {
		key  string
		a, b any
	}{
		{"sip.listen", c.SIP.Listen, other.SIP.Listen},
		{"sip.tls", c.SIP.TLS, other.SIP.TLS},
		{"sip.advertise", c.SIP.Advertise, other.SIP.Advertise},
		{"sip.max_calls", c.SIP.MaxCalls, other.SIP.MaxCalls},
		{"sip.unknown_source", c.SIP.UnknownSource, other.SIP.UnknownSource},
		{"media.ports", c.Media.Ports, other.Media.Ports},
		{"media.silence", c.Media.Silence, other.Media.Silence},
		{"media.hold_silence", c.Media.HoldSilence, other.Media.HoldSilence},
		{"greeting", c.Greeting.voice(), other.Greeting.voice()},
		{"trunks.register", c.registers(), other.registers()},
		{"http.listen", c.HTTP.Listen, other.HTTP.Listen},
		{"crm.bitrix24.webhook", c.CRM.Bitrix24.Webhook.Reveal(), other.CRM.Bitrix24.Webhook.Reveal()},
		{"crm.bitrix24.app", c.CRM.Bitrix24.App, other.CRM.Bitrix24.App},
		{"crm.bitrix24.employees", c.CRM.Bitrix24.Employees, other.CRM.Bitrix24.Employees},
		{"crm.bitrix24.event_token", c.CRM.Bitrix24.EventToken.Reveal(), other.CRM.Bitrix24.EventToken.Reveal()},
		{"crm.mirror", c.CRM.Mirror, other.CRM.Mirror},
		{"crm.prefer", c.CRM.Prefer, other.CRM.Prefer},
		{"crm.bitrix24.fields", c.CRM.Bitrix24.Fields, other.CRM.Bitrix24.Fields},
		{"rules[].when", c.Plan.Fields(), other.Plan.Fields()}, // what the portal is asked for and the mirror keeps
		{"crm.bitrix24.rate", c.CRM.Bitrix24.Rate, other.CRM.Bitrix24.Rate},
		{"pbx.xapi", c.PBX.XAPI, other.PBX.XAPI},
		{"pbx.cdr", c.PBX.CDR, other.PBX.CDR},
		{"phonebook", c.Phonebook, other.Phonebook},
		{"staff", c.Staff, other.Staff},
		{"recordings.mode", c.Recordings.Mode, other.Recordings.Mode},
		{"recordings.dir", c.Recordings.Dir, other.Recordings.Dir},
		{"recordings.stereo", c.Recordings.Stereo, other.Recordings.Stereo},
		{"mail.smtp", c.Mail.SMTP.Reveal(), other.Mail.SMTP.Reveal()},
		{"webhooks", c.hooks(), other.hooks()},
		{"mail.from", c.Mail.From, other.Mail.From},
		{"calllog.history", c.CallLog.History, other.CallLog.History},
		{"store", c.Store.Reveal(), other.Store.Reveal()},
		{"log.format", c.Log.Format, other.Log.Format},
	} {
		if !reflect.DeepEqual(k.a, k.b) {
			out = append(out, k.key)
		}
	}
	return out
}

// voice is what the store of prompts is made of; the text is not part of it.
func (g Greeting) voice() Greeting {
	g.Text, g.Via, g.template = "", "", nil
	return g
}

// registers are the registrations by trunk.
func (c *Config) registers() map[string]Register {
	out := map[string]Register{}
	for _, t := range c.Trunks {
		if t.Register != nil {
			out[t.Name] = *t.Register
		}
	}
	return out
}

// hooks are the webhooks with their secrets.
func (c *Config) hooks() [][]string {
	var out [][]string
	for _, w := range c.Webhooks {
		out = append(out, append([]string{w.URL.Reveal(), w.Secret.Reveal()}, w.Events...))
	}
	return out
}
