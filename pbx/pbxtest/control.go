package pbxtest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// control is what /_sandbox/ offers: fault (GET, POST, DELETE), cdr and
// callcontrol (GET, POST), requests, calls.
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
	case path == "cdr" && a.feed != nil && sets:
		set(w, body, a.feed.Set, a.feed.Knobs)
	case path == "cdr" && a.feed != nil:
		writeJSON(w, http.StatusOK, a.feed.Knobs())
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

// MarshalJSON writes the latency the way the knobs read it.
func (f Fault) MarshalJSON() ([]byte, error) {
	type plain Fault
	return json.Marshal(struct {
		plain
		Latency string `json:"latency,omitempty"`
	}{plain(f), span(f.Latency)})
}

// UnmarshalJSON reads a fault: durations are written as 250ms or 3s.
func (f *Fault) UnmarshalJSON(data []byte) error {
	type plain Fault
	var in struct {
		plain
		Latency string `json:"latency"`
	}
	if err := json.Unmarshal(data, &in); err != nil {
		return err
	}
	*f = Fault(in.plain)
	if f.Kind != "" && f.Kind != Heal && !slices.Contains(FaultKinds(), f.Kind) {
		return fmt.Errorf("no fault is named %q; there are %v", f.Kind, FaultKinds())
	}
	return parseSpan(in.Latency, &f.Latency)
}

// MarshalJSON writes durations the way the knobs read them.
func (k FeedKnobs) MarshalJSON() ([]byte, error) {
	type plain FeedKnobs
	return json.Marshal(struct {
		plain
		Late string `json:"late,omitempty"`
	}{plain(k), span(k.Late)})
}

// UnmarshalJSON reads knobs: durations are written as 250ms or 3s.
func (k *FeedKnobs) UnmarshalJSON(data []byte) error {
	type plain FeedKnobs
	var in struct {
		plain
		Late string `json:"late"`
	}
	if err := json.Unmarshal(data, &in); err != nil {
		return err
	}
	*k = FeedKnobs(in.plain)
	return parseSpan(in.Late, &k.Late)
}

// span writes a duration, none for 0.
func span(d time.Duration) string {
	if d == 0 {
		return ""
	}
	return d.String()
}

func parseSpan(text string, to *time.Duration) (err error) {
	if text != "" {
		*to, err = time.ParseDuration(text)
	}
	return err
}
