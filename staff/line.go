package staff

import (
	"net"
	"strings"
	"sync"
	"unicode"
)

// line is the connection of one mail, which the end of a context cuts.
type line struct {
	mu   sync.Mutex
	conn net.Conn
	cut  bool
}

func (l *line) set(c net.Conn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.conn = c
	if l.cut {
		_ = c.Close() // nothing was said yet
	}
}

func (l *line) hangUp() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = true
	if l.conn != nil {
		_ = l.conn.Close() // what had to be said was acknowledged, or has failed
	}
}

// maxHeader bounds what comes from outside in a header, in runes.
const maxHeader = 200

// oneLine puts a foreign text on one line of bounded length.
func oneLine(s string) string {
	s = strings.Join(strings.FieldsFunc(strings.ToValidUTF8(s, ""), func(r rune) bool {
		return unicode.IsSpace(r) || unicode.IsControl(r) || unicode.Is(unicode.Cf, r) || unicode.Is(unicode.Zl, r) || unicode.Is(unicode.Zp, r)
	}), " ")
	if runes := []rune(s); len(runes) > maxHeader {
		return string(runes[:maxHeader])
	}
	return s
}
