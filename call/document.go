package call

import "encoding/json"

// Document is a value kept as it is until somebody wants its JSON: most calls
// are never looked at, and writing their facts out would cost more than
// deciding them. Read from JSON it keeps the text.
type Document struct {
	value any
	raw   json.RawMessage
}

// NewDocument holds v, which must not change any more.
func NewDocument(v any) Document { return Document{value: v} }

// IsZero reports whether there is nothing in d.
func (d Document) IsZero() bool { return d.value == nil && d.raw == nil }

// MarshalJSON writes the value, or the text it was read from.
func (d Document) MarshalJSON() ([]byte, error) {
	if d.value != nil {
		return json.Marshal(d.value)
	}
	if d.raw == nil {
		return []byte("null"), nil
	}
	return d.raw, nil
}

// UnmarshalJSON keeps the text.
func (d *Document) UnmarshalJSON(b []byte) error {
	*d = Document{raw: append(json.RawMessage(nil), b...)}
	return nil
}

// Decode reads the document into v.
func (d Document) Decode(v any) error {
	b, err := d.MarshalJSON()
	if err != nil {
		return err
	}
	return json.Unmarshal(b, v)
}
