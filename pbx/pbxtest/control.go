package pbxtest

import (
	"encoding/json"
	"net/http"
	"strings"
)

// control is what /_sandbox/ offers: fault (GET, POST, DELETE), callcontrol
// (GET, POST), requests, calls.
func (a *API) control(w http.ResponseWriter, r *http.Request, body []byte) {
	path := strings.TrimPrefix(r.URL.Path, "/_sandbox/")
	sets := r.Method == http.MethodPost || r.Method == http.MethodPut
	switch {
	case path == "fault" && sets:
		set(w, body, a.SetFault, a.Fault)
	case path == "fault" && r.Method == http.MethodDelete:
		a.Heal()
		writeJSON(w, http.StatusOK, a.Fault())
	case path == "fault":
		writeJSON(w, http.StatusOK, map[string]any{"fault": a.Fault(), "kinds": FaultKinds()})
	case path == "callcontrol" && sets:
		set(w, body, a.state.SetQuirks, a.state.Quirks)
	case path == "callcontrol":
		writeJSON(w, http.StatusOK, a.state.Quirks())
	case path == "callcontrol/cut" && sets:
		a.state.Cut()
		w.WriteHeader(http.StatusNoContent)
	case path == "requests":
		writeJSON(w, http.StatusOK, map[string]any{"total": a.Total()})
	case path == "calls":
		writeJSON(w, http.StatusOK, a.state.Accounts())
	default:
		http.NotFound(w, r)
	}
}

// set reads a knob's position and shows it.
func set[T any](w http.ResponseWriter, body []byte, put func(T), get func() T) {
	var v T
	if err := json.Unmarshal(body, &v); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	put(v)
	writeJSON(w, http.StatusOK, get())
}
