package sip

import "strings"

// Redirect refers the caller to contacts with 302, in order of preference.
func (in *Incoming) Redirect(contacts ...string) error {
	r := response{code: 302, reason: "Moved Temporarily"}
	for _, c := range contacts {
		if !strings.Contains(c, "<") {
			c = "<" + c + ">"
		}
		r.headers = append(r.headers, Header{"Contact", c})
	}
	in.sh.mu.Lock()
	defer in.sh.mu.Unlock()
	return in.refuse(r, ErrEnded)
}
