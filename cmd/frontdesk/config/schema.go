package config

import (
	"embed"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"net/netip"
	"reflect"
	"strings"
	"time"

	"github.com/invopop/jsonschema"
)

// The types' own comments describe the keys in the schema.
//
//go:embed types.go types_crm.go types_rules.go
var typeSources embed.FS

// What values are called in messages and in editors.
const (
	durationTitle = "a duration such as 25s, 15m or 30d"
	secretTitle   = "text (secret)"
	textTitle     = "text"
	intTitle      = "a whole number"
	boolTitle     = "true or false"
	listTitle     = "a list"
	sectionTitle  = "a section of keys and values"
)

// referencePattern lets ${NAME} stand where a number or a boolean is wanted.
const referencePattern = `^\$\{.+\}$`

// Schema is the JSON Schema (draft 2020-12) of the configuration file, for
// editors: "# yaml-language-server: $schema=frontdesk.schema.json".
func Schema() ([]byte, error) {
	comments, err := typeComments()
	if err != nil {
		return nil, fmt.Errorf("read the types' comments: %w", err)
	}
	s := newSchema(comments)
	s.Title = "frontdesk configuration"
	return json.MarshalIndent(s, "", "  ")
}

// newSchema makes the schema from the types; comments may be nil.
func newSchema(comments map[string]string) *jsonschema.Schema {
	r := &jsonschema.Reflector{
		Anonymous: true, DoNotReference: true, ExpandedStruct: true,
		FieldNameTag: "yaml", RequiredFromJSONSchemaTags: true,
		LookupComment: func(t reflect.Type, field string) string { return comments[t.Name()+"."+field] },
	}
	r.Mapper = func(t reflect.Type) *jsonschema.Schema {
		switch t {
		case reflect.TypeFor[time.Duration]():
			return &jsonschema.Schema{Title: durationTitle, Pattern: durationPattern + "|" + referencePattern, Maximum: "0", Minimum: "0",
				Extras: map[string]any{"type": []string{"string", "integer"}}}
		case reflect.TypeFor[Secret]():
			return &jsonschema.Schema{Title: secretTitle, WriteOnly: true, Extras: scalarTypes()}
		case reflect.TypeFor[PortRange](), reflect.TypeFor[netip.Prefix]():
			return &jsonschema.Schema{Type: "string"}
		case reflect.TypeFor[Trunks]():
			return &jsonschema.Schema{Type: "object", AdditionalProperties: r.Reflect(Trunk{})}
		}
		return nil
	}
	s := r.Reflect(Config{})
	loosen(s)
	return s
}

// scalarTypes are what YAML may make of a text that stands without quotes.
func scalarTypes() map[string]any {
	return map[string]any{"type": []string{"string", "number", "boolean"}}
}

// loosen makes the schema as wide as what is accepted: text without quotes may
// look like a number, a list of one may be the value alone, ${NAME} may stand
// anywhere. It also names every value by its title.
func loosen(s *jsonschema.Schema) {
	if s == nil || s == jsonschema.FalseSchema || s == jsonschema.TrueSchema || s.Extras["type"] != nil {
		return
	}
	switch s.Type {
	case "object":
		name(s, sectionTitle)
		s.Extras = map[string]any{"type": []string{"object", "null"}}
		for p := s.Properties.Oldest(); p != nil; p = p.Next() {
			loosen(p.Value)
		}
		loosen(s.AdditionalProperties)
		for _, p := range s.PatternProperties {
			loosen(p)
		}
	case "array":
		name(s, listTitle)
		loosen(s.Items)
		s.Extras = map[string]any{"type": []string{"array", "null"}}
		if s.Items.Type != "object" && s.Items.Extras["type"] != nil && s.Items.Title != sectionTitle {
			s.Extras["type"] = []string{"array", "null", "string", "number", "boolean"}
		}
	case "string":
		name(s, textTitle)
		s.Extras = scalarTypes()
	case "integer":
		name(s, intTitle)
		s.Pattern, s.Extras = referencePattern, map[string]any{"type": []string{"integer", "string"}}
	case "boolean":
		name(s, boolTitle)
		s.Pattern, s.Extras = referencePattern, map[string]any{"type": []string{"boolean", "string"}}
	}
	s.Type = ""
}

func name(s *jsonschema.Schema, title string) {
	if s.Title == "" {
		s.Title = title
	}
}

// below is the schema of a key or an item of s, nil if there is none.
func below(s *jsonschema.Schema, step string) *jsonschema.Schema {
	if s == nil {
		return nil
	}
	if s.Items != nil {
		return s.Items
	}
	if s.Properties != nil {
		if p, ok := s.Properties.Get(step); ok {
			return p
		}
	}
	for _, p := range s.PatternProperties {
		return p
	}
	if s.AdditionalProperties == jsonschema.FalseSchema {
		return nil
	}
	return s.AdditionalProperties
}

// keys are the keys that s knows.
func keys(s *jsonschema.Schema) []string {
	var out []string
	if s == nil || s.Properties == nil {
		return nil
	}
	for p := s.Properties.Oldest(); p != nil; p = p.Next() {
		out = append(out, p.Key)
	}
	return out
}

// typeComments reads the comment of every field of the types, by Type.Field.
func typeComments() (map[string]string, error) {
	out := map[string]string{}
	files, err := fs.Glob(typeSources, "*.go")
	if err != nil {
		return nil, err
	}
	for _, file := range files {
		text, err := typeSources.ReadFile(file)
		if err != nil {
			return nil, err
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, text, parser.ParseComments|parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			spec, ok := n.(*ast.TypeSpec)
			if !ok {
				return true
			}
			if st, ok := spec.Type.(*ast.StructType); ok {
				for _, f := range st.Fields.List {
					for _, id := range f.Names {
						out[spec.Name.Name+"."+id.Name] = strings.TrimSpace(f.Doc.Text())
					}
				}
			}
			return true
		})
	}
	return out, nil
}
