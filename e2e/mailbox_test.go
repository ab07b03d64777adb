//go:build e2e

package e2e_test

import (
	"bufio"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"
)

// mailbox is a mail server on loopback that takes everything (RFC 5321).
type mailbox struct {
	net.Listener
	mu    sync.Mutex
	to    []string
	conns []net.Conn
	done  sync.WaitGroup
}

func newMailbox(t *testing.T) *mailbox { return newMailboxAt(t, "127.0.0.1:0") }

func newMailboxAt(t *testing.T, addr string) *mailbox {
	t.Helper()
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	m := &mailbox{Listener: l}
	m.done.Go(m.accept)
	t.Cleanup(func() {
		l.Close()
		m.mu.Lock()
		for _, c := range m.conns {
			c.Close()
		}
		m.mu.Unlock()
		m.done.Wait()
	})
	return m
}

func (m *mailbox) addr() string { return m.Addr().String() }

// taken are the addressees of the mails that were taken, sorted.
func (m *mailbox) taken() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(slices.Values(m.to))
}

func (m *mailbox) accept() {
	for {
		c, err := m.Accept()
		if err != nil {
			return
		}
		m.mu.Lock()
		m.conns = append(m.conns, c)
		m.mu.Unlock()
		m.done.Go(func() { m.serve(c) })
	}
}

func (m *mailbox) serve(c net.Conn) {
	defer c.Close()
	say := func(line string) { fmt.Fprintf(c, "%s\r\n", line) } // a client that has gone is noticed by Scan
	say("220 mail.example.com ESMTP")
	to := ""
	for lines := bufio.NewScanner(c); lines.Scan(); {
		verb, rest, _ := strings.Cut(strings.ToUpper(lines.Text()), " ")
		switch verb {
		case "RCPT":
			_, to, _ = strings.Cut(rest, "<")
			to, _, _ = strings.Cut(strings.ToLower(to), ">")
			say("250 ok")
		case "DATA":
			say("354 go on")
			for lines.Scan() && lines.Text() != "." {
			}
			m.mu.Lock()
			m.to = append(m.to, to)
			m.mu.Unlock()
			say("250 taken")
		case "QUIT":
			say("221 bye")
			return
		default:
			say("250 ok")
		}
	}
}
