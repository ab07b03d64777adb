package crm

import (
	"context"
	"net/url"
	"strconv"

	"frontdesk/call"
)

const (
	// findCap is where crm.duplicate.findbycomm cuts its answer.
	findCap = 20
	// pageRows is the size of a page of every list.
	pageRows = 50
)

// section is how one kind of entity is searched and read.
type section struct {
	kind       call.Kind
	find, list string // keys of its two commands in the batch
	entityType string // CONTACT, COMPANY or LEAD
	method     string // of the list
	fields     url.Values
	read       command // the list of what find found
	names      Fields
}

// sections are the kinds in the order in which they decide.
func sections(f Fields) []section {
	person := []string{"ID", "NAME", "LAST_NAME", "ASSIGNED_BY_ID", "PHONE"}
	return []section{
		newSection(call.KindContact, "dc", "c", "CONTACT", "ASC", person, f),
		newSection(call.KindCompany, "dm", "m", "COMPANY", "ASC", []string{"ID", "TITLE", "ASSIGNED_BY_ID", "PHONE"}, f),
		newSection(call.KindLead, "dl", "l", "LEAD", "DESC", append(person, "TITLE", "STATUS_SEMANTIC_ID"), f),
	}
}

func newSection(k call.Kind, find, list, entityType, order string, names []string, f Fields) section {
	s := section{
		kind: k, find: find, list: list, entityType: entityType,
		method: "crm." + string(k) + ".list", fields: url.Values{}, names: f,
	}
	own := []string{f.Manager, f.Temporary, f.Until, f.Direct, f.NoSticky}
	i := 0
	for _, name := range append(append(names, own...), f.Extra...) {
		if name != "" {
			s.fields.Set("select["+strconv.Itoa(i)+"]", name)
			i++
		}
	}
	s.fields.Set("start", "-1") // no counting: the list may be a stray one, see rows
	params := copyValues(s.fields)
	params.Set("filter[@ID]", "$result["+find+"]["+entityType+"]")
	params.Set("order[ID]", order)
	s.read = newCommand(list, s.method, params)
	return s
}

func copyValues(v url.Values) url.Values {
	out := make(url.Values, len(v)+3)
	for k, s := range v {
		out[k] = s
	}
	return out
}

// finding is the command that searches the section for n, in all the spellings
// that the portal does not take for the same number.
func (s section) finding(spellings []string) command {
	params := url.Values{"type": {"PHONE"}, "entity_type": {s.entityType}}
	for i, spelling := range spellings {
		params.Set("values["+strconv.Itoa(i)+"]", literal(spelling))
	}
	return newCommand(s.find, "crm.duplicate.findbycomm", params)
}

// lookupCommands are the one batch of a look-up. One search per kind: without a
// kind, twenty leads hide the contacts.
func (c *Client) lookupCommands(n call.Number) []command {
	spellings := n.Spellings(c.cfg.Country)
	commands := make([]command, 0, 2*len(c.sections))
	for _, s := range c.sections {
		commands = append(commands, s.finding(spellings))
	}
	for _, s := range c.sections {
		commands = append(commands, s.read)
	}
	return commands
}

// find asks the portal for everybody who carries n. The bucket has given a
// token for the first request.
func (c *Client) find(ctx context.Context, n call.Number) ([]call.Entity, []call.Kind, error) {
	commands := c.lookupCommands(n)
	answer, err := c.exchange(ctx, batch(commands))
	if err != nil {
		return nil, nil, err
	}
	results, err := c.results(commands, answer.Result)
	if err != nil {
		return nil, nil, err
	}
	var entities []call.Entity
	var capped []call.Kind
	var cards []call.Card
	for _, s := range c.sections {
		m, err := c.matches(s, results)
		if err != nil {
			return nil, nil, err
		}
		if m.cut() {
			whole := false
			// A section behind one that decides is not worth a request.
			if len(entities) == 0 {
				if whole, err = c.complete(ctx, n, s, m); err != nil {
					return nil, nil, err
				}
			}
			if !whole {
				capped = append(capped, s.kind)
			}
		}
		entities = append(entities, m.entities()...)
		cards = append(cards, m.cards()...)
	}
	if feed := c.feed.Load(); feed != nil {
		(*feed)(sighting{number: n, cards: cards, capped: capped})
	}
	if err := c.meet(ctx, entities); err != nil {
		return nil, nil, err
	}
	return entities, capped, nil
}
