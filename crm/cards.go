package crm

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
)

// sectionName is our section's on every card; its title may be changed by
// whoever edits the card.
const sectionName = "frontdesk_routing"

// card is the card of an object: leads have two.
type card struct {
	name       string // lead, repeat lead
	entityType int    // as crm.item.* numbers them
	extras     map[string]int
	standard   []cardSection // of a portal that never changed it
}

// cardSection is a section of a standard card.
type cardSection struct {
	name, english, russian string
	elements               string // separated by blanks
}

func cardsOf(object string) []card {
	more := func(elements string) cardSection {
		return cardSection{"additional", "More", "Дополнительно", elements}
	}
	const person = "HONORIFIC LAST_NAME NAME SECOND_NAME BIRTHDATE POST"
	switch object {
	case "contact":
		return []card{{name: object, entityType: 3, standard: []cardSection{
			{"main", "About the contact", "О контакте", person + " PHOTO PHONE EMAIL WEB IM COMPANY ADDRESS REQUISITES"},
			more("TYPE_ID SOURCE_ID SOURCE_DESCRIPTION OPENED EXPORT ASSIGNED_BY_ID OBSERVER COMMENTS UTM"),
		}}}
	case "company":
		return []card{{name: object, entityType: 4, standard: []cardSection{
			{"main", "About the company", "О компании", "TITLE LOGO COMPANY_TYPE INDUSTRY REVENUE_WITH_CURRENCY PHONE EMAIL WEB IM CONTACT REQUISITES"},
			more("EMPLOYEES OPENED ASSIGNED_BY_ID OBSERVER COMMENTS UTM"),
		}}}
	}
	lead := func(name string, customer int, who string) card {
		return card{name: name, entityType: 1, extras: map[string]int{"leadCustomerType": customer}, standard: []cardSection{
			{"main", "About the lead", "О лиде", "TITLE STATUS_ID OPPORTUNITY_WITH_CURRENCY " + who},
			more("SOURCE_ID SOURCE_DESCRIPTION OPENED ASSIGNED_BY_ID OBSERVER COMMENTS UTM"),
			{"products", "Products", "Товары", "PRODUCT_ROW_SUMMARY"},
		}}
	}
	return []card{lead("lead", 1, person+" COMPANY_TITLE PHONE EMAIL WEB IM ADDRESS"), lead("repeat lead", 2, "CLIENT")}
}

// layout is a card's sections, each as it came: what is not known of it stays.
type layout []map[string]any

// card puts fields that the card does not show yet into our section of the
// layout that is common to all employees. all are the object's user fields.
func (s *setup) card(ctx context.Context, k card, fields, all []string) {
	const method = "crm.item.details.configuration"
	params := map[string]any{"entityTypeId": k.entityType, "scope": "C"}
	if k.extras != nil {
		params["extras"] = k.extras
	}
	of := object{name: k.name}
	fail := func(err error, method string) { s.refused(of, field{}, fmt.Errorf("the card: %w", err), method) }
	var raw json.RawMessage
	if err := s.client.Call(ctx, LaneLog, method+".get", params, &raw); err != nil {
		fail(err, method+".get")
		return
	}
	have, err := parseLayout(raw)
	if err != nil {
		fail(err, method+".get")
		return
	}
	standard := ""
	if len(have) == 0 {
		standard = "; it had no common layout, so the standard one was written out"
		have = s.standard(k, all, fields)
	}
	missing := have.without(fields)
	if len(missing) == 0 {
		s.step(of, field{}, SetupKeep, "the card shows the fields")
		return
	}
	if !s.options.DryRun {
		params["data"] = have.with(s.options.Section, missing)
		if err := s.client.Call(ctx, LaneLog, method+".set", params, nil); err != nil {
			fail(err, method+".set")
			return
		}
	}
	s.step(of, field{}, SetupCreate, "the card shows %s in section %q%s", strings.Join(missing, ", "), s.options.Section, standard)
}

// parseLayout reads a card's configuration: null without one.
func parseLayout(raw json.RawMessage) (layout, error) {
	var sections FlexObject
	if string(raw) == "false" || string(raw) == `""` {
		return nil, nil
	}
	if err := json.Unmarshal(raw, &sections); err != nil {
		return nil, fmt.Errorf("%w: a card's layout", errShape)
	}
	var out layout
	for _, raw := range sections.inOrder() {
		var section map[string]any
		if err := json.Unmarshal(raw, &section); err != nil || section == nil {
			return nil, fmt.Errorf("%w: a section of a card", errShape)
		}
		elements, err := elementsOf(raw)
		if err != nil {
			return nil, err
		}
		section["elements"] = elements
		out = append(out, section)
	}
	return out, nil
}

func elementsOf(section json.RawMessage) ([]any, error) {
	var s struct {
		Elements FlexObject `json:"elements"`
	}
	if err := json.Unmarshal(section, &s); err != nil {
		return nil, fmt.Errorf("%w: the elements of a card's section", errShape)
	}
	out := []any{}
	for _, raw := range s.Elements.inOrder() {
		var e map[string]any
		if err := json.Unmarshal(raw, &e); err != nil || e == nil {
			return nil, fmt.Errorf("%w: an element of a card", errShape)
		}
		if n, err := toInt(e["optionFlags"]); err == nil && e["optionFlags"] != nil {
			e["optionFlags"] = n // read as "1", written as 1
		}
		out = append(out, e)
	}
	return out, nil
}

// inOrder are the values of what PHP had as a list, perhaps with gaps.
func (o FlexObject) inOrder() []json.RawMessage {
	keys := slices.SortedFunc(maps.Keys(o), func(a, b string) int {
		x, errX := strconv.Atoi(a)
		y, errY := strconv.Atoi(b)
		if errX != nil || errY != nil {
			return strings.Compare(a, b)
		}
		return cmp.Compare(x, y)
	})
	out := make([]json.RawMessage, len(keys))
	for i, k := range keys {
		out[i] = o[k]
	}
	return out
}

// standard is the card of a portal that has no common layout: its own, with the
// other user fields where it shows them.
func (s *setup) standard(k card, all, ours []string) layout {
	var out layout
	for _, sec := range k.standard {
		title := sec.english
		if s.options.Russian {
			title = sec.russian
		}
		elements := []any{}
		for _, name := range strings.Fields(sec.elements) {
			elements = append(elements, map[string]any{"name": name})
		}
		if sec.name == "additional" {
			for _, name := range all {
				if !slices.Contains(ours, name) {
					elements = append(elements, map[string]any{"name": name})
				}
			}
		}
		out = append(out, map[string]any{"name": sec.name, "title": title, "type": "section", "elements": elements})
	}
	return out
}

// without are those of fields that no section shows.
func (l layout) without(fields []string) []string {
	return slices.DeleteFunc(slices.Clone(fields), func(code string) bool {
		return slices.ContainsFunc(l, func(section map[string]any) bool {
			elements, _ := section["elements"].([]any)
			return slices.ContainsFunc(elements, func(e any) bool {
				m, _ := e.(map[string]any)
				return m["name"] == code
			})
		})
	})
}

// with is l with fields in our section, which is made if need be.
func (l layout) with(title string, fields []string) layout {
	out := slices.Clone(l)
	at := slices.IndexFunc(out, func(s map[string]any) bool { return s["name"] == sectionName || s["title"] == title })
	if at < 0 {
		at = len(out)
		out = append(out, map[string]any{"name": sectionName, "title": title, "type": "section", "elements": []any{}})
	}
	section := maps.Clone(out[at])
	elements, _ := section["elements"].([]any)
	elements = slices.Clone(elements)
	for _, code := range fields {
		elements = append(elements, map[string]any{"name": code, "optionFlags": 1})
	}
	section["elements"] = elements
	out[at] = section
	return out
}
