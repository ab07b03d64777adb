package staff_test

import (
	"context"
	"crypto/tls"
	"errors"
	"net/mail"
	"strings"
	"testing"
	"time"

	"frontdesk/staff"
)

const secret = "c4n4ry"

// mailer sends to s. host is not this machine's name unless it says so.
func mailer(t testing.TB, s *smtpServer, url string, trusting *tls.Config) *staff.Mailer {
	t.Helper()
	m, err := staff.NewMailer(staff.MailConfig{URL: url, From: "frontdesk@example.com", Timeout: 5 * time.Second, TLS: trusting})
	if err != nil {
		t.Fatal(err)
	}
	m.DialTo(s.addr())
	return m
}

func message() staff.Message {
	return staff.Message{
		ID: "frontdesk.0123", To: mail.Address{Name: "Ольга Р", Address: "olga@example.com"},
		Subject: "Замещение закончилось: Ромашка", Body: "Здравствуйте!\n.\n.точка в начале строки\n" + strings.Repeat("длинная строка ", 100) + "\n",
	}
}

func TestMailArrives(t *testing.T) {
	t.Parallel()
	server, trusting := certificate(t)
	for name, c := range map[string]struct {
		url    string
		change func(*smtpServer)
		secure bool
	}{
		"STARTTLS and password":            {"smtp://desk:" + secret + "@mail.example.com:587", func(s *smtpServer) { s.tls, s.user, s.password = server, "desk", secret }, true},
		"STARTTLS":                         {"smtp://mail.example.com", func(s *smtpServer) { s.tls = server }, true},
		"TLS and password":                 {"smtps://desk:" + secret + "@mail.example.com", func(s *smtpServer) { s.tls, s.wrapped, s.user, s.password = server, true, "desk", secret }, true},
		"plain here":                       {"smtp://localhost:25", func(*smtpServer) {}, false},
		"plain here, password":             {"smtp://desk:" + secret + "@127.0.0.1:25", func(s *smtpServer) { s.user, s.password = "desk", secret }, false},
		"STARTTLS here, whatever the name": {"smtp://127.0.0.2:25", func(s *smtpServer) { s.tls = server }, true},
		"no good-bye": {"smtp://localhost", func(s *smtpServer) {
			s.reply = func(verb, _ string) string { return map[string]string{"QUIT": "silence"}[verb] }
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSMTP(t, c.change)
			msg := message()
			if err := mailer(t, s, c.url, trusting).Send(t.Context(), msg); err != nil {
				t.Fatal(err)
			}
			got := s.taken()
			if len(got) != 1 {
				t.Fatalf("%d mails", len(got))
			}
			l := got[0]
			if l.from != "frontdesk@example.com" || l.to != "olga@example.com" || l.secure != c.secure {
				t.Errorf("from %s to %s, secure %v", l.from, l.to, l.secure)
			}
			if l.subject != msg.Subject || strings.TrimRight(l.body, "\n") != strings.TrimRight(msg.Body, "\n") {
				t.Errorf("arrived as %q:\n%s", l.subject, l.body)
			}
			if id := l.header.Get("Message-ID"); id != "<frontdesk.0123@example.com>" {
				t.Errorf("Message-ID %s", id)
			}
			for _, r := range l.raw {
				if r > 126 {
					t.Fatalf("not everything is ASCII on the wire: %q", r)
				}
			}
			if to, err := mail.ParseAddress(l.header.Get("To")); err != nil || to.Name != "Ольга Р" {
				t.Errorf("to %v, %v", to, err)
			}
			if l.header.Get("Auto-Submitted") != "auto-generated" || !strings.HasPrefix(l.header.Get("Content-Type"), "text/plain") {
				t.Errorf("header %v", l.header)
			}
		})
	}
}

func TestMailIsRefused(t *testing.T) {
	t.Parallel()
	server, trusting := certificate(t)
	answer := func(verb, text string) func(*smtpServer) {
		return func(s *smtpServer) {
			s.tls, s.user, s.password = server, "desk", secret
			s.reply = func(v, _ string) string { return map[string]string{verb: text}[v] }
		}
	}
	const url = "smtp://desk:" + secret + "@mail.example.com"
	for name, c := range map[string]struct {
		url     string
		change  func(*smtpServer)
		forGood bool
	}{
		"no such person":           {url, answer("RCPT", "550 5.1.1 no olga@example.com here"), true},
		"grey-listed":              {url, answer("RCPT", "451 4.7.1 later"), false},
		"refused as spam":          {url, answer("END", "554 5.7.1 spam"), true},
		"no disk":                  {url, answer("END", "452 4.3.1 disk full"), false},
		"sender refused":           {url, answer("MAIL", "550 5.7.1 not you"), false},
		"wrong password":           {"smtp://desk:other" + secret + "@mail.example.com", answer("", ""), false},
		"busy":                     {url, answer("CONNECT", "421 too many"), false},
		"without STARTTLS":         {url, func(*smtpServer) {}, false},
		"certificate of nobody":    {"smtp://mail.example.org", func(s *smtpServer) { s.tls = server }, false},
		"password without TLS":     {url, func(s *smtpServer) { s.user = "desk" }, false},
		"speaks something else":    {url, answer("CONNECT", "HTTP/1.1 400 Bad Request"), false},
		"wants no password at all": {url, func(s *smtpServer) { s.tls = server }, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSMTP(t, c.change)
			err := mailer(t, s, c.url, trusting).Send(t.Context(), message())
			if err == nil || errors.Is(err, staff.ErrRefused) != c.forGood {
				t.Fatalf("%v; for good should be %v", err, c.forGood)
			}
			if len(s.taken()) != 0 {
				t.Error("and yet it was taken")
			}
			if strings.Contains(err.Error(), secret) || strings.Contains(err.Error(), "olga@") || strings.ContainsAny(err.Error(), "\r\n") {
				t.Errorf("the error tells too much: %v", err)
			}
			if strings.Contains(s.seen(), "AUTH") && s.tls == nil {
				t.Error("the password was sent in clear")
			}
		})
	}
}

// A server that falls silent at whatever point holds nobody longer than the
// time of a mail, and the end of the program not even that.
func TestSilentMailServer(t *testing.T) {
	t.Parallel()
	for _, verb := range []string{"CONNECT", "EHLO", "MAIL", "RCPT", "DATA", "END"} {
		t.Run(verb, func(t *testing.T) {
			t.Parallel()
			reached := make(chan struct{}, 1)
			s := newSMTP(t, func(s *smtpServer) {
				s.reply = func(v, _ string) string {
					if v != verb {
						return ""
					}
					reached <- struct{}{}
					return "silence"
				}
			})
			m, err := staff.NewMailer(staff.MailConfig{URL: "smtp://" + s.addr(), From: "a@example.com", Timeout: 200 * time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			if err := m.Send(t.Context(), message()); err == nil {
				t.Error("taken for sent")
			}
			<-reached
			m, err = staff.NewMailer(staff.MailConfig{URL: "smtp://" + s.addr(), From: "a@example.com", Timeout: time.Hour})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithCancel(t.Context())
			go func() { <-reached; cancel() }()
			if err := m.Send(ctx, message()); err == nil {
				t.Error("taken for sent")
			}
		})
	}
}

func TestMailHeadersCannotBeInjected(t *testing.T) {
	t.Parallel()
	s := newSMTP(t)
	m := mailer(t, s, "smtp://localhost", nil)
	evil := "Anna\r\nBcc: everybody@example.com\r\n\r\nbuy\x00now\u2028\u202e"
	msg := message()
	msg.Subject, msg.To.Name = evil, evil+`" <other@example.com>`
	if err := m.Send(t.Context(), msg); err != nil {
		t.Fatal(err)
	}
	l := s.taken()[0]
	if l.header.Get("Bcc") != "" || strings.Contains(l.raw, "\nBcc") || l.subject != "Anna Bcc: everybody@example.com buy now" {
		t.Errorf("subject %q in\n%s", l.subject, l.raw)
	}
	if to, err := mail.ParseAddressList(l.header.Get("To")); err != nil || len(to) != 1 || to[0].Address != "olga@example.com" {
		t.Errorf("to %v, %v", to, err)
	}
	for _, address := range []string{"", "olga", "a@example.com\r\nBcc: b@example.com", "a@example.com, b@example.com", "a@b>\r\nRCPT TO:<c@d"} {
		msg.To.Address = address
		if err := m.Send(t.Context(), msg); !errors.Is(err, staff.ErrRefused) {
			t.Errorf("%q: %v", address, err)
		}
	}
	if n := len(s.taken()); n != 1 {
		t.Errorf("%d mails", n)
	}
}

func TestBadMailServers(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"", "http://example.com", "smtp://", "smtp://user:" + secret + "@", "smtp://u:" + secret + "@h:port\x7f"} {
		_, err := staff.NewMailer(staff.MailConfig{URL: url, From: "a@example.com"})
		if err == nil || strings.Contains(err.Error(), secret) {
			t.Errorf("%q: %v", url, err)
		}
	}
	if _, err := staff.NewMailer(staff.MailConfig{URL: "smtp://localhost", From: "nobody"}); err == nil {
		t.Error("a sender that is no address")
	}
}
