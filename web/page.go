package web

import (
	"bytes"
	"embed"
	"html/template"
	"net/http"
	"time"

	"frontdesk/call"
)

// shown is how many calls the page lists.
const shown = 20

//go:embed templates
var templateFiles embed.FS

var pageTemplate = template.Must(template.ParseFS(templateFiles, "templates/index.html"))

// pageData is what the page shows.
type pageData struct {
	Version string
	Ready   bool
	Why     string
	Calls   []call.Record
}

// page says what is here. Numbers are masked on it: whoever may see them asks
// the API.
func (s *Server) page(w http.ResponseWriter, r *http.Request) {
	last, err := s.cfg.Calls.List(r.Context(), Filter{Limit: shown})
	if err != nil {
		s.failWith(w, "list calls", err)
		return
	}
	data := pageData{Version: s.cfg.Version, Calls: last.Calls}
	data.Ready, data.Why = s.cfg.Health.Ready()
	var b bytes.Buffer
	if err := pageTemplate.Execute(&b, data); err != nil {
		s.failWith(w, "render the page", err)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	_, _ = b.WriteTo(w) // a client that is gone needs no answer
}

// Stamp writes a time for the page, in the zone of the record.
func (pageData) Stamp(t time.Time) string { return t.Format("2006-01-02 15:04:05 -07:00") }
