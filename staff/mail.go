package staff

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	netmail "net/mail"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/wneessen/go-mail"
)

// Message is one mail in plain text, to one person.
type Message struct {
	ID      string          // left of the @ in its Message-ID: the same for the same mail sent again
	To      netmail.Address // with or without a name
	Subject string
	Body    string
}

// ErrRefused is wrapped by Send's error where the server says that it will
// never take this mail for this address (RFC 5321 section 4.2.1, 5yz).
var ErrRefused = errors.New("refused for good")

// MailConfig is what a Mailer needs.
type MailConfig struct {
	// URL is smtp://user:password@host:587, where STARTTLS is demanded unless
	// host is this machine, or smtps://user:password@host:465.
	URL     string
	From    string        // address of the sender
	Timeout time.Duration // of one mail, everything included; 0: DefaultMailTimeout
	TLS     *tls.Config   // nil: the system's roots
}

// DefaultMailTimeout is how long sending a mail may take.
const DefaultMailTimeout = 10 * time.Second

// Mailer sends mails through one server, each over a connection of its own.
type Mailer struct {
	server
	from    netmail.Address
	timeout time.Duration
}

// server is where mails are handed in.
type server struct {
	host, addr string
	user, pass string
	tls        *tls.Config
	wrapped    bool // TLS from the first byte
	local      bool // on this machine
}

// NewMailer makes a mailer. It does not reach for the server. Its errors do not
// quote the URL, which holds a password.
func NewMailer(cfg MailConfig) (*Mailer, error) {
	s, err := parseServer(cfg.URL, cfg.TLS)
	if err != nil {
		return nil, err
	}
	from, err := netmail.ParseAddress(cfg.From)
	if err != nil {
		return nil, errors.New("the sender is no mail address")
	}
	if cfg.Timeout <= 0 {
		cfg.Timeout = DefaultMailTimeout
	}
	return &Mailer{server: s, from: *from, timeout: cfg.Timeout}, nil
}

func parseServer(text string, config *tls.Config) (server, error) {
	u, err := url.Parse(text)
	switch {
	case err != nil:
		return server{}, errors.New("the mail server's address is no URL")
	case u.Scheme != "smtp" && u.Scheme != "smtps":
		return server{}, errors.New("the mail server's address must begin with smtp:// or smtps://")
	case u.Hostname() == "":
		return server{}, errors.New("the mail server's address names no host")
	}
	s := server{host: u.Hostname(), user: u.User.Username(), wrapped: u.Scheme == "smtps"}
	s.pass, _ = u.User.Password()
	ip, err := netip.ParseAddr(s.host)
	s.local = s.host == "localhost" || err == nil && ip.IsLoopback()
	port := u.Port()
	if port == "" {
		port = "587" // RFC 6409
		if s.wrapped {
			port = "465" // RFC 8314
		}
	}
	s.addr = net.JoinHostPort(s.host, port)
	if config == nil {
		config = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	s.tls = config.Clone()
	s.tls.ServerName = s.host
	// Nobody stands between two programs of one machine, and the certificate
	// of such a server is rarely for the name localhost.
	s.tls.InsecureSkipVerify = s.tls.InsecureSkipVerify || s.local
	return s, nil
}

// Send hands one mail in. It returns nil as soon as the server has taken it.
func (m *Mailer) Send(ctx context.Context, msg Message) error {
	ctx, cancel := context.WithTimeout(ctx, m.timeout)
	defer cancel()
	letter, err := m.letter(msg)
	if err != nil {
		return err
	}
	var line line
	defer line.hangUp()
	client, err := m.client(&line)
	if err != nil {
		return fmt.Errorf("mail: %w", m.clean(err, msg))
	}
	stop := context.AfterFunc(ctx, line.hangUp)
	defer stop()
	session, err := client.DialToSMTPClientWithContext(ctx)
	if err != nil {
		return fmt.Errorf("mail: signing in at %s: %w", m.host, m.clean(err, msg))
	}
	err = client.SendWithSMTPClient(session, letter)
	if letter.IsDelivered() {
		// Whether the server still says good-bye does not matter, and nobody
		// waits for it: the mail must be noted as sent at once.
		_, _ = session.Text.Cmd("QUIT")
		return nil
	}
	if err == nil {
		err = errors.New("not taken")
	}
	refused := refusedForGood(err)
	err = m.clean(err, msg)
	if refused {
		err = fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return fmt.Errorf("mail: handing in at %s: %w", m.host, err)
}

// letter is the mail with its headers. What comes from outside is on one line
// each, and encoded where it is not ASCII (RFC 2047).
func (m *Mailer) letter(msg Message) (*mail.Msg, error) {
	to := netmail.Address{Name: oneLine(msg.To.Name), Address: msg.To.Address}
	if _, err := netmail.ParseAddress(to.Address); err != nil || oneLine(to.Address) != to.Address {
		return nil, fmt.Errorf("mail: %w: no mail address", ErrRefused)
	}
	out := mail.NewMsg(mail.WithNoDefaultUserAgent())
	out.FromMailAddress(&m.from)
	out.ToMailAddress(&to)
	out.Subject(oneLine(msg.Subject))
	out.SetDate()
	_, domain, _ := strings.Cut(m.from.Address, "@")
	out.SetMessageIDWithValue(msg.ID + "@" + domain)
	out.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834: no automatic answers
	out.SetBodyString(mail.TypeTextPlain, msg.Body)
	return out, nil
}

// client signs in as the configuration says, over line.
func (m *Mailer) client(l *line) (*mail.Client, error) {
	options := []mail.Option{
		mail.WithTimeout(m.timeout), mail.WithTLSConfig(m.tls),
		mail.WithTLSPolicy(m.policy()), mail.WithDialContextFunc(m.dial(l)),
		mail.WithoutNoop(), mail.WithoutRset(),
	}
	if m.user != "" {
		options = append(options, mail.WithUsername(m.user), mail.WithPassword(m.pass), m.auth())
	}
	return mail.NewClient(m.host, options...)
}

func (m *Mailer) policy() mail.TLSPolicy {
	switch {
	case m.wrapped:
		return mail.NoTLS // there is TLS already
	case m.local:
		return mail.TLSOpportunistic
	}
	return mail.TLSMandatory
}

// auth names the ways to sign in, the best first. Without TLS, which only a
// server on this machine can be, the password goes as it is.
func (m *Mailer) auth() mail.Option {
	plain, login := mail.SMTPAuthPlain, mail.SMTPAuthLogin
	if m.local {
		plain, login = mail.SMTPAuthPlainNoEnc, mail.SMTPAuthLoginNoEnc
	}
	return mail.WithOpportunisticSMTPAuth(mail.SMTPAuthSCRAMSHA256, mail.SMTPAuthSCRAMSHA1, plain, login, mail.SMTPAuthCramMD5)
}

func (m *Mailer) dial(l *line) mail.DialContextFunc {
	return func(ctx context.Context, network, _ string) (net.Conn, error) {
		var d net.Dialer
		conn, err := d.DialContext(ctx, network, m.addr)
		if err != nil {
			return nil, err
		}
		l.set(conn)
		if !m.wrapped {
			return conn, nil
		}
		secured := tls.Client(conn, m.tls)
		if err := secured.HandshakeContext(ctx); err != nil {
			return nil, err
		}
		return secured, nil
	}
}

// refusedForGood reports whether the recipient or the text was refused with
// 5yz. A sign-in or a sender that is refused is a matter of configuration,
// which somebody will put right.
func refusedForGood(err error) bool {
	var e *mail.SendError
	if !errors.As(err, &e) || e.ErrorCode()/100 != 5 {
		return false
	}
	return e.Reason == mail.ErrSMTPRcptTo || e.Reason == mail.ErrSMTPData || e.Reason == mail.ErrSMTPDataClose
}

// maxReply bounds what a server may add to an error.
const maxReply = 200

// clean is an error of the library's without password and address, which a
// server may quote.
func (m *Mailer) clean(err error, msg Message) error {
	text := err.Error()
	if m.pass != "" {
		text = strings.ReplaceAll(text, m.pass, "[secret]")
	}
	text = strings.ReplaceAll(text, msg.To.Address, masked(msg.To.Address))
	if runes := []rune(oneLine(text)); len(runes) > maxReply {
		text = string(runes[:maxReply]) + "..."
	}
	text = oneLine(text)
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%s: %w", text, context.DeadlineExceeded)
	}
	return errors.New(text)
}

// masked hides who an address is.
func masked(address string) string {
	user, domain, ok := strings.Cut(address, "@")
	if !ok || user == "" {
		return strconv.Itoa(len(address)) + " characters"
	}
	return string([]rune(user)[:1]) + "***@" + domain
}
