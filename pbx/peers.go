package pbx

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"strings"

	"frontdesk/call"
)

// Peer is any number on the PBX.
type Peer struct {
	ID     int
	Number call.Extension
	Name   string
	Type   string // Extension, Queue, RingGroup, IVR, Fax, Conference, ExternalLine (a trunk), RoutePoint, ...
	Hidden bool
}

// Peers reads all numbers of the PBX.
func (c *Client) Peers(ctx context.Context) ([]Peer, error) {
	type wire struct{ ID, Number, Name, Type, Hidden loose }
	return rows(ctx, c, "peers", "/Peers", query{"$select", "Id,Number,Name,Type,Hidden", "$orderby", "Number", "$count", "true"},
		func(w wire) (Peer, bool) {
			hidden, _ := w.Hidden.bool()
			p := Peer{ID: w.ID.int(), Number: call.Extension(w.Number.text()), Name: w.Name.text(), Type: w.Type.text(), Hidden: hidden}
			return p, p.Number != ""
		})
}

// User is an extension with its person and its state.
type User struct {
	ID         int
	Number     call.Extension
	FirstName  string
	LastName   string
	Email      string
	Mobile     string
	Enabled    bool
	Registered *bool  // whether a telephone or app is registered; nil: 3CX does not say
	Profile    string // Available, Away, Out of office, ...
	Queues     string // LoggedIn or LoggedOut of its queues
}

const userFields = "Id,Number,FirstName,LastName,EmailAddress,Mobile,Enabled,IsRegistered,CurrentProfileName,QueueStatus"

type userWire struct {
	ID, Number, FirstName, LastName, EmailAddress, Mobile  loose
	Enabled, IsRegistered, CurrentProfileName, QueueStatus loose
}

func (w userWire) user() (User, bool) {
	u := User{
		ID: w.ID.int(), Number: call.Extension(w.Number.text()), FirstName: w.FirstName.text(), LastName: w.LastName.text(),
		Email: w.EmailAddress.text(), Mobile: w.Mobile.text(), Enabled: true,
		Profile: w.CurrentProfileName.text(), Queues: w.QueueStatus.text(),
	}
	if enabled, known := w.Enabled.bool(); known {
		u.Enabled = enabled
	}
	if registered, known := w.IsRegistered.bool(); known {
		u.Registered = &registered
	}
	return u, u.Number != ""
}

// Users reads the extensions of people with their state.
func (c *Client) Users(ctx context.Context) ([]User, error) {
	return rows(ctx, c, "users", "/Users", query{"$select", userFields, "$orderby", "Number", "$count", "true"}, userWire.user)
}

// User reads one extension; an error that is ErrNotFound where there is none.
// The key by number came with 20.0.8 and replaced a function.
func (c *Client) User(ctx context.Context, number call.Extension) (User, error) {
	const name = "user"
	literal := url.PathEscape(quote(string(number)))
	tail := query{"$select", userFields}.options()
	paths := []string{"/Users(Number=" + literal + ")", "/Users/Pbx.GetByNumber(number=" + literal + ")"}
	var err error
	for i := c.forms.get(userByNumber); i < len(paths); i++ {
		var w userWire
		err = c.call(ctx, request{name: name, path: xapi + paths[i] + tail}, &w)
		if err == nil {
			c.forms.worked(userByNumber, i)
			u, ok := w.user()
			if !ok {
				return User{}, errors.Join(errShape, errors.New(name))
			}
			return u, nil
		}
		if !absent(err) {
			break
		}
	}
	return User{}, err
}

// Trunk is a line to a carrier, or to frontdesk.
type Trunk struct {
	ID       int
	Number   call.Extension // 10000 and up, the DN that records name
	Name     string
	External string // its main number
	Online   bool
	Calls    int // at one time
	DIDs     []string
}

// Trunks reads the PBX's trunks.
func (c *Client) Trunks(ctx context.Context) ([]Trunk, error) {
	type wire struct {
		ID, Number, ExternalNumber, IsOnline, SimultaneousCalls loose
		DidNumbers                                              []loose
		Gateway                                                 struct{ Name loose }
	}
	return rows(ctx, c, "trunks", "/Trunks", query{"$orderby", "Id"}, func(w wire) (Trunk, bool) {
		online, _ := w.IsOnline.bool()
		t := Trunk{
			ID: w.ID.int(), Number: call.Extension(w.Number.text()), Name: w.Gateway.Name.text(),
			External: w.ExternalNumber.text(), Online: online, Calls: w.SimultaneousCalls.int(),
		}
		for _, did := range w.DidNumbers {
			t.DIDs = append(t.DIDs, did.text())
		}
		return t, t.Number != ""
	})
}

// OutboundRule says by which prefix a call leaves by which trunks.
type OutboundRule struct {
	ID     int
	Name   string
	Prefix []string // any of them; none: every number
	Routes []OutboundRoute
}

// OutboundRoute is one way out of a rule, tried in order.
type OutboundRoute struct {
	Trunk   int // Trunk.ID
	Name    string
	Strip   int    // digits taken off the front
	Prepend string // digits put before what is left
}

// OutboundRules reads the rules for calls that leave the PBX.
func (c *Client) OutboundRules(ctx context.Context) ([]OutboundRule, error) {
	type wire struct {
		ID, Name, Prefix loose
		Routes           []struct{ TrunkID, TrunkName, StripDigits, Prepend loose }
	}
	return rows(ctx, c, "outbound rules", "/OutboundRules", query{"$orderby", "Id"}, func(w wire) (OutboundRule, bool) {
		r := OutboundRule{ID: w.ID.int(), Name: w.Name.text(), Prefix: strings.FieldsFunc(w.Prefix.text(), func(r rune) bool { return r == ',' || r == ' ' })}
		for _, route := range w.Routes {
			if id := route.TrunkID.int(); id > 0 {
				r.Routes = append(r.Routes, OutboundRoute{Trunk: id, Name: route.TrunkName.text(), Strip: route.StripDigits.int(), Prepend: route.Prepend.text()})
			}
		}
		return r, true
	})
}

// CDRSettings is how the PBX writes its call detail records.
type CDRSettings struct {
	Enabled bool
	Type    string   // ActiveSocket, PassiveSocket, SingleFileForAllCalls, SingleFileForEachCall
	Address string   // to which ActiveSocket connects
	Port    int      // of that address, or on which PassiveSocket listens
	Fields  []string // names in the order of a line, in lower case
	Commas  bool     // values are separated by commas
}

// CDRSettings reads how records are written.
func (c *Client) CDRSettings(ctx context.Context) (CDRSettings, error) {
	var w struct {
		Enabled, LogType, SocketIPAddress, SocketPort, RemoveCommaDelimiters loose
		EnabledFields                                                        []json.RawMessage
	}
	if err := c.call(ctx, request{name: "cdr settings", path: xapi + "/CDRSettings"}, &w); err != nil {
		return CDRSettings{}, err
	}
	enabled, _ := w.Enabled.bool()
	fixed, _ := w.RemoveCommaDelimiters.bool()
	s := CDRSettings{Enabled: enabled, Type: w.LogType.text(), Address: w.SocketIPAddress.text(), Port: w.SocketPort.int(), Commas: !fixed}
	for _, raw := range w.EnabledFields {
		var field struct{ Name loose }
		var plain loose
		if json.Unmarshal(raw, &field) != nil && json.Unmarshal(raw, &plain) == nil {
			field.Name = plain // a list of bare names
		}
		if name := strings.ToLower(field.Name.text()); name != "" {
			s.Fields = append(s.Fields, name)
		}
	}
	return s, nil
}

// CDRFields are the names of a record's fields in their order, as 3CX has them
// set.
func (c *Client) CDRFields(ctx context.Context) ([]string, error) {
	s, err := c.CDRSettings(ctx)
	return s.Fields, err
}
