package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"frontdesk/call"
	"frontdesk/crm/crmtest"
	"frontdesk/pbx/pbxtest"
	"frontdesk/sip"
	"frontdesk/sip/siptest"
)

// The sandbox's callers, by what becomes of their calls.
const (
	callerOfOlga  = "+79161234567" // a contact of 201
	callerDirect  = "+79161234568" // a contact of 202, direct
	callerOfTwo   = "+79161234569" // two contacts, of 201 and of 202
	callerUnknown = "+79031112233"

	callerOfCompany = "+74957654321" // a company of 203
)

// sandbox is what frontdesk works with, in memory: a portal, a PBX, and a
// trunk that places calls.
type sandbox struct {
	portal *crmtest.Portal
	server *crmtest.Server
	pbx    *pbxtest.PBX
	office *office
	trunk  *siptest.Phone
}

// sandboxConfig says where the parts listen; empty is a free port of loopback.
type sandboxConfig struct {
	portal, knobs, pbx, trunk string
	officeConfig
}

func newSandbox(ctx context.Context, c sandboxConfig) (*sandbox, error) {
	s := &sandbox{portal: crmtest.New(crmtest.Options{})}
	populate(s.portal)
	var err error
	if s.server, err = crmtest.Start(s.portal, crmtest.ServerConfig{Listen: c.portal, Knobs: c.knobs}); err != nil {
		return nil, err
	}
	if s.office, err = newOffice(ctx, c.officeConfig); err != nil {
		return nil, err
	}
	if s.pbx, err = pbxtest.New(ctx, pbxtest.Config{Listen: c.pbx, Numbers: sandboxNumbers(), State: s.office.state}); err != nil {
		return nil, err
	}
	if s.trunk, err = siptest.NewPhone(ctx, siptest.Config{Listen: c.trunk, Agent: "sandbox trunk", Serve: outside}); err != nil {
		return nil, err
	}
	s.pbx.SetTrunk(sandboxTrunk, s.trunk.Addr().String())
	return s, nil
}

// populate makes the sandbox's company.
func populate(p *crmtest.Portal) {
	const direct = "UF_CRM_FD_DIRECT"
	for _, object := range []string{"CRM_CONTACT", "CRM_COMPANY", "CRM_LEAD"} {
		p.AddUserField(object, crmtest.UserField{Name: "UF_CRM_FD_MANAGER", Type: "employee"})
		p.AddUserField(object, crmtest.UserField{Name: "UF_CRM_FD_TEMP_MANAGER", Type: "employee"})
		p.AddUserField(object, crmtest.UserField{Name: "UF_CRM_FD_TEMP_UNTIL", Type: "datetime"})
		p.AddUserField(object, crmtest.UserField{Name: direct, Type: "boolean"})
		p.AddUserField(object, crmtest.UserField{Name: "UF_CRM_FD_NO_STICKY", Type: "boolean"})
	}
	olga := p.AddUser(crmtest.User{FirstName: "Ольга", LastName: "Романова", Extension: "201"})
	petr := p.AddUser(crmtest.User{FirstName: "Пётр", LastName: "Сидоров", Extension: "202"})
	anna := p.AddUser(crmtest.User{FirstName: "Анна", LastName: "Ли", Extension: "203"})
	p.AddContact(crmtest.Contact{Name: "Иван", LastName: "Иванов", Responsible: olga, Phones: []string{"8 (916) 123-45-67"}})
	p.AddContact(crmtest.Contact{
		Name: "Мария", LastName: "Петрова", Responsible: petr, Phones: []string{callerDirect},
		Fields: map[string]any{direct: true},
	})
	p.AddContact(crmtest.Contact{Name: "Олег", LastName: "Один", Responsible: olga, Phones: []string{callerOfTwo}})
	p.AddContact(crmtest.Contact{Name: "Олег", LastName: "Другой", Responsible: petr, Phones: []string{"8" + callerOfTwo[2:]}})
	p.AddCompany(crmtest.Company{Title: "ООО Ромашка", Responsible: anna, Phones: []string{callerOfCompany}})
}

// Run keeps the sandbox going until ctx ends.
func (s *sandbox) Run(ctx context.Context) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.server.Run(ctx) })
	g.Go(func() error { return s.pbx.Run(ctx) })
	g.Go(func() error { return s.office.Run(ctx) })
	g.Go(func() error { return s.trunk.Run(ctx) })
	return g.Wait()
}

// node is the PBX's address as pbx.sip wants it.
func (s *sandbox) node() string { return "sip:" + s.pbx.Phone.Addr().String() }

func newSandboxCommand() *cobra.Command {
	c := sandboxConfig{}
	var control string
	cmd := &cobra.Command{
		Use:   "sandbox",
		Short: "A fake portal, PBX and trunk with fault knobs, for trying frontdesk out",
		Args:  cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			s, err := newSandbox(cmd.Context(), c)
			if err != nil {
				return err
			}
			var lc net.ListenConfig
			l, err := lc.Listen(cmd.Context(), "tcp", control)
			if err != nil {
				return err
			}
			fmt.Fprint(cmd.OutOrStdout(), s.describe(l.Addr().String()))
			return s.serve(cmd.Context(), l)
		},
	}
	f := cmd.Flags()
	f.StringVar(&c.portal, "portal", "127.0.0.1:9000", "where the portal listens")
	f.StringVar(&c.knobs, "knobs", "127.0.0.1:9001", "where its fault knobs listen")
	f.StringVar(&c.pbx, "pbx", "udp://127.0.0.1:5070", "where the PBX listens")
	f.StringVar(&c.api, "xapi", "127.0.0.1:9003", "where its configuration API and call control listen")
	f.StringVar(&c.dial, "cdr", "127.0.0.1:5015", "where it connects with call detail records (pbx.cdr.listen)")
	f.StringVar(&c.listen, "cdr-listen", "", "where it listens for readers of them instead (pbx.cdr.connect)")
	f.IntVar(&c.build, "build", int(pbxtest.Build10), "its build: 6 is 20.0.6; 4 to 10")
	f.StringVar(&c.trunk, "trunk", "udp://127.0.0.1:5062", "where the trunk listens")
	f.StringVar(&control, "control", "127.0.0.1:9002", "where calls are ordered from the trunk")
	return cmd
}

func (s *sandbox) serve(ctx context.Context, l net.Listener) error {
	g, ctx := errgroup.WithContext(ctx)
	srv := &http.Server{Handler: s.control(), ReadHeaderTimeout: 5 * time.Second}
	g.Go(func() error { return s.Run(ctx) })
	g.Go(func() error {
		if err := srv.Serve(l); err != nil && ctx.Err() == nil {
			return err
		}
		return nil
	})
	g.Go(func() error {
		<-ctx.Done()
		return srv.Close()
	})
	return g.Wait()
}

func (s *sandbox) describe(control string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "portal   %s\n", s.server.Webhook())
	fmt.Fprintf(&b, "faults   curl -X PUT %s/_sandbox/fault -d '{\"kind\":\"silence\"}'   (GET shows, DELETE heals)\n", s.server.Knobs())
	fmt.Fprintf(&b, "pbx      %s\n", s.node())
	for _, n := range sandboxDoes() {
		fmt.Fprintf(&b, "         %s: %s\n", n.numbers, n.does)
	}
	s.office.describe(&b)
	fmt.Fprintf(&b, "trunk    sip:%s\n", s.trunk.Addr())
	fmt.Fprintf(&b, "calls    curl -X POST http://%s/call -d '{\"to\":\"sip:+74951234567@127.0.0.1:5060\",\"from\":\"%s\",\"digits\":\"202\"}'\n", control, callerOfOlga)
	fmt.Fprintf(&b, "         curl -X POST http://%s/dial -d '{\"from\":\"201\",\"to\":\"9%s\"}'   (out of the PBX, with the prefix 9)\n", control, callerUnknown[1:])
	fmt.Fprintf(&b, "callers  %s of 201, %s direct to 202, %s ambiguous, any other unknown\n", callerOfOlga, callerDirect, callerOfTwo)
	s.snippet(&b)
	return b.String()
}

// order is a call that the trunk is to place.
type order struct {
	To     string `json:"to"`     // request URI
	From   string `json:"from"`   // number; empty: anonymous
	Digits string `json:"digits"` // dialled once the greeting is heard
	Talk   int    `json:"talk"`   // seconds to stay after the answer; 1 if 0
}

// control lets the trunk be driven by curl.
func (s *sandbox) control() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /call", func(w http.ResponseWriter, r *http.Request) {
		var o order
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<16)).Decode(&o); err != nil {
			http.Error(w, "want {\"to\":\"sip:...\",\"from\":\"+7...\"}: "+err.Error(), http.StatusBadRequest)
			return
		}
		ctx, cancel := context.WithTimeout(r.Context(), time.Minute)
		defer cancel()
		c, err := s.place(ctx, o)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_ = siptest.WriteLadder(w, c.Ladder()) // it fails where nobody reads any more
	})
	mux.HandleFunc("POST /dial", s.dial)
	return mux
}

// place makes one call and sees it to its end.
func (s *sandbox) place(ctx context.Context, o order) (*siptest.Call, error) {
	from := sip.Address{User: o.From}
	if call.ParseNumber(o.From, "RU") == "" {
		from = sip.Address{Display: "Anonymous", User: "anonymous", Host: "anonymous.invalid"}
	}
	c, err := s.trunk.Call(ctx, siptest.Options{To: o.To, From: from})
	if err != nil {
		return nil, err
	}
	if o.Digits != "" {
		if err := c.WaitSound(ctx, 300*time.Millisecond); err != nil {
			return c, nil //nolint:nilerr // the ladder tells how the call ended
		}
		if err := c.Dial(ctx, o.Digits); err != nil {
			return c, nil //nolint:nilerr // as above
		}
	}
	if res, err := c.WaitFinal(ctx); err != nil || res == nil || res.Code >= 300 {
		return c, err
	}
	select {
	case <-time.After(time.Duration(max(o.Talk, 1)) * time.Second):
	case <-c.Done():
	}
	return c, c.Hangup(ctx)
}
