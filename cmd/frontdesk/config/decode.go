package config

import (
	"cmp"
	"fmt"
	"net/netip"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"
)

// decoder writes the tree into the types, over what they hold already. Values
// of a wrong kind were reported by the schema and are left as they are.
type decoder struct{ *report }

func (d *decoder) value(n *node, path string, into reflect.Value) {
	if n.kind == kindNull || n.kind == kindBad {
		return
	}
	if scalar, ok := into.Addr().Interface().(*Secret); ok {
		d.secret(n, scalar)
		return
	}
	if trunks, ok := into.Addr().Interface().(*Trunks); ok {
		d.trunks(n, path, trunks)
		return
	}
	switch into.Kind() {
	case reflect.Pointer:
		d.pointer(n, path, into)
	case reflect.Struct:
		if n.kind == kindMap {
			d.fields(n, path, into)
			return
		}
		d.scalar(n, path, into)
	case reflect.Slice:
		d.list(n, path, into)
	case reflect.Map:
		d.dictionary(n, path, into)
	default:
		d.scalar(n, path, into)
	}
}

// fields decodes a section, and the groups of sections embedded in it.
func (d *decoder) fields(n *node, path string, into reflect.Value) {
	for i := range into.NumField() {
		field := into.Type().Field(i)
		key := field.Tag.Get("yaml")
		switch {
		case key == "-" || !field.IsExported():
		case field.Anonymous:
			d.fields(n, path, into.Field(i))
		default:
			if e, ok := n.get(key); ok {
				d.value(e.value, join(path, key), into.Field(i))
			}
		}
	}
}

func (d *decoder) pointer(n *node, path string, into reflect.Value) {
	target := reflect.New(into.Type().Elem())
	if x, ok := target.Interface().(*XAPI); ok {
		*x = defaultXAPI()
	}
	d.value(n, path, target.Elem())
	into.Set(target)
}

func (d *decoder) list(n *node, path string, into reflect.Value) {
	items := n.items
	switch n.kind {
	case kindScalar:
		items = []*node{n}
	case kindMap:
		return
	}
	out := reflect.MakeSlice(into.Type(), len(items), len(items))
	for i, item := range items {
		d.value(item, fmt.Sprintf("%s[%d]", path, i), out.Index(i))
	}
	into.Set(out)
}

func (d *decoder) dictionary(n *node, path string, into reflect.Value) {
	if n.kind != kindMap {
		return
	}
	out := reflect.MakeMapWithSize(into.Type(), len(n.entries))
	for _, e := range n.entries {
		key := reflect.New(into.Type().Key()).Elem()
		if key.Kind() == reflect.Int {
			id, err := strconv.Atoi(e.key)
			if err != nil {
				continue // no number: the schema has said so
			}
			key.SetInt(int64(id))
		} else {
			d.checkName(e, join(path, e.key))
			key.SetString(e.key)
		}
		value := reflect.New(into.Type().Elem()).Elem()
		d.value(e.value, join(path, e.key), value)
		out.SetMapIndex(key, value)
	}
	into.Set(out)
}

func (d *decoder) trunks(n *node, path string, into *Trunks) {
	if n.kind != kindMap {
		return
	}
	out := make(Trunks, 0, len(n.entries))
	for _, e := range n.entries {
		where := join(path, e.key)
		d.checkName(e, where)
		t := defaultTrunk()
		t.Name = e.key
		d.value(e.value, where, reflect.ValueOf(&t).Elem())
		out = append(out, t)
	}
	slices.SortFunc(out, func(a, b Trunk) int { return cmp.Compare(a.Name, b.Name) })
	*into = out
}

// checkName refuses names that could not stand in a path, a metric or a list.
func (d *decoder) checkName(e entry, path string) {
	plain := func(r rune) bool {
		return r == '-' || r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' || r >= 0x400 && r <= 0x4ff
	}
	if e.key != "" && len(e.key) <= 64 && strings.IndexFunc(e.key, func(r rune) bool { return !plain(r) }) < 0 {
		return
	}
	d.fail(e.at, path, fmt.Sprintf("%q is no name", shorten(e.key)), "names are letters, digits, - and _, at most 64")
}

func (d *decoder) secret(n *node, into *Secret) {
	if n.kind != kindScalar || !strings.HasPrefix(n.text, "sqlite:") {
		d.src.hideAll(n)
		d.src.secrets = append(d.src.secrets, n.text)
	}
	if n.kind == kindScalar {
		*into = NewSecret(n.text)
	}
}

func (d *decoder) scalar(n *node, path string, into reflect.Value) {
	if n.kind != kindScalar || d.spoilt(path) {
		return
	}
	var err error
	switch target := into.Addr().Interface().(type) {
	case *time.Duration:
		*target, err = parseDuration(n.text)
	case *PortRange:
		*target, err = parsePorts(n.text)
	case *netip.Prefix:
		*target, err = parseSource(n.text)
	case *int:
		*target, err = parseInt(n.text)
	case *bool:
		if *target = n.text == "true"; !*target && n.text != "false" {
			err = fmt.Errorf("%q is not true or false", n.text)
		}
	default:
		if into.Kind() != reflect.String {
			err = fmt.Errorf("%q cannot stand here", n.text)
			break
		}
		into.SetString(n.text)
	}
	if err != nil {
		d.failAt(path, fmt.Sprintf("%s: %v", path, err), "")
	}
}
