package crmtest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"sync"
	"time"
)

// Server puts a portal on sockets. It has three addresses: the portal's own; a
// second one to which a renamed portal redirects; and the knobs', which answer
// whatever befalls the portal.
type Server struct {
	portal *Portal
	config ServerConfig
	certificate

	addr    string // of the portal, kept while it refuses connections
	renamed net.Listener
	knobs   net.Listener

	mu     sync.Mutex
	main   *http.Server // nil while connections are refused
	stall  *staller
	others []*http.Server
	closed bool
	wait   sync.WaitGroup
}

// certificate is what a Server with TLS shows, and what trusts it.
type certificate struct {
	tls  *tls.Config
	pool *x509.CertPool
}

// ServerConfig sets up a Server. The zero value listens on free loopback ports.
type ServerConfig struct {
	Listen string // of the portal; "": 127.0.0.1:0
	Knobs  string // of /_sandbox/; "": 127.0.0.1:0
	TLS    bool   // https with a certificate of its own, see CertPool
	Secret string // the webhook's, for Webhook; "": secret
	User   int    // the webhook's; 0: 1
}

// Start binds a server for p and serves until Close.
func Start(p *Portal, c ServerConfig) (*Server, error) {
	s := &Server{portal: p, config: c}
	for _, text := range []*string{&s.config.Listen, &s.config.Knobs} {
		if *text == "" {
			*text = "127.0.0.1:0"
		}
	}
	if s.config.Secret == "" {
		s.config.Secret = "secret"
	}
	if s.config.User == 0 {
		s.config.User = 1
	}
	if c.TLS {
		if err := s.certify(); err != nil {
			return nil, fmt.Errorf("making a certificate: %w", err)
		}
	}
	if err := s.bind(); err != nil {
		return nil, err
	}
	p.mu.Lock()
	p.faults.changed = s.changed
	p.mu.Unlock()
	return s, nil
}

func (s *Server) bind() error {
	l, err := net.Listen("tcp", s.config.Listen)
	if err != nil {
		return fmt.Errorf("listening for the portal: %w", err)
	}
	if s.renamed, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		return errors.Join(fmt.Errorf("listening for the renamed portal: %w", err), l.Close())
	}
	if s.knobs, err = net.Listen("tcp", s.config.Knobs); err != nil {
		return errors.Join(fmt.Errorf("listening for the knobs: %w", err), l.Close(), s.renamed.Close())
	}
	s.addr = l.Addr().String()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.open(l)
	second := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.portal.serve(w, r, true) })
	s.others = []*http.Server{
		s.serve(s.secure(s.renamed), second),
		s.serve(s.knobs, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.portal.serve(w, r, true) })),
	}
	return nil
}

// open serves the portal on l. mu is held.
func (s *Server) open(l net.Listener) {
	s.stall = &staller{Listener: l, portal: s.portal}
	s.main = s.serve(s.secure(s.stall), http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.portal.Fault().Kind == Moved {
			s.moved(w, r)
			return
		}
		s.portal.serve(w, r, false)
	}))
}

// moved fills in the second address where the fault names none.
func (s *Server) moved(w http.ResponseWriter, r *http.Request) {
	f := s.portal.Fault()
	if f.Kind == Moved && f.Location == "" {
		f.Location = s.Renamed()
		s.portal.faults.current.Store(&f)
	}
	s.portal.serve(w, r, false)
}

func (s *Server) serve(l net.Listener, h http.Handler) *http.Server {
	srv := &http.Server{
		Handler: h, ReadHeaderTimeout: time.Minute,
		ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError), // clients that give up are what faults are about
	}
	s.wait.Go(func() { _ = srv.Serve(l) }) // ends by Close, which is what it then reports
	return srv
}

func (s *Server) secure(l net.Listener) net.Listener {
	if s.tls == nil {
		return l
	}
	return tls.NewListener(l, s.tls)
}

// changed follows the portal's fault: Refuse closes the socket, everything else
// opens it again.
func (s *Server) changed(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
	case f.Kind == Refuse && s.main != nil:
		_ = s.main.Close() // connections that are gone already do not matter
		s.stall.release()
		s.main = nil
	case f.Kind != Refuse && s.main == nil:
		l, err := net.Listen("tcp", s.addr)
		if err != nil {
			return // somebody took the port; the portal stays away
		}
		s.open(l)
	case f.Kind == "":
		s.stall.release()
	}
}

// Close ends the server, the requests that faults hold, and its portal.
func (s *Server) Close() error {
	s.portal.Close()
	s.mu.Lock()
	s.closed = true
	var errs []error
	for _, srv := range append(s.others, s.main) {
		if srv != nil {
			errs = append(errs, srv.Close())
		}
	}
	s.stall.release()
	s.mu.Unlock()
	s.wait.Wait()
	return errors.Join(errs...)
}

// Run serves until ctx ends and then closes the server.
func (s *Server) Run(ctx context.Context) error {
	<-ctx.Done()
	return s.Close()
}

func (s *Server) url(addr string) string {
	if s.tls != nil {
		return "https://" + addr
	}
	return "http://" + addr
}

// URL is the portal's address.
func (s *Server) URL() string { return s.url(s.addr) }

// Renamed is the portal's second address.
func (s *Server) Renamed() string { return s.url(s.renamed.Addr().String()) }

// Knobs is the address whose /_sandbox/ answers whatever fault is set.
func (s *Server) Knobs() string { return "http://" + s.knobs.Addr().String() }

// Webhook is the URL of the portal's webhook.
func (s *Server) Webhook() string {
	return fmt.Sprintf("%s/rest/%d/%s/", s.URL(), s.config.User, s.config.Secret)
}

// CertPool trusts the server's certificate.
func (s *Server) CertPool() *x509.CertPool { return s.pool }

// certify makes a certificate for loopback.
func (s *Server) certify() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		NotBefore:    time.Now().Add(-time.Hour), NotAfter: time.Now().Add(365 * 24 * time.Hour),
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}, DNSNames: []string{"localhost"},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return err
	}
	s.pool = x509.NewCertPool()
	s.pool.AddCert(cert)
	s.tls = &tls.Config{
		Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}},
		NextProtos:   []string{"http/1.1"}, MinVersion: tls.VersionTLS12,
	}
	return nil
}

// staller is a listener that, under TLSStall, accepts connections and leaves
// them alone.
type staller struct {
	net.Listener
	portal *Portal

	mu     sync.Mutex
	parked []net.Conn
}

// Accept hands connections on, or parks them.
func (s *staller) Accept() (net.Conn, error) {
	for {
		conn, err := s.Listener.Accept()
		if err != nil || s.portal.Fault().Kind != TLSStall {
			return conn, err
		}
		s.mu.Lock()
		s.parked = append(s.parked, conn)
		s.mu.Unlock()
	}
}

// release closes the parked connections.
func (s *staller) release() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, conn := range s.parked {
		_ = conn.Close() // its peer waited for nothing anyway
	}
	s.parked = nil
}
