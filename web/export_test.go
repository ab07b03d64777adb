package web

import "strings"

// Routes are the methods and paths that are served, as "GET /healthz".
func (s *Server) Routes() []string {
	var out []string
	for _, r := range s.routes() {
		out = append(out, r.method+" "+strings.TrimSuffix(r.path, "{$}"))
	}
	return out
}
