package config

import (
	"fmt"
	"net/netip"
	"net/url"
	"path/filepath"
	"strings"
	"time"
	_ "time/tzdata" // zones must be known on machines without the package

	"github.com/nyaruka/phonenumbers"
)

// checker looks for what a schema cannot say.
type checker struct {
	*report
	*Config
	dir string // of the configuration
}

func (c *checker) all() {
	c.resolveFiles()
	c.place()
	c.sip()
	c.media()
	c.http()
	c.trunks()
	c.pbx()
	c.crm()
	c.service()
	c.reception()
}

// resolveFiles takes the files that are read from the configuration's folder.
// Folders that are written to stay relative to where frontdesk runs.
func (c *checker) resolveFiles() {
	for _, p := range []*string{&c.Greeting.Before, &c.Greeting.Recorded, &c.Greeting.Google.Credentials} {
		*p = resolve(c.dir, *p)
	}
	if t := c.SIP.TLS; t != nil {
		t.Cert, t.Key = resolve(c.dir, t.Cert), resolve(c.dir, t.Key)
	}
}

func (c *checker) place() {
	c.Zone = time.UTC
	switch zone, err := time.LoadLocation(c.Timezone); {
	case c.Timezone == "" || c.Timezone == "Local" || err != nil:
		c.failAt("timezone", fmt.Sprintf("no time zone is called %q", shorten(c.Timezone)), c.zoneHint())
	default:
		c.Zone = zone
	}
	if phonenumbers.GetCountryCodeForRegion(c.Country) == 0 {
		hint := "an ISO 3166 code of two capitals, such as RU"
		if upper := strings.ToUpper(c.Country); phonenumbers.GetCountryCodeForRegion(upper) != 0 {
			hint = fmt.Sprintf("did you mean %q?", upper)
		}
		c.failAt("country", fmt.Sprintf("no country has the code %q", shorten(c.Country)), hint)
	}
	c.store()
}

// zoneHint suggests a zone whose name differs in case, or by a blank.
func (c *checker) zoneHint() string {
	var words []string
	for part := range strings.SplitSeq(strings.ReplaceAll(c.Timezone, " ", "_"), "/") {
		if part != "" {
			part = strings.ToUpper(part[:1]) + strings.ToLower(part[1:])
		}
		words = append(words, part)
	}
	guess := strings.Join(words, "/")
	if _, err := time.LoadLocation(guess); err == nil && guess != "" && guess != c.Timezone {
		return fmt.Sprintf("did you mean %q?", guess)
	}
	return "an IANA name such as Europe/Moscow or Asia/Almaty"
}

func (c *checker) store() {
	dsn := c.Store.Reveal()
	scheme, rest, found := strings.Cut(dsn, ":")
	switch {
	case found && scheme == "sqlite":
		if strings.Trim(rest, "/") == "" {
			c.failAt("store", "store names no file", "write sqlite:frontdesk.db")
		}
	case found && (scheme == "postgres" || scheme == "postgresql"):
		if u, err := url.Parse(dsn); err != nil || u.Host == "" {
			c.failAt("store", "store is no address of a database", "write postgres://user@host/db")
		}
	default:
		hint := "write sqlite:frontdesk.db, or postgres://user@host/db"
		if guess := nearest(scheme, []string{"sqlite", "postgres"}); found && guess != "" {
			hint = fmt.Sprintf("did you mean %s:?", guess)
		}
		c.failAt("store", "store begins neither with sqlite: nor with postgres:", hint)
	}
}

func (c *checker) http() {
	addr, err := parseHostPort(c.HTTP.Listen)
	if err != nil {
		c.failAt("http.listen", fmt.Sprintf("http.listen: %v", err), "write ADDRESS:PORT, as 127.0.0.1:8080")
	} else if !loopback(addr.host) && !c.HTTP.Token.Set() {
		c.warnAt("http.listen", "http.listen is reached from outside, and there is no http.token: the API answers loopback only",
			"set http.token, or listen on 127.0.0.1")
	}
	if t := c.HTTP.Token.Reveal(); strings.ContainsFunc(t, func(r rune) bool { return r <= ' ' || r > '~' }) {
		c.failAt("http.token", "http.token holds blanks or characters that cannot stand in a header", "")
	}
	if c.HTTP.PublicURL != "" {
		c.webAddress("http.public_url", c.HTTP.PublicURL)
	}
}

// webAddress checks an http or https address that is no secret.
func (c *checker) webAddress(path, text string) {
	u, err := url.Parse(text)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		c.failAt(path, fmt.Sprintf("%s is no http:// or https:// address", path), "")
	}
}

func (c *checker) media() {
	p := c.Media.Ports
	switch {
	case p.First > p.Last:
		c.failAt("media.ports", fmt.Sprintf("media.ports: %s ends before it begins", p), fmt.Sprintf("did you mean %d-%d?", p.Last, p.First))
	case p.First%2 != 0:
		c.failAt("media.ports", fmt.Sprintf("media.ports begins with an odd port, %d: audio takes even ones", p.First),
			fmt.Sprintf("begin with %d", p.First+1))
	case p.Last-p.First < 3:
		c.failAt("media.ports", fmt.Sprintf("media.ports: %s has no room for a bridged call, which takes 4 ports", p), "")
	case p.First < 1024:
		c.warnAt("media.ports", fmt.Sprintf("media.ports begins below 1024, at %d: such ports need privileges", p.First), "")
	}
	for i, text := range c.SIP.Listen {
		l, err := parseListener(text)
		if err == nil && l.network == "udp" && p.First <= l.port && l.port <= p.Last {
			c.failAt("media.ports", fmt.Sprintf("media.ports: %s holds %d, on which SIP listens", p, l.port), fmt.Sprintf("see sip.listen[%d]", i))
		}
	}
	c.distinct("media.codecs", c.Media.Codecs)
	if len(c.Media.Codecs) == 0 {
		c.failAt("media.codecs", "media.codecs names no codec", "leave the key out for PCMA and PCMU")
	}
	c.within("media.silence", c.Media.Silence, time.Second, day)
	c.within("media.hold_silence", c.Media.HoldSilence, time.Second, 7*day)
}

// within checks that a duration makes sense.
func (c *checker) within(path string, d, least, most time.Duration) {
	if d < least || d > most {
		c.failAt(path, fmt.Sprintf("%s is %s: want %s to %s", path, short(d), short(least), short(most)), "")
	}
}

// short writes a duration without zero parts: 15m, not 15m0s.
func short(d time.Duration) string {
	if d >= day && d%day == 0 {
		return fmt.Sprintf("%dd", d/day)
	}
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}

// distinct reports a value that stands in a list twice.
func (c *checker) distinct(path string, list []string) {
	for i, v := range list {
		for _, before := range list[:i] {
			if v == before {
				c.failAt(fmt.Sprintf("%s[%d]", path, i), fmt.Sprintf("%q stands in %s a second time", shorten(v), path), "")
				break
			}
		}
	}
}

func loopback(host string) bool {
	a, err := netip.ParseAddr(host)
	return err == nil && a.Unmap().IsLoopback() || host == "localhost"
}

func (c *checker) service() {
	if c.Sticky.Time > 30*day {
		c.failAt("sticky.time", fmt.Sprintf("sticky.time is %s: want at most 30d", short(c.Sticky.Time)), "")
	}
	c.within("staff.every", c.Staff.Every, time.Second, day)
	c.callLog()
	c.recordings()
	c.phonebook()
	c.within("phonebook.every", c.Phonebook.Every, time.Minute, 30*day)
	c.mail()
	c.webhooks()
}

// recordings have to come from somewhere and to go somewhere.
func (c *checker) recordings() {
	r := c.Recordings
	c.within("recordings.keep", r.Keep, time.Hour, 100*365*day)
	if filepath.Clean(r.Dir) == "." {
		c.failAt("recordings.dir", "recordings.dir names no folder of its own", "write recordings/")
	}
	if r.Mode == "off" {
		return
	}
	if r.Mode == "link" && c.HTTP.PublicURL == "" {
		c.failAt("recordings.mode", "links to recordings need an address that is reached from outside", "set http.public_url")
	}
	if !c.CallLog.Enabled {
		c.warnAt("recordings.mode", "recordings are kept and go nowhere: calls are not logged", "set calllog.enabled")
	}
	if r.Announce != "" && c.Greeting.Engine == "none" {
		c.warnAt("recordings.mode", "no call is recorded unless its announcement lies in greeting.cache as a recorded prompt: nothing speaks it",
			`set greeting.engine, or recordings.announce: ""`)
	}
}

// phonebook wants both sides of what is to be kept equal.
func (c *checker) phonebook() {
	if !c.Phonebook.Sync {
		return
	}
	if c.PBX.XAPI == nil && !c.root.find("pbx.xapi").exact {
		c.failAt("phonebook.sync", "the address book is written by 3CX's configuration API, and pbx.xapi is not there",
			"set pbx.xapi, or write files for 3CX's import with frontdesk 3cx sync --csv")
	}
	if !c.CRM.Bitrix24.Webhook.Set() && c.CRM.Bitrix24.App == nil {
		c.failAt("phonebook.sync", "the address book is filled from the portal, and none is configured", "set crm.bitrix24.webhook")
	}
}

func (c *checker) mail() {
	if !c.Mail.SMTP.Set() {
		return
	}
	u, err := url.Parse(c.Mail.SMTP.Reveal())
	if err != nil || u.Hostname() == "" || u.Scheme != "smtp" && u.Scheme != "smtps" {
		c.failAt("mail.smtp", "mail.smtp is no smtp:// or smtps:// address", "write smtp://user:password@host:587")
	}
	if at := strings.IndexByte(c.Mail.From, '@'); at < 1 || strings.ContainsAny(c.Mail.From, " \r\n<>") {
		c.failAt("mail.from", "mail.from is no address", "write name@example.com, without a display name")
	}
}
