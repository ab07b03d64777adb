package crm

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"strings"
	"time"
)

// FlexInt is an integer that the portal gives as a number, a string, a boolean,
// or not at all: "61", 61, 61.0, "", null, false.
type FlexInt int

// UnmarshalJSON reads any of the shapes.
func (i *FlexInt) UnmarshalJSON(data []byte) error {
	var v any
	if err := json.Unmarshal(data, &v); err != nil {
		return err
	}
	n, err := toInt(v)
	*i = FlexInt(n)
	return err
}

// FlexBool is a boolean that the portal gives as true, "true", "1", 1, "Y", or
// their opposites; empty is false.
type FlexBool bool

// UnmarshalJSON reads any of the shapes.
func (b *FlexBool) UnmarshalJSON(data []byte) error {
	var v any
	if err := json.Unmarshal(data, &v); err != nil {
		return err
	}
	is, err := toBool(v)
	*b = FlexBool(is)
	return err
}

// FlexObject is a JSON object; PHP writes an empty one as [] or null, and one
// with the keys 0, 1, 2 as an array.
type FlexObject map[string]json.RawMessage

// UnmarshalJSON reads an object or an array.
func (o *FlexObject) UnmarshalJSON(data []byte) error {
	data = bytes.TrimSpace(data)
	if len(data) > 0 && data[0] == '[' {
		var list []json.RawMessage
		if err := json.Unmarshal(data, &list); err != nil {
			return err
		}
		*o = make(FlexObject, len(list))
		for i, v := range list {
			(*o)[strconv.Itoa(i)] = v
		}
		return nil
	}
	var m map[string]json.RawMessage
	if err := json.Unmarshal(data, &m); err != nil {
		return err
	}
	*o = m
	return nil
}

// maxID is the largest id that is believed.
const maxID = math.MaxInt32

func toInt(v any) (int, error) {
	switch v := v.(type) {
	case nil:
		return 0, nil
	case bool:
		if v {
			return 1, nil
		}
		return 0, nil
	case float64:
		if v != math.Trunc(v) || math.Abs(v) > maxID {
			return 0, errors.New("not an integer")
		}
		return int(v), nil
	case string:
		s := strings.TrimSpace(v)
		if s == "" {
			return 0, nil
		}
		n, err := strconv.ParseInt(s, 10, 32)
		if err != nil {
			return 0, errors.New("not an integer")
		}
		return int(n), nil
	}
	return 0, errors.New("not an integer")
}

// toEmployee reads an employee field: an id, or a list whose first id counts.
func toEmployee(v any) (int, error) {
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			if id, err := toEmployee(e); err != nil || id != 0 {
				return id, err
			}
		}
		return 0, nil
	case string:
		id, err := toInt(strings.TrimPrefix(v, "user_"))
		return max(id, 0), err
	}
	id, err := toInt(v)
	return max(id, 0), err
}

func toBool(v any) (bool, error) {
	switch v := v.(type) {
	case nil:
		return false, nil
	case bool:
		return v, nil
	case float64:
		return v != 0, nil
	case string:
		switch strings.ToLower(strings.TrimSpace(v)) {
		case "1", "y", "yes", "true":
			return true, nil
		case "", "0", "n", "no", "false":
			return false, nil
		}
	case []any: // an empty field may come as []
		if len(v) == 0 {
			return false, nil
		}
	}
	return false, errors.New("not a boolean")
}

// toTime reads a datetime field; empty is the zero time.
func toTime(v any, zone *time.Location) (time.Time, error) {
	switch v := v.(type) {
	case nil:
		return time.Time{}, nil
	case bool:
		if !v {
			return time.Time{}, nil
		}
	case string:
		return parseTime(v, zone)
	case []any:
		if len(v) == 0 {
			return time.Time{}, nil
		}
		return toTime(v[0], zone)
	}
	return time.Time{}, errors.New("not a date")
}

func parseTime(s string, zone *time.Location) (time.Time, error) {
	s = strings.TrimSpace(s)
	if s == "" {
		return time.Time{}, nil
	}
	for _, layout := range []string{
		time.RFC3339, "2006-01-02T15:04:05-0700", "2006-01-02T15:04:05", time.DateTime, time.DateOnly,
		"02.01.2006 15:04:05", "02.01.2006 15:04", "02.01.2006",
	} {
		if t, err := time.ParseInLocation(layout, s, zone); err == nil {
			return t, nil
		}
	}
	return time.Time{}, errors.New("not a date")
}

// text is a JSON string as such, and any other scalar as it is written.
func text(raw json.RawMessage) string {
	var s string
	if json.Unmarshal(raw, &s) == nil {
		return s
	}
	if len(raw) == 0 || raw[0] == '{' || raw[0] == '[' || string(raw) == "null" {
		return ""
	}
	return string(raw)
}
