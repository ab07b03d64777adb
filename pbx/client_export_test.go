package pbx

import (
	"encoding/json"
	"time"
)

// Lifetime is how long a token is good for by its answer.
func Lifetime(jwt string, expires any) time.Duration {
	b, err := json.Marshal(expires)
	if err != nil {
		return 0
	}
	var l loose
	if err := l.UnmarshalJSON(b); err != nil {
		return 0
	}
	return lifetime(jwt, l.int(), time.Now())
}

// Duration reads a duration as 3CX writes it.
func Duration(s string) time.Duration { return loose(s).duration() }
