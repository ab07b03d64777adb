package crmtest

import (
	"fmt"
	"net/url"
	"regexp"
	"strconv"
	"strings"
)

// batch is the method batch: up to fifty commands in order, each seeing the
// results of those before it.
func (p *Portal) batch(c invocation, broken func(key, method string) *Failure) (answer, *Failure) {
	cmd, isMap := c.arg("cmd").(map[string]any)
	keys := c.order
	if list, ok := c.arg("cmd").([]any); ok {
		cmd = map[string]any{}
		keys = nil
		for i, v := range list {
			key := strconv.Itoa(i)
			cmd[key] = v
			keys = append(keys, key)
		}
	} else if !isMap {
		return answer{}, &Failure{400, "ERROR_ARGUMENT", "cmd is not an array"}
	}
	b := &batchRun{
		portal: p, caller: c, broken: broken,
		out: map[string]map[string]any{"result": {}, "error": {}, "total": {}, "next": {}, "time": {}},
	}
	halt := yes(c.arg("halt"))
	for i, key := range keys {
		text, ok := cmd[key].(string)
		if !ok {
			continue // skipped silently
		}
		if i >= maxCommands {
			b.fail(key, &Failure{400, "ERROR_BATCH_LENGTH_EXCEEDED", "Max batch length exceeded"})
		} else {
			b.run(key, text)
		}
		if _, failed := b.out["error"][key]; failed && halt {
			break
		}
	}
	return answer{result: map[string]any{
		"result": phpMap(b.out["result"]), "result_error": phpMap(b.out["error"]), "result_total": phpMap(b.out["total"]),
		"result_next": phpMap(b.out["next"]), "result_time": phpMap(b.out["time"]),
	}}, nil
}

const maxCommands = 50

type batchRun struct {
	portal *Portal
	caller invocation
	broken func(key, method string) *Failure
	out    map[string]map[string]any // result, error, total, next, time
}

func (b *batchRun) fail(key string, f *Failure) {
	b.out["error"][key] = map[string]any{"error": f.Code, "error_description": f.Text}
}

func (b *batchRun) run(key, text string) {
	name, query := splitCommand(text)
	params, _ := parseQuery(query)
	for k, v := range params {
		params[k] = b.expand(v)
	}
	switch lower := strings.ToLower(name); {
	case lower == "batch", strings.HasPrefix(lower, "disk.") && strings.Contains(lower, "upload"):
		b.fail(key, &Failure{405, "ERROR_BATCH_METHOD_NOT_ALLOWED", "Method is not allowed for batch usage"})
		return
	}
	if f := b.broken(key, name); f != nil {
		b.fail(key, f)
		return
	}
	c := invocation{user: b.caller.user, app: b.caller.app, base: b.caller.base, batched: true, params: params}
	a, f := b.portal.invoke(name, c)
	if f != nil {
		b.fail(key, f)
		return
	}
	b.out["result"][key] = a.result
	b.out["time"][key] = b.portal.clockOf(name, c)
	if a.list {
		b.out["total"][key] = a.total
		if a.next > 0 {
			b.out["next"][key] = a.next
		}
	}
}

// splitCommand splits a command like a URL: a raw # cuts the rest.
func splitCommand(text string) (name, query string) {
	text, _, _ = strings.Cut(text, "#")
	name, query, _ = strings.Cut(text, "?")
	name = strings.TrimSuffix(strings.TrimPrefix(name, "/"), ".json")
	if n, err := url.PathUnescape(name); err == nil {
		name = n
	}
	return name, query
}

// reference is a reference to earlier commands; it ends only at whitespace.
var reference = regexp.MustCompile(`\$(result|error|total|next|time)\[\S*`)

// expand replaces references in a parameter. A value that is one reference
// whole becomes what it points to, type and all; within other text it is
// spliced in.
func (b *batchRun) expand(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, inner := range v {
			v[k] = b.expand(inner)
		}
	case []any:
		for i, inner := range v {
			v[i] = b.expand(inner)
		}
	case string:
		at := reference.FindStringIndex(v)
		if at == nil {
			return v
		}
		if at[0] == 0 && at[1] == len(v) {
			return b.resolve(v)
		}
		return reference.ReplaceAllStringFunc(v, func(ref string) string { return str(b.resolve(ref)) })
	}
	return v
}

// resolve follows a reference. Where the path breaks off, the last container
// reached is the value: that is the trap.
func (b *batchRun) resolve(ref string) any {
	parts := reference.FindStringSubmatch(ref)
	var at any = b.out[parts[1]]
	for _, key := range keyPath(ref)[1:] {
		next, ok := element(at, key)
		if !ok {
			return at
		}
		at = next
	}
	return at
}

func element(v any, key string) (any, bool) {
	switch v := v.(type) {
	case map[string]any:
		inner, ok := v[key]
		return inner, ok
	case []any:
		i, err := strconv.Atoi(key)
		if err != nil || i < 0 || i >= len(v) {
			return nil, false
		}
		return v[i], true
	}
	return nil, false
}

// commands lists a batch's commands for the record of requests.
func (c invocation) commands() []string {
	var out []string
	cmd := c.fields("cmd")
	for _, key := range c.order {
		out = append(out, fmt.Sprintf("%s=%s", key, str(cmd[key])))
	}
	return out
}
