package call

import (
	"cmp"
	"encoding/base64"
	"errors"
	"strings"
	"time"
)

// Selection says which records are wanted. Its zero fields ask for nothing.
type Selection struct {
	Limit   int       // how many at most, above 0
	Since   time.Time // started then or later
	Until   time.Time // started before
	Outcome Outcome
	Caller  Number   // compared without the plus
	After   Position // the last record of the page before; zero: from the newest on
}

// Matches reports whether r is wanted, wherever in the list it is.
func (s Selection) Matches(r *Record) bool {
	return !r.Started.Before(s.Since) && (s.Until.IsZero() || r.Started.Before(s.Until)) &&
		(s.Outcome == "" || s.Outcome == r.Outcome) &&
		(s.Caller == "" || s.Caller.Digits() == r.Caller.Digits())
}

// Position is a record's place in the order of calls: by their start, to the
// microsecond, then by their identity. It holds while calls come and go.
type Position struct {
	Started time.Time
	ID      string
}

// PositionOf is where r stands.
func PositionOf(r *Record) Position { return Position{r.Started.Truncate(time.Microsecond), r.ID} }

// IsZero reports whether p is no place at all.
func (p Position) IsZero() bool { return p == Position{} }

// Compare is negative where p comes before o, the older first.
func (p Position) Compare(o Position) int {
	return cmp.Or(p.Started.Compare(o.Started), cmp.Compare(p.ID, o.ID))
}

// Cursor is p as a word for a URL.
func (p Position) Cursor() string {
	return base64.RawURLEncoding.EncodeToString([]byte(p.Started.Format(time.RFC3339Nano) + " " + p.ID))
}

// errCursor says that a text is no cursor.
var errCursor = errors.New("cursor: it is none of ours")

// ParseCursor reads what Cursor wrote.
func ParseCursor(s string) (Position, error) {
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil {
		return Position{}, errCursor
	}
	stamp, id, _ := strings.Cut(string(b), " ")
	at, err := time.Parse(time.RFC3339Nano, stamp)
	if err != nil {
		return Position{}, errCursor
	}
	return Position{at, id}, nil
}
