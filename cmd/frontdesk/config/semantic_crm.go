package config

import (
	"fmt"
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"frontdesk/call"
)

// webhookPath is /rest/USER/SECRET/; the last slash may be left out.
var webhookPath = regexp.MustCompile(`^/rest/\d+/[A-Za-z0-9_-]+/?$`)

func (c *checker) crm() {
	const longest = 32 * time.Second // what a trunk waits for an answer, RFC 3261 17.1.1.2
	c.within("crm.deadline", c.CRM.Deadline, 10*time.Millisecond, longest)
	if c.CRM.Deadline > 10*time.Second && c.CRM.Deadline <= longest {
		c.warnAt("crm.deadline", fmt.Sprintf("callers may wait for %s in silence", short(c.CRM.Deadline)), "")
	}
	b := &c.CRM.Bitrix24
	if b.App != nil && b.App.Portal != "" && b.Webhook.Reveal() == Defaults().CRM.Bitrix24.Webhook.Reveal() {
		b.Webhook = Secret{} // the application does everything
	}
	if b.Webhook.Set() {
		b.Webhook = c.webhook("crm.bitrix24.webhook", b.Webhook, 0)
	}
	for _, id := range slices.Sorted(maps.Keys(b.Employees)) {
		path := fmt.Sprintf("crm.bitrix24.employees[%d]", id)
		b.Employees[id] = c.webhook(path, b.Employees[id], id)
	}
	if b.App != nil && b.App.Portal != "" {
		c.webAddress("crm.bitrix24.app.portal", b.App.Portal)
	}
	c.userFields(b.Fields)
	c.within("crm.mirror.max_age", c.CRM.Mirror.MaxAge, time.Minute, 365*day)
	c.within("crm.mirror.every", c.CRM.Mirror.Every, time.Second, day)
	if c.CRM.Leads.Create {
		c.portalFor("crm.leads.create", "leads are made")
		if c.CRM.Placeholder == 0 {
			c.warnAt("crm.leads.create", "no leads are made, since nobody owns them: crm.placeholder is none", "set crm.placeholder to a Bitrix24 user id")
		}
	}
}

// webhook checks the address of a webhook and gives it its last slash. Its text
// is a secret: no message may hold it.
func (c *checker) webhook(path string, s Secret, user int) Secret {
	const hint = "write https://PORTAL/rest/USER/SECRET/, as Bitrix24 shows it for an incoming webhook"
	u, err := url.Parse(s.Reveal())
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		c.failAt(path, path+" is no http:// or https:// address", hint)
		return s
	case u.RawQuery != "" || u.Fragment != "" || !webhookPath.MatchString(u.Path):
		c.failAt(path, path+" has not the form /rest/USER/SECRET/", hint)
		return s
	case u.Scheme == "http" && !loopback(u.Hostname()):
		c.warnAt(path, path+" is http://: its secret can be read on the way", "write https://")
	}
	if user != 0 && strings.Split(u.Path, "/")[2] != fmt.Sprint(user) {
		c.failAt(path, fmt.Sprintf("%s is the webhook of another user than %d", path, user), "each employee's webhook is made by that employee")
	}
	return NewSecret(strings.TrimSuffix(s.Reveal(), "/") + "/")
}

var fieldCode = regexp.MustCompile(`^[A-Z][A-Z0-9_]*$`)

func (c *checker) userFields(f Fields) {
	codes := []struct{ key, code, prefix string }{
		{"manager", f.Manager, "UF_CRM_"}, {"temporary_manager", f.TemporaryManager, "UF_CRM_"},
		{"temporary_until", f.TemporaryUntil, "UF_CRM_"}, {"direct", f.Direct, "UF_CRM_"},
		{"no_sticking", f.NoSticking, "UF_CRM_"}, {"sticky_minutes", f.StickyMinutes, "UF_"},
	}
	seen := map[string]string{}
	for _, x := range codes {
		path := "crm.bitrix24.fields." + x.key
		switch {
		case x.code == "":
		case !fieldCode.MatchString(x.code) || !strings.HasPrefix(x.code, x.prefix):
			c.failAt(path, fmt.Sprintf("%q is no code of a user field", shorten(x.code)), fmt.Sprintf("such codes begin with %s, in capitals", x.prefix))
		case seen[x.code] != "":
			c.failAt(path, fmt.Sprintf("%s is the field of %s already", x.code, seen[x.code]), "")
		}
		seen[x.code] = x.key
	}
}

// portalFor wants a portal for what is done in one.
func (c *checker) portalFor(path, what string) {
	if !c.CRM.Bitrix24.Webhook.Set() && c.CRM.Bitrix24.App == nil {
		c.failAt(path, what+" in Bitrix24, and there is no crm.bitrix24.webhook and no crm.bitrix24.app", "name the portal, or leave it false")
	}
}

func (c *checker) callLog() {
	const shortest = 15 * day // for so long steps are tried
	c.within("calllog.history", c.CallLog.History, shortest, 100*365*day)
	if !c.CallLog.Enabled {
		return
	}
	c.portalFor("calllog.enabled", "calls are logged")
	if c.CallLog.MissedOwner == "placeholder" && c.CRM.Placeholder == 0 {
		c.warnAt("calllog.missed_owner", "missed calls go to the placeholder, and crm.placeholder is none", "set crm.placeholder to a Bitrix24 user id")
	}
	if c.PBX.CDR != nil || c.PBX.XAPI != nil {
		return
	}
	for _, t := range c.Trunks {
		if !slices.Contains(t.Transfer, call.TransferRedirect) && !slices.Contains(t.Transfer, call.TransferRefer) {
			continue
		}
		c.warnAt("calllog.enabled", fmt.Sprintf("how calls of trunk %s end is not known once they are redirected or referred: nobody tells without pbx.cdr or pbx.xapi", t.Name),
			"configure one of them, or let the trunk's transfer be [bridge]")
		return
	}
}

// leastSecret is the least length of what requests are signed with.
const leastSecret = 16

// webhooks are told of calls. Their addresses are secrets: no message may hold
// one.
func (c *checker) webhooks() {
	seen := map[string]bool{}
	for i, w := range c.Webhooks {
		path := fmt.Sprintf("webhooks[%d]", i)
		u, err := url.Parse(w.URL.Reveal())
		switch {
		case !w.URL.Set(): // the schema wants one
		case err != nil || u.Host == "" || u.Fragment != "" || u.Scheme != "http" && u.Scheme != "https":
			c.failAt(path+".url", path+".url is no http:// or https:// address", "")
		case seen[w.URL.Reveal()]:
			c.failAt(path+".url", path+".url stands in webhooks a second time", "name all events in one place")
		case u.Scheme == "http" && !loopback(u.Hostname()):
			c.warnAt(path+".url", path+".url is http://: numbers of callers can be read on the way", "write https://")
		}
		seen[w.URL.Reveal()] = true
		if w.Secret.Set() && utf8.RuneCountInString(w.Secret.Reveal()) < leastSecret {
			c.failAt(path+".secret", fmt.Sprintf("%s.secret is too short: want at least %d characters", path, leastSecret), "make one with openssl rand -hex 16")
		}
		c.distinct(path+".events", w.Events)
	}
}
