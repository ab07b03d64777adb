package pbx

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// pageSize is the most rows that every version of 3CX gives at once: /Users
// answers 400 to more.
const pageSize = 100

// maxPages bounds a list: half a million rows.
const maxPages = 5000

// query are OData options, in order: "$select", "Id,Number", ...
type query []string

// options writes q with its beginning: "?$select=Id,Number".
func (q query) options() string {
	var b strings.Builder
	for i := 0; i+1 < len(q); i += 2 {
		if q[i+1] == "" {
			continue
		}
		b.WriteByte("?&"[min(b.Len(), 1)])
		b.WriteString(q[i] + "=" + escape(q[i+1]))
	}
	return b.String()
}

// escape writes a value of a query. OData servers take %20 for a blank, and not
// all of them a plus.
func escape(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }

// quote writes an OData string literal (OData 4.01 URL conventions, 5.1.1.14).
func quote(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// page is one answer of a list.
type page struct {
	Value []json.RawMessage `json:"value"`
	Count loose             `json:"@odata.count"`
	Next  string            `json:"@odata.nextLink"`
}

// list reads a collection by the page and gives every row to each, which may
// end it with an error. Rows that 3CX adds or drops meanwhile may come twice or
// not at all.
func (c *Client) list(ctx context.Context, name, path string, q query, each func(json.RawMessage) error) error {
	skip, next, first := 0, "", []byte(nil)
	for range maxPages {
		at := xapi + path + append(q[:len(q):len(q)], "$top", strconv.Itoa(pageSize), "$skip", strconv.Itoa(skip)).options()
		if next != "" {
			at = next
		}
		var p page
		if err := c.call(ctx, request{name: name, path: at}, &p); err != nil {
			return err
		}
		if p.Value == nil {
			return fmt.Errorf("%s: %w", name, errShape)
		}
		if len(p.Value) > 0 && bytes.Equal(p.Value[0], first) {
			return fmt.Errorf("%s: %w", name, errNoProgress)
		}
		for _, row := range p.Value {
			if err := each(row); err != nil {
				return err
			}
		}
		skip += len(p.Value)
		more := len(p.Value) >= pageSize || skip < p.Count.int()
		switch {
		case len(p.Value) == 0, p.Next == "" && !more:
			return nil
		case p.Next != "":
			var err error
			if next, err = c.follow(p.Next); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
		first = p.Value[0]
	}
	return fmt.Errorf("%s: %w", name, errTooLarge)
}

// follow is the path of a link to the next page. The token goes to the PBX
// alone: behind a proxy 3CX may write another host, whose name is left out.
func (c *Client) follow(link string) (string, error) {
	u, err := url.Parse(link)
	if err != nil {
		return "", errElsewhere
	}
	path := u.EscapedPath()
	if i := strings.Index(path, xapi+"/"); i >= 0 {
		path = path[i:]
	} else if u.IsAbs() || strings.HasPrefix(path, "/") {
		return "", errElsewhere
	} else {
		path = xapi + "/" + path
	}
	if u.RawQuery != "" {
		path += "?" + u.RawQuery
	}
	return path, nil
}

// rows reads a collection into values.
func rows[W, T any](ctx context.Context, c *Client, name, path string, q query, read func(W) (T, bool)) ([]T, error) {
	var out []T
	err := c.list(ctx, name, path, q, func(raw json.RawMessage) error {
		var wire W
		if json.Unmarshal(raw, &wire) != nil {
			return fmt.Errorf("%s: %w", name, errShape)
		}
		if v, ok := read(wire); ok {
			out = append(out, v)
		}
		return nil
	})
	return out, err
}
