package staff_test

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"io"
	"math/big"
	"mime"
	"mime/quotedprintable"
	"net"
	"net/mail"
	"strings"
	"sync"
	"testing"
	"time"
)

// smtpServer is a mail server on loopback that can refuse and fall silent. Set
// it up before the first connection.
type smtpServer struct {
	net.Listener
	tls            *tls.Config // nil: no STARTTLS
	wrapped        bool        // TLS from the first byte
	user, password string      // "": no AUTH
	// reply is asked at each verb ("CONNECT", "MAIL", "RCPT", "DATA", "END",
	// "QUIT", ...): "" is the usual answer, "silence" none, else the answer.
	reply func(verb, rest string) string

	mu     sync.Mutex
	mails  []letter
	verbs  []string
	conns  map[net.Conn]bool
	closed chan struct{}
	done   sync.WaitGroup
}

// letter is a mail that the server took.
type letter struct {
	from, to string
	secure   bool
	header   mail.Header
	raw      string
	subject  string
	body     string
}

func newSMTP(t testing.TB, change ...func(*smtpServer)) *smtpServer {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &smtpServer{Listener: l, conns: map[net.Conn]bool{}, closed: make(chan struct{})}
	for _, f := range change {
		f(s)
	}
	if s.wrapped {
		s.Listener = tls.NewListener(l, s.tls)
	}
	s.done.Go(s.accept)
	t.Cleanup(func() {
		close(s.closed)
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		s.mu.Lock()
		for c := range s.conns {
			_ = c.Close()
		}
		s.mu.Unlock()
		s.done.Wait()
	})
	return s
}

func (s *smtpServer) accept() {
	for {
		c, err := s.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		s.conns[c] = true
		s.mu.Unlock()
		s.done.Go(func() { s.serve(c) })
	}
}

func (s *smtpServer) addr() string { return s.Addr().String() }

func (s *smtpServer) taken() []letter {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]letter(nil), s.mails...)
}

func (s *smtpServer) seen() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return strings.Join(s.verbs, " ")
}

// session is one connection.
type session struct {
	*smtpServer
	conn   net.Conn
	r      *bufio.Reader
	secure bool
	in     letter
}

func (s *smtpServer) serve(c net.Conn) {
	defer c.Close()
	x := &session{smtpServer: s, conn: c, r: bufio.NewReader(c), secure: s.wrapped}
	if !x.say("CONNECT", "", "220 mail.example.com ESMTP") {
		return
	}
	for {
		line, err := x.r.ReadString('\n')
		if err != nil {
			return
		}
		verb, rest, _ := strings.Cut(strings.TrimRight(line, "\r\n"), " ")
		if !x.do(strings.ToUpper(verb), rest) {
			return
		}
	}
}

// say answers and reports whether the session goes on.
func (x *session) say(verb, rest, usual string) bool {
	x.mu.Lock()
	x.verbs = append(x.verbs, verb)
	x.mu.Unlock()
	if x.reply != nil {
		switch other := x.reply(verb, rest); other {
		case "":
		case "silence":
			<-x.closed
			return false
		default:
			usual = other
		}
	}
	_, err := io.WriteString(x.conn, usual+"\r\n")
	return err == nil && !strings.HasPrefix(usual, "421")
}

func (x *session) do(verb, rest string) bool {
	switch verb {
	case "EHLO":
		lines := []string{"mail.example.com", "8BITMIME"}
		if x.tls != nil && !x.secure {
			lines = append(lines, "STARTTLS")
		}
		if x.user != "" {
			lines = append(lines, "AUTH PLAIN LOGIN")
		}
		return x.say(verb, rest, "250-"+strings.Join(lines[:len(lines)-1], "\r\n250-")+"\r\n250 "+lines[len(lines)-1])
	case "STARTTLS":
		if !x.say(verb, rest, "220 go ahead") {
			return false
		}
		secured := tls.Server(x.conn, x.tls)
		x.conn, x.r, x.secure = secured, bufio.NewReader(secured), true
		return secured.Handshake() == nil
	case "AUTH":
		want := base64.StdEncoding.EncodeToString([]byte("\x00" + x.user + "\x00" + x.password))
		if rest != "PLAIN "+want {
			return x.say(verb, rest, "535 5.7.8 wrong: "+rest)
		}
		return x.say(verb, rest, "235 welcome")
	case "MAIL":
		x.in = letter{from: between(rest), secure: x.secure}
		return x.say(verb, rest, "250 ok")
	case "RCPT":
		x.in.to = between(rest)
		return x.say(verb, x.in.to, "250 ok")
	case "DATA":
		return x.data()
	case "QUIT":
		x.say(verb, rest, "221 bye")
		return false
	}
	return x.say(verb, rest, "250 ok")
}

func between(s string) string {
	_, s, _ = strings.Cut(s, "<")
	s, _, _ = strings.Cut(s, ">")
	return s
}

func (x *session) data() bool {
	if !x.say("DATA", x.in.to, "354 go on") {
		return false
	}
	var b strings.Builder
	for {
		line, err := x.r.ReadString('\n')
		if err != nil {
			return false
		}
		if line == ".\r\n" {
			break
		}
		b.WriteString(strings.TrimPrefix(line, "."))
	}
	x.in.raw = b.String()
	if other := x.refusal(); other != "" {
		return other != "silence" && x.say("END", "", other)
	}
	if err := x.in.parse(); err != nil {
		return x.say("END", x.in.to, "554 "+err.Error())
	}
	x.mu.Lock()
	x.mails = append(x.mails, x.in) // taken: now the client is told
	x.mu.Unlock()
	return x.say("TAKEN", x.in.to, "250 taken")
}

func (x *session) refusal() string {
	if x.reply == nil {
		return ""
	}
	other := x.reply("END", x.in.to)
	if other == "silence" {
		<-x.closed
	}
	return other
}

func (l *letter) parse() error {
	m, err := mail.ReadMessage(strings.NewReader(l.raw))
	if err != nil {
		return err
	}
	l.header = m.Header
	if l.subject, err = new(mime.WordDecoder).DecodeHeader(m.Header.Get("Subject")); err != nil {
		return err
	}
	body := m.Body
	if m.Header.Get("Content-Transfer-Encoding") == "quoted-printable" {
		body = quotedprintable.NewReader(body)
	}
	text, err := io.ReadAll(body)
	l.body = strings.ReplaceAll(string(text), "\r\n", "\n")
	return err
}

// certificate is one for mail.example.com that signs itself, and who trusts it.
func certificate(t testing.TB) (server, trusting *tls.Config) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "mail.example.com"}, DNSNames: []string{"mail.example.com"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}},
		&tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
}
