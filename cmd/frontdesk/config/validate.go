package config

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"sync"

	invopop "github.com/invopop/jsonschema"
	"github.com/santhosh-tekuri/jsonschema/v6"
	what "github.com/santhosh-tekuri/jsonschema/v6/kind"
)

// structure is the schema, for looking keys up, and ready to validate with.
type structure struct {
	schema   *invopop.Schema
	compiled *jsonschema.Schema
}

// known is the structure of the types. Making it takes longer than reading a
// file, and it never changes.
var known = sync.OnceValues(func() (structure, error) {
	s := structure{schema: newSchema(nil)}
	text, err := json.Marshal(s.schema)
	if err != nil {
		return s, fmt.Errorf("write the schema: %w", err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return s, fmt.Errorf("read the schema: %w", err)
	}
	c := jsonschema.NewCompiler()
	if err := c.AddResource("frontdesk.schema.json", doc); err != nil {
		return s, fmt.Errorf("read the schema: %w", err)
	}
	if s.compiled, err = c.Compile("frontdesk.schema.json"); err != nil {
		return s, fmt.Errorf("compile the schema: %w", err)
	}
	return s, nil
})

// validate checks the tree against the schema and reports all that differs.
func validate(root *node, rep *report) error {
	s, err := known()
	if err != nil {
		return err
	}
	err = s.compiled.Validate(instance(root, s.schema))
	if err == nil {
		return nil
	}
	found, ok := errors.AsType[*jsonschema.ValidationError](err)
	if !ok {
		return fmt.Errorf("validate: %w", err)
	}
	v := &validator{report: rep, schema: s.schema}
	v.walk(found)
	return nil
}

// instance is the tree as JSON. A single value where a list is wanted becomes a
// list of one.
func instance(n *node, schema *invopop.Schema) any {
	switch n.kind {
	case kindMap:
		out := make(map[string]any, len(n.entries))
		for _, e := range n.entries {
			out[e.key] = instance(e.value, below(schema, e.key))
		}
		return out
	case kindList:
		out := make([]any, 0, len(n.items))
		for _, item := range n.items {
			out = append(out, instance(item, below(schema, "0")))
		}
		return out
	case kindScalar:
		if schema != nil && schema.Items != nil && schema.Items.Title != sectionTitle {
			return []any{jsonScalar(n)}
		}
		return jsonScalar(n)
	}
	return nil
}

// validator turns the errors of the schema into problems.
type validator struct {
	*report
	schema *invopop.Schema
}

func (v *validator) walk(e *jsonschema.ValidationError) {
	for _, cause := range e.Causes {
		v.walk(cause)
	}
	if len(e.Causes) > 0 {
		return
	}
	path := joinPath(e.InstanceLocation)
	target := v.root.find(path)
	if target.node.kind == kindBad {
		return
	}
	schema := v.schema
	for _, step := range e.InstanceLocation {
		schema = below(schema, step)
	}
	switch k := e.ErrorKind.(type) {
	case *what.AdditionalProperties:
		for _, key := range k.Properties {
			v.unknown(target.node, path, key, schema)
		}
	case *what.FalseSchema:
		v.failAt(path, "this key is not known here", "")
	case *what.Required:
		for _, key := range k.Missing {
			v.failMissing(target, path, key)
		}
	default:
		v.wrong(target, path, schema)
	}
}

// soundsSecret is a misspelt key whose value had better not be shown.
var soundsSecret = regexp.MustCompile(`(?i)pas|pwd|secr|tok|key|hook|smtp|auth|cred|store|user|login`)

func (v *validator) unknown(in *node, path, key string, schema *invopop.Schema) {
	e, ok := in.get(key)
	if !ok {
		return
	}
	where := ""
	if path != "" {
		where = " in " + path
	}
	guess := nearest(key, keys(schema))
	hint := ""
	switch {
	case schema != nil && schema.PatternProperties != nil:
		hint = "the keys here are numbers: Bitrix24 user ids"
	case guess != "":
		hint = fmt.Sprintf("did you mean %q?", guess)
	default:
		known := keys(schema)
		slices.Sort(known)
		hint = "known here: " + strings.Join(known, ", ")
	}
	if meant := below(schema, guess); soundsSecret.MatchString(key) || meant != nil && meant.WriteOnly {
		v.src.hideAll(e.value)
	}
	v.fail(e.at, join(path, key), fmt.Sprintf("unknown key %q%s", key, where), hint)
}

func (v *validator) failMissing(target found, path, key string) {
	at := target.at
	if target.node.kind == kindMap && len(target.node.entries) > 0 {
		at = target.node.at
	}
	if v.spoilt(path) {
		return
	}
	hint := ""
	if key == "default" {
		hint = `say where the call goes when nothing better is found, as default: "800"`
	}
	v.fail(at, join(path, key), fmt.Sprintf("%s needs %s", path, key), hint)
}

// wrong reports a value of another kind than its key wants.
func (v *validator) wrong(target found, path string, schema *invopop.Schema) {
	n := target.node
	title := textTitle
	if schema != nil {
		title = schema.Title
	}
	switch {
	case n.kind == kindNull:
		v.failAt(path, fmt.Sprintf("%s has no value", path), emptyHint(path, title))
	case n.kind == kindMap:
		v.failAt(path, fmt.Sprintf("%s wants %s, not keys and values", path, title), wantHint(title))
	case n.kind == kindList:
		v.failAt(path, fmt.Sprintf("%s wants %s, not a list", path, title), wantHint(title))
	case schema != nil && schema.WriteOnly:
		v.failAt(path, fmt.Sprintf("%s wants %s", path, title), "")
	case schema != nil && len(schema.Enum) > 0:
		v.choice(n, path, schema.Enum)
	case schema != nil && title == intTitle && n.style == stylePlain && decimal.MatchString(n.text):
		v.failAt(path, fmt.Sprintf("%s is %s: want %s", path, n.text, limits(schema)), "")
	default:
		v.failAt(path, fmt.Sprintf("%s wants %s, not %q", path, title, shorten(n.text)), valueHint(title, n))
	}
}

func (v *validator) choice(n *node, path string, values []any) {
	var words []string
	for _, w := range values {
		words = append(words, fmt.Sprint(w))
	}
	hint := ""
	if guess := nearest(n.text, words); guess != "" {
		hint = fmt.Sprintf("did you mean %q?", guess)
	}
	v.failAt(path, fmt.Sprintf("%q is no value of %s: %s", shorten(n.text), path, strings.Join(words, ", ")), hint)
}

func limits(s *invopop.Schema) string {
	switch {
	case s.Minimum != "" && s.Maximum != "":
		return fmt.Sprintf("%s to %s", s.Minimum, s.Maximum)
	case s.Minimum != "":
		return fmt.Sprintf("%s or more", s.Minimum)
	}
	return s.Title
}

func emptyHint(path, title string) string {
	switch {
	case strings.HasSuffix(path, ".when"):
		return "an empty condition would hold for every call: leave the key out, or write a condition"
	case path == "digits.end":
		return `# begins a comment: write "#", or "" for none`
	}
	if title != textTitle && title != secretTitle {
		return "leave the key out for its default"
	}
	return `leave the key out for its default, or write "" for an empty text`
}

func wantHint(title string) string {
	if title == textTitle {
		return "a value that begins with { or [ must be quoted"
	}
	return ""
}

func valueHint(title string, n *node) string {
	switch title {
	case durationTitle:
		if decimal.MatchString(n.text) {
			unit := "s"
			if len(n.text) > 3 {
				unit = "ms"
			}
			return fmt.Sprintf("a number needs its unit: %s%s", n.text, unit)
		}
		return "units are ms, s, m, h, d and w"
	case boolTitle:
		switch strings.ToLower(n.text) {
		case "yes", "on", "true", "1":
			return "write true, without quotes"
		case "no", "off", "false", "0":
			return "write false, without quotes"
		}
	case intTitle:
		if decimal.MatchString(n.text) {
			return fmt.Sprintf("write %s, without quotes", n.text)
		}
		digits := strings.TrimLeft(strings.ReplaceAll(n.text, "_", ""), "0")
		if decimal.MatchString(digits) {
			return "write " + digits
		}
	}
	return ""
}

// shorten cuts a value for a message.
func shorten(s string) string {
	const longest = 60
	if runes := []rune(s); len(runes) > longest {
		return string(runes[:longest]) + "…"
	}
	return s
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}
