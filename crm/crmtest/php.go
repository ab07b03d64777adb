package crmtest

import (
	"encoding/json"
	"net/url"
	"sort"
	"strconv"
	"strings"
)

// parseQuery reads a query string as PHP does: a[b][0]=x nests, a[]=x appends.
// order lists the keys directly under cmd, as they come.
func parseQuery(query string) (params map[string]any, order []string) {
	params = map[string]any{}
	for pair := range strings.SplitSeq(query, "&") {
		if pair == "" {
			continue
		}
		key, value, _ := strings.Cut(pair, "=")
		k, err := url.QueryUnescape(key)
		if err != nil {
			continue
		}
		v, err := url.QueryUnescape(value)
		if err != nil {
			continue
		}
		path := keyPath(k)
		if len(path) == 2 && path[0] == "cmd" {
			order = append(order, path[1])
		}
		put(params, path, v)
	}
	for k, v := range params {
		params[k] = listify(v)
	}
	return params, order
}

// keyPath splits a[b][] into a, b and "".
func keyPath(key string) []string {
	head, rest, found := strings.Cut(key, "[")
	if !found {
		return []string{key}
	}
	path := []string{head}
	for found {
		var part string
		part, rest, found = strings.Cut(rest, "]")
		path = append(path, part)
		if found {
			_, rest, found = strings.Cut(rest, "[")
		}
	}
	return path
}

func put(m map[string]any, path []string, v string) {
	key := path[0]
	if key == "" {
		key = strconv.Itoa(len(m))
	}
	if len(path) == 1 {
		m[key] = v
		return
	}
	inner, ok := m[key].(map[string]any)
	if !ok {
		inner = map[string]any{}
		m[key] = inner
	}
	put(inner, path[1:], v)
}

// listify turns maps with the keys 0, 1, 2 into lists, deeply.
func listify(v any) any {
	m, ok := v.(map[string]any)
	if !ok {
		return v
	}
	for k, inner := range m {
		m[k] = listify(inner)
	}
	if list, ok := asList(m); ok && len(list) > 0 {
		return list
	}
	return m
}

// asList are the values of a map with the keys 0 to n-1.
func asList(m map[string]any) ([]any, bool) {
	list := make([]any, len(m))
	for k, v := range m {
		i, err := strconv.Atoi(k)
		if err != nil || i < 0 || i >= len(m) || strconv.Itoa(i) != k {
			return nil, false
		}
		list[i] = v
	}
	return list, true
}

// phpMap is a map as PHP writes it in JSON: [] when empty, an array with
// sequential keys, else an object.
func phpMap(m map[string]any) any {
	if list, ok := asList(m); ok {
		return list
	}
	return m
}

// elements are the values of an array, whatever its keys; ok is false for
// scalars.
func elements(v any) ([]any, bool) {
	switch v := v.(type) {
	case []any:
		return v, true
	case map[string]any:
		keys := make([]string, 0, len(v))
		for k := range v {
			keys = append(keys, k)
		}
		sort.Strings(keys)
		out := make([]any, 0, len(v))
		for _, k := range keys {
			out = append(out, v[k])
		}
		return out, true
	}
	return nil, false
}

// str is a value as PHP casts it to a string.
func str(v any) string {
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	case bool:
		if v {
			return "1"
		}
		return ""
	case int:
		return strconv.Itoa(v)
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case json.Number:
		return v.String()
	}
	return "Array"
}

// num is a value as PHP casts it to an int: an array is 1 unless empty.
func num(v any) int {
	if list, ok := elements(v); ok {
		if len(list) > 0 {
			return 1
		}
		return 0
	}
	s := strings.TrimSpace(str(v))
	end := 0
	for end < len(s) && (s[end] >= '0' && s[end] <= '9' || end == 0 && s[end] == '-') {
		end++
	}
	n, err := strconv.Atoi(s[:end])
	if err != nil {
		return 0
	}
	return n
}

// yes is a value as the portal reads flags.
func yes(v any) bool {
	switch strings.ToLower(str(v)) {
	case "1", "y", "true":
		return true
	}
	return false
}
