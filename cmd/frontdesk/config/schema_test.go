package config_test

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"frontdesk/cmd/frontdesk/config"
)

// schemaDoc is the printed schema, as an editor reads it.
func schemaDoc(t *testing.T) map[string]any {
	t.Helper()
	b, err := config.Schema()
	if err != nil {
		t.Fatal(err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	return doc.(map[string]any)
}

// TestSchemaAsEditorsUseIt checks files with the printed schema and a plain
// YAML reader, as an editor does.
func TestSchemaAsEditorsUseIt(t *testing.T) {
	t.Parallel()
	c := jsonschema.NewCompiler()
	if err := c.AddResource("s.json", schemaDoc(t)); err != nil {
		t.Fatal(err)
	}
	schema, err := c.Compile("s.json") // also checks it against the draft's own schema
	if err != nil {
		t.Fatal(err)
	}
	check := func(text string) error {
		var v any
		if err := yaml.Unmarshal([]byte(text), &v); err != nil {
			t.Fatal(err)
		}
		return schema.Validate(plain(v))
	}
	for _, good := range []string{
		config.Example(),
		"sip: {max_calls: \"${MAX}\"}\npbx: {extensions: 100, ring: \"${RING}\"}\nsticky: {time: 0}\n",
		"rules: [{name: 1, trunk: a, did: +74951234567, default: 800, lookup: false}]\ntrunks: {a: {sources: 192.0.2.1, transfer: bridge}}\n",
		"crm:\n  bitrix24:\n    employees: {17: https://x/rest/17/s/}\n",
	} {
		if err := check(good); err != nil {
			t.Errorf("refused: %v\n%s", err, good)
		}
	}
	for _, bad := range []string{
		"sipp: {}\n", "sip: {max_calls: 0}\n", "pbx: {ring: 25}\n", "rules: [{name: x}]\n", "greeting: {via: late}\n",
		"trunks: {a: {nats: true}}\n", "crm: {bitrix24: {employees: {ivan: x}}}\n",
	} {
		if check(bad) == nil {
			t.Errorf("accepted: %s", bad)
		}
	}
}

// plain turns the keys of maps into texts, as JSON has them.
func plain(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k := range v {
			v[k] = plain(v[k])
		}
	case map[any]any:
		out := map[string]any{}
		for k, x := range v {
			out[strings.TrimSpace(toText(k))] = plain(x)
		}
		return out
	case []any:
		for i := range v {
			v[i] = plain(v[i])
		}
	case uint64:
		return int(v)
	}
	return v
}

func toText(v any) string {
	b, err := yaml.Marshal(v)
	if err != nil {
		return ""
	}
	return string(b)
}

// paths lists every key of the schema, as trunks.NAME.sources and rules[].did.
func paths(t *testing.T, s map[string]any, at string) []string {
	t.Helper()
	var out []string
	child := func(key string, v any) {
		m, ok := v.(map[string]any)
		if !ok {
			return
		}
		if at != "" {
			key = at + "." + key
		}
		if !strings.HasSuffix(key, ".NAME") {
			out = append(out, key)
			if m["description"] == nil || m["description"] == "" {
				t.Errorf("%s has no description", key)
			}
		}
		out = append(out, paths(t, m, key)...)
	}
	if p, ok := s["properties"].(map[string]any); ok {
		for key, v := range p {
			child(key, v)
		}
	}
	if v, ok := s["additionalProperties"]; ok {
		child("NAME", v)
	}
	if items, ok := s["items"].(map[string]any); ok && items["properties"] != nil {
		out = append(out, paths(t, items, at+"[]")...)
	}
	return out
}

// TestEveryKeyIsDescribed: in the schema by its comment, and in the guide by
// its path in backquotes.
func TestEveryKeyIsDescribed(t *testing.T) {
	t.Parallel()
	guide := guide(t)
	keys := paths(t, schemaDoc(t), "")
	if len(keys) < 100 {
		t.Errorf("only %d keys", len(keys))
	}
	for _, key := range keys {
		if !strings.Contains(guide, "`"+key+"`") {
			t.Errorf("docs/configuration.md does not describe `%s`", key)
		}
	}
}

func guide(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join("../../../docs/configuration.md"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestSnippetsLoad loads every YAML snippet of the guide. A snippet that shows
// a mistake is marked ```yaml wrong, and has to be refused.
func TestSnippetsLoad(t *testing.T) {
	t.Parallel()
	env := lookup(map[string]string{
		"FRONTDESK_TOKEN": "x", "MAIL_PASSWORD": "x", "WEBHOOK_SECRET": "0123456789abcdef", "BITRIX24_WEBHOOK": "https://example.bitrix24.ru/rest/1/x/",
	})
	dir := t.TempDir()
	for name, content := range map[string]string{
		"welcome.wav": "RIFF\x00\x00\x00\x00WAVE", "carrier.password": "x\n", "google.json": "{}",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(filepath.Join(dir, "prompts"), 0o700); err != nil {
		t.Fatal(err)
	}
	n := 0
	rest := guide(t)
	for {
		_, after, ok := strings.Cut(rest, "```yaml")
		if !ok {
			break
		}
		snippet, tail, ok := strings.Cut(after, "\n```")
		if !ok {
			t.Fatal("a snippet is not closed")
		}
		rest = tail
		wrong := strings.HasPrefix(snippet, " wrong\n")
		n++
		_, problems := config.Parse(filepath.Join(dir, "frontdesk.yaml"), []byte(strings.TrimPrefix(snippet, " wrong")), env)
		if problems.HasErrors() != wrong {
			t.Errorf("snippet %d:%s\n%s", n, snippet, text(t, problems))
		}
	}
	if n < 10 {
		t.Errorf("only %d snippets", n)
	}
}
